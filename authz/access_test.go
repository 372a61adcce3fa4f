package authz_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/authz/operation"
	"github.com/sallyport/sallyport/internal/devissuer"
)

func inquiry(token string) *authz.Inquiry {
	q := &authz.Inquiry{Tool: "refund_payment"}
	q.Request.Request = operation.Request{
		Method: "POST", Scheme: "https", Authority: "dealer.example", Path: "/api/auth/elevate",
		Headers: operation.Headers{{Name: "authorization", Value: "Bearer " + token}},
	}
	return q
}

func TestInquire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config
	cfg.Tiers.Strict = cfg.Tiers.Permissive
	w.use(t, cfg)
	onlyREST := func(o *devissuer.TokenOptions) { o.Audience = []string{restURL} }
	for _, tt := range []struct {
		name   string
		token  string
		change func(*authz.Inquiry)
		reason string // empty: it makes sense
	}{
		{"an elevation", w.token(t, "mcp"), func(*authz.Inquiry) {}, ""},
		{"with the server's name", w.token(t, "mcp"), func(q *authz.Inquiry) { q.Server = "dealer" }, ""},
		{"no token", "", func(q *authz.Inquiry) { q.Headers = nil }, "authentication.missing"},
		{"another authority", w.token(t, "mcp"), func(q *authz.Inquiry) { q.Authority = "evil.example" }, "route.unknown"},
		{"a token for another server of the authority", w.token(t, "mcp", onlyREST), func(*authz.Inquiry) {}, "operation.unknown_tool"},
		{"a tool of another server", w.token(t, "mcp"), func(q *authz.Inquiry) { q.Server = "rest" }, "operation.unknown_tool"},
		{"an unknown tool", w.token(t, "mcp"), func(q *authz.Inquiry) { q.Tool = "drop_tables" }, "operation.unknown_tool"},
		{"no scope", w.token(t, ""), func(*authz.Inquiry) {}, "scopes.insufficient"},
		{"a call", w.token(t, "mcp"), func(q *authz.Inquiry) { q.Tool, q.Arguments = "two_people", `{"n":1}` }, ""},
		{"a call with arguments that its schema refuses", w.token(t, "mcp"), func(q *authz.Inquiry) { q.Tool, q.Arguments = "two_people", `{"n":"one"}` }, "schema.arguments"},
		{"a call that is none", w.token(t, "mcp"), func(q *authz.Inquiry) { q.Tool, q.Arguments = "two_people", `{"n":1},"x":1` }, "operation.invalid_json"},
		{"a REST call", w.token(t, "mcp", onlyREST), func(q *authz.Inquiry) {
			q.Tool, q.Call = "get_vehicle", &operation.Request{Method: "GET", Scheme: "https", Authority: "dealer.example", Path: "/api/vehicles/V-1"}
		}, ""},
		{"a REST call to an MCP server", w.token(t, "mcp"), func(q *authz.Inquiry) {
			q.Tool, q.Call = "two_people", &operation.Request{Method: "POST", Path: "/mcp"}
		}, "operation.bad_arguments"},
		{"arguments for a REST API", w.token(t, "mcp", onlyREST), func(q *authz.Inquiry) { q.Tool, q.Arguments = "get_vehicle", `{"id":"V-1"}` }, "operation.bad_arguments"},
		{"a call of another tool", w.token(t, "mcp", onlyREST), func(q *authz.Inquiry) {
			q.Tool, q.Call = "get_vehicle", &operation.Request{Method: "DELETE", Scheme: "https", Authority: "dealer.example", Path: "/api/vehicles/V-1"}
		}, "operation.unknown_tool"},
		{"a REST call to nowhere", w.token(t, "mcp", onlyREST), func(q *authz.Inquiry) {
			q.Tool, q.Call = "get_vehicle", &operation.Request{Method: "GET", Scheme: "https", Authority: "dealer.example", Path: "/api/dealers"}
		}, "operation.route_unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := inquiry(tt.token)
			tt.change(q)
			asked, refused := w.Inquire(t.Context(), q)
			switch {
			case tt.reason == "" && refused != nil:
				t.Fatalf("refused: %s %s %s", refused.Reason.Code, refused.Detail, refused.Fault)
			case tt.reason == "":
				if asked.Tool.Name != q.Tool || asked.Principal.Subject == "" || asked.Exact != (q.Arguments != "" || q.Call != nil) || asked.Exact != (asked.Fingerprint != [32]byte{}) {
					t.Errorf("asked %+v", asked)
				}
			case refused == nil || refused.Reason.Code != tt.reason || asked != nil:
				t.Fatalf("asked %+v, refused %+v, want %s", asked, refused, tt.reason)
			default:
				if record := w.journal.last(t); record["reason"] != tt.reason || record["status"] != "deny" {
					t.Errorf("recorded %v", record)
				}
			}
		})
	}
}

// What is asked for is what is called later.
func TestInquiryHasTheCallsFingerprint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := inquiry(w.token(t, "mcp"))
	q.Tool, q.Arguments = "two_people", `{ "n" : 1 }`
	asked, refused := w.Inquire(t.Context(), q)
	if refused != nil {
		t.Fatal(refused.Reason.Code)
	}
	d := w.Decide(t.Context(), call(w.token(t, "mcp"), "two_people", `{"n":1}`))
	if d.Operation.Fingerprint != asked.Fingerprint {
		t.Error("the call has another fingerprint than the inquiry")
	}
}

func TestMayApprove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config
	cfg.Tiers.Strict = cfg.Tiers.Permissive
	cfg.Elevation.Approvers = []authz.Approvers{{Issuer: "dev", Roles: []string{"lead"}}}
	w.use(t, cfg)
	person := map[string]any{"employee": "E-1"}
	for _, tt := range []struct {
		name   string
		roles  []string
		claims map[string]any
		tool   string
		may    bool
	}{
		{"an approver", []string{"x", "lead"}, person, "two_people", true},
		{"another role", []string{"leads"}, person, "two_people", false},
		{"nobody who is known", []string{"lead"}, nil, "two_people", false},
		{"the tool has approvers of its own", []string{"lead"}, person, "refund_payment", false},
		{"one of the tool's own", []string{"payments-lead"}, person, "refund_payment", true},
		{"a tool of a server that the token isn't for", []string{"lead"}, person, "get_vehicle", false},
		{"no tool", []string{"lead"}, person, "drop_tables", false},
		{"an agent with an approver's token", []string{"lead"}, map[string]any{"employee": "E-1", "act": map[string]any{"sub": "agent"}}, "two_people", false},
	} {
		token := w.token(t, "mcp", func(o *devissuer.TokenOptions) { o.Roles, o.Claims = tt.roles, tt.claims })
		who, refused := w.Identify(t.Context(), &inquiry(token).Request)
		if refused != nil {
			t.Fatalf("%s: %s", tt.name, refused.Reason.Code)
		}
		server := "dealer"
		if tt.tool == "get_vehicle" {
			server = "rest"
		}
		if who.MayApprove(server, tt.tool) != tt.may {
			t.Errorf("%s: %v", tt.name, !tt.may)
		}
	}
	cfg.Elevation.Approvers[0].Issuer = "partner"
	w.use(t, cfg)
	token := w.token(t, "mcp", func(o *devissuer.TokenOptions) { o.Roles, o.Claims = []string{"lead"}, person })
	if who, refused := w.Identify(t.Context(), &inquiry(token).Request); refused != nil || who.MayApprove("dealer", "two_people") {
		t.Error("an issuer that isn't one of approvers made one")
	}
}

// Whoever is revoked neither asks nor decides; and whatever goes wrong is a refusal.
func TestInquiriesOfTheRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.token(t, "mcp")
	file := filepath.Join(t.TempDir(), "revocations.yaml")
	if err := os.WriteFile(file, []byte("version: 1\nrevocations:\n  - {issuer: dev, subject: dev-user}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	revoked, err := identity.ReadRevocations(file)
	if err != nil {
		t.Fatal(err)
	}
	w.config.Revocations.Use(revoked)
	if _, refused := w.Inquire(t.Context(), inquiry(token)); refused == nil || refused.Reason.Code != "revocation.revoked" {
		t.Errorf("asks: %+v", refused)
	}
	if _, refused := w.Identify(t.Context(), &inquiry(token).Request); refused == nil || refused.Reason.Code != "revocation.revoked" {
		t.Errorf("decides: %+v", refused)
	}
	w.config.Revocations.Use(nil)
	q := inquiry(token)
	q.Tool, q.Call = "get_vehicle", nil
	cfg := w.config
	cfg.Catalogue = nil
	snapshot := authz.Snapshot{Config: cfg}
	w.Use(&snapshot) // of which a part is missing
	if _, refused := w.Inquire(t.Context(), q); refused == nil || refused.Reason.Code != "internal.error" || refused.Fault == "" {
		t.Errorf("a panic: %+v", refused)
	}
}

// Asking is limited, and what is refused is on record or nothing is answered.
func TestInquiriesAreLimitedAndRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config
	cfg.Tiers.Strict = authz.Rate{PerMinute: 1, Burst: 1}
	w.use(t, cfg)
	token := w.token(t, "mcp")
	if _, refused := w.Inquire(t.Context(), inquiry(token)); refused != nil {
		t.Fatal(refused.Reason.Code)
	}
	_, refused := w.Inquire(t.Context(), inquiry(token))
	if refused == nil || refused.Reason.Code != "rate_limit.exceeded" || refused.RetryIn <= 0 || refused.RetryIn > time.Minute {
		t.Fatalf("refused %+v", refused)
	}
	w.journal.err = errors.New("disk")
	if _, refused = w.Inquire(t.Context(), inquiry(token)); refused == nil || refused.Reason.Code != "audit.unavailable" {
		t.Errorf("refused %+v", refused)
	}
}
