package authz_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/catalogue"
	"github.com/sallyport/sallyport/authz/operation"
	"github.com/sallyport/sallyport/internal/devissuer"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hour := func(at time.Time) func(*devissuer.TokenOptions) {
		return func(o *devissuer.TokenOptions) { o.ElevatedAt = at }
	}
	claims := func(c map[string]any) func(*devissuer.TokenOptions) {
		return func(o *devissuer.TokenOptions) { o.Claims = c }
	}
	now := time.Now()
	tests := []struct {
		name   string
		req    *authz.Request
		reason string
	}{
		{"read", call(w.token(t, "mcp vehicles.read"), "search_vehicles", `{"model":"Swift"}`), "allowed"},
		{"unknown authority", change(call("", "x", "{}"), func(r *authz.Request) { r.Authority = "evil.example" }), "route.unknown"},
		{"unknown path", change(call("", "x", "{}"), func(r *authz.Request) { r.Path = "/mcp/" }), "route.unknown"},
		{"the proxy routed elsewhere", change(call("", "x", "{}"), func(r *authz.Request) { r.Route = "rest" }), "route.mismatch"},
		{"no token", change(call("", "search_vehicles", "{}"), func(r *authz.Request) { r.Headers = r.Headers[1:] }), "authentication.missing"},
		{"token for another server", call(w.token(t, "mcp vehicles.read", func(o *devissuer.TokenOptions) { o.Audience = []string{restURL} }), "search_vehicles", "{}"), "authentication.audience"},
		{"token in the query", change(call(w.token(t, "mcp"), "search_vehicles", "{}"), func(r *authz.Request) { r.Path = "/mcp?access_token=x" }), "authentication.ambiguous"},
		{"token in the query, spelled otherwise", change(call(w.token(t, "mcp"), "search_vehicles", "{}"), func(r *authz.Request) { r.Path = "/mcp?x=1&access%5ftoken=x" }), "authentication.ambiguous"},
		{"unlisted tool", call(w.token(t, "mcp"), "drop_tables", "{}"), "operation.unknown_tool"},
		{"unlisted method", change(call(w.token(t, "mcp"), "x", "{}"), body(`{"jsonrpc":"2.0","id":1,"method":"resources/list"}`)), "operation.unknown_method"},
		{"cut body", change(call(w.token(t, "mcp"), "search_vehicles", "{}"), func(r *authz.Request) { r.BodyTruncated = true }), "operation.body_truncated"},
		{"missing scope of the server", call(w.token(t, "vehicles.read"), "search_vehicles", "{}"), "scopes.insufficient"},
		{"missing scope of the tool", call(w.token(t, "mcp"), "search_vehicles", "{}"), "scopes.insufficient"},
		{"scope in another case", call(w.token(t, "mcp Vehicles.Read"), "search_vehicles", "{}"), "scopes.insufficient"},
		{"bad arguments", call(w.token(t, "mcp vehicles.read"), "search_vehicles", `{"limit":0}`), "schema.arguments"},
		{"failed condition", call(w.token(t, "mcp services.write"), "book_service", `{"vehicle_id":"V-9"}`), "conditions.failed"},
		{"condition met by a role", call(w.token(t, "mcp services.write", func(o *devissuer.TokenOptions) { o.Roles = []string{"sales"} }), "book_service", `{"vehicle_id":"V-9"}`), "allowed"},
		{"weak login", call(w.token(t, "mcp", claims(map[string]any{"acr": "silver", "auth_time": now.Unix()})), "login_again", "{}"), "step_up.required"},
		{"old login", call(w.token(t, "mcp", claims(map[string]any{"acr": "gold", "auth_time": now.Add(-time.Hour).Unix()})), "login_again", "{}"), "step_up.required"},
		{"login of the future", call(w.token(t, "mcp", claims(map[string]any{"acr": "gold", "auth_time": now.Add(time.Hour).Unix()})), "login_again", "{}"), "step_up.required"},
		{"strong and recent login", call(w.token(t, "mcp", claims(map[string]any{"acr": "gold", "auth_time": now.Unix()})), "login_again", "{}"), "allowed"},
		{"privileged without elevation", call(w.token(t, "mcp"), "refund_payment", "{}"), "elevation.required"},
		{"elevated", call(w.token(t, "mcp", hour(now.Add(-time.Minute))), "refund_payment", "{}"), "allowed"},
		{"elevation of the future", call(w.token(t, "mcp", hour(now.Add(2*time.Minute))), "refund_payment", "{}"), "elevation.required"},
		{"elevation has ended", call(w.token(t, "mcp", hour(now.Add(-2*time.Hour))), "refund_payment", "{}"), "elevation.required"},
		{"needs an approval, without keys", call(w.token(t, "mcp"), "two_people", "{}"), "approval.disabled"},
		{"REST", rest(w.token(t, "", func(o *devissuer.TokenOptions) { o.Audience = []string{restURL} }), "/api/vehicles/V-1"), "allowed"},
		{"REST arguments", rest(w.token(t, "", func(o *devissuer.TokenOptions) { o.Audience = []string{restURL} }), "/api/vehicles/1"), "schema.arguments"},
		{"REST unlisted route", rest(w.token(t, "", func(o *devissuer.TokenOptions) { o.Audience = []string{restURL} }), "/api/dealers"), "operation.route_unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := w.Decide(t.Context(), tt.req)
			if d.Reason.Code != tt.reason {
				t.Fatalf("reason %s, want %s (%s %s)", d.Reason.Code, tt.reason, d.Detail, d.Fault)
			}
			if d.Allow != (tt.reason == "allowed") {
				t.Errorf("allow is %v", d.Allow)
			}
			policy, _, _ := strings.Cut(tt.reason, ".")
			if !d.Allow && d.Evaluated[len(d.Evaluated)-1] != policy {
				t.Errorf("evaluated %v, want %s last", d.Evaluated, policy)
			}
		})
	}
}

func change(r *authz.Request, f func(*authz.Request)) *authz.Request { f(r); return r }

func body(text string) func(*authz.Request) {
	return func(r *authz.Request) { r.Body = text }
}

func rest(token, path string) *authz.Request {
	return &authz.Request{Route: "rest", Request: operation.Request{
		Method: "GET", Scheme: "https", Authority: "dealer.example", Path: path,
		Headers: operation.Headers{{Name: "authorization", Value: "Bearer " + token}},
	}}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.Decide(t.Context(), call(w.token(t, "mcp vehicles.read"), "search_vehicles", `{"model":"Swift"}`))
	record := w.journal.last(t)
	want := map[string]any{
		"event_id": d.ID, "event_type": "decision", "status": "allow", "reason": "allowed", "server": "dealer",
		"action": "tools/call", "tool_name": "search_vehicles", "risk": "read",
		"client_address": "192.0.2.7", "correlation_id": "r-1", "authority": "dealer.example",
	}
	for name, value := range want {
		if diff := cmp.Diff(value, record[name]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if got := len(record["policies_evaluated"].([]any)); got != len(d.Evaluated) {
		t.Errorf("%d policies recorded, want %d", got, len(d.Evaluated))
	}
	if text := string(w.journal.records[0]); strings.Contains(text, "Swift") || strings.Contains(text, "Bearer") {
		t.Errorf("the record holds arguments or a token: %s", text)
	}
}

// TestRecordKeepsNoTokens: what a caller sends in the place of a name isn't kept.
func TestRecordKeepsNoTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.token(t, "mcp vehicles.read")
	for _, req := range []*authz.Request{
		call(token, token, "{}"),
		call(token, "search_vehicles", `{"`+token+`":1}`),
		change(call(token, "x", "{}"), body(`{"jsonrpc":"2.0","id":1,"method":"`+token+`"}`)),
		change(call(token, "x", "{}"), func(r *authz.Request) { r.Headers[1].Value = token }),
	} {
		if d := w.Decide(t.Context(), req); d.Allow {
			t.Errorf("allowed: %s", req.Body)
		}
	}
	for _, record := range w.journal.records {
		if strings.Contains(string(record), token[:40]) {
			t.Errorf("the token is in the record %s", record)
		}
	}
}

func TestNoRecordNoAllow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.journal.err = errors.New("disk full")
	d := w.Decide(t.Context(), call(w.token(t, "mcp vehicles.read"), "search_vehicles", `{}`))
	if d.Allow || d.Reason.Code != "audit.unavailable" || d.Fault == "" {
		t.Errorf("allow %v, reason %s, fault %q", d.Allow, d.Reason.Code, d.Fault)
	}
}

// TestFullJournal: what has no room as an allow is recorded as the denial that it
// becomes.
func TestFullJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.journal.full = true
	d := w.Decide(t.Context(), call(w.token(t, "mcp vehicles.read"), "search_vehicles", `{}`))
	record := w.journal.last(t)
	if d.Allow || record["event_id"] != d.ID || record["status"] != "deny" || record["reason"] != "audit.unavailable" {
		t.Errorf("allow %v, recorded %v", d.Allow, record)
	}
}

func TestPanicIsARecordedDenial(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config
	cfg.Revocations = nil // Compile refuses that, so put it in behind its back
	w.use(t, w.config)
	snapshot, err := authz.Compile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	snapshot.Revocations = nil
	w.Use(snapshot)
	d := w.Decide(t.Context(), call(w.token(t, "mcp vehicles.read"), "search_vehicles", `{}`))
	if d.Allow || d.Reason.Code != "internal.error" || !strings.Contains(d.Fault, "panic") {
		t.Errorf("allow %v, reason %s, fault %q", d.Allow, d.Reason.Code, d.Fault)
	}
	if got := w.journal.last(t)["reason"]; got != "internal.error" {
		t.Errorf("recorded %v", got)
	}
}

func TestNothingLoaded(t *testing.T) {
	t.Parallel()
	limiter, err := authz.NewMemoryLimiter(1)
	if err != nil {
		t.Fatal(err)
	}
	d := authz.New(limiter, nil, nil, &memoryJournal{}, nil, time.Now).Decide(t.Context(), call("", "x", "{}"))
	if d.Allow || d.Reason.Code != "internal.starting" {
		t.Errorf("allow %v, reason %s", d.Allow, d.Reason.Code)
	}
}

func TestPrivilegedSwitchedOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config
	cfg.Elevation.Enabled = false
	w.use(t, cfg)
	elevated := func(o *devissuer.TokenOptions) { o.ElevatedAt = time.Now() }
	d := w.Decide(t.Context(), call(w.token(t, "mcp", elevated), "refund_payment", "{}"))
	if d.Allow || d.Reason.Code != "elevation.disabled" {
		t.Errorf("allow %v, reason %s", d.Allow, d.Reason.Code)
	}
}

// TestShadow: what a shadowed policy refuses is allowed and recorded, until the
// end date; what keeps strangers out is never shadowed.
func TestShadow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config
	cfg.Shadow = catalogue.Shadow{Policies: []string{"scopes", "schema"}, Until: time.Now().Add(time.Hour)}
	w.use(t, cfg)
	d := w.Decide(t.Context(), call(w.token(t, "mcp"), "search_vehicles", `{"limit":0}`))
	if !d.Allow || !slices.Equal(d.Shadow, []string{"scopes.insufficient", "schema.arguments"}) {
		t.Errorf("allow %v, shadow %v", d.Allow, d.Shadow)
	}
	if got := w.journal.last(t)["shadow"]; !cmp.Equal(got, []any{"scopes.insufficient", "schema.arguments"}) {
		t.Errorf("recorded %v", got)
	}
	d = w.Decide(t.Context(), call(w.token(t, "mcp"), "refund_payment", "{}"))
	if d.Allow || d.Reason.Code != "elevation.required" {
		t.Errorf("allow %v, reason %s", d.Allow, d.Reason.Code)
	}
	cfg.Shadow.Until = time.Now().Add(-time.Second)
	w.use(t, cfg)
	d = w.Decide(t.Context(), call(w.token(t, "mcp"), "search_vehicles", `{}`))
	if d.Allow {
		t.Error("a shadow mode outlived its end date")
	}
}

func TestRateLimitPerCallerAndTool(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config
	cfg.Tiers.Permissive = authz.Rate{PerMinute: 1, Burst: 3}
	w.use(t, cfg)
	alice := w.token(t, "mcp vehicles.read", func(o *devissuer.TokenOptions) { o.Subject = "alice" })
	for i := range 4 {
		// Another token of the same caller: the limit is the caller's.
		if i == 2 {
			alice = w.token(t, "mcp vehicles.read", func(o *devissuer.TokenOptions) { o.Subject = "alice" })
		}
		d := w.Decide(t.Context(), call(alice, "search_vehicles", "{}"))
		if d.Allow != (i < 3) {
			t.Fatalf("call %d: allow %v, reason %s", i, d.Allow, d.Reason.Code)
		}
		if !d.Allow && (d.Reason.Code != "rate_limit.exceeded" || d.RetryIn <= 0 || d.RetryIn > time.Minute) {
			t.Errorf("reason %s, retry in %v", d.Reason.Code, d.RetryIn)
		}
	}
	bob := w.token(t, "mcp vehicles.read", func(o *devissuer.TokenOptions) { o.Subject = "bob" })
	if d := w.Decide(t.Context(), call(bob, "search_vehicles", "{}")); !d.Allow {
		t.Errorf("another caller is refused: %s", d.Reason.Code)
	}
}

func TestCompileReportsEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config
	first := *cfg.Servers[0]
	second := *cfg.Servers[0]
	second.Name = "other"
	cfg.Servers = []*authz.Server{&first, &first, &second}
	_, err := authz.Compile(cfg)
	if err == nil || !strings.Contains(err.Error(), "is defined twice") || !strings.Contains(err.Error(), "already served") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkDecide(b *testing.B) {
	w := newWorld(b)
	cfg := w.config
	cfg.Tiers.Permissive = authz.Rate{PerMinute: 60_000_000, Burst: 1_000_000}
	w.use(b, cfg)
	engine := w.Engine
	req := call(w.token(b, "mcp vehicles.read"), "search_vehicles", `{"model":"Swift","limit":10}`)
	if d := engine.Decide(context.Background(), req); !d.Allow {
		b.Fatal(d.Reason.Code, d.Detail)
	}
	w.journal.err = nil
	b.ReportAllocs()
	for b.Loop() {
		w.journal.records = w.journal.records[:0]
		if d := engine.Decide(context.Background(), req); !d.Allow {
			b.Fatal(d.Reason.Code)
		}
	}
}
