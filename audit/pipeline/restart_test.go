package pipeline

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/ledger"
)

func TestLogGoesOnAfterARestart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		origin := ""
		for range 4 {
			p := w.start()
			if origin == "" {
				origin = p.Origin()
			}
			if p.Origin() != origin {
				t.Errorf("the log %s goes on as %s", origin, p.Origin())
			}
			for i := range 150 {
				p.append(classes[i%len(classes)])
			}
			p.settle()
			p.stop()
		}
		if leaves := w.verifySent(); len(leaves) != 601 {
			t.Errorf("%d leaves, want 601", len(leaves))
		}
	})
}

// Each crash leaves what one window of the pipeline leaves.
func TestLogGoesOnAfterACrash(t *testing.T) {
	for what, crash := range map[string]func(w *world, p *writer){
		"before the first cut": func(w *world, p *writer) { p.crash() },
		"with cuts in the outbox": func(w *world, p *writer) {
			w.store.set(away)
			p.run()
			p.await("cuts", func(s Status) bool { return s.Waiting >= 3 && s.Sealed == s.Next })
			p.crash()
		},
		"between batch and seal": func(w *world, p *writer) {
			w.store.set(away)
			p.run()
			p.await("cuts", func(s Status) bool { return s.Sealed == s.Next })
			waiting := p.outbox.waiting()
			p.crash()
			last := filepath.Join(w.dir, "outbox", strings.TrimSuffix(filepath.Base(p.outbox.path(waiting[len(waiting)-1], "")), "."))
			for _, err := range []error{os.Remove(last + ".seal"), os.WriteFile(last+".seal~", []byte("audit.exa"), 0o600), os.WriteFile(last+".batch", []byte("half"), 0o600)} {
				if err != nil {
					w.t.Fatal(err)
				}
			}
		},
		"between the objects of a cut": func(w *world, p *writer) {
			w.store.after = func(key string) error {
				if strings.HasSuffix(key, ".zst") {
					return nil
				}
				return errAway
			}
			p.run()
			p.await("a batch", func(s Status) bool { return s.Sealed == s.Next && s.Faults["archive"] != nil })
			w.store.after = nil
			p.crash()
		},
		"between archive and removal": func(w *world, p *writer) {
			left := ""
			w.store.after = func(key string) error {
				if left == "" && strings.HasPrefix(key, ledger.SealPrefix) {
					left = w.snapshot()
				}
				return nil
			}
			p.run()
			p.await("a seal", func(s Status) bool { return left != "" && s.Sealed == s.Next })
			w.store.after = nil
			p.crash()
			w.dir = left
		},
		"between removal of the seal and of the batch": func(w *world, p *writer) {
			var batch []byte
			first := ""
			w.store.after = func(key string) error {
				if batch == nil && strings.HasPrefix(key, ledger.SealPrefix) {
					first = p.outbox.path(p.outbox.waiting()[0], "batch")
					batch, _ = os.ReadFile(first)
				}
				return nil
			}
			p.run()
			p.settle()
			w.store.after = nil
			p.crash()
			if err := os.WriteFile(filepath.Join(w.dir, "outbox", filepath.Base(first)), batch, 0o600); err != nil {
				w.t.Fatal(err)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p, err := w.open()
				if err != nil {
					t.Fatal(err)
				}
				for i := range 350 {
					p.append(classes[i%len(classes)])
				}
				p.append(audit.Synced) // and with it all before
				crash(w, p)
				p = w.start()
				p.append(audit.Synced)
				p.settle()
				if s := p.Status(); len(s.Faults) != 0 || p.OutboxBytes() != 0 {
					t.Errorf("in the end: %+v", s)
				}
				p.stop()
				w.verifySent()
				if stray, _ := filepath.Glob(filepath.Join(w.dir, "outbox", "*")); len(stray) != 1 {
					t.Errorf("the outbox has %v, want last.seal only", stray)
				}
			})
		})
	}
}

// Whoever finds a log's pieces can't tell that they belong together when one is
// missing: no history begins anew under its name.
func TestNoLogGoesOnWithoutItsPieces(t *testing.T) {
	const aside, unnamed = "move the whole folder aside", "log.json, which names the log, is missing"
	for what, test := range map[string]struct {
		lose []string
		cuts bool   // wait in the outbox
		long bool   // so long that the journal's beginning was released
		want string // empty: only the archive can tell
	}{
		"journal":              {lose: []string{"journal"}, want: aside},
		"journal, cuts wait":   {lose: []string{"journal"}, cuts: true, want: aside},
		"outbox":               {lose: []string{"outbox"}},
		"outbox, journal long": {lose: []string{"outbox"}, long: true, want: aside},
		"name":                 {lose: []string{"log.json"}, want: unnamed},
		"name, cuts wait":      {lose: []string{"log.json"}, cuts: true, want: unnamed},
		"name and outbox":      {lose: []string{"log.json", "outbox"}, want: unnamed},
		"name and journal":     {lose: []string{"log.json", "journal"}, want: unnamed},
		"outbox and journal":   {lose: []string{"outbox", "journal"}},
	} {
		t.Run(what, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.bytes = 4 << 20
				p := w.start()
				for i := 0; test.long && i < 50; i++ { // two segments
					if err := p.tryAppend(0, `,"detail":"`+strings.Repeat("x", 10_000)+`"`); err != nil {
						t.Fatal(err)
					}
				}
				p.append(audit.Synced)
				p.settle()
				if test.cuts {
					w.store.set(away)
					p.append(audit.Synced)
					p.await("a cut", func(s Status) bool { return s.Waiting == 1 })
				}
				p.crash()
				before := w.store.puts
				for _, name := range test.lose {
					if err := os.RemoveAll(filepath.Join(w.dir, name)); err != nil {
						t.Fatal(err)
					}
				}
				for range 2 { // the second start must not find what the first one made
					p, err := w.open()
					if test.want != "" {
						if err == nil {
							p.stop()
							t.Fatal("the log goes on")
						}
						if !strings.Contains(err.Error(), test.want) {
							t.Errorf("error %q, want one with %q", err, test.want)
						}
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					p.run()
					p.append(audit.Synced)
					p.await("a fault", func(s Status) bool { return errors.Is(s.Faults["archive"], ErrForked) })
					p.stop()
				}
				if w.store.puts != before {
					t.Errorf("%d objects were written", w.store.puts-before)
				}
			})
		})
	}
}

// A folder that was restored from an older copy must not be used: the archive has
// more of its log, even when the folder has gone on while it couldn't be asked.
func TestForkIsNoticed(t *testing.T) {
	for what, more := range map[string]int{"shorter": 0, "as long": 100, "longer": 300} {
		t.Run(what, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.start()
				p.append(audit.Synced)
				p.settle()
				copied := w.snapshot()
				for range 100 {
					p.append(audit.Synced)
				}
				p.settle()
				p.stop()
				sent := len(w.sent)
				held := w.store.puts

				w.dir = copied
				w.store.set(away)
				p = w.start()
				for range more {
					p.append(audit.Synced)
				}
				p.await("cuts", func(s Status) bool { return s.Sealed == s.Next })
				w.store.set(nil)
				if err := p.Check(t.Context()); !errors.Is(err, ErrForked) || !strings.Contains(err.Error(), "move") {
					t.Errorf("Check returns %v", err)
				}
				time.Sleep(time.Hour)
				if s := p.Status(); !errors.Is(s.Faults["archive"], ErrForked) {
					t.Errorf("faults %v", s.Faults)
				}
				p.stop()
				if w.store.puts != held {
					t.Error("a log was continued that had gone on elsewhere")
				}
				w.sent = w.sent[:sent]
				w.verifySent()
			})
		})
	}
}
