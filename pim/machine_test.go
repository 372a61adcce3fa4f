package pim

import (
	"errors"
	"fmt"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

var (
	noon  = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	alice = Party{PrincipalID: "p-alice", Issuer: "https://idp", Subject: "alice", Client: "app", Person: "alice@example.com"}
	// aliceElsewhere is the same human with a token of another issuer.
	aliceElsewhere = Party{PrincipalID: "p-alice-2", Issuer: "https://other", Subject: "0815", Client: "cli", Person: " Alice@Example.COM"}
	// aliceApp is the same subject, through a client whose issuer names no person.
	aliceApp = Party{PrincipalID: "p-alice-3", Issuer: "https://idp", Subject: "alice", Client: "other", Person: "nobody@example.com"}
	bob      = Party{PrincipalID: "p-bob", Issuer: "https://idp", Subject: "bob", Client: "app", Person: "bob@example.com"}
	robot    = Party{PrincipalID: "p-robot", Issuer: "https://idp", Client: "night-job"}
	robot2   = Party{PrincipalID: "p-robot-2", Issuer: "https://idp", Client: "day-job"}
)

// exists makes a request of alice's in a state.
func exists(kind Kind, state State, provider string, requester Party) Request {
	r := Request{
		ID: "r", Kind: kind, State: state, Requester: requester, Server: "s", Tool: "t", Duration: 30 * time.Minute, ReplayFor: time.Hour,
		Provider: provider, Requested: noon.Add(-time.Minute), Until: noon.Add(time.Hour), Change: 7,
	}
	if kind == Call {
		r.Fingerprint, r.Call = [32]byte{1}, `{"a":1}`
	}
	switch state {
	case Approved:
		r.Starts, r.Decided, r.Decider = noon.Add(-time.Second), noon.Add(-time.Second), Party{PrincipalID: "somebody"}
	case Denied, Spent, Expired, Cancelled, Revoked:
		r.Call = ""
		r.Ender, r.Decider, r.SpentBy, r.Why = Party{PrincipalID: "somebody"}, Party{PrincipalID: "somebody"}, "other", "other"
	}
	return r
}

// TestMachine tries every event on every state, kind, time, requester, actor and
// decider, and wants what is written down here.
func TestMachine(t *testing.T) {
	t.Parallel()
	states := []State{Pending, Approved, Denied, Expired, Cancelled, Revoked, Spent}
	// ways are all that there are: of what, by what, to what.
	ways := map[State]map[string]State{
		Pending: {
			"approve": Approved, "deny": Denied, "cancel": Cancelled, "expire": Expired, "report pending": Pending,
			"report approved": Approved, "report denied": Denied, "report expired": Expired, "report cancelled": Cancelled,
		},
		Approved: {"cancel": Cancelled, "revoke": Revoked, "expire": Expired, "spend": Spent},
		// One that is expired is so.
		Expired: {"expire": Expired, "report expired": Expired},
		// A provider's answer may come again.
		Denied: {"report denied": Denied}, Cancelled: {"report cancelled": Cancelled},
	}
	ways[Approved]["report approved"] = Approved
	early := map[string]bool{"approve": true, "deny": true, "cancel": true, "revoke": true, "spend": true} // not after its time
	cases := 0
	for _, state := range states {
		for _, kind := range []Kind{Elevation, Call} {
			for _, provider := range []string{"", "azure"} {
				for _, requester := range []Party{alice, robot} {
					for _, by := range []Party{alice, aliceElsewhere, aliceApp, bob, robot, robot2, {}} {
						for _, late := range []time.Duration{-time.Hour - time.Nanosecond, -time.Nanosecond, 0, time.Hour} {
							r := exists(kind, state, provider, requester)
							now := r.Until.Add(late)
							for name, e := range events(by) {
								cases++
								want, way := ways[state][name]
								var refusal error
								self := requester.PrincipalID != robot.PrincipalID && by.PrincipalID != "" && by.PrincipalID != bob.PrincipalID && by.Subject != "" ||
									requester.PrincipalID == by.PrincipalID
								decision := name == "approve" || name == "deny"
								repeat := state != Pending && want == state // an event that comes again
								switch {
								case name == "cancel" && !self:
									refusal = ErrNotRequester
								case !way, name == "expire" && !repeat && late < 0, early[name] && late >= 0, name == "spend" && kind != Call:
									refusal = ErrState
								case name[:2] == "re" && name != "revoke" && provider == "":
									refusal = ErrState
								case decision && provider != "":
									refusal = ErrElsewhere
								case decision && self:
									refusal = ErrSelf
								case decision && by.Person == "", name == "approve" && requester.Person == "":
									refusal = ErrPersonUnknown
								}
								got, err := r.After(e, now)
								label := fmt.Sprintf("%s %s of %q, requester %q, %s by %q at %v", state, kind, provider, requester.PrincipalID, name, by.PrincipalID, late)
								if refusal != nil {
									if !errors.Is(err, refusal) || got != r {
										t.Errorf("%s: %s, %v, want the error %v and no change", label, got.State, err, refusal)
									}
									continue
								}
								if err != nil || got.State != want {
									t.Errorf("%s: %s, %v, want %s", label, got.State, err, want)
								}
								if got.State != Pending && got.State != Approved && got.Call != "" {
									t.Errorf("%s: the call is still there", label)
								}
								if repeat && got != r {
									t.Errorf("%s: it changed again", label)
								}
							}
						}
					}
				}
			}
		}
	}
	if cases < 5000 {
		t.Errorf("only %d cases", cases)
	}
}

// An agent with an approver's token is not the approver.
func TestDelegatedDecisions(t *testing.T) {
	t.Parallel()
	agent := bob
	agent.PrincipalID, agent.Actor = "p-bob-by-agent", "agent"
	r := exists(Elevation, Pending, "", alice)
	for _, e := range []Event{Approve{By: agent}, Deny{By: agent}} {
		if after, err := r.After(e, noon); !errors.Is(err, ErrDelegated) || after != r {
			t.Errorf("%s: %+v, %v", e.name(), after, err)
		}
	}
}

// A revocation lasts as long as anything that it takes away would have.
func TestRevocationLasts(t *testing.T) {
	t.Parallel()
	for kind, want := range map[Kind]time.Duration{Elevation: time.Hour, Call: 0} {
		r := exists(kind, Approved, "", alice)
		after, err := r.After(Revoke{By: bob, Through: r.Until.Add(time.Hour)}, noon.Add(-time.Millisecond))
		if err != nil || !after.Until.Equal(r.Until.Add(want)) {
			t.Errorf("%s: until %v, %v", kind, after.Until, err)
		}
		if after, err = r.After(Revoke{By: bob, Through: noon}, noon.Add(-time.Millisecond)); err != nil || after.Until.Before(r.Until) {
			t.Errorf("%s: shortened to %v, %v", kind, after.Until, err)
		}
	}
}

// Spellings of one human are one, and what nobody can see makes nobody.
func TestPersons(t *testing.T) {
	t.Parallel()
	one := Party{Person: "Élan Straße 7"}
	for text, want := range map[string]bool{
		"élan STRASSE 7": true, "E\u0301lan Straße 7": true, " Élan\u00a0 Straße  7 ": true, "Élan Straße ７": true,
		"Élan Straße 8": false, "Elan Straße 7": false,
	} {
		if other := (Party{Person: text}); one.same(&other) != want {
			t.Errorf("%q: same is %v", text, !want)
		}
	}
	for _, text := range []string{"", " \t", "\u00a0", "E-1\u200b", "\u200b", "E-1\x00", "\u3164", "E\u00ad-1", "\u2066E-1", "\xff", "E-1\ufe0f", "\u2800", "E\u2028-1", "E-1\ue000"} {
		if p := (Party{Person: text}); p.known() {
			t.Errorf("%q is known", text)
		}
	}
}

// Letters that differ in case only are the same, in all scripts.
func TestPersonsCase(t *testing.T) {
	t.Parallel()
	for r := range rune(0x20000) {
		one := Party{Person: string(r)}
		if !one.known() {
			continue
		}
		for o := unicode.SimpleFold(r); o != r; o = unicode.SimpleFold(o) {
			if other := (Party{Person: string(o)}); !one.same(&other) {
				t.Errorf("%q and %q are two", r, o)
			}
		}
	}
}

func events(by Party) map[string]Event {
	return map[string]Event{
		"approve": Approve{By: by, Comment: "c"}, "deny": Deny{By: by, Comment: "c"}, "cancel": Cancel{By: by}, "revoke": Revoke{By: by, Why: "w"},
		"expire": Lapse{}, "spend": Spend{DecisionID: "d"},
		"report pending": Report{State: Pending, Ref: "17"}, "report approved": Report{State: Approved}, "report denied": Report{State: Denied},
		"report expired": Report{State: Expired}, "report cancelled": Report{State: Cancelled},
		// What no provider can say.
		"report revoked": Report{State: Revoked}, "report spent": Report{State: Spent}, "report nonsense": Report{State: "x"},
	}
}

// TestMachineWrites pins what an event writes, and that it bears repetition.
func TestMachineWrites(t *testing.T) {
	t.Parallel()
	pending, call := exists(Elevation, Pending, "", alice), exists(Call, Approved, "", alice)
	grant, filed := exists(Elevation, Approved, "", alice), exists(Elevation, Pending, "azure", alice)
	with := func(r Request, change func(*Request)) Request {
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		before Request
		event  Event
		want   Request
	}{
		"approve": {pending, Approve{By: bob, Comment: "fine"}, with(pending, func(r *Request) {
			r.State, r.Decided, r.Decider, r.Comment, r.Starts, r.Until = Approved, noon, bob, "fine", noon, noon.Add(30*time.Minute)
		})},
		"deny":   {pending, Deny{By: bob, Comment: "no"}, with(pending, func(r *Request) { r.State, r.Decided, r.Decider, r.Comment = Denied, noon, bob, "no" })},
		"cancel": {pending, Cancel{By: aliceElsewhere}, with(pending, func(r *Request) { r.State, r.Ended, r.Ender = Cancelled, noon, aliceElsewhere })},
		"revoke": {grant, Revoke{By: bob, Why: "left"}, with(grant, func(r *Request) { r.State, r.Ended, r.Ender, r.Why = Revoked, noon, bob, "left" })},
		"revoke a call": {call, Revoke{By: bob, Why: "left"}, with(call, func(r *Request) {
			r.State, r.Ended, r.Ender, r.Why, r.Call = Revoked, noon, bob, "left", ""
		})},
		"spend": {call, Spend{DecisionID: "d1"}, with(call, func(r *Request) { r.State, r.Spent, r.SpentBy, r.Call = Spent, noon, "d1", "" })},
		"expire": {with(pending, func(r *Request) { r.Until = noon }), Lapse{}, with(pending, func(r *Request) {
			r.State, r.Until, r.Ended = Expired, noon, noon
		})},
		"filed": {filed, Report{State: Pending, Ref: "17", URL: "https://x"}, with(filed, func(r *Request) { r.ProviderRef, r.ProviderURL = "17", "https://x" })},
		"provider approves": {filed, Report{State: Approved, Until: noon.Add(time.Hour).In(time.FixedZone("x", 3600))}, with(filed, func(r *Request) {
			r.State, r.Decided, r.Starts, r.Until = Approved, noon, noon, noon.Add(time.Hour)
		})},
		"provider says no end": {filed, Report{State: Approved, Comment: "ok"}, with(filed, func(r *Request) {
			r.State, r.Decided, r.Starts, r.Until, r.Comment = Approved, noon, noon, noon.Add(30*time.Minute), "ok"
		})},
		"provider denies": {filed, Report{State: Denied, Comment: "no"}, with(filed, func(r *Request) { r.State, r.Decided, r.Comment = Denied, noon, "no" })},
	} {
		got, err := c.before.After(c.event, noon)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
		if again, err := got.After(c.event, noon.Add(time.Second)); err != nil || again != got {
			t.Errorf("%s again: %v, %v", name, again.State, err)
		}
	}
	// Repeated by another, or with another word, it is another decision.
	approved, err := pending.After(Approve{By: bob, Comment: "fine"}, noon)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []Event{Approve{By: bob, Comment: "fine!"}, Approve{By: aliceElsewhere, Comment: "fine"}, Deny{By: bob, Comment: "fine"}} {
		if _, err := approved.After(e, noon); !errors.Is(err, ErrState) {
			t.Errorf("%+v after an approval: %v", e, err)
		}
	}
	spent, err := call.After(Spend{DecisionID: "d1"}, noon)
	if _, again := spent.After(Spend{DecisionID: "d2"}, noon); err != nil || !errors.Is(again, ErrSpent) || !errors.Is(again, ErrState) {
		t.Errorf("spent twice: %v, %v", err, again)
	}
	revoked, err := approved.After(Revoke{By: bob, Why: "left"}, noon)
	if _, again := revoked.After(Approve{By: bob, Comment: "fine"}, noon); err != nil || !errors.Is(again, ErrState) {
		t.Errorf("approved after it was revoked: %v, %v", err, again)
	}
	var state *StateError
	if _, err := revoked.After(Deny{By: bob}, noon); !errors.As(err, &state) || state.State != Revoked || errors.Is(err, ErrSpent) {
		t.Errorf("the error doesn't say the state: %v", err)
	}
}
