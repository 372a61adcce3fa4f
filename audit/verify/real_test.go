package verify

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/ledger"
	"github.com/sallyport/sallyport/audit/pipeline"
)

// journal is one in memory.
type journal struct {
	mu      sync.Mutex // guards what follows
	lines   [][]byte
	classes []audit.Class
}

func (j *journal) Append(lines []byte, class audit.Class) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range bytes.Lines(lines) {
		j.lines, j.classes = append(j.lines, bytes.TrimSuffix(line, []byte("\n"))), append(j.classes, class)
	}
	return nil
}

func (j *journal) Next() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return uint64(len(j.lines))
}

func (j *journal) Synced() uint64 { return j.Next() }

func (j *journal) Read(from uint64, limit int, yield func(uint64, audit.Class, []byte) bool) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for seq := from; seq < uint64(len(j.lines)) && seq < from+uint64(limit); seq++ {
		if !yield(seq, j.classes[seq], j.lines[seq]) {
			break
		}
	}
	return nil
}

func (j *journal) Release(uint64) error { return nil }

// TestPipeline verifies what the real pipeline wrote into a real folder: three runs
// of one log, each with another key.
func TestPipeline(t *testing.T) {
	t.Parallel()
	for _, layout := range []string{ledger.LayoutHybrid, ledger.LayoutBatch, ledger.LayoutEvent} {
		t.Run(layout, func(t *testing.T) {
			t.Parallel()
			dir, local := t.TempDir(), t.TempDir()
			store, err := archive.OpenFolder(dir)
			if err != nil {
				t.Fatal(err)
			}
			events := &journal{}
			var keys []*ledger.Key
			for range 3 {
				keys = append([]*ledger.Key{newKey(t, "audit.example.com")}, keys...)
				runPipeline(t, local, layout, store, events, keys)
			}
			first := verifiers(t, keys[2])
			r, err := Verify(t.Context(), store, Options{Keys: first})
			if err != nil || r.ExitCode() != 0 || r.Events != events.Next() || len(r.Findings) != 0 || len(r.Logs[0].Keys) != 3 {
				t.Fatalf("%v, %d events, want %d\n%s", err, r.Events, events.Next(), human(t, r))
			}
			p, err := Prove(t.Context(), store, first, ledger.LeafID(events.lines[len(events.lines)-1]))
			if err != nil || len(p.Rotations) != 2 {
				t.Fatalf("%v", err)
			}

			// Somebody edits the newest object of an event, or batch.
			var newest archive.Version
			for v, err := range store.Versions(t.Context(), "audit-logs/year=", "") {
				if err != nil {
					t.Fatal(err)
				}
				if newest = v; strings.Contains(v.Key, "/batch-") {
					break
				}
			}
			path := filepath.Join(dir, newest.Key)
			body, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			body[len(body)/2] ^= 1
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, body, 0o600); err != nil {
				t.Fatal(err)
			}
			r, err = Verify(t.Context(), store, Options{Keys: first})
			if err != nil || r.ExitCode() != 1 || !strings.Contains(r.Findings[0].Message, newest.Key+": event") {
				t.Errorf("%v, exit %d\n%s", err, r.ExitCode(), human(t, r))
			}
		})
	}
}

// runPipeline records twenty events and waits until the archive has them.
func runPipeline(t *testing.T, local, layout string, store archive.Store, events *journal, keys []*ledger.Key) {
	t.Helper()
	cfg := pipeline.Config{
		Dir: local, Origin: "example.com/audit", Name: "gw", Layout: layout, BatchEvents: 8,
		Interval: time.Millisecond, Heartbeat: time.Hour, Keys: keys,
	}
	p, err := pipeline.Open(cfg, events, store, nil, nil, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		line := audit.AppendHead(nil, time.Now(), "decision")
		class := audit.Class(0)
		if i%4 == 0 {
			class = audit.Single
		}
		if err := events.Append(append(line, `,"status":"allow"}`+"\n"...), class); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	for look := time.NewTicker(10 * time.Millisecond); p.Status().Archived < events.Next(); <-look.C {
		if faults := p.Status().Faults; len(faults) > 0 {
			t.Fatal(faults)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
