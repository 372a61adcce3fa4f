package idempotency

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// MemoryConfig bounds a Memory.
type MemoryConfig struct {
	// MaxEntries is how many keys are remembered at once, default a million. A
	// key takes up to 400 bytes, so a million take 400 MB, and their responses
	// MaxBytes more. Beyond it new keys are refused: none is forgotten early.
	MaxEntries int
	// MaxBytes is how much of responses is kept, default 256 MiB. Beyond it the
	// oldest responses go; that their requests were executed stays known.
	MaxBytes int
	// MaxResponse is the most bytes of one response, default 1 MiB, at most 16.
	MaxResponse int
	// Now is the clock, default time.Now.
	Now func() time.Time
}

// Memory is a Store for one process. What it holds ends with the process: a
// restart forgets which requests were executed.
type Memory struct {
	cfg   MemoryConfig
	start time.Time

	mu      sync.Mutex // guards the fields below
	entries map[Key]*entry
	expiry  expiryHeap
	kept    entry // head of the ring of entries with a response, oldest first
	bytes   int   // of kept responses
}

// entry is what is known about one key. Times are nanoseconds since the store's
// start, so that steps of the wall clock don't end leases.
type entry struct {
	key         Key
	fingerprint [32]byte
	owner       string
	state       State // Busy, Replay (executed) or Unknown
	retaken     bool
	claimed     int64
	leaseEnds   int64
	ttl         int64
	expires     int64
	at          int    // in the heap
	response    []byte // of an executed request; nil: not retained
	prev, next  *entry // in the ring, with a response only
}

// NewMemory returns an empty store.
func NewMemory(cfg MemoryConfig) (*Memory, error) {
	setDefault(&cfg.MaxEntries, 1_000_000)
	setDefault(&cfg.MaxBytes, 256<<20)
	setDefault(&cfg.MaxResponse, DefaultMaxResponse)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxEntries < 0 || cfg.MaxBytes < 0 || cfg.MaxResponse < 0 || cfg.MaxResponse > mostMaxResponse {
		return nil, fmt.Errorf("memory store: a limit is negative, or max_response is over %d", mostMaxResponse)
	}
	m := &Memory{cfg: cfg, start: cfg.Now(), entries: make(map[Key]*entry)}
	m.kept.prev, m.kept.next = &m.kept, &m.kept
	return m, nil
}

func setDefault(value *int, otherwise int) {
	if *value == 0 {
		*value = otherwise
	}
}

// Claim implements Store.
func (m *Memory) Claim(ctx context.Context, c Claim) (Result, error) {
	if err := errors.Join(ctx.Err(), c.check()); err != nil {
		return Result{}, unavailable("claim", err)
	}
	result, response, err := m.claim(c)
	if err != nil || response == nil {
		return result, err
	}
	// Outside the lock: nobody changes a response that is kept.
	if result.Response, err = decodeResponse(response); err != nil {
		return Result{}, unavailable("claim", err)
	}
	return result, nil
}

func (m *Memory) claim(c Claim) (Result, []byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.sweep(now)
	e := m.live(c.Key, now)
	if e == nil {
		if len(m.entries) >= m.cfg.MaxEntries {
			return Result{}, nil, unavailable("claim", fmt.Errorf("%d keys are remembered, which is all that there is room for", len(m.entries)))
		}
		e = &entry{key: c.Key}
		m.entries[c.Key] = e
		e.take(c, now, false)
		heap.Push(&m.expiry, e)
		return Result{State: Acquired}, nil, nil
	}
	state := e.stateAt(now)
	switch {
	case e.fingerprint != c.Fingerprint:
		return Result{State: Mismatch}, nil, nil
	case state == Busy && e.owner == c.Owner:
		m.extend(e, now, c.Lease)
		return Result{State: Acquired, Retaken: e.retaken}, nil, nil
	case state == Busy:
		return Result{State: Busy, RetryIn: time.Duration(e.leaseEnds - now)}, nil, nil
	case state == Unknown && c.Retake:
		e.take(c, now, true)
		heap.Fix(&m.expiry, e.at)
		return Result{State: Acquired, Retaken: true}, nil, nil
	default:
		return Result{State: state}, e.response, nil
	}
}

// Renew implements Store.
func (m *Memory) Renew(ctx context.Context, key Key, owner string, lease time.Duration) error {
	if err := checkLease(lease); err != nil {
		return unavailable("renew", err)
	}
	return m.owned(ctx, "renew", key, owner, func(e *entry, now int64) bool {
		if e.state != Busy {
			return false
		}
		m.extend(e, now, lease)
		return true
	})
}

// Complete implements Store.
func (m *Memory) Complete(ctx context.Context, key Key, owner string, r *Response) error {
	response := encodeResponse(r, m.cfg.MaxResponse)
	return m.owned(ctx, "complete", key, owner, func(e *entry, now int64) bool {
		if e.state == Replay {
			return true // a repetition
		}
		e.state = Replay
		m.keep(e, response)
		m.outlive(e, now)
		return true
	})
}

// Release implements Store.
func (m *Memory) Release(ctx context.Context, key Key, owner string) error {
	return m.owned(ctx, "release", key, owner, func(e *entry, _ int64) bool {
		if e.state == Replay {
			return false
		}
		if e.retaken {
			e.state = Unknown
		} else {
			m.forget(e)
		}
		return true
	})
}

// Abandon implements Store.
func (m *Memory) Abandon(ctx context.Context, key Key, owner string) error {
	return m.owned(ctx, "abandon", key, owner, func(e *entry, now int64) bool {
		if e.state == Replay {
			return false
		}
		e.state = Unknown
		m.outlive(e, now)
		return true
	})
}

// owned lets act change an entry of the owner. What act refuses is lost.
func (m *Memory) owned(ctx context.Context, what string, key Key, owner string, act func(e *entry, now int64) bool) error {
	if err := ctx.Err(); err != nil {
		return unavailable(what, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	e := m.live(key, now)
	if e == nil || e.owner != owner || !act(e, now) {
		return lost(what)
	}
	return nil
}

// Show implements Store.
func (m *Memory) Show(ctx context.Context, key Key) (Record, bool, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, false, unavailable("show", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	e := m.live(key, now)
	if e == nil {
		return Record{}, false, nil
	}
	record := Record{
		Key: key, State: e.stateAt(now), Owner: e.owner, Fingerprint: e.fingerprint,
		Claimed: m.time(e.claimed), Expires: m.time(e.expires),
	}
	if record.State == Busy {
		record.LeaseEnds = m.time(e.leaseEnds)
	}
	return record, true, nil
}

// Clear implements Store.
func (m *Memory) Clear(ctx context.Context, seen Record) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, unavailable("clear", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	e := m.live(seen.Key, now)
	if e == nil || e.owner != seen.Owner || e.stateAt(now) != seen.State {
		return false, nil
	}
	m.forget(e)
	return true, nil
}

func (m *Memory) now() int64 { return int64(m.cfg.Now().Sub(m.start)) }

func (m *Memory) time(sinceStart int64) time.Time {
	return m.start.Add(time.Duration(sinceStart)).Round(0).UTC()
}

// live returns the entry of a key, or nil if there is none or its time is over.
func (m *Memory) live(key Key, now int64) *entry {
	e := m.entries[key]
	if e != nil && e.expires <= now {
		m.forget(e)
		return nil
	}
	return e
}

// sweep forgets some entries whose time is over: more than a claim adds, and few
// enough that no claim waits for them.
func (m *Memory) sweep(now int64) {
	for range 8 {
		if len(m.expiry) == 0 || m.expiry[0].expires > now {
			return
		}
		m.forget(m.expiry[0])
	}
}

func (m *Memory) forget(e *entry) {
	heap.Remove(&m.expiry, e.at)
	delete(m.entries, e.key)
	m.drop(e)
}

// take makes an entry the claim's, from now on.
func (e *entry) take(c Claim, now int64, retaken bool) {
	e.owner, e.fingerprint, e.state, e.retaken, e.claimed = c.Owner, c.Fingerprint, Busy, retaken, now
	e.leaseEnds = now + int64(c.Lease)
	e.ttl = int64(max(c.TTL, c.Lease))
	e.expires = now + e.ttl
}

// extend moves the end of the lease. A key that is being executed never becomes
// free.
func (m *Memory) extend(e *entry, now int64, lease time.Duration) {
	e.leaseEnds = now + int64(lease)
	e.ttl = max(e.ttl, int64(lease))
	m.outlive(e, now)
}

// outlive counts the TTL from now: what took long is remembered for as long as
// what didn't.
func (m *Memory) outlive(e *entry, now int64) {
	e.expires = now + e.ttl
	heap.Fix(&m.expiry, e.at)
}

// stateAt is the state as a claim sees it.
func (e *entry) stateAt(now int64) State {
	switch {
	case e.state == Busy && e.leaseEnds <= now:
		return Unknown
	case e.state == Replay && e.response == nil:
		return NotRetained
	default:
		return e.state
	}
}

// keep remembers a response as the newest and drops the oldest beyond the limit.
func (m *Memory) keep(e *entry, response []byte) {
	if response == nil || len(response) > m.cfg.MaxBytes {
		return
	}
	e.response = response
	e.prev, e.next = m.kept.prev, &m.kept
	e.prev.next, e.next.prev = e, e
	m.bytes += len(response)
	for m.bytes > m.cfg.MaxBytes {
		m.drop(m.kept.next)
	}
}

// drop forgets the response of an entry, if it has one.
func (m *Memory) drop(e *entry) {
	if e.response == nil {
		return
	}
	m.bytes -= len(e.response)
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next, e.response = nil, nil, nil
}

// expiryHeap is the heap of all entries, the one that ends first on top.
type expiryHeap []*entry

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].expires < h[j].expires }
func (h expiryHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *expiryHeap) Push(x any) {
	e := x.(*entry)
	e.at = len(*h)
	*h = append(*h, e)
}

// Pop implements heap.Interface.
func (h *expiryHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
