package xds_test

import (
	"net/http"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/sallyport/sallyport/envoy/xds"
)

// TestTrailersOfHTTP2NeverPass looks at the upstream's connection, since servers
// may hide trailers that aren't announced. It also takes the filter away, to see
// that the test would notice.
func TestTrailersOfHTTP2NeverPass(t *testing.T) {
	t.Parallel()
	trailers := []string{"x-sallyport-user-id", "mallory", "authorization", "Bearer x", "x-plain", "y"}
	tests := map[string]struct {
		body     string
		header   []string
		trailers []string
		edit     func(*hcmv3.HttpConnectionManager)
		blocks   int // of headers and trailers at the upstream
	}{
		"not announced": {body: `{}`, trailers: trailers, blocks: 1},
		"announced":     {body: `{}`, header: []string{"trailer", "x-sallyport-user-id, authorization"}, trailers: trailers, blocks: 1},
		"no body":       {trailers: trailers, blocks: 1},
		"without the filter": {body: `{}`, trailers: trailers, blocks: 2, edit: func(m *hcmv3.HttpConnectionManager) {
			m.HttpFilters = m.HttpFilters[1:]
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			upstream := startWireServer(t)
			m := start(t, settings{
				config: func(c *xds.Config) { c.Servers[0].Upstream = xds.Endpoint{Address: upstream.address, HTTP2: true} },
				bootstrap: func(b *bootstrapv3.Bootstrap) {
					if test.edit != nil {
						editManager(t, b, test.edit)
					}
				},
			})
			wirePost(t, m.address, test.body, test.header, test.trailers)
			arrived := upstream.requests()
			if len(arrived) != 1 {
				t.Fatalf("%d requests upstream, want one", len(arrived))
			}
			blocks, body := 0, ""
			for _, f := range arrived[0] {
				if f.kind == frameHeaders {
					blocks++
				} else {
					body += string(f.payload)
				}
			}
			if blocks != test.blocks || body != test.body {
				t.Errorf("the upstream got %d blocks of headers and trailers and the body %q; want %d blocks", blocks, body, test.blocks)
			}
		})
	}
}

// TestTrailersOfHTTP1NeverPass: and nobody is told that there were some.
func TestTrailersOfHTTP1NeverPass(t *testing.T) {
	t.Parallel()
	m := start(t, settings{})
	const head = "POST /mcp HTTP/1.1\r\n" + known + "Transfer-Encoding: chunked\r\n"
	const body = "\r\n2\r\n{}\r\n0\r\nX-Sallyport-User-Id: mallory\r\nAuthorization: Bearer x\r\n\r\n"
	for name, request := range map[string]string{
		"not announced": head + body,
		"announced":     head + "Trailer: X-Sallyport-User-Id, Authorization\r\nTE: trailers\r\nConnection: TE\r\n" + body,
	} {
		got := m.raw(t, request)
		asked, arrived := m.check.asked(), m.upstream.requests()
		if got.status != http.StatusOK || len(asked) != 1 || len(arrived) != 1 {
			t.Fatalf("%s: status %d, %d checks, %d requests upstream", name, got.status, len(asked), len(arrived))
		}
		if arrived[0].body != `{}` || len(arrived[0].trailer) != 0 {
			t.Errorf("%s: the upstream got the body %q with trailers %v", name, arrived[0].body, arrived[0].trailer)
		}
		for where, header := range map[string]http.Header{"Check": headers(asked[0]), "upstream": arrived[0].header} {
			for _, name := range []string{"Trailer", "Te", "X-Sallyport-User-Id"} {
				if value := header.Get(name); value != "" {
					t.Errorf("%s reached %s: %q", name, where, value)
				}
			}
		}
	}
}
