package pipeline

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/journal"
	"github.com/sallyport/sallyport/audit/ledger"
)

// fill appends events until none without audit.Reserve is taken any more.
func (p *writer) fill() {
	p.w.t.Helper()
	for i := range 1000 {
		var text [20_000]byte
		rand.Read(text[:])
		switch err := p.tryAppend(classes[i%len(classes)], `,"detail":"`+hex.EncodeToString(text[:])+`"`); {
		case errors.Is(err, journal.ErrFull):
			return
		case err != nil:
			p.w.t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.w.t.Fatal("the journal never gets full")
}

func TestArchiveIsAwayForLong(t *testing.T) {
	for what, fault := range map[string]func(context.Context, string) error{"away": away, "hangs": hang} {
		t.Run(what, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.bytes = 4 << 20
				p := w.start()
				p.settle()
				w.store.set(fault)
				p.fill()
				u := p.journal.Usage()
				if p.OutboxBytes() == 0 || u.Bytes < p.OutboxBytes() || u.Bytes < w.bytes*85/100 {
					t.Errorf("full with %d of %d bytes, %d in the outbox", u.Bytes, w.bytes, p.OutboxBytes())
				}
				time.Sleep(30 * time.Minute)
				p.fill() // the outbox is smaller than what was released for it
				if err := p.tryAppend(0, ""); !errors.Is(err, journal.ErrFull) {
					t.Errorf("Append returns %v", err)
				}
				if s := p.Status(); s.Archived == s.Next || s.Faults["archive"] == nil {
					t.Errorf("while the archive is away: %+v", s)
				}
				w.store.set(nil)
				time.Sleep(time.Minute)
				if s := p.Status(); s.Archived != s.Next || len(s.Faults) != 0 || p.OutboxBytes() != 0 {
					t.Errorf("a minute after the archive came back: %+v", s)
				}
				p.append(0)
				p.append(audit.Synced)
				p.settle()
				p.stop()
				w.verifySent()
			})
		})
	}
}

// What was written though it was reported as failed is written once.
func TestArchiveAnswersWrong(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tried := make(map[string]int)
		w.store.after = func(key string) error {
			if tried[key]++; tried[key] < 3 {
				return errAway
			}
			return nil
		}
		p := w.start()
		for i := range 250 {
			p.append(classes[i%len(classes)])
		}
		p.append(audit.Synced)
		p.settle()
		p.stop()
		w.verifySent()
	})
}

// An object that isn't what was sent is left alone: a person has to look.
func TestConflictStopsTheLog(t *testing.T) {
	for what, key := range map[string]func(p *writer) string{
		"batch": func(p *writer) string { return ledger.BatchKey(p.id.Writer, 0, 100, time.Now()) },
		"seal":  func(p *writer) string { return ledger.SealKey(p.id.Writer, 100) },
	} {
		t.Run(what, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p, err := w.open()
				if err != nil {
					t.Fatal(err)
				}
				for range 149 {
					p.append(audit.Synced)
				}
				foreign := archive.Object{Key: key(p), Body: []byte("foreign")}
				done, calls := false, 0
				w.store.set(func(ctx context.Context, at string) error {
					if calls++; done || !strings.HasSuffix(at, ".zst") {
						return nil
					}
					done = true // Check was before
					return w.store.Store.Put(ctx, foreign)
				})
				p.run()
				time.Sleep(time.Hour)
				s := p.Status()
				if !errors.Is(s.Faults["archive"], archive.ErrConflict) || !strings.Contains(fmt.Sprint(s.Faults["archive"]), foreign.Key) {
					t.Errorf("faults %v", s.Faults)
				}
				if s.Archived != 0 || s.Waiting != 2 || s.Sealed != s.Next {
					t.Errorf("after a conflict: %+v", s)
				}
				if got := w.get(foreign.Key); got != "foreign" {
					t.Errorf("the object was overwritten with %q", got)
				}
				if calls > 200 {
					t.Errorf("the archive was called %d times in an hour", calls)
				}
				if !strings.Contains(w.logged.String(), "the key holds another object") {
					t.Errorf("not logged: %s", w.logged)
				}
			})
		})
	}
}

// Nothing is given to an archive that doesn't lock it.
func TestUnlockedArchiveGetsNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.store.worm, w.store.locked = true, errAway // at first nobody knows
		p := w.start()
		p.append(audit.Synced | audit.Single)
		time.Sleep(time.Minute)
		w.store.mu.Lock()
		w.store.locked = fmt.Errorf("%w: the bucket", archive.ErrNotLocked)
		w.store.mu.Unlock()
		time.Sleep(time.Hour)
		if err := p.Check(t.Context()); !errors.Is(err, archive.ErrNotLocked) {
			t.Errorf("Check returns %v", err)
		}
		if s := p.Status(); !errors.Is(s.Faults["archive"], archive.ErrNotLocked) || w.store.puts != 0 {
			t.Errorf("%d objects, %+v", w.store.puts, s)
		}
		if !strings.Contains(w.logged.String(), "not locked") {
			t.Errorf("not logged: %s", w.logged)
		}
		w.store.mu.Lock()
		w.store.locked = nil
		w.store.mu.Unlock()
		p.settle()
		p.stop()
		w.verifySent()
	})
}
