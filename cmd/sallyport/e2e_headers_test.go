package main_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const spoofed = "spoofed-203.0.113.99"

// spoofs are headers by which a client could pose as the proxy or as somebody
// else, or make a server act on another request than the one that was decided.
func spoofs() []string {
	names := []string{
		"X-Sallyport-User-Id", "X-Sallyport-Decision-Id", "X-Sallyport-Scopes", "X-Sallyport-Principal-Id",
		"X-Sallyport-Client-Id", "X-Sallyport-Tenant-Id", "X-Sallyport-Anything", "x-SALLYPORT-roles", "X-User-Context",
		"X-Envoy-Original-Path", "X-Envoy-Original-Url", "X-Envoy-External-Address", "X-Envoy-Internal", "X-Envoy-Decorator-Operation",
		"X-Envoy-Auth-Partial-Body", "X-Envoy-Peer-Metadata", "X-Envoy-Upstream-Alt-Stat-Name", "X-Envoy-Ip-Tags",
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Proto",
		"X-Forwarded-Client-Cert", "Forwarded", "X-Real-Ip", "True-Client-Ip",
		"X-Original-Url", "X-Rewrite-Url", "X-Original-Uri", "X-Original-Path",
		"X-Http-Method-Override", "X-Http-Method", "X-Method-Override",
		"Proxy-Authorization", "X-Request-Id",
	}
	var header []string
	for _, name := range names {
		header = append(header, name, spoofed)
	}
	return append(header, "X-Sallyport-User-Id", spoofed, "X-Sallyport-Scopes", spoofed) // twice
}

func TestSpoofedHeaders(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	token := m.token(t, "alice", "vehicles.read services.write")
	for name, c := range map[string]struct {
		request request
		server  string
	}{
		"MCP":            {callTool(token, "search_vehicles", `{}`), "dealership"},
		"REST":           {rest(token, "GET", "/vehicles/V-1001", ""), "api"},
		"MCP by HTTP/2":  {request: withClient(callTool(token, "search_vehicles", `{}`), http2Client(t)), server: "dealership"},
		"REST by HTTP/2": {request: withClient(rest(token, "GET", "/vehicles/V-1001", ""), http2Client(t)), server: "api"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := m.send(t, c.request.with(spoofs()...))
			upstream := m.allowed(t, a, c.server)
			for name, values := range upstream.Header {
				if strings.Contains(strings.Join(values, " "), spoofed) {
					t.Errorf("%s: %q reached the upstream", name, values)
				}
			}
			for header, want := range map[string]string{
				"X-Sallyport-User-Id":   "alice",
				"X-Sallyport-Client-Id": "dev-client",
				"X-Sallyport-Scopes":    "services.write vehicles.read",
				"X-Forwarded-Proto":     "http",
			} {
				if diff := cmp.Diff([]string{want}, upstream.Header[header]); diff != "" {
					t.Errorf("%s upstream (-want +got):\n%s", header, diff)
				}
			}
			if tenant := upstream.Header["X-Sallyport-Tenant-Id"]; tenant != nil { // the token names none
				t.Errorf("X-Sallyport-Tenant-Id upstream: %q", tenant)
			}
			if id := upstream.Header.Get("X-Request-Id"); id != a.header.Get("X-Request-Id") || id == "" {
				t.Errorf("the upstream's request id is %q, the client's %q", id, a.header.Get("X-Request-Id"))
			}
		})
	}
	t.Run("named by Connection", func(t *testing.T) {
		t.Parallel()
		// RFC 9110 §7.6.1: a proxy removes what Connection names; not what Check has set.
		a := m.send(t, rest(token, "GET", "/vehicles/V-1001", "").with("Connection", "x-sallyport-user-id, x-sallyport-scopes"))
		m.allowed(t, a, "api")
	})
	t.Run("with underscores", func(t *testing.T) {
		t.Parallel()
		a := m.sendRaw(t, "GET /vehicles/V-1001 HTTP/1.1\r\nHost: "+m.authority+"\r\nAuthorization: Bearer "+token+"\r\nx_sallyport_user_id: root\r\n\r\n")
		m.undecided(t, a, http.StatusBadRequest)
	})
}

func withClient(r request, client *http.Client) request {
	r.client = client
	return r
}

// TestRetriesAskedByTheClient sends what would make Envoy's router repeat a
// write that the server may have executed (CONTRACTS "Retries beneath us").
func TestRetriesAskedByTheClient(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	token := m.token(t, "alice", "services.write vehicles.read")
	const booking = `{"vehicle_id":"V-1001","customer_id":"C-1","date":"2027-03-01"}`
	retry := []string{
		"X-Envoy-Retry-On", "5xx,gateway-error,reset,connect-failure,retriable-status-codes,retriable-headers",
		"X-Envoy-Retry-Grpc-On", "internal,unavailable",
		"X-Envoy-Max-Retries", "5",
		"X-Envoy-Retriable-Status-Codes", "503,502",
		"X-Envoy-Retriable-Header-Names", "content-type",
		"X-Envoy-Hedge-On-Per-Try-Timeout", "true",
		"X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms", "1",
		"X-Envoy-Upstream-Rq-Timeout-Ms", "5",
		"X-Envoy-Expected-Rq-Timeout-Ms", "5",
		"X-Envoy-Upstream-Rq-Timeout-Alt-Response", "1",
	}
	for name, c := range map[string]struct {
		request request
		server  string
		tool    string
	}{
		"REST":          {rest(token, "POST", "/services", booking), "api", "book_service"},
		"MCP":           {callTool(token, "book_service", booking), "dealership", "book_service"},
		"MCP by HTTP/2": {withClient(callTool(token, "book_service", booking), http2Client(t)), "dealership", "book_service"},
	} {
		t.Run(name, func(t *testing.T) {
			upstream := m.upstreams[c.server]
			before := upstream.Effects()[c.tool]
			upstream.FailNext(1, http.StatusServiceUnavailable)
			a := m.send(t, c.request.with(retry...))
			m.passed(t, a, c.server)
			if a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "fault injected") {
				t.Errorf("answer %d %q, want the upstream's 503", a.status, a.body)
			}
			if n := upstream.Effects()[c.tool] - before; n != 0 {
				t.Errorf("%d effects of a call that failed", n)
			}
			// The client's own timeouts are not obeyed either: it would be told
			// of a failure while the server goes on.
			upstream.SetDelay(300 * time.Millisecond)
			m.allowed(t, m.send(t, c.request.with(retry...)), c.server)
			upstream.SetDelay(0)
			if n := upstream.Effects()[c.tool] - before; n != 1 {
				t.Errorf("%d effects of one call", n)
			}
		})
	}
}
