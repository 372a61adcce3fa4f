package main_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/devissuer"
)

// An approval is of what the approver saw: a call that carries more is refused, and one
// that only spells it otherwise is the same.
func TestApprovalCoversNothingElse(t *testing.T) {
	t.Parallel()
	e := startElevations(t, elevationOptions{})
	alice, bob := e.caller(t, "alice"), e.caller(t, "bob", roles("approver"))
	asked := e.requested(t, elevate(alice, `"tool":"pay","reason":"invoice 7","arguments":{"amount":7,"to":"\u0061cme"}`), http.StatusAccepted)
	if shown := e.send(t, ask(bob, http.MethodGet, "elevations/"+asked.ID, "")); !strings.Contains(shown.body, `"arguments":{"amount":7,"to":"acme"}`) {
		t.Errorf("the approver reads %s", shown.body)
	}
	e.requested(t, approve(bob, asked.ID), http.StatusOK)
	desk := e.scene(nil)
	const call = `"name":"pay","arguments":{"to":"acme","amount":7}`
	for _, more := range []string{
		`"inputResponses":{"confirm":{"action":"accept","content":{"amount":900000}}}`, `"requestState":"amount=900000"`,
		`"task":{"ttl":60000}`, `"_meta":{"amount":9}`,
	} {
		r := legacy(alice, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{`+call+`,`+more+`}}`)
		if got := e.ends(t, desk.of(r)); got != "approval.beyond" {
			t.Errorf("%s: %s", more, got)
		}
	}
	e.refused(t, elevate(alice, `"tool":"pay","reason":"x","request":{"method":"POST","path":"/mcp","body":"{}"}`), 400, "operation.bad_arguments")
	desk.executed(t, 0)
	e.comes(t, func() request {
		return desk.of(legacy(alice, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":{"to":"acm\u0065","amount":7},"_meta":{"progressToken":1}}}`))
	}, "200")
	desk.executed(t, 1)
}

// A revocation lasts as long as anything that it took away would have.
func TestRevocationOfOneOfTwo(t *testing.T) {
	t.Parallel()
	e := startElevations(t, elevationOptions{pim: []string{"approvers: [{issuer: dev, roles: [approver]}]"}})
	alice, bob := e.caller(t, "alice"), e.caller(t, "bob", roles("approver"))
	e.requested(t, elevate(alice, `"tool":"refund","reason":"x","duration_seconds":600`), http.StatusCreated)
	short := e.requested(t, elevate(alice, `"tool":"refund","reason":"x","duration_seconds":2`), http.StatusCreated)
	refund := func() request { return e.scene(nil).of(callTool(alice, "refund", "{}")) }
	e.comes(t, refund, "200")
	revoked := e.requested(t, ask(bob, http.MethodDelete, "elevations/"+short.ID+"?why=stolen", ""), http.StatusOK)
	e.comes(t, refund, "elevation.revoked")
	until, err := time.Parse(time.RFC3339, revoked.Expires)
	if err != nil || time.Until(until) < 5*time.Minute {
		t.Errorf("it lasts until %s (%v)", revoked.Expires, err)
	}
	gone := time.Now().Add(3 * time.Second)
	for time.Now().Before(gone) { // past the end of what was revoked
		if got := e.ends(t, refund()); got != "elevation.revoked" {
			t.Fatalf("the revocation has worn off: %s", got)
		}
	}
	again := e.requested(t, elevate(alice, `"tool":"refund","reason":"once more"`), http.StatusAccepted) // nobody lifts it alone
	e.requested(t, approve(bob, again.ID), http.StatusOK)
	e.comes(t, refund, "200")
}

// Whoever gives an elevation back isn't revoked.
func TestElevationIsGivenBack(t *testing.T) {
	t.Parallel()
	e := startElevations(t, elevationOptions{pim: []string{"approvers: [{issuer: dev, roles: [approver]}]"}})
	alice := e.caller(t, "alice")
	refund := func() request { return e.scene(nil).of(callTool(alice, "refund", "{}")) }
	granted := e.requested(t, elevate(alice, `"tool":"refund","reason":"x"`), http.StatusCreated)
	e.comes(t, refund, "200")
	if back := e.requested(t, ask(alice, http.MethodDelete, "elevations/"+granted.ID, ""), http.StatusOK); back.Status != "cancelled" {
		t.Errorf("given back: %+v", back)
	}
	e.comes(t, refund, "elevation.required")
	e.requested(t, elevate(alice, `"tool":"refund","reason":"again"`), http.StatusCreated)
	e.comes(t, refund, "200")
}

// An agent approves nothing, whosoever token it has; and nobody asks in vain.
func TestAgentsAndStrangers(t *testing.T) {
	t.Parallel()
	e := startElevations(t, elevationOptions{})
	agent := func(o *devissuer.TokenOptions) { o.Claims["act"] = map[string]any{"sub": "agent-1"} }
	asked := e.requested(t, elevate(e.caller(t, "alice", agent), `"tool":"refund","reason":"x"`), http.StatusAccepted)
	e.refused(t, approve(e.caller(t, "bob", roles("approver"), agent), asked.ID), 404, "elevation.unknown")
	e.requested(t, approve(e.caller(t, "bob", roles("approver")), asked.ID), http.StatusOK)
	nobody := func(o *devissuer.TokenOptions) { o.Claims = nil }
	e.refused(t, elevate(e.caller(t, "robot", nobody), `"tool":"refund","reason":"x"`), 403, "elevation.person_unknown")
	invisible := func(o *devissuer.TokenOptions) { o.Claims["employee"] = "E-alice\u200b" }
	e.refused(t, elevate(e.caller(t, "robot", invisible), `"tool":"refund","reason":"x"`), 403, "elevation.person_unknown")
	own := e.requested(t, elevate(e.caller(t, "carol"), `"tool":"refund","reason":"x"`), http.StatusAccepted)
	wide := func(o *devissuer.TokenOptions) { o.Claims["employee"] = "Ｅ-carol" }
	e.refused(t, approve(e.caller(t, "carol-2", roles("approver"), wide), own.ID), 403, "elevation.self")
}
