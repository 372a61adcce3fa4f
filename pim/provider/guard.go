package provider

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

const (
	guardSubjects = 50_000           // whose answers are kept
	guardAtOnce   = 64               // questions
	guardPositive = 30 * time.Second // how long "elevated" is believed at most
	guardNegative = 5 * time.Second
	// What a subject may be long: more isn't kept and not asked.
	longestSubject  = 1024
	longestEvidence = 512
)

// Guard is a provider that is fit for the path of requests: whatever the one behind it
// does, a caller has an answer or an error within the deadline. Answers are kept for a
// short time, errors never.
type Guard struct {
	inner   Provider
	timeout time.Duration
	now     func() time.Time
	kept    *otter.Cache[Subject, keptStatus]
	places  chan struct{} // one is taken for each question that is under way

	mu      sync.Mutex // guards breaker and flights, and the fields of each flight
	breaker breaker
	flights map[Subject]*flight

	asked, failed, refused, answered atomic.Uint64
}

// keptStatus is an answer that is believed until a time.
type keptStatus struct {
	status Status
	until  time.Time
}

// flight is one question under way and what all who wait for it will hear.
type flight struct {
	who    Subject
	asked  time.Time
	probe  bool
	stale  bool // forgotten meanwhile: not kept
	done   chan struct{}
	status Status // set before done is closed
	err    error
}

// NewGuard makes a guard that waits for answers as long as timeout.
func NewGuard(inner Provider, timeout time.Duration, now func() time.Time) (*Guard, error) {
	if timeout <= 0 {
		return nil, fmt.Errorf("timeout of provider %s: %v is not more than zero", inner.Name(), timeout)
	}
	kept, err := otter.New(&otter.Options[Subject, keptStatus]{MaximumSize: guardSubjects})
	if err != nil {
		return nil, fmt.Errorf("cache of provider %s: %w", inner.Name(), err)
	}
	return &Guard{
		inner: inner, timeout: timeout, now: now, kept: kept,
		places: make(chan struct{}, guardAtOnce), flights: map[Subject]*flight{},
	}, nil
}

// Name is the provider's.
func (g *Guard) Name() string { return g.inner.Name() }

// Check answers from what is kept or asks the provider. Callers who ask about the same
// subject at the same time share one question. It takes no longer than the deadline.
func (g *Guard) Check(ctx context.Context, who Subject) (Status, error) {
	now := g.now()
	if kept, ok := g.kept.GetIfPresent(who); ok && now.Before(kept.until) {
		g.answered.Add(1)
		return kept.status, nil
	}
	f, err := g.join(ctx, who, now)
	if err != nil {
		g.refused.Add(1)
		return Status{}, fmt.Errorf("ask provider %s: %w", g.Name(), err)
	}
	select {
	case <-f.done:
		return f.status, f.err
	case <-ctx.Done():
		return Status{}, fmt.Errorf("wait for provider %s: %w", g.Name(), context.Cause(ctx))
	}
}

// join returns the question about a subject that is under way, or begins one.
func (g *Guard) join(ctx context.Context, who Subject, now time.Time) (*flight, error) {
	if len(who.User)+len(who.Role) > longestSubject || who.User == "" {
		return nil, fmt.Errorf("%w: a user of %d and a role of %d bytes", ErrSubject, len(who.User), len(who.Role))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.flights[who]; f != nil {
		return f, nil
	}
	if err := g.breaker.refuses(now, who.User); err != nil {
		return nil, err
	}
	select {
	case g.places <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	f := &flight{who: who, asked: now, probe: g.breaker.admit(), done: make(chan struct{})}
	g.flights[who] = f
	// The callers wait for it, but none of them longer than it may take.
	go g.fly(context.WithoutCancel(ctx), f)
	return f, nil
}

// fly asks. A provider that doesn't keep to the deadline keeps its place until it
// returns; nobody waits for that.
func (g *Guard) fly(ctx context.Context, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	type answer struct {
		status Status
		err    error
	}
	answers := make(chan answer, 1)
	g.asked.Add(1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				answers <- answer{err: fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
			}
			<-g.places
		}()
		status, err := g.inner.Check(ctx, f.who)
		answers <- answer{status, err}
	}()
	select {
	case a := <-answers:
		g.land(f, a.status, a.err)
	case <-ctx.Done():
		g.land(f, Status{}, fmt.Errorf("no answer within %v: %w", g.timeout, ctx.Err()))
	}
}

// land tells everybody who waits.
func (g *Guard) land(f *flight, status Status, err error) {
	now := g.now()
	if err != nil {
		g.failed.Add(1)
		f.err = fmt.Errorf("provider %s: %w", g.Name(), err)
	} else {
		f.status = asOf(status, now)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.breaker.after(f.who.User, f.asked, now, f.probe, err)
	if g.flights[f.who] == f {
		delete(g.flights, f.who)
	}
	if err == nil && !f.stale {
		g.kept.Set(f.who, keptStatus{f.status, believed(f.status, f.asked)})
	}
	close(f.done)
}

// asOf is a status without what has ended.
func asOf(s Status, now time.Time) Status {
	if !s.Active || !s.Until.IsZero() && !now.Before(s.Until) {
		return Status{}
	}
	if len(s.Evidence) > longestEvidence {
		s.Evidence = s.Evidence[:longestEvidence]
	}
	return s
}

// believed is until when an answer is kept. It is as old as its question.
func believed(s Status, asked time.Time) time.Time {
	if !s.Active {
		return asked.Add(guardNegative)
	}
	until := asked.Add(guardPositive)
	if !s.Until.IsZero() && s.Until.Before(until) {
		return s.Until
	}
	return until
}

// Forget makes the next check of a subject ask, also if a question is under way.
func (g *Guard) Forget(who Subject) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.flights[who]; f != nil {
		f.stale = true
		delete(g.flights, who)
	}
	g.kept.Invalidate(who)
}

// File passes a request on, unless the provider failed a moment ago. The deadline is
// the caller's.
func (g *Guard) File(ctx context.Context, what Filing) (Filed, error) {
	return g.pass(what.Subject, func() (Filed, error) { return g.inner.File(ctx, what) })
}

// Poll passes a question about a filed request on, as File does.
func (g *Guard) Poll(ctx context.Context, ref string, who Subject) (Filed, error) {
	return g.pass(who, func() (Filed, error) { return g.inner.Poll(ctx, ref, who) })
}

// pass calls the provider. What isn't pending may have changed who is elevated.
func (g *Guard) pass(who Subject, call func() (Filed, error)) (Filed, error) {
	g.mu.Lock()
	err := g.breaker.refuses(g.now(), who.User)
	g.mu.Unlock()
	if err != nil {
		g.refused.Add(1)
		return Filed{}, fmt.Errorf("ask provider %s: %w", g.Name(), err)
	}
	filed, err := call()
	switch wait := throttle(err); {
	case wait > 0:
		g.mu.Lock()
		g.breaker.open(g.now(), wait, err)
		g.mu.Unlock()
	case err == nil && filed.State != FiledPending:
		g.Forget(who)
	}
	if err != nil && !errors.Is(err, ErrUnsupported) {
		g.failed.Add(1)
	}
	return filed, err
}

// Counts are totals since the start, but for Open.
type Counts struct {
	Kept    uint64 // checks that were answered from what is kept
	Asked   uint64 // checks that the provider was asked
	Failed  uint64 // questions and requests that had no answer
	Refused uint64 // not asked: it failed a moment ago, or too many wait
	Open    bool   // it failed a moment ago
}

// Counts returns what has happened so far.
func (g *Guard) Counts() Counts {
	g.mu.Lock()
	open := !g.breaker.until.IsZero()
	g.mu.Unlock()
	return Counts{Kept: g.answered.Load(), Asked: g.asked.Load(), Failed: g.failed.Load(), Refused: g.refused.Load(), Open: open}
}
