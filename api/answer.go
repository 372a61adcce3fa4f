package api

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/sallyport/sallyport/internal/problem"
	"github.com/sallyport/sallyport/pim"
)

// elevation is a request as its requester and its approvers see it.
type elevation struct {
	RequestID        string `json:"request_id"`
	Kind             string `json:"kind"`
	Status           string `json:"status"`
	ApprovalRequired bool   `json:"approval_required"` // it waits for a decision
	ApprovalURL      string `json:"approval_url"`

	Server          string `json:"server"`
	Tool            string `json:"tool"`
	Reason          string `json:"reason"`
	DurationSeconds int64  `json:"duration_seconds"`
	BreakGlass      bool   `json:"break_glass"`

	Requester       string `json:"requester"` // subject or client
	RequesterPerson string `json:"requester_person,omitempty"`
	PrincipalID     string `json:"principal_id"`

	RequestedAt *time.Time `json:"requested_at,omitempty"`
	ExpiresAt   *time.Time `json:"expires_at,omitempty"` // pending: lapses then; otherwise what it gave ends then
	StartsAt    *time.Time `json:"starts_at,omitempty"`
	DecidedAt   *time.Time `json:"decided_at,omitempty"`
	DecidedBy   string     `json:"decided_by,omitempty"` // person or subject; empty where nobody had to, or a provider did
	Comment     string     `json:"comment,omitempty"`
	EndedAt     *time.Time `json:"ended_at,omitempty"` // cancelled, revoked, expired
	EndedBy     string     `json:"ended_by,omitempty"`
	Why         string     `json:"why,omitempty"`
	SpentAt     *time.Time `json:"spent_at,omitempty"`
	SpentBy     string     `json:"spent_by,omitempty"` // id of the decision

	Provider string `json:"provider,omitempty"`

	// Of kind call.
	Fingerprint string          `json:"fingerprint,omitempty"`
	Arguments   json.RawMessage `json:"arguments,omitempty"` // until the request ends, as is Call
	Call        json.RawMessage `json:"request,omitempty"`
}

func elevationOf(r *pim.Request, origin string) elevation {
	v := elevation{
		RequestID: r.ID, Kind: string(r.Kind), Status: string(r.State),
		ApprovalRequired: r.State == pim.Pending, ApprovalURL: origin + Prefix + "elevations/" + r.ID,
		Server: r.Server, Tool: r.Tool, Reason: r.Reason, DurationSeconds: int64(r.Duration / time.Second), BreakGlass: r.BreakGlass,
		Requester: r.Requester.Name(), RequesterPerson: r.Requester.Person, PrincipalID: r.Requester.PrincipalID,
		RequestedAt: moment(r.Requested), ExpiresAt: moment(r.Until), StartsAt: moment(r.Starts),
		DecidedAt: moment(r.Decided), DecidedBy: personOf(&r.Decider), Comment: r.Comment,
		EndedAt: moment(r.Ended), EndedBy: personOf(&r.Ender), Why: r.Why,
		SpentAt: moment(r.Spent), SpentBy: r.SpentBy,
		Provider: r.Provider,
	}
	if r.ProviderURL != "" {
		v.ApprovalURL = r.ProviderURL
	}
	if r.State == pim.Denied || r.State == pim.Cancelled {
		v.ExpiresAt = nil // it would have
	}
	if r.Kind == pim.Call {
		v.Fingerprint = hex.EncodeToString(r.Fingerprint[:])
		v.Arguments, v.Call = readCall(r.Call)
	}
	return v
}

// personOf is who somebody is for people.
func personOf(p *pim.Party) string {
	if p.Person != "" {
		return p.Person
	}
	return p.Name()
}

// moment leaves a time that isn't there out of an answer.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// shownCall is the exact call as an approver sees it: what was asked for, not a
// retelling.
type shownCall struct {
	Arguments json.RawMessage `json:"arguments,omitempty"`
	Request   json.RawMessage `json:"request,omitempty"`
}

func writeCall(c shownCall) (string, error) {
	body, err := encode(c)
	return string(body), err
}

// readCall shows what it can't read as it is: nobody must approve what isn't shown.
func readCall(call string) (arguments, request json.RawMessage) {
	if call == "" {
		return nil, nil
	}
	var c shownCall
	if json.Unmarshal([]byte(call), &c) != nil {
		arguments, _ = encode(call) // a string always encodes
		return arguments, nil
	}
	return c.Arguments, c.Request
}

// encode keeps <, > and & as they are, so that a call looks like what was sent.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// answer sends JSON that nobody may store: it holds who does what.
func (e *Elevations) answer(w http.ResponseWriter, r *http.Request, status int, v any) {
	body, err := encode(v)
	if err != nil {
		e.log.ErrorContext(r.Context(), "answer not encoded", "error", err)
		problem.Problem{Kind: "internal.error", Title: "The answer could not be written.", Status: http.StatusInternalServerError}.Write(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // JSON that no browser takes for a page; and a client that is gone needs no answer
}
