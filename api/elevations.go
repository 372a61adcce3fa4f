package api

import (
	"context"
	_ "embed"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/internal/problem"
	"github.com/sallyport/sallyport/pim"
)

// Requests makes and decides requests; see pim.Service for the errors.
type Requests interface {
	Request(ctx context.Context, ask pim.Ask, terms pim.Terms) (pim.Request, error)
	Get(ctx context.Context, id string) (pim.Request, error)
	List(ctx context.Context, f pim.Filter) (page []pim.Request, next string, err error)
	Approve(ctx context.Context, id string, by pim.Party, comment string) (pim.Request, error)
	Deny(ctx context.Context, id string, by pim.Party, comment string) (pim.Request, error)
	Cancel(ctx context.Context, id string, by pim.Party) (pim.Request, error)
	Revoke(ctx context.Context, id string, by pim.Party, why string) (pim.Request, error)
	RevokeHolder(ctx context.Context, principalID, server, tool string, d time.Duration, by pim.Party, why string) (pim.Request, error)
}

// Elevations serves requests for privileged access. Who calls it is known by the
// Authorization header alone: no cookie means anything here, so that no page of
// somebody else's can act for its visitor.
type Elevations struct {
	access   Access
	requests Requests
	log      *slog.Logger
}

// NewElevations returns the handler.
func NewElevations(access Access, requests Requests, log *slog.Logger) *Elevations {
	return &Elevations{access: access, requests: requests, log: log}
}

// endpoint answers one method of one path. id is the part of the path in the place of
// {id}.
type endpoint func(w http.ResponseWriter, r *http.Request, id string)

// endpoints are those of a path below Prefix, by their methods; nil: there is nothing.
func (e *Elevations) endpoints(path string) (methods map[string]endpoint, id string) {
	switch path {
	case "elevate":
		return map[string]endpoint{http.MethodPost: e.elevate}, ""
	case "elevations":
		return map[string]endpoint{http.MethodGet: e.list}, ""
	case "elevations/revoke":
		return map[string]endpoint{http.MethodPost: e.revokeHolder}, ""
	case "openapi.yaml":
		return map[string]endpoint{http.MethodGet: document, http.MethodHead: document}, ""
	}
	rest, ok := strings.CutPrefix(path, "elevations/")
	if !ok {
		return nil, ""
	}
	id, action, more := strings.Cut(rest, "/")
	switch {
	case id == "" || more && action == "":
		return nil, ""
	case !more:
		return map[string]endpoint{http.MethodGet: e.show, http.MethodDelete: e.end}, id
	case action == "approve":
		return map[string]endpoint{http.MethodPost: e.approve}, id
	case action == "deny":
		return map[string]endpoint{http.MethodPost: e.deny}, id
	}
	return nil, ""
}

// ServeHTTP answers a request.
func (e *Elevations) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	methods, id := e.endpoints(strings.TrimPrefix(r.URL.Path, Prefix))
	if methods == nil {
		notFound().Write(w)
		return
	}
	handle, ok := methods[r.Method]
	if !ok {
		var allowed []string
		for method := range methods {
			allowed = append(allowed, method)
		}
		slices.Sort(allowed)
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		problem.Problem{
			Kind: "http.method", Title: "The method is not possible here.", Status: http.StatusMethodNotAllowed,
			Detail: "Possible is " + strings.Join(allowed, ", ") + ".",
		}.Write(w)
		return
	}
	handle(w, r, id)
}

//go:embed openapi.yaml
var openAPI []byte

// document serves the description of this API. There is nothing private in it.
func document(w http.ResponseWriter, _ *http.Request, _ string) {
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(openAPI)
}

// caller finds out who asks; nil: the refusal is sent.
func (e *Elevations) caller(w http.ResponseWriter, r *http.Request) *Caller {
	req := requestOf(r)
	who, refused := e.access.Identify(r.Context(), &req)
	if refused != nil {
		e.refuse(w, r, refused)
		return nil
	}
	return who
}

// find gets the request that the path names, if the caller may see it; nil: the answer
// is sent. What the caller may not see is as unknown as what isn't there.
func (e *Elevations) find(w http.ResponseWriter, r *http.Request, who *Caller, id string) *pim.Request {
	found, err := e.requests.Get(r.Context(), id)
	if err == nil && !who.sees(&found) {
		err = pim.ErrUnknown
	}
	if err != nil {
		e.fail(w, r, &found, err)
		return nil
	}
	return &found
}
