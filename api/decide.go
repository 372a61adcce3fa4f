package api

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/internal/problem"
	"github.com/sallyport/sallyport/pim"
)

// show answers with one request. It changes nothing, whatever the query says: links
// are followed by programs that nobody asked.
func (e *Elevations) show(w http.ResponseWriter, r *http.Request, id string) {
	who := e.caller(w, r)
	if who == nil {
		return
	}
	if found := e.find(w, r, who, id); found != nil {
		e.answer(w, r, http.StatusOK, elevationOf(found, originOf(r)))
	}
}

// approve and deny decide on a request.
func (e *Elevations) approve(w http.ResponseWriter, r *http.Request, id string) {
	e.decide(w, r, id, e.requests.Approve)
}

func (e *Elevations) deny(w http.ResponseWriter, r *http.Request, id string) {
	e.decide(w, r, id, e.requests.Deny)
}

type decision func(ctx context.Context, id string, by pim.Party, comment string) (pim.Request, error)

// decide lets an approver decide. The requester, who sees the request, too, is refused
// by what keeps requests, so that the attempt is recorded.
func (e *Elevations) decide(w http.ResponseWriter, r *http.Request, id string, decide decision) {
	who := e.caller(w, r)
	if who == nil {
		return
	}
	var comment string
	if p := readBody(r, fields{"comment": text(&comment, longestText)}); p != nil {
		p.Write(w)
		return
	}
	found := e.find(w, r, who, id)
	if found == nil {
		return
	}
	decided, err := decide(r.Context(), id, partyOf(who.Principal), comment)
	if err != nil {
		e.fail(w, r, found, err)
		return
	}
	e.answer(w, r, http.StatusOK, elevationOf(&decided, originOf(r)))
}

// end cancels a pending request or gives back what was approved, for the requester; it
// revokes what was approved, for an approver.
func (e *Elevations) end(w http.ResponseWriter, r *http.Request, id string) {
	who := e.caller(w, r)
	if who == nil {
		return
	}
	query, p := readQuery(r, "why")
	if p == nil {
		p = noBody(r)
	}
	if p != nil {
		p.Write(w)
		return
	}
	found := e.find(w, r, who, id)
	if found == nil {
		return
	}
	why, own := query.Get("why"), who.owns(found)
	switch blank := strings.TrimSpace(why) == ""; {
	case !own && blank:
		impossible("why: it is required of an approver, in the query").Write(w)
		return
	case own && !blank:
		impossible("why: a requester needs no reason, and it would not be kept").Write(w)
		return
	}
	ended, err := e.finish(r.Context(), found, partyOf(who.Principal), own, why)
	if err != nil {
		e.fail(w, r, found, err)
		return
	}
	e.answer(w, r, http.StatusOK, elevationOf(&ended, originOf(r)))
}

func (e *Elevations) finish(ctx context.Context, found *pim.Request, by pim.Party, own bool, why string) (pim.Request, error) {
	if own {
		return e.requests.Cancel(ctx, found.ID, by)
	}
	return e.requests.Revoke(ctx, found.ID, by, why)
}

// revokeHolder takes an elevation away that no request here gave.
func (e *Elevations) revokeHolder(w http.ResponseWriter, r *http.Request, _ string) {
	who := e.caller(w, r)
	if who == nil {
		return
	}
	var body struct {
		principal, server, tool, why string
		duration                     *int64
	}
	p := readBody(r, fields{
		"principal_id":     text(&body.principal, longestName),
		"server":           text(&body.server, longestName),
		"tool":             text(&body.tool, longestName),
		"duration_seconds": whole(&body.duration),
		"why":              text(&body.why, longestText),
	})
	if p == nil {
		p = missing(map[string]bool{
			"principal_id": body.principal == "", "server": body.server == "", "tool": body.tool == "",
			"duration_seconds": body.duration == nil, "why": strings.TrimSpace(body.why) == "",
		})
	}
	if p != nil {
		p.Write(w)
		return
	}
	lasts, p := seconds(body.duration)
	if p != nil {
		p.Write(w)
		return
	}
	if !who.MayApprove(body.server, body.tool) {
		notApprover().Write(w)
		return
	}
	made, err := e.requests.RevokeHolder(r.Context(), body.principal, body.server, body.tool, lasts, partyOf(who.Principal), body.why)
	if err != nil {
		e.fail(w, r, &made, err)
		return
	}
	w.Header().Set("Location", Prefix+"elevations/"+made.ID)
	e.answer(w, r, http.StatusCreated, elevationOf(&made, originOf(r)))
}

// missing names the members that are.
func missing(is map[string]bool) *problem.Problem {
	var names []string
	for name, missing := range is {
		if missing {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return badBody(&bodyError{names[0], "it is required"})
}
