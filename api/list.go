package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/internal/problem"
	"github.com/sallyport/sallyport/pim"
)

const (
	defaultPage = 50
	longestPage = 100
	// mostPages bounds what is searched for one answer.
	mostPages = 20
)

// page is one page of a list.
type page struct {
	Elevations []elevation `json:"elevations"`
	Next       string      `json:"next,omitempty"` // where the next page begins; empty: there is none
}

// list answers with the caller's own requests, and those that the caller may decide
// on, the newest first.
func (e *Elevations) list(w http.ResponseWriter, r *http.Request, _ string) {
	who := e.caller(w, r)
	if who == nil {
		return
	}
	filter, mine, p := filterOf(r)
	if p != nil {
		p.Write(w)
		return
	}
	if mine || !who.MayApproveSome() {
		filter.PrincipalID = who.Principal.ID
	}
	found := page{Elevations: []elevation{}}
	// What the caller doesn't see is left out, so a page may be short. An empty one
	// with a next would be of no use: then it goes on, within bounds.
	for range mostPages {
		requests, next, err := e.requests.List(r.Context(), filter)
		if err != nil {
			e.fail(w, r, &pim.Request{}, err)
			return
		}
		for i := range requests {
			if who.sees(&requests[i]) && (!mine || who.owns(&requests[i])) {
				shown := elevationOf(&requests[i], originOf(r))
				shown.Arguments, shown.Call = nil, nil // a page of them would be too much
				found.Elevations = append(found.Elevations, shown)
			}
		}
		filter.After, found.Next = next, next
		if len(found.Elevations) > 0 || next == "" {
			break
		}
	}
	e.answer(w, r, http.StatusOK, found)
}

// filterOf reads the query of a list.
func filterOf(r *http.Request) (f pim.Filter, mine bool, p *problem.Problem) {
	query, p := readQuery(r, "state", "kind", "tool", "server", "mine", "after", "limit")
	if p != nil {
		return f, false, p
	}
	f = pim.Filter{
		State: pim.State(query.Get("state")), Kind: pim.Kind(query.Get("kind")),
		Server: query.Get("server"), Tool: query.Get("tool"), After: query.Get("after"), Limit: defaultPage,
	}
	if p := oneOf(query, "state", "pending", "approved", "denied", "expired", "cancelled", "revoked", "spent"); p != nil {
		return f, false, p
	}
	if p := oneOf(query, "kind", "elevation", "call"); p != nil {
		return f, false, p
	}
	if p := oneOf(query, "mine", "true", "false"); p != nil {
		return f, false, p
	}
	if limit := query.Get("limit"); query.Has("limit") {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 || n > longestPage {
			return f, false, badParameter("limit", "it must be a number within [1, "+strconv.Itoa(longestPage)+"]")
		}
		f.Limit = n
	}
	return f, query.Get("mine") == "true", nil
}

// readQuery reads the query strictly: a parameter that isn't known, or is there twice,
// is a mistake, and a filter that is ignored shows too much.
func readQuery(r *http.Request, known ...string) (url.Values, *problem.Problem) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badParameter("", "it can't be read")
	}
	for name, lines := range values {
		switch {
		case !slices.Contains(known, name):
			return nil, badParameter(clipped(name), "there is no such parameter, only "+strings.Join(known, ", "))
		case len(lines) > 1:
			return nil, badParameter(name, "it is there more than once")
		}
	}
	return values, nil
}

// oneOf wants one of the values, if the parameter is there.
func oneOf(query url.Values, name string, values ...string) *problem.Problem {
	if !query.Has(name) || slices.Contains(values, query.Get(name)) {
		return nil
	}
	return badParameter(name, "it must be one of "+strings.Join(values, ", "))
}

func badParameter(name, what string) *problem.Problem {
	p := &problem.Problem{
		Kind: "elevation.query", Title: "The query is not what is expected here.", Status: http.StatusBadRequest, Detail: what,
	}
	if name != "" {
		p.Detail = name + ": " + what
		p.More = map[string]any{"parameter": name}
	}
	return p
}
