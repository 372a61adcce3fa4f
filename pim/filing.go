package pim

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport/sallyport/internal/database"
	"github.com/sallyport/sallyport/pim/provider"
)

const (
	// fileWithin is how long it may take until a request is known to be filed.
	fileWithin  = time.Minute
	fileTimeout = 15 * time.Second
	askTimeout  = 5 * time.Second
	// A provider is asked about a request after a tenth of its age.
	shortestAsk, longestAsk = 5 * time.Second, 5 * time.Minute
	askPage                 = 20
)

// file takes a pending request to the provider. What it doesn't take is over.
//
// Crash window: after the provider has taken it and before its id is written here,
// the request is there and nobody asks about it. It ends here within a minute; a grant
// that the provider gives for it counts anyway.
func (s *Service) file(ctx context.Context, to provider.Provider, r Request) (Request, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fileTimeout)
	defer cancel()
	filed, err := to.File(ctx, provider.Filing{
		Subject: provider.Subject{User: r.ProviderUser, Role: r.ProviderRole}, Reason: r.Reason, Duration: r.Duration, Tool: r.Tool,
	})
	if err == nil {
		return s.report(ctx, r, reportOf(&filed))
	}
	if errors.Is(err, provider.ErrUnsupported) { // people ask there themselves
		after, reportErr := s.report(ctx, r, Report{State: Denied, Comment: "the provider takes no requests from here"})
		after.ProviderURL = filed.URL
		return after, errors.Join(fmt.Errorf("%w: %w", ErrElsewhere, err), reportErr)
	}
	s.unfiled.Add(1)
	after, reportErr := s.report(ctx, r, Report{State: Denied, Comment: "the provider did not answer that it has it"})
	return after, errors.Join(fmt.Errorf("%w: %w", ErrProvider, err), reportErr)
}

func reportOf(filed *provider.Filed) Report {
	report := Report{State: Pending, Until: filed.Until, Ref: filed.Ref, URL: filed.URL}
	switch filed.State {
	case provider.FiledActive:
		report.State = Approved
	case provider.FiledDenied:
		report.State = Denied
	case provider.FiledFailed:
		report.State, report.Comment = Denied, "it failed at the provider"
	case provider.FiledExpired:
		report.State = Expired
	case provider.FiledCancelled:
		report.State = Cancelled
	}
	return report
}

// report lets a provider's answer happen to a request.
func (s *Service) report(ctx context.Context, r Request, e Report) (Request, error) {
	name := map[State]string{Pending: "file", Approved: "approve", Denied: "deny", Expired: Lapse{}.name(), Cancelled: "cancel"}[e.State]
	return s.act(ctx, action{name: name, request: r}, func(ctx context.Context, b *batch) error {
		r, err := b.find(ctx, r.ID)
		if err == nil {
			_, err = b.step(ctx, r, e)
		}
		return err
	})
}

// askProvider asks about requests that were filed, some at a time. One that it can't be
// asked about doesn't hold up the others; a provider that fails isn't asked about each.
func (s *Service) askProvider(ctx context.Context) error {
	from := s.cfg.Provider
	if from == nil {
		return nil
	}
	some, err := s.store.claimFiled(ctx, from.Name())
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range some {
		err := s.ask(ctx, from, r)
		if errs = append(errs, err); errors.Is(err, provider.ErrOpen) {
			break
		}
	}
	return errors.Join(errs...)
}

func (s *Service) ask(ctx context.Context, from provider.Provider, r Request) error {
	if r.ProviderRef == "" {
		_, err := s.report(ctx, r, Report{State: Denied, Comment: "it is not known whether the provider got it"})
		return overtaken(err)
	}
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	filed, err := from.Poll(asking, r.ProviderRef, provider.Subject{User: r.ProviderUser, Role: r.ProviderRole})
	if err != nil {
		return fmt.Errorf("ask about request %s: %w", r.ID, err)
	}
	if e := reportOf(&filed); e.State != Pending {
		_, err = s.report(ctx, r, e)
	}
	return overtaken(err)
}

// overtaken is nil for the error of a request that has ended otherwise meanwhile.
func overtaken(err error) error {
	if answered(err) {
		return nil
	}
	return err
}

// claimFiled returns pending requests that a provider is to be asked about now. No
// other replica gets them for some time.
func (s *store) claimFiled(ctx context.Context, name string) (some []Request, err error) {
	now, err := s.clock(ctx)
	if err != nil {
		return nil, err
	}
	err = s.settle(ctx, func(ctx context.Context, db *database.DB, tx database.Tx) error {
		some = nil
		err := tx.Query(ctx, func(rows *sql.Rows) error {
			r, err := scanRequest(rows)
			some = append(some, r)
			return err
		}, fmt.Sprintf("SELECT %s FROM pim_requests WHERE state = 'pending' AND provider = $1 AND ask_at <= $2 ORDER BY ask_at LIMIT %d%s",
			requestColumns, askPage, forUpdate(db)), name, db.Time(now))
		if err != nil {
			return err
		}
		for i := range some {
			next := now.Add(min(max(now.Sub(some[i].Requested)/10, shortestAsk), longestAsk))
			if _, err := tx.ExecContext(ctx, "UPDATE pim_requests SET ask_at = $1 WHERE id = $2", db.Time(next), some[i].ID); err != nil {
				return err
			}
		}
		return nil
	})
	return some, err
}

// forUpdate locks the rows that are read, where that is needed, but for those that
// another has locked.
func forUpdate(db *database.DB) string {
	if db.Dialect() == database.Postgres {
		return " FOR UPDATE SKIP LOCKED"
	}
	return ""
}
