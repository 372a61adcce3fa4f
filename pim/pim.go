// Package pim keeps time-bound elevations and approvals of exact calls.
package pim

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Kind is what is asked for.
type Kind string

// The kinds that there are.
const (
	Elevation Kind = "elevation" // to call a tool of a server for some time
	Call      Kind = "call"      // one exact call, once, within some time
)

// State is how far a request is.
type State string

// The states that there are. From all but the first two there is no way on.
const (
	Pending   State = "pending"
	Approved  State = "approved"
	Denied    State = "denied"
	Expired   State = "expired"
	Cancelled State = "cancelled"
	Revoked   State = "revoked"
	Spent     State = "spent"
)

// Party is somebody as of a request: requester, approver, revoker.
type Party struct {
	PrincipalID string `json:"principal_id"`          // see identity.PrincipalID
	Issuer      string `json:"issuer,omitempty"`      // the iss claim
	IssuerName  string `json:"issuer_name,omitempty"` // as configured; events carry it
	Tenant      string `json:"tenant,omitempty"`
	Subject     string `json:"subject,omitempty"`
	Client      string `json:"client,omitempty"`
	Actor       string `json:"actor,omitempty"` // who acts with the subject's token; empty: itself
	// Person is the human, by the claim that the issuer's configuration names;
	// empty: unknown.
	Person string `json:"person,omitempty"`
}

// Name is what a party is called in events: its subject, or its client.
func (p *Party) Name() string {
	if p.Subject != "" {
		return p.Subject
	}
	return p.Client
}

// same reports whether two parties are, or may be, one human. Persons are compared
// across issuers, because one human has a token of each.
func (p *Party) same(o *Party) bool {
	return p.PrincipalID != "" && p.PrincipalID == o.PrincipalID ||
		p.Subject != "" && p.Issuer == o.Issuer && p.Subject == o.Subject ||
		p.known() && p.person() == o.person()
}

func (p *Party) known() bool { return p.person() != "" }

// person is in a form in which all spellings of one human are the same: compatible
// characters, letter case and spaces make no difference (UAX #15 NFKC, and case
// folding). Empty: unknown, also where it has what nobody sees, such as a zero-width
// space, which would make two of one.
func (p *Party) person() string {
	text := strings.ToUpper(norm.NFKC.String(p.Person)) // of Cherokee letters folding swaps the case
	text = norm.NFKC.String(cases.Fold().String(text))
	if !utf8.ValidString(p.Person) || strings.ContainsFunc(text, unseen) {
		return ""
	}
	return strings.Join(strings.Fields(text), " ")
}

func unseen(r rune) bool {
	const blankBraille = '\u2800' // a symbol to Unicode
	return r == blankBraille || !unicode.IsGraphic(r) || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// Request is one request, from its beginning to its end. Times are the database's.
type Request struct {
	ID          string // UUIDv7
	Kind        Kind
	State       State
	Requester   Party
	Server      string
	Tool        string
	Fingerprint [32]byte // of kind call: SHA-256 of the canonical call
	Call        string   // of kind call: what the approver sees, JSON; emptied when the request ends
	Reason      string
	// Duration is how long an elevation is to last, or how long the approval of a
	// call waits for its use.
	Duration time.Duration
	// ReplayFor is how long a spent approval is still found, so that a retry of its call
	// is answered.
	ReplayFor time.Duration
	// BreakGlass makes it a local grant although there is an external provider: it
	// counts only while that fails.
	BreakGlass bool
	Requested  time.Time
	Starts     time.Time // of approved ones
	// Until is when a pending one lapses, and an approved one ends. Of a revoked elevation
	// it is the latest end of all elevations of the holder for the tool that ran when it
	// was revoked: what began before doesn't count until then.
	Until time.Time

	Provider     string // name, where a provider decides; empty: people here do
	ProviderUser string
	ProviderRole string
	ProviderRef  string // its id there, once filed
	ProviderURL  string

	Decided time.Time // approved, or denied
	Decider Party
	Comment string
	Ended   time.Time // cancelled, revoked, or expired
	Ender   Party
	Why     string
	Spent   time.Time
	SpentBy string // id of the decision that spent it

	// Change is the number of its last change. Numbers are of all requests together
	// and grow in the order of commits.
	Change uint64
}

// Errors that callers tell apart.
var (
	// ErrUnknown: there is no such request, or none of this caller's.
	ErrUnknown = errors.New("no such request")
	// ErrState: the request's state has no such way on; errors.As with *StateError.
	ErrState = errors.New("not possible in this state")
	// ErrSpent: the approval was used by another decision.
	ErrSpent = errors.New("the approval is spent")
	// ErrSelf: nobody decides on an own request.
	ErrSelf = errors.New("the requester can't decide on it")
	// ErrPersonUnknown: of requester or approver it isn't known which human it is, so
	// nobody could say that they are two.
	ErrPersonUnknown = errors.New("it is not known which persons requester and approver are")
	// ErrDelegated: who decides does so in person, not by an agent that acts for them.
	ErrDelegated = errors.New("a decision is made in person, not by an agent")
	// ErrNotRequester: only the requester cancels.
	ErrNotRequester = errors.New("only the requester can cancel it")
	// ErrElsewhere: a provider decides on it, nobody here.
	ErrElsewhere = errors.New("an external provider decides on it")
	// ErrAsk: what is asked for, or said, isn't acceptable; the text says why.
	ErrAsk = errors.New("bad request")
	// ErrTooMany: there are too many pending or live ones, of the requester or in all.
	ErrTooMany = errors.New("too many requests")
	// ErrUnavailable: the database, or what was read from it, isn't there now. Of a
	// change nobody knows then whether it took effect; it can be repeated.
	ErrUnavailable = errors.New("privileged access is unavailable")
	// ErrUnrecorded: the journal takes no events, so nothing was changed.
	ErrUnrecorded = errors.New("it can't be recorded")
	// ErrProvider: the external provider didn't take the request.
	ErrProvider = errors.New("the external provider did not take it")
)

// StateError is an ErrState that says which state it is.
type StateError struct {
	State State
	Event string // what was tried
}

func (e *StateError) Error() string { return fmt.Sprintf("%s: the request is %s", e.Event, e.State) }

// Unwrap makes it an ErrState, or an ErrSpent.
func (e *StateError) Unwrap() []error {
	if e.Event == "spend" && e.State == Spent {
		return []error{ErrState, ErrSpent}
	}
	return []error{ErrState}
}
