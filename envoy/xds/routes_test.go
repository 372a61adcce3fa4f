package xds_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/envoy/extauthz"
	"github.com/sallyport/sallyport/envoy/xds"
)

// TestOnePath: whatever Envoy lets through, Check decides about the path that
// the upstream gets.
func TestOnePath(t *testing.T) {
	t.Parallel()
	m := start(t, settings{config: func(c *xds.Config) { restServer(c, "/") }})
	tests := []struct {
		target string // as sent
		status int
		path   string // as Check and the upstream see it; empty: neither is asked
	}{
		{"/mcp", 200, "/mcp"},
		{"/mcp?a=%2f&b=//..", 200, "/mcp?a=%2f&b=//.."},
		{"//mcp", 200, "/mcp"},
		{"/x///y//", 200, "/x/y/"},
		{"/x/../mcp", 200, "/mcp"},
		{"/x/./y", 200, "/x/y"},
		{"/x/%2e%2e/mcp", 200, "/mcp"},
		{"/x/.%2E/mcp", 200, "/mcp"},
		{"/../../mcp", 200, "/mcp"},
		{`/x\..\mcp`, 200, "/mcp"},
		{"/x%2fy", 400, ""},
		{"/x%2Fy", 400, ""},
		{"/x%5cy", 400, ""},
		{"/x/..%2fmcp", 400, ""},
		{"/mcp#x", 400, ""},
		{"/x y", 400, ""},
		{"/x/..;/mcp", 200, "/mcp"},
		{"/x;y/..;z/mcp", 200, "/mcp"},
		{"/mcp;x=1", 200, "/mcp;x=1"},
		{"/m%63p", 200, "/mcp"},
		{"/m%C3%A9", 200, "/m%C3%A9"},
		{"/%252e%252e/mcp", 200, "/%252e%252e/mcp"},
		{"/api/auth/../../mcp", 200, "/mcp"},
		{"/.well-known/oauth-protected-resource/../../mcp", 200, "/mcp"},
		{"/api/auth/..%2f..%2fmcp", 400, ""},
		{"http://a/x/../mcp", 200, "/mcp"},
	}
	for _, test := range tests {
		t.Run(test.target, func(t *testing.T) {
			got := m.raw(t, "POST "+test.target+" HTTP/1.1\r\n"+known+"Content-Length: 0\r\n\r\n")
			if got.status != test.status {
				t.Errorf("status %d, want %d", got.status, test.status)
			}
			var checked, arrived []string
			for _, a := range m.check.asked() {
				checked = append(checked, a.GetRequest().GetHttp().GetPath())
			}
			for _, r := range m.upstream.requests() {
				arrived = append(arrived, r.uri)
			}
			var want []string
			if test.path != "" {
				want = []string{test.path}
			}
			if diff := cmp.Diff(want, checked); diff != "" {
				t.Errorf("path at Check (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, arrived); diff != "" {
				t.Errorf("path at the upstream (-want +got):\n%s", diff)
			}
			if n := len(m.api.requests()); n != 0 {
				t.Errorf("%d requests reached Sallyport's API", n)
			}
		})
	}
}

// TestOneAuthority: two Host lines are one authority, the same for everyone.
func TestOneAuthority(t *testing.T) {
	t.Parallel()
	m := start(t, settings{config: func(c *xds.Config) { c.Servers[0].Hosts = []string{"a", "*"} }})
	m.raw(t, "POST /mcp HTTP/1.1\r\n"+known+"Host: b\r\nContent-Length: 0\r\n\r\n")
	checked, arrived := m.check.asked()[0].GetRequest().GetHttp().GetHost(), m.upstream.requests()[0].host
	if checked != arrived || checked == "a" || checked == "b" {
		t.Errorf("Check saw authority %q, the upstream %q", checked, arrived)
	}
}

func TestRoutesNameTheirServer(t *testing.T) {
	t.Parallel()
	m := start(t, settings{config: func(c *xds.Config) {
		upstream := c.Servers[0].Upstream
		c.Servers = []xds.Server{
			{Name: "any", Hosts: []string{"*"}, Path: "/mcp", Upstream: upstream},
			{Name: "shop", Hosts: []string{"Shop.example"}, Path: "/mcp", Upstream: upstream},
			{Name: "shop-api", Hosts: []string{"shop.example"}, Path: "/", PathIsPrefix: true, Upstream: upstream},
			{Name: "shop-v2", Hosts: []string{"shop.example"}, Path: "/v2/", PathIsPrefix: true, Upstream: upstream, UpstreamHost: "v2.internal"},
			{Name: "port", Hosts: []string{"shop.example:8443"}, Path: "/mcp", Upstream: upstream},
			{Name: "v6", Hosts: []string{"[2001:db8::1]"}, Path: "/mcp", Upstream: upstream},
		}
	}})
	tests := []struct{ host, path, server, upstreamHost string }{
		{"shop.example", "/mcp", "shop", "shop.example"},
		{"shop.example:1234", "/mcp", "shop", "shop.example:1234"},
		{"SHOP.example", "/mcp", "shop", "SHOP.example"},
		{"shop.example.", "/mcp", "shop", "shop.example"},
		{"shop.example:8443", "/mcp", "port", "shop.example:8443"},
		{"shop.example:8443", "/other", extauthz.NoServer, ""},
		{"shop.example", "/v2", "shop-v2", "v2.internal"},
		{"shop.example", "/v2/cars", "shop-v2", "v2.internal"},
		{"shop.example", "/v22", "shop-api", "shop.example"},
		{"shop.example", "/mcp/", "shop-api", "shop.example"},
		{"[2001:db8::1]:80", "/mcp", "v6", "[2001:db8::1]:80"},
		{"other.example", "/mcp", "any", "other.example"},
		{"other.example", "/mcp/", extauthz.NoServer, ""},
		{"other.example", "/MCP", extauthz.NoServer, ""},
		{"other.example", "/", extauthz.NoServer, ""},
	}
	for _, test := range tests {
		t.Run(test.host+test.path, func(t *testing.T) {
			got := m.post(t, test.path, "Host", test.host)
			asked := m.check.asked()
			if len(asked) != 1 {
				t.Fatalf("%d checks, want one", len(asked))
			}
			if server := asked[0].GetContextExtensions()[extauthz.ServerExtension]; server != test.server {
				t.Errorf("the route leads to %q, want %q", server, test.server)
			}
			arrived := m.upstream.requests()
			if test.server == extauthz.NoServer {
				if got.status != http.StatusNotFound || len(arrived) != 0 {
					t.Errorf("no server: status %d, %d requests upstream", got.status, len(arrived))
				}
				return
			}
			if got.status != http.StatusOK || len(arrived) != 1 || arrived[0].host != test.upstreamHost {
				t.Errorf("status %d, upstream got %+v, want host %q", got.status, arrived, test.upstreamHost)
			}
		})
	}
}

func TestOwnAPIIsReachedWithoutCheck(t *testing.T) {
	t.Parallel()
	m := start(t, settings{config: func(c *xds.Config) { restServer(c, "/") }})
	m.check.deny(http.StatusForbidden, "")
	own := map[string]bool{
		"/.well-known/oauth-protected-resource":         true,
		"/.well-known/oauth-protected-resource/mcp":     true,
		"/.well-known/oauth-protected-resource/mcp?x=1": true,
		"/api/auth/elevate":                             true,
		"/.well-known/oauth-protected-resources":        false,
		"/.well-known/OAUTH-protected-resource":         false,
		"/.well-known/other":                            false,
		"/api/auth":                                     false,
		"/api/authorize":                                false,
		"/api/cars":                                     false,
		"/x/.well-known/oauth-protected-resource":       false,
		"/mcp?/.well-known/oauth-protected-resource=":   false,
		"/mcp":              false,
		"/api/auth/../cars": false,
		"/.well-known/oauth-protected-resource/../../cars":  false,
		"/.well-known/oauth-protected-resource/%2e%2e/cars": false,
	}
	for path, open := range own {
		header := append(spoofed(), "Authorization", "Bearer token")
		got := m.post(t, path, header...)
		asked, arrived := m.check.asked(), m.api.requests()
		if !open {
			if got.status != http.StatusForbidden || len(asked) != 1 || len(arrived) != 0 {
				t.Errorf("%s: status %d, %d checks, %d requests at the API; want it checked", path, got.status, len(asked), len(arrived))
			}
			continue
		}
		if got.status != http.StatusOK || len(asked) != 0 || len(arrived) != 1 {
			t.Errorf("%s: status %d, %d checks, %d requests at the API; want it open", path, got.status, len(asked), len(arrived))
			continue
		}
		if arrived[0].uri != path || arrived[0].header.Get("Authorization") != "Bearer token" {
			t.Errorf("%s: the API got %s with Authorization %q", path, arrived[0].uri, arrived[0].header.Get("Authorization"))
		}
		for name, values := range arrived[0].header {
			if strings.Contains(strings.Join(values, ","), "spoofed") {
				t.Errorf("%s: %s reached the API", path, name)
			}
		}
	}
	if n := len(m.upstream.requests()); n != 0 {
		t.Errorf("%d requests reached the upstream", n)
	}
}

func TestDenialReachesTheClientAsItIs(t *testing.T) {
	t.Parallel()
	m := start(t, settings{})
	const body = `{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"Unknown tool"}}`
	for _, status := range []int{200, 400, 401, 403, 404, 429, 503} {
		m.check.deny(status, body, "content-type", "application/json", "www-authenticate", `Bearer error="invalid_token"`, "retry-after", "3")
		got := m.post(t, "/mcp")
		if got.status != status || got.body != body {
			t.Errorf("got %d %s, want %d", got.status, got.body, status)
		}
		for name, want := range map[string]string{
			"Content-Type": "application/json", "Www-Authenticate": `Bearer error="invalid_token"`, "Retry-After": "3",
		} {
			if diff := cmp.Diff([]string{want}, got.header.Values(name)); diff != "" {
				t.Errorf("%d: %s (-want +got):\n%s", status, name, diff)
			}
		}
		if n := len(m.upstream.requests()); n != 0 {
			t.Errorf("%d: %d requests reached the upstream", status, n)
		}
	}
}

// TestUpstreamAnswerIsKept: the answer passes, without what would say too much
// about the proxy.
func TestUpstreamAnswerIsKept(t *testing.T) {
	t.Parallel()
	m := start(t, settings{})
	m.upstream.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Mcp-Session-Id", "s-1")
		w.Header().Set("Server", "uvicorn")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "later")
	})
	got := m.post(t, "/mcp")
	if got.status != http.StatusAccepted || got.body != "later" || got.header.Get("Mcp-Session-Id") != "s-1" {
		t.Errorf("got %+v", got)
	}
	if got.header.Get("Server") != "sallyport" || got.header.Get("X-Request-Id") == "" {
		t.Errorf("Server is %q, X-Request-Id %q", got.header.Get("Server"), got.header.Get("X-Request-Id"))
	}
	for name := range got.header {
		if strings.HasPrefix(name, "X-Envoy-") {
			t.Errorf("%s reached the client", name)
		}
	}
}
