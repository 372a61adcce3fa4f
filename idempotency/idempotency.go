// Package idempotency makes a request with a key take effect at most once.
package idempotency

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Key names a claim: the SHA-256 of the caller and of the key that the caller
// chose, or of the canonical call where it chose none. The caller's own text is
// stored nowhere.
type Key [32]byte

// Claim asks for the right to execute one request.
type Claim struct {
	Key Key
	// Owner is the fencing token: the id of the decision that lets the request
	// through. What a former owner writes late is refused.
	Owner string
	// Fingerprint is the digest of the canonical call. A key that comes again
	// with another one is a mistake of the caller.
	Fingerprint [32]byte
	// Lease is how long the claim holds without a renewal. After it nobody knows
	// whether the request took effect.
	Lease time.Duration
	// TTL is how long the key is remembered, from the claim on; at least Lease.
	TTL time.Duration
	// Retake executes again where the outcome is unknown: for tools whose
	// upstream deduplicates by itself.
	Retake bool
}

// State is what is known about a key.
type State uint8

// The answers to a claim.
const (
	Acquired    State = iota + 1 // the request is the caller's to execute
	Busy                         // another request with the key is being executed
	Replay                       // it was executed, and here is its response
	NotRetained                  // it was executed; its response was too large, or not for keeping
	Mismatch                     // the key stands for another call
	Unknown                      // it may have been executed
)

// Result is the answer to a claim.
type Result struct {
	State    State
	Retaken  bool          // Acquired, though a former execution's outcome is unknown
	RetryIn  time.Duration // Busy: until the lease ends; it may be over sooner
	Response *Response     // Replay
}

// Response is what a replay repeats.
type Response struct {
	Status  int
	Headers []Header // those that may be repeated
	// Body is the body of a REST response. Of an MCP response it is the member
	// result or error as it stood, for the repeating request has another id.
	Body []byte
	// Error says that Body is the member error.
	Error bool
}

// Header is one header line.
type Header struct{ Name, Value string }

// Record is a claim as operators see it.
type Record struct {
	Key         Key
	State       State // Busy, Replay, NotRetained or Unknown
	Owner       string
	Fingerprint [32]byte
	Claimed     time.Time
	LeaseEnds   time.Time // Busy only
	Expires     time.Time
}

// What a store says when it can't do what was asked.
var (
	// ErrLost: the claim is not the owner's any more. Nothing was written.
	ErrLost = errors.New("the claim belongs to another request, or is gone")
	// ErrUnavailable: the store can't be asked, or is full. Whether it was
	// written is unknown. Before the execution the request is refused with it,
	// and the claim should be released: it may have been acquired after all, and
	// would be Busy, then Unknown, without ever having been executed.
	ErrUnavailable = errors.New("the store of claims is not available")
	// ErrNotReplicated: the claim was not confirmed by enough replicas, and was
	// released. It is an ErrUnavailable.
	ErrNotReplicated = errors.Join(ErrUnavailable, errors.New("not enough replicas confirmed the claim"))
)

// Store keeps claims. All methods are atomic, may be called by many goroutines,
// and measure time by the store's own clock. Errors wrap one of those above.
//
// A claim is Busy until its owner ends it with Complete, Release or Abandon, or
// its lease ends, which makes its outcome Unknown. When the TTL of the claim is
// over since it was claimed, renewed or ended, the key is free.
type Store interface {
	// Claim acquires the key, or says what is known about it. Asked again by the
	// owner of a claim that is Busy it answers Acquired and renews the lease, so
	// that a claim whose answer was lost can be repeated.
	Claim(ctx context.Context, c Claim) (Result, error)
	// Renew extends the lease, from now: a key that is being executed is never
	// free. Like Complete it
	// succeeds after the lease has ended, but not after Abandon.
	Renew(ctx context.Context, key Key, owner string, lease time.Duration) error
	// Complete keeps the response for replays; nil, or one over the store's
	// limits, remembers only that the request was executed. It succeeds also
	// after the lease has ended or after Abandon, as long as nobody has retaken
	// the claim: then the outcome is known after all. It can be repeated; the
	// first response stays.
	Complete(ctx context.Context, key Key, owner string, r *Response) error
	// Release frees the key: the request was not executed, for certain. What is
	// complete stays. A retaken claim becomes Unknown again: its former execution
	// is as unknown as before.
	Release(ctx context.Context, key Key, owner string) error
	// Abandon makes the outcome Unknown without waiting for the lease to end. It
	// can be repeated.
	Abandon(ctx context.Context, key Key, owner string) error

	// Show returns what is known about a key; false if nothing is.
	Show(ctx context.Context, key Key) (Record, bool, error)
	// Clear forgets a claim, if it is still as Show has seen it: of the same owner
	// and in the same state. It reports whether it was.
	Clear(ctx context.Context, seen Record) (bool, error)
}

// check refuses a claim that no store could keep its promises for.
func (c *Claim) check() error {
	if c.Owner == "" {
		return errors.New("a claim without an owner")
	}
	return checkLease(c.Lease)
}

func checkLease(lease time.Duration) error {
	if lease <= 0 {
		return errors.New("a lease that ends before it begins")
	}
	return nil
}

func unavailable(what string, err error) error {
	return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
}

func lost(what string) error {
	return fmt.Errorf("%s: %w", what, ErrLost)
}
