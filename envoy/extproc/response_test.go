package extproc_test

import (
	"strings"
	"testing"

	"github.com/sallyport/sallyport/idempotency"
)

// state is what the store knows of the test's key.
func (w *world) state(t *testing.T) idempotency.State {
	t.Helper()
	record, known, err := w.claims.Show(t.Context(), testKey)
	if err != nil {
		t.Fatal(err)
	}
	if !known {
		return 0
	}
	return record.State
}

// TestEndings: what is remembered after each way in which a response can end.
func TestEndings(t *testing.T) {
	t.Parallel()
	long := `{"jsonrpc":"2.0","id":7,"result":{"text":"` + strings.Repeat("x", 100) + `"}}`
	tests := []struct {
		name, status, contentType, details string
		chunks                             []string
		cut                                bool // the stream ends before the last chunk
		want                               idempotency.State
	}{
		{"result", "200", "application/json", "via_upstream", []string{rpcResult}, false, idempotency.Replay},
		{"result in pieces", "200", "application/json", "via_upstream", []string{rpcResult[:9], rpcResult[9:30], rpcResult[30:]}, false, idempotency.Replay},
		{"too large", "200", "application/json", "via_upstream", []string{long}, false, idempotency.NotRetained},
		{"too large, in pieces", "200", "application/json", "via_upstream", []string{long[:50], long[50:90], long[90:]}, false, idempotency.NotRetained},
		{"cut", "200", "application/json", "via_upstream", []string{rpcResult[:9]}, true, idempotency.Unknown},
		{"no answer to the request", "200", "application/json", "via_upstream", []string{`{"jsonrpc":"2.0","id":8,"result":{}}`}, false, idempotency.Unknown},
		{"input required", "200", "application/json", "via_upstream", []string{`{"jsonrpc":"2.0","id":7,"result":{"resultType":"input_required"}}`}, false, 0},
		{"upstream's 500", "500", "text/plain", "via_upstream", []string{"oops"}, false, idempotency.Unknown},
		{"no connection", "503", "text/plain", "upstream_reset_before_response_started{remote_connection_failure|x}", []string{"no"}, false, 0},
		{"timeout", "504", "text/plain", "response_timeout", []string{"late"}, false, idempotency.Unknown},
		{"reset", "503", "text/plain", "upstream_reset_before_response_started{connection_termination}", []string{"reset"}, false, idempotency.Unknown},
		{"events", "200", "text/event-stream", "via_upstream", []string{"data: " + rpcResult + "\n\n"}, false, idempotency.Replay},
		{"events in odd pieces", "200", "text/event-stream; charset=utf-8", "via_upstream", []string{": hi\r\n\r\ndata: {\"json", "rpc\":\"2.0\",\"id\":7,\r", "\ndata: \"result\":{}}\r\n", "\r\n", "data: x\n\n"}, false, idempotency.Replay},
		{"events without the answer", "200", "text/event-stream", "via_upstream", []string{"data: {\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n\n"}, false, idempotency.Unknown},
		{"events with an answer that is too large", "200", "text/event-stream", "via_upstream", []string{"data: " + long + "\n\n"}, false, idempotency.NotRetained},
		{"events, cut after the answer", "200", "text/event-stream", "via_upstream", []string{"data: " + rpcResult + "\n\n", "data: y\n\n"}, true, idempotency.Replay},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			e := w.open(t)
			if refused := e.request(decision("d-1")); refused != nil {
				t.Fatalf("refused: %s", refused.GetBody())
			}
			e.headers(tt.status, tt.contentType, tt.details, false)
			passed := ""
			for i, chunk := range tt.chunks {
				last := i == len(tt.chunks)-1
				passed += e.body(chunk, last && !tt.cut)
				if last && !tt.cut && w.state(t) == idempotency.Busy {
					t.Error("the client saw the end before it was stored")
				}
			}
			if !tt.cut && passed != strings.Join(tt.chunks, "") {
				t.Errorf("the client got %q", passed)
			}
			e.end()
			w.awaitOutcome(t, "d-1")
			if got := w.state(t); got != tt.want {
				t.Errorf("remembered as %d, want %d", got, tt.want)
			}
		})
	}
}

// TestEventsPassAsTheyCome: nothing of a stream of events is held back.
func TestEventsPassAsTheyCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.open(t)
	defer e.end()
	e.request(decision("d-1"))
	e.headers("200", "text/event-stream", "via_upstream", false)
	for _, chunk := range []string{"data: 1\n\n", "data: 2\n", "\n"} {
		if got := e.body(chunk, false); got != chunk {
			t.Errorf("passed %q of %q", got, chunk)
		}
	}
}

func TestRESTReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.open(t)
	e.request(decision("d-1", "rpc_id_json", ""))
	e.headers("201", "text/plain", "via_upstream", false, "location", "/services/1", "content-language", "en")
	e.body("made", true)
	e.end()
	w.awaitOutcome(t, "d-1")
	again := w.open(t)
	defer again.end()
	answer := again.request(decision("d-2", "rpc_id_json", ""))
	headers := immediateHeaders(answer)
	if answer.GetStatus().GetCode() != 201 || string(answer.GetBody()) != "made" || headers["location"] != "/services/1" || headers["content-type"] != "text/plain" {
		t.Errorf("status %d, body %q, headers %v", answer.GetStatus().GetCode(), answer.GetBody(), headers)
	}
}

// TestWithoutABody: a response may end with its headers.
func TestWithoutABody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.open(t)
	e.request(decision("d-1", "rpc_id_json", ""))
	e.headers("204", "", "via_upstream", true)
	e.end()
	w.awaitOutcome(t, "d-1")
	if got := w.state(t); got != idempotency.Replay {
		t.Errorf("remembered as %d", got)
	}
}
