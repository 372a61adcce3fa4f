package main_test

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestForwardUnknown repeats calls of a tool whose upstream deduplicates: they
// reach it again, with the same key, until the outcome is known.
func TestForwardUnknown(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	for name, fails := range map[string]struct {
		play   play
		status int
	}{
		"500":   {answers(http.StatusInternalServerError, "failed"), 500},
		"reset": {reset, 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := x.scene(func(w http.ResponseWriter, r *http.Request, n int) {
				if n < 3 {
					fails.play(w, r, n)
					return
				}
				created(w, r, n)
			})
			write := s.of(rest(x.caller(t, "alice"), "PUT", "/orders/1", `{"item":1}`))
			for range 2 {
				x.answered(t, x.send(t, write), fails.status, "unknown")
			}
			a := x.send(t, write)
			x.answered(t, a, http.StatusCreated, "executed")
			x.replayed(t, x.send(t, write), a)
			s.executed(t, 3)
			seen := make(map[string]bool)
			for _, r := range s.requests() {
				if diff := cmp.Diff([]string{s.key}, r.Header["Idempotency-Key"]); diff != "" {
					t.Errorf("the key upstream (-want +got):\n%s", diff)
				}
				seen[r.Header.Get("X-Sallyport-Decision-Id")] = true
			}
			if len(seen) != 3 {
				t.Errorf("attempts can't be told apart: %v", seen)
			}
		})
	}
}

// TestUpstreamAway calls a server that isn't there: nothing is executed, so the
// same key is good as soon as it is.
func TestUpstreamAway(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	s := x.scene(nil)
	write := s.order(x.caller(t, "alice"))
	write.path = "/away/orders"
	for range 2 {
		x.answered(t, x.send(t, write), http.StatusServiceUnavailable, "released")
	}
	listener, err := net.Listen("tcp", x.away)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: x.stage}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	var a answer
	eventually(t, 10*time.Second, "Envoy connects again", func() bool {
		a = x.send(t, write)
		return a.status != http.StatusServiceUnavailable
	})
	x.answered(t, a, http.StatusCreated, "executed")
	x.replayed(t, x.send(t, write), a)
	s.executed(t, 1)
}

// TestToolTimeout calls a tool that has one second.
func TestToolTimeout(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	late := newGate(t)
	s := x.scene(late.then(created))
	write := s.of(rest(x.caller(t, "alice"), "POST", "/quick", `{"item":1}`))
	began := time.Now()
	a := x.send(t, write)
	if took := time.Since(began); took < time.Second || took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	x.answered(t, a, http.StatusGatewayTimeout, "unknown")
	if o := x.outcome(t, decisionID(a)); o.Details != "response_timeout" {
		t.Errorf("recorded as %+v", o)
	}
	x.retried(t, x.send(t, write), a, "idempotency.outcome_unknown")
	s.executed(t, 1)
}

// TestTwoAtOnce sends a call again while its first execution lasts.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	for dialect, write := range dialects() {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			work := newGate(t)
			s := x.scene(work.then(created))
			token := x.caller(t, "alice")
			running := x.start(t, write(s, token))
			s.decisionOf(t)
			for range 3 {
				b := x.send(t, write(s, token))
				x.retried(t, b, b, "idempotency.in_flight")
				seconds, err := strconv.Atoi(b.header.Get("Retry-After"))
				if facts, code := b.refusal(t); err != nil || seconds < 1 || seconds > defaultLease || facts.RetryAfter != seconds ||
					dialect == "MCP" && code != http.StatusConflict {
					t.Errorf("retry-after %q: %s", b.header.Get("Retry-After"), b.body)
				}
			}
			s.executed(t, 1)
			work.open()
			a := <-running
			if a.err != nil {
				t.Fatal(a.err)
			}
			x.answered(t, a.answer, a.status, "executed")
			x.replayed(t, x.send(t, write(s, token)), a.answer)
			s.executed(t, 1)
		})
	}
}

// TestClientGoesAway leaves while the upstream works, and comes back.
func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	for name, c := range map[string]struct {
		write  func(s *scene, token string) request
		http2  bool
		inBody bool   // the upstream has begun to answer
		retry  string // executed, or the reason of a refusal
	}{
		"REST":                  {dialects()["REST"], false, false, "idempotency.outcome_unknown"},
		"REST, HTTP/2":          {dialects()["REST"], true, false, "idempotency.outcome_unknown"},
		"REST, in the answer":   {dialects()["REST"], false, true, "idempotency.outcome_unknown"},
		"MCP":                   {dialects()["MCP"], false, false, "idempotency.outcome_unknown"},
		"MCP, HTTP/2":           {dialects()["MCP"], true, true, "idempotency.outcome_unknown"},
		"upstream deduplicates": {func(s *scene, token string) request { return s.of(rest(token, "PUT", "/orders/1", `{}`)) }, false, false, "executed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := x.scene(first(func(w http.ResponseWriter, r *http.Request, _ int) {
				if c.inBody {
					w.Header().Set("Content-Type", "text/event-stream")
					w.(http.Flusher).Flush()
				}
				<-r.Context().Done()
			}))
			token := x.caller(t, "alice")
			write := c.write(s, token)
			if c.http2 {
				write = withClient(write, http2Client(t))
			} else {
				write = withClient(write, clientOf(t, &http.Transport{}))
			}
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			ended := make(chan error, 1)
			go func() {
				_, err := x.try(ctx, write)
				ended <- err
			}()
			id := s.decisionOf(t)
			b := x.send(t, c.write(s, token))
			x.retried(t, b, b, "idempotency.in_flight")
			leave()
			if err := <-ended; err == nil {
				t.Error("the client got an answer")
			}
			x.ended(t, id, "unknown")
			a := x.send(t, c.write(s, token))
			x.retried(t, a, a, c.retry)
			s.executed(t, map[bool]int{true: 2, false: 1}[c.retry == "executed"])
		})
	}
}

// TestClientGoesAfterTheAnswer leaves when the answer is on its way: the outcome
// is known, and waits for a retry.
func TestClientGoesAfterTheAnswer(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	s := x.scene(streams(func(id string) []string { return []string{event(result(id, `{"content":[]}`))} }))
	token := x.caller(t, "alice")
	response, err := x.open(t.Context(), withClient(s.book(token, "7"), clientOf(t, &http.Transport{})))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := response.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	first := answer{status: response.StatusCode, header: response.Header}
	x.ended(t, decisionID(first), "executed")
	x.replayed(t, x.send(t, s.book(token, "8")), first)
	s.executed(t, 1)
}
