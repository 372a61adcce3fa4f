package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// event is one server-sent event.
func event(data string) string { return "event: message\ndata: " + data + "\n\n" }

const progress = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1}}`

// streams answers with events; each part leaves on its own.
func streams(parts func(id string) []string) play {
	return func(w http.ResponseWriter, r *http.Request, _ int) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, part := range parts(rpcID(r)) {
			_, _ = io.WriteString(w, part)
			w.(http.Flusher).Flush()
		}
	}
}

// cut ends the response in the middle, after what play wrote, when the gate opens.
func (g *gate) cut(play play) play {
	return func(w http.ResponseWriter, r *http.Request, n int) {
		play(w, r, n)
		w.(http.Flusher).Flush()
		<-g.ch
		panic(http.ErrAbortHandler)
	}
}

// TestStreamPassesAsItComes reads each event before the upstream writes the next,
// and repeats the call when its answer has come and the stream hasn't ended.
func TestStreamPassesAsItComes(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	clients := map[string]func() *http.Client{
		"HTTP/1.1": func() *http.Client { return clientOf(t, &http.Transport{}) },
		"HTTP/2":   func() *http.Client { return http2Client(t) },
	}
	for name, client := range clients {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steps := make(chan string)
			s := x.scene(func(w http.ResponseWriter, r *http.Request, _ int) {
				w.Header().Set("Content-Type", "text/event-stream")
				for w.(http.Flusher).Flush(); ; w.(http.Flusher).Flush() {
					select {
					case step, more := <-steps:
						if !more {
							return
						}
						_, _ = io.WriteString(w, strings.ReplaceAll(step, "ID", rpcID(r)))
					case <-r.Context().Done():
						return
					}
				}
			})
			token := x.caller(t, "alice")
			response, err := x.open(t.Context(), withClient(s.book(token, `"a"`), client()))
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if got := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || got != "text/event-stream" {
				t.Fatalf("%s %s", response.Status, got)
			}
			body := bufio.NewReader(response.Body)
			for _, step := range []string{
				": nothing yet\n\n", event(progress), "data: " + progress + "\n", "\n",
				event(`{"jsonrpc":"2.0","id":"other","result":{"content":["another's"]}}`),
				event(`{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}`),
				event(`{"jsonrpc":"2.0","id":ID,"result":{"content":["this"]}}`),
			} {
				steps <- step
				want := strings.ReplaceAll(step, "ID", `"a"`)
				got := make([]byte, len(want))
				if _, err := io.ReadFull(body, got); err != nil || string(got) != want {
					t.Fatalf("%q, %v; want %q", got, err, want)
				}
			}
			first := answer{status: response.StatusCode, header: response.Header}
			b := x.send(t, s.book(token, "8"))
			x.replayed(t, b, first)
			if want := `{"jsonrpc":"2.0","id":8,"result":{"content":["this"]}}`; b.body != want || b.header.Get("Content-Type") != "application/json" {
				t.Errorf("replayed as %v %s, want %s", b.header, b.body, want)
			}
			steps <- event(progress)
			close(steps)
			if rest, err := io.ReadAll(body); err != nil || string(rest) != event(progress) {
				t.Errorf("at the end: %q, %v", rest, err)
			}
			x.ended(t, decisionID(first), "executed")
			s.executed(t, 1)
		})
	}
}

// TestStreamOutcomes is about what streams with and without an answer leave
// behind: the body that the client gets, the outcome, and what a retry gets.
func TestStreamOutcomes(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	final := func(id string) string { return event(result(id, `{"content":["done"]}`)) }
	large := strings.Repeat("x", 2*maxKept)
	for name, c := range map[string]struct {
		parts  func(id string) []string
		cut    bool
		result string // the outcome of the first call
		retry  string // executed, replayed, or the reason of a refusal
		value  string // of the replayed result
	}{
		"one event": {func(id string) []string { return []string{final(id)} }, false, "executed", "replayed", `{"content":["done"]}`},
		"CRLF":      {func(id string) []string { return []string{"data: " + result(id, `{"a":1}`) + "\r\n\r\n"} }, false, "executed", "replayed", `{"a":1}`},
		"in pieces": {func(id string) []string { return strings.SplitAfter(final(id), "") }, false, "executed", "replayed", `{"content":["done"]}`},
		"several lines": {func(id string) []string {
			return []string{"data:" + strings.Replace(result(id, `{"a":1}`), `,"id"`, ",\ndata: \"id\"", 1) + "\n\n"}
		}, false, "executed", "replayed", `{"a":1}`},
		"large before":     {func(id string) []string { return []string{event(`"` + large + `"`), final(id)} }, false, "executed", "replayed", `{"content":["done"]}`},
		"many before":      {func(id string) []string { return []string{strings.Repeat(event(progress), 200), final(id)} }, false, "executed", "replayed", `{"content":["done"]}`},
		"cut behind":       {func(id string) []string { return []string{final(id), "data: {"} }, true, "executed", "replayed", `{"content":["done"]}`},
		"cut before":       {func(string) []string { return []string{event(progress)} }, true, "unknown", "idempotency.outcome_unknown", ""},
		"cut in the event": {func(id string) []string { return []string{event(progress), strings.TrimSuffix(final(id), "\n")} }, true, "unknown", "idempotency.outcome_unknown", ""},
		"no answer":        {func(string) []string { return []string{event(progress)} }, false, "unknown", "idempotency.outcome_unknown", ""},
		"another's answer": {func(string) []string { return []string{final(`"other"`)} }, false, "unknown", "idempotency.outcome_unknown", ""},
		"empty":            {func(string) []string { return nil }, false, "unknown", "idempotency.outcome_unknown", ""},
		"too large":        {func(id string) []string { return []string{event(result(id, `"`+large+`"`))} }, false, "executed", "idempotency.not_retained", ""},
		"input required": {func(id string) []string {
			return []string{event(progress), event(result(id, `{"resultType":"input_required","inputRequests":[]}`))}
		}, false, "released", "executed", ""},
		"internal error": {func(id string) []string {
			return []string{event(`{"jsonrpc":"2.0","id":` + id + `,"error":{"code":-32603,"message":"internal"}}`)}
		}, false, "unknown", "idempotency.outcome_unknown", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read, play := newGate(t), streams(c.parts)
			if c.cut {
				play = read.cut(play)
			}
			s := x.scene(first(play))
			token := x.caller(t, "alice")
			response, err := x.open(t.Context(), withClient(s.book(token, "7"), clientOf(t, &http.Transport{})))
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			want := strings.Join(c.parts("7"), "")
			got := make([]byte, len(want))
			if _, err := io.ReadFull(response.Body, got); err != nil || string(got) != want {
				t.Errorf("the client's events: %v (-want +got):\n%s", err, cmp.Diff(want, string(got)))
			}
			read.open()
			if more, err := io.ReadAll(response.Body); (err != nil) != c.cut || len(more) > 0 {
				t.Errorf("the client sees the end as %q, %v", more, err)
			}
			a := answer{status: response.StatusCode, header: response.Header}
			x.ended(t, decisionID(a), c.result)
			x.retried(t, x.send(t, s.book(token, "8")), a, c.retry)
			if c.retry == "replayed" {
				b := x.send(t, s.book(token, "9"))
				if diff := cmp.Diff(result("9", c.value), b.body); diff != "" {
					t.Errorf("replay (-want +got):\n%s", diff)
				}
			}
			s.executed(t, map[bool]int{true: 2, false: 1}[c.retry == "executed"])
		})
	}
}

// TestInputRequired comes again and again with one key, until the call is complete.
func TestInputRequired(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	s := x.scene(func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 3 {
			created(w, r, n)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, result(rpcID(r), fmt.Sprintf(`{"resultType":"input_required","inputRequests":{"a":{}},"requestState":"%d"}`, n)))
	})
	token := x.caller(t, "alice")
	for i := range 2 {
		a := x.send(t, s.book(token, "7"))
		x.answered(t, a, http.StatusOK, "released")
		s.executed(t, i+1)
	}
	a := x.send(t, s.book(token, "8"))
	x.answered(t, a, http.StatusOK, "executed")
	x.replayed(t, x.send(t, s.book(token, "9")), a)
	s.executed(t, 3)
}
