package xds_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/envoy/xds"
)

// spoofed are headers that no client may set; each carries the same mark.
func spoofed() []string {
	names := []string{
		"x-sallyport-user-id", "X-Sallyport-Decision-Id", "x-sallyport-anything",
		"x-envoy-retry-on", "x-envoy-retry-grpc-on", "x-envoy-max-retries", "x-envoy-hedge-on-per-try-timeout",
		"x-envoy-upstream-rq-timeout-ms", "x-envoy-upstream-rq-per-try-timeout-ms",
		"x-envoy-upstream-alt-stat-name", "x-envoy-original-path", "x-envoy-decorator-operation",
		"x-envoy-internal", "x-envoy-external-address", "x-envoy-force-trace", "x-envoy-auth-partial-body",
		"x-user-context",
		"x-http-method", "x-http-method-override", "x-method-override",
		"x-original-url", "x-rewrite-url", "x-original-uri", "x-original-path",
		"forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-proto",
		"x-forwarded-client-cert", "x-real-ip", "true-client-ip", "x-request-id",
	}
	var header []string
	for _, name := range names {
		header = append(header, name, "spoofed")
	}
	return header
}

func TestSpoofedHeadersAreRemoved(t *testing.T) {
	t.Parallel()
	m := start(t, settings{})
	for name, client := range map[string]*http.Client{"HTTP/1.1": http.DefaultClient, "HTTP/2": http2Client(t, nil)} {
		header := append(spoofed(), "Mcp-Session-Id", "kept")
		got := m.postAs(t, client, "http://"+m.address+"/mcp", `{}`, header...)
		if got.status != http.StatusOK {
			t.Fatalf("%s: status %d", name, got.status)
		}
		asked, arrived := m.check.asked(), m.upstream.requests()
		if len(asked) != 1 || len(arrived) != 1 {
			t.Fatalf("%s: %d checks, %d requests upstream", name, len(asked), len(arrived))
		}
		for where, header := range map[string]http.Header{"Check": headers(asked[0]), "upstream": arrived[0].header} {
			for header, values := range header {
				if strings.Contains(strings.Join(values, ","), "spoofed") {
					t.Errorf("%s: %s reached %s", name, header, where)
				}
			}
			if header.Get("Mcp-Session-Id") != "kept" {
				t.Errorf("%s: Mcp-Session-Id didn't reach %s", name, where)
			}
		}
	}
}

func TestProxyHeadersOfTrustedHopsStay(t *testing.T) {
	t.Parallel()
	m := start(t, settings{config: func(c *xds.Config) { c.XFFTrustedHops = 1 }})
	m.post(t, "/mcp", "X-Forwarded-For", "spoofed, 203.0.113.7", "X-Forwarded-Host", "shop.example", "X-Sallyport-User-Id", "spoofed")
	asked, arrived := m.check.asked()[0], m.upstream.requests()[0]
	if got := headers(asked).Get("X-Envoy-External-Address"); got != "203.0.113.7" {
		t.Errorf("Check got client %q, want the address that the trusted proxy saw", got)
	}
	if got := arrived.header.Get("X-Forwarded-Host"); got != "shop.example" {
		t.Errorf("X-Forwarded-Host is %q", got)
	}
	if got := arrived.header.Get("X-Sallyport-User-Id"); got != "" {
		t.Errorf("X-Sallyport-User-Id is %q", got)
	}
}

func TestCheckSeesEveryCredentialAndUpstreamNone(t *testing.T) {
	t.Parallel()
	m := start(t, settings{})
	// Check leaves the headers alone here, so it is the route that removes them.
	got := m.post(t, "/mcp", "Authorization", "Bearer one", "Authorization", "Bearer two",
		"DPoP", "proof", "DPoP", "proof 2", "Proxy-Authorization", "Basic x", "X-Plain", "kept")
	if got.status != http.StatusOK {
		t.Fatalf("status %d", got.status)
	}
	seen := headers(m.check.asked()[0])
	arrived := m.upstream.requests()[0].header
	for name, want := range map[string][]string{
		// Envoy joins the lines of some headers, this one among them.
		"Authorization": {"Bearer one,Bearer two"}, "Dpop": {"proof", "proof 2"}, "Proxy-Authorization": {"Basic x"},
	} {
		if diff := cmp.Diff(want, seen[name]); diff != "" {
			t.Errorf("%s at Check (-want +got):\n%s", name, diff)
		}
		if values, there := arrived[name]; there {
			t.Errorf("%s reached the upstream: %v", name, values)
		}
	}
	if arrived.Get("X-Plain") != "kept" {
		t.Error("X-Plain didn't reach the upstream")
	}
}

func TestHeadersOfCheckReachUpstream(t *testing.T) {
	t.Parallel()
	m := start(t, settings{})
	m.check.allow("x-sallyport-user-id", "asha")
	m.post(t, "/mcp", "X-Sallyport-User-Id", "mallory")
	if diff := cmp.Diff([]string{"asha"}, m.upstream.requests()[0].header.Values("X-Sallyport-User-Id")); diff != "" {
		t.Errorf("X-Sallyport-User-Id (-want +got):\n%s", diff)
	}
}

// TestFoldedLineStaysInItsHeader: a continued line (obsolete, RFC 9112 §5.2) is
// never taken for a header of its own behind Envoy.
func TestFoldedLineStaysInItsHeader(t *testing.T) {
	t.Parallel()
	m := start(t, settings{})
	m.raw(t, "POST /mcp HTTP/1.1\r\nHost: a\r\nX-A: b\r\n x-sallyport-user-id: c\r\nContent-Length: 0\r\n\r\n")
	header := m.upstream.requests()[0].header
	if header.Get("X-A") != "b x-sallyport-user-id: c" || header.Get("X-Sallyport-User-Id") != "" {
		t.Errorf("the upstream got %v", header)
	}
}

func TestAmbiguousHeadersAreRefused(t *testing.T) {
	t.Parallel()
	m := start(t, settings{})
	tests := map[string]string{
		"underscore":      "POST /mcp HTTP/1.1\r\nHost: a\r\nX_Sallyport_User_Id: spoofed\r\nContent-Length: 0\r\n\r\n",
		"two lengths":     "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
		"length, chunked": "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"space in name":   "POST /mcp HTTP/1.1\r\nHost: a\r\nX-Sallyport-User-Id : spoofed\r\nContent-Length: 0\r\n\r\n",
		"NUL in value":    "POST /mcp HTTP/1.1\r\nHost: a\r\nX-A: a\x00b\r\nContent-Length: 0\r\n\r\n",
		"no host":         "POST /mcp HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
	}
	for name, request := range tests {
		t.Run(name, func(t *testing.T) {
			if got := m.raw(t, request); got.status != http.StatusBadRequest {
				t.Errorf("status %d, want 400", got.status)
			}
			if n := len(m.check.asked()) + len(m.upstream.requests()); n != 0 {
				t.Errorf("%d requests got through", n)
			}
		})
	}
}
