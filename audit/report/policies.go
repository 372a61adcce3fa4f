package report

import (
	"cmp"

	"github.com/sallyport/sallyport/audit"
)

// policy is what is said about one step of a decision.
type policy struct {
	name    string
	checks  string                    // what must hold for it to pass
	ofTools bool                      // it says nothing about requests that call no tool
	quotes  bool                      // its refusals repeat what was sent, so their details are not recorded
	fact    func(*audit.Event) string // what it decided on, in this event; nil: that isn't recorded
}

// policies are in the order in which they run. One that an old event names and
// that doesn't exist any more stays here.
var policies = [...]policy{
	{name: "route", checks: "The host and path belong to a configured server, and the proxy chose the same one.", fact: routeFact},
	{name: "authentication", checks: "The access token is genuine, valid now, meant for this server and, where it is bound to its holder, presented by that holder.", fact: authenticationFact},
	{name: "revocation", checks: "Neither the token nor its subject, client or session is revoked.", fact: revocationFact},
	{name: "operation", checks: "The request can be read in one way only, and what it asks for is listed for this server.", quotes: true, fact: operationFact},
	{name: "scopes", checks: "The token has all scopes that the server and the tool want."},
	{name: "schema", checks: "The arguments are what the tool's schema allows.", ofTools: true, quotes: true, fact: schemaFact},
	{name: "conditions", checks: "The tool's own conditions about caller, arguments and request hold.", ofTools: true},
	{name: "rate_limit", checks: "The caller hasn't used up the number of calls it has per period."},
	{name: "step_up", checks: "The caller's login is as strong and as recent as the tool wants.", ofTools: true},
	{name: "elevation", checks: "A tool that wants elevated rights is called by somebody who holds them for a limited time.", ofTools: true, fact: elevationFact},
	{name: "approval", checks: "A tool that wants a second person's approval for each call has it.", ofTools: true, fact: approvalFact},
	{name: "idempotency", checks: "A call that must not happen twice has a key by which a retry is known.", ofTools: true, fact: keyFact},
}

// policyNamed finds a policy; one that this version doesn't know has no sentence.
func policyNamed(name string) *policy {
	for i := range policies {
		if policies[i].name == name {
			return &policies[i]
		}
	}
	return &policy{name: name, checks: "What this policy checks is not known to this version."}
}

func routeFact(e *audit.Event) string {
	if e.Metadata.Server == "" {
		return join(e.Metadata.Authority, " is no server's")
	}
	return cmp.Or(join(e.Metadata.Authority, " is that of server "+e.Metadata.Server), "server "+e.Metadata.Server)
}

func authenticationFact(e *audit.Event) string {
	if e.Metadata.Principal == nil {
		return ""
	}
	return who(e)
}

func revocationFact(e *audit.Event) string {
	p := principal(e)
	return cmp.Or(join("token ", p.TokenID), join("subject ", p.Subject), join("client ", p.Client))
}

func operationFact(e *audit.Event) string { return what(e) }

func schemaFact(e *audit.Event) string {
	return join("SHA-256 of the call: ", e.Metadata.Fingerprint)
}

func elevationFact(e *audit.Event) string {
	return listed(join("the tool's risk is ", e.Metadata.Risk), join("elevated by ", elevatedBy(e)))
}

// elevatedBy says what elevated the caller; empty where that isn't recorded.
func elevatedBy(e *audit.Event) string {
	held := e.Metadata.Elevation
	if held == nil {
		return ""
	}
	until := ""
	if !held.Until.IsZero() {
		until = " until " + held.Until.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	switch held.Source {
	case "claim":
		return "the claim of token " + cmp.Or(held.ID, "(without an id)") + until
	case "provider":
		return "the external provider" + join(", which calls it ", held.ID) + until
	case "break_glass":
		return "break-glass grant " + held.ID + until + ", while the external provider failed"
	}
	return "grant " + held.ID + until
}

func approvalFact(e *audit.Event) string { return join("approved by request ", e.Metadata.ApprovalID) }

func keyFact(e *audit.Event) string {
	if e.Metadata.KeyHash == "" {
		return ""
	}
	return "the key " + keySource(e.Metadata.KeySource)
}

// keySource says where an idempotency key came from.
func keySource(source string) string {
	switch source {
	case "header":
		return "came in the header Idempotency-Key"
	case "meta":
		return "came in the call's _meta"
	case "derived":
		return "was derived from the caller and the call"
	}
	return "came from " + source
}

// join is empty if one of its parts is.
func join(parts ...string) string {
	text := ""
	for _, part := range parts {
		if part == "" {
			return ""
		}
		text += part
	}
	return text
}
