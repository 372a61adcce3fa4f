package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/sync/errgroup"

	"github.com/sallyport/sallyport/authz/refusal"
	"github.com/sallyport/sallyport/internal/devissuer"
)

// tour walks through what a caller may and may not do.
type tour struct {
	*mesh
	out io.Writer

	asked                []string // ids of the elevations and approvals that were asked for
	explanation, finding string   // of the refused refund, and of the changed byte
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
	return slices.Concat(t.readers(), t.writers(), t.privileged(), t.elevation(), t.trail(), []step{
		{"what took effect", "4 bookings, 1 cancelled, 2 refunds, 1 deleted", func(context.Context) (string, error) {
			effects := t.dealership.Effects()
			return fmt.Sprintf("%d bookings, %d cancelled, %d refunds, %d deleted",
				effects["book_service"], effects["cancel_service"], effects["refund_payment"], effects["delete_customer"]), nil
		}},
	})
}

// caller is a token of alice's for the MCP server.
func (t *tour) caller(scopes string, change ...func(*devissuer.TokenOptions)) devissuer.TokenOptions {
	o := devissuer.TokenOptions{Subject: "alice", Audience: []string{t.url + "/mcp"}, Scopes: strings.Fields(scopes)}
	for _, f := range change {
		f(&o)
	}
	return o
}

// forAPI makes it one for the REST API.
func (t *tour) forAPI(o *devissuer.TokenOptions) { o.Audience = []string{t.url} }

func elevated(ago time.Duration) func(*devissuer.TokenOptions) {
	return func(o *devissuer.TokenOptions) { o.ElevatedAt = time.Now().Add(-ago) }
}

// tool is the call of a tool with a fresh token.
func (t *tour) tool(o devissuer.TokenOptions, name string, args map[string]any) func(context.Context) (string, error) {
	return t.keyed("", o, name, args)
}

// keyed is the call of a tool with an idempotency key.
func (t *tour) keyed(key string, o devissuer.TokenOptions, name string, args map[string]any) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { return t.call(ctx, o, key, name, args) }
}

// readers: who is asking, for what, how often.
func (t *tour) readers() []step {
	none := map[string]any{}
	reader := t.caller("vehicles.read")
	return []step{
		{"read with its scope", "200 allowed", t.tool(reader, "search_vehicles", map[string]any{"fuel": "electric"})},
		{"token for another audience", "401 authentication.audience", t.tool(t.caller("vehicles.read", func(o *devissuer.TokenOptions) { o.Audience = []string{"https://elsewhere.example"} }), "search_vehicles", none)},
		{"expired token", "401 authentication.expired", t.tool(t.caller("vehicles.read", func(o *devissuer.TokenOptions) { o.IssuedAt = time.Now().Add(-time.Hour) }), "search_vehicles", none)},
		{"no token at all", "401 authentication.missing", func(ctx context.Context) (string, error) { return t.callWith(ctx, "", "", "search_vehicles", none) }},
		{"calls while the issuer changes its key", "30 allowed", func(ctx context.Context) (string, error) { return t.rotate(ctx, reader) }},
		{"arguments that don't match the schema", "200 schema.arguments", t.tool(reader, "search_vehicles", map[string]any{"fuel": "steam"})},
		{"a tool that isn't listed", "200 operation.unknown_tool", t.tool(reader, "drop_tables", none)},
		{"more calls than the strict tier allows", "5 allowed, then 200 rate_limit.exceeded", func(ctx context.Context) (string, error) { return t.exhaust(ctx, t.caller("")) }},
		{"a REST call with the MCP server's token", "401 authentication.audience", t.rest(http.MethodGet, "/vehicles/V-1001", reader, "", nil)},
		{"the same with its own", "200 allowed", t.rest(http.MethodGet, "/vehicles/V-1001", t.caller("vehicles.read", t.forAPI), "", nil)},
	}
}

// writers: what takes effect, and how often.
func (t *tour) writers() []step {
	writer := t.caller("services.write")
	booking := func(date string) map[string]any {
		return map[string]any{"vehicle_id": "V-1001", "customer_id": "C-1", "date": date}
	}
	post := func(key, date string) func(context.Context) (string, error) {
		return t.rest(http.MethodPost, "/services", t.caller("services.write", t.forAPI), key, booking(date))
	}
	return []step{
		{"write with the scope for reading", "403 scopes.insufficient", t.keyed("tour-0", t.caller("vehicles.read"), "book_service", booking("2027-03-01"))},
		{"a condition that isn't met", "200 conditions.failed", t.keyed("tour-0", writer, "book_service", booking("2020-01-01"))},
		{"write without an idempotency key", "200 idempotency.key_missing", t.tool(writer, "book_service", booking("2027-03-01"))},
		{"write with a key", "200 allowed", t.keyed("tour-1", writer, "book_service", booking("2027-03-01"))},
		{"the same again: nothing happens twice", "200 replayed", t.keyed("tour-1", writer, "book_service", booking("2027-03-01"))},
		{"the key with other arguments", "200 idempotency.mismatch", t.keyed("tour-1", writer, "book_service", booking("2027-03-02"))},
		{"the same key of another caller", "200 allowed", t.keyed("tour-1", t.caller("services.write", func(o *devissuer.TokenOptions) { o.Subject = "bob" }), "book_service", booking("2027-03-01"))},
		{"REST: write with a key", "201 allowed", post("tour-2", "2027-03-03")},
		{"REST: the same again", "201 replayed", post("tour-2", "2027-03-03")},
		{"REST: the key with other arguments", "422 idempotency.mismatch", post("tour-2", "2027-03-04")},
		{"REST: two at once with one key", "201 allowed, 409 idempotency.in_flight", func(ctx context.Context) (string, error) { return t.atOnce(ctx, post("tour-3", "2027-03-05")) }},
		{"a tool whose key is derived from the call", "200 allowed, then 200 replayed", t.twice(t.tool(writer, "cancel_service", map[string]any{"booking_id": "B-1"}))},
	}
}

// privileged: who is elevated, and until when.
func (t *tour) privileged() []step {
	refund := map[string]any{"payment_id": "P-1", "amount": 100}
	call := func(key string, change ...func(*devissuer.TokenOptions)) func(context.Context) (string, error) {
		return t.keyed(key, t.caller("payments.refund", change...), "refund_payment", refund)
	}
	return []step{
		{"privileged without an elevation", "200 elevation.required", call("tour-4")},
		{"the same call, elevated", "200 allowed", call("tour-4", elevated(0))},
		{"an elevation that has ended: no replay either", "200 elevation.required", call("tour-4", elevated(2*time.Hour))},
	}
}

// run prints each step with what is expected and what was seen, and returns how
// many differ.
func (t *tour) run(ctx context.Context) (differ int, err error) {
	fmt.Fprintf(t.out, "%-46s %-40s %-40s\n", "step", "expected", "seen")
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
		fmt.Fprintf(t.out, "%-46s %-40s %-40s%s\n", s.name, s.want, seen, verdict)
	}
	t.epilogue()
	return differ, nil
}

// call makes a tools/call with a fresh token and says how it ended.
func (t *tour) call(ctx context.Context, o devissuer.TokenOptions, key, tool string, args map[string]any) (string, error) {
	token, err := t.issuer.Mint(o)
	if err != nil {
		return "", err
	}
	return t.callWith(ctx, token, key, tool, args)
}

// callWith uses the SDK's client, as an agent would. What the client makes of a
// refusal is its own; the outcome is read from the wire.
func (t *tour) callWith(ctx context.Context, token, key, tool string, args map[string]any) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	wire := &outcome{token: token, key: key}
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
		seen, err := t.call(ctx, o, "", "search_vehicles", map[string]any{})
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
		seen, err := t.call(ctx, o, "", "dealer_lookup", map[string]any{"city": "Pune"})
		if err != nil {
			return "", err
		}
		if seen != "200 allowed" {
			return fmt.Sprintf("%d allowed, then %s", allowed, seen), nil
		}
	}
	return "50 allowed", nil
}

// rest is a REST call with a fresh token.
func (t *tour) rest(method, path string, o devissuer.TokenOptions, key string, args map[string]any) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		token, err := t.issuer.Mint(o)
		if err != nil {
			return "", err
		}
		var body io.Reader
		if args != nil {
			text, err := json.Marshal(args)
			if err != nil {
				return "", err
			}
			body = bytes.NewReader(text)
		}
		req, err := http.NewRequestWithContext(ctx, method, t.url+path, body)
		if err != nil {
			return "", err
		}
		req.Header.Set("Content-Type", "application/json")
		if args == nil {
			req.Header.Del("Content-Type")
		}
		wire := &outcome{token: token, key: key}
		resp, err := wire.RoundTrip(req)
		if err != nil {
			return "", err
		}
		return wire.seen, resp.Body.Close()
	}
}

// atOnce makes the call twice at a time, with a server that takes its time.
func (t *tour) atOnce(ctx context.Context, call func(context.Context) (string, error)) (string, error) {
	t.dealership.SetDelay(500 * time.Millisecond)
	defer t.dealership.SetDelay(0)
	seen := make([]string, 2)
	var group errgroup.Group
	for i := range seen {
		group.Go(func() (err error) {
			seen[i], err = call(ctx)
			return err
		})
	}
	err := group.Wait()
	slices.Sort(seen)
	return strings.Join(seen, ", "), err
}

// twice makes the call, and again.
func (t *tour) twice(call func(context.Context) (string, error)) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		first, err := call(ctx)
		if err != nil {
			return "", err
		}
		second, err := call(ctx)
		return first + ", then " + second, err
	}
}

// outcome is a transport that adds the token and keeps how the call ended: the
// HTTP status and the reason, which is "allowed" where none is given. A client
// makes other requests around its call; of them only a refusal counts.
type outcome struct {
	token string // empty: none is sent
	key   string // Idempotency-Key; empty: none is sent
	seen  string
}

// RoundTrip implements http.RoundTripper.
func (o *outcome) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	if o.token != "" {
		req.Header.Set("Authorization", "Bearer "+o.token)
	}
	if o.key != "" {
		req.Header.Set("Idempotency-Key", o.key)
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
	if resp.Header.Get("Idempotent-Replayed") == "true" {
		reason = "replayed"
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
		Result struct {
			Meta map[string]facts `json:"_meta"`
		}
	}
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	return answer.Reason + answer.Error.Data.Reason + answer.Result.Meta[refusal.FactsKey].Reason
}
