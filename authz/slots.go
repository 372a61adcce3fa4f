package authz

import (
	"context"
	"sync"
	"time"
)

// Slot is one call's share of a tool's max_concurrency.
type Slot struct {
	Server, Tool string
	Owner        string // id of the call's decision
}

// Slots bounds how many calls of a tool run at once. Its methods may be called
// by many goroutines.
type Slots interface {
	// Take reserves one of limit slots until it is freed or the lease ends. Taken
	// again by its owner, the lease begins anew. It reports false if none is free;
	// an error leaves open whether the slot was taken.
	Take(ctx context.Context, slot Slot, limit int, lease time.Duration) (bool, error)
	// Free gives a slot back; one that isn't taken is no error.
	Free(ctx context.Context, slot Slot) error
}

// MemorySlots are the slots of one process.
type MemorySlots struct {
	now func() time.Time

	mu    sync.Mutex                         // guards tools
	tools map[[2]string]map[string]time.Time // server and tool; owner to end of the lease
}

// NewMemorySlots returns slots of which all are free.
func NewMemorySlots(now func() time.Time) *MemorySlots {
	return &MemorySlots{now: now, tools: make(map[[2]string]map[string]time.Time)}
}

// Take implements Slots; it never fails.
func (m *MemorySlots) Take(_ context.Context, slot Slot, limit int, lease time.Duration) (bool, error) {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	key := [2]string{slot.Server, slot.Tool}
	owners := m.tools[key]
	if owners == nil {
		owners = make(map[string]time.Time)
		m.tools[key] = owners
	}
	if _, again := owners[slot.Owner]; !again && len(owners) >= limit {
		for owner, end := range owners {
			if !now.Before(end) {
				delete(owners, owner)
			}
		}
		if len(owners) >= limit {
			return false, nil
		}
	}
	owners[slot.Owner] = now.Add(lease)
	return true, nil
}

// Free implements Slots; it never fails.
func (m *MemorySlots) Free(_ context.Context, slot Slot) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.tools[[2]string{slot.Server, slot.Tool}], slot.Owner)
	return nil
}
