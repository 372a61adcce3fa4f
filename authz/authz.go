// Package authz decides whether one request may pass: it runs the policies in
// their fixed order, and the first refusal wins.
package authz

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/authz/catalogue"
	"github.com/sallyport/sallyport/authz/identity"
)

// Config is everything reloadable that a decision reads.
type Config struct {
	Servers     []*Server
	Catalogue   *catalogue.Catalogue
	Verifier    *identity.Verifier
	Revocations *identity.RevocationList
	// Tiers are the rates that the tools' tiers stand for.
	Tiers Tiers
	// Shadow are the policies that only record, for all tools.
	Shadow    catalogue.Shadow
	Elevation ElevationRule
	// Idempotency says how keys are treated.
	Idempotency Idempotency
	// ClockSkew is allowed for every claim that carries a time; at most 60 s.
	ClockSkew time.Duration
}

// Idempotency says how calls with the same key are made one.
type Idempotency struct {
	Enabled    bool          // false: no call has a key
	Lease      time.Duration // how long a claim holds without a renewal
	DerivedTTL time.Duration // how long a key that is derived from the call is remembered
}

// Snapshot is a Config made ready for requests. It is immutable.
type Snapshot struct {
	Config
	router *router
}

// Compile checks a configuration and makes it ready. The error holds every
// problem.
func Compile(cfg Config) (*Snapshot, error) {
	if cfg.Catalogue == nil || cfg.Verifier == nil || cfg.Revocations == nil {
		return nil, errors.New("catalogue, verifier and revocations are required")
	}
	if len(cfg.Servers) == 0 {
		return nil, errors.New("no server is configured")
	}
	r, err := newRouter(cfg.Servers)
	if err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	return &Snapshot{Config: cfg, router: r}, nil
}

// Journal takes the record of a decision before its answer leaves. Append
// returns nil only if the record, a line, will survive a crash of this process,
// and one of class Synced a crash of the machine; it may be called by many
// goroutines and keeps no reference to the record.
type Journal interface {
	Append(record []byte, class audit.Class) error
}

// Limiter counts calls per caller and tool.
type Limiter interface {
	// Allow takes one call from the caller's allowance. If none is left it
	// returns after which time there will be one.
	Allow(now time.Time, key LimitKey, rate Rate) (retryIn time.Duration, ok bool)
}

// Engine decides requests. It is safe for concurrent use.
type Engine struct {
	current  atomic.Pointer[Snapshot]
	limiter  Limiter
	sessions Sessions
	// elevations is nil where tokens alone elevate and nothing can be approved.
	elevations Elevations
	journal    Journal
	// strangers counts denials that are too many to record one by one.
	strangers *audit.Strangers
	now       func() time.Time
	records   sync.Pool // of *[]byte: scratch, as the journal keeps no reference
}

// New returns an engine that refuses everything until Use is called.
func New(limiter Limiter, sessions Sessions, elevations Elevations, journal Journal, strangers *audit.Strangers, now func() time.Time) *Engine {
	return &Engine{limiter: limiter, sessions: sessions, elevations: elevations, journal: journal, strangers: strangers, now: now}
}

// Use makes the snapshot what decisions read, for requests that come after it.
func (e *Engine) Use(s *Snapshot) { e.current.Store(s) }

// Decide answers one request and has recorded the answer when it returns: a
// decision that can't be recorded is a denial. It never panics and never
// returns nil.
func (e *Engine) Decide(ctx context.Context, req *Request) (d *Decision) {
	start := e.now()
	d = &Decision{ID: audit.NewID(start), Time: start}
	e.evaluate(ctx, req, d)
	d.Took = e.now().Sub(start)
	if err := e.record(req, d); err != nil {
		allowed := d.Allow
		d.deny("audit", "unavailable", "Try again later.")
		d.Fault = err.Error()
		if allowed && e.now().Sub(start) < soon {
			// What has no room as an allow may have some as a denial. Where there is
			// none either, the denial is only counted.
			_ = e.record(req, d)
		}
	}
	return d
}

// soon is within which time a record was refused by a full journal, and not by a
// slow disk, for which nobody waits twice.
const soon = 100 * time.Millisecond

// Refuse is the recorded denial of a message that is no request: cause names a
// row of the table with the policy "internal".
func (e *Engine) Refuse(cause string) *Decision {
	start := e.now()
	d := &Decision{ID: audit.NewID(start), Time: start}
	d.deny("internal", cause, "")
	if err := e.record(&Request{}, d); err != nil {
		d.Fault = err.Error()
	}
	return d
}

// evaluate fills in the decision.
func (e *Engine) evaluate(ctx context.Context, req *Request, d *Decision) {
	defer d.recovered()
	snap := e.current.Load()
	if snap == nil {
		d.deny("internal", "starting", "Try again in a moment.")
		return
	}
	ev := evaluation{engine: e, snapshot: snap, request: req, decision: d}
	for i := range order {
		d.Evaluated = evaluated[:i+1]
		if order[i].check(ctx, &ev) {
			continue
		}
		if !ev.shadowed(order[i].name) {
			return
		}
		d.Shadow = append(d.Shadow, d.Reason.Code)
		d.Detail, d.RetryIn = "", 0
	}
	d.Allow = true
	d.Reason = &table[0]
	d.Lease = snap.Idempotency.Lease
}

// recovered makes a panic of a policy a denial.
func (d *Decision) recovered() {
	if p := recover(); p != nil {
		d.deny("internal", "error", "")
		d.Fault = fmt.Sprintf("panic: %v\n%s", p, debug.Stack())
	}
}

// evaluation is the state of one decision while the policies run.
type evaluation struct {
	engine   *Engine
	snapshot *Snapshot
	request  *Request
	decision *Decision
}

// shadowed reports whether a refusal of this policy is only recorded.
func (ev *evaluation) shadowed(policy string) bool {
	now := ev.decision.Time
	return ev.snapshot.Shadow.Covers(policy, now) ||
		ev.decision.Tool != nil && ev.decision.Tool.Shadow.Covers(policy, now)
}
