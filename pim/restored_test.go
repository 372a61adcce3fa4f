package pim

import (
	"fmt"
	"testing"
	"time"
)

// A database that was restored from a backup, and has passed by now what a replica had
// seen of the lost one, is read anew: polls have failed meanwhile.
func TestRestoredAndOvertaken(t *testing.T) {
	forEach(t, func(w *world) {
		a, b := w.replica(), w.replica()
		granted := w.given(a, elevation(alice)) // in the backup
		later := w.ask(a, elevation(bob))       // and this; approved behind it
		backup := later.Change
		w.churn(a, 3)
		if _, err := a.Approve(w.Context(), later.ID, carol, "lost"); err != nil {
			w.Fatal(err)
		}
		w.poll(b)
		w.wantGrant(b, bob, later.ID)
		w.do(fmt.Sprintf("DELETE FROM pim_requests WHERE change > %d AND id <> '%s'", backup, later.ID))
		w.do(fmt.Sprintf("UPDATE pim_requests SET state = 'pending', change = %d, decider = '', decided = NULL, starts = NULL WHERE id = '%s'", backup, later.ID))
		w.do(fmt.Sprintf("UPDATE pim_feed SET change = %d, pending = 1, live = 1", backup))
		w.poll(a)
		if _, err := a.Revoke(w.Context(), granted.ID, bob, "stolen"); err != nil {
			w.Fatal(err)
		}
		w.churn(a, 8)
		if seen, _ := b.view.position(); seen >= w.get(a, granted.ID).Change+16 {
			w.Fatalf("not overtaken: %d", seen)
		}
		b.doubt.Store(true) // the restore took its time
		w.poll(b)
		w.wantGrant(b, alice, "")
		w.wantGrant(b, bob, "")
		if _, revoked, err := b.View().RevokedAt(holder(alice), w.now()); !revoked || err != nil {
			w.Errorf("revoked is %v, %v", revoked, err)
		}
	})
}

// A poll that fails raises the doubt, and one that succeeds ends it.
func TestDoubt(t *testing.T) {
	forEach(t, func(w *world) {
		s := w.replica()
		w.do("ALTER TABLE pim_feed RENAME TO pim_feed_away")
		if err := s.poll(w.Context()); err == nil || !s.doubt.Load() {
			w.Errorf("%v, doubt %v", err, s.doubt.Load())
		}
		w.do("ALTER TABLE pim_feed_away RENAME TO pim_feed")
		if w.poll(s); s.doubt.Load() {
			w.Error("the doubt remains")
		}
	})
}

// One of two grants is revoked: nothing is left, until both would have ended.
func TestRevokeOneOfTwo(t *testing.T) {
	forEach(t, func(w *world) {
		s := w.replica()
		long, short := elevation(alice), elevation(alice)
		long.Duration, short.Duration = 10*time.Minute, time.Minute
		w.given(s, long)
		shorter := w.given(s, short)
		revoked, err := s.Revoke(w.Context(), shorter.ID, bob, "stolen")
		if err != nil || revoked.Until.Sub(revoked.Ended) < 9*time.Minute {
			w.Errorf("revoked until %v, %v", revoked.Until, err)
		}
		w.pass(2 * time.Minute) // past the end of what was revoked
		w.poll(s)
		if _, ok, err := s.View().RevokedAt(holder(alice), w.now()); !ok || err != nil {
			w.Errorf("it has worn off: %v, %v", ok, err)
		}
	})
}

// churn makes changes that are about nobody else.
func (w *world) churn(s *Service, times int) {
	w.Helper()
	for range times {
		r := w.ask(s, elevation(carol))
		if _, err := s.Cancel(w.Context(), r.ID, carol); err != nil {
			w.Fatal(err)
		}
	}
}
