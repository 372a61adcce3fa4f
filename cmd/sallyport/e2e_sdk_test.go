package main_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sallyport/sallyport/authz/refusal"
	"github.com/sallyport/sallyport/internal/testenv"
)

// revisions are those that Sallyport knows.
func revisions() []string { return []string{"2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"} }

const statelessSince = "2026-07-28"

// talkative is an MCP server that sends messages of its own accord.
func talkative() (*mcp.Server, http.Handler) {
	server := mcp.NewServer(&mcp.Implementation{Name: "office", Version: "1"}, nil)
	type name struct {
		Name string `json:"name"`
	}
	mcp.AddTool(server, &mcp.Tool{Name: "greet"}, func(ctx context.Context, r *mcp.CallToolRequest, in name) (*mcp.CallToolResult, any, error) {
		for step := range 3 {
			err := r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
				ProgressToken: r.Params.GetProgressToken(), Progress: float64(step + 1), Total: 3,
			})
			if err != nil {
				return nil, nil, err
			}
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "Hello, " + in.Name}}}, nil, nil
	})
	for _, tool := range []string{"refund_payment", "unlisted"} {
		mcp.AddTool(server, &mcp.Tool{Name: tool}, func(context.Context, *mcp.CallToolRequest, name) (*mcp.CallToolResult, any, error) {
			return nil, nil, errors.New("it was called")
		})
	}
	get := func(*http.Request) *mcp.Server { return server }
	options := mcp.StreamableHTTPOptions{DisableLocalhostProtection: true}
	sessions := mcp.NewStreamableHTTPHandler(get, &options)
	options.Stateless, options.PropagateRequestCancellation = true, true
	single := mcp.NewStreamableHTTPHandler(get, &options)
	return server, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Protocol-Version") >= statelessSince {
			single.ServeHTTP(w, r)
			return
		}
		sessions.ServeHTTP(w, r)
	})
}

// authorized adds a token to each request.
type authorized string

func (a authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(a))
	return http.DefaultTransport.RoundTrip(r)
}

// TestGoSDK goes through a whole session with the official Go client, in every
// revision.
func TestGoSDK(t *testing.T) {
	t.Parallel()
	server, handler := talkative()
	m := startMesh(t, meshOptions{office: handler, later: true})
	m.edit(t, "sallyport.yaml", "mcp: {}", "mcp: {methods: [initialize, ping, server/discover, subscriptions/listen, tools/list, tools/call, \"notifications/*\"]}")
	m.edit(t, "tools.yaml", "tools:\n", "tools:\n  - {name: greet, server: office, risk_level: read}\n")
	m.startSallyport(t)
	m.startEnvoy(t)
	for _, revision := range revisions() {
		t.Run(revision, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			progress, changed := make(chan float64, 10), make(chan struct{}, 10)
			client := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, &mcp.ClientOptions{
				ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { progress <- r.Params.Progress },
				ToolListChangedHandler:      func(context.Context, *mcp.ToolListChangedRequest) { changed <- struct{}{} },
			})
			session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
				Endpoint: m.url + "/office", HTTPClient: &http.Client{Transport: authorized(m.token(t, "sdk-"+revision, ""))}, MaxRetries: -1,
			}, &mcp.ClientSessionOptions{ProtocolVersion: revision})
			if err != nil {
				t.Fatal(err)
			}
			if got := session.InitializeResult().ProtocolVersion; got != revision {
				t.Errorf("revision %s, want %s", got, revision)
			}
			if stateless := revision >= statelessSince; stateless != (session.ID() == "") {
				t.Errorf("the session's id is %q", session.ID())
			}
			useTools(ctx, t, session, progress)

			// What the server says of its own accord comes by the open stream.
			server.AddTool(&mcp.Tool{Name: "new-in-" + revision, InputSchema: map[string]any{"type": "object"}}, nil)
			select {
			case <-changed:
			case <-ctx.Done():
				t.Error("the change of the list was not told")
			}
			id := session.ID()
			if err := session.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			eventually(t, 10*time.Second, "the server ends the session", func() bool {
				for s := range server.Sessions() {
					if id != "" && s.ID() == id {
						return false
					}
				}
				return true
			})
			m.wasDecided(t, "sdk-"+revision, revision)
		})
	}
}

func useTools(ctx context.Context, t *testing.T, session *mcp.ClientSession, progress <-chan float64) {
	t.Helper()
	list, err := session.ListTools(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(list.Tools, func(tool *mcp.Tool) bool { return tool.Name == "greet" }) {
		t.Errorf("tools %v", list.Tools)
	}
	greet := func() {
		t.Helper()
		params := &mcp.CallToolParams{Name: "greet", Arguments: map[string]any{"name": "Asha"}}
		params.SetProgressToken("p")
		result, err := session.CallTool(ctx, params)
		if err != nil || result.IsError || result.Content[0].(*mcp.TextContent).Text != "Hello, Asha" {
			t.Fatalf("greet: %+v, %v", result, err)
		}
		for want := range 3 {
			select {
			case got := <-progress:
				if got != float64(want+1) {
					t.Errorf("progress %v, want %d", got, want+1)
				}
			case <-ctx.Done():
				t.Fatal("the progress was not told")
			}
		}
	}
	greet()
	// A refusal is no end of the session.
	_, err = session.CallTool(ctx, &mcp.CallToolParams{Name: "unlisted", Arguments: map[string]any{"name": "x"}})
	if wire := (*jsonrpc.Error)(nil); !errors.As(err, &wire) || wire.Code != jsonrpc.CodeInvalidParams {
		t.Errorf("a tool that isn't listed: %v", err)
	}
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "refund_payment", Arguments: map[string]any{"name": "x"}})
	if err != nil || !result.IsError {
		t.Fatalf("a privileged tool: %+v, %v", result, err)
	}
	if facts, ok := result.Meta[refusal.FactsKey].(map[string]any); !ok || facts["reason"] != "elevation.required" || facts["elevation_url"] == "" {
		t.Errorf("a privileged tool: %v", result.Meta)
	}
	greet()
}

// wasDecided checks that every part of a session was decided.
func (m *mesh) wasDecided(t *testing.T, subject, revision string) {
	t.Helper()
	want := []string{"DELETE", "GET", "initialize", "notifications/initialized", "tools/call", "tools/list"}
	if revision >= statelessSince {
		want = []string{"server/discover", "subscriptions/listen", "tools/call", "tools/list"}
	}
	var methods, refused []string
	for _, d := range m.decisions(t) {
		if d.Principal.Subject != subject {
			continue
		}
		methods = append(methods, d.Method)
		if d.Effect != "allow" {
			refused = append(refused, d.Reason)
		}
	}
	slices.Sort(methods)
	ignored := cmpopts.IgnoreSliceElements(func(method string) bool { return method == "notifications/cancelled" })
	if diff := cmp.Diff(want, slices.Compact(methods), ignored); diff != "" {
		t.Errorf("decided methods (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"operation.unknown_tool", "elevation.required"}, refused); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
}

// TestTypeScriptSDKs has both generations of the official TypeScript client call
// tools, in every revision that they speak.
func TestTypeScriptSDKs(t *testing.T) {
	t.Parallel()
	_, handler := talkative()
	m := startMesh(t, meshOptions{office: handler})
	const newest = "2025-11-25" // of the first generation
	calls := map[string]testenv.TypeScriptCall{"sdk": {Package: testenv.TypeScriptSDK, Version: newest}}
	for _, revision := range revisions() {
		calls["client "+revision] = testenv.TypeScriptCall{Package: testenv.TypeScriptClient, Version: revision}
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := func(token, path, tool string, arguments map[string]any) testenv.TypeScriptResult {
				t.Helper()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				call := call
				call.URL, call.Token, call.Tool, call.Arguments = m.url+path, token, tool, arguments
				result, err := call.Run(ctx)
				if err != nil {
					t.Fatal(err)
				}
				return result
			}
			subject := "typescript-" + name
			token := m.token(t, subject, "vehicles.read")
			result := run(token, "/mcp", "search_vehicles", map[string]any{"fuel": "electric"})
			if result.Error != "" || result.IsError || result.Version != call.Version || !strings.Contains(string(result.Structured), "V-1003") {
				t.Errorf("search_vehicles: %+v", result)
			}
			if !slices.Contains(result.Tools, "search_vehicles") {
				t.Errorf("tools %v", result.Tools)
			}
			// The tool has an output schema, to which the first generation holds even
			// the structured content of an error.
			result = run(m.token(t, subject, "payments.refund"), "/mcp", "refund_payment", map[string]any{"payment_id": "P-1", "amount": 100})
			if result.Error != "" || !result.IsError || !strings.Contains(result.Text, m.url+"/api/auth/elevate") {
				t.Errorf("refund_payment: %+v", result)
			}
			if result = run(token, "/mcp", "drop_tables", nil); !strings.Contains(result.Error, "-32602") && !strings.Contains(result.Error, "Unknown tool") {
				t.Errorf("drop_tables: %+v", result)
			}
			if result = run("", "/mcp", "search_vehicles", nil); !strings.Contains(result.Error, "401") {
				t.Errorf("without a token: %+v", result)
			}
			decided := make(map[string]bool)
			for _, d := range m.decisions(t) {
				if d.Principal.Subject == subject {
					decided[d.Method+" "+d.Reason] = true
				}
			}
			for _, want := range []string{"tools/list allowed", "tools/call allowed", "tools/call elevation.required", "tools/call operation.unknown_tool"} {
				if !decided[want] {
					t.Errorf("no decision %s, only %v", want, decided)
				}
			}
		})
	}
}
