package main_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// reset closes the connection in place of an answer.
func reset(http.ResponseWriter, *http.Request, int) { panic(http.ErrAbortHandler) }

// says is an answer of an MCP server to any call; ID stands for the request's.
func says(status int, contentType, body string) play {
	return func(w http.ResponseWriter, r *http.Request, n int) {
		answers(status, replaceID(body, rpcID(r)), "Content-Type", contentType)(w, r, n)
	}
}

// TestOutcomes is about what becomes of a claim by what the upstream answers, and
// what a retry gets. Both requests are of one call with one key.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	rpcError := func(code int) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":ID,"error":{"code":%d,"message":"m"}}`, code)
	}
	const isJSON, unknown = "application/json", "idempotency.outcome_unknown"
	type outcome struct {
		dialect string
		play    play
		status  int
		result  string
		retry   string // executed, replayed, or the reason of a refusal
	}
	cases := map[string]outcome{
		"reset":                        {"REST", reset, 503, "unknown", unknown},
		"reset, MCP":                   {"MCP", reset, 503, "unknown", unknown},
		"MCP: 500":                     {"MCP", says(500, isJSON, rpcError(-32603)), 500, "unknown", unknown},
		"MCP: 429":                     {"MCP", says(429, isJSON, `{}`), 429, "released", "executed"},
		"MCP: 401":                     {"MCP", says(401, isJSON, rpcError(-32001)), 401, "released", "executed"},
		"MCP: 404, no message":         {"MCP", says(404, "text/plain", "no such session"), 404, "released", "executed"},
		"MCP: 400, no message":         {"MCP", says(400, "text/plain", "bad"), 400, "released", "executed"},
		"MCP: 400, bad params":         {"MCP", says(400, isJSON, rpcError(-32602)), 400, "executed", "replayed"},
		"MCP: 409, no message":         {"MCP", says(409, "text/plain", "conflict"), 409, "unknown", unknown},
		"MCP: bad params":              {"MCP", says(200, isJSON, rpcError(-32602)), 200, "executed", "replayed"},
		"MCP: no such method":          {"MCP", says(200, isJSON, rpcError(-32601)), 200, "executed", "replayed"},
		"MCP: its own error":           {"MCP", says(200, isJSON, rpcError(1001)), 200, "executed", "replayed"},
		"MCP: internal error":          {"MCP", says(200, isJSON, rpcError(-32603)), 200, "unknown", unknown},
		"MCP: server error":            {"MCP", says(200, isJSON, rpcError(-32000)), 200, "unknown", unknown},
		"MCP: elicitation first":       {"MCP", says(200, isJSON, rpcError(-32042)), 200, "released", "executed"},
		"MCP: version":                 {"MCP", says(200, isJSON, rpcError(-32022)), 200, "released", "executed"},
		"MCP: failed result":           {"MCP", says(200, isJSON, result("ID", `{"content":[],"isError":true}`)), 200, "executed", "replayed"},
		"MCP: input required":          {"MCP", says(200, isJSON, result("ID", `{"resultType":"input_required"}`)), 200, "released", "executed"},
		"MCP: another's answer":        {"MCP", says(200, isJSON, result(`"other"`, `{}`)), 200, "unknown", unknown},
		"MCP: null for the id":         {"MCP", says(200, isJSON, result(`null`, `{}`)), 200, "unknown", unknown},
		"MCP: a batch":                 {"MCP", says(200, isJSON, "["+result("ID", `{}`)+"]"), 200, "unknown", unknown},
		"MCP: result and error":        {"MCP", says(200, isJSON, `{"jsonrpc":"2.0","id":ID,"result":{},"error":{"code":1,"message":""}}`), 200, "unknown", unknown},
		"MCP: two results":             {"MCP", says(200, isJSON, `{"jsonrpc":"2.0","id":ID,"result":{},"result":{"a":1}}`), 200, "unknown", unknown},
		"MCP: no JSON":                 {"MCP", says(200, isJSON, `{"jsonrpc":"2.0","id":ID,"result":`), 200, "unknown", unknown},
		"MCP: accepted":                {"MCP", says(202, isJSON, ""), 202, "unknown", unknown},
		"MCP: a result of no one type": {"MCP", says(200, "text/plain", result("ID", `{"content":[]}`)), 200, "executed", "replayed"},
	}
	for _, status := range []int{500, 501, 502, 503, 504, 599} {
		cases[fmt.Sprint(status)] = outcome{"REST", answers(status, "failed"), status, "unknown", unknown}
	}
	for _, status := range []int{401, 403, 407, 421, 425, 429} {
		cases[fmt.Sprint(status)] = outcome{"REST", answers(status, "later", "Retry-After", "1"), status, "released", "executed"}
	}
	for _, status := range []int{400, 402, 404, 405, 406, 409, 410, 412, 413, 415, 422, 451} {
		cases[fmt.Sprint(status)] = outcome{"REST", answers(status, "no"), status, "executed", "replayed"}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := x.scene(first(c.play))
			write := dialects()[c.dialect](s, x.caller(t, "alice"))
			a := x.send(t, write)
			x.answered(t, a, c.status, c.result)
			x.retried(t, x.send(t, write), a, c.retry)
			s.executed(t, map[bool]int{true: 2, false: 1}[c.retry == "executed"])
			for _, r := range s.requests() {
				if diff := cmp.Diff([]string{s.key}, r.Header["Idempotency-Key"]); diff != "" {
					t.Errorf("the key upstream (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestCutResponses ends an answer in its middle. The client can see that, and a
// retry doesn't execute.
func TestCutResponses(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	part := func(length string) play {
		return func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.Header().Set("Content-Type", "application/json")
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0",`)
			w.(http.Flusher).Flush()
		}
	}
	for dialect, write := range dialects() {
		for name, length := range map[string]string{"chunked": "", "too short": "1000"} {
			for when, early := range map[string]bool{"at once": true, "later": false} {
				t.Run(dialect+", "+name+", "+when, func(t *testing.T) {
					t.Parallel()
					began := newGate(t)
					if early {
						began.open()
					}
					s := x.scene(first(began.cut(part(length))))
					token := x.caller(t, "alice")
					response, err := x.open(t.Context(), withClient(write(s, token), clientOf(t, &http.Transport{})))
					if err == nil {
						defer response.Body.Close()
						began.open()
						// Cut at once, Envoy may be in time to say so with a status.
						if body, err := io.ReadAll(response.Body); err == nil && response.StatusCode < 500 {
							t.Errorf("the client sees a whole answer: %s %q", response.Status, body)
						}
					} else if !early {
						t.Errorf("the header didn't come: %v", err)
					}
					x.ended(t, s.decisionOf(t), "unknown")
					b := x.send(t, write(s, token))
					x.retried(t, b, b, "idempotency.outcome_unknown")
					s.executed(t, 1)
				})
			}
		}
	}
}
