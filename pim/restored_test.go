package pim

import (
	"fmt"
	"testing"
	"time"
)

// A database that was restored from a backup, and has passed by now what a replica had
// seen of the lost one, counts as it is: after a poll that failed, after a pause, and
// when everything is read.
func TestRestoredAndOvertaken(t *testing.T) {
	t.Parallel()
	for name, notice := range map[string]func(w *world, s *Service){
		"failed poll": func(w *world, s *Service) {
			w.do("ALTER TABLE pim_feed RENAME TO pim_feed_away")
			if err := s.poll(w.Context()); err == nil {
				w.Error("a poll of nothing succeeds")
			}
			w.do("ALTER TABLE pim_feed_away RENAME TO pim_feed")
			w.polled(s)
		},
		"pause": func(w *world, s *Service) {
			s.followed.Add(-int64(staleAfter + time.Second))
			w.polled(s)
		},
		"clock set back": func(w *world, s *Service) {
			s.followed.Add(int64(time.Hour))
			w.polled(s)
		},
		"reload": func(w *world, s *Service) {
			w.polled(s)
			if err := s.reload(w.Context()); err != nil {
				w.Error(err)
			}
		},
	} {
		for _, sameNumber := range []bool{false, true} {
			t.Run(fmt.Sprint(name, sameNumber), func(t *testing.T) {
				forEach(t, func(w *world) {
					s := w.overtaken(sameNumber)
					notice(w, s)
					w.wantGrant(s, alice, "")
					w.wantGrant(s, bob, "")
					w.wantRevoked(s, alice, true)
					w.wantRevoked(s, bob, true)
					if s.doubtful(w.now()) {
						w.Error("the doubt remains")
					}
				})
			})
		}
	}
}

// overtaken returns a replica that knows grants of alice and bob, which a lost database
// had. In the one that there is now both are revoked, with numbers that the
// replica has heard of.
func (w *world) overtaken(sameNumber bool) *Service {
	w.Helper()
	a, b := w.replica(), w.replica()
	granted := w.given(a, elevation(alice)) // in the backup
	later := w.ask(a, elevation(bob))       // and this; approved behind it
	backup := later.Change
	w.churn(a, 3)
	lost, err := a.Approve(w.Context(), later.ID, carol, "lost")
	if err != nil {
		w.Fatal(err)
	}
	w.polled(b)
	w.wantGrant(b, alice, granted.ID)
	w.wantGrant(b, bob, later.ID)
	w.do(fmt.Sprintf("DELETE FROM pim_requests WHERE change > %d AND id <> '%s'", backup, later.ID))
	w.do(fmt.Sprintf("UPDATE pim_requests SET state = 'pending', change = %d, decider = '', decided = NULL, starts = NULL WHERE id = '%s'", backup, later.ID))
	w.do(fmt.Sprintf("UPDATE pim_feed SET change = %d, pending = 1, live = 1", backup))
	w.polled(a)
	if _, err := a.Revoke(w.Context(), granted.ID, alice, "stolen"); err != nil {
		w.Fatal(err)
	}
	if _, err := a.Approve(w.Context(), later.ID, carol, ""); err != nil {
		w.Fatal(err)
	}
	if sameNumber {
		w.do(fmt.Sprintf("UPDATE pim_feed SET change = %d", lost.Change-1))
	}
	revoked, err := a.Revoke(w.Context(), later.ID, alice, "stolen")
	if err != nil || revoked.Change > lost.Change || sameNumber != (revoked.Change == lost.Change) {
		w.Fatalf("revoked with number %d, lost was %d, %v", revoked.Change, lost.Change, err)
	}
	w.churn(a, 5)
	return b
}

// A commit of our own that the database has lost is no longer known, although no poll
// has seen its number.
func TestOwnCommitLost(t *testing.T) {
	forEach(t, func(w *world) {
		s := w.replica()
		granted := w.given(s, elevation(alice))
		w.wantGrant(s, alice, granted.ID)
		w.do("DELETE FROM pim_requests")
		w.do("UPDATE pim_feed SET change = 0, pending = 0, live = 0")
		w.polled(s)
		w.wantGrant(s, alice, "")
	})
}

// What was read before the polls have read another database is of the lost one.
func TestReadBeforeTheDoubt(t *testing.T) {
	t.Parallel()
	rows := grants(2)
	v := viewOf(rows)
	generation := v.generation.Load()
	v.replace(rows[:1], 9, generation, doubted)
	v.replace(rows, 9, generation, beside)
	if _, _, ok, err := v.Grant(rows[1].holder, false, noon); ok || err != nil {
		t.Errorf("it is back: %v, %v", ok, err)
	}
	if seen, newest, _ := v.position(); seen != 9 || newest != 9 {
		t.Errorf("at %d, %d", seen, newest)
	}
}

// A doubt keeps what was committed here after the feed was read.
func TestDoubtKeepsOwn(t *testing.T) {
	t.Parallel()
	rows := grants(3)
	v := viewOf(rows[:2])
	v.apply(rows[2:])
	v.replace(rows[:1], 2, v.generation.Load(), doubted)
	for i, want := range []bool{true, false, true} {
		if _, _, ok, err := v.Grant(rows[i].holder, false, noon); ok != want || err != nil {
			t.Errorf("%d: %v, %v", i, ok, err)
		}
	}
}

// polled lets a replica poll once.
func (w *world) polled(s *Service) {
	w.Helper()
	if err := s.poll(w.Context()); err != nil {
		w.Fatal(err)
	}
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
