package pim

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/database"
)

// scan reads two numbers.
func (w *world) scan(to *[2]int64, statement string) {
	w.Helper()
	err := w.open().Query(w.Context(), func(rows *sql.Rows) error { return rows.Scan(&to[0], &to[1]) }, statement)
	if err != nil {
		w.Fatal(err)
	}
}

// race calls do many times at once and returns how often it had no error; all other
// errors must be one of those.
func (w *world) race(n int, do func(i int) error, expected ...error) int64 {
	w.Helper()
	var wait sync.WaitGroup
	var won atomic.Int64
	start := make(chan struct{})
	for i := range n {
		wait.Go(func() {
			<-start
			err := do(i)
			if err == nil {
				won.Add(1)
				return
			}
			for _, e := range expected {
				if errors.Is(err, e) {
					return
				}
			}
			w.Errorf("%d: %v", i, err)
		})
	}
	close(start)
	wait.Wait()
	return won.Load()
}

func TestRaces(t *testing.T) {
	forEach(t, func(w *world) {
		replicas := []*Service{w.replica(), w.replica()}
		approved := w.given(replicas[0], call(alice, 1))
		spent := w.race(64, func(i int) error {
			return replicas[i%2].Spend(w.Context(), approved.ID, alice.PrincipalID, [32]byte{1}, fmt.Sprint("d", i))
		}, ErrSpent)
		if spent != 1 {
			w.Errorf("spent %d times", spent)
		}
		w.wantPending(0)

		asked := w.ask(replicas[0], elevation(alice))
		decided := w.race(48, func(i int) error {
			switch s := replicas[i%2]; i % 3 {
			case 0:
				return second(s.Approve(w.Context(), asked.ID, bob, fmt.Sprint(i)))
			case 1:
				return second(s.Deny(w.Context(), asked.ID, bob, fmt.Sprint(i)))
			default:
				return second(s.Deny(w.Context(), asked.ID, carol, fmt.Sprint(i)))
			}
		}, ErrState)
		if decided != 1 {
			w.Errorf("decided %d times", decided)
		}

		// The view of each agrees in the end.
		w.poll(replicas...)
		r := w.get(replicas[0], asked.ID)
		for _, s := range replicas {
			if _, _, ok, err := s.View().Grant(holder(alice), false, w.now()); ok != (r.State == Approved) || err != nil {
				w.Errorf("it is %s, the view says %v, %v", r.State, ok, err)
			}
		}
	})
}

func TestDuplicates(t *testing.T) {
	forEach(t, func(w *world) {
		replicas := []*Service{w.replica(), w.replica()}
		var ids sync.Map
		w.race(32, func(i int) error {
			r, err := replicas[i%2].Request(w.Context(), call(alice, byte(i%4+1)), terms)
			ids.Store(r.ID, r)
			return err
		})
		n := 0
		ids.Range(func(_, _ any) bool { n++; return true })
		if n != 4 {
			w.Errorf("%d requests, want 4", n)
		}
		w.wantPending(4)
		// What isn't pending any more is no duplicate; nor is another requester's.
		first := w.ask(replicas[0], call(alice, 1))
		if _, err := replicas[0].Deny(w.Context(), first.ID, bob, ""); err != nil {
			w.Fatal(err)
		}
		if again := w.ask(replicas[0], call(alice, 1)); again.ID == first.ID {
			w.Error("a denied one is the answer")
		}
		if other := w.ask(replicas[0], call(bob, 1)); other.Requester != bob {
			w.Error("another's is the answer")
		}
		glass := elevation(alice)
		glass.BreakGlass = true
		if a, b := w.ask(replicas[0], elevation(alice)), w.ask(replicas[0], glass); a.ID == b.ID {
			w.Error("a grant for break-glass is another")
		}
	})
}

func TestBounds(t *testing.T) {
	forEach(t, func(w *world) {
		replicas := []*Service{w.replica(), w.replica()}
		entered := w.race(48, func(i int) error {
			return second(replicas[i%2].Request(w.Context(), call(alice, byte(i+1)), terms))
		}, ErrTooMany)
		if entered != mostPendingOfOne {
			w.Errorf("%d pending of one requester", entered)
		}
		w.wantPending(mostPendingOfOne)
		one := replicas[0]
		other := w.ask(one, elevation(bob))
		w.do(fmt.Sprintf("UPDATE pim_feed SET pending = %d, live = %d", mostPending, mostLive))
		w.wantError("pending", second(one.Request(w.Context(), elevation(carol), terms)), ErrTooMany)
		w.wantError("live", second(one.Approve(w.Context(), other.ID, alice, "")), ErrTooMany)
		lax := terms
		lax.RequireApproval = false
		w.wantError("live without approval", second(one.Request(w.Context(), elevation(carol), lax)), ErrTooMany)
		w.do(fmt.Sprintf("UPDATE pim_feed SET pending = %d, live = %d", mostPending-1, mostLive-1))
		w.ask(one, elevation(carol))
		if _, err := one.Approve(w.Context(), other.ID, alice, ""); err != nil {
			w.Error(err)
		}

		w.do("UPDATE pim_feed SET pending = 0, live = 0")
		for range mostLiveOfOne {
			if _, err := one.Request(w.Context(), elevation(robot), lax); err != nil {
				w.Fatal(err)
			}
		}
		w.wantError("live of one", second(one.Request(w.Context(), elevation(robot), lax)), ErrTooMany)
	})
}

// TestAgain runs transactions twice, as after a commit whose answer was lost.
func TestAgain(t *testing.T) {
	forEach(t, func(w *world) {
		one := w.replica(func(c *Config) {
			c.Notify = func(r Request) ([]Notice, error) { return []Notice{{Endpoint: "e", Body: []byte(r.State)}}, nil }
		})
		twice := func(do func(context.Context, *batch) error) {
			w.Helper()
			for try := range 2 {
				changed, err := one.store.change(w.Context(), do)
				if err != nil || len(changed) != 1-try {
					w.Errorf("try %d: %d changes, %v", try, len(changed), err)
				}
			}
		}
		draft := func(a Ask, id string) Request {
			r := a.draft(&terms)
			r.ID = id
			return r
		}
		r := draft(elevation(alice), "00000000-0000-7000-8000-000000000001")
		twice(func(ctx context.Context, b *batch) error { return b.enter(ctx, r, &terms) })
		event := func(id string, e Event) {
			w.Helper()
			twice(func(ctx context.Context, b *batch) error {
				r, err := b.find(ctx, id)
				if err == nil {
					_, err = b.step(ctx, r, e)
				}
				return err
			})
		}
		event(r.ID, Approve{By: bob, Comment: "fine"})
		event(r.ID, Revoke{By: bob, Why: "left"})
		approved := w.given(one, call(alice, 1))
		event(approved.ID, Spend{DecisionID: "d"})
		w.wantPending(0)
		notices := map[string]int{}
		err := w.open().Query(w.Context(), func(rows *sql.Rows) error {
			var state string
			var n int
			err := rows.Scan(&state, &n)
			notices[state] = n
			return err
		}, "SELECT body, count(*) FROM pim_notices GROUP BY body")
		if err != nil || notices["pending"] != 2 || notices["approved"] != 2 || notices["revoked"] != 1 || notices["spent"] != 1 {
			w.Errorf("notices %v, %v", notices, err)
		}
		// What failed in between left nothing.
		var before, after [2]int64
		w.scan(&before, "SELECT change, pending FROM pim_feed")
		broken := errors.New("broken")
		_, err = one.store.change(w.Context(), func(ctx context.Context, b *batch) error {
			r := draft(elevation(bob), "00000000-0000-7000-8000-000000000002")
			return errors.Join(b.enter(ctx, r, &terms), broken)
		})
		w.scan(&after, "SELECT change, pending FROM pim_feed")
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, broken) || before != after {
			w.Errorf("%v, feed %v, then %v", err, before, after)
		}
		w.wantError("nothing is there", second(one.Get(w.Context(), "00000000-0000-7000-8000-000000000002")), ErrUnknown)
	})
}

// TestHeldUp holds every change up, as a replica that hangs in the middle of one would:
// what is known must stay fresh.
func TestHeldUp(t *testing.T) {
	forEach(t, func(w *world) {
		one := w.replica()
		approved := w.given(one, call(alice, 1))
		held, release := make(chan struct{}), make(chan struct{})
		var wait sync.WaitGroup
		other := w.open()
		wait.Go(func() {
			err := other.Change(w.Context(), func(ctx context.Context, tx database.Tx) error {
				_, err := tx.ExecContext(ctx, "UPDATE pim_feed SET change = change")
				close(held)
				<-release
				return err
			})
			if err != nil {
				w.Error(err)
			}
		})
		<-held
		ctx, cancel := context.WithCancel(w.Context())
		for i := range 16 {
			wait.Go(func() {
				w.wantError("spend", one.Spend(ctx, approved.ID, alice.PrincipalID, [32]byte{1}, fmt.Sprint("d", i)), ErrUnavailable)
			})
		}
		w.soon("they wait", 5*time.Second, func() bool { return len(one.store.changing) == mostChanges })
		for range 10 {
			if err := one.poll(w.Context()); err != nil {
				w.Error(err)
			}
		}
		w.wantApproval(one, alice, 1, approved.ID)
		cancel()
		close(release)
		wait.Wait()
		w.wantState(one, approved.ID, Approved)
	})
}

// Who goes away once the intent is recorded doesn't leave a change half done.
func TestAskerGoesAway(t *testing.T) {
	forEach(t, func(w *world) {
		one := w.replica()
		asked := w.ask(one, elevation(alice))
		ctx, goAway := context.WithCancel(w.Context())
		w.journal.refuses(func(audit.Class) bool {
			goAway()
			return false
		})
		w.journal.take()
		w.wantError("the approval", second(one.Approve(ctx, asked.ID, bob, "")), nil)
		w.wantState(one, asked.ID, Approved)
		if got := said(w.journal.take()); len(got) != 2 {
			w.Errorf("recorded: %q", got)
		}
	})
}
