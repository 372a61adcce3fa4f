package journal

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
)

// victimDir is the environment variable that makes of the test binary the process
// that is killed.
const victimDir = "JOURNAL_TEST_VICTIM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		if err := victim(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func killConfig(dir string) Config {
	return Config{Dir: filepath.Join(dir, "journal"), SegmentBytes: 8 * MaxLine, MaxBytes: 1 << 30, Patience: 20 * time.Second}
}

// victim appends with many writers that print what was acknowledged, and archives
// and releases meanwhile, until it is killed.
func victim(dir string) error {
	j, err := Open(killConfig(dir), silent(), time.Now)
	if err != nil {
		return err
	}
	failed := make(chan error)
	round := os.Getpid()
	for writer := range 32 {
		go func() {
			for i := 0; ; i++ {
				var lines []byte
				var ids strings.Builder
				for part := range 1 + i%3 {
					id := fmt.Sprintf("%d-%d-%d-%d", round, writer, i, part)
					lines = append(lines, event(id)...)
					fmt.Fprintln(&ids, id)
				}
				if err := j.Append(lines, audit.Class((writer+i)%2)); err != nil {
					failed <- err
				}
				if _, err := os.Stdout.WriteString(ids.String()); err != nil { // less than PIPE_BUF: whole, or not at all
					failed <- err
				}
			}
		}()
	}
	go func() { failed <- archive(j, filepath.Join(dir, "archive")) }()
	return <-failed
}

// archive moves events to a file of lines.
func archive(j *Journal, path string) error {
	done, err := archived(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	for next := uint64(len(done)); ; {
		var lines []byte
		if err := j.Read(next, 100, func(number uint64, _ audit.Class, line []byte) bool {
			lines = fmt.Appendf(lines, "%s\n", idOf(line))
			next = number + 1
			return true
		}); err != nil {
			return err
		}
		if _, err := f.Write(lines); err != nil {
			return err
		}
		if err := j.Release(next); err != nil {
			return err
		}
	}
}

// archived are the ids in the archive. A line that is not whole is cut off.
func archived(path string) ([]string, error) {
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	whole := b[:bytes.LastIndexByte(b, '\n')+1]
	return strings.Fields(string(whole)), os.Truncate(path, int64(len(whole)))
}

// TestKill kills the process at random moments: what was acknowledged is there, in
// the archive or in the journal, once, without gaps in the numbers.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acknowledged := make(map[string]bool)
	events, torn := 0, 0
	for round := range 30 {
		kill(t, dir, acknowledged)
		ids, err := archived(filepath.Join(dir, "archive"))
		if err != nil {
			t.Fatal(err)
		}
		j := mustOpen(t, killConfig(dir), osDisk{})
		ids = append(ids, read(t, j, uint64(len(ids)))...)
		if uint64(len(ids)) != j.Next() {
			t.Errorf("round %d: %d events, next is %d", round, len(ids), j.Next())
		}
		if j.Truncated() != nil {
			torn++
		}
		mustClose(t, j)
		times := make(map[string]int)
		for _, id := range ids {
			if times[id]++; times[id] > 1 {
				t.Errorf("round %d: event %s is there twice", round, id)
			}
		}
		for id := range acknowledged {
			if times[id] == 0 {
				t.Errorf("round %d: acknowledged event %s is lost", round, id)
			}
		}
		if len(ids) < events {
			t.Errorf("round %d: %d events, there were %d", round, len(ids), events)
		}
		if t.Failed() {
			return
		}
		events = len(ids)
	}
	if len(acknowledged) < 1000 {
		t.Errorf("only %d events were acknowledged", len(acknowledged))
	}
	t.Logf("%d acknowledged, %d recorded, %d torn", len(acknowledged), events, torn)
}

// kill starts the process, kills it at a random moment, and notes what it said.
func kill(t *testing.T, dir string, acknowledged map[string]bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	at := rand.N(1500) // events after which it is killed; sometimes more come
	for n := 0; lines.Scan(); n++ {
		acknowledged[lines.Text()] = true
		if n == at {
			time.AfterFunc(rand.N(3*time.Millisecond), func() { cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the process ended by itself: %v", err)
	}
}
