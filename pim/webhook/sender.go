package webhook

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Notice is one event on its way to one endpoint.
type Notice struct {
	ID       string // webhook-id
	Endpoint string // Endpoint.Name
	Body     []byte
	Created  time.Time
	Attempts int // that were made before
}

// Outbox holds notices until they are delivered, for all replicas.
type Outbox interface {
	// Due claims up to limit notices whose time has come, oldest first, so that no other
	// replica gets them within Lease. Where that passes without a word, as after a crash,
	// they are due again: a notice may arrive twice, never not at all.
	Due(ctx context.Context, limit int) ([]Notice, error)
	// Delivered and Drop forget a notice.
	Delivered(ctx context.Context, id string) error
	Drop(ctx context.Context, id string) error
	// Retry counts an attempt, and makes the notice due again at a time.
	Retry(ctx context.Context, id string, at time.Time) error
}

// Lease is how long a claimed notice is one sender's.
const Lease = 3 * time.Minute

const (
	batch     = 32              // notices claimed at a time
	backlog   = 2 * batch       // notices that wait for one endpoint
	pollEvery = 2 * time.Second // how often the outbox is asked without a wake
	minDelay  = 10 * time.Second
	maxDelay  = time.Hour
	// giveUp is when an undelivered notice is dropped.
	giveUp = 24 * time.Hour
	// settleTimeout bounds the word to the outbox after an attempt.
	settleTimeout = 5 * time.Second
)

// Config of a Sender.
type Config struct {
	LoopbackHTTP bool           // allow http to this machine, for development
	Roots        *x509.CertPool // nil: the system's
}

// Sender delivers what is in an outbox.
type Sender struct {
	outbox    Outbox
	endpoints func() []Endpoint
	client    *client
	log       *slog.Logger
	now       func() time.Time

	delivered, failed, dropped atomic.Uint64
}

// NewSender returns a sender. endpoints are those of the configuration at a time.
func NewSender(cfg Config, outbox Outbox, endpoints func() []Endpoint, log *slog.Logger, now func() time.Time) *Sender {
	return &Sender{
		outbox: outbox, endpoints: endpoints, log: log, now: now,
		client: newClient(cfg.Roots, cfg.LoopbackHTTP, now),
	}
}

// Counts are what became of attempts and notices since the start.
type Counts struct {
	Delivered uint64
	Failed    uint64 // attempts
	Dropped   uint64 // notices, after 24 hours or a 410
}

// Counts returns them.
func (s *Sender) Counts() Counts {
	return Counts{Delivered: s.delivered.Load(), Failed: s.failed.Load(), Dropped: s.dropped.Load()}
}

// Run delivers until ctx ends, and returns nil then. wake says that something is new;
// nil: the outbox is only polled.
func (s *Sender) Run(ctx context.Context, wake <-chan struct{}) error {
	var running sync.WaitGroup
	defer running.Wait()
	defer s.client.http.CloseIdleConnections()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	// Each endpoint has its own line and goroutine: one that hangs delays no other.
	lines := make(map[string]chan claimed)
	for {
		claimedAt := s.now()
		notices, err := s.outbox.Due(ctx, batch)
		if err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "webhook outbox unavailable", "error", err)
		}
		for _, n := range notices {
			line, ok := lines[n.Endpoint]
			if !ok {
				line = make(chan claimed, backlog)
				lines[n.Endpoint] = line
				running.Go(func() { s.deliver(ctx, line) })
			}
			select {
			case line <- claimed{n, claimedAt}:
			default: // the endpoint is slow: the notice is due again when its lease ends
			}
		}
		if len(notices) == batch && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-wake:
		}
	}
}

// claimed is a notice that is ours for a while.
type claimed struct {
	Notice
	at time.Time
}

// deliver sends what comes in the line of an endpoint, in order.
func (s *Sender) deliver(ctx context.Context, line <-chan claimed) {
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-line:
			if r := s.attempt(ctx, &n); !r.answered && ctx.Err() == nil {
				s.putOff(ctx, line, r)
			}
		}
	}
}

// attempt sends one notice.
func (s *Sender) attempt(ctx context.Context, n *claimed) result {
	if s.now().Sub(n.at) > Lease-attemptTimeout-settleTimeout {
		return result{answered: true} // it may be another replica's by the time it is settled
	}
	r := result{gone: true, problem: "no longer configured"}
	if to := s.endpoint(n.Endpoint); to != nil {
		r = s.client.send(ctx, to, n.ID, n.Body)
	}
	if ctx.Err() != nil && !r.delivered {
		return r // the end of this process is no failure of the receiver: the lease ends, too
	}
	s.settle(ctx, &n.Notice, r)
	return r
}

// putOff gives back what is waiting for an endpoint that doesn't answer: each would
// wait as long as the one before it.
func (s *Sender) putOff(ctx context.Context, line <-chan claimed, r result) {
	for {
		select {
		case n := <-line:
			s.settle(ctx, &n.Notice, r)
		default:
			return
		}
	}
}

// endpoint finds an endpoint by its name, as configured now; nil if it is no more.
func (s *Sender) endpoint(name string) *Endpoint {
	for _, e := range s.endpoints() {
		if e.Name() == name {
			return &e
		}
	}
	return nil
}

// settle tells the outbox what became of an attempt. Crash before it: the notice is
// sent again.
func (s *Sender) settle(ctx context.Context, n *Notice, r result) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout) // an end must not make a delivered notice arrive twice
	defer cancel()
	at := s.now().Add(delay(n.Attempts, r.retryIn))
	var err error
	switch {
	case r.delivered:
		s.delivered.Add(1)
		err = s.outbox.Delivered(ctx, n.ID)
	case r.gone || at.Sub(n.Created) > giveUp:
		s.failed.Add(1)
		s.dropped.Add(1)
		s.log.ErrorContext(ctx, "webhook notice dropped", "endpoint", n.Endpoint, "notice", n.ID, "attempts", n.Attempts+1, "problem", r.problem)
		err = s.outbox.Drop(ctx, n.ID)
	default:
		s.failed.Add(1)
		s.log.WarnContext(ctx, "webhook not delivered", "endpoint", n.Endpoint, "notice", n.ID, "attempts", n.Attempts+1, "retry_at", at, "problem", r.problem)
		err = s.outbox.Retry(ctx, n.ID, at)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		s.log.WarnContext(ctx, "webhook outbox unavailable", "endpoint", n.Endpoint, "notice", n.ID, "error", err)
	}
}

// delay is how long to wait after an attempt with so many before it: twice as long each
// time, the second half of it random, so that what failed together doesn't come
// together again. A receiver may ask for longer, up to the maximum.
func delay(before int, asked time.Duration) time.Duration {
	most := maxDelay
	if before < 16 {
		most = min(maxDelay, minDelay<<(before+1))
	}
	return max(most/2+rand.N(most/2+1), min(asked, maxDelay)) //nolint:gosec // jitter is no secret
}
