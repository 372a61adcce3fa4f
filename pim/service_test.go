package pim

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/audit"
)

func TestElevation(t *testing.T) {
	forEach(t, func(w *world) {
		one, two := w.replica(), w.replica()
		asked := w.ask(one, elevation(alice))
		if asked.State != Pending || asked.Until.Sub(asked.Requested) != terms.PendingFor || asked.Duration != time.Hour {
			w.Errorf("asked: %+v", asked)
		}
		if id := one.View().Pending(holder(alice), [32]byte{}); id != asked.ID {
			w.Errorf("pending: %q", id)
		}
		w.wantGrant(one, alice, "")
		granted, err := one.Approve(w.Context(), asked.ID, bob, "fine")
		if err != nil || granted.State != Approved || granted.Until.Sub(granted.Starts) != time.Hour || granted.Decider != bob {
			w.Errorf("approved: %+v, %v", granted, err)
		}
		w.wantGrant(one, alice, asked.ID)
		w.wantGrant(one, bob, "")
		w.wantGrant(two, alice, "")
		if err := two.poll(w.Context()); err != nil {
			w.Error(err)
		}
		w.wantGrant(two, alice, asked.ID)
		if id := two.View().Pending(holder(alice), [32]byte{}); id != "" {
			w.Errorf("still pending: %q", id)
		}
		if got, err := two.Get(w.Context(), asked.ID); err != nil || got != granted {
			w.Errorf("the other replica has %v\n%s", err, cmp.Diff(granted, got))
		}
		if stats := two.Stats(); stats.Live != 1 || stats.Pending != 0 || stats.BreakGlass != 0 || stats.Age < 0 || stats.Age > time.Minute {
			w.Errorf("stats: %+v", stats)
		}
		if again, err := two.Approve(w.Context(), asked.ID, bob, "fine"); err != nil || again != granted {
			w.Errorf("approved again: %+v, %v", again, err)
		}

		revoked, err := two.Revoke(w.Context(), asked.ID, bob, "left")
		if err != nil || revoked.State != Revoked {
			w.Errorf("revoked: %+v, %v", revoked, err)
		}
		w.wantGrant(two, alice, "")
		at, ok, err := two.View().RevokedAt(holder(alice), w.now())
		if !ok || err != nil || !at.Equal(revoked.Ended) {
			w.Errorf("revoked at %v, %v, %v, want %v", at, ok, err, revoked.Ended)
		}
		w.pass(time.Millisecond)
		// Nobody lifts that alone.
		lax := terms
		lax.RequireApproval = false
		again, err := two.Request(w.Context(), elevation(alice), lax)
		if err != nil || again.State != Pending {
			w.Errorf("after the revocation: %+v, %v", again, err)
		}
		if _, err := two.Approve(w.Context(), again.ID, bob, ""); err != nil {
			w.Error(err)
		}
		w.wantGrant(two, alice, again.ID)
		if _, ok, err := two.View().RevokedAt(holder(alice), w.now()); ok || err != nil {
			w.Errorf("the new grant doesn't lift the revocation: %v", err)
		}
		want := []string{
			"request begun", "request done", "approve begun", "approve done", "revoke begun", "revoke done",
			"request begun", "request done", "approve begun", "approve done",
		}
		if diff := cmp.Diff(want, said(w.journal.take())); diff != "" {
			w.Error(diff)
		}
	})
}

func TestEnds(t *testing.T) {
	forEach(t, func(w *world) {
		one := w.replica()
		lapsing, granted, spendable := w.ask(one, elevation(bob)), w.given(one, elevation(alice)), w.given(one, call(alice, 1))
		_, until, _, err := one.View().Grant(holder(alice), false, w.now())
		if err != nil || !until.Equal(granted.Until) {
			w.Errorf("until %v, %v, want %v", until, err, granted.Until)
		}
		w.pass(59 * time.Minute)
		w.poll(one)
		w.wantGrant(one, alice, granted.ID)
		w.wantApproval(one, alice, 1, "")
		w.wantError("approve too late", second(one.Approve(w.Context(), lapsing.ID, Party{PrincipalID: "c", Person: "c"}, "")), ErrState)
		w.wantError("spend too late", one.Spend(w.Context(), spendable.ID, alice.PrincipalID, [32]byte{1}, "d"), ErrState)
		w.pass(time.Minute)
		w.poll(one)
		w.wantGrant(one, alice, "")

		// All replicas end it, each once in all.
		w.journal.take()
		replicas := []*Service{one, w.replica(), w.replica(), w.replica()}
		var wait sync.WaitGroup
		for _, s := range replicas {
			wait.Go(func() {
				if err := s.lapse(w.Context()); err != nil {
					w.Error(err)
				}
			})
		}
		wait.Wait()
		var lapsed uint64
		for _, s := range replicas {
			lapsed += s.Stats().Lapsed
		}
		done := 0
		for _, e := range w.journal.take() {
			if e.Action != "expire" || e.Metadata.Principal != nil {
				w.Errorf("event %s", e.Raw)
			}
			if e.Status == "done" {
				done++
			}
		}
		if lapsed != 3 || done != 3 {
			w.Errorf("%d have lapsed, %d events say so, want 3", lapsed, done)
		}
		for _, r := range []Request{lapsing, granted, spendable} {
			w.wantState(one, r.ID, Expired)
		}
		if r, err := one.Get(w.Context(), spendable.ID); err != nil || r.Call != "" {
			w.Errorf("the call outlived its approval: %q, %v", r.Call, err)
		}
		w.wantPending(0)
	})
}

// second is the error of an answer.
func second(_ Request, err error) error { return err }

// wantPending wants the database to count right, with nothing in force.
func (w *world) wantPending(pending int64) {
	w.Helper()
	var counted, real [2]int64
	w.scan(&counted, "SELECT pending, live FROM pim_feed")
	w.scan(&real, "SELECT coalesce(sum(CASE state WHEN 'pending' THEN 1 ELSE 0 END), 0), coalesce(sum(CASE state WHEN 'approved' THEN 1 ELSE 0 END), 0) FROM pim_requests")
	if want := [2]int64{pending, 0}; counted != want || real != want {
		w.Errorf("counted %v, there are %v, want %v", counted, real, want)
	}
}

func TestDecider(t *testing.T) {
	forEach(t, func(w *world) {
		one := w.replica()
		asked := w.ask(one, elevation(alice))
		w.journal.take()
		for _, by := range []Party{alice, aliceElsewhere, aliceApp} {
			w.wantError("approves an own request", second(one.Approve(w.Context(), asked.ID, by, "")), ErrSelf)
		}
		w.wantError("denies it", second(one.Deny(w.Context(), asked.ID, aliceElsewhere, "")), ErrSelf)
		w.wantError("nobody known", second(one.Approve(w.Context(), asked.ID, robot, "")), ErrPersonUnknown)
		w.wantError("cancels another's", second(one.Cancel(w.Context(), asked.ID, bob)), ErrNotRequester)
		events := w.journal.take()
		want := []string{"approve refused", "approve refused", "approve refused", "deny refused", "approve refused", "cancel refused"}
		if diff := cmp.Diff(want, said(events)); diff != "" {
			w.Fatal(diff)
		}
		if e := events[1]; e.Metadata.Principal.Subject != "0815" || e.Metadata.Failed != ErrSelf.Error() || e.Metadata.RequestID != asked.ID {
			w.Errorf("event %s", e.Raw)
		}
		w.wantState(one, asked.ID, Pending)
		_, err := one.Request(w.Context(), elevation(robot), terms)
		w.wantError("a request that nobody could approve", err, ErrPersonUnknown)
		if r, err := one.Cancel(w.Context(), asked.ID, aliceElsewhere); err != nil || r.State != Cancelled {
			w.Errorf("cancel: %+v, %v", r, err)
		}
		w.wantError("unknown", second(one.Approve(w.Context(), audit.NewID(noon), bob, "")), ErrUnknown)
		w.wantError("no id", second(one.Approve(w.Context(), "' OR 1=1 --", bob, "")), ErrUnknown)
		w.wantError("comment", second(one.Approve(w.Context(), asked.ID, bob, "\x00")), ErrAsk)
		w.wantPending(0)
	})
}

func TestCall(t *testing.T) {
	forEach(t, func(w *world) {
		one, two := w.replica(), w.replica()
		asked := w.ask(one, call(alice, 1))
		if one.View().Pending(holder(alice), [32]byte{1}) != asked.ID || one.View().Pending(holder(alice), [32]byte{}) != "" {
			w.Error("it isn't pending, or an elevation is")
		}
		lax := terms
		lax.RequireApproval = false
		if r, err := one.Request(w.Context(), call(alice, 2), lax); err != nil || r.State != Pending {
			w.Errorf("a call that nobody has to approve: %s, %v", r.State, err)
		}
		w.wantError("spend what isn't approved", one.Spend(w.Context(), asked.ID, alice.PrincipalID, [32]byte{1}, "d1"), ErrState)
		if _, err := one.Approve(w.Context(), asked.ID, bob, ""); err != nil {
			w.Fatal(err)
		}
		w.poll(two)
		w.wantApproval(one, alice, 1, asked.ID)
		w.wantApproval(two, alice, 1, asked.ID)
		w.wantApproval(two, alice, 3, "")
		w.wantApproval(two, bob, 1, "")
		w.wantGrant(two, alice, "")
		w.journal.take()
		for what, err := range map[string]error{
			"another's":  two.Spend(w.Context(), asked.ID, bob.PrincipalID, [32]byte{1}, "d1"),
			"other call": two.Spend(w.Context(), asked.ID, alice.PrincipalID, [32]byte{2}, "d1"),
			"no id":      two.Spend(w.Context(), "x", alice.PrincipalID, [32]byte{1}, "d1"),
			"nobody's":   two.Spend(w.Context(), audit.NewID(noon), alice.PrincipalID, [32]byte{1}, "d1"),
			"no reason":  two.Spend(w.Context(), asked.ID, alice.PrincipalID, [32]byte{1}, ""),
		} {
			w.wantError(what, err, ErrUnknown)
		}
		for range 2 { // an answer may get lost
			if err := two.Spend(w.Context(), asked.ID, alice.PrincipalID, [32]byte{1}, "d1"); err != nil {
				w.Error(err)
			}
		}
		w.wantError("twice", one.Spend(w.Context(), asked.ID, alice.PrincipalID, [32]byte{1}, "d2"), ErrSpent)
		e := w.journal.take()[0]
		if e.Action != "spend" || e.Status != "done" || e.class != audit.Reserve || e.Metadata.DecisionID != "d1" || e.Metadata.Fingerprint != fmt.Sprintf("%064x", [32]byte{1}) {
			w.Errorf("event %s, class %b", e.Raw, e.class)
		}
		// A retry still finds it, until it can't be replayed any more.
		w.poll(one)
		w.wantApproval(one, alice, 1, asked.ID)
		next := w.given(one, call(alice, 1))
		w.wantApproval(one, alice, 1, next.ID)
		w.pass(24*time.Hour - time.Minute)
		w.poll(one)
		w.wantApproval(one, alice, 1, asked.ID)
		w.pass(time.Minute)
		w.poll(one)
		w.wantApproval(one, alice, 1, "")
		if r, err := one.Get(w.Context(), asked.ID); err != nil || r.Call != "" || r.SpentBy != "d1" {
			w.Errorf("spent: %+v, %v", r, err)
		}
	})
}

func TestRevokeHolder(t *testing.T) {
	forEach(t, func(w *world) {
		one, two := w.replica(), w.replica()
		granted := w.given(one, elevation(alice))
		w.pass(time.Second)
		r, err := one.RevokeHolder(w.Context(), alice.PrincipalID, "cars", "scrap", time.Hour, bob, "stolen laptop")
		if err != nil || r.State != Revoked || r.Ender != bob || r.Why != "stolen laptop" || r.Until.Sub(r.Ended) != time.Hour {
			w.Errorf("%+v, %v", r, err)
		}
		w.poll(one, two)
		for _, s := range []*Service{one, two} {
			at, ok, err := s.View().RevokedAt(holder(alice), w.now())
			if !ok || err != nil || !at.Equal(w.get(s, r.ID).Ended) {
				w.Errorf("revoked at %v, %v, %v", at, ok, err)
			}
			if _, ok, err := s.View().RevokedAt(Holder{alice.PrincipalID, "cars", "sell"}, w.now()); ok || err != nil {
				w.Errorf("another tool: %v, %v", ok, err)
			}
		}
		events := w.journal.take()
		if e := events[len(events)-1]; e.Action != "revoke_holder" || e.Status != "done" || e.UserID != "bob" || e.Metadata.Why != "stolen laptop" || e.class&audit.Synced == 0 {
			w.Errorf("event %s", e.Raw)
		}
		w.pass(time.Hour)
		w.poll(one)
		if _, ok, err := one.View().RevokedAt(holder(alice), w.now()); ok || err != nil {
			w.Errorf("after its time: %v, %v", ok, err)
		}
		w.wantState(one, granted.ID, Approved) // nobody has ended it yet
		_, err = one.RevokeHolder(w.Context(), "p", "", "t", 0, bob, "")
		w.wantError("no server", err, ErrAsk)
	})
}

func (w *world) get(s *Service, id string) Request {
	w.Helper()
	r, err := s.Get(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return r
}
