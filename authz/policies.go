package authz

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/authz/catalogue"
	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/authz/operation"
	"github.com/sallyport/sallyport/idempotency"
)

// policy is one step of a decision. check returns true to go on; otherwise it
// has called deny.
type policy struct {
	name  string
	check func(context.Context, *evaluation) bool
}

// order is the order of Check. A policy may rely on what those before it found.
var order = [...]policy{
	{"route", checkRoute},
	{"authentication", checkAuthentication},
	{"revocation", checkRevocation},
	{"operation", checkOperation},
	{"scopes", checkScopes},
	{"schema", checkSchema},
	{"conditions", checkConditions},
	{"rate_limit", checkRateLimit},
	{"step_up", checkStepUp},
	{"elevation", checkElevation},
	{"approval", checkApproval},
	{"idempotency", checkIdempotency},
}

// evaluated are the names of order; decisions share its prefixes.
var evaluated = func() []string {
	names := make([]string, len(order))
	for i := range order {
		names[i] = order[i].name
	}
	return names
}()

// checkRoute finds the server. Where the proxy says which server it routed to,
// both must agree: a decision for one server must never admit to another.
func checkRoute(_ context.Context, ev *evaluation) bool {
	req, d := ev.request, ev.decision
	server := ev.snapshot.router.find(req.Authority, req.Path)
	switch {
	case server == nil:
		d.deny("route", "unknown", "Check the URL: nothing is served at this authority and path.")
		return false
	case req.Route != "" && req.Route != server.Name:
		d.deny("route", "mismatch", "The proxy's configuration is not the one that this service has; regenerate it.")
		return false
	}
	d.Server = server
	return true
}

func checkAuthentication(ctx context.Context, ev *evaluation) bool {
	return ev.authenticate(ctx, &ev.decision.Server.target)
}

func (ev *evaluation) authenticate(ctx context.Context, target *identity.Target) bool {
	req, d := ev.request, ev.decision
	c := identity.Credentials{
		Method:            req.Method,
		ClientCertificate: req.ClientCertificate,
		QueryToken:        hasQueryToken(req.Path),
	}
	c.Authorization, c.AuthorizationLines = req.Headers.Get("authorization")
	c.DPoP, c.DPoPLines = req.Headers.Get("dpop")
	if c.DPoPLines > 0 {
		path, _, _ := strings.Cut(req.Path, "?")
		c.URL = req.Scheme + "://" + req.Authority + path
	}
	principal, err := ev.snapshot.Verifier.Verify(ctx, c, target)
	if err != nil {
		var refusal *identity.Refusal
		if !errors.As(err, &refusal) {
			d.deny("internal", "error", "")
			d.Fault = err.Error()
			return false
		}
		d.deny("authentication", refusal.Cause, refusal.Detail)
		return false
	}
	d.Principal = principal
	return true
}

// hasQueryToken looks for an access token in the query, which OAuth 2.1 forbids.
func hasQueryToken(path string) bool {
	_, query, _ := strings.Cut(path, "?")
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, _, _ := strings.Cut(pair, "=")
		if strings.IndexByte(name, '%') >= 0 {
			name, _ = url.QueryUnescape(name) // a broken escape is none of this name
		}
		if name == "access_token" {
			return true
		}
	}
	return false
}

func checkRevocation(_ context.Context, ev *evaluation) bool {
	if cause, detail := ev.snapshot.Revocations.Revoked(ev.decision.Principal); cause != "" {
		ev.decision.deny("revocation", cause, detail)
		return false
	}
	return true
}

// checkOperation reads what is asked for and looks it up: what no list names is
// refused.
func checkOperation(ctx context.Context, ev *evaluation) bool {
	req, d := ev.request, ev.decision
	if req.BodyTruncated {
		d.deny("operation", operation.CauseBodyTruncated, "The proxy must send the whole body (allow_partial_message: false).")
		return false
	}
	op, err := d.Server.Operations.Parse(&req.Request)
	if err != nil {
		var refusal *operation.Refusal
		if !errors.As(err, &refusal) {
			d.deny("internal", "error", "")
			d.Fault = err.Error()
			return false
		}
		d.Refused, d.RPCID = refusal, refusal.RPCID
		d.deny("operation", refusal.Cause, refusal.Detail)
		return false
	}
	d.Operation, d.RPCID = op, op.RPCID
	if ev.engine.sessions != nil && op.SessionID != "" && !op.OpensSession() && !checkSession(ctx, ev) {
		return false
	}
	if op.Tool == "" {
		return true
	}
	tool, ok := ev.snapshot.Catalogue.Tool(d.Server.Name, op.Tool)
	if !ok {
		// The answer for a tool that doesn't exist and for one that is not
		// listed is the same: what is hidden here stays hidden.
		d.deny("operation", "unknown_tool", "Unknown tool: "+op.Tool)
		return false
	}
	d.Tool = tool
	return true
}

// checkSession refuses a session that another principal opened, or nobody whom we
// know: the answer to both is the one that makes a client initialize anew (MCP
// 2025-11-25, "Session Management").
func checkSession(ctx context.Context, ev *evaluation) bool {
	d := ev.decision
	owner, err := ev.engine.sessions.Owner(ctx, d.Server.Name, d.Operation.SessionID)
	switch {
	case err != nil:
		d.deny("operation", "session_unavailable", "")
		d.Fault = err.Error()
		return false
	case owner != d.Principal.ID:
		d.deny("operation", "session_unknown", "")
		return false
	}
	return true
}

// checkScopes wants all scopes: global, of the server, of the tool. A challenge
// names all of them at once, because clients ask for exactly what it says.
func checkScopes(_ context.Context, ev *evaluation) bool {
	d := ev.decision
	var tool []string
	if d.Tool != nil {
		tool = d.Tool.RequiredScopes
	}
	if hasAll(d.Principal, d.Server.RequiredScopes) && hasAll(d.Principal, tool) {
		return true
	}
	d.Scopes = slices.Concat(d.Server.RequiredScopes, tool)
	slices.Sort(d.Scopes)
	d.Scopes = slices.Compact(d.Scopes)
	d.deny("scopes", "insufficient", "Required scopes: "+strings.Join(d.Scopes, " "))
	return false
}

func hasAll(p *identity.Principal, scopes []string) bool {
	for _, scope := range scopes {
		if !p.HasScope(scope) {
			return false
		}
	}
	return true
}

func checkSchema(_ context.Context, ev *evaluation) bool {
	d := ev.decision
	if d.Tool == nil {
		return true
	}
	if err := d.Tool.ValidateArguments(d.Operation.Arguments); err != nil {
		d.deny("schema", "arguments", err.Error())
		return false
	}
	return true
}

func checkConditions(_ context.Context, ev *evaluation) bool {
	d := ev.decision
	if d.Tool == nil || len(d.Tool.Conditions) == 0 {
		return true
	}
	failed, err := d.Tool.CheckConditions(conditionVars(ev))
	switch {
	case err != nil:
		d.deny("conditions", "error", err.Error())
		return false
	case failed != nil:
		d.deny("conditions", "failed", failed.Message)
		return false
	}
	return true
}

func checkRateLimit(_ context.Context, ev *evaluation) bool {
	d := ev.decision
	key, tier := LimitKey{Principal: d.Principal.ID, Server: d.Server.Name}, catalogue.Permissive
	switch {
	case d.Tool != nil:
		key.Tool, tier = d.Tool.Name, d.Tool.Tier
	case !d.Operation.OpensSession(): // there is room for so many, and one caller's must not displace others'
		return true
	}
	return ev.allowed(key, ev.snapshot.Tiers.of(tier))
}

// allowed takes one from an allowance.
func (ev *evaluation) allowed(key LimitKey, rate Rate) bool {
	d := ev.decision
	retryIn, ok := ev.engine.limiter.Allow(d.Time, key, rate)
	if ok {
		return true
	}
	d.RetryIn = retryIn
	d.deny("rate_limit", "exceeded", "Try again in "+strconv.Itoa(seconds(retryIn))+" s.")
	return false
}

// seconds rounds up, so that who waits that long has waited long enough.
func seconds(d time.Duration) int {
	return int((d + time.Second - 1) / time.Second)
}

// checkStepUp compares how and when the caller logged in (RFC 9470 §4).
func checkStepUp(_ context.Context, ev *evaluation) bool {
	d := ev.decision
	if d.Tool == nil {
		return true
	}
	want := &d.Tool.StepUp
	strong := len(want.ACRValues) == 0
	for _, acr := range want.ACRValues {
		strong = strong || acr == d.Principal.ACR
	}
	recent := want.MaxAge == 0
	if !recent && !d.Principal.AuthTime.IsZero() {
		age := d.Time.Sub(d.Principal.AuthTime)
		recent = age <= want.MaxAge+ev.snapshot.ClockSkew && age >= -ev.snapshot.ClockSkew
	}
	if strong && recent {
		return true
	}
	d.deny("step_up", "required", "Log in again as the challenge says.")
	return false
}

// checkIdempotency finds the key of a call that is executed at most once. The key
// is claimed by the exchange, after all policies.
func checkIdempotency(_ context.Context, ev *evaluation) bool {
	d, rule := ev.decision, &ev.snapshot.Idempotency
	if d.Tool == nil || !d.Tool.Idempotency.Enabled || !rule.Enabled {
		return true
	}
	claim := &Claim{Source: "header", TTL: d.Tool.Idempotency.TTL}
	header, lines := ev.request.Headers.Get("idempotency-key")
	var err error
	if lines > 0 {
		claim.ClientKey, err = idempotency.ParseHeader(header, lines)
	}
	if meta := d.Operation.IdempotencyKey; err == nil && meta != "" {
		if lines > 0 && meta != claim.ClientKey {
			err = errors.New("the key of the header and that of _meta differ")
		}
		claim.ClientKey, claim.Source = meta, "meta"
	}
	switch {
	case err != nil:
		d.deny("idempotency", "key_malformed", err.Error())
		return false
	case claim.ClientKey != "":
		claim.Key = idempotency.KeyOf(d.Principal.ID, claim.ClientKey)
	case d.Tool.Idempotency.Required:
		d.deny("idempotency", "key_missing", "Send an Idempotency-Key header, a new one for each call that you mean and the same one for its retries; for MCP, params._meta can hold it as "+operation.KeyMember+".")
		return false
	default:
		claim.Source, claim.TTL = "derived", min(claim.TTL, rule.DerivedTTL)
		claim.Key = idempotency.DerivedKey(d.Principal.ID, d.Operation.Fingerprint)
	}
	d.Claim = claim
	return true
}

// conditionVars shows the request to a tool's conditions.
func conditionVars(ev *evaluation) *catalogue.Vars {
	d := ev.decision
	p := d.Principal
	path, _, _ := strings.Cut(ev.request.Path, "?")
	return &catalogue.Vars{
		Principal: catalogue.PrincipalVars{
			ID: p.ID, Issuer: p.IssuerID, Subject: p.Subject, Client: p.Client, Tenant: p.Tenant,
			Scopes: p.Scopes, Roles: p.Roles, ACR: p.ACR, Claims: p.Claims,
		},
		Args: d.Operation.Arguments,
		Request: catalogue.RequestVars{
			Method: d.Operation.Method, Path: path, Server: d.Server.Name, Tool: d.Tool.Name,
			Time: d.Time, SourceAddress: ev.request.ClientAddress,
		},
	}
}
