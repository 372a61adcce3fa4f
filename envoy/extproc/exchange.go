package extproc

import (
	"context"
	"errors"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sallyport/sallyport/idempotency"
)

// phase is how far an exchange has come.
type phase uint8

const (
	opening   phase = iota // no message has come
	waiting                // the request went on, its response has not come
	answering              // the response comes
	passing                // whatever comes passes untouched
)

// exchange is the state of one stream: one request and its response. Only its
// stream's goroutine uses it.
type exchange struct {
	server  *Server
	ctx     context.Context // the stream's
	started time.Time

	meta     *metadata // nil before the request phase
	phase    phase
	finished bool // the last answer was given

	claimed bool // the claim is ours, and not settled
	slotted bool // a slot is ours
	renewal *renewal

	response observed
	result   string // what became of the exchange: a label of Metrics, and in the record
}

func (x *exchange) decisionID() string {
	if x.meta == nil {
		return ""
	}
	return x.meta.decisionID
}

// handle answers one message; its metadata is apart, still encoded. An error ends
// the stream, and with it the request.
func (x *exchange) handle(request *extprocv3.ProcessingRequest, metadata string) (*extprocv3.ProcessingResponse, error) {
	if x.finished {
		return nil, status.Errorf(codes.FailedPrecondition, "%T after the last answer", request.GetRequest())
	}
	switch r := request.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		if x.phase == opening {
			return x.open(metadata), nil
		}
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		switch x.phase {
		case opening, passing: // opening: a reply of Envoy's own, to a request that never got here
			x.phase = passing
			x.finished = r.ResponseHeaders.GetEndOfStream()
			return continueResponseHeaders(), nil
		case waiting:
			return x.openResponse(r.ResponseHeaders, request.GetAttributes()), nil
		}
	case *extprocv3.ProcessingRequest_ResponseBody:
		switch x.phase {
		case passing:
			x.response.size += len(r.ResponseBody.GetBody())
			x.finished = r.ResponseBody.GetEndOfStream()
			return continueResponseBody(), nil
		case answering:
			return x.responseBody(r.ResponseBody.GetBody(), r.ResponseBody.GetEndOfStream()), nil
		}
	case *extprocv3.ProcessingRequest_ResponseTrailers:
		switch x.phase {
		case passing:
			x.finished = true
			return continueResponseTrailers(), nil
		case answering:
			return x.responseTrailers()
		}
	}
	return nil, status.Errorf(codes.FailedPrecondition, "%T out of order", request.GetRequest())
}

// open is the request phase: claim, then slot, then approval, and only then the
// request goes on.
func (x *exchange) open(metadata string) *extprocv3.ProcessingResponse {
	m, err := readMetadata(metadata)
	if err != nil {
		x.server.log.ErrorContext(x.ctx, "request without a decision that can be read", "error", err)
		return x.refuse("internal.metadata", 0)
	}
	x.meta = m
	if !m.run {
		x.phase = passing
		return continueRequestHeaders()
	}
	if m.keyed {
		if answer := x.claim(); answer != nil {
			return answer
		}
	}
	if m.slotLimit > 0 {
		if answer := x.takeSlot(); answer != nil {
			return answer
		}
	}
	if m.approval != "" {
		if answer := x.spendApproval(); answer != nil {
			return answer
		}
	}
	x.renewal = x.startRenewal()
	x.phase = waiting
	return continueRequestHeaders()
}

// claim acquires the key. It returns the answer for the client if the request
// must not go on.
func (x *exchange) claim() *extprocv3.ProcessingResponse {
	ctx, cancel := context.WithTimeout(x.ctx, x.server.cfg.StoreTimeout)
	defer cancel()
	result, err := x.server.claims.Claim(ctx, idempotency.Claim{
		Key: x.meta.key, Owner: x.meta.decisionID, Fingerprint: x.meta.fingerprint,
		Lease: x.meta.lease, TTL: x.meta.ttl, Retake: x.meta.retake,
	})
	if err != nil {
		// The claim may have been written all the same. The request is not
		// executed, for certain, so nobody has to wait for the lease's end.
		x.end(func(ctx context.Context) error {
			err := x.server.claims.Release(ctx, x.meta.key, x.meta.decisionID)
			if errors.Is(err, idempotency.ErrLost) {
				return nil // it was not written
			}
			return err
		})
		x.server.log.ErrorContext(x.ctx, "key not claimed", "error", err, "decision_id", x.decisionID())
		return x.refuse("idempotency.unavailable", 0)
	}
	switch result.State {
	case idempotency.Acquired:
		x.claimed = true
		return nil
	case idempotency.Replay:
		return x.replay(result.Response)
	case idempotency.Busy:
		return x.refuse("idempotency.in_flight", result.RetryIn)
	case idempotency.Mismatch:
		return x.refuse("idempotency.mismatch", 0)
	case idempotency.NotRetained:
		return x.refuse("idempotency.not_retained", 0)
	default:
		return x.refuse("idempotency.outcome_unknown", 0)
	}
}

// takeSlot takes one of the tool's slots, or gives the claim back and says why.
func (x *exchange) takeSlot() *extprocv3.ProcessingResponse {
	ctx, cancel := context.WithTimeout(x.ctx, x.server.cfg.StoreTimeout)
	defer cancel()
	ok, err := x.server.slots.Take(ctx, x.slot(), x.meta.slotLimit, x.meta.lease)
	if err == nil && ok {
		x.slotted = true
		return nil
	}
	x.release()
	if err != nil {
		x.slotted = true // it may have been taken all the same, so that close frees it
		x.server.log.ErrorContext(x.ctx, "slot not taken", "error", err, "decision_id", x.decisionID())
		return x.refuse("concurrency.unavailable", 0)
	}
	return x.refuse("concurrency.exceeded", 0)
}

// spendApproval spends the approval of the call. It is the last thing before the
// request goes on, so that whatever refuses the call leaves it unspent. Whether one
// was spent of which the store didn't say so is not known: it isn't used again then.
func (x *exchange) spendApproval() *extprocv3.ProcessingResponse {
	ctx, cancel := context.WithTimeout(x.ctx, x.server.cfg.StoreTimeout)
	defer cancel()
	m := x.meta
	err := x.server.approvals.Spend(ctx, Approval{ID: m.approval, PrincipalID: m.principalID, Fingerprint: m.fingerprint, DecisionID: m.decisionID})
	if err == nil {
		return nil
	}
	x.release()
	if errors.Is(err, ErrNotApproved) {
		return x.refuse("approval.spent", 0)
	}
	x.server.log.ErrorContext(x.ctx, "approval not spent", "error", err, "decision_id", x.decisionID())
	return x.refuse("approval.unavailable", 0)
}

// close ends what the exchange holds, however it ended, and records the outcome.
func (x *exchange) close() {
	x.renewal.stop()
	if x.claimed {
		// The stream ended before its response did: the client went away, Envoy
		// was stopped, or something failed. The upstream may have executed.
		x.abandon()
	}
	if x.slotted {
		x.freeSlot()
	}
	if x.meta != nil && x.meta.run {
		x.record()
	}
}
