package pim

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sallyport/sallyport/audit"
)

// Bounds of what can be asked for.
const (
	mostPendingOfOne = 20     // requests of one requester that wait
	mostLiveOfOne    = 200    // grants that a requester got without anybody's approval
	mostPending      = 10_000 // of all requesters
	mostLive         = 50_000

	longestName   = 512
	longestReason = 2 << 10
	longestCall   = 16 << 10
)

// Terms are what configuration says at the time of a request.
type Terms struct {
	// RequireApproval makes an elevation need a second person's yes. A call, a
	// break-glass grant, and an elevation after one that was revoked and would still
	// run, always need it.
	RequireApproval bool
	RequireReason   bool          // break-glass always needs one
	Longest         time.Duration // an elevation of this tool lasts at most
	PendingFor      time.Duration // a request waits for its decision
	ApprovalFor     time.Duration // an approved call waits for its execution
	BreakGlass      bool
	BreakGlassFor   time.Duration // a break-glass grant lasts at most
	ReplayFor       time.Duration // a spent approval is still found, so that a retry is a replay
}

// Ask is what somebody asks for.
type Ask struct {
	Kind         Kind
	Requester    Party
	Server, Tool string
	Fingerprint  [32]byte      // of kind call
	Call         string        // of kind call: JSON of at most 16 KiB
	Reason       string        // at most 2 KiB
	Duration     time.Duration // 0: as long as the terms allow
	BreakGlass   bool
	ProviderUser string // the requester's id at the provider
	ProviderRole string // the tool's role at the provider
}

// Request asks for an elevation or for the approval of a call: ErrAsk, ErrTooMany,
// ErrPersonUnknown (of the requester, where somebody has to approve), ErrProvider,
// ErrElsewhere (people ask at the provider, at the answer's ProviderURL),
// ErrUnrecorded, ErrUnavailable. Its answer is approved if nobody has to,
// or else pending. An identical request that the requester has pending is the answer
// instead of a second one.
func (s *Service) Request(ctx context.Context, ask Ask, terms Terms) (Request, error) {
	if err := ask.validate(&terms); err != nil {
		return Request{}, err
	}
	decides := s.cfg.Provider
	r := ask.draft(&terms)
	r.ID = audit.NewID(s.cfg.Now())
	if decides != nil && ask.Kind == Elevation && !ask.BreakGlass {
		if r.Provider = decides.Name(); ask.ProviderUser == "" || ask.ProviderRole == "" {
			return Request{}, fmt.Errorf("%w: the provider doesn't know the requester, or no role of the tool", ErrAsk)
		}
	}
	if same, ok := s.identical(ctx, &r); ok {
		return same, nil
	}
	r, err := s.act(ctx, action{name: "request", by: ask.Requester, request: r}, func(ctx context.Context, b *batch) error {
		return b.enter(ctx, r, &terms)
	})
	if same := (*duplicateError)(nil); errors.As(err, &same) {
		return s.Get(ctx, same.id)
	}
	if err != nil || r.Provider == "" || r.ProviderRef != "" || r.State != Pending {
		return r, err
	}
	return s.file(ctx, decides, r)
}

// identical finds a pending request for the same without recording anything; the
// transaction looks again.
func (s *Service) identical(ctx context.Context, r *Request) (same Request, ok bool) {
	id := s.view.Pending(Holder{r.Requester.PrincipalID, r.Server, r.Tool}, r.Fingerprint)
	if id == "" {
		return same, false
	}
	same, now, err := s.store.get(ctx, id)
	return same, err == nil && same.State == Pending && now.Before(same.Until) && same.asksFor(r)
}

// draft is the request without what is known in its transaction only.
func (a *Ask) draft(terms *Terms) Request {
	r := Request{
		Kind: a.Kind, State: Pending, Requester: a.Requester, Server: a.Server, Tool: a.Tool,
		Reason: a.Reason, Duration: a.Duration, BreakGlass: a.BreakGlass,
	}
	longest := terms.longest(a)
	if a.Kind == Call {
		r.Fingerprint, r.Call, r.ReplayFor = a.Fingerprint, a.Call, terms.ReplayFor
		r.Duration = min(cmp.Or(a.Duration, longest), longest)
		return r
	}
	r.Duration = cmp.Or(a.Duration, longest).Truncate(time.Second)
	r.ProviderUser, r.ProviderRole = a.ProviderUser, a.ProviderRole
	return r
}

// longest is how long what is asked for can last.
func (t *Terms) longest(a *Ask) time.Duration {
	switch {
	case a.Kind == Call:
		return t.ApprovalFor
	case a.BreakGlass:
		return min(t.BreakGlassFor, t.Longest)
	}
	return t.Longest
}

func (a *Ask) validate(terms *Terms) error {
	if a.Kind != Elevation && a.Kind != Call {
		return fmt.Errorf("%w: kind: %q is neither %q nor %q", ErrAsk, a.Kind, Elevation, Call)
	}
	if terms.PendingFor <= 0 || terms.longest(a) < time.Second {
		return fmt.Errorf("%w: the configuration leaves no time for it", ErrAsk)
	}
	err := errors.Join(
		wanted("requester", a.Requester.PrincipalID), wanted("server", a.Server), wanted("tool", a.Tool),
		plain("server", a.Server, longestName), plain("tool", a.Tool, longestName), plain("reason", a.Reason, longestReason),
		plain("provider's user", a.ProviderUser, longestName), plain("provider's role", a.ProviderRole, longestName),
		a.Requester.validate(),
	)
	if err != nil {
		return err
	}
	if strings.TrimSpace(a.Reason) == "" && (terms.RequireReason || a.BreakGlass) {
		return fmt.Errorf("%w: reason: one is required", ErrAsk)
	}
	if a.Kind == Call {
		return a.validateCall()
	}
	return a.validateElevation(terms)
}

func (a *Ask) validateCall() error {
	switch {
	case a.Fingerprint == [32]byte{}:
		return fmt.Errorf("%w: fingerprint: is missing", ErrAsk)
	case len(a.Call) > longestCall:
		return fmt.Errorf("%w: call: more than %d bytes", ErrAsk, longestCall)
	case !json.Valid([]byte(a.Call)) || !utf8.ValidString(a.Call):
		return fmt.Errorf("%w: call: is not JSON", ErrAsk)
	case a.BreakGlass:
		return fmt.Errorf("%w: break_glass: is for elevations", ErrAsk)
	case a.Duration < 0:
		return fmt.Errorf("%w: duration: %v is negative", ErrAsk, a.Duration)
	}
	return nil
}

func (a *Ask) validateElevation(terms *Terms) error {
	longest := terms.longest(a)
	switch {
	case a.Fingerprint != [32]byte{} || a.Call != "":
		return fmt.Errorf("%w: call: is for approvals of calls", ErrAsk)
	case a.BreakGlass && !terms.BreakGlass:
		return fmt.Errorf("%w: break_glass: is switched off", ErrAsk)
	case a.Duration != 0 && (a.Duration < time.Second || a.Duration > longest):
		return fmt.Errorf("%w: duration: %v is not within [1s, %v]", ErrAsk, a.Duration, longest)
	}
	return nil
}

func wanted(what, text string) error {
	if text == "" {
		return fmt.Errorf("%w: %s: is missing", ErrAsk, what)
	}
	return nil
}

// plain refuses what is too long, or what the databases can't hold alike.
func plain(what, text string, longest int) error {
	switch {
	case len(text) > longest:
		return fmt.Errorf("%w: %s: more than %d bytes", ErrAsk, what, longest)
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return fmt.Errorf("%w: %s: is no text", ErrAsk, what)
	}
	return nil
}

func (p *Party) validate() error {
	var errs []error
	for _, text := range [...]string{p.PrincipalID, p.Issuer, p.IssuerName, p.Tenant, p.Subject, p.Client, p.Actor, p.Person} {
		errs = append(errs, plain("party", text, longestReason))
	}
	return errors.Join(errs...)
}

// asksFor reports whether two requests are for the same.
func (r *Request) asksFor(o *Request) bool {
	return r.Kind == o.Kind && r.Requester.PrincipalID == o.Requester.PrincipalID && r.Server == o.Server && r.Tool == o.Tool &&
		r.Fingerprint == o.Fingerprint && r.BreakGlass == o.BreakGlass && r.Provider == o.Provider
}

// enter makes a request, unless it is there: it may be the second try of a transaction
// whose commit wasn't answered, or an identical one may be pending.
func (b *batch) enter(ctx context.Context, r Request, terms *Terms) error {
	if _, err := b.find(ctx, r.ID); !errors.Is(err, ErrUnknown) {
		return err
	}
	held, err := b.held(ctx, r.Requester.PrincipalID)
	if err != nil {
		return err
	}
	h := tally(held, &r)
	if h.same != "" {
		return &duplicateError{h.same}
	}
	r.Requested, r.Until = b.now, b.now.Add(terms.PendingFor)
	// Whoever was revoked doesn't lift that alone.
	if r.Kind == Elevation && r.Provider == "" && !terms.RequireApproval && !r.BreakGlass && !h.revoked {
		r.grant(b.now, b.now.Add(r.Duration))
	}
	if r.State == Pending && r.Provider == "" && !r.Requester.known() {
		return ErrPersonUnknown // nobody could approve it
	}
	if err := b.room(&r, &h); err != nil {
		return err
	}
	_, err = b.save(ctx, r, "")
	return err
}

// duplicateError says that an identical request is pending.
type duplicateError struct{ id string }

func (e *duplicateError) Error() string { return "request " + e.id + " asks for the same" }

// tallied is what a requester has.
type tallied struct {
	pending, live int
	revoked       bool   // for the same tool
	same          string // pending
}

func tally(held []row, r *Request) (t tallied) {
	wanted := r.row()
	for i := range held {
		h := &held[i]
		switch h.state {
		case Pending:
			if t.pending++; h.kind == r.Kind && h.holder == wanted.holder && h.fingerprint == r.Fingerprint &&
				h.breakGlass == r.BreakGlass && h.provider == r.Provider {
				t.same = h.id
			}
		case Approved:
			t.live++
		case Revoked:
			t.revoked = t.revoked || h.holder == wanted.holder
		}
	}
	return t
}

// room refuses a request beyond the bounds.
func (b *batch) room(r *Request, h *tallied) error {
	switch {
	case r.State == Pending && h.pending >= mostPendingOfOne:
		return fmt.Errorf("%w: %d of this requester are pending", ErrTooMany, h.pending)
	case r.State == Pending && b.pending >= mostPending:
		return fmt.Errorf("%w: %d are pending", ErrTooMany, b.pending)
	case r.State == Approved && h.live >= mostLiveOfOne:
		return fmt.Errorf("%w: %d of this requester are in force", ErrTooMany, h.live)
	case r.State == Approved && b.live >= mostLive:
		return fmt.Errorf("%w: %d grants and approvals are in force", ErrTooMany, b.live)
	}
	return nil
}

// RevokeHolder ends an elevation that no request here gave, such as that of a token's
// claim: for so long, and until the last of those that requests here gave has ended,
// nothing that began before elevates the holder for the tool.
func (s *Service) RevokeHolder(ctx context.Context, principalID, server, tool string, d time.Duration, by Party, why string) (Request, error) {
	err := errors.Join(
		wanted("principal", principalID), wanted("server", server), wanted("tool", tool),
		plain("principal", principalID, longestName), plain("server", server, longestName), plain("tool", tool, longestName),
		plain("why", why, longestReason), by.validate(),
	)
	if err == nil && d <= 0 {
		err = fmt.Errorf("%w: duration: %v is not positive", ErrAsk, d)
	}
	if err != nil {
		return Request{}, err
	}
	r := Request{
		ID: audit.NewID(s.cfg.Now()), Kind: Elevation, State: Revoked, Requester: Party{PrincipalID: principalID},
		Server: server, Tool: tool, Duration: d, Ender: by, Why: why,
	}
	return s.act(ctx, action{name: "revoke_holder", by: by, request: r}, func(ctx context.Context, b *batch) error {
		if _, err := b.find(ctx, r.ID); !errors.Is(err, ErrUnknown) {
			return err
		}
		last, err := b.lastEnd(ctx, &r)
		if err != nil {
			return err
		}
		r.Requested, r.Starts, r.Ended, r.Until = b.now, b.now, b.now, b.now.Add(d)
		if last.After(r.Until) {
			r.Until = last
		}
		_, err = b.save(ctx, r, "")
		return err
	})
}
