package authz_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/internal/testenv"
)

func TestMemorySlots(t *testing.T) {
	t.Parallel()
	var c movingClock
	m := authz.NewMemorySlots(c.now)
	testSlots(t, m, m, c.advance)
}

func newSlots(t *testing.T, client redis.UniversalClient) *authz.RedisSlots {
	t.Helper()
	s, err := authz.NewRedisSlots(client, redisConfig())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// testSlots is what all Slots must do, here at two replicas; pass lets time pass.
func testSlots(t *testing.T, one, other authz.Slots, pass func(time.Duration)) {
	t.Helper()
	const long, short = time.Minute, 300 * time.Millisecond
	slot := func(tool string, owner any) authz.Slot {
		return authz.Slot{Server: "s", Tool: tool, Owner: fmt.Sprint(owner)}
	}
	take := func(at authz.Slots, s authz.Slot, limit int, lease time.Duration, want bool) {
		t.Helper()
		if got, err := at.Take(t.Context(), s, limit, lease); got != want || err != nil {
			t.Errorf("take %v of %d: %v, %v", s, limit, got, err)
		}
	}
	free := func(at authz.Slots, s authz.Slot) {
		t.Helper()
		if err := at.Free(t.Context(), s); err != nil {
			t.Errorf("free %v: %v", s, err)
		}
	}
	// As many as there are, and no more; a tool of that name elsewhere has its own.
	take(one, slot("book", 1), 2, long, true)
	take(other, slot("book", 2), 2, long, true)
	take(one, slot("book", 3), 2, long, false)
	take(other, slot("cancel", 3), 1, long, true)
	take(other, authz.Slot{Server: "s2", Tool: "book", Owner: "3"}, 1, long, true)
	// The owner keeps the one that it has.
	take(other, slot("book", 1), 2, long, true)
	take(one, slot("book", 3), 2, long, false)
	// What is freed can be taken; freeing what one doesn't have changes nothing.
	free(other, slot("book", 3))
	take(one, slot("book", 3), 2, long, false)
	free(other, slot("book", 1))
	free(other, slot("book", 1))
	take(one, slot("book", 3), 2, long, true)
	take(one, slot("book", 1), 2, long, false)
	// A limit that was lowered takes no slot away, and gives none.
	take(one, slot("book", 2), 1, long, true)
	take(one, slot("book", 1), 1, long, false)

	// Who dies gives its slot back at the end of the lease; who renews doesn't.
	take(one, slot("lease", "dead"), 2, short, true)
	take(one, slot("lease", "alive"), 2, short, true)
	take(one, slot("lease", "alive"), 2, long, true)
	take(one, slot("lease", "new"), 2, long, false)
	pass(short + 50*time.Millisecond)
	take(other, slot("lease", "new"), 2, long, true)
	take(one, slot("lease", "dead"), 2, long, false) // it comes back too late
	take(one, slot("lease", "alive"), 2, long, true)

	var taken atomic.Int64
	var group sync.WaitGroup
	for i := range 40 {
		group.Go(func() {
			ok, err := []authz.Slots{one, other}[i%2].Take(t.Context(), slot("many", i), 10, long)
			if err != nil {
				t.Error(err)
			}
			if ok {
				taken.Add(1)
			}
		})
	}
	group.Wait()
	if n := taken.Load(); n != 10 {
		t.Errorf("%d have one of 10 slots", n)
	}
}

func TestRedisSlotsAway(t *testing.T) {
	t.Parallel()
	server := testenv.RedisFor(t, testenv.RedisOptions{})
	cfg := redisConfig()
	cfg.Timeout = 200 * time.Millisecond
	s, err := authz.NewRedisSlots(connect(t, server), cfg)
	if err != nil {
		t.Fatal(err)
	}
	slot := authz.Slot{Server: "s", Tool: "t", Owner: "o"}
	outage(t, server, func(when string) {
		start := time.Now()
		if ok, err := s.Take(t.Context(), slot, 1, time.Minute); ok || err == nil {
			t.Errorf("%s: taken %v, %v", when, ok, err)
		}
		if err := s.Free(t.Context(), slot); err == nil {
			t.Errorf("%s: freed", when)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: the answers took %v", when, took)
		}
	}, func() bool {
		ok, err := s.Take(t.Context(), slot, 1, time.Minute)
		return ok && err == nil
	})
}

// A slot takes no room after its lease, and one place however often it is sent.
func TestRedisSlotsLeaveNothing(t *testing.T) {
	t.Parallel()
	client := connect(t, testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true}))
	s := newSlots(t, client)
	take := func(owner string, lease time.Duration) {
		t.Helper()
		if ok, err := s.Take(t.Context(), authz.Slot{Server: "s", Tool: "t", Owner: owner}, 2, lease); !ok || err != nil {
			t.Fatalf("%s: %v, %v", owner, ok, err)
		}
	}
	take("a", time.Hour)
	client.AddHook(twice{})
	take("b", time.Minute)
	if n := client.ZCard(t.Context(), "app:slots:s:t").Val(); n != 2 {
		t.Errorf("%d slots are taken", n)
	}
	if left := client.PTTL(t.Context(), "app:slots:s:t").Val(); left < time.Hour-time.Minute || left > time.Hour {
		t.Errorf("kept for %v, want the longer lease", left)
	}
	if keys := client.Keys(t.Context(), "*").Val(); len(keys) != 1 {
		t.Errorf("there are also %v", keys)
	}
}
