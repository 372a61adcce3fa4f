package identity

import (
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// Replays remembers what may be used by one token (a nonce) or once (a DPoP
// proof). All replicas must ask the same one. It is safe for concurrent use.
type Replays interface {
	// Remember binds key to value until the given time, unless the key is bound
	// already: then it changes nothing and returns the earlier value and seen.
	// Of several calls with one key at a time, one finds it unbound. An error
	// means that nothing is known, and the request must be refused.
	Remember(ctx context.Context, key, value [sha256.Size]byte, until time.Time) (earlier [sha256.Size]byte, seen bool, err error)
}

// replayKey hashes what a value is remembered by, each part with its length.
func replayKey(parts ...string) (key [sha256.Size]byte) {
	h := sha256.New()
	var n [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	h.Sum(key[:0])
	return key
}

// errReplaysFull: forgetting a key early would let its replay pass.
var errReplaysFull = errors.New("all entries are in use and none has expired")

// MemoryReplays is a Replays for a single replica. It is bounded: when all
// entries are in use, Remember fails until one has expired.
type MemoryReplays struct {
	now     func() time.Time
	entries int

	mu    sync.Mutex // guards all below
	bound map[[sha256.Size]byte]*replay
	queue replayQueue
}

// replay is one binding.
type replay struct {
	key, value [sha256.Size]byte
	until      time.Time
}

// NewMemoryReplays remembers at most so many keys at a time, about 250 bytes
// each.
func NewMemoryReplays(entries int, now func() time.Time) *MemoryReplays {
	return &MemoryReplays{now: now, entries: entries, bound: make(map[[sha256.Size]byte]*replay)}
}

// Remember implements Replays.
func (m *MemoryReplays) Remember(_ context.Context, key, value [sha256.Size]byte, until time.Time) (earlier [sha256.Size]byte, seen bool, err error) {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(now)
	if r, ok := m.bound[key]; ok && now.Before(r.until) {
		return r.value, true, nil
	}
	if len(m.queue) >= m.entries {
		return earlier, false, errReplaysFull
	}
	r := &replay{key: key, value: value, until: until}
	m.bound[key] = r
	heap.Push(&m.queue, r)
	return earlier, false, nil
}

// forget drops a few of the expired: more than a call adds, and never so many
// that one call pays for all.
func (m *MemoryReplays) forget(now time.Time) {
	for range 4 {
		if len(m.queue) == 0 || now.Before(m.queue[0].until) {
			return
		}
		expired := heap.Pop(&m.queue).(*replay)
		if m.bound[expired.key] == expired { // not bound anew since
			delete(m.bound, expired.key)
		}
	}
}

// replayQueue is a heap (container/heap): what expires first is at its top.
type replayQueue []*replay

func (q replayQueue) Len() int           { return len(q) }
func (q replayQueue) Less(i, j int) bool { return q[i].until.Before(q[j].until) }
func (q replayQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *replayQueue) Push(r any)        { *q = append(*q, r.(*replay)) }
func (q *replayQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = nil // or the array would keep it
	*q = old[:len(old)-1]
	return last
}
