package operation_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sallyport/sallyport/authz/operation"
)

// meta is what a request of revision 2026-07-28 carries at least.
const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

func TestParseMCP(t *testing.T) {
	t.Parallel()
	server := mustNew(t, mcpConfig())
	for _, tc := range []struct {
		name string
		req  *operation.Request
		want operation.Operation
	}{
		{
			"2025-03-26, which has no header",
			post(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"q":"van","max":1.50}}}`),
			operation.Operation{
				Method: "tools/call", Tool: "search", RPCID: "1", ProtocolVersion: "2025-03-26",
				Arguments: map[string]any{"q": "van", "max": json.Number("1.50")},
			},
		},
		{
			"2025-06-18 with a session",
			post(`{"jsonrpc":"2.0","id":"a-1","method":"tools/list"}`, "mcp-protocol-version", "2025-06-18", "mcp-session-id", "s!~1"),
			operation.Operation{Method: "tools/list", RPCID: `"a-1"`, ProtocolVersion: "2025-06-18", SessionID: "s!~1"},
		},
		{
			"2025-11-25 with a task and an idempotency key",
			post(`{"jsonrpc":"2.0","id":-7,"method":"tools/call","params":{"name":"book","task":{"ttl":60},"_meta":{"progressToken":1,"idempotencyKey":"k-1"}}}`,
				"mcp-protocol-version", "2025-11-25"),
			operation.Operation{
				Method: "tools/call", Tool: "book", RPCID: "-7", ProtocolVersion: "2025-11-25",
				IdempotencyKey: "k-1", Arguments: map[string]any{}, Beyond: "task",
			},
		},
		{
			"2026-07-28, where a session means nothing",
			post(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{`+meta+`,"name":"book","arguments":{"deep":[{"a":[]},null,true,false]}}}`,
				"mcp-protocol-version", "2026-07-28", "mcp-method", "tools/call", "mcp-name", "book", "mcp-session-id", "old"),
			operation.Operation{
				Method: "tools/call", Tool: "book", RPCID: "2", ProtocolVersion: "2026-07-28",
				Arguments: map[string]any{"deep": []any{map[string]any{"a": []any{}}, nil, true, false}},
			},
		},
		{
			"2026-07-28, second leg of a round trip, headers with spaces and in Base64",
			post(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{`+meta+`,"name":"büro","inputResponses":{"k":{}},"requestState":"x"}}`,
				"mcp-protocol-version", " 2026-07-28\t", "mcp-method", "  tools/call ", "mcp-name", " =?base64?YsO8cm8=?= ",
				"mcp-param-region", "eu", "mcp-param-greeting", "=?base64?SGVsbG8=?=", "mcp-param-literal", "=?base64?SGVsbG8"),
			operation.Operation{
				Method: "tools/call", Tool: "büro", RPCID: "3", ProtocolVersion: "2026-07-28", Arguments: map[string]any{},
				Beyond: "requestState",
			},
		},
		{
			"2026-07-28, a trace, the key and what a vendor added to _meta",
			post(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"_meta":{"com.example/dry-run":true,`+meta[len(`"_meta":{`):len(meta)-1]+`,"traceparent":"00-1","idempotencyKey":"k-2"},"name":"book"}}`,
				"mcp-protocol-version", "2026-07-28", "mcp-method", "tools/call", "mcp-name", "book"),
			operation.Operation{
				Method: "tools/call", Tool: "book", RPCID: "3", ProtocolVersion: "2026-07-28", IdempotencyKey: "k-2",
				Arguments: map[string]any{}, Beyond: "com.example/dry-run",
			},
		},
		{
			"2026-07-28 discovers",
			post(`{"jsonrpc":"2.0","id":4,"method":"server/discover","params":{`+meta+`}}`, "mcp-protocol-version", "2026-07-28", "mcp-method", "server/discover"),
			operation.Operation{Method: "server/discover", RPCID: "4", ProtocolVersion: "2026-07-28"},
		},
		{
			"2026-07-28, a notification needs neither headers nor _meta",
			post(`{"jsonrpc":"2.0","method":"notifications/vendor"}`, "mcp-protocol-version", "2026-07-28"),
			operation.Operation{Method: "notifications/vendor", ProtocolVersion: "2026-07-28"},
		},
		{
			"2026-07-28 listens to listed resources",
			post(`{"jsonrpc":"2.0","id":5,"method":"subscriptions/listen","params":{`+meta+`,"notifications":{"toolsListChanged":true,"resourceSubscriptions":["dealership://hours"]}}}`,
				"mcp-protocol-version", "2026-07-28", "mcp-method", "subscriptions/listen"),
			operation.Operation{Method: "subscriptions/listen", RPCID: "5", ProtocolVersion: "2026-07-28"},
		},
		{
			"tasks extension mirrors the task's id",
			post(`{"jsonrpc":"2.0","id":6,"method":"tasks/get","params":{`+meta+`,"taskId":"t-1"}}`,
				"mcp-protocol-version", "2026-07-28", "mcp-method", "tasks/get", "mcp-name", "t-1"),
			operation.Operation{Method: "tasks/get", RPCID: "6", ProtocolVersion: "2026-07-28"},
		},
		{
			"initialize offers a revision",
			post(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`),
			operation.Operation{Method: "initialize", RPCID: "0", ProtocolVersion: "2025-06-18"},
		},
		{
			"initialize offers a revision that is not known here",
			post(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05"}}`),
			operation.Operation{Method: "initialize", RPCID: "0", ProtocolVersion: "2025-11-25"},
		},
		{
			"initialize can't agree on a revision without a handshake",
			post(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2026-07-28"}}`),
			operation.Operation{Method: "initialize", RPCID: "0", ProtocolVersion: "2025-11-25"},
		},
		{
			"notification",
			post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`, "mcp-protocol-version", "2025-11-25"),
			operation.Operation{Method: "notifications/initialized", ProtocolVersion: "2025-11-25"},
		},
		{
			"answer of the client",
			post(`{"jsonrpc":"2.0","id":9,"result":{"roots":[]}}`, "mcp-protocol-version", "2025-06-18", "mcp-session-id", "s"),
			operation.Operation{Method: "response", ProtocolVersion: "2025-06-18", SessionID: "s"},
		},
		{
			"error of the client",
			post(`{"jsonrpc":"2.0","id":"9","error":{"code":-32601,"message":"no"}}`),
			operation.Operation{Method: "response", ProtocolVersion: "2025-03-26"},
		},
		{
			"listed resource by prefix",
			post(`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"dealership://vehicles/V%201002"}}`),
			operation.Operation{Method: "resources/read", Target: "dealership://vehicles/V%201002", RPCID: "1", ProtocolVersion: "2025-03-26"},
		},
		{
			"listed prompt by prefix",
			post(`{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"greet_owner","arguments":{"x":"y"}}}`),
			operation.Operation{Method: "prompts/get", Target: "greet_owner", RPCID: "1", ProtocolVersion: "2025-03-26"},
		},
		{
			"completion of a prompt",
			post(`{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"recommend_vehicle"},"argument":{"name":"a","value":"b"}}}`),
			operation.Operation{Method: "completion/complete", Target: "recommend_vehicle", RPCID: "1", ProtocolVersion: "2025-03-26"},
		},
		{
			"completion of a resource template",
			post(`{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/resource","uri":"dealership://vehicles/{id}"}}}`),
			operation.Operation{Method: "completion/complete", Target: "dealership://vehicles/{id}", RPCID: "1", ProtocolVersion: "2025-03-26"},
		},
		{
			"method by pattern",
			post(`{"jsonrpc":"2.0","id":1,"method":"vendor/do","params":{"any":1}}`, "mcp-name", "whatever"),
			operation.Operation{Method: "vendor/do", RPCID: "1", ProtocolVersion: "2025-03-26"},
		},
		{
			"escapes in names and values",
			post(`{"jsonrpc":"2.0","\u0069d":1,"method":"tools\/call","params":{"n\u0061me":"s\u0065arch","arguments":{"\ud83d\ude97":"\n"}}}`),
			operation.Operation{
				Method: "tools/call", Tool: "search", RPCID: "1", ProtocolVersion: "2025-03-26",
				Arguments: map[string]any{"🚗": "\n"},
			},
		},
		{
			"stream",
			request("GET", "/mcp", "", "mcp-protocol-version", "2025-11-25", "mcp-session-id", "s", "last-event-id", "4"),
			operation.Operation{Method: "GET", ProtocolVersion: "2025-11-25", SessionID: "s"},
		},
		{
			"stream of 2025-03-26",
			request("GET", "/mcp", ""),
			operation.Operation{Method: "GET", ProtocolVersion: "2025-03-26"},
		},
		{
			"end of a session",
			request("DELETE", "/mcp", "", "mcp-protocol-version", "2025-06-18", "mcp-session-id", "s"),
			operation.Operation{Method: "DELETE", ProtocolVersion: "2025-06-18", SessionID: "s"},
		},
		{
			"listed origin, odd but equal headers, space around the message",
			request("POST", "/mcp", " \r\n\t{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n", "origin", "https://app.example",
				"content-type", `Application/JSON ; Charset="UTF-8"`, "content-encoding", "identity"),
			operation.Operation{Method: "ping", RPCID: "1", ProtocolVersion: "2025-03-26"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := server.Parse(tc.req)
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Kind = operation.MCP
			if diff := cmp.Diff(&tc.want, got, cmpopts.IgnoreFields(operation.Operation{}, "Fingerprint")); diff != "" {
				t.Errorf("operation (-want +got):\n%s", diff)
			}
			if got.Fingerprint == ([32]byte{}) {
				t.Error("the operation has no fingerprint")
			}
			if got.Stateless() != (tc.want.ProtocolVersion == "2026-07-28") {
				t.Errorf("Stateless() = %v for %s", got.Stateless(), got.ProtocolVersion)
			}
		})
	}
}

// Every operation of every revision that a client may send is accepted, and a
// request is refused if its revision is not configured.
func TestParseConfiguredVersions(t *testing.T) {
	t.Parallel()
	all := []string{"2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"}
	for _, configured := range all {
		cfg := mcpConfig()
		cfg.MCP.Versions = []string{configured}
		server := mustNew(t, cfg)
		for _, asked := range all {
			extra := []string{"mcp-protocol-version", asked}
			body := `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
			if asked == "2026-07-28" {
				extra = append(extra, "mcp-method", "tools/list")
				body = `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{` + meta + `}}`
			}
			refusal := refusalOf(t, server, post(body, extra...))
			if asked == configured {
				if refusal != nil {
					t.Errorf("%s is configured: %v", asked, refusal)
				}
				continue
			}
			want := &operation.Refusal{
				Cause: operation.CauseUnsupportedVersion, Kind: operation.MCP, RPCID: "1", Method: "tools/list",
				Supported: []string{configured}, Requested: asked,
			}
			if diff := cmp.Diff(want, refusal, cmpopts.IgnoreFields(operation.Refusal{}, "Detail")); diff != "" {
				t.Errorf("%s is configured, %s asked (-want +got):\n%s", configured, asked, diff)
			}
		}
	}
}

// The header may be left out only where 2025-03-26 is spoken.
func TestParseWithoutVersion(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ versions, cause string }{
		{"2025-03-26", ""},
		{"2025-06-18", operation.CauseUnsupportedVersion},
		{"2026-07-28", operation.CauseHeaderMismatch},
	} {
		cfg := mcpConfig()
		cfg.MCP.Versions = strings.Fields(tc.versions)
		server := mustNew(t, cfg)
		got := ""
		if r := refusalOf(t, server, post(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)); r != nil {
			got = r.Cause
		}
		if got != tc.cause {
			t.Errorf("versions %s: cause %q, want %q", tc.versions, got, tc.cause)
		}
	}
}

// A server without the handshake says which revisions it has.
func TestParseInitializeUnsupported(t *testing.T) {
	t.Parallel()
	cfg := mcpConfig()
	cfg.MCP.Versions = []string{"2026-07-28"}
	refusal := refusalOf(t, mustNew(t, cfg), post(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`))
	want := &operation.Refusal{
		Cause: operation.CauseUnsupportedVersion, Kind: operation.MCP, RPCID: "1", Method: "initialize",
		Supported: []string{"2026-07-28"}, Requested: "2025-11-25",
	}
	if diff := cmp.Diff(want, refusal, cmpopts.IgnoreFields(operation.Refusal{}, "Detail")); diff != "" {
		t.Errorf("refusal (-want +got):\n%s", diff)
	}
}

func TestParseMethodNotAllowed(t *testing.T) {
	t.Parallel()
	stateful := mustNew(t, mcpConfig())
	cfg := mcpConfig()
	cfg.MCP.Versions = []string{"2026-07-28"}
	modern := mustNew(t, cfg)
	for _, tc := range []struct {
		server *operation.Server
		req    *operation.Request
		allow  string
	}{
		{stateful, request("PUT", "/mcp", ""), "GET, POST, DELETE"},
		{stateful, request("OPTIONS", "/mcp", ""), "GET, POST, DELETE"},
		{stateful, request("get", "/mcp", ""), "GET, POST, DELETE"},
		{modern, request("GET", "/mcp", ""), "POST"},
		{modern, request("DELETE", "/mcp", "", "mcp-session-id", "s"), "POST"},
	} {
		r := refusalOf(t, tc.server, tc.req)
		if r == nil || r.Cause != operation.CauseMethodNotAllowed || r.Allow != tc.allow {
			t.Errorf("%s: refusal %+v, want method_not_allowed with Allow %q", tc.req.Method, r, tc.allow)
		}
	}
}
