package pim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/database"
	"github.com/sallyport/sallyport/pim/provider"
)

// Journal takes events: see journal.Journal.
type Journal interface {
	Append(lines []byte, class audit.Class) error
}

// Config is what a service works with.
type Config struct {
	// Open opens the database, which remains its caller's to close. It is called until
	// it succeeds once.
	Open    func(context.Context) (*database.DB, error)
	Journal Journal
	// Provider is the external provider that decides on elevations; nil: people here do.
	Provider provider.Provider
	// Notify returns what is to be told of a request that has got into another state,
	// and to whom: Endpoint and Body. Its notices are stored with that change, or not
	// at all. It takes no time, and may be called again for a change that failed. Nil:
	// nothing is told.
	Notify func(Request) ([]Notice, error)
	Now    func() time.Time
	Log    *slog.Logger
	// Keep is how long requests are kept after their end; 0: 90 days.
	Keep time.Duration
}

// Service makes and decides requests. It is safe for concurrent use, also by several
// processes on one database.
type Service struct {
	cfg     Config
	store   *store
	view    *View
	notices *Notices

	followed                    atomic.Int64 // when the last poll has ended, Unix nanoseconds; 0: it failed
	lapsed, unrecorded, unfiled atomic.Uint64
}

// changeTimeout bounds a change whose caller may have gone.
const changeTimeout = 10 * time.Second

// New returns a service that knows nothing before Run.
func New(cfg Config) (*Service, error) {
	switch {
	case cfg.Open == nil, cfg.Journal == nil, cfg.Now == nil, cfg.Log == nil:
		return nil, errors.New("pim: Open, Journal, Now and Log are needed")
	case cfg.Keep < 0:
		return nil, fmt.Errorf("pim: keep: %v is negative", cfg.Keep)
	case cfg.Keep == 0:
		cfg.Keep = keepRequests
	}
	s := &Service{cfg: cfg, store: newStore(cfg.Open, cfg.Now, cfg.Notify), view: newView()}
	s.notices = &Notices{store: s.store, wake: make(chan struct{}, 1)}
	return s, nil
}

// View is what calls are judged by.
func (s *Service) View() *View { return s.view }

// Notices are what waits for its delivery.
func (s *Service) Notices() *Notices { return s.notices }

// Get returns a request; ErrUnknown if there is none, any more.
func (s *Service) Get(ctx context.Context, id string) (Request, error) {
	r, _, err := s.store.get(ctx, id)
	return r, err
}

// Filter says which requests to list. What is empty doesn't matter.
type Filter struct {
	State        State
	Kind         Kind
	Server, Tool string
	PrincipalID  string // the requester's
	After        string // where the page before has ended
	Limit        int    // at most 500; 0: 100
}

// List returns a page of requests without their calls, the newest first, and where the
// next one begins; empty: there is none.
func (s *Service) List(ctx context.Context, f Filter) (page []Request, next string, err error) {
	return s.store.list(ctx, f)
}

// Approve lets the grant start, or makes the call's approval usable: ErrSelf,
// ErrPersonUnknown, ErrElsewhere, ErrState, ErrUnknown, ErrTooMany, ErrUnrecorded,
// ErrUnavailable. Whether the approver may decide on the tool is the caller's to know.
func (s *Service) Approve(ctx context.Context, id string, by Party, comment string) (Request, error) {
	if err := plain("comment", comment, longestReason); err != nil {
		return Request{}, err
	}
	return s.decide(ctx, id, by, Approve{By: by, Comment: comment})
}

// Deny ends a pending request.
func (s *Service) Deny(ctx context.Context, id string, by Party, comment string) (Request, error) {
	if err := plain("comment", comment, longestReason); err != nil {
		return Request{}, err
	}
	return s.decide(ctx, id, by, Deny{By: by, Comment: comment})
}

// Cancel ends a request for its requester, or gives back what was approved;
// ErrNotRequester for others. One that a provider has stays there, and its grant too,
// if it gives one.
func (s *Service) Cancel(ctx context.Context, id string, by Party) (Request, error) {
	return s.decide(ctx, id, by, Cancel{By: by})
}

// Revoke ends what was approved. Of a provider's grant it ends what it lets do here.
func (s *Service) Revoke(ctx context.Context, id string, by Party, why string) (Request, error) {
	if err := plain("why", why, longestReason); err != nil {
		return Request{}, err
	}
	return s.decide(ctx, id, by, Revoke{By: by, Why: why})
}

// decide lets an event of somebody happen to a request. What it is refused for is
// found before anything is recorded as begun, and again in the transaction, as the
// request may change in between.
func (s *Service) decide(ctx context.Context, id string, by Party, e Event) (Request, error) {
	r, now, err := s.store.get(ctx, id)
	if err != nil {
		return r, err
	}
	action := action{name: e.name(), by: by, request: r}
	after, err := r.After(e, now)
	switch {
	case errors.Is(err, ErrSelf), errors.Is(err, ErrPersonUnknown), errors.Is(err, ErrDelegated), errors.Is(err, ErrNotRequester):
		s.record(ctx, action.refused(err))
		return r, err
	case err != nil || after == r:
		return after, err
	}
	return s.act(ctx, action.of(after), func(ctx context.Context, b *batch) error {
		r, err := b.find(ctx, id)
		if revoke, ok := e.(Revoke); ok && err == nil {
			revoke.Through, err = b.lastEnd(ctx, &r)
			e = revoke
		}
		if err == nil {
			_, err = b.step(ctx, r, e)
		}
		return err
	})
}

// act records the intent of an action, does it, and records how it went. The journal
// refuses first: nothing is changed then.
//
// Crash windows: after the intent nothing may have changed; after the commit the
// outcome is missing. The request's row knows.
func (s *Service) act(ctx context.Context, a action, do func(context.Context, *batch) error) (Request, error) {
	if err := s.begin(a); err != nil {
		return a.request, err
	}
	// From here on it is finished, even if who wanted it doesn't wait.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTimeout)
	defer cancel()
	changed, err := s.change(ctx, do)
	if err != nil {
		s.record(ctx, a.failed(err))
		return a.request, err
	}
	if len(changed) == 0 { // a replica, or the try before, has done just this
		r, _, err := s.store.get(ctx, a.request.ID)
		if err != nil {
			return a.request, err
		}
		changed = []Request{r}
	}
	s.record(ctx, a.of(changed[0]).done())
	return changed[0], nil
}

// change commits a change and tells the view at once.
func (s *Service) change(ctx context.Context, do func(context.Context, *batch) error) ([]Request, error) {
	changed, err := s.store.change(ctx, do)
	if err != nil || len(changed) == 0 {
		return nil, err
	}
	rows := make([]row, len(changed))
	for i := range changed {
		rows[i] = changed[i].row()
	}
	s.view.apply(rows)
	s.notices.stir()
	return changed, nil
}

// Spend uses the approval of exactly this call for one decision: ErrSpent,
// ErrState, ErrUnknown (also if it is another's or another call's), ErrUnavailable.
// For the same decision it may be repeated. After nil the call goes on.
func (s *Service) Spend(ctx context.Context, id, principalID string, fingerprint [32]byte, decisionID string) error {
	if !isID(id) || decisionID == "" {
		return ErrUnknown
	}
	var spent Request
	_, err := s.change(ctx, func(ctx context.Context, b *batch) error {
		r, err := b.find(ctx, id)
		if err != nil {
			return err
		}
		if r.Requester.PrincipalID != principalID || r.Fingerprint != fingerprint {
			return ErrUnknown
		}
		spent, err = b.step(ctx, r, Spend{DecisionID: decisionID})
		return err
	})
	if err != nil {
		return err
	}
	// The intent is the decision's own record. This one isn't waited for.
	s.record(ctx, action{name: "spend", by: spent.Requester, request: spent, quick: true}.done())
	return nil
}
