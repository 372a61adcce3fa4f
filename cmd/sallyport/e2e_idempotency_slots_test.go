package main_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/testenv"
)

// limited are tools with a limit, and how many of their calls may run at once.
func limited() map[string]struct {
	limit int
	call  func(s *scene, token string) request
} {
	return map[string]struct {
		limit int
		call  func(s *scene, token string) request
	}{
		"write": {2, func(s *scene, token string) request { return s.of(rest(token, "POST", "/pairs", `{"item":1}`)) }},
		"read":  {1, func(s *scene, token string) request { return s.of(rest(token, "GET", "/singles", "")) }},
	}
}

// hold starts as many calls as may run at once, each of a caller and a scene of
// its own, and returns when the upstream works on them.
func (x *exchanges) hold(ctx context.Context, t *testing.T, limit int, play play, call func(*scene, string) request) []<-chan reply {
	t.Helper()
	var running []<-chan reply
	for range limit {
		s := x.scene(play)
		r, replies := call(s, x.caller(t, s.name)), make(chan reply, 1)
		go func() {
			a, err := x.try(ctx, r)
			replies <- reply{a, err}
		}()
		s.decisionOf(t)
		running = append(running, replies)
	}
	return running
}

// overLimit checks that a call more is refused, and that its key stays free.
func (x *exchanges) overLimit(t *testing.T, s *scene, r request) {
	t.Helper()
	a := x.send(t, r)
	x.refused(t, a, http.StatusTooManyRequests, "concurrency.exceeded")
	if a.header.Get("Retry-After") == "" {
		t.Errorf("no retry-after: %v", a.header)
	}
	s.executed(t, 0)
}

// TestSlots fills a tool's slots and waits for one in each way that frees it.
func TestSlots(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	for name, c := range limited() {
		t.Run(name, func(t *testing.T) { // the ways one after the other: they share the slots
			t.Parallel()
			token := x.caller(t, "alice")
			result := map[string]string{"write": "executed", "read": "passed"}[name]

			work := newGate(t)
			running := x.hold(t.Context(), t, c.limit, work.then(created), c.call)
			s := x.scene(nil)
			x.overLimit(t, s, c.call(s, token))
			work.open()
			for _, r := range running {
				a := <-r
				if a.err != nil {
					t.Fatal(a.err)
				}
				x.answered(t, a.answer, http.StatusCreated, result)
			}
			x.answered(t, x.send(t, c.call(s, token)), http.StatusCreated, result) // with the key that was refused

			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			running = x.hold(ctx, t, c.limit, newGate(t).then(created), c.call)
			s = x.scene(nil)
			x.overLimit(t, s, c.call(s, token))
			leave()
			for _, r := range running {
				<-r
			}
			eventually(t, 5*time.Second, "a slot is free after its client left", func() bool {
				return x.send(t, c.call(s, token)).status == http.StatusCreated
			})
			s.executed(t, 1)

			// A failed call frees its slot too, and a replay needs none.
			for range c.limit + 1 {
				failing := x.scene(reset)
				if a := x.send(t, c.call(failing, token)); a.status != http.StatusServiceUnavailable {
					t.Errorf("%d %s", a.status, a.body)
				}
				failing.executed(t, 1)
			}
			if name == "write" {
				again := newGate(t)
				running = x.hold(t.Context(), t, c.limit, again.then(created), c.call)
				if a := x.send(t, c.call(s, token)); a.header.Get("Idempotent-Replayed") != "true" {
					t.Errorf("a replay needs a slot: %d %s", a.status, a.body)
				}
				again.open()
				for _, r := range running {
					<-r
				}
			}
		})
	}
}

// TestSlotsAreShared fills a tool's slots at one replica, is refused at another,
// and kills the first: at the leases' end the slots are free.
func TestSlotsAreShared(t *testing.T) {
	t.Parallel()
	redis := testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true})
	x := startExchanges(t, exchangeOptions{redis: redis, lease: shortLease})
	y := startExchanges(t, exchangeOptions{redis: redis, lease: shortLease, replicaOf: x})
	work := newGate(t)
	waiting := make(map[string]*scene)
	token := x.caller(t, "alice")
	for name, c := range limited() {
		x.hold(t.Context(), t, c.limit, work.then(created), c.call)
		waiting[name] = x.scene(nil)
	}
	// Longer than the lease: it is renewed while the upstream works.
	busy := time.Now().Add((shortLease + 1) * time.Second)
	for name, c := range limited() {
		y.overLimit(t, waiting[name], c.call(waiting[name], token))
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(busy) {
		<-tick.C
		for name, c := range limited() {
			if a := y.send(t, c.call(waiting[name], token)); a.status != http.StatusTooManyRequests {
				t.Fatalf("%s: %d %s while all slots are taken", name, a.status, a.body)
			}
		}
	}
	killed := time.Now()
	x.kill(t)
	for name, c := range limited() {
		y.overLimit(t, waiting[name], c.call(waiting[name], token))
	}
	for name, c := range limited() {
		eventually(t, 10*time.Second, "the lease ends", func() bool {
			return y.send(t, c.call(waiting[name], token)).status == http.StatusCreated
		})
	}
	if took := time.Since(killed); took > (shortLease+2)*time.Second {
		t.Errorf("the slots were free after %v", took)
	}
}
