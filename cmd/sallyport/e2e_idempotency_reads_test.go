package main_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestReadOutcomes looks for the outcomes of calls that skip the exchange: Envoy
// reports them later.
func TestReadOutcomes(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	get := func(s *scene, token string) request { return s.of(rest(token, "GET", "/orders/1", "")) }
	search := func(s *scene, token string) request { return s.of(callTool(token, "search", `{}`)) }
	body := strings.Repeat("x", 3000)
	late := newGate(t)
	for name, c := range map[string]struct {
		read    func(s *scene, token string) request
		play    play
		leaves  bool // the client, while the upstream works
		status  int
		result  string
		details string
		flags   string
		bytes   int
	}{
		"REST":    {get, answers(http.StatusOK, body), false, 200, "succeeded", "via_upstream", "", len(body)},
		"MCP":     {search, answers(http.StatusOK, body), false, 200, "succeeded", "via_upstream", "", len(body)},
		"failed":  {get, answers(http.StatusInternalServerError, "no"), false, 500, "failed", "via_upstream", "", 2},
		"too big": {get, answers(http.StatusOK, strings.Repeat(body, 100)), false, 200, "succeeded", "via_upstream", "", 100 * len(body)},
		"timeout": {get, late.then(created), false, 504, "failed", "response_timeout", "UT", -1},
		"reset":   {get, reset, false, 503, "failed", "upstream_reset_before_response_started{connection_termination}", "UC", -1},
		"left":    {search, late.then(created), true, 0, "unknown", "downstream_remote_disconnect", "DC", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := x.scene(c.play)
			r := c.read(s, x.caller(t, s.name))
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			ended := make(chan reply, 1)
			go func() {
				a, err := x.try(ctx, r)
				ended <- reply{a, err}
			}()
			id := s.decisionOf(t)
			if c.leaves {
				leave()
			}
			if a := <-ended; (a.err != nil) != c.leaves || !c.leaves && a.status != c.status {
				t.Errorf("%d %.80s, %v", a.status, a.body, a.err)
			}
			got := x.outcome(t, id)
			want := outcome{DecisionID: id, Source: "access_log", Result: c.result, Details: c.details, Flags: c.flags, Status: c.status, BytesIn: len(r.body), BytesOut: c.bytes}
			if c.bytes < 0 { // Envoy's own words
				want.BytesOut = got.BytesOut
			}
			if got.Duration <= 0 {
				t.Errorf("it took %d µs", got.Duration)
			}
			want.Duration = got.Duration
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReadsNeedNoExchange compares what Envoy did for a read and for a write.
func TestReadsNeedNoExchange(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	token := x.caller(t, "alice")
	streams := func() (opened uint64) {
		stats, err := x.envoy.Stats(t.Context(), "http.")
		if err != nil {
			t.Fatal(err)
		}
		known := false
		for name, n := range stats {
			if strings.HasSuffix(name, "ext_proc.streams_started") {
				known, opened = true, opened+n
			}
		}
		if !known {
			t.Fatalf("Envoy doesn't count streams: %v", stats)
		}
		return opened
	}
	s := x.scene(nil)
	for range 3 {
		x.send(t, s.of(rest(token, "GET", "/orders/1", "")))
		x.send(t, s.of(callTool(token, "search", `{}`)))
		x.send(t, rest("", "GET", "/orders/1", "")) // denied
	}
	if n := streams(); n != 0 {
		t.Errorf("%d exchanges for reads", n)
	}
	x.answered(t, x.send(t, s.order(token)), http.StatusCreated, "executed")
	if n := streams(); n != 1 {
		t.Errorf("%d exchanges for a write", n)
	}
}

// TestEnvoyKilled kills Envoy while the upstream works: the write's outcome is
// unknown, and of the read's there is no word.
func TestEnvoyKilled(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	token := x.caller(t, "alice")
	work := newGate(t)
	reading, writing := x.scene(work.then(created)), x.scene(work.then(created))
	read := x.start(t, reading.of(callTool(token, "search", `{}`)))
	write := x.start(t, writing.order(token))
	readID, writeID := reading.decisionOf(t), writing.decisionOf(t)
	if err := x.envoy.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, r := range []<-chan reply{read, write} {
		failed(t, <-r)
	}
	x.ended(t, writeID, "unknown")
	x.startEnvoy(t)
	a := x.send(t, writing.order(token))
	x.retried(t, a, a, "idempotency.outcome_unknown")
	writing.executed(t, 1)
	// A later read's outcome has come, this one's has not.
	later := x.scene(nil)
	x.send(t, later.of(callTool(token, "search", `{}`)))
	x.outcome(t, later.decisionOf(t))
	if found := x.outcomes(t, readID); len(found) != 0 {
		t.Errorf("outcomes of a read that nobody saw end: %+v", found)
	}
	// It is counted five minutes later; see envoy/accesslog.
	eventually(t, time.Second, "nothing is counted yet", x.shows(t, "sallyport_outcomes_unknown", 0))
}
