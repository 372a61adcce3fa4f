package identity

import (
	"context"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// Limits of refreshes that unknown kids ask for. A refresh brings all keys, so
// strangers' kids and a rotated key share them. The worst that strangers with
// random kids achieve is refreshes at the sustained rate, which is also how
// often a rotation is noticed meanwhile: every six seconds.
const (
	unknownInterval = time.Second     // between two refreshes
	unknownBurst    = 5               // refreshes at unknownInterval after a quiet time
	unknownRefill   = 6 * time.Second // per refresh beyond: ten a minute
	unknownMemory   = 30 * time.Second
	unknownMax      = 1024                   // kids remembered
	unknownWait     = 500 * time.Millisecond // that a request waits at most
	unknownWaiters  = 1024                   // requests that wait at most
)

// keyFlight is one refresh as those see it who wait for it.
type keyFlight struct {
	done chan struct{} // closed when it ended, well or not
}

func (f *keyFlight) ended() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// unknownKeyIDs decides which unknown kids ask for a refresh, and when it may
// begin. Its promise: for every kid, a refresh begins after the kid was first
// seen, at once if the limits allow it and otherwise as soon as they do; then
// the kid asks for no other for unknownMemory. It remembers the unknownMax kids
// that asked last; a forgotten one is like one never seen. The caller locks.
type unknownKeyIDs struct {
	limit  *rate.Limiter
	last   time.Time // when the last granted refresh may begin
	absent map[string]*absentKeyID
	order  [unknownMax]string // ring of the keys of absent
	oldest int

	next    *keyFlight // asked for and not begun; nil: none
	nextAt  time.Time  // when next may begin
	waiters int
	asked   uint64
}

// absentKeyID is a kid that was looked for.
type absentKeyID struct {
	until  time.Time
	flight *keyFlight // begins after the kid was seen
	atOnce bool       // the flight was allowed to begin when it was asked for
}

func newUnknownKeyIDs() unknownKeyIDs {
	return unknownKeyIDs{
		limit:  rate.NewLimiter(rate.Every(unknownRefill), unknownBurst),
		absent: make(map[string]*absentKeyID),
	}
}

// ask notes that a kid isn't in the set. It returns the flight that the kid may
// wait for, nil if there is none, and whether Run has something new to do.
func (u *unknownKeyIDs) ask(kid string, now time.Time) (flight *keyFlight, wake bool) {
	u.asked++
	a, ok := u.absent[kid]
	if ok && now.Before(a.until) {
		if a.atOnce && !a.flight.ended() {
			return a.flight, false
		}
		return nil, false
	}
	if !ok {
		a = &absentKeyID{}
		u.remember(strings.Clone(kid), a) // the token's bytes are not kept alive
	}
	if u.next == nil {
		u.next = &keyFlight{done: make(chan struct{})}
		u.nextAt = u.grant(now)
		wake = true
	}
	*a = absentKeyID{until: now.Add(unknownMemory), flight: u.next, atOnce: !u.nextAt.After(now)}
	if a.atOnce {
		return a.flight, wake
	}
	return nil, wake
}

// remember adds a kid and forgets the one that was added first.
func (u *unknownKeyIDs) remember(kid string, a *absentKeyID) {
	delete(u.absent, u.order[u.oldest])
	u.order[u.oldest] = kid
	u.oldest = (u.oldest + 1) % len(u.order)
	u.absent[kid] = a
}

// grant takes one refresh out of the limits and says when it may begin.
func (u *unknownKeyIDs) grant(now time.Time) time.Time {
	at := now.Add(u.limit.ReserveN(now, 1).DelayFrom(now))
	if gap := u.last.Add(unknownInterval); at.Before(gap) {
		at = gap
	}
	u.last = at
	return at
}

// begin hands over the flight that was asked for, if any: the refresh that
// begins now is the one it waits for, whatever caused it.
func (u *unknownKeyIDs) begin() *keyFlight {
	f := u.next
	u.next = nil
	return f
}

// askFor notes an unknown kid and wakes Run if that changes its plan.
func (k *KeySet) askFor(kid string) *keyFlight {
	now := k.cfg.Now()
	k.mu.Lock()
	f, wake := k.unknown.ask(kid, now)
	k.mu.Unlock()
	if wake {
		select {
		case k.wake <- struct{}{}:
		default: // it is awake already
		}
	}
	return f
}

// await waits for the end of a flight. It reports false if that isn't worth
// looking the key up again.
func (k *KeySet) await(ctx context.Context, f *keyFlight) bool {
	k.mu.Lock()
	full := k.unknown.waiters >= unknownWaiters
	if !full {
		k.unknown.waiters++
	}
	k.mu.Unlock()
	if full {
		return false
	}
	defer func() {
		k.mu.Lock()
		k.unknown.waiters--
		k.mu.Unlock()
	}()
	timeout := time.NewTimer(unknownWait)
	defer timeout.Stop()
	select {
	case <-f.done:
		return true
	case <-timeout.C:
		return false
	case <-ctx.Done():
		return false
	}
}
