package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/idempotency"
	"github.com/sallyport/sallyport/idempotency/storetest"
)

// clock is a clock that is set by hand.
type clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_790_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newMemory(t testing.TB, cfg idempotency.MemoryConfig) *idempotency.Memory {
	t.Helper()
	store, err := idempotency.NewMemory(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestMemory(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) (idempotency.Store, func(time.Duration)) {
		c := newClock()
		return newMemory(t, idempotency.MemoryConfig{Now: c.Now}), c.Advance
	})
}

// numbered is the n-th of many different claims.
func numbered(n int, ttl time.Duration) idempotency.Claim {
	c := idempotency.Claim{
		Key:   idempotency.KeyOf("principal", fmt.Sprint(n)),
		Owner: fmt.Sprintf("01990000-0000-7000-8000-%012d", n), // as long as a decision's id
		Lease: time.Second, TTL: ttl,
	}
	c.Fingerprint = c.Key
	return c
}

// execute claims a key and completes it.
func execute(t *testing.T, store idempotency.Store, c idempotency.Claim, r *idempotency.Response) {
	t.Helper()
	result, err := store.Claim(t.Context(), c)
	if err != nil || result.State != idempotency.Acquired {
		t.Fatalf("claim: %+v, %v", result, err)
	}
	if err := store.Complete(t.Context(), c.Key, c.Owner, r); err != nil {
		t.Fatal(err)
	}
}

func state(t *testing.T, store idempotency.Store, c idempotency.Claim) idempotency.State {
	t.Helper()
	c.Owner = "somebody else"
	result, err := store.Claim(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return result.State
}

func TestMemoryForgetsNothingWhenFull(t *testing.T) {
	t.Parallel()
	c := newClock()
	store := newMemory(t, idempotency.MemoryConfig{MaxEntries: 3, Now: c.Now})
	for n, ttl := range []time.Duration{time.Minute, time.Hour, time.Hour} {
		execute(t, store, numbered(n, ttl), nil)
	}
	if _, err := store.Claim(t.Context(), numbered(3, time.Hour)); !errors.Is(err, idempotency.ErrUnavailable) {
		t.Errorf("a fourth of three: %v, want ErrUnavailable", err)
	}
	for n := range 3 {
		if got := state(t, store, numbered(n, time.Hour)); got != idempotency.NotRetained {
			t.Errorf("claim %d: state %d", n, got)
		}
	}
	c.Advance(time.Minute) // the first one's time is over
	execute(t, store, numbered(3, time.Hour), nil)
	if _, err := store.Claim(t.Context(), numbered(4, time.Hour)); !errors.Is(err, idempotency.ErrUnavailable) {
		t.Errorf("full again: %v, want ErrUnavailable", err)
	}
	if got := state(t, store, numbered(1, time.Hour)); got != idempotency.NotRetained {
		t.Errorf("an old claim: state %d", got)
	}
}

// TestMemoryFindsWhatIsOver makes keys last longer than at first: those whose
// time is over must still be found behind them.
func TestMemoryFindsWhatIsOver(t *testing.T) {
	t.Parallel()
	extend := map[string]func(store idempotency.Store, c idempotency.Claim) error{
		"renew": func(store idempotency.Store, c idempotency.Claim) error {
			return store.Renew(t.Context(), c.Key, c.Owner, time.Hour)
		},
		"retake": func(store idempotency.Store, c idempotency.Claim) error {
			err := store.Abandon(t.Context(), c.Key, c.Owner)
			c.Retake, c.TTL = true, time.Hour
			_, claimErr := store.Claim(t.Context(), c)
			return errors.Join(err, claimErr)
		},
	}
	for name, extend := range extend {
		c := newClock()
		store := newMemory(t, idempotency.MemoryConfig{MaxEntries: 2, Now: c.Now})
		for n := range 2 {
			if _, err := store.Claim(t.Context(), numbered(n, time.Duration(n+1)*time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
		if err := extend(store, numbered(0, time.Minute)); err != nil {
			t.Fatal(err)
		}
		c.Advance(2 * time.Minute)
		if _, err := store.Claim(t.Context(), numbered(2, time.Minute)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMemoryDropsTheOldestResponses(t *testing.T) {
	t.Parallel()
	store := newMemory(t, idempotency.MemoryConfig{MaxBytes: 3000})
	response := &idempotency.Response{Status: 200, Body: make([]byte, 900)}
	for n := range 5 {
		execute(t, store, numbered(n, time.Hour), response)
	}
	for n, want := range []idempotency.State{
		idempotency.NotRetained, idempotency.NotRetained, idempotency.Replay, idempotency.Replay, idempotency.Replay,
	} {
		if got := state(t, store, numbered(n, time.Hour)); got != want {
			t.Errorf("claim %d: state %d, want %d", n, got, want)
		}
	}
	c := numbered(2, 0)
	if ok, err := store.Clear(t.Context(), idempotency.Record{Key: c.Key, Owner: c.Owner, State: idempotency.Replay}); !ok || err != nil { // gives room
		t.Fatal(ok, err)
	}
	execute(t, store, numbered(5, time.Hour), response)
	if got := state(t, store, numbered(3, time.Hour)); got != idempotency.Replay {
		t.Errorf("a response was dropped though there was room: state %d", got)
	}
}

// TestMemoryOfAMillionKeys holds the store to what MemoryConfig says.
func TestMemoryOfAMillionKeys(t *testing.T) {
	const keys, most = 1_000_000, 400 << 20
	c := newClock()
	store := newMemory(t, idempotency.MemoryConfig{Now: c.Now})
	before := heapInUse()
	for n := range keys {
		execute(t, store, numbered(n, time.Hour), nil)
	}
	used := heapInUse() - before
	t.Logf("%d keys: %d MB, %d bytes each", keys, used>>20, used/keys)
	if used > most {
		t.Errorf("more than %d MB", most>>20)
	}
	if _, err := store.Claim(t.Context(), numbered(keys, time.Hour)); !errors.Is(err, idempotency.ErrUnavailable) {
		t.Errorf("one more: %v, want ErrUnavailable", err)
	}
	c.Advance(time.Hour)
	for n := range keys / 4 { // each claim makes room for more than itself
		execute(t, store, numbered(keys+n, time.Minute), nil)
	}
	runtime.KeepAlive(store)
}

func heapInUse() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func TestMemoryRefusesBadLimits(t *testing.T) {
	t.Parallel()
	for _, cfg := range []idempotency.MemoryConfig{{MaxEntries: -1}, {MaxBytes: -1}, {MaxResponse: -1}, {MaxResponse: 1 << 30}} {
		if _, err := idempotency.NewMemory(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}

func BenchmarkMemory(b *testing.B) {
	store := newMemory(b, idempotency.MemoryConfig{MaxEntries: 1 << 30})
	benchmark(b, store)
}

// benchmark measures what a write costs: a claim, and its completion with a
// small response.
func benchmark(b *testing.B, store idempotency.Store) {
	ctx := context.Background()
	response := &idempotency.Response{Status: 200, Body: make([]byte, 300)}
	var next uint64
	var mu sync.Mutex // guards next
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c := idempotency.Claim{Owner: "01990000-0000-7000-8000-000000000000", Lease: time.Minute, TTL: time.Minute}
		for pb.Next() {
			mu.Lock()
			next++
			n := next
			mu.Unlock()
			for i := range 8 {
				c.Key[i] = byte(n >> (8 * i))
			}
			if result, err := store.Claim(ctx, c); err != nil || result.State != idempotency.Acquired {
				b.Fatalf("claim: %+v, %v", result, err)
			}
			if err := store.Complete(ctx, c.Key, c.Owner, response); err != nil {
				b.Fatal(err)
			}
		}
	})
}
