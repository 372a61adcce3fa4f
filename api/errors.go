package api

import (
	"errors"
	"net/http"
	"strings"

	"github.com/sallyport/sallyport/internal/problem"
	"github.com/sallyport/sallyport/pim"
)

// retryAfter is when what is away may be back, in seconds.
const retryAfter = "2"

// failures are what requests fail with. The first that fits is the answer.
var failures = [...]struct {
	err   error
	kind  string
	title string
	code  int
}{
	{pim.ErrUnknown, "elevation.unknown", "There is no such request.", http.StatusNotFound},
	{pim.ErrSelf, "elevation.self", "Nobody decides on an own request.", http.StatusForbidden},
	{pim.ErrPersonUnknown, "elevation.person_unknown", "Requester and approver must be known as two persons.", http.StatusForbidden},
	{pim.ErrDelegated, "elevation.delegated", "A decision is made in person, not by an agent.", http.StatusForbidden},
	{pim.ErrNotRequester, "elevation.not_requester", "Only the requester can cancel a request.", http.StatusForbidden},
	{pim.ErrElsewhere, "elevation.elsewhere", "An external provider decides on the request.", http.StatusConflict},
	{pim.ErrState, "elevation.state", "The request is in another state.", http.StatusConflict},
	{pim.ErrAsk, "elevation.ask", "What is asked for is not possible.", http.StatusUnprocessableEntity},
	{pim.ErrTooMany, "elevation.too_many", "There are too many requests already.", http.StatusTooManyRequests},
	{pim.ErrProvider, "elevation.provider", "The external provider did not take the request.", http.StatusServiceUnavailable},
	{pim.ErrUnrecorded, "elevation.unrecorded", "It can't be recorded, so nothing was changed.", http.StatusServiceUnavailable},
	{pim.ErrUnavailable, "elevation.unavailable", "Requests are not available now.", http.StatusServiceUnavailable},
}

// fail answers with an error. about is the request that it is about, as far as the
// caller sees it.
func (e *Elevations) fail(w http.ResponseWriter, r *http.Request, about *pim.Request, err error) {
	p := problem.Problem{Kind: "internal.error", Title: "Something went wrong.", Status: http.StatusInternalServerError}
	for i := range failures {
		if f := &failures[i]; errors.Is(err, f.err) {
			p.Kind, p.Title, p.Status = f.kind, f.title, f.code
			break
		}
	}
	var state *pim.StateError
	switch {
	case errors.As(err, &state):
		p.Detail = "It is " + string(state.State) + "."
		p.More = map[string]any{"state": state.State}
	case errors.Is(err, pim.ErrElsewhere) && about.ProviderURL != "":
		p.Detail = "Go there for it."
		p.More = map[string]any{"approval_url": about.ProviderURL}
	case errors.Is(err, pim.ErrAsk):
		p.Detail = reasonsOf(err)
	case errors.Is(err, pim.ErrPersonUnknown):
		p.Detail = "Who is a person says the claim that the issuer's claims.person names, in the requester's token and in the approver's."
	case errors.Is(err, pim.ErrTooMany):
		p.Detail = "Wait until some are decided, or cancel what is no longer needed."
	case errors.Is(err, pim.ErrUnavailable) && r.Method != http.MethodGet:
		p.Detail = "It isn't known whether it took effect. The same can be sent again."
	}
	if p.Status >= http.StatusInternalServerError {
		e.log.ErrorContext(r.Context(), "elevation request failed", "request_id", single(r.Header, headerRequestID), "kind", p.Kind, "error", err)
	}
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	p.Write(w)
}

// reasonsOf are the reasons of an ErrAsk, each of which repeats what it is.
func reasonsOf(err error) string {
	text := strings.ReplaceAll(err.Error(), pim.ErrAsk.Error()+": ", "")
	return strings.ReplaceAll(text, "\n", "; ")
}

// impossible is a 422 of our own: what is asked for isn't acceptable.
func impossible(detail string) problem.Problem {
	return problem.Problem{Kind: "elevation.ask", Title: "What is asked for is not possible.", Status: http.StatusUnprocessableEntity, Detail: detail}
}

// notApprover is for who would have to be one.
func notApprover() problem.Problem {
	return problem.Problem{
		Kind: "elevation.not_approver", Title: "Only an approver of the tool can do this.", Status: http.StatusForbidden,
		Detail: "An approver is a known person with one of the roles in pim.approvers, or of the tool, and a token for its server.",
	}
}
