package xds_test

import (
	"maps"
	"net/http"
	"slices"
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

// TestGatewayHeadersAreRemoved: what upstreams take for a gateway's word passes
// only where trusted proxies in front may say it: where a request comes from.
func TestGatewayHeadersAreRemoved(t *testing.T) {
	t.Parallel()
	const never, trusted, always = 0, 1, 2 // who may say it
	names := map[string]int{
		"Remote-User": never, "Remote-Groups": never, "X-Remote-User": never, "X-Remote-Extra-Scopes": never, "X-Remote-Addr": never,
		"X-Auth-Request-User": never, "X-Auth-Request-Access-Token": never, "X-Authenticated-User": never, "X-Authenticated-Userid": never,
		"X-Authentik-Username": never, "X-Pomerium-Jwt-Assertion": never, "X-Vouch-User": never, "X-WebAuth-User": never,
		"X-Consumer-Username": never, "X-Credential-Identifier": never,
		"X-Amzn-Oidc-Data": never, "X-Amzn-Oidc-Identity": never, "X-Amzn-Mtls-Clientcert": never, "X-Apigateway-Api-Userinfo": never,
		"X-Ms-Client-Principal": never, "X-Ms-Client-Principal-Name": never, "X-Ms-Token-Aad-Access-Token": never,
		"X-Goog-Authenticated-User-Email": never, "X-Goog-Iap-Jwt-Assertion": never, "X-Endpoint-Api-Userinfo": never,
		"Cf-Access-Jwt-Assertion": never, "Tailscale-User-Login": never, "Impersonate-User": never, "Impersonate-Extra-Scopes": never,
		"X-Ssl-Client-Dn": never, "Ssl-Client-Verify": never, "X-Client-Cert": never, "Client-Cert": never, "Client-Cert-Chain": never,
		"X-User": never, "X-User-Id": never, "X-Username": never, "X-User-Email": never, "X-User-Roles": never, "X-User-Groups": never,
		"X-Userinfo": never, "X-Jwt-Payload": never, "X-Auth-User": never, "X-User-Context": never,
		"X-Forwarded-User": never, "X-Forwarded-Email": never, "X-Forwarded-Groups": never, "X-Forwarded-Preferred-Username": never,
		"X-Forwarded-Access-Token": never, "X-Forwarded-Client-Cert": never, "X-Forwarded-Tls-Client-Cert-Info": never,
		"X-Forwarded-Method": never, "X-Forwarded-Uri": never,
		"X-Original-Method": never, "X-Http-Path-Override": never, "X-Http-Destinationurl": never, "X-Http-Method-Override": never,
		"X-Original-Url": never, "X-Rewrite-Url": never, "Trailer": never, "Te": never,

		"X-Forwarded-Host": trusted, "X-Forwarded-Port": trusted, "X-Forwarded-Prefix": trusted, "X-Forwarded-Scheme": trusted, "X-Forwarded-Server": trusted,
		"Forwarded": trusted, "X-Real-Ip": trusted, "X-Client-Ip": trusted, "Client-Ip": trusted, "X-Cluster-Client-Ip": trusted,
		"X-Originating-Ip": trusted, "True-Client-Ip": trusted, "Cf-Connecting-Ip": trusted, "Fastly-Client-Ip": trusted,
		"X-Azure-Clientip": trusted, "X-Appengine-User-Ip": trusted, "X-Original-Host": trusted, "X-Host": trusted, "X-Scheme": trusted,
		"Front-End-Https": trusted,

		"Accept-Language": always, "Traceparent": always, "Idempotency-Key": always, "X-User-Agent": always, "X-Tenant": always, "X-Auth-Token": always,
	}
	for who, hops := range map[string]uint32{"a client": 0, "a trusted proxy": 1} {
		m := start(t, settings{config: func(c *xds.Config) { c.XFFTrustedHops = hops }})
		for batch := range slices.Chunk(slices.Sorted(maps.Keys(names)), 50) { // of 100 that Envoy lets pass
			var header []string
			for _, name := range batch {
				header = append(header, name, "said")
			}
			got := m.post(t, "/mcp", header...)
			asked, arrived := m.check.asked(), m.upstream.requests()
			if got.status != http.StatusOK || len(asked) != 1 || len(arrived) != 1 {
				t.Fatalf("%s: status %d, %d checks, %d requests upstream", who, got.status, len(asked), len(arrived))
			}
			for where, seen := range map[string]http.Header{"Check": headers(asked[0]), "the upstream": arrived[0].header} {
				for _, name := range batch {
					want := names[name] == always || names[name] == trusted && hops > 0
					if passed := seen.Get(name) == "said"; passed != want {
						t.Errorf("%s of %s reached %s: %v, want %v", name, who, where, passed, want)
					}
				}
			}
		}
	}
}

func TestAddressBehindTrustedHops(t *testing.T) {
	t.Parallel()
	m := start(t, settings{config: func(c *xds.Config) { c.XFFTrustedHops = 1 }})
	m.post(t, "/mcp", "X-Forwarded-For", "spoofed, 203.0.113.7", "X-Sallyport-User-Id", "spoofed")
	if got := headers(m.check.asked()[0]).Get("X-Envoy-External-Address"); got != "203.0.113.7" {
		t.Errorf("Check got client %q, want the address that the trusted proxy saw", got)
	}
	if got := m.upstream.requests()[0].header.Get("X-Sallyport-User-Id"); got != "" {
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
	m.raw(t, "POST /mcp HTTP/1.1\r\n"+known+"X-A: b\r\n x-sallyport-user-id: c\r\nContent-Length: 0\r\n\r\n")
	header := m.upstream.requests()[0].header
	if header.Get("X-A") != "b x-sallyport-user-id: c" || header.Get("X-Sallyport-User-Id") != "" {
		t.Errorf("the upstream got %v", header)
	}
}

func TestAmbiguousHeadersAreRefused(t *testing.T) {
	t.Parallel()
	m := start(t, settings{})
	tests := map[string]string{
		"underscore":      "POST /mcp HTTP/1.1\r\n" + known + "X_Sallyport_User_Id: spoofed\r\nContent-Length: 0\r\n\r\n",
		"two lengths":     "POST /mcp HTTP/1.1\r\n" + known + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
		"length, chunked": "POST /mcp HTTP/1.1\r\n" + known + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"space in name":   "POST /mcp HTTP/1.1\r\n" + known + "X-Sallyport-User-Id : spoofed\r\nContent-Length: 0\r\n\r\n",
		"NUL in value":    "POST /mcp HTTP/1.1\r\n" + known + "X-A: a\x00b\r\nContent-Length: 0\r\n\r\n",
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
