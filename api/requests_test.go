package api

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/pim"
)

// requests keeps to the contract of Requests in memory: its state machine is pim's own.
type requests struct {
	mu      sync.Mutex
	all     []pim.Request // in the order of their making
	asked   []pim.Ask
	terms   []pim.Terms
	failing error  // of everything
	before  func() // runs once, before the next change: what happens in between
	pages   int
}

var now = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)

func (q *requests) Request(_ context.Context, ask pim.Ask, terms pim.Terms) (pim.Request, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked, q.terms = append(q.asked, ask), append(q.terms, terms)
	switch {
	case q.failing != nil:
		return pim.Request{}, q.failing
	case terms.RequireReason && strings.TrimSpace(ask.Reason) == "":
		return pim.Request{}, fmt.Errorf("%w: reason: one is required", pim.ErrAsk)
	case (ask.Kind == pim.Call) != (ask.Fingerprint != [32]byte{}) || (ask.Kind == pim.Call) != json.Valid([]byte(ask.Call)):
		return pim.Request{}, fmt.Errorf("%w: kind", pim.ErrAsk)
	}
	r := pim.Request{
		ID: fmt.Sprintf("0195-%04d", len(q.all)), Kind: ask.Kind, State: pim.Pending, Requester: ask.Requester, Server: ask.Server, Tool: ask.Tool,
		Fingerprint: ask.Fingerprint, Call: ask.Call, Reason: ask.Reason, Duration: ask.Duration, BreakGlass: ask.BreakGlass,
		Requested: now, Until: now.Add(terms.PendingFor),
	}
	if r.Duration == 0 {
		r.Duration = terms.Longest
	}
	if !terms.RequireApproval && ask.Kind == pim.Elevation {
		r.State, r.Starts, r.Decided, r.Until = pim.Approved, now, now, now.Add(r.Duration)
	}
	q.all = append(q.all, r)
	return r, nil
}

func (q *requests) Get(_ context.Context, id string) (pim.Request, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failing != nil {
		return pim.Request{}, q.failing
	}
	for i := range q.all {
		if q.all[i].ID == id {
			return q.all[i], nil
		}
	}
	return pim.Request{}, pim.ErrUnknown
}

func (q *requests) List(_ context.Context, f pim.Filter) (page []pim.Request, next string, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failing != nil {
		return nil, "", q.failing
	}
	q.pages++
	for i := len(q.all) - 1; i >= 0; i-- {
		r := &q.all[i]
		if f.State != "" && f.State != r.State || f.Kind != "" && f.Kind != r.Kind || f.Tool != "" && f.Tool != r.Tool ||
			f.Server != "" && f.Server != r.Server || f.PrincipalID != "" && f.PrincipalID != r.Requester.PrincipalID ||
			f.After != "" && r.ID >= f.After {
			continue
		}
		if len(page) == f.Limit {
			return page, page[len(page)-1].ID, nil
		}
		page = append(page, *r)
	}
	return page, "", nil
}

func (q *requests) step(id string, event pim.Event) (pim.Request, error) {
	q.mu.Lock()
	before := q.before
	q.before = nil
	q.mu.Unlock()
	if before != nil {
		before()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failing != nil {
		return pim.Request{}, q.failing
	}
	for i := range q.all {
		if q.all[i].ID == id {
			after, err := q.all[i].After(event, now)
			if err == nil {
				q.all[i] = after
			}
			return after, err
		}
	}
	return pim.Request{}, pim.ErrUnknown
}

func (q *requests) Approve(_ context.Context, id string, by pim.Party, comment string) (pim.Request, error) {
	return q.step(id, pim.Approve{By: by, Comment: comment})
}

func (q *requests) Deny(_ context.Context, id string, by pim.Party, comment string) (pim.Request, error) {
	return q.step(id, pim.Deny{By: by, Comment: comment})
}

func (q *requests) Cancel(_ context.Context, id string, by pim.Party) (pim.Request, error) {
	return q.step(id, pim.Cancel{By: by})
}

func (q *requests) Revoke(_ context.Context, id string, by pim.Party, why string) (pim.Request, error) {
	return q.step(id, pim.Revoke{By: by, Why: why})
}

func (q *requests) RevokeHolder(_ context.Context, principalID, server, tool string, d time.Duration, by pim.Party, why string) (pim.Request, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failing != nil {
		return pim.Request{}, q.failing
	}
	r := pim.Request{
		ID: fmt.Sprintf("0195-%04d", len(q.all)), Kind: pim.Elevation, State: pim.Revoked, Requester: pim.Party{PrincipalID: principalID},
		Server: server, Tool: tool, Duration: d, Ender: by, Why: why, Requested: now, Starts: now, Ended: now, Until: now.Add(d),
	}
	q.all = append(q.all, r)
	return r, nil
}
