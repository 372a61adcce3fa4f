package operation_test

import (
	"strings"
	"testing"

	"github.com/sallyport/sallyport/authz/operation"
)

func TestNewKind(t *testing.T) {
	t.Parallel()
	if k := mustNew(t, mcpConfig()).Kind(); k != operation.MCP {
		t.Errorf("Kind() = %d, want MCP", k)
	}
	if k := mustNew(t, restConfig()).Kind(); k != operation.REST {
		t.Errorf("Kind() = %d, want REST", k)
	}
}

// A configuration's problems are reported together, each with its place.
func TestNewProblems(t *testing.T) {
	t.Parallel()
	mcp := func(c operation.MCPConfig) operation.Config { return operation.Config{Name: "s", MCP: &c} }
	rest := func(prefix string, routes ...operation.Route) operation.Config {
		return operation.Config{Name: "s", REST: &operation.RESTConfig{Prefix: prefix, Routes: routes}}
	}
	get := func(template string) operation.Route {
		return operation.Route{Method: "GET", Template: template, Tool: "t"}
	}
	for _, tc := range []struct {
		name string
		cfg  operation.Config
		want []string // parts of the error's lines
	}{
		{"nothing", operation.Config{}, []string{"name: is required", "exactly one of mcp and rest"}},
		{"both", operation.Config{Name: "s", MCP: &operation.MCPConfig{}, REST: &operation.RESTConfig{}}, []string{"exactly one of mcp and rest"}},
		{"a small body", operation.Config{Name: "s", MaxBodyBytes: 1023, MCP: &operation.MCPConfig{Path: "/"}}, []string{"max body bytes: 1023"}},
		{"a large body", operation.Config{Name: "s", MaxBodyBytes: 64<<20 + 1, MCP: &operation.MCPConfig{Path: "/"}}, []string{"max body bytes"}},
		{"paths", mcp(operation.MCPConfig{Path: "mcp"}), []string{`path: "mcp"`}},
		{"no path", mcp(operation.MCPConfig{}), []string{`path: ""`}},
		{"a path with a query", mcp(operation.MCPConfig{Path: "/mcp?x"}), []string{"path:"}},
		{"a path with an escape", mcp(operation.MCPConfig{Path: "/m%63p"}), []string{"path:"}},
		{"a path with dots", mcp(operation.MCPConfig{Path: "/a/../mcp"}), []string{"path:"}},
		{"a path with an empty segment", mcp(operation.MCPConfig{Path: "/a//mcp"}), []string{"path:"}},
		{"lists", mcp(operation.MCPConfig{
			Path:      "/mcp",
			Methods:   []string{"", "*", "/*", "a*", "tools/call", "tools/call", "GET", "response", "a b", "a/*/b"},
			Resources: []string{"", "a*b", "https://example*", "https://example/*"},
			Prompts:   []string{"", "*x"},
			Origins:   []string{"*", "example.com", "https://Example.com", "https://example.com/", "null", "https://*.example.com"},
			Versions:  []string{"2024-11-05", "2025-06-18", "2025-06-18"},
		}), []string{
			`methods[0]: ""`, `methods[1]: "*"`, `methods[2]: "/*"`, `methods[3]: "a*"`, `methods[5]: "tools/call" is listed twice`,
			`methods[6]: "GET"`, `methods[7]: "response"`, `methods[8]: "a b"`, `methods[9]: "a/*/b"`,
			`resources[0]: ""`, `resources[1]: "a*b"`, `resources[2]: "https://example*" ends inside the authority`,
			`prompts[0]: ""`, `prompts[1]: "*x"`,
			`origins[0]: "*"`, `origins[1]: "example.com"`, `origins[2]: "https://Example.com"`, `origins[3]: "https://example.com/"`, `origins[5]: "https://*.example.com"`,
			`versions[0]: "2024-11-05" is not one of 2026-07-28, 2025-11-25, 2025-06-18, 2025-03-26`, `versions[2]: "2025-06-18" is listed twice`,
		}},
		{"no routes", rest("/api"), []string{"routes: at least one"}},
		{"a prefix", rest("api", get("/")), []string{`prefix: "api"`}},
		{
			"routes",
			rest("", operation.Route{}, operation.Route{Method: "get", Template: "/a", Tool: "t"}, get("a"), get("//"), get("/a/"), get("/../a"),
				get("/{}"), get("/{a b}"), get("/{1}"), get("/{a}/{A}"), get("/x{a}"), get("/{a}x"), get("/%61"), get("/a;b"), get(strings.Repeat("/a", 33))),
			[]string{
				"routes[0]: method", "routes[0]: tool", "routes[0]:  : the template must start", `routes[1]: method "get"`, "routes[2]: GET a: the template must start",
				"routes[3]", "routes[4]", "routes[5]", "routes[6]", "routes[7]", "routes[8]", "routes[9]: GET /{a}/{A}: parameter {A} stands there twice",
				"routes[10]", "routes[11]", "routes[12]", "routes[13]", "routes[14]: GET " + strings.Repeat("/a", 33) + ": the template has too many segments",
			},
		},
		{
			"ambiguous routes",
			rest("/", get("/a/{x}"), get("/{y}/b"), get("/a/{z}"), get("/A/b"), get("/c"), get("/c")),
			[]string{
				"routes[1]: GET /{y}/b is ambiguous with /a/{x}", "routes[2]: GET /a/{z} is ambiguous with /a/{x}", "routes[2]: GET /a/{z} is ambiguous with /{y}/b",
				"routes[3]: GET /A/b is ambiguous with /a/{x}", "routes[3]: GET /A/b is ambiguous with /a/{z}", "routes[5]: GET /c is ambiguous with /c",
			},
		},
		{
			"the same template for two methods, and more and less specific ones",
			rest("/", get("/a/{x}"), operation.Route{Method: "PUT", Template: "/a/{y}", Tool: "t"}, get("/a/b"), get("/{x}/{y}"), get("/A/x/1"), get("/a/x/2")),
			nil,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := operation.New(tc.cfg)
			var lines []string
			if err != nil {
				lines = strings.Split(err.Error(), "\n")
			}
			if len(lines) != len(tc.want) {
				t.Fatalf("%d problems, want %d: %v", len(lines), len(tc.want), err)
			}
			for i, want := range tc.want {
				if !strings.Contains(lines[i], want) {
					t.Errorf("problem %d is %q, want it to contain %q", i, lines[i], want)
				}
			}
		})
	}
}

// Which bodies are too large is configured.
func TestMaxBodyBytes(t *testing.T) {
	t.Parallel()
	cfg := mcpConfig()
	cfg.MaxBodyBytes = 1 << 10
	server := mustNew(t, cfg)
	fits := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	fits += strings.Repeat(" ", 1<<10-len(fits))
	if r := refusalOf(t, server, post(fits)); r != nil {
		t.Errorf("1024 bytes: %v", r)
	}
	if r := refusalOf(t, server, post(fits+" ")); r == nil || r.Cause != operation.CauseBodyTooLarge {
		t.Errorf("1025 bytes: %v, want body_too_large", r)
	}
}

// An empty allow-list allows nothing; "*" allows everything, dots included.
func TestAllowLists(t *testing.T) {
	t.Parallel()
	read := post(params("resources/read", `"uri":"file:///a/../b"`))
	cfg := mcpConfig()
	cfg.MCP.Resources = nil
	if r := refusalOf(t, mustNew(t, cfg), read); r == nil || r.Cause != operation.CauseResourceNotListed {
		t.Errorf("no resource is listed: %v", r)
	}
	cfg.MCP.Resources = []string{"*"}
	if r := refusalOf(t, mustNew(t, cfg), read); r != nil {
		t.Errorf("all resources are listed: %v", r)
	}
	cfg.MCP.Resources = []string{"file://*"}
	if r := refusalOf(t, mustNew(t, cfg), post(params("resources/read", `"uri":"file:///a/b"`))); r != nil {
		t.Errorf("all files are listed: %v", r)
	}
	cfg.MCP.Methods = nil
	if r := refusalOf(t, mustNew(t, cfg), read); r == nil || r.Cause != operation.CauseUnknownMethod {
		t.Errorf("no method is listed: %v", r)
	}
}
