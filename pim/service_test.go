package pim

import (
	"errors"
	"fmt"
	"strings"
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
		if err := two.poll(w.Context(), false); err != nil {
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
		_, until, _, _, err := one.View().Grant(holder(alice), w.now())
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
		w.wantCounts(0, 0)
	})
}

// second is the error of an answer.
func second(_ Request, err error) error { return err }

// wantCounts wants the database to count right.
func (w *world) wantCounts(pending, live int64) {
	w.Helper()
	var counted, real [2]int64
	w.scan(&counted, "SELECT pending, live FROM pim_feed")
	w.scan(&real, "SELECT coalesce(sum(CASE state WHEN 'pending' THEN 1 ELSE 0 END), 0), coalesce(sum(CASE state WHEN 'approved' THEN 1 ELSE 0 END), 0) FROM pim_requests")
	if want := [2]int64{pending, live}; counted != want || real != want {
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
		machine := w.ask(one, elevation(robot))
		w.wantError("a machine's request", second(one.Approve(w.Context(), machine.ID, bob, "")), ErrPersonUnknown)
		if r, err := one.Deny(w.Context(), machine.ID, bob, "no"); err != nil || r.State != Denied {
			w.Errorf("deny: %+v, %v", r, err)
		}
		if r, err := one.Cancel(w.Context(), asked.ID, aliceElsewhere); err != nil || r.State != Cancelled {
			w.Errorf("cancel: %+v, %v", r, err)
		}
		w.wantError("unknown", second(one.Approve(w.Context(), audit.NewID(noon), bob, "")), ErrUnknown)
		w.wantError("no id", second(one.Approve(w.Context(), "' OR 1=1 --", bob, "")), ErrUnknown)
		w.wantError("comment", second(one.Approve(w.Context(), asked.ID, bob, "\x00")), ErrAsk)
		w.wantCounts(0, 0)
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
		glass, err := one.Request(w.Context(), ask, lax)
		if err != nil || glass.State != Pending {
			w.Errorf("break-glass: %+v, %v", glass, err)
		}
		ask.Requester = alice
		glass = w.given(one, ask)
		id, _, breakGlass, ok, err := one.View().Grant(holder(alice), w.now())
		if id != glass.ID || !breakGlass || !ok || err != nil || one.Stats().BreakGlass != 1 {
			w.Errorf("break-glass: %q, %v, %v, %v, %+v", id, breakGlass, ok, err, one.Stats())
		}
		plain := w.given(one, elevation(alice))
		w.wantGrant(one, alice, plain.ID)
		if _, err := one.Revoke(w.Context(), r.ID, robot, "no longer needed"); err != nil {
			w.Error(err)
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

func TestJournalRefuses(t *testing.T) {
	forEach(t, func(w *world) {
		one := w.replica()
		pending, granted, approved := w.ask(one, elevation(alice)), w.given(one, elevation(bob2)), w.given(one, call(alice, 1))
		w.journal.refuses(func(class audit.Class) bool { return class&audit.Reserve == 0 })
		w.wantError("request", second(one.Request(w.Context(), call(alice, 2), terms)), ErrUnrecorded)
		w.wantError("approve", second(one.Approve(w.Context(), pending.ID, bob, "")), ErrUnrecorded)
		w.wantState(one, pending.ID, Pending)
		if page, _, err := one.List(w.Context(), Filter{}); err != nil || len(page) != 3 {
			w.Errorf("%d requests, %v", len(page), err)
		}
		// What takes rights away may use the reserve.
		if _, err := one.Revoke(w.Context(), granted.ID, bob, ""); err != nil {
			w.Error(err)
		}
		w.wantGrant(one, bob2, "")
		w.journal.refuses(func(audit.Class) bool { return true })
		w.wantError("deny", second(one.Deny(w.Context(), pending.ID, bob, "")), ErrUnrecorded)
		w.wantState(one, pending.ID, Pending)
		// The decision's own record was the intent.
		if err := one.Spend(w.Context(), approved.ID, alice.PrincipalID, [32]byte{1}, "d"); err != nil {
			w.Error(err)
		}
		if n := one.Stats().Unrecorded; n != 1 {
			w.Errorf("%d outcomes are missing, want 1", n)
		}
		w.pass(2 * time.Hour)
		w.wantError("expire", one.lapse(w.Context()), ErrUnrecorded)
		w.wantState(one, pending.ID, Pending)
	})
}

var bob2 = Party{PrincipalID: "p-carol", Issuer: "https://idp", IssuerName: "corp", Subject: "carol", Client: "app", Tenant: "north", Person: "carol@example.com"}

// TestEvents pins what an event says.
func TestEvents(t *testing.T) {
	forEach(t, func(w *world) {
		one := w.replica()
		ask := call(bob2, 7)
		r := w.given(one, ask)
		events := w.journal.take()
		last := events[len(events)-1]
		last.EventID, last.Timestamp, last.Raw = "", time.Time{}, nil
		until := last.Metadata.Until
		want := event{class: audit.Synced | audit.Single | audit.Reserve, Event: audit.Event{
			EventType: "elevation", UserID: "bob", ToolName: "scrap", Action: "approve", Status: "done",
			Metadata: audit.Metadata{
				Principal: &audit.Principal{ID: "p-bob", Issuer: "https://idp", Subject: "bob", Client: "app"},
				Server:    "cars", RequestID: r.ID, Kind: "call", DurationSeconds: 600, Until: r.Until, Comment: "fine", State: "approved",
				Fingerprint: fmt.Sprintf("%064x", [32]byte{7}),
			},
		}}
		want.Metadata.Fingerprint = "07" + strings.Repeat("00", 31)
		if diff := cmp.Diff(want, last, cmp.AllowUnexported(event{})); diff != "" || !until.Equal(r.Until) {
			w.Error(diff)
		}
		first := events[0]
		if first.Metadata.Why != "a wreck" || first.Metadata.Principal.Issuer != "corp" || first.Metadata.Principal.Tenant != "north" ||
			first.class != audit.Synced|audit.Single || strings.Contains(string(first.Raw), `"car":17`) {
			w.Errorf("event %s, class %b", first.Raw, first.class)
		}
	})
}

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

func TestList(t *testing.T) {
	forEach(t, func(w *world) {
		one := w.replica()
		var ids []string
		for n := range byte(12) {
			r := w.ask(one, call(Party{PrincipalID: fmt.Sprint("p", n%2), Person: "x"}, n+1))
			ids = append([]string{r.ID}, ids...)
			w.pass(5 * time.Millisecond)
			waitForMillisecond(w)
		}
		if _, err := one.Approve(w.Context(), ids[0], bob, ""); err != nil {
			w.Fatal(err)
		}
		var got []string
		pages, after := 0, ""
		for {
			page, next, err := one.List(w.Context(), Filter{After: after, Limit: 4})
			if err != nil {
				w.Fatal(err)
			}
			for _, r := range page {
				got = append(got, r.ID)
			}
			pages++
			if after = next; after == "" {
				break
			}
		}
		if diff := cmp.Diff(ids, got); diff != "" || pages != 3 {
			w.Errorf("%d pages\n%s", pages, diff)
		}
		for f, want := range map[Filter]int{
			{State: Pending}: 11, {State: Approved}: 1, {PrincipalID: "p1"}: 6, {PrincipalID: "p1", State: Pending}: 5, {Server: "x"}: 0,
			{Server: "cars", Tool: "scrap", Kind: Call}: 12, {Kind: Elevation}: 0, {Limit: 500}: 12,
		} {
			if page, _, err := one.List(w.Context(), f); len(page) != want || err != nil {
				w.Errorf("%+v: %d, %v, want %d", f, len(page), err, want)
			}
		}
		for _, f := range []Filter{{Limit: -1}, {Limit: 501}, {After: "'"}, {Server: "\x00"}} {
			_, _, err := one.List(w.Context(), f)
			w.wantError(fmt.Sprintf("%+v", f), err, ErrAsk)
		}
	})
}

// waitForMillisecond returns in another millisecond of the real clock, so that ids sort.
func waitForMillisecond(w *world) {
	start := time.Now().UnixMilli()
	for w.time.IsZero() && time.Now().UnixMilli() == start {
		<-time.After(time.Millisecond)
	}
}

func TestPurge(t *testing.T) {
	forEach(t, func(w *world) {
		one := w.replica(func(c *Config) { c.Keep = 48 * time.Hour })
		old, spent := w.given(one, elevation(alice)), w.given(one, call(alice, 1))
		if err := one.Spend(w.Context(), spent.ID, alice.PrincipalID, [32]byte{1}, "d"); err != nil {
			w.Fatal(err)
		}
		clean := func() {
			w.Helper()
			if err := errors.Join(one.lapse(w.Context()), one.store.purge(w.Context(), one.cfg.Keep)); err != nil {
				w.Fatal(err)
			}
		}
		w.pass(47 * time.Hour)
		clean()
		w.wantState(one, old.ID, Expired)
		w.pass(3 * time.Hour)
		clean()
		w.wantError("old", second(one.Get(w.Context(), old.ID)), ErrUnknown)
		w.wantState(one, spent.ID, Spent) // it answered retries for a day
		w.pass(24 * time.Hour)
		clean()
		w.wantError("spent", second(one.Get(w.Context(), spent.ID)), ErrUnknown)
	})
}
