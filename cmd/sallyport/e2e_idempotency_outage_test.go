package main_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/testenv"
)

// TestRedisGoesAndComes takes Redis away while the upstream works on one call,
// and brings it back: Sallyport goes on without a restart.
func TestRedisGoesAndComes(t *testing.T) {
	t.Parallel()
	redis := testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true, AOF: "always"})
	x := startExchanges(t, exchangeOptions{redis: redis})
	token := x.caller(t, "alice")
	work := newGate(t)
	before := x.scene(work.then(created))
	running := x.start(t, before.order(token))
	before.decisionOf(t)
	if err := redis.Stop(); err != nil {
		t.Fatal(err)
	}
	// For two seconds revocations are still known.
	scenes := make(map[string]*scene)
	for dialect, write := range dialects() {
		s := x.scene(nil)
		scenes[dialect] = s
		x.refused(t, x.send(t, write(s, token)), http.StatusServiceUnavailable, "idempotency.unavailable")
		s.executed(t, 0)
	}
	read := rest(token, "GET", "/orders/1", "").with(sceneHeader, x.scene(answers(http.StatusOK, "read")).name)
	if a := x.send(t, read); a.status != http.StatusOK {
		t.Errorf("a read: %d %s", a.status, a.body)
	}
	work.open()
	a := <-running
	if a.err != nil {
		t.Fatal(a.err)
	}
	x.answered(t, a.answer, http.StatusCreated, "executed")
	eventually(t, 10*time.Second, "nobody is let in", x.is(t, read, "revocation.unavailable"))
	eventually(t, 5*time.Second, "it shows", x.shows(t, "sallyport_redis_up", 0))

	if err := redis.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "reads pass", x.is(t, read, "allowed"))
	for dialect, write := range dialects() {
		s := scenes[dialect]
		b := x.send(t, write(s, token))
		x.answered(t, b, b.status, "executed")
		s.executed(t, 1)
	}
	// What could not be stored then is stored later; until then it is in flight.
	var again answer
	eventually(t, 15*time.Second, "the answer of before is stored", func() bool {
		again = x.send(t, before.order(token))
		return refusalOf(again) != "idempotency.in_flight"
	})
	x.replayed(t, again, a.answer)
	before.executed(t, 1)
}

// TestRedisHangs asks a Redis that accepts and never answers: refusals come in
// bounded time, and what was claimed late is not lost to its caller for long.
func TestRedisHangs(t *testing.T) {
	t.Parallel()
	redis := testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true})
	x := startExchanges(t, exchangeOptions{redis: redis, redisLines: []string{"timeout: 100ms"}})
	s := x.scene(nil)
	write := s.order(x.caller(t, "alice"))
	if err := redis.Pause(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	a := x.send(t, write)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the refusal took %v", took)
	}
	x.refused(t, a, http.StatusServiceUnavailable, "idempotency.unavailable")
	s.executed(t, 0)
	if err := redis.Resume(); err != nil {
		t.Fatal(err)
	}
	// Redis now runs the claim that it was sent; it is released in the background,
	// long before its lease ends.
	var b answer
	eventually(t, 10*time.Second, "the key is free", func() bool {
		b = x.send(t, write)
		return b.status == http.StatusCreated
	})
	x.answered(t, b, http.StatusCreated, "executed")
	s.executed(t, 1)
}

// TestRedisAwayAtTheStart starts without Redis. Nobody is let in until it comes.
func TestRedisAwayAtTheStart(t *testing.T) {
	t.Parallel()
	redis := testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true})
	if err := redis.Stop(); err != nil {
		t.Fatal(err)
	}
	x := startExchanges(t, exchangeOptions{redis: redis})
	s := x.scene(nil)
	token := x.caller(t, "alice")
	for _, r := range []request{s.order(token), s.book(token, "7"), s.of(rest(token, "GET", "/orders/1", ""))} {
		a := x.send(t, r)
		if d := x.decision(t, a); a.status != http.StatusServiceUnavailable || d.Reason != "revocation.unavailable" {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if err := redis.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	var a answer
	eventually(t, 10*time.Second, "it is used", func() bool {
		a = x.send(t, s.order(token))
		return a.status == http.StatusCreated
	})
	x.replayed(t, x.send(t, s.order(token)), a)
	s.executed(t, 1)
}

// TestEvictingRedis doesn't start with a Redis that may evict claims.
func TestEvictingRedis(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"allkeys-lru", "volatile-ttl"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			redis := testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true, MaxMemory: "100mb", MaxMemoryPolicy: policy})
			x := startExchanges(t, exchangeOptions{redis: redis, later: true})
			output, ok := x.command(t, "serve")
			if ok || !strings.Contains(output, "noeviction") || !strings.Contains(output, policy) {
				t.Errorf("it ran: %v:\n%s", ok, output)
			}
		})
	}
	redis := testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true, MaxMemory: "100mb"})
	x := startExchanges(t, exchangeOptions{redis: redis, later: true})
	x.startSallyport(t)
}
