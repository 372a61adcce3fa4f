package pipeline

import (
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/ledger"
)

var classes = []audit.Class{0, audit.Synced, audit.Synced | audit.Single, audit.Single | audit.Reserve, audit.Reserve}

func TestEventsReachTheArchive(t *testing.T) {
	for _, layout := range []string{ledger.LayoutHybrid, ledger.LayoutEvent, ledger.LayoutBatch} {
		t.Run(layout, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.cfg.Layout = layout
				p := w.start()
				for i := range 350 {
					p.append(classes[i%len(classes)])
				}
				p.settle()
				p.stop()
				leaves := w.verifySent()
				if len(leaves) != 351 {
					t.Errorf("%d leaves, want 351", len(leaves))
				}
				for i, l := range leaves[1:] {
					single := false
					for _, at := range l.cut.Singles {
						single = single || l.cut.First+uint64(at) == l.seq
					}
					if want := classes[i%len(classes)]&audit.Single != 0 && layout == ledger.LayoutHybrid; single != want {
						t.Errorf("event %d of class %d has an object of its own: %v", l.seq, classes[i%len(classes)], single)
					}
					if l.cut.Count() > w.cfg.BatchEvents {
						t.Errorf("a batch of %d", l.cut.Count())
					}
				}
				if s := p.Status(); len(s.Faults) != 0 || p.OutboxBytes() != 0 {
					t.Errorf("in the end: %+v", s)
				}
			})
		})
	}
}

func TestEventsWaitForTheirBatch(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cfg.Interval, w.cfg.BatchEvents, w.cfg.BatchBytes = time.Hour, 10, 1000
		p := w.start()
		p.settle() // the first event, at once
		p.append(audit.Synced)
		time.Sleep(59 * time.Minute)
		if s := p.Status(); s.Sealed >= s.Next {
			t.Errorf("an event was cut before its time: %+v", s)
		}
		time.Sleep(2 * time.Minute)
		if s := p.Status(); s.Archived < 2 {
			t.Errorf("an event was not cut in time: %+v", s)
		}
		for range 10 { // as many as a batch has, in more bytes than it may have
			p.append(audit.Synced)
		}
		time.Sleep(5 * time.Second)
		p.stop()
		leaves := w.verifySent()
		last := leaves[len(leaves)-1].cut
		if last.Count() >= 10 {
			t.Errorf("a batch of %d events has %d bytes at least", last.Count(), 10*len(leaves[len(leaves)-1].text))
		}
	})
}

// A backlog of large events is cut without a pause between batches that are full.
func TestBatchesOfBytesFollowEachOther(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cfg.Interval, w.cfg.BatchBytes = 10*time.Minute, 2000
		p := w.start()
		p.settle()
		for range 50 {
			if err := p.tryAppend(audit.Synced, `,"detail":"`+strings.Repeat("x", 1500)+`"`); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(11 * time.Minute)
		if s := p.Status(); s.Archived < 51 {
			t.Errorf("after the interval: %+v", s)
		}
		p.stop()
		w.verifySent()
	})
}

func TestBatchesEndWithTheirDay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		time.Sleep(24*time.Hour - time.Second - time.Duration(time.Now().UnixNano())%(24*time.Hour)) // 23:59:59 UTC
		w.cfg.Interval = time.Hour
		p := w.start()
		for range 20 {
			p.append(audit.Synced | audit.Single)
			time.Sleep(100 * time.Millisecond)
		}
		p.stop()
		days := make(map[string]bool)
		for _, l := range w.verifySent() {
			id, err := ledger.IDTime(ledger.LeafID([]byte(l.text)))
			if err != nil {
				t.Fatal(err)
			}
			if day := ledger.DayPrefix(id); !strings.HasPrefix(l.cut.Batch.Key, day) {
				t.Errorf("event %d of %s is in %s", l.seq, day, l.cut.Batch.Key)
			}
			days[l.cut.Batch.Key[:len(ledger.DayPrefix(id))]] = true
		}
		if len(days) != 2 {
			t.Errorf("%d days, want 2", len(days))
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	for what, change := range map[string]func(c *Config){
		"no key":        func(c *Config) { c.Keys = nil },
		"no layout":     func(c *Config) { c.Layout = "" },
		"a bad name":    func(c *Config) { c.Name = "gw/0" },
		"large batches": func(c *Config) { c.BatchEvents = 20_001 },
		"huge batches":  func(c *Config) { c.BatchBytes = 33 << 20 },
	} {
		t.Run(what, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				change(&w.cfg)
				if p, err := w.open(); err == nil {
					p.stop()
					t.Error("opened")
				}
			})
		})
	}
}
