package pim

import (
	"slices"
	"sync"
	"testing"
	"time"
)

const noticeLease = 3 * time.Minute

func TestNotices(t *testing.T) {
	forEach(t, func(w *world) {
		tell := func(c *Config) {
			c.Notify = func(r Request) ([]Notice, error) {
				if r.State == Spent {
					return nil, nil
				}
				return []Notice{{Endpoint: "desk", Body: []byte(r.ID + " " + string(r.State))}, {Endpoint: "pager", Body: []byte("ring")}}, nil
			}
		}
		one, two := w.replica(tell), w.replica(tell)
		r := w.given(one, call(alice, 1))
		if err := one.Spend(w.Context(), r.ID, alice.PrincipalID, [32]byte{1}, "d"); err != nil {
			w.Fatal(err)
		}
		select {
		case <-one.Notices().Wake():
		default:
			w.Error("nobody was woken")
		}
		// Two senders share them.
		var mu sync.Mutex
		var all []Notice
		w.race(8, func(i int) error {
			some, err := []*Service{one, two}[i%2].Notices().Due(w.Context(), 1, noticeLease)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, some...)
			return err
		})
		for len(all) < 4 { // a race may leave some: those who looked at the same row
			some, err := two.Notices().Due(w.Context(), 10, noticeLease)
			if err != nil || len(some) == 0 {
				w.Fatalf("%d notices, %v", len(all), err)
			}
			all = append(all, some...)
		}
		bodies := make([]string, 0, len(all))
		for _, n := range all {
			bodies = append(bodies, n.Endpoint+" "+string(n.Body))
			if n.Attempts != 0 || n.Created.IsZero() || n.ID == "" {
				w.Errorf("%+v", n)
			}
		}
		slices.Sort(bodies)
		if want := []string{"desk " + r.ID + " approved", "desk " + r.ID + " pending", "pager ring", "pager ring"}; !slices.Equal(bodies, want) {
			w.Errorf("%q, want %q", bodies, want)
		}
		due := func(s *Service) int {
			w.Helper()
			some, err := s.Notices().Due(w.Context(), 10, noticeLease)
			if err != nil {
				w.Fatal(err)
			}
			return len(some)
		}
		if n := due(two); n != 0 {
			w.Errorf("%d are claimed twice", n)
		}
		if err := one.Notices().Forget(w.Context(), all[0].ID); err != nil {
			w.Error(err)
		}
		if err := one.Notices().Forget(w.Context(), all[1].ID); err != nil {
			w.Error(err)
		}
		if err := one.Notices().Retry(w.Context(), all[2].ID, w.now().Add(time.Hour)); err != nil {
			w.Error(err)
		}
		w.pass(noticeLease + time.Second) // the sender of the last one was killed
		if n := due(two); n != 1 {
			w.Errorf("%d are due, want 1", n)
		}
		w.pass(time.Hour)
		some, err := two.Notices().Due(w.Context(), 10, noticeLease)
		slices.SortFunc(some, func(a, b Notice) int { return b.Attempts - a.Attempts })
		if err != nil || len(some) != 2 || some[0].ID != all[2].ID || some[0].Attempts != 1 {
			w.Errorf("%+v, %v", some, err)
		}
		// Nobody wants them any more.
		w.pass(keepNotices)
		if err := one.store.purge(w.Context(), one.cfg.Keep); err != nil || due(one) != 0 {
			w.Errorf("they are kept, %v", err)
		}
	})
}
