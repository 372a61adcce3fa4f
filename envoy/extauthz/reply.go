package extauthz

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/catalogue"
	"github.com/sallyport/sallyport/authz/refusal"
)

// InternalPrefix is that of the headers which only Check may set on a request
// towards the upstream. A client's own headers with it never pass.
const InternalPrefix = "x-sallyport-"

const (
	headerDecisionID = refusal.DecisionIDHeader
	headerUserID     = "x-sallyport-user-id"
	headerClientID   = "x-sallyport-client-id"
	headerTenantID   = "x-sallyport-tenant-id"
	headerIssuer     = "x-sallyport-issuer"
	headerActorID    = "x-sallyport-actor-id"
	headerPrincipal  = "x-sallyport-principal-id"
	headerScopes     = "x-sallyport-scopes"

	// headerKeySource tells the client that its call had no key, so that a repeat
	// of the same call is taken for a retry for some time.
	headerKeySource = "x-sallyport-idempotency-key"

	// Envoy's router takes the timeout of this request from it.
	headerTimeout = "x-envoy-upstream-rq-timeout-ms"
)

// reply encodes the CheckResponse of a decision.
func reply(w *writer, req *authz.Request, d *authz.Decision) {
	status := w.open(fieldStatus)
	if !d.Allow {
		w.number(fieldStatusCode, uint64(codes.PermissionDenied))
	}
	w.close(status)
	if d.Allow {
		ok := w.open(fieldOK)
		admit(w, req, d)
		w.close(ok)
	} else {
		denied := w.open(fieldDenied)
		refuse(w, d)
		w.close(denied)
	}
	metadata := w.open(fieldDynamicMetadata)
	describe(w, d)
	w.close(metadata)
}

// admit writes what an allowed request takes along.
func admit(w *writer, req *authz.Request, d *authz.Decision) {
	upstream := upstreamHeaders(d)
	for _, h := range upstream {
		if h.value != "" {
			w.header(fieldOKHeaders, h.name, h.value)
		}
	}
	w.header(fieldOKHeaders, headerTimeout, strconv.FormatInt(timeout(d).Milliseconds(), 10))
	if c := d.Claim; c != nil {
		// An upstream that deduplicates closes the window that a proxy can't.
		key := c.ClientKey
		if key == "" {
			key = hex.EncodeToString(c.Key[:])
		}
		w.header(fieldOKHeaders, "idempotency-key", key)
		// A replay must suit clients that accept another encoding.
		w.text(fieldOKHeadersToRemove, "accept-encoding")
		if c.Source == "derived" {
			w.header(fieldOKResponseHeaders, headerKeySource, c.Source)
		}
	}
	// Envoy removes after it has set, so a name that is set above must not be
	// removed here; setting it has replaced the client's value.
	for i := range req.Headers {
		if name := req.Headers[i].Name; withheld(name, d) && !upstream.has(name) {
			w.text(fieldOKHeadersToRemove, name)
		}
	}
	w.header(fieldOKResponseHeaders, headerDecisionID, d.ID)
}

// identityHeaders say who calls; those without a value aren't sent.
type identityHeaders [8]struct{ name, value string }

// upstreamHeaders are for the upstream. A machine has no user id, and a user is
// one only together with the issuer and tenant; the principal's id stands for all
// of it.
func upstreamHeaders(d *authz.Decision) identityHeaders {
	p := d.Principal
	return identityHeaders{
		{headerDecisionID, d.ID},
		{headerPrincipal, p.ID},
		{headerIssuer, headerText(p.IssuerID)},
		{headerTenantID, headerText(p.Tenant)},
		{headerUserID, headerText(p.Subject)},
		{headerClientID, headerText(p.Client)},
		{headerActorID, headerText(p.Actor)},
		{headerScopes, scopesText(p.Scopes)},
	}
}

// has reports whether the header is sent.
func (h *identityHeaders) has(name string) bool {
	for i := range h {
		if h[i].name == name {
			return h[i].value != ""
		}
	}
	return false
}

// withheld reports whether a header of the client's is not for the upstream:
// credentials (with the token the upstream could act as the caller elsewhere),
// what only Check may say, and where nothing was decided about a session those
// that name one, in case the upstream still looks at them: MCP 2026-07-28 ignores
// both, and an initialize that named another's session could take it over.
func withheld(name string, d *authz.Decision) bool {
	switch name {
	case "authorization", "dpop", "proxy-authorization":
		return true
	case "mcp-session-id", "last-event-id":
		return stateless(d) || bindsSession(d)
	}
	return strings.HasPrefix(name, InternalPrefix)
}

// longestStream bounds what isn't the call of a tool: an event stream has to be
// opened again now and then, which decides and records it again.
const longestStream = time.Hour

// timeout is the tool's, or what is left of the token: a stream must not outlive
// the right to open it.
func timeout(d *authz.Decision) time.Duration {
	if d.Tool != nil {
		return d.Tool.Timeout
	}
	return max(time.Second, min(longestStream, d.Principal.Expires.Sub(d.Time)))
}

// scopesText separates scopes by spaces, which a scope can't hold (RFC 6749
// §3.3): one that does, of an array, must not become two.
func scopesText(scopes []string) string {
	if len(scopes) == 0 {
		return ""
	}
	var b strings.Builder
	for i, scope := range scopes {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strings.ReplaceAll(headerText(scope), " ", "%20"))
	}
	return b.String()
}

// headerText makes a claim fit for a header: visible ASCII and spaces stay, all
// else and the percent sign become %XX of their UTF-8 bytes.
func headerText(s string) string {
	clean := true
	for i := range len(s) {
		clean = clean && plain(s[i])
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if plain(s[i]) {
			b.WriteByte(s[i])
		} else {
			b.WriteByte('%')
			b.WriteString(strings.ToUpper(hex.EncodeToString([]byte{s[i]})))
		}
	}
	return b.String()
}

func plain(c byte) bool { return c >= ' ' && c < 0x7f && c != '%' }

// describe writes the metadata of protos/sallyport/decision/v1.
func describe(w *writer, d *authz.Decision) {
	w.member("v", "1")
	w.member("decision_id", d.ID)
	exchange := exchange(d)
	w.member("exchange", exchange)
	if exchange == "pass" {
		return // nobody else reads it, and Envoy pays for each member
	}
	w.member("rpc_id_json", d.RPCID)
	if d.Principal != nil {
		w.member("principal_id", d.Principal.ID)
	}
	if d.Server != nil {
		w.member("server", d.Server.Name)
	}
	if d.Operation != nil {
		w.member("fingerprint", hex.EncodeToString(d.Operation.Fingerprint[:]))
	}
	if t := d.Tool; t != nil {
		w.member("tool", t.Name)
		w.member("risk", t.Risk.String())
		w.member("pii_policy", t.PIIPolicy.String())
		if t.MaxConcurrency > 0 {
			w.member("slot_limit", strconv.Itoa(t.MaxConcurrency))
		}
	}
	if c := d.Claim; c != nil {
		w.member("key_hash", hex.EncodeToString(c.Key[:]))
		w.member("key_source", c.Source)
		w.member("on_unknown", d.Tool.Idempotency.OnUnknown.String())
		w.member("key_ttl_ms", strconv.FormatInt(c.TTL.Milliseconds(), 10))
	}
	if d.Approval != "" {
		w.member("approval_id", d.Approval)
		w.member("elevation_url", d.Hint.URL)
		if stateless(d) {
			w.member("stateless", "true")
		}
	}
	if lease := d.Lease; lease > 0 {
		w.member("lease_ms", strconv.FormatInt(lease.Milliseconds(), 10))
	}
	if bindsSession(d) {
		w.member("bind_session", "true")
	}
}

// bindsSession reports whether the response may open a session: an initialize of
// the revisions that have them.
func bindsSession(d *authz.Decision) bool {
	return d.Allow && d.Operation != nil && d.Operation.OpensSession()
}

// exchange tells the proxy whether the request needs the second filter.
func exchange(d *authz.Decision) string {
	t := d.Tool
	if d.Allow && (d.Claim != nil || d.Approval != "" || bindsSession(d) || t != nil && (t.MaxConcurrency > 0 || t.PIIPolicy != catalogue.PIINone)) {
		return "run"
	}
	return "pass"
}

// refuse writes the answer that the client gets.
func refuse(w *writer, d *authz.Decision) {
	r := refusalOf(d)
	answer := r.Answer()
	code := w.open(fieldDeniedStatus)
	w.number(fieldHTTPStatus, uint64(answer.Status)) //nolint:gosec // an HTTP status
	w.close(code)
	for _, h := range r.Headers(answer) {
		w.header(fieldDeniedHeaders, h.Name, h.Value)
	}
	if challenge := refusal.Challenge(d, r.Text()); challenge != "" {
		w.header(fieldDeniedHeaders, "www-authenticate", challenge)
	}
	if d.Refused != nil && d.Refused.Allow != "" {
		w.header(fieldDeniedHeaders, "allow", d.Refused.Allow)
	}
	w.text(fieldDeniedBody, answer.Body)
}
