package main_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/devissuer"
)

// The whole way: denied with the place to ask, asked, approved by somebody else, used,
// at its end, and all of it on record.
func TestElevationWorkflow(t *testing.T) {
	t.Parallel()
	e := startElevations(t, elevationOptions{})
	alice, bob := e.caller(t, "alice"), e.caller(t, "bob", roles("approver"))
	desk := e.scene(nil)
	refund := func() request { return desk.of(callTool(alice, "refund", `{"payment":"P-1","amount":5}`)) }

	denied := e.send(t, refund())
	told, _ := denied.refusal(t)
	if told.Reason != "elevation.required" || !told.Required || told.ElevationURL != e.url+"/api/auth/elevate" || !slices.Contains(told.Policies, "elevation") {
		t.Fatalf("told %+v", told)
	}
	asked := e.requested(t, elevate(alice, `"tool":"refund","reason":"a wrong charge","duration_seconds":3`), http.StatusAccepted)
	if asked.Status != "pending" || !asked.Required || asked.URL != e.url+"/api/auth/elevations/"+asked.ID || asked.Kind != "elevation" || asked.Duration != 3 {
		t.Errorf("the answer is %+v", asked)
	}
	if again := e.requested(t, elevate(alice, `"tool":"refund","reason":"a wrong charge","duration_seconds":3`), http.StatusAccepted); again.ID != asked.ID {
		t.Errorf("asked twice, and there are two: %s and %s", asked.ID, again.ID)
	}
	eventually(t, 2*soon, "the denial names the request", func() bool {
		a := e.send(t, refund())
		return refusalOf(a) == "elevation.required" && strings.Contains(a.body, asked.ID)
	})
	approved := e.requested(t, approve(bob, asked.ID), http.StatusOK)
	if approved.Status != "approved" || approved.Required {
		t.Errorf("after the approval it is %+v", approved)
	}
	e.comes(t, refund, "200")
	desk.executed(t, 1)
	e.comes(t, func() request { return e.scene(nil).of(callTool(e.caller(t, "carol"), "refund", "{}")) }, "elevation.required")
	e.comes(t, func() request { return e.scene(nil).of(callTool(e.caller(t, "alice"), "close_books", "{}")) }, "elevation.required")
	eventually(t, 5*time.Second, "the elevation ends", func() bool { return e.ends(t, refund()) == "elevation.required" })
	desk.executed(t, 1) // and its stored answer isn't given out either
	eventually(t, 10*time.Second, "its end is on record", func() bool {
		return slices.Equal(e.events(t, asked.ID), []string{"request begun", "request done", "approve begun", "approve done", "expire begun", "expire done"})
	})
}

// Nobody approves an own request, whatever token is used for it.
func TestNobodyApprovesAnOwnRequest(t *testing.T) {
	t.Parallel()
	e := startElevations(t, elevationOptions{})
	alice := e.caller(t, "alice")
	asked := e.requested(t, elevate(alice, `"tool":"refund","reason":"x"`), http.StatusAccepted)
	person := func(id string) func(*devissuer.TokenOptions) {
		return func(o *devissuer.TokenOptions) { o.Claims = map[string]any{"employee": id} }
	}
	client := func(id string) func(*devissuer.TokenOptions) {
		return func(o *devissuer.TokenOptions) { o.Client = id }
	}
	for _, tt := range []struct {
		name   string
		token  string
		status int
		kind   string
	}{
		{"the requester", e.caller(t, "alice", roles("approver")), 403, "elevation.self"},
		{"the requester through another client", e.caller(t, "alice", roles("approver"), client("portal")), 403, "elevation.self"},
		{"the same person with another account", e.caller(t, "alice-admin", roles("approver"), person("E-alice")), 403, "elevation.self"},
		{"the same person in other letters", e.caller(t, "alice-admin", roles("approver"), person("e-ALICE")), 403, "elevation.self"},
		{"somebody whose person isn't known", e.caller(t, "dave", roles("approver"), person("")), 404, "elevation.unknown"},
		{"somebody without the role", e.caller(t, "dave"), 404, "elevation.unknown"},
		{"an approver of an issuer that has none", mint(t, e.partner, personOptions("erin", roles("approver"))), 404, "elevation.unknown"},
		{"a token for another server", e.caller(t, "bob", roles("approver"), func(o *devissuer.TokenOptions) { o.Audience = []string{"vault"} }), 404, "elevation.unknown"},
		{"an expired token", e.caller(t, "bob", roles("approver"), func(o *devissuer.TokenOptions) { o.IssuedAt = time.Now().Add(-time.Hour) }), 401, "authentication.expired"},
	} {
		t.Run(tt.name, func(t *testing.T) { e.refused(t, approve(tt.token, asked.ID), tt.status, tt.kind) })
	}
	e.refused(t, ask("", http.MethodPost, "elevations/"+asked.ID+"/approve", "{}"), 401, "authentication.missing")
	if got := e.ends(t, callTool(alice, "refund", "{}")); got != "elevation.required" {
		t.Errorf("after all that: %s", got)
	}
	if !slices.Contains(e.events(t, asked.ID), "approve refused") {
		t.Errorf("the attempts are not on record: %v", e.events(t, asked.ID))
	}
}

// A link only shows; deciding takes a token, and is done once.
func TestApprovalLinksDoNothing(t *testing.T) {
	t.Parallel()
	e := startElevations(t, elevationOptions{})
	alice, bob := e.caller(t, "alice"), e.caller(t, "bob", roles("approver"))
	asked := e.requested(t, elevate(alice, `"tool":"refund","reason":"x"`), http.StatusAccepted)
	for _, r := range []request{
		ask(bob, http.MethodGet, "elevations/"+asked.ID+"/approve", ""),
		ask(bob, http.MethodGet, "elevations/"+asked.ID+"?action=approve", ""),
		ask(bob, http.MethodHead, "elevations/"+asked.ID+"/approve", ""),
	} {
		e.send(t, r)
	}
	if got := e.requested(t, ask(bob, http.MethodGet, "elevations/"+asked.ID, ""), http.StatusOK); got.Status != "pending" {
		t.Fatalf("a link made it %s", got.Status)
	}
	e.requested(t, ask(bob, http.MethodPost, "elevations/"+asked.ID+"/deny", `{"comment":"no"}`), http.StatusOK)
	e.refused(t, approve(bob, asked.ID), 409, "elevation.state")
	if got := e.ends(t, callTool(alice, "refund", "{}")); got != "elevation.required" {
		t.Errorf("denied, and then: %s", got)
	}
}

// A revocation beats the grant and the token's own claim, at once.
func TestElevationIsRevoked(t *testing.T) {
	t.Parallel()
	e := startElevations(t, elevationOptions{})
	alice, bob := e.caller(t, "alice"), e.caller(t, "bob", roles("approver"))
	asked := e.requested(t, elevate(alice, `"tool":"refund","reason":"x"`), http.StatusAccepted)
	e.requested(t, approve(bob, asked.ID), http.StatusOK)
	e.comes(t, func() request { return e.scene(nil).of(callTool(alice, "refund", "{}")) }, "200")
	e.requested(t, ask(bob, http.MethodDelete, "elevations/"+asked.ID+"?why=a+mistake", ""), http.StatusOK)
	e.comes(t, func() request { return e.scene(nil).of(callTool(alice, "refund", "{}")) }, "elevation.revoked")
	claims := e.caller(t, "alice", func(o *devissuer.TokenOptions) { o.ElevatedAt = time.Now().Add(-time.Minute) })
	e.comes(t, func() request { return e.scene(nil).of(callTool(claims, "refund", "{}")) }, "elevation.revoked")
	again := e.requested(t, elevate(alice, `"tool":"refund","reason":"once more"`), http.StatusAccepted)
	e.requested(t, approve(bob, again.ID), http.StatusOK)
	e.comes(t, func() request { return e.scene(nil).of(callTool(alice, "refund", "{}")) }, "200")
}

// Without approvals a reason is enough, within the tool's limits.
func TestElevationWithoutApproval(t *testing.T) {
	t.Parallel()
	e := startElevations(t, elevationOptions{pim: []string{"elevation_duration_seconds: 1800"}})
	alice := e.caller(t, "alice", func(o *devissuer.TokenOptions) { o.Claims = nil }) // nobody has to know who it is
	e.refused(t, elevate(alice, `"tool":"refund"`), 422, "elevation.ask")
	e.refused(t, elevate(alice, `"tool":"refund","reason":" "`), 422, "elevation.ask")
	e.refused(t, elevate(alice, `"tool":"refund","reason":"x","duration_seconds":601`), 422, "elevation.ask")
	e.refused(t, elevate(alice, `"tool":"refund","reason":"x","duration_seconds":-1`), 422, "elevation.ask")
	e.refused(t, elevate(alice, `"tool":"wipe","reason":"x"`), 403, "scopes.insufficient")
	e.refused(t, elevate(alice, `"tool":"drop_tables","reason":"x"`), 404, "operation.unknown_tool")
	e.refused(t, elevate(alice, `"tool":"search","reason":"x"`), 422, "elevation.ask")
	e.refused(t, elevate(alice, `"tool":"refund","reason":"x","toll":"refund"`), 400, "elevation.body")
	granted := e.requested(t, elevate(alice, `"tool":"refund","reason":"x"`), http.StatusCreated)
	if granted.Status != "approved" || granted.Required || granted.Duration != 600 {
		t.Errorf("granted %+v", granted)
	}
	e.comes(t, func() request { return e.scene(nil).of(callTool(alice, "refund", "{}")) }, "200")
	e.comes(t, func() request { return rest(e.caller(t, "alice"), "DELETE", "/orders/1", "") }, "elevation.required")
	reads := e.requested(t, elevate(alice, `"tool":"read_keys","reason":"x"`), http.StatusCreated)
	if reads.Duration != 1800 {
		t.Errorf("granted %+v", reads)
	}
	e.comes(t, func() request { return e.scene(nil).of(rest(alice, "GET", "/keys", "")) }, "201")
}

// An approval lets exactly its call pass, once.
func TestApprovalOfOneCall(t *testing.T) {
	t.Parallel()
	e := startElevations(t, elevationOptions{})
	alice, bob := e.caller(t, "alice"), e.caller(t, "bob", roles("approver"))
	desk := e.scene(nil)
	pay := func(key, arguments string) request {
		r := callTool(alice, "pay", arguments).with(sceneHeader, desk.name)
		return r.with("Idempotency-Key", key)
	}
	const arguments = `{"to":"acme","amount":700}`
	denied := e.send(t, pay("k-0", arguments))
	if refusalOf(denied) != "approval.required" || !strings.Contains(denied.body, "/api/auth/elevate") {
		t.Fatalf("%s", denied.body)
	}
	asked := e.requested(t, elevate(alice, `"tool":"pay","reason":"invoice 7","arguments":{"amount":700,"to":"acme"}`), http.StatusAccepted)
	shown := e.send(t, ask(bob, http.MethodGet, "elevations/"+asked.ID, ""))
	if !strings.Contains(shown.body, "700") || asked.Kind != "call" {
		t.Errorf("the approver sees %s", shown.body)
	}
	e.refused(t, approve(e.caller(t, "alice", roles("approver")), asked.ID), 403, "elevation.self")
	e.requested(t, approve(bob, asked.ID), http.StatusOK)
	for _, other := range []string{`{"to":"acme","amount":701}`, `{"to":"acme"}`, `{"to":"acme","amount":700.5}`} {
		if got := e.ends(t, pay(rand.Text(), other)); got == "200" {
			t.Errorf("%s passed", other)
		}
	}
	if got := e.ends(t, callTool(e.caller(t, "carol"), "pay", arguments)); got != "approval.required" {
		t.Errorf("somebody else: %s", got)
	}
	var calls []request
	for i := range 64 {
		calls = append(calls, pay(fmt.Sprintf("k-%d", i), arguments))
	}
	if counts := e.together(t, calls); counts["200"] != 1 || counts["approval.spent"] != 63 {
		t.Errorf("of 64 uses at once: %v", counts)
	}
	desk.executed(t, 1)
	key := desk.requests()[0].Header.Get("Idempotency-Key")
	replay := e.send(t, pay(key, arguments))
	if replay.status != 200 || replay.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("the retry got %d %s", replay.status, replay.body)
	}
	if got := e.ends(t, pay(rand.Text(), arguments)); got != "approval.spent" {
		t.Errorf("another use: %s", got)
	}
	desk.executed(t, 1)
	if events := e.events(t, asked.ID); !slices.Contains(events, "spend done") {
		t.Errorf("on record are %v", events)
	}
}

// What refuses the call leaves the approval as it is.
func TestApprovalIsNotSpentByARefusal(t *testing.T) {
	t.Parallel()
	e := startElevations(t, elevationOptions{})
	alice, bob := e.caller(t, "alice"), e.caller(t, "bob", roles("approver"))
	for _, tt := range []struct{ name, tool, path, call, body string }{
		{"MCP", "pay", "", `"arguments":{"to":"acme"}`, `{"to":"acme"}`},
		{"REST", "transfer", "/transfers?to=acme", `"request":{"method":"POST","path":"/transfers?to=acme","content_type":"application/json","body":"{\"amount\":1}"}`, `{"amount":1}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			busy := newGate(t)
			desk := e.scene(busy.then(created))
			call := func(key string) request {
				r := callTool(alice, tt.tool, tt.body)
				if tt.path != "" {
					r = rest(alice, "POST", tt.path, tt.body)
				}
				return r.with(sceneHeader, desk.name, "Idempotency-Key", tt.name+"-"+key)
			}
			approved := func() {
				t.Helper()
				asked := e.requested(t, elevate(alice, `"tool":"`+tt.tool+`","reason":"x",`+tt.call), http.StatusAccepted)
				e.requested(t, approve(bob, asked.ID), http.StatusOK)
			}
			approved()
			first := e.start(t, call("one"))
			eventually(t, 5*time.Second, "the first call is executed", func() bool { return len(desk.requests()) == 1 })
			approved()
			if got := refusalOf(e.send(t, call("one"))); got != "idempotency.in_flight" { // finds the second approval
				t.Errorf("the same key again: %s", got)
			}
			busy.open()
			if r := <-first; r.err != nil || refusalOf(r.answer) != "" {
				t.Fatalf("%v %s", r.err, r.body)
			}
			if a := e.send(t, call("two")); refusalOf(a) != "" {
				t.Errorf("the approval that was met by a 409 is gone: %s", a.body)
			}
			if got := refusalOf(e.send(t, call("three"))); got != "approval.spent" {
				t.Errorf("a call too many: %s", got)
			}
			desk.executed(t, 2)
		})
	}
}

// A login that is strong and recent enough satisfies a tool that wants one (RFC 9470).
func TestStepUp(t *testing.T) {
	t.Parallel()
	e := startElevations(t, elevationOptions{pim: []string{"require_reason: false"}})
	login := func(acr string, ago time.Duration) string {
		return e.caller(t, "alice", func(o *devissuer.TokenOptions) {
			o.Claims = map[string]any{"acr": acr, "auth_time": time.Now().Add(-ago).Unix()}
		})
	}
	e.requested(t, elevate(login("phr", 0), `"tool":"rotate_keys"`), http.StatusCreated)
	for name, token := range map[string]string{
		"no login": e.caller(t, "alice"), "weak": login("pwd", 0), "old": login("phr", 10*time.Minute), "of the future": login("phr", -10*time.Minute),
	} {
		a := e.send(t, callTool(token, "rotate_keys", "{}"))
		challenge := a.header.Get("Www-Authenticate")
		for _, want := range []string{`error="insufficient_user_authentication"`, `acr_values="phr"`, `max_age="300"`} {
			if a.status != 401 || !strings.Contains(challenge, want) {
				t.Errorf("%s: %d %s, want %s", name, a.status, challenge, want)
			}
		}
	}
	e.comes(t, func() request { return e.scene(nil).of(callTool(login("phr", time.Minute), "rotate_keys", "{}")) }, "200")
}

// A claim elevates where its issuer is trusted for it, from its time on to its end.
func TestElevationClaims(t *testing.T) {
	t.Parallel()
	e := startElevations(t, elevationOptions{})
	elevated := func(at time.Time, lasts time.Duration) func(*devissuer.TokenOptions) {
		return func(o *devissuer.TokenOptions) { o.ElevatedAt, o.ElevatedFor = at, lasts }
	}
	now := time.Now()
	for name, tt := range map[string]struct {
		token string
		want  string
	}{
		"valid":                     {e.caller(t, "a", elevated(now.Add(-time.Minute), 0)), "200"},
		"of an issuer not trusted":  {mint(t, e.partner, personOptions("a", elevated(now, 0))), "elevation.required"},
		"of the future":             {e.caller(t, "b", elevated(now.Add(5*time.Minute), 0)), "elevation.required"},
		"ended":                     {e.caller(t, "c", elevated(now.Add(-2*time.Minute), time.Minute)), "elevation.required"},
		"ended by the tool's limit": {e.caller(t, "d", elevated(now.Add(-11*time.Minute), time.Hour)), "elevation.required"},
		"not a time": {e.caller(t, "e", func(o *devissuer.TokenOptions) {
			o.Claims = map[string]any{"elevation_status": map[string]any{"elevated_at": "today"}}
		}), "authentication.malformed"},
		"no object": {e.caller(t, "f", func(o *devissuer.TokenOptions) {
			o.Claims = map[string]any{"elevation_status": true}
		}), "authentication.malformed"},
	} {
		if got := e.ends(t, e.scene(nil).of(callTool(tt.token, "refund", "{}"))); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	var evidence []string
	e.records(t, "decision", func(line []byte) {
		var d struct {
			Status    string
			Elevation struct{ Source string }
		}
		if err := json.Unmarshal(line, &d); err != nil {
			t.Fatal(err)
		}
		if d.Status == "allow" {
			evidence = append(evidence, d.Elevation.Source)
		}
	})
	if !slices.Equal(evidence, []string{"claim"}) {
		t.Errorf("the evidence on record is %v", evidence)
	}
}
