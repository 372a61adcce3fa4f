package pim

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// staleAfter is how old what the view knows may be.
const staleAfter = 2 * time.Second

// Holder is who may hold an elevation for a tool.
type Holder struct{ PrincipalID, Server, Tool string }

// View answers calls from memory, without locks. It follows the database; when it
// couldn't for two seconds it knows nothing any more: ErrUnavailable. Its answers are
// as of the database's clock, whose distance from ours each poll measures.
type View struct {
	seed   maphash.Seed
	shards atomic.Pointer[shards]
	polled atomic.Int64 // our time of the last poll that succeeded, Unix nanoseconds; 0: none
	offset atomic.Int64 // nanoseconds that the database's clock is ahead of ours

	generation atomic.Uint64 // how often the polls have read everything

	mu       sync.Mutex // guards all below
	seen     uint64     // everything up to this change is in rows
	newest   uint64     // the greatest change that it has heard of
	loaded   bool
	rows     map[string]row
	byHolder map[Holder]map[string]struct{}
}

func newView() *View {
	v := &View{seed: maphash.MakeSeed(), rows: make(map[string]row), byHolder: make(map[Holder]map[string]struct{})}
	v.shards.Store(new(shards))
	return v
}

// at is the database's time; an error says that the view is too old.
func (v *View) at(now time.Time) (time.Time, error) {
	age := now.UnixNano() - v.polled.Load()
	if age > int64(staleAfter) || age < -int64(staleAfter) { // a clock that was set back must not make it young
		return now, ErrUnavailable
	}
	return v.clock(now), nil
}

func (v *View) clock(now time.Time) time.Time { return now.Add(time.Duration(v.offset.Load())) }

// Grant returns the local grant of a holder, for break-glass or not: of several the one
// that lasts longest.
func (v *View) Grant(h Holder, breakGlass bool, now time.Time) (id string, until time.Time, ok bool, err error) {
	if now, err = v.at(now); err != nil {
		return "", time.Time{}, false, err
	}
	held := v.of(h)
	if held == nil {
		return "", time.Time{}, false, nil
	}
	grant := &held.grant
	if breakGlass {
		grant = &held.glass
	}
	if !now.Before(grant.until) {
		return "", time.Time{}, false, nil
	}
	return grant.id, grant.until, true, nil
}

// RevokedAt returns when a holder's elevation was revoked: the newest revocation whose
// grant would still run, unless a newer grant is in force.
func (v *View) RevokedAt(h Holder, now time.Time) (at time.Time, ok bool, err error) {
	if now, err = v.at(now); err != nil {
		return time.Time{}, false, err
	}
	held := v.of(h)
	if held == nil {
		return time.Time{}, false, nil
	}
	at = held.revokedAt(now)
	return at, !at.IsZero(), nil
}

// Approval returns the approval of a call: one that isn't spent, or else one whose
// retries are still answered; empty: there is none.
func (v *View) Approval(h Holder, fingerprint [32]byte, now time.Time) (id string, err error) {
	if now, err = v.at(now); err != nil {
		return "", err
	}
	held := v.of(h)
	if held == nil {
		return "", nil
	}
	call := held.calls[fingerprint]
	switch {
	case now.Before(call.approved.until):
		return call.approved.id, nil
	case now.Before(call.spent.until):
		return call.spent.id, nil
	}
	return "", nil
}

// Pending returns a request that waits for its decision: for a call, or with a zero
// fingerprint for an elevation; empty: there is none, or it isn't known.
func (v *View) Pending(h Holder, fingerprint [32]byte) (id string) {
	held := v.of(h)
	switch {
	case held == nil:
		return ""
	case fingerprint == [32]byte{}:
		return held.pending
	}
	return held.calls[fingerprint].pending
}
