package main_test

import (
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/internal/devissuer"
)

// dialects are a write of a scene, in both.
func dialects() map[string]func(s *scene, token string) request {
	return map[string]func(s *scene, token string) request{
		"REST": func(s *scene, token string) request { return s.order(token) },
		"MCP":  func(s *scene, token string) request { return s.book(token, "7") },
	}
}

// TestExchangeCallers repeats a request with its key as somebody else, and as the
// same caller with another token.
func TestExchangeCallers(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	claim := func(name string, value any) func(*devissuer.TokenOptions) {
		return func(o *devissuer.TokenOptions) { o.Claims = map[string]any{name: value} }
	}
	for name, c := range map[string]struct {
		change func(*devissuer.TokenOptions)
		other  bool
	}{
		"other subject": {func(o *devissuer.TokenOptions) { o.Subject = "bob" }, true},
		"other issuer":  {func(*devissuer.TokenOptions) {}, true},
		"other tenant":  {claim("org", "north"), true},
		"other client":  {func(o *devissuer.TokenOptions) { o.Client = "another" }, true},
		"an actor":      {claim("act", map[string]any{"sub": "agent"}), true},
		// What changes with each token of the same caller.
		"refreshed": {func(o *devissuer.TokenOptions) {
			o.Scopes, o.Roles = append(o.Scopes, "more"), []string{"admin"}
			o.Claims = map[string]any{"jti": "another", "sid": "another"}
			o.IssuedAt = time.Now().Add(-time.Minute)
		}, false},
	} {
		for dialect, write := range dialects() {
			t.Run(name+", "+dialect, func(t *testing.T) {
				t.Parallel()
				s := x.scene(nil)
				issuer := x.issuer
				if name == "other issuer" {
					issuer = x.partner
				}
				alice, again := write(s, x.caller(t, "alice")), write(s, mint(t, issuer, callerOptions("alice", c.change)))
				a, b := x.send(t, alice), x.send(t, again)
				x.answered(t, a, a.status, "executed")
				if c.other {
					x.answered(t, b, a.status, "executed")
					x.replayed(t, x.send(t, again), b)
				} else {
					x.replayed(t, b, a)
				}
				x.replayed(t, x.send(t, alice), a)
				s.executed(t, map[bool]int{true: 2, false: 1}[c.other])
				if (a.body == b.body) == c.other {
					t.Errorf("the answers are %s and %s", a.body, b.body)
				}
			})
		}
	}
}

// TestExchangeFingerprint uses a key again for the same call and for others.
func TestExchangeFingerprint(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	order := func(path, body string) func(token string) request {
		return func(token string) request { return rest(token, "POST", path, body) }
	}
	call := func(tool, arguments string) func(token string) request {
		return func(token string) request { return callTool(token, tool, arguments) }
	}
	elevate := elevated(time.Now(), 0)
	for name, c := range map[string]struct {
		one, other func(token string) request
		same       bool
	}{
		"another body":     {order("/orders", `{"item":1}`), order("/orders", `{"item":2}`), false},
		"another query":    {order("/orders", `{"item":1}`), order("/orders?a=b", `{"item":1}`), false},
		"another spelling": {order("/orders", `{"item":1}`), order("/orders", `{"item": 1}`), false}, // a body is bytes
		"another route":    {order("/orders", `{"item":1}`), order("/pairs", `{"item":1}`), false},
		"another method": {order("/orders", `{"item":1}`), func(token string) request {
			return rest(token, "PUT", "/orders/1", `{"item":1}`)
		}, false},
		"MCP after REST":    {order("/orders", `{"item":1}`), call("book", `{"item":1}`), false},
		"REST after MCP":    {call("book", `{"item":1}`), order("/orders", `{"item":1}`), false},
		"another tool":      {call("book", `{"item":1}`), call("cancel", `{"item":1}`), false},
		"a privileged tool": {call("book", `{"item":1}`), call("refund", `{"item":1}`), false},
		"other arguments":   {call("book", `{"item":1}`), call("book", `{"item":1,"more":1}`), false},
		"another number":    {call("book", `{"item":9007199254740993}`), call("book", `{"item":9007199254740992}`), false},
		"another server": {call("book", `{"item":1}`), func(token string) request {
			r := callTool(token, "book", `{"item":1}`)
			r.path = "/annex"
			return r
		}, false},
		"members in another order": {call("book", `{"item":1,"b":{"c":[1],"d":"é"}}`), call("book", `{ "b":{"d":"\u00e9","c":[ 1]},"item":1}`), true},
		"another id":               {call("book", `{"item":1}`), func(token string) request { return withID(callTool(token, "book", `{"item":1}`), `"x"`) }, true},
		"another progress token": {call("book", `{"item":1}`), func(token string) request {
			r := callTool(token, "book", `{"item":1}`)
			r.body = strings.Replace(r.body, `"_meta":{`, `"_meta":{"progressToken":"p",`, 1)
			return r
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := x.scene(nil)
			token := x.caller(t, s.name, elevate)
			a := x.send(t, s.of(c.one(token)))
			x.answered(t, a, a.status, "executed")
			again := s.of(c.other(token))
			b := x.send(t, again)
			mcp := again.path == "" || again.path == "/annex"
			switch {
			case c.same:
				x.replayed(t, b, a)
			case mcp:
				x.refused(t, b, http.StatusOK, "idempotency.mismatch")
				if _, code := b.refusal(t); code != http.StatusUnprocessableEntity || !strings.Contains(b.body, `"id":7`) {
					t.Errorf("JSON-RPC: %s", b.body)
				}
			default:
				x.refused(t, b, http.StatusUnprocessableEntity, "idempotency.mismatch")
				if contentType := b.header.Get("Content-Type"); contentType != "application/problem+json" {
					t.Errorf("content-type %q", contentType)
				}
			}
			x.replayed(t, x.send(t, s.of(c.one(token))), a)
			s.executed(t, 1)
		})
	}
}

// TestExchangeKeySpellings gives one key in all the ways that there are, to one
// call; and for each way a new one to another call, of which the upstream must
// get the key itself.
func TestExchangeKeySpellings(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	header := func(value string) func(request, string) request {
		return func(r request, key string) request {
			return r.with("Idempotency-Key", strings.ReplaceAll(value, "KEY", key))
		}
	}
	meta := func(member string) func(request, string) request {
		return func(r request, key string) request {
			r.keyless = true
			r.body = strings.Replace(r.body, `"_meta":{`, `"_meta":{"`+member+`":"`+key+`",`, 1)
			return r
		}
	}
	once := x.scene(nil)
	token := x.caller(t, "alice")
	a := x.send(t, once.book(token, "7"))
	for name, spell := range map[string]func(request, string) request{
		"bare":                     header("KEY"),
		"quoted":                   header(`"KEY"`),
		"quoted, with a parameter": header(`"KEY";v=1`),
		"in _meta":                 meta("io.github.sallyport/idempotencyKey"),
		"in _meta, plain":          meta("idempotencyKey"),
		"in both": func(r request, key string) request {
			return meta("idempotencyKey")(r, key).with("Idempotency-Key", key)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			call := callTool(token, "book", `{"item":1}`)
			x.replayed(t, x.send(t, spell(call.with(sceneHeader, once.name), once.key)), a)
			fresh := x.scene(nil)
			x.answered(t, x.send(t, spell(call.with(sceneHeader, fresh.name), fresh.key)), http.StatusOK, "executed")
			fresh.executed(t, 1)
			if diff := cmp.Diff([]string{fresh.key}, fresh.requests()[0].Header["Idempotency-Key"]); diff != "" {
				t.Errorf("the key upstream (-want +got):\n%s", diff)
			}
		})
	}
}

// TestExchangeDerivedKey sends calls without a key to a tool that doesn't need one.
func TestExchangeDerivedKey(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	busy := answers(http.StatusTooManyRequests, "later")
	s := x.scene(func(w http.ResponseWriter, r *http.Request, n int) {
		if n%2 == 1 { // each call has to be sent twice
			busy(w, r, n)
			return
		}
		created(w, r, n)
	})
	quote := func(token, body string) request {
		r := rest(token, "POST", "/quotes", body)
		r.keyless = true
		return s.of(r)
	}
	alice, bob := x.caller(t, "alice"), x.caller(t, "bob")
	seen := make(map[string]bool)
	for i, r := range []request{quote(alice, `{"item":1}`), quote(alice, `{"item":2}`), quote(bob, `{"item":1}`)} {
		x.answered(t, x.send(t, r), http.StatusTooManyRequests, "released")
		a := x.send(t, r)
		x.answered(t, a, http.StatusCreated, "executed")
		again := x.send(t, r)
		x.replayed(t, again, a)
		for what, got := range map[string]answer{"first": a, "replayed": again} {
			if source := got.header.Get("X-Sallyport-Idempotency-Key"); source != "derived" {
				t.Errorf("call %d, %s: the client is told of a %q key", i, what, source)
			}
		}
		s.executed(t, 2*(i+1))
		requests := s.requests()[2*i:]
		one, two := requests[0].Header["Idempotency-Key"], requests[1].Header["Idempotency-Key"]
		if diff := cmp.Diff(one, two); diff != "" || len(one) != 1 {
			t.Fatalf("call %d: the retry has another key upstream:\n%s", i, diff)
		}
		if raw, err := hex.DecodeString(one[0]); err != nil || len(raw) != 32 || seen[one[0]] {
			t.Errorf("call %d: the key upstream is %q; seen before: %v", i, one[0], seen)
		}
		seen[one[0]] = true
	}
	// The client's own key makes it another call, and nothing is said then.
	own := rest(alice, "POST", "/quotes", `{"item":1}`).with(sceneHeader, s.name, "Idempotency-Key", s.key)
	a := x.send(t, own)
	x.answered(t, a, http.StatusTooManyRequests, "released")
	if source := a.header.Get("X-Sallyport-Idempotency-Key"); source != "" || s.requests()[6].Header.Get("Idempotency-Key") != s.key {
		t.Errorf("the client is told of a %q key; upstream: %v", source, s.requests()[6].Header)
	}
}

// TestReplayIsAuthorizedAnew takes a caller's rights away after the execution.
func TestReplayIsAuthorizedAnew(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	deleting := func(token string) request { return rest(token, "DELETE", "/orders/1", "") }
	ordering := func(token string) request { return rest(token, "POST", "/orders", `{"item":1}`) }
	refunding := func(token string) request { return callTool(token, "refund", `{"item":1}`) }
	const lasting = 4 * time.Second
	raised := func(o *devissuer.TokenOptions) { elevated(time.Now(), lasting)(o) } // from the mint on
	for name, c := range map[string]struct {
		write  func(token string) request
		before func(*devissuer.TokenOptions)
		after  func(*devissuer.TokenOptions) // nil: the same token
		status int
		reason string
	}{
		"scope gone":                   {ordering, nil, func(o *devissuer.TokenOptions) { o.Scopes = []string{"orders.read"} }, 403, "scopes.insufficient"},
		"token expired":                {ordering, nil, func(o *devissuer.TokenOptions) { o.IssuedAt = time.Now().Add(-time.Hour); o.Lifetime = time.Minute }, 401, "authentication.expired"},
		"audience gone":                {ordering, nil, func(o *devissuer.TokenOptions) { o.Audience = []string{"another"} }, 401, "authentication.audience"},
		"never elevated again":         {deleting, elevated(time.Now(), 0), func(*devissuer.TokenOptions) {}, 403, "elevation.required"},
		"never elevated again, MCP":    {refunding, elevated(time.Now(), 0), func(*devissuer.TokenOptions) {}, 200, "elevation.required"},
		"the elevation has ended":      {deleting, raised, nil, 403, "elevation.required"},
		"the elevation has ended, MCP": {refunding, raised, nil, 200, "elevation.required"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := x.scene(nil)
			if c.before == nil {
				c.before = func(*devissuer.TokenOptions) {}
			}
			token := x.caller(t, s.name, c.before)
			write := s.of(c.write(token))
			a := x.send(t, write)
			x.answered(t, a, a.status, "executed")
			x.replayed(t, x.send(t, write), a)
			if c.after != nil {
				write = s.of(c.write(x.caller(t, s.name, c.after)))
			}
			x.notReplayed(t, write, c.status, c.reason)
			s.executed(t, 1)
		})
	}
	t.Run("revoked", func(t *testing.T) {
		token := x.caller(t, "revoked")
		written := make(map[*scene]request)
		for _, write := range dialects() {
			s := x.scene(nil)
			written[s] = write(s, token)
			a := x.send(t, written[s])
			x.replayed(t, x.send(t, written[s]), a)
		}
		x.write(t, "revocations.yaml", "version: 1\nrevocations:\n  - {issuer: dev, subject: revoked}\n")
		for s, write := range written {
			x.notReplayed(t, write, http.StatusUnauthorized, "revocation.revoked")
			s.executed(t, 1)
		}
	})
}

// notReplayed waits until a request whose answer is stored is refused.
func (x *exchanges) notReplayed(t *testing.T, r request, status int, reason string) {
	t.Helper()
	eventually(t, 15*time.Second, "the right is gone", x.is(t, r, reason))
	a := x.send(t, r)
	if facts, _ := a.refusal(t); a.status != status || facts.Reason != reason || a.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("%d %s, want %d %s", a.status, a.body, status, reason)
	}
}
