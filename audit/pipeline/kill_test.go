package pipeline

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/journal"
	"github.com/sallyport/sallyport/audit/ledger"
)

// victimDir and victimKey tell this binary that it is the process to be killed.
const (
	victimDir = "SALLYPORT_TEST_PIPELINE_DIR"
	victimKey = "SALLYPORT_TEST_PIPELINE_KEY"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		fmt.Fprintln(os.Stderr, beVictim(dir, os.Getenv(victimKey), os.Stdout))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// beVictim writes events until it is killed, and says of each that it is kept.
func beVictim(dir, keyFile string, out io.Writer) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	key, err := ledger.LoadKey(keyFile)
	if err != nil {
		return err
	}
	store, err := archive.OpenFolder(filepath.Join(filepath.Dir(dir), "archive"))
	if err != nil {
		return err
	}
	j, err := journal.Open(journal.Config{Dir: filepath.Join(dir, "journal"), MaxBytes: 64 << 20}, log, time.Now)
	if err != nil {
		return err
	}
	p, err := Open(Config{
		Dir: dir, Origin: "audit.example.com", Name: "gw-0", Layout: ledger.LayoutHybrid, Keys: []*ledger.Key{key},
		BatchEvents: 50, Interval: 20 * time.Millisecond, Heartbeat: 50 * time.Millisecond,
	}, j, store, nil, nil, log, time.Now)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	for worker := range 6 {
		go func() {
			for {
				id := audit.NewID(time.Now())
				line := fmt.Appendf(audit.AppendHead(nil, time.Now(), "decision"), `,"correlation_id":"%s"}`+"\n", id)
				if err := j.Append(line, classes[worker%len(classes)]); err != nil {
					fmt.Fprintln(os.Stderr, err)
					continue
				}
				mu.Lock()
				fmt.Fprintln(out, id)
				mu.Unlock()
				time.Sleep(time.Millisecond)
			}
		}()
	}
	return p.Run(context.Background())
}

// kill runs a victim for a while and returns what it acknowledged.
func kill(t *testing.T, dir, keyFile string) (acknowledged []string) {
	t.Helper()
	victim := exec.Command(os.Args[0])
	victim.Env = append(os.Environ(), victimDir+"="+dir, victimKey+"="+keyFile)
	var said strings.Builder
	victim.Stderr = &said
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil { // perhaps in the middle of one
			break
		}
		if acknowledged = append(acknowledged, strings.TrimSpace(line)); len(acknowledged) == 1 {
			time.AfterFunc(rand.N(250*time.Millisecond), func() { _ = victim.Process.Kill() })
		}
	}
	if err := victim.Wait(); err == nil || victim.ProcessState.Exited() {
		t.Fatalf("it ended by itself: %v\n%s", err, said.String())
	}
	return acknowledged
}

// Whenever the process is killed, the next one carries on: in the end the archive
// has every event that was acknowledged, once, under seals that all fit.
func TestKilledAtAnyMoment(t *testing.T) {
	w := newWorld(t)
	key, text, err := ledger.GenerateKey("audit.example.com")
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(t.TempDir(), "signing.key")
	if err := os.WriteFile(keyFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.keys, w.cfg.Keys = []*ledger.Key{key}, []*ledger.Key{key}
	var acknowledged []string
	for range 20 {
		acknowledged = append(acknowledged, kill(t, w.dir, keyFile)...)
	}
	p := w.start()
	p.settle()
	p.stop()
	logs := w.verify()
	if len(logs) != 1 {
		t.Fatalf("%d logs", len(logs))
	}
	times := make(map[string]int)
	for _, l := range logs[p.Origin()] {
		if _, rest, ok := strings.Cut(l.text, `"correlation_id":"`); ok {
			times[rest[:36]]++
		}
	}
	lost := 0
	for _, id := range acknowledged {
		if times[id] == 0 {
			lost++
		}
	}
	for id, n := range times {
		if n > 1 {
			t.Errorf("event %s is there %d times", id, n)
		}
	}
	if lost > 0 || len(acknowledged) < 20 {
		t.Errorf("of %d events %d are lost", len(acknowledged), lost)
	}
	kinds := slices.DeleteFunc(slices.Clone(logs[p.Origin()]), func(l leaf) bool { return !l.has(`"action":"opened"`) })
	if len(kinds) != 1 {
		t.Errorf("the log was opened %d times", len(kinds))
	}
	t.Logf("%d acknowledged, %d in the archive under %d events", len(acknowledged), len(times), len(logs[p.Origin()]))
}
