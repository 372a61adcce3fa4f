package main_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReplayHeaders looks at every header of a replay, after an answer that had
// all kinds of them.
func TestReplayHeaders(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	repeated := http.Header{
		"Content-Language": {"de"}, "Content-Location": {"/orders/1"}, "Content-Disposition": {`inline; filename="a"`},
		"Location": {"/orders/1"}, "Etag": {`"1"`}, "Last-Modified": {"Mon, 02 Nov 2026 15:04:05 GMT"},
		"Link": {`</orders/1>; rel="self"`, `</terms>; rel="help"`}, "Deprecation": {"@1688169599"},
		"Sunset": {"Mon, 02 Nov 2026 15:04:05 GMT"}, "Preference-Applied": {"return=minimal"},
	}
	dropped := http.Header{
		"Set-Cookie": {"session=secret", "other=secret"}, "Set-Cookie2": {"session=secret"}, "Www-Authenticate": {"Bearer"},
		"Authorization": {"Bearer secret"}, "Proxy-Authenticate": {"Basic"}, "Authentication-Info": {"nextnonce=secret"},
		"X-Auth-Token": {"secret"}, "X-Api-Key": {"secret"}, "X-Csrf-Token": {"secret"}, "Access-Token": {"secret"},
		"Mcp-Session-Id": {"secret"}, "Clear-Site-Data": {"*"}, "Age": {"1"}, "Via": {"1.1 other"}, "X-Own": {"any"},
		"Idempotent-Replayed": {"no"}, "Content-Security-Policy": {"sandbox"}, "Dpop-Nonce": {"secret"},
	}
	for dialect, c := range map[string]struct {
		contentType string
		repeated    http.Header
	}{
		"REST": {"application/json; charset=utf-8", repeated},
		"MCP":  {"application/json", nil}, // its headers say nothing to a client
	} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			s := x.scene(func(w http.ResponseWriter, r *http.Request, n int) {
				maps.Copy(w.Header(), repeated)
				maps.Copy(w.Header(), dropped)
				w.Header().Set("Content-Type", "application/json; charset=utf-8")
				_, _ = w.Write([]byte(result(or(rpcID(r), "0"), `{"content":[]}`)))
			})
			write := dialects()[dialect](s, x.caller(t, "alice"))
			a := x.send(t, write)
			for name, lines := range repeated {
				if diff := cmp.Diff(lines, a.header[name]); diff != "" {
					t.Errorf("%s of the execution (-want +got):\n%s", name, diff)
				}
			}
			if a.header.Get("Set-Cookie") == "" {
				t.Errorf("the execution's own answer lost its cookies: %v", a.header)
			}
			b := x.send(t, write)
			if b.body != a.body {
				t.Errorf("replayed as %s, want %s", b.body, a.body)
			}
			want := http.Header{
				"Content-Type": {c.contentType}, "Cache-Control": {"no-store"}, "Idempotent-Replayed": {"true"},
				"X-Sallyport-Decision-Id": {decisionID(b)},
			}
			maps.Copy(want, c.repeated)
			got := b.header.Clone()
			for _, name := range []string{"Content-Length", "Date", "Server", "X-Request-Id"} { // of this answer
				got.Del(name)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("headers of the replay (-want +got):\n%s", diff)
			}
			s.executed(t, 1)
		})
	}
}

// TestReplayID repeats a call under other JSON-RPC ids.
func TestReplayID(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	for name, c := range map[string]struct{ member, value string }{
		"result":        {"result", `{ "content": [],"n":9007199254740993 ,"text":"\u00e9\"}"}`},
		"failed result": {"result", `{"content":[],"isError":true}`},
		"error":         {"error", `{"code":-32602,"message":"no such item","data":{"id":7}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := x.scene(func(w http.ResponseWriter, r *http.Request, _ int) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(`{"` + c.member + `":` + c.value + ` , "id": ` + rpcID(r) + `,"jsonrpc":"2.0"}`))
			})
			token := x.caller(t, "alice")
			a := x.send(t, s.book(token, "7"))
			x.answered(t, a, http.StatusOK, "executed")
			for _, id := range []string{
				`7`, `8`, `0`, `-1`, `9007199254740993`, `"x"`, `"7"`, `""`, `"null"`, `"\"},\"result\":{}"`, `"é\u00e9"`,
			} {
				b := x.send(t, s.book(token, id))
				x.replayed(t, b, a)
				if want := `{"jsonrpc":"2.0","id":` + id + `,"` + c.member + `":` + c.value + `}`; b.body != want {
					t.Errorf("replayed as %s, want %s", b.body, want)
				}
			}
			// These are no ids of a request.
			for _, id := range []string{`null`, `1.5`, `true`, `{}`, `[7]`} {
				if b := x.send(t, s.book(token, id)); b.header.Get("Idempotent-Replayed") != "" || x.decision(t, b).Effect != "deny" {
					t.Errorf("id %s: %d %s", id, b.status, b.body)
				}
			}
			s.executed(t, 1)
		})
	}
}

// TestReplayBody repeats bytes that no parser would give back.
func TestReplayBody(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for name, body := range map[string]string{
		"all bytes":     string(all),
		"odd JSON":      "\ufeff{\"a\":1,\"a\": 2.50}\r\n\x00",
		"one byte":      "\x00",
		"just fits":     strings.Repeat("x", maxKept-512),
		"an own answer": `{"type":"urn:problem","status":409,"reason":"idempotency.in_flight"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, contentType := range []string{"application/octet-stream", "text/event-stream", "application/json"} {
				s := x.scene(answers(http.StatusOK, body, "Content-Type", contentType))
				write := s.order(x.caller(t, "alice"))
				a, b := x.send(t, write), x.send(t, write)
				x.answered(t, a, http.StatusOK, "executed")
				x.replayed(t, b, a)
				if a.body != body || b.body != body || b.header.Get("Content-Type") != contentType {
					t.Errorf("%s: executed as %q, replayed as %s %q", contentType, a.body, b.header.Get("Content-Type"), b.body)
				}
				s.executed(t, 1)
			}
		})
	}
}

// TestKeyUpstream looks at what the upstream gets of a key and of the caller.
func TestKeyUpstream(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	for dialect, write := range dialects() {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			s := x.scene(nil)
			token := x.caller(t, "alice")
			a := x.send(t, write(s, token).with("Idempotent-Replayed", "true", "X-Sallyport-Decision-Id", "forged"))
			x.answered(t, a, a.status, "executed")
			s.executed(t, 1)
			header := s.requests()[0].Header
			for name, want := range map[string][]string{
				"Idempotency-Key": {s.key}, "X-Sallyport-Decision-Id": {decisionID(a)}, "Authorization": nil,
			} {
				if diff := cmp.Diff(want, header[name]); diff != "" {
					t.Errorf("%s upstream (-want +got):\n%s", name, diff)
				}
			}
			for name, lines := range header {
				if strings.Contains(strings.Join(lines, ","), token) {
					t.Errorf("the token is upstream, in %s", name)
				}
				if slices.Contains(lines, "forged") {
					t.Errorf("%s is the client's", name)
				}
			}
		})
	}
}
