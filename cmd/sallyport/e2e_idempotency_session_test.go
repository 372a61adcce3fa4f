package main_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/testenv"
)

const sessionHeader = "Mcp-Session-Id"

// opensSession is a server of MCP with sessions: each initialize gets a new one,
// unless given names it.
func opensSession(given string) play {
	return func(w http.ResponseWriter, r *http.Request, _ int) {
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get(sessionHeader) == "" {
			w.Header().Set(sessionHeader, or(given, rand.Text()))
		}
		fmt.Fprint(w, result(or(rpcID(r), "0"), `{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"},"content":[]}`))
	}
}

// revision makes a request one of another revision of MCP with sessions.
func revision(r request, version string) request {
	for i := 0; i < len(r.header); i += 2 {
		if r.header[i] == "MCP-Protocol-Version" {
			r.header[i+1] = version
		}
	}
	return r
}

func initialize(token, version string) request {
	return revision(legacy(token, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":%q,"capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`, version)), version)
}

// inSession are all kinds of requests that name a session.
func inSession(token, version, session string) map[string]request {
	post := func(body string) request {
		return revision(legacy(token, body), version).with(sessionHeader, session)
	}
	bare := func(method string) request {
		return request{token: token, method: method}.with("Accept", "text/event-stream", "MCP-Protocol-Version", version, sessionHeader, session)
	}
	return map[string]request{
		"read":         post(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"search","arguments":{}}}`),
		"write":        post(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"book","arguments":{}}}`),
		"list":         post(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`),
		"ping":         post(`{"jsonrpc":"2.0","id":2,"method":"ping"}`),
		"notification": post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`),
		"response":     post(`{"jsonrpc":"2.0","id":2,"result":{}}`),
		"stream":       bare(http.MethodGet),
		"end":          bare(http.MethodDelete),
	}
}

// TestSessionsBelongToTheirOpeners uses sessions as their openers and as others.
func TestSessionsBelongToTheirOpeners(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	alice, bob := x.caller(t, "alice"), x.caller(t, "bob")
	for _, version := range []string{"2025-03-26", "2025-06-18", "2025-11-25"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := x.scene(opensSession(""))
			open := func(token string) string {
				a := x.send(t, s.of(initialize(token, version)))
				x.answered(t, a, http.StatusOK, "passed")
				return a.header.Get(sessionHeader)
			}
			mine, bobs := open(alice), open(bob)
			for name, token := range map[string]string{"alice": alice, "alice, with a new token": x.caller(t, "alice")} {
				for kind, r := range inSession(token, version, mine) {
					if a := x.send(t, s.of(r)); a.status/100 != 2 || x.decision(t, a).Effect != "allow" {
						t.Errorf("%s, %s: %d %s", name, kind, a.status, a.body)
					}
				}
			}
			const passed = 2 + 8 + 8 - 1 // the second write is a replay
			s.executed(t, passed)
			for name, sessions := range map[string]map[string]request{
				"bob in alice's":   inSession(bob, version, mine),
				"alice in bob's":   inSession(alice, version, bobs),
				"nobody's":         inSession(alice, version, rand.Text()),
				"almost alice's":   inSession(alice, version, mine[:len(mine)-1]),
				"another issuer's": inSession(mint(t, x.partner, callerOptions("alice")), version, mine),
			} {
				for kind, r := range sessions {
					if a := x.send(t, s.of(r)); a.status != http.StatusNotFound || x.decision(t, a).Reason != "operation.session_unknown" {
						t.Errorf("%s, %s: %d %s", name, kind, a.status, a.body)
					}
				}
			}
			elsewhere := s.of(inSession(alice, version, mine)["list"])
			elsewhere.path = "/annex" // another server's sessions are others
			if a := x.send(t, elsewhere); a.status != http.StatusNotFound {
				t.Errorf("at another server: %d %s", a.status, a.body)
			}
			s.executed(t, passed)
		})
	}
}

// TestInitializeNamesNoSession has an upstream that goes on in the session that an
// initialize names, after what Sallyport knew of it is gone.
func TestInitializeNamesNoSession(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	s := x.scene(func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set(sessionHeader, or(r.Header.Get(sessionHeader), fmt.Sprint("session-", n)))
		created(w, r, n)
	})
	alices := x.send(t, s.of(initialize(x.caller(t, "alice"), "2025-11-25"))).header.Get(sessionHeader)
	bob := x.caller(t, "bob")
	for _, when := range []string{"while it is alice's", "when that is forgotten"} {
		if when == "when that is forgotten" {
			x.kill(t)
			x.restart(t)
		}
		a := x.send(t, s.of(initialize(bob, "2025-11-25")).with(sessionHeader, alices))
		if got := a.header.Get(sessionHeader); a.status != http.StatusOK || got == alices || got == "" {
			t.Errorf("%s: %d, session %q", when, a.status, got)
		}
		if a := x.send(t, s.of(inSession(bob, "2025-11-25", alices)["list"])); a.status != http.StatusNotFound {
			t.Errorf("%s: bob in alice's session: %d %s", when, a.status, a.body)
		}
	}
}

// TestSessionGivenTwice has an upstream give one principal's session to another.
func TestSessionGivenTwice(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	s := x.scene(opensSession("the-same"))
	alice, bob := x.caller(t, "alice"), x.caller(t, "bob")
	for range 2 {
		if a := x.send(t, s.of(initialize(alice, "2025-11-25"))); a.header.Get(sessionHeader) != "the-same" {
			t.Errorf("alice: %d %v", a.status, a.header)
		}
	}
	a := x.send(t, s.of(initialize(bob, "2025-11-25")))
	x.refused(t, a, http.StatusServiceUnavailable, "operation.session_unavailable")
	if session := a.header.Get(sessionHeader); session != "" {
		t.Errorf("bob got session %s", session)
	}
	if a := x.send(t, s.of(inSession(bob, "2025-11-25", "the-same")["list"])); a.status != http.StatusNotFound {
		t.Errorf("bob in alice's session: %d %s", a.status, a.body)
	}
	if a := x.send(t, s.of(inSession(alice, "2025-11-25", "the-same")["list"])); a.status != http.StatusOK {
		t.Errorf("alice in her session: %d %s", a.status, a.body)
	}
}

// TestSessionsAfterARestart looks at sessions that Sallyport opened before it was
// killed: in Redis they go on, in memory their clients open new ones.
func TestSessionsAfterARestart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		shared bool
		status int
	}{
		"memory": {false, http.StatusNotFound},
		"Redis":  {true, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := exchangeOptions{}
			if c.shared {
				o.redis = testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true})
			}
			x := startExchanges(t, o)
			s := x.scene(opensSession(""))
			alice, bob := x.caller(t, "alice"), x.caller(t, "bob")
			open := x.send(t, s.of(initialize(alice, "2025-11-25")))
			x.kill(t)
			x.restart(t)
			session := open.header.Get(sessionHeader)
			if a := x.send(t, s.of(inSession(alice, "2025-11-25", session)["list"])); a.status != c.status {
				t.Errorf("alice: %d %s", a.status, a.body)
			}
			if a := x.send(t, s.of(inSession(bob, "2025-11-25", session)["list"])); a.status != http.StatusNotFound {
				t.Errorf("bob: %d %s", a.status, a.body)
			}
			if !c.shared {
				return
			}
			// Away: what this process has seen goes on, and nothing new is opened.
			if err := o.redis.Stop(); err != nil {
				t.Fatal(err)
			}
			known := x.send(t, s.of(inSession(alice, "2025-11-25", session)["list"]))
			opened := x.send(t, s.of(initialize(alice, "2025-11-25")))
			if opened.status != http.StatusServiceUnavailable || opened.header.Get(sessionHeader) != "" || known.status == http.StatusNotFound {
				t.Errorf("known %d; opened %d %v %s", known.status, opened.status, opened.header, opened.body)
			}
			if err := o.redis.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			eventually(t, 10*time.Second, "a session can be opened", func() bool {
				return x.send(t, s.of(initialize(alice, "2025-11-25"))).header.Get(sessionHeader) != ""
			})
		})
	}
}
