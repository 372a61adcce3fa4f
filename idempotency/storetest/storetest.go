// Package storetest holds what every idempotency.Store must do, as tests.
package storetest

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/sallyport/sallyport/idempotency"
)

// The times of the tests. Servers have real clocks, and test machines are busy.
const (
	lease = time.Minute
	ttl   = time.Hour
	// brief is a lease whose end is waited for, with nothing to do before.
	brief = 100 * time.Millisecond
	// while is a lease, or a TTL, within which something must be done.
	while = 600 * time.Millisecond
	// margin lets a time pass for certain.
	margin = 50 * time.Millisecond
)

// world is one store and the clock that it goes by.
type world struct {
	*testing.T
	store   idempotency.Store
	advance func(time.Duration)
}

// Run tests stores. open makes an empty one, for one test, with the way to let
// its clock advance: a fake clock jumps, a real one is waited for.
func Run(t *testing.T, open func(t *testing.T) (store idempotency.Store, advance func(time.Duration))) {
	t.Helper()
	tests := map[string]func(w *world){
		"execute, then replay":                    replay,
		"executed, response not retained":         notRetained,
		"release frees the key":                   release,
		"abandon makes it unknown":                abandon,
		"the end of the lease makes it unknown":   leaseEnds,
		"renew holds the lease":                   renew,
		"renew outlives the TTL":                  renewPastTTL,
		"a repeated claim is acquired again":      repeatedClaim,
		"retake":                                  retake,
		"a released retake is unknown again":      releasedRetake,
		"complete after the end of the lease":     lateComplete,
		"complete after abandon":                  completeAbandoned,
		"complete twice":                          completeTwice,
		"another owner changes nothing":           fencing,
		"what is executed can't be undone":        final,
		"another fingerprint is a mismatch":       mismatch,
		"the TTL counts from the end":             ttlFromEnd,
		"the end of the TTL frees the key":        ttlEnds,
		"a changed TTL counts for new claims":     ttlChanges,
		"a TTL is never shorter than the lease":   ttlShorterThanLease,
		"keys are apart":                          keysApart,
		"show and clear":                          showAndClear,
		"responses of all kinds":                  responses,
		"a response that is too large":            tooLarge,
		"a replayed response is the caller's own": aliasing,
		"one of many acquires":                    oneOfMany,
		"one of many retakes":                     oneOfManyRetakes,
		"a cancelled call changes nothing":        cancelled,
		"claims that can't be kept are refused":   badClaims,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, advance := open(t)
			test(&world{T: t, store: store, advance: advance})
		})
	}
}

// claimOf is a claim of a new key.
func claimOf(owner string) idempotency.Claim {
	c := idempotency.Claim{Owner: owner, Lease: lease, TTL: ttl}
	_, _ = rand.Read(c.Key[:])         // it never fails
	_, _ = rand.Read(c.Fingerprint[:]) // it never fails
	return c
}

// by is the same claim of another owner.
func by(c idempotency.Claim, owner string) idempotency.Claim {
	c.Owner = owner
	return c
}

func (w *world) claim(c idempotency.Claim) idempotency.Result {
	w.Helper()
	result, err := w.store.Claim(w.Context(), c)
	if err != nil {
		w.Fatalf("claim by %s: %v", c.Owner, err)
	}
	return result
}

// expect claims and wants a state.
func (w *world) expect(state idempotency.State, c idempotency.Claim) idempotency.Result {
	w.Helper()
	result := w.claim(c)
	if result.State != state {
		w.Fatalf("claim by %s: state %d, want %d", c.Owner, result.State, state)
	}
	return result
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) isLost(what string, err error) {
	w.Helper()
	if !errors.Is(err, idempotency.ErrLost) {
		w.Errorf("%s: got %v, want ErrLost", what, err)
	}
}

// The operations of a claim's owner.
func (w *world) renew(c idempotency.Claim) error {
	return w.store.Renew(w.Context(), c.Key, c.Owner, c.Lease)
}

func (w *world) complete(c idempotency.Claim, r *idempotency.Response) error {
	return w.store.Complete(w.Context(), c.Key, c.Owner, r)
}

func (w *world) release(c idempotency.Claim) error {
	return w.store.Release(w.Context(), c.Key, c.Owner)
}

func (w *world) abandon(c idempotency.Claim) error {
	return w.store.Abandon(w.Context(), c.Key, c.Owner)
}

func created(body string) *idempotency.Response {
	return &idempotency.Response{
		Status:  201,
		Headers: []idempotency.Header{{Name: "content-type", Value: "application/json"}, {Name: "location", Value: "/bookings/1"}},
		Body:    []byte(body),
	}
}
