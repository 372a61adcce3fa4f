package extproc

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/idempotency"
)

// settle ends the claim by what was seen of the response.
func (x *exchange) settle() {
	r := &x.response
	ending := idempotency.Ending{
		Status: r.status, Flags: r.flags, Details: r.details, Body: r.seen(),
		MCP: x.meta.rpcID != "", Message: r.message(x.meta.rpcID),
	}
	switch ending.Outcome() {
	case idempotency.Executed:
		x.complete(r.toKeep(ending.Message))
	case idempotency.ExecutedOnly:
		x.complete(nil)
	case idempotency.NotExecuted:
		x.release()
		x.result = resultReleased
	default:
		x.abandon()
	}
}

// complete keeps the response; nil: only that the request was executed.
func (x *exchange) complete(response *idempotency.Response) {
	x.result = resultExecuted
	x.end(func(ctx context.Context) error {
		return x.server.claims.Complete(ctx, x.meta.key, x.meta.decisionID, response)
	})
}

// release gives the claim back: the request was not executed, for certain.
func (x *exchange) release() {
	if x.claimed {
		x.end(func(ctx context.Context) error {
			return x.server.claims.Release(ctx, x.meta.key, x.meta.decisionID)
		})
	}
}

// abandon makes the outcome unknown.
func (x *exchange) abandon() {
	x.result = resultUnknown
	x.end(func(ctx context.Context) error {
		return x.server.claims.Abandon(ctx, x.meta.key, x.meta.decisionID)
	})
}

// end ends the claim, now or, where the store doesn't answer, in the background:
// whatever becomes of the record, the client gets the real response. Until it is
// written the claim is held, then unknown; neither executes again.
func (x *exchange) end(write func(context.Context) error) {
	x.claimed = false
	x.renewal.dropClaim()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.ctx), x.server.cfg.StoreTimeout)
	defer cancel()
	err := write(ctx)
	switch {
	case err == nil:
	case errors.Is(err, idempotency.ErrLost):
		// The lease ended and another request retook the claim: its tool is one
		// whose upstream deduplicates.
		x.server.log.WarnContext(x.ctx, "claim was lost", "decision_id", x.decisionID())
	default:
		x.server.log.ErrorContext(x.ctx, "claim not ended, trying again", "error", err, "decision_id", x.decisionID())
		x.server.retry(x.decisionID(), write)
	}
}

const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
	retryFor   = 2 * time.Minute
	maxRetries = 1024 // at once; further ones are left to the lease's end
)

// retry writes in the background until it succeeds, the claim is lost, or it is
// too late. Close waits for it.
func (s *Server) retry(decisionID string, write func(context.Context) error) {
	if s.retrying.Add(1) > maxRetries {
		s.retrying.Add(-1)
		s.log.Error("too many claims wait for their end, this one's outcome stays unknown", "decision_id", decisionID)
		return
	}
	s.background.Go(func() {
		defer s.retrying.Add(-1)
		deadline := time.NewTimer(retryFor)
		defer deadline.Stop()
		for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
			pause := time.NewTimer(wait)
			select {
			case <-pause.C:
			case <-deadline.C:
				s.log.Error("claim not ended, its outcome stays unknown", "decision_id", decisionID)
				return
			case <-s.closing:
				s.log.Error("claim not ended before the end of the process, its outcome stays unknown", "decision_id", decisionID)
				return
			}
			ctx, cancel := context.WithTimeout(context.Background(), s.cfg.StoreTimeout)
			err := write(ctx)
			cancel()
			if err == nil || errors.Is(err, idempotency.ErrLost) {
				return
			}
		}
	})
}

// slot names the exchange's slot.
func (x *exchange) slot() authz.Slot {
	return authz.Slot{Server: x.meta.server, Tool: x.meta.tool, Owner: x.meta.decisionID}
}

// freeSlot gives the slot back; if that fails its lease ends.
func (x *exchange) freeSlot() {
	x.slotted = false
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.ctx), x.server.cfg.StoreTimeout)
	defer cancel()
	if err := x.server.slots.Free(ctx, x.slot()); err != nil {
		x.server.log.WarnContext(x.ctx, "slot not freed, its lease has to end", "error", err, "decision_id", x.decisionID())
	}
}

// renewal extends what an exchange holds while the upstream works. Most
// exchanges are over before the first time.
type renewal struct {
	mu    sync.Mutex // held while it renews; guards what follows
	timer *time.Timer
	claim bool // is still renewed
	over  bool
}

// startRenewal renews at a third of the lease: two attempts may fail.
func (x *exchange) startRenewal() *renewal {
	s, m, claimed, slotted := x.server, x.meta, x.claimed, x.slotted
	if !claimed && !slotted {
		return nil
	}
	every := m.lease / 3
	slot := x.slot()
	r := &renewal{claim: claimed}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timer = time.AfterFunc(every, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.over {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.StoreTimeout)
		defer cancel()
		var errs []error
		if r.claim {
			err := s.claims.Renew(ctx, m.key, m.decisionID, m.lease)
			r.claim = !errors.Is(err, idempotency.ErrLost)
			errs = append(errs, err)
		}
		if slotted {
			ok, err := s.slots.Take(ctx, slot, m.slotLimit, m.lease)
			if err == nil && !ok {
				err = errors.New("the slot was lost, and all are taken")
			}
			errs = append(errs, err)
		}
		if err := errors.Join(errs...); err != nil {
			s.log.WarnContext(ctx, "lease not renewed", "error", err, "decision_id", m.decisionID)
		}
		r.timer.Reset(every)
	})
	return r
}

// dropClaim leaves the claim alone, which was ended, and returns when nobody renews
// it any more.
func (r *renewal) dropClaim() {
	if r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.claim = false
	}
}

// stop returns when nothing is renewed any more: a slot that is taken anew after
// it was given back would stay taken until its lease ends.
func (r *renewal) stop() {
	if r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.over = true
		r.timer.Stop()
	}
}
