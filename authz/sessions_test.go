package authz_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/internal/testenv"
)

func TestMemorySessions(t *testing.T) {
	t.Parallel()
	m, err := authz.NewMemorySessions(1000)
	if err != nil {
		t.Fatal(err)
	}
	testSessions(t, m, m)
}

func newSessions(t testing.TB, client redis.UniversalClient, now func() time.Time) *authz.RedisSessions {
	t.Helper()
	s, err := authz.NewRedisSessions(client, redisConfig(), 1000, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// testSessions is what all Sessions must do, here at two replicas.
func testSessions(t *testing.T, one, other authz.Sessions) {
	t.Helper()
	owner := func(at authz.Sessions, server, session, want string) {
		t.Helper()
		if got, err := at.Owner(t.Context(), server, session); got != want || err != nil {
			t.Errorf("session %q of %s is %q's, %v, want %q", session, server, got, err, want)
		}
	}
	bind := func(at authz.Sessions, server, session, principal string, want bool) {
		t.Helper()
		if err := at.Bind(t.Context(), server, session, principal); (err == nil) != want {
			t.Errorf("bind %q of %s to %s: %v", session, server, principal, err)
		}
	}
	owner(one, "a", "1", "")
	bind(one, "a", "1", "alice", true)
	owner(one, "a", "1", "alice")
	owner(other, "a", "1", "alice")
	bind(other, "a", "1", "alice", true) // the answer to the first was lost
	bind(one, "a", "1", "bob", false)
	bind(other, "a", "1", "bob", false)
	owner(one, "a", "1", "alice")
	owner(other, "a", "1", "alice")
	// The same id of another server is another session.
	owner(other, "b", "1", "")
	bind(other, "b", "1", "bob", true)
	owner(one, "b", "1", "bob")
	owner(one, "a", "1:1", "")
	bind(one, "a", "\x00{ü}", "carol", true)
	owner(other, "a", "\x00{ü}", "carol")

	var bound atomic.Int64
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			if err := []authz.Sessions{one, other}[i%2].Bind(t.Context(), "a", "race", string(rune('a'+i))); err == nil {
				bound.Add(1)
			}
		})
	}
	group.Wait()
	if n := bound.Load(); n != 1 {
		t.Errorf("%d principals have the session", n)
	}
}

// A session in use is kept for longer, at most every five minutes, without a wait.
func TestRedisSessionsInUse(t *testing.T) {
	t.Parallel()
	client := connect(t, testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true}))
	var c movingClock
	s := newSessions(t, client, c.now)
	runs(t, s.Run)
	use := func(session string) {
		t.Helper()
		if owner, err := s.Owner(t.Context(), "a", session); owner != "alice" || err != nil {
			t.Fatalf("%q, %v", owner, err)
		}
	}
	key := make(map[string]string)
	bind := func(session string) {
		t.Helper()
		client.FlushAll(t.Context())
		if err := s.Bind(t.Context(), "a", session, "alice"); err != nil {
			t.Fatal(err)
		}
		key[session] = client.Keys(t.Context(), "*").Val()[0]
	}
	extended := func(session string) bool { return client.PTTL(t.Context(), key[session]).Val() > 23*time.Hour }
	marks := []string{"mark 0", "mark 1", "mark 2"}
	for _, mark := range marks {
		bind(mark)
	}
	c.advance(5 * time.Minute)
	bind("1")
	if !extended("1") {
		t.Error("a new session is not kept for a day")
	}
	// Each mark is extended by its only use: then all before it is done.
	for i, want := range []bool{false, true, false} {
		client.PExpire(t.Context(), key["1"], time.Minute)
		c.advance([]time.Duration{4 * time.Minute, time.Minute, 4 * time.Minute}[i])
		use("1")
		use(marks[i])
		eventually(t, 5*time.Second, "the mark is extended", func() bool { return extended(marks[i]) })
		if got := extended("1"); got != want {
			t.Errorf("use %d extended it: %v, want %v", i, got, want)
		}
	}
	// It is known here for a day after that one time.
	client.Del(t.Context(), key["1"])
	c.advance(24*time.Hour - 4*time.Minute - time.Millisecond)
	use("1")
	// Another replica learns of a session, and that is a use.
	client.PExpire(t.Context(), key["mark 2"], time.Minute)
	if owner, err := newSessions(t, client, c.now).Owner(t.Context(), "a", "mark 2"); owner != "alice" || err != nil || !extended("mark 2") {
		t.Errorf("elsewhere: %q, %v", owner, err)
	}
}

// What nobody used for a day is forgotten, here too.
func TestRedisSessionsIdle(t *testing.T) {
	t.Parallel()
	client := connect(t, testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true}))
	var c movingClock
	s := newSessions(t, client, c.now)
	owner := func() string {
		t.Helper()
		got, err := s.Owner(t.Context(), "a", "1")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if err := s.Bind(t.Context(), "a", "1", "alice"); err != nil {
		t.Fatal(err)
	}
	client.FlushAll(t.Context())
	c.advance(24*time.Hour - time.Millisecond)
	if got := owner(); got != "alice" {
		t.Errorf("before the end of the day it is %q's", got)
	}
	c.advance(time.Millisecond)
	if got := owner(); got != "" {
		t.Errorf("after a day it is still %q's", got)
	}
	if err := s.Bind(t.Context(), "a", "1", "bob"); err != nil || owner() != "bob" {
		t.Errorf("bound anew: %v, %q", err, owner())
	}
}

// A session that Redis lost is there again once somebody who knows it uses it;
// unless it is another's by then.
func TestRedisSessionsLost(t *testing.T) {
	t.Parallel()
	client := connect(t, testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true}))
	var c movingClock
	one, other := newSessions(t, client, c.now), newSessions(t, client, c.now)
	runs(t, one.Run)
	for _, session := range []string{"kept", "taken"} {
		if err := one.Bind(t.Context(), "a", session, "alice"); err != nil {
			t.Fatal(err)
		}
	}
	client.FlushAll(t.Context())
	if err := other.Bind(t.Context(), "a", "taken", "bob"); err != nil {
		t.Fatal(err)
	}
	c.advance(5 * time.Minute)
	for _, session := range []string{"kept", "taken"} {
		if owner, err := one.Owner(t.Context(), "a", session); owner != "alice" || err != nil {
			t.Fatalf("%q, %v", owner, err)
		}
	}
	owner := func(at authz.Sessions, session string) string {
		got, err := at.Owner(t.Context(), "a", session)
		if err != nil {
			t.Error(err)
		}
		return got
	}
	eventually(t, 5*time.Second, "kept is known elsewhere", func() bool { return owner(other, "kept") == "alice" })
	eventually(t, 5*time.Second, "taken is the other's", func() bool { return owner(one, "taken") == "bob" })
}

// While Redis is away a known session goes on, and others are an error.
func TestRedisSessionsAway(t *testing.T) {
	t.Parallel()
	server := testenv.RedisFor(t, testenv.RedisOptions{})
	cfg := redisConfig()
	cfg.Timeout = 200 * time.Millisecond
	var c movingClock
	s, err := authz.NewRedisSessions(connect(t, server), cfg, 1000, c.now)
	if err != nil {
		t.Fatal(err)
	}
	runs(t, s.Run)
	if err := s.Bind(t.Context(), "a", "known", "alice"); err != nil {
		t.Fatal(err)
	}
	n := 0
	outage(t, server, func(when string) {
		start := time.Now()
		c.advance(6 * time.Minute)
		if owner, err := s.Owner(t.Context(), "a", "known"); owner != "alice" || err != nil {
			t.Errorf("%s: a known session is %q's, %v", when, owner, err)
		}
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("%s: a known session took %v", when, took)
		}
		if owner, err := s.Owner(t.Context(), "a", "unknown"); owner != "" || err == nil {
			t.Errorf("%s: an unknown session is %q's, %v", when, owner, err)
		}
		if err := s.Bind(t.Context(), "a", "new", "alice"); err == nil {
			t.Errorf("%s: bound", when)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: the answers took %v", when, took)
		}
	}, func() bool {
		n++
		owner, err := s.Owner(t.Context(), "a", "unknown")
		return owner == "" && err == nil && s.Bind(t.Context(), "a", string(rune('a'+n)), "alice") == nil
	})
}

func BenchmarkKnownSession(b *testing.B) {
	memory, err := authz.NewMemorySessions(1000)
	if err != nil {
		b.Fatal(err)
	}
	shared := newSessions(b, connect(b, testenv.RedisFor(b, testenv.RedisOptions{UnixSocket: true})), time.Now)
	runs(b, shared.Run)
	for name, s := range map[string]authz.Sessions{"memory": memory, "redis": shared} {
		if err := s.Bind(b.Context(), "dealer", "0123456789abcdef", "alice"); err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if owner, err := s.Owner(b.Context(), "dealer", "0123456789abcdef"); owner != "alice" || err != nil {
					b.Fatal(owner, err)
				}
			}
		})
	}
}
