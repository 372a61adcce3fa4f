package pipeline

import (
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
)

func TestEndDeliversWhatIsLeft(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.index = openIndex(t)
		w.cfg.Interval = time.Hour
		p := w.start()
		p.settle()
		for range 250 {
			p.append(audit.Synced | audit.Single)
		}
		p.stop()
		if s := p.Status(); s.Archived != s.Next || s.Indexed != s.Next || len(s.Faults) != 0 {
			t.Errorf("in the end: %+v", s)
		}
		w.verifySent()
		if strings.Contains(w.logged.String(), "wait for the next start") {
			t.Errorf("logged %s", w.logged)
		}
	})
}

// The end waits for an archive that may still answer, not for one that doesn't.
func TestEndDoesNotHang(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.start()
		p.settle()
		w.store.set(hang)
		for range 250 {
			p.append(audit.Synced | audit.Single)
		}
		begun := time.Now()
		p.stop()
		if took := time.Since(begun); took < time.Second || took > 4*time.Second {
			t.Errorf("the end took %v", took)
		}
		if s := p.Status(); s.Sealed != s.Next || s.Waiting != 3 {
			t.Errorf("in the end: %+v", s)
		}
		if !strings.Contains(w.logged.String(), "wait for the next start") || strings.Contains(w.logged.String(), "context canceled") {
			t.Errorf("logged %s", w.logged)
		}
		w.store.set(nil)
		p = w.start()
		p.settle()
		p.stop()
		w.verifySent()
	})
}

// An archive that is known to be away is not waited for.
func TestEndDoesNotWaitInVain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.start()
		w.store.set(away)
		p.append(audit.Synced)
		p.await("a fault", func(s Status) bool { return s.Faults["archive"] != nil && s.Sealed == s.Next })
		begun := time.Now()
		p.stop()
		if took := time.Since(begun); took > time.Second {
			t.Errorf("the end took %v", took)
		}
	})
}

// Run ends while events still come.
func TestEndUnderLoad(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.start()
		done, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for {
				select {
				case <-done:
					return
				case <-time.After(time.Millisecond):
					p.append(audit.Synced)
				}
			}
		}()
		time.Sleep(time.Second)
		p.cancel()
		begun := time.Now()
		if err := <-p.ended; err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > 4*time.Second {
			t.Errorf("the end took %v", took)
		}
		close(done)
		<-ended
		p.cancel = nil
		p.stop()
		p = w.start()
		p.settle()
		p.stop()
		w.verifySent()
	})
}
