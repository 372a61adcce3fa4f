package pim

import (
	"time"
)

// Event is what can happen to a request: Approve, Deny, Cancel, Revoke, Lapse, Spend
// or Report.
type Event interface {
	name() string
	apply(r *Request, now time.Time) error
	// repeats reports whether r is what this event has made of a request.
	repeats(r *Request) bool
}

// The events. A decision by people is approve or deny; a provider reports its own.
type (
	// Approve starts the grant, or makes the call's approval usable.
	Approve struct {
		By      Party
		Comment string
	}
	// Deny ends a pending request.
	Deny struct {
		By      Party
		Comment string
	}
	// Cancel is the requester's own end of it, before or after it was approved. It is no
	// revocation.
	Cancel struct{ By Party }
	// Revoke ends what was approved.
	Revoke struct {
		By  Party
		Why string
		// Through is when the last elevation of the same holder ends that runs now: it
		// must not come back when the one that is revoked would have ended.
		Through time.Time
	}
	// Lapse ends what is past its time.
	Lapse struct{}
	// Spend uses the approval of a call.
	Spend struct{ DecisionID string }
	// Report is a provider's answer: still pending (with the id that it has there),
	// approved, denied, expired or cancelled.
	Report struct {
		State    State
		Until    time.Time // approved: zero means as long as was asked for
		Ref, URL string
		Comment  string
	}
)

// After is what an event makes of a request at a time of the database. An event that
// has made it what it is changes nothing, so that a commit whose answer was lost can
// be repeated.
func (r Request) After(e Event, now time.Time) (Request, error) {
	if e.repeats(&r) {
		return r, nil
	}
	after := r
	if err := e.apply(&after, now); err != nil {
		return r, err
	}
	if after.over() {
		after.Call = "" // it may hold personal data, and nobody decides on it any more
	}
	return after, nil
}

// over reports whether there is no way on.
func (r *Request) over() bool { return r.State != Pending && r.State != Approved }

// in returns an error unless the request is in a state.
func (r *Request) in(want State, e Event) error {
	if r.State != want {
		return &StateError{State: r.State, Event: e.name()}
	}
	return nil
}

// inTime is in for what can't happen to a request past its time, which is as good as
// expired although nobody has made it so yet.
func (r *Request) inTime(want State, e Event, now time.Time) error {
	if err := r.in(want, e); err != nil {
		return err
	}
	if !now.Before(r.Until) {
		return &StateError{State: Expired, Event: e.name()}
	}
	return nil
}

// grant makes the request an approved one.
func (r *Request) grant(now, until time.Time) {
	r.State, r.Decided, r.Starts, r.Until = Approved, now, now, until
}

func (Approve) name() string { return "approve" }

func (e Approve) repeats(r *Request) bool {
	return r.State == Approved && r.Decider == e.By && r.Comment == e.Comment && e.By.PrincipalID != ""
}

func (e Approve) apply(r *Request, now time.Time) error {
	if err := r.inTime(Pending, e, now); err != nil {
		return err
	}
	if err := r.decidable(&e.By); err != nil {
		return err
	}
	if !r.Requester.known() {
		return ErrPersonUnknown
	}
	r.grant(now, now.Add(r.Duration))
	r.Decider, r.Comment = e.By, e.Comment
	return nil
}

// decidable says whether somebody may decide: a known person who isn't the requester.
func (r *Request) decidable(by *Party) error {
	switch {
	case r.Provider != "":
		return ErrElsewhere
	case by.Actor != "":
		return ErrDelegated
	case r.Requester.same(by):
		return ErrSelf
	case !by.known():
		return ErrPersonUnknown
	}
	return nil
}

func (Deny) name() string { return "deny" }

func (e Deny) repeats(r *Request) bool {
	return r.State == Denied && r.Decider == e.By && r.Comment == e.Comment && e.By.PrincipalID != ""
}

// apply does without the requester's person: a denial harms nobody.
func (e Deny) apply(r *Request, now time.Time) error {
	if err := r.inTime(Pending, e, now); err != nil {
		return err
	}
	if err := r.decidable(&e.By); err != nil {
		return err
	}
	r.State, r.Decided, r.Decider, r.Comment = Denied, now, e.By, e.Comment
	return nil
}

func (Cancel) name() string { return "cancel" }

func (e Cancel) repeats(r *Request) bool { return r.State == Cancelled && r.Ender == e.By }

func (e Cancel) apply(r *Request, now time.Time) error {
	if !r.Requester.same(&e.By) {
		return ErrNotRequester
	}
	in := Pending
	if r.State == Approved { // it is given back
		in = Approved
	}
	if err := r.inTime(in, e, now); err != nil {
		return err
	}
	r.State, r.Ended, r.Ender = Cancelled, now, e.By
	return nil
}

func (Revoke) name() string { return "revoke" }

func (e Revoke) repeats(r *Request) bool {
	return r.State == Revoked && r.Ender == e.By && r.Why == e.Why
}

func (e Revoke) apply(r *Request, now time.Time) error {
	if err := r.inTime(Approved, e, now); err != nil {
		return err
	}
	r.State, r.Ended, r.Ender, r.Why = Revoked, now, e.By, e.Why
	if r.Kind == Elevation && e.Through.After(r.Until) {
		r.Until = e.Through
	}
	return nil
}

func (Lapse) name() string { return "expire" }

func (Lapse) repeats(r *Request) bool { return r.State == Expired }

func (e Lapse) apply(r *Request, now time.Time) error {
	if r.over() || now.Before(r.Until) {
		return &StateError{State: r.State, Event: e.name()}
	}
	r.State, r.Ended = Expired, now
	return nil
}

func (Spend) name() string { return "spend" }

func (e Spend) repeats(r *Request) bool {
	return r.State == Spent && r.SpentBy == e.DecisionID && e.DecisionID != ""
}

func (e Spend) apply(r *Request, now time.Time) error {
	if r.Kind != Call {
		return &StateError{State: r.State, Event: "spend a request of kind " + string(r.Kind)}
	}
	if err := r.inTime(Approved, e, now); err != nil {
		return err
	}
	r.State, r.Spent, r.SpentBy = Spent, now, e.DecisionID
	return nil
}

func (Report) name() string { return "report" }

func (e Report) repeats(r *Request) bool {
	switch e.State {
	case Approved, Denied, Expired, Cancelled:
		return r.Provider != "" && r.State == e.State
	}
	return false
}

// apply believes a provider after the request's time, too: the grant, if it is one,
// is the provider's.
func (e Report) apply(r *Request, now time.Time) error {
	if r.Provider == "" {
		return &StateError{State: r.State, Event: "report of a provider that isn't asked"}
	}
	if err := r.in(Pending, e); err != nil {
		return err
	}
	if e.Ref != "" {
		r.ProviderRef, r.ProviderURL = e.Ref, e.URL
	}
	switch e.State {
	case Pending:
		return nil
	case Approved:
		until := e.Until.UTC().Truncate(time.Microsecond) // as it will be read again
		if e.Until.IsZero() {
			until = now.Add(r.Duration)
		}
		r.grant(now, until)
	case Denied:
		r.State, r.Decided = Denied, now
	case Expired, Cancelled:
		r.State, r.Ended = e.State, now
	default:
		return &StateError{State: r.State, Event: "report that it is " + string(e.State)}
	}
	r.Comment = e.Comment
	return nil
}
