package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sallyport/sallyport/internal/devissuer"
)

// tour walks through what a caller may and may not do.
type tour struct {
	*mesh
	out io.Writer
}

func newTour(m *mesh, out io.Writer) *tour { return &tour{mesh: m, out: out} }

// step is one thing that a caller tries. do returns what was seen, in the form
// of want.
type step struct {
	name string
	want string
	do   func(context.Context) (string, error)
}

func (t *tour) steps() []step {
	caller := func(scopes string, change ...func(*devissuer.TokenOptions)) devissuer.TokenOptions {
		o := devissuer.TokenOptions{Subject: "alice", Audience: []string{t.url + "/mcp"}, Scopes: strings.Fields(scopes)}
		for _, f := range change {
			f(&o)
		}
		return o
	}
	refund := map[string]any{"payment_id": "P-1", "amount": 100}
	booking := map[string]any{"vehicle_id": "V-1001", "customer_id": "C-1", "date": "2027-03-01"}
	with := func(o devissuer.TokenOptions, tool string, args map[string]any) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) { return t.call(ctx, o, tool, args) }
	}
	none := map[string]any{}
	return []step{
		{"read with its scope", "200 allowed", with(caller("vehicles.read"), "search_vehicles", map[string]any{"fuel": "electric"})},
		{"write with its scope", "200 allowed", with(caller("services.write"), "book_service", booking)},
		{"write with the scope for reading", "403 scopes.insufficient", with(caller("vehicles.read"), "book_service", booking)},
		{"token for another audience", "401 authentication.audience", with(caller("vehicles.read", func(o *devissuer.TokenOptions) { o.Audience = []string{"https://elsewhere.example"} }), "search_vehicles", none)},
		{"expired token", "401 authentication.expired", with(caller("vehicles.read", func(o *devissuer.TokenOptions) { o.IssuedAt = time.Now().Add(-time.Hour) }), "search_vehicles", none)},
		{"no token at all", "401 authentication.missing", func(ctx context.Context) (string, error) { return t.callWith(ctx, "", "search_vehicles", none) }},
		{"calls while the issuer changes its key", "30 allowed", func(ctx context.Context) (string, error) { return t.rotate(ctx, caller("vehicles.read")) }},
		{"arguments that don't match the schema", "200 schema.arguments", with(caller("vehicles.read"), "search_vehicles", map[string]any{"fuel": "steam"})},
		{"a condition that isn't met", "200 conditions.failed", with(caller("services.write"), "book_service", map[string]any{"vehicle_id": "V-1001", "customer_id": "C-1", "date": "2020-01-01"})},
		{"a tool that isn't listed", "200 operation.unknown_tool", with(caller("vehicles.read"), "drop_tables", none)},
		{"more calls than the strict tier allows", "5 allowed, then 200 rate_limit.exceeded", func(ctx context.Context) (string, error) { return t.exhaust(ctx, caller("")) }},
		{"a REST call with the MCP server's token", "401 authentication.audience", func(ctx context.Context) (string, error) {
			return t.get(ctx, caller("vehicles.read"), "/vehicles/V-1001")
		}},
		{"the same with its own", "200 allowed", func(ctx context.Context) (string, error) {
			return t.get(ctx, caller("vehicles.read", func(o *devissuer.TokenOptions) { o.Audience = []string{t.url} }), "/vehicles/V-1001")
		}},
		{"privileged without an elevation", "200 elevation.required", with(caller("payments.refund"), "refund_payment", refund)},
		{"the same call, elevated", "200 allowed", with(caller("payments.refund", func(o *devissuer.TokenOptions) { o.ElevatedAt = time.Now() }), "refund_payment", refund)},
		{"an elevation that has ended", "200 elevation.required", with(caller("payments.refund", func(o *devissuer.TokenOptions) { o.ElevatedAt = time.Now().Add(-2 * time.Hour) }), "refund_payment", refund)},
		{"what reached the server", "1 booking, 1 refund", func(context.Context) (string, error) {
			effects := t.dealership.Effects()
			return fmt.Sprintf("%d booking, %d refund", effects["book_service"], effects["refund_payment"]), nil
		}},
	}
}

// run prints each step with what is expected and what was seen, and returns how
// many differ.
func (t *tour) run(ctx context.Context) (differ int, err error) {
	fmt.Fprintf(t.out, "%-42s %-40s %-40s\n", "step", "expected", "seen")
	for _, s := range t.steps() {
		seen, err := s.do(ctx)
		if err != nil {
			return differ, fmt.Errorf("%s: %w", s.name, err)
		}
		verdict := ""
		if seen != s.want {
			differ++
			verdict = "  differs"
		}
		fmt.Fprintf(t.out, "%-42s %-40s %-40s%s\n", s.name, s.want, seen, verdict)
	}
	return differ, nil
}

// call makes a tools/call with a fresh token and says how it ended.
func (t *tour) call(ctx context.Context, o devissuer.TokenOptions, tool string, args map[string]any) (string, error) {
	token, err := t.issuer.Mint(o)
	if err != nil {
		return "", err
	}
	return t.callWith(ctx, token, tool, args)
}

// callWith uses the SDK's client, as an agent would. What the client makes of a
// refusal is its own; the outcome is read from the wire.
func (t *tour) callWith(ctx context.Context, token, tool string, args map[string]any) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	wire := &outcome{token: token}
	client := mcp.NewClient(&mcp.Implementation{Name: "tour", Version: versionText()}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: t.url + "/mcp", HTTPClient: &http.Client{Transport: wire}, MaxRetries: -1, DisableStandaloneSSE: true,
	}, nil)
	if err == nil {
		var result *mcp.CallToolResult
		result, err = session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: args})
		_ = session.Close() // a server may refuse to end a session, and all is seen
		if wire.seen == "200 allowed" && (err != nil || result.IsError) {
			wire.seen = "allowed, and failed behind Envoy"
		}
	}
	if wire.seen == "" {
		return "", fmt.Errorf("no answer: %w", err)
	}
	return wire.seen, nil
}

// rotate makes calls and lets the issuer change its key in between, without
// publishing it before: the first token of the new key must not be refused.
func (t *tour) rotate(ctx context.Context, o devissuer.TokenOptions) (string, error) {
	const calls = 30
	for allowed := range calls {
		if allowed == calls/2 {
			if err := t.issuer.Rotate(); err != nil {
				return "", err
			}
		}
		seen, err := t.call(ctx, o, "search_vehicles", map[string]any{})
		if err != nil {
			return "", err
		}
		if seen != "200 allowed" {
			return fmt.Sprintf("%d allowed, then %s", allowed, seen), nil
		}
	}
	return fmt.Sprintf("%d allowed", calls), nil
}

// exhaust calls until the caller's rate limit is used up.
func (t *tour) exhaust(ctx context.Context, o devissuer.TokenOptions) (string, error) {
	for allowed := range 50 {
		seen, err := t.call(ctx, o, "dealer_lookup", map[string]any{"city": "Pune"})
		if err != nil {
			return "", err
		}
		if seen != "200 allowed" {
			return fmt.Sprintf("%d allowed, then %s", allowed, seen), nil
		}
	}
	return "50 allowed", nil
}

func (t *tour) get(ctx context.Context, o devissuer.TokenOptions, path string) (string, error) {
	token, err := t.issuer.Mint(o)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url+path, nil)
	if err != nil {
		return "", err
	}
	wire := &outcome{token: token}
	resp, err := wire.RoundTrip(req)
	if err != nil {
		return "", err
	}
	return wire.seen, resp.Body.Close()
}

// outcome is a transport that adds the token and keeps how the call ended: the
// HTTP status and the reason, which is "allowed" where none is given. A client
// makes other requests around its call; of them only a refusal counts.
type outcome struct {
	token string
	seen  string
}

// RoundTrip implements http.RoundTripper.
func (o *outcome) RoundTrip(req *http.Request) (*http.Response, error) {
	if o.token != "" {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+o.token)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	reason := "allowed"
	if resp.StatusCode >= 400 || strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			return nil, err
		}
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(body))
		if r := reasonIn(body); r != "" {
			reason = r
		}
	}
	if req.Method == http.MethodGet || reason != "allowed" || o.seen == "" {
		o.seen = fmt.Sprintf("%d %s", resp.StatusCode, reason)
	}
	return resp, nil
}

// reasonIn finds the reason in a refusal of any form; empty without one.
func reasonIn(body []byte) string {
	type facts struct {
		Reason string `json:"reason"`
	}
	var answer struct {
		facts
		Error  struct{ Data facts }
		Result struct{ StructuredContent facts }
	}
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	return answer.Reason + answer.Error.Data.Reason + answer.Result.StructuredContent.Reason
}
