package pim

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
)

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
		w.wantRevoked(s, alice, true)
		w.pass(8 * time.Minute)
		w.poll(s)
		w.wantRevoked(s, alice, false)
	})
}

// A holder's revocation outlasts the grants that run, too; those of other tools and
// approvals of calls don't matter.
func TestRevokeHolderOutlasts(t *testing.T) {
	forEach(t, func(w *world) {
		s := w.replica()
		longer := elevation(alice)
		longer.Tool = "sell"
		w.given(s, longer)
		w.given(s, call(alice, 1))
		short := elevation(alice)
		short.Duration = 5 * time.Minute // an approval waits longer
		granted := w.given(s, short)
		r, err := s.RevokeHolder(w.Context(), alice.PrincipalID, "cars", "scrap", time.Minute, bob, "stolen laptop")
		if err != nil || !r.Until.Equal(granted.Until) {
			w.Errorf("until %v, %v, want %v", r.Until, err, granted.Until)
		}
		w.pass(2 * time.Minute)
		w.poll(s)
		w.wantRevoked(s, alice, true)
	})
}

func (w *world) wantRevoked(s *Service, who Party, want bool) {
	w.Helper()
	if _, ok, err := s.View().RevokedAt(holder(who), w.now()); ok != want || err != nil {
		w.Errorf("revoked is %v, %v, want %v", ok, err, want)
	}
}

// Whoever gives an own elevation back may have another without anybody's approval.
func TestGivenBack(t *testing.T) {
	forEach(t, func(w *world) {
		one, two := w.replica(), w.replica()
		granted := w.given(one, elevation(alice))
		w.wantError("another's", second(one.Cancel(w.Context(), granted.ID, bob)), ErrNotRequester)
		back, err := one.Cancel(w.Context(), granted.ID, aliceElsewhere)
		if err != nil || back.State != Cancelled || back.Ender != aliceElsewhere || back.Ended.IsZero() {
			w.Errorf("given back: %+v, %v", back, err)
		}
		w.polled(two)
		for _, s := range []*Service{one, two} {
			w.wantGrant(s, alice, "")
			w.wantRevoked(s, alice, false)
		}
		w.wantPending(0)
		lax := terms
		lax.RequireApproval = false
		if again, err := one.Request(w.Context(), elevation(alice), lax); err != nil || again.State != Approved {
			w.Errorf("again: %+v, %v", again, err)
		}

		// What is over stays as it is.
		spent, late := w.given(one, call(alice, 1)), w.given(one, call(alice, 2))
		if err := one.Spend(w.Context(), spent.ID, alice.PrincipalID, [32]byte{1}, "d"); err != nil {
			w.Fatal(err)
		}
		w.pass(2 * time.Hour)
		w.wantError("spent", second(one.Cancel(w.Context(), spent.ID, alice)), ErrState)
		w.wantError("past its time", second(one.Cancel(w.Context(), late.ID, alice)), ErrState)
		w.wantState(one, spent.ID, Spent)
	})
}

// A caller who leaves when the intent is recorded doesn't stop it half-way.
func TestCallerLeaves(t *testing.T) {
	forEach(t, func(w *world) {
		w.provider = &fakeProvider{}
		s := w.replica()
		asked := w.ask(s, call(alice, 1))
		leaving := func() context.Context {
			ctx, leave := context.WithCancel(w.Context())
			w.journal.refuses(func(audit.Class) bool { leave(); return false })
			return ctx
		}
		if r, err := s.Approve(leaving(), asked.ID, bob, "fine"); err != nil || r.State != Approved {
			w.Errorf("approve: %s, %v", r.State, err)
		}
		w.wantState(s, asked.ID, Approved)
		filed, err := s.Request(leaving(), external(alice), terms)
		if err != nil || len(w.provider.filed) != 1 {
			w.Errorf("request: %v, filed %+v", err, w.provider.filed)
		}
		w.wantState(s, filed.ID, Pending)
	})
}

// What can't be told doesn't happen.
func TestNotifyFails(t *testing.T) {
	forEach(t, func(w *world) {
		broken := errors.New("no endpoint")
		s := w.replica(func(c *Config) {
			c.Notify = func(r Request) ([]Notice, error) {
				if r.State == Approved {
					return nil, broken
				}
				return nil, nil
			}
		})
		asked := w.ask(s, elevation(alice))
		w.wantError("approve", second(s.Approve(w.Context(), asked.ID, bob, "")), broken)
		w.wantState(s, asked.ID, Pending)
		w.wantGrant(s, alice, "")
		w.wantPending(1)
	})
}

// A decision by an agent is refused, and recorded with its name.
func TestAgentDecides(t *testing.T) {
	forEach(t, func(w *world) {
		s := w.replica()
		by := alice
		by.Actor = "copilot"
		asked := w.ask(s, elevation(by))
		if got := w.get(s, asked.ID).Requester; got != by {
			w.Errorf("stored %+v", got)
		}
		w.journal.take()
		agent := bob
		agent.Actor = "copilot"
		w.wantError("approve", second(s.Approve(w.Context(), asked.ID, agent, "")), ErrDelegated)
		w.wantError("deny", second(s.Deny(w.Context(), asked.ID, agent, "")), ErrDelegated)
		events := w.journal.take()
		if len(events) != 2 {
			w.Fatalf("recorded %v", said(events))
		}
		for _, e := range events {
			if e.Status != refused || e.Metadata.Principal.Actor != "copilot" {
				w.Errorf("event %s", e.Raw)
			}
		}
		w.wantState(s, asked.ID, Pending)
	})
}

// Where somebody has to approve, it must be known who asks.
func TestUnknownAsks(t *testing.T) {
	forEach(t, func(w *world) {
		w.provider = &fakeProvider{}
		s := w.replica()
		lax := terms
		lax.RequireApproval = false
		glass := elevation(robot)
		glass.BreakGlass = true
		for name, ask := range map[string]Ask{"call": call(robot, 1), "break-glass": glass} {
			w.wantError(name, second(s.Request(w.Context(), ask, lax)), ErrPersonUnknown)
		}
		if page, _, err := s.List(w.Context(), Filter{}); err != nil || len(page) != 0 {
			w.Errorf("%d requests, %v", len(page), err)
		}
		if _, err := s.Request(w.Context(), external(robot), terms); err != nil { // the provider decides
			w.Error(err)
		}
		local := w.replica(func(c *Config) { c.Provider = nil })
		w.wantError("elevation", second(local.Request(w.Context(), elevation(robot), terms)), ErrPersonUnknown)
		granted, err := local.Request(w.Context(), elevation(robot), lax)
		if err != nil || granted.State != Approved {
			w.Errorf("nobody has to approve: %+v, %v", granted, err)
		}
		if _, err := local.Revoke(w.Context(), granted.ID, bob, ""); err != nil {
			w.Error(err)
		}
		w.wantError("after a revocation", second(local.Request(w.Context(), elevation(robot), lax)), ErrPersonUnknown)
	})
}
