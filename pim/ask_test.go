package pim

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestAsk(t *testing.T) {
	forEach(t, func(w *world) {
		one := w.replica()
		for name, change := range map[string]func(*Ask, *Terms){
			"kind":              func(a *Ask, _ *Terms) { a.Kind = "party" },
			"requester":         func(a *Ask, _ *Terms) { a.Requester = Party{} },
			"server":            func(a *Ask, _ *Terms) { a.Server = "" },
			"tool":              func(a *Ask, _ *Terms) { a.Tool = strings.Repeat("t", 513) },
			"reason":            func(a *Ask, t *Terms) { a.Reason, t.RequireReason = " \n", true },
			"reason:":           func(a *Ask, _ *Terms) { a.Reason = strings.Repeat("r", 2049) },
			"text":              func(a *Ask, _ *Terms) { a.Reason = "a\x00b" },
			"is no text":        func(a *Ask, _ *Terms) { a.Requester.Subject = "\xff" },
			"duration":          func(a *Ask, _ *Terms) { a.Duration = time.Hour + 1 },
			"within [1s":        func(a *Ask, _ *Terms) { a.Duration = -1 },
			"switched off":      func(a *Ask, t *Terms) { a.BreakGlass, t.BreakGlass = true, false },
			"15m":               func(a *Ask, _ *Terms) { a.BreakGlass, a.Duration = true, 16*time.Minute },
			"one is required":   func(a *Ask, _ *Terms) { a.BreakGlass, a.Reason = true, "" },
			"no time":           func(_ *Ask, t *Terms) { t.Longest = 0 },
			"leaves no time":    func(_ *Ask, t *Terms) { t.PendingFor = 0 },
			"approvals":         func(a *Ask, _ *Terms) { a.Fingerprint[3] = 1 },
			"fingerprint":       func(a *Ask, _ *Terms) { *a = call(alice, 0) },
			"call: is not JSON": func(a *Ask, _ *Terms) { *a = call(alice, 1); a.Call = "{" },
			"not JSON":          func(a *Ask, _ *Terms) { *a = call(alice, 1); a.Call = "" },
			"16384 bytes":       func(a *Ask, _ *Terms) { *a = call(alice, 1); a.Call = `"` + strings.Repeat("x", 16<<10) + `"` },
			"elevations":        func(a *Ask, _ *Terms) { *a = call(alice, 1); a.BreakGlass = true },
			"negative":          func(a *Ask, _ *Terms) { *a = call(alice, 1); a.Duration = -1 },
		} {
			ask, terms := elevation(alice), terms
			change(&ask, &terms)
			_, err := one.Request(w.Context(), ask, terms)
			if !errors.Is(err, ErrAsk) || !strings.Contains(err.Error(), strings.TrimSuffix(name, ":")) {
				w.Errorf("%s: %v", name, err)
			}
		}
		if events := w.journal.take(); len(events) != 0 {
			w.Errorf("%v was recorded", said(events))
		}
		long := call(alice, 1)
		long.Duration, long.Call = 24*time.Hour, `"`+strings.Repeat("ü", 8<<10-1)+`"`
		if r := w.ask(one, long); r.Duration != terms.ApprovalFor || w.get(one, r.ID).Call != long.Call {
			w.Errorf("a long call: %v", r.Duration)
		}
	})
}

func TestUnapproved(t *testing.T) {
	forEach(t, func(w *world) {
		one := w.replica()
		lax := terms
		lax.RequireApproval = false
		ask := elevation(robot)
		ask.Duration = 90 * time.Second
		r, err := one.Request(w.Context(), ask, lax)
		if err != nil || r.State != Approved || r.Until.Sub(r.Starts) != 90*time.Second || r.Decider != (Party{}) {
			w.Errorf("%+v, %v", r, err)
		}
		w.wantGrant(one, robot, r.ID)
		// The longest one counts.
		ask.Duration = 30 * time.Second
		if _, err := one.Request(w.Context(), ask, lax); err != nil {
			w.Error(err)
		}
		w.wantGrant(one, robot, r.ID)
		// Break-glass needs a yes, and stays behind another grant.
		ask.BreakGlass, ask.Duration = true, 10*time.Minute
		_, err = one.Request(w.Context(), ask, lax)
		w.wantError("break-glass for nobody who is known", err, ErrPersonUnknown)
		ask.Requester = alice
		glass, err := one.Request(w.Context(), ask, lax)
		if err != nil || glass.State != Pending {
			w.Errorf("break-glass: %+v, %v", glass, err)
		}
		glass = w.given(one, ask)
		id, _, ok, err := one.View().Grant(holder(alice), true, w.now())
		if _, _, ordinary, _ := one.View().Grant(holder(alice), false, w.now()); ordinary {
			w.Error("a break-glass grant counts as another")
		}
		if id != glass.ID || !ok || err != nil || one.Stats().BreakGlass != 1 {
			w.Errorf("break-glass: %q, %v, %v, %+v", id, ok, err, one.Stats())
		}
		plain := w.given(one, elevation(alice))
		w.wantGrant(one, alice, plain.ID)
		if _, err := one.Revoke(w.Context(), r.ID, robot, "no longer needed"); err != nil {
			w.Error(err)
		}
	})
}
