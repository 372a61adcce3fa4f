package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/pim"
)

func TestElevate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.do("alice", "POST elevate", `{"tool":"refund","reason":"a <wrong> charge","duration_seconds":300}`)
	want := map[string]any{
		"request_id": "0195-0000", "kind": "elevation", "status": "pending", "approval_required": true,
		"approval_url": origin + "/api/auth/elevations/0195-0000", "server": "dealer", "tool": "refund", "reason": "a <wrong> charge",
		"duration_seconds": 300.0, "break_glass": false, "requester": "alice", "requester_person": "E-1", "principal_id": "id-alice",
		"requested_at": "2026-03-01T09:30:00Z", "expires_at": "2026-03-01T17:30:00Z",
	}
	if diff := cmp.Diff(want, r.body); diff != "" || r.StatusCode != http.StatusAccepted {
		t.Errorf("%d: %s", r.StatusCode, diff)
	}
	if r.Header.Get("Location") != "/api/auth/elevations/0195-0000" {
		t.Errorf("location %s", r.Header.Get("Location"))
	}
	wantAsk := pim.Ask{
		Kind: pim.Elevation, Server: "dealer", Tool: "refund", Reason: "a <wrong> charge", Duration: 5 * time.Minute,
		Requester:    pim.Party{PrincipalID: "id-alice", Issuer: "https://issuer.example", IssuerName: "dev", Subject: "alice", Client: "cli", Person: "E-1"},
		ProviderUser: "user-alice", ProviderRole: "role-refund",
	}
	wantTerms := pim.Terms{
		RequireApproval: true, RequireReason: true, Longest: 10 * time.Minute, PendingFor: 8 * time.Hour, ApprovalFor: 15 * time.Minute, ReplayFor: 24 * time.Hour,
	}
	if diff := cmp.Diff(wantAsk, w.requests.asked[0]) + cmp.Diff(wantTerms, w.requests.terms[0]); diff != "" {
		t.Error(diff)
	}
}

func TestElevateWithoutApproval(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.access.rule.RequireApproval = false
	w.access.rule.BreakGlass, w.access.rule.BreakGlassFor = true, 7*time.Minute
	r := w.do("carol", "POST elevate", `{"tool":"refund","reason":"x","break_glass":true}`)
	if r.StatusCode != http.StatusCreated || r.string("status") != "approved" || r.body["approval_required"] != false ||
		r.string("starts_at") != "2026-03-01T09:30:00Z" || r.string("expires_at") != "2026-03-01T09:40:00Z" || r.body["break_glass"] != true {
		t.Errorf("%d %s", r.StatusCode, r.text)
	}
	if terms := w.requests.terms[0]; !terms.BreakGlass || terms.BreakGlassFor != 7*time.Minute || terms.RequireApproval || !w.requests.asked[0].BreakGlass {
		t.Errorf("asked %+v, %+v", w.requests.asked[0], terms)
	}
}

// The approver sees exactly the call that was asked for, and nobody a retelling.
func TestElevateForACall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const arguments = `{"to": "\u0061cme <b>", "amount": 9007199254740993}`
	id := w.ask("alice", `{"tool":"pay","reason":"invoice 7","arguments": `+arguments+` }`)
	ask := w.requests.asked[0]
	if ask.Kind != pim.Call || ask.Fingerprint != sha256.Sum256([]byte(arguments)) || ask.Call != `{"arguments":{"amount":9007199254740993,"to":"acme <b>"}}` {
		t.Errorf("asked %+v", ask)
	}
	if ask.ProviderUser != "" || ask.ProviderRole != "" {
		t.Error("a provider has nothing to do with a call")
	}
	for _, who := range []string{"alice", "bob"} {
		r := w.do(who, "GET elevations/"+id, "")
		if !strings.Contains(r.text, `"arguments":{"amount":9007199254740993,"to":"acme <b>"}`) || r.string("fingerprint") != hex.EncodeToString(ask.Fingerprint[:]) || r.string("kind") != "call" {
			t.Errorf("%s sees %s", who, r.text)
		}
	}
	if r := w.do("bob", "GET elevations", ""); strings.Contains(r.text, "acme") {
		t.Errorf("the list has the call: %s", r.text)
	}
	w.want("bob", "POST elevations/"+id+"/deny", "{}", 200, "")
	if r := w.do("bob", "GET elevations/"+id, ""); strings.Contains(r.text, "acme") || r.string("fingerprint") == "" {
		t.Errorf("the call outlives its request: %s", r.text)
	}
}

func TestElevateForARESTCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.ask("alice", `{"tool":"transfer","reason":"x","request":{"method":"POST","path":"/transfers?to=acme","content_type":"application/json","body":"{\"amount\":1}"}}`)
	r := w.do("bob", "GET elevations/"+id, "")
	want := map[string]any{"method": "POST", "path": "/transfers?to=acme", "content_type": "application/json", "body": `{"amount":1}`}
	if diff := cmp.Diff(any(want), r.body["request"]); diff != "" {
		t.Error(diff)
	}
	call := w.requests.asked[0]
	w.ask("alice", `{"tool":"transfer","reason":"x","request":{"method":"POST","path":"/transfers?to=acme","content_type":"application/json","body":"{\"amount\":2}"}}`)
	if call.Fingerprint == w.requests.asked[1].Fingerprint {
		t.Error("the body isn't in what the policies read")
	}
	w.ask("alice", `{"tool":"transfer","reason":"x","request":{"method":"DELETE","path":"/transfers/1"}}`)
	if got := w.requests.asked[2].Call; got != `{"request":{"method":"DELETE","path":"/transfers/1"}}` {
		t.Errorf("without a body: %s", got)
	}
}

func TestElevateServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.want("alice", "POST elevate", `{"tool":"twice","reason":"x"}`, 400, "operation.bad_arguments")
	w.ask("alice", `{"tool":"twice","server":"rest","reason":"x"}`)
	if w.requests.asked[0].Server != "rest" {
		t.Errorf("asked %+v", w.requests.asked[0])
	}
}

func TestElevateRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		name, who, body string
		status          int
		kind, says      string
	}{
		{"no token", "", refund, 401, "authentication.missing", ""},
		{"a bad token", "nobody", refund, 401, "authentication.expired", ""},
		{"an unknown tool", "alice", `{"tool":"x","reason":"x"}`, 404, "operation.unknown_tool", ""},
		{"no tool", "alice", `{"reason":"x"}`, 400, "elevation.body", "tool: it is required"},
		{"an empty tool", "alice", `{"tool":"","reason":"x"}`, 400, "elevation.body", "tool"},
		{"no reason", "alice", `{"tool":"refund"}`, 422, "elevation.ask", "reason: one is required"},
		{"a blank reason", "alice", `{"tool":"refund","reason":"  "}`, 422, "elevation.ask", "reason"},
		{"an unknown member", "alice", `{"tool":"refund","toll":1}`, 400, "elevation.body", "toll: there is no such member"},
		{"a member twice", "alice", `{"tool":"refund","tool":"search"}`, 400, "elevation.body", "tool: it is there twice"},
		{"a member twice, escaped", "alice", `{"tool":"refund","to\u006fl":"search"}`, 400, "elevation.body", "tool: it is there twice"},
		{"another letter case", "alice", `{"Tool":"refund"}`, 400, "elevation.body", "Tool"},
		{"null", "alice", `{"tool":null}`, 400, "elevation.body", "tool: it must be a string"},
		{"no number", "alice", `{"tool":"refund","duration_seconds":"60"}`, 400, "elevation.body", "duration_seconds"},
		{"null for a number", "alice", `{"tool":"refund","duration_seconds":null}`, 400, "elevation.body", "duration_seconds"},
		{"a fraction", "alice", `{"tool":"refund","duration_seconds":1.5}`, 400, "elevation.body", "duration_seconds: it must be a whole number"},
		{"no time", "alice", `{"tool":"refund","reason":"x","duration_seconds":0}`, 422, "elevation.ask", "duration_seconds: 0"},
		{"a negative time", "alice", `{"tool":"refund","reason":"x","duration_seconds":-1}`, 422, "elevation.ask", "duration_seconds: -1"},
		{"a time that would overflow", "alice", `{"tool":"refund","reason":"x","duration_seconds":9223372036854775807}`, 422, "elevation.ask", "duration_seconds"},
		{"no flag", "alice", `{"tool":"refund","break_glass":1}`, 400, "elevation.body", "break_glass: it must be true or false"},
		{"null for a flag", "alice", `{"tool":"refund","break_glass":null}`, 400, "elevation.body", "break_glass"},
		{"arguments that are none", "alice", `{"tool":"pay","arguments":[1]}`, 400, "elevation.body", "arguments: it must be an object"},
		{"null for arguments", "alice", `{"tool":"pay","arguments":null}`, 400, "elevation.body", "arguments"},
		{"both calls", "alice", `{"tool":"pay","arguments":{},"request":{"method":"GET","path":"/"}}`, 400, "elevation.body", "request: it is there beside arguments"},
		{"no path", "alice", `{"tool":"transfer","request":{"method":"GET"}}`, 400, "elevation.body", "request.path: it is required"},
		{"no method", "alice", `{"tool":"transfer","request":{"path":"/"}}`, 400, "elevation.body", "request.method: it is required"},
		{"an unknown member below", "alice", `{"tool":"transfer","request":{"method":"GET","path":"/","headers":{}}}`, 400, "elevation.body", "request.headers: there is no such member"},
		{"a request that is none", "alice", `{"tool":"transfer","request":"GET /"}`, 400, "elevation.body", "request: it must be an object"},
		{"a long tool", "alice", `{"tool":"` + strings.Repeat("x", 257) + `"}`, 400, "elevation.body", "tool: it has more than 256 bytes"},
		{"no object", "alice", `[]`, 400, "elevation.body", "it is not a JSON object"},
		{"no JSON", "alice", `{"tool":"refund"`, 400, "elevation.body", "it is not one JSON text"},
		{"two texts", "alice", refund + "{}", 400, "elevation.body", "it is not one JSON text"},
		{"no UTF-8", "alice", "{\"tool\":\"\xff\"}", 400, "elevation.body", "it is not UTF-8"},
		{"too much", "alice", `{"reason":"` + strings.Repeat("x", 64<<10) + `"}`, 413, "elevation.body_too_large", "65536"},
		{"a tool that needs nothing", "alice", `{"tool":"search","reason":"x"}`, 422, "elevation.ask", "needs neither"},
		{"a call of one", "alice", `{"tool":"search","reason":"x","arguments":{}}`, 422, "elevation.ask", "needs neither"},
		{"a call where an elevation is needed", "alice", `{"tool":"refund","reason":"x","arguments":{}}`, 422, "elevation.ask", "ask without the call"},
		{"an elevation where a call is needed", "alice", `{"tool":"pay","reason":"x"}`, 422, "elevation.ask", "ask with the call"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := w.do(tt.who, "POST elevate", tt.body)
			if r.StatusCode != tt.status || r.kind() != tt.kind || !strings.Contains(r.string("detail"), tt.says) {
				t.Errorf("%d %s", r.StatusCode, r.text)
			}
		})
	}
	if len(w.requests.all) != 0 {
		t.Errorf("something was made: %+v", w.requests.all)
	}
	w.ask("alice", `{"tool":"both","reason":"x"}`)
	w.ask("alice", `{"tool":"both","reason":"x","arguments":{}}`)
	w.access.rule.Enabled = false
	w.want("alice", "POST elevate", refund, 403, "elevation.disabled")
}

func TestMembersAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if r := w.do("alice", "POST elevate", `{"tool":"transfer","request":{"method":1}}`); r.string("member") != "request.method" {
		t.Errorf("%s", r.text)
	}
	long := strings.Repeat("ä", 5000)
	if r := w.do("alice", "POST elevate", `{"`+long+`":1}`); len(r.text) > 1000 || !json.Valid([]byte(r.text)) {
		t.Errorf("a name is repeated in full: %d bytes", len(r.text))
	}
}

func TestContentTypes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		lines    []string
		encoding string
		good     bool
	}{
		{[]string{"application/json"}, "", true},
		{[]string{"application/json; charset=UTF-8"}, "", true},
		{[]string{"application/json; charset=latin1"}, "", false},
		{[]string{"application/x-www-form-urlencoded"}, "", false},
		{[]string{"text/plain"}, "", false},
		{[]string{"application/json", "text/plain"}, "", false},
		{[]string{""}, "", false},
		{nil, "", false},
		{[]string{"application/json"}, "gzip", false},
	} {
		r := w.do("alice", "POST elevate", refund, func(req *http.Request) {
			req.Header["Content-Type"] = tt.lines
			if tt.encoding != "" {
				req.Header.Set("Content-Encoding", tt.encoding)
			}
		})
		if good := r.StatusCode == http.StatusAccepted; good != tt.good || !good && r.kind() != "elevation.content_type" {
			t.Errorf("%q %s: %d %s", tt.lines, tt.encoding, r.StatusCode, r.text)
		}
	}
}

// What the policies see is what the client sent, as the proxy saw it.
func TestThePoliciesSeeTheRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do("alice", "GET elevations?limit=1", "", func(r *http.Request) {
		r.Header.Set("X-Envoy-External-Address", "203.0.113.7")
		r.Header.Set("DPoP", "proof")
		r.Header.Add("Authorization", "Bearer other")
	})
	got := w.access.seen[0]
	if got.Method != "GET" || got.Scheme != "https" || got.Authority != "dealer.example" || got.Path != "/api/auth/elevations?limit=1" ||
		got.ID != "r-1" || got.ClientAddress != "203.0.113.7" {
		t.Errorf("%+v", got)
	}
	if _, lines := got.Headers.Get("authorization"); lines != 2 {
		t.Errorf("%d tokens, want both", lines)
	}
	if proof, lines := got.Headers.Get("dpop"); lines != 1 || proof != "proof" {
		t.Errorf("proof %q", proof)
	}
	w.do("alice", "GET elevations", "", func(r *http.Request) {
		r.Header.Set("X-Forwarded-Proto", "http")
		r.RemoteAddr = "192.0.2.1:1234"
	})
	if got := w.access.seen[1]; got.Scheme != "http" || got.ClientAddress != "192.0.2.1" {
		t.Errorf("%+v", got)
	}
	w.do("alice", "POST elevate", `{"tool":"transfer","reason":"x","request":{"method":"PUT","path":"/a?b","content_type":"text/plain","body":""}}`)
	if got := w.access.seen[2]; got.Method != "POST" || got.Path != "/api/auth/elevate" {
		t.Errorf("%+v", got)
	}
}

// A refusal by the policies is answered as that of a call is.
func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, what := range []string{
		"POST elevate", "GET elevations", "GET elevations/0195-0000", "DELETE elevations/0195-0000",
		"POST elevations/0195-0000/approve", "POST elevations/0195-0000/deny", "POST elevations/revoke",
	} {
		body := ""
		if strings.HasPrefix(what, "POST") {
			body = refund
		}
		r := w.do("", what, body)
		challenge := r.Header.Get("WWW-Authenticate")
		if r.StatusCode != 401 || r.kind() != "authentication.missing" || r.string("decision_id") != "decision-1" ||
			!strings.HasPrefix(challenge, "Bearer ") || !strings.Contains(challenge, "/.well-known/oauth-protected-resource/mcp") ||
			r.Header.Get("X-Sallyport-Decision-Id") != "decision-1" {
			t.Errorf("%s: %d %s, challenge %s", what, r.StatusCode, r.text, challenge)
		}
	}
}

func TestFaultsAreLoggedAndNotTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		err          error
		status       int
		kind, detail string
	}{
		{fmt.Errorf("find: %w", pim.ErrUnavailable), 503, "elevation.unavailable", "can be sent again"},
		{fmt.Errorf("%w: disk", pim.ErrUnrecorded), 503, "elevation.unrecorded", ""},
		{fmt.Errorf("%w: status 500 from secret.example", pim.ErrProvider), 503, "elevation.provider", ""},
		{fmt.Errorf("%w: 20", pim.ErrTooMany), 429, "elevation.too_many", "cancel"},
		{errors.Join(fmt.Errorf("%w: a: is long", pim.ErrAsk), fmt.Errorf("%w: b: is missing", pim.ErrAsk)), 422, "elevation.ask", "a: is long; b: is missing"},
		{errors.New("at secret.example"), 500, "internal.error", ""},
	} {
		w.requests.failing = tt.err
		r := w.do("alice", "POST elevate", refund)
		if r.StatusCode != tt.status || r.kind() != tt.kind || !strings.Contains(r.string("detail"), tt.detail) || strings.Contains(r.text, "secret") {
			t.Errorf("%v: %d %s", tt.err, r.StatusCode, r.text)
		}
		if logged := strings.Contains(w.log.String(), tt.kind); logged != (tt.status >= 500) {
			t.Errorf("%v: in the log: %v", tt.err, logged)
		}
	}
	w.requests.failing = pim.ErrUnavailable
	for _, what := range []string{"GET elevations", "GET elevations/0195-0000"} {
		if r := w.want("alice", what, "", 503, "elevation.unavailable"); strings.Contains(r.string("detail"), "effect") {
			t.Errorf("%s changes nothing: %s", what, r.text)
		}
	}
}
