package xds_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sallyport/sallyport/envoy/xds"
)

// TestClientCannotMakeEnvoyRetry also takes the layers of defence away one by
// one, and at last all of them, to see that the test would notice.
func TestClientCannotMakeEnvoyRetry(t *testing.T) {
	t.Parallel()
	internal := func(m *hcmv3.HttpConnectionManager) {
		m.InternalAddressConfig.CidrRanges = []*corev3.CidrRange{{AddressPrefix: "127.0.0.0", PrefixLen: wrapperspb.UInt32(8)}}
	}
	unstripped := func(m *hcmv3.HttpConnectionManager) { m.EarlyHeaderMutationExtensions = nil }
	tests := map[string]struct {
		edits    []func(*hcmv3.HttpConnectionManager)
		breakers bool // allow retries in the clusters
		once     bool
	}{
		"as configured":             {once: true},
		"client counts as internal": {edits: []func(*hcmv3.HttpConnectionManager){internal}, breakers: true, once: true},
		"headers aren't stripped":   {edits: []func(*hcmv3.HttpConnectionManager){unstripped}, breakers: true, once: true},
		"clusters allow no retry":   {edits: []func(*hcmv3.HttpConnectionManager){internal, unstripped}, once: true},
		"no defence is left":        {edits: []func(*hcmv3.HttpConnectionManager){internal, unstripped}, breakers: true, once: false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := start(t, settings{bootstrap: func(b *bootstrapv3.Bootstrap) {
				editManager(t, b, test.edits...)
				if test.breakers {
					for _, c := range b.StaticResources.Clusters {
						allowRetries(c)
					}
				}
			}})
			m.upstream.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
			got := m.post(t, "/mcp",
				"x-envoy-retry-on", "5xx,reset,connect-failure,retriable-status-codes", "x-envoy-max-retries", "3",
				"x-envoy-retriable-status-codes", "503", "x-envoy-hedge-on-per-try-timeout", "true",
				"x-envoy-upstream-rq-per-try-timeout-ms", "50", "x-envoy-upstream-rq-timeout-ms", "5000")
			if got.status != http.StatusServiceUnavailable {
				t.Errorf("status %d, want 503", got.status)
			}
			if attempts := len(m.upstream.requests()); (attempts == 1) != test.once {
				t.Errorf("%d attempts, want one: %v", attempts, test.once)
			}
		})
	}
}

func allowRetries(c *clusterv3.Cluster) {
	c.CircuitBreakers.Thresholds[0].MaxRetries = wrapperspb.UInt32(3)
}

// editManager changes the packed configuration of the connection manager.
func editManager(t *testing.T, b *bootstrapv3.Bootstrap, edits ...func(*hcmv3.HttpConnectionManager)) {
	t.Helper()
	filter := b.StaticResources.Listeners[0].FilterChains[0].Filters[0]
	var manager hcmv3.HttpConnectionManager
	if err := filter.GetTypedConfig().UnmarshalTo(&manager); err != nil {
		t.Fatal(err)
	}
	for _, edit := range edits {
		edit(&manager)
	}
	packed, err := anypb.New(&manager)
	if err != nil {
		t.Fatal(err)
	}
	filter.GetTypedConfig().Value = packed.Value
}

func TestClientCannotSetTheTimeout(t *testing.T) {
	t.Parallel()
	m := start(t, settings{})
	m.upstream.answers(func(w http.ResponseWriter, r *http.Request) { pause(r, 300*time.Millisecond) })
	if got := m.post(t, "/mcp", "x-envoy-upstream-rq-timeout-ms", "50"); got.status != http.StatusOK {
		t.Errorf("status %d, want 200", got.status)
	}
}

// pause answers later, or never if the client goes away.
func pause(r *http.Request, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
}

func TestTimeoutOfTheTool(t *testing.T) {
	t.Parallel()
	const short, long = 200 * time.Millisecond, 2 * time.Second
	m := start(t, settings{config: func(c *xds.Config) {
		c.RequestTimeout, c.CheckTimeout = short, time.Second // together less than long
		restServer(c, "/rest")
	}})
	tests := map[string]struct {
		path, timeout string // milliseconds, as Check sets it
		takes         time.Duration
		want          int
	}{
		"MCP, too slow":               {"/mcp", "100", time.Minute, http.StatusGatewayTimeout},
		"MCP, in time":                {"/mcp", "5000", long, http.StatusOK},
		"MCP, no limit":               {"/mcp", "", long, http.StatusOK},
		"REST, too slow":              {"/rest/x", "100", time.Minute, http.StatusGatewayTimeout},
		"REST, longer than the usual": {"/rest/x", "5000", long, http.StatusOK},
		"REST, the usual limit":       {"/rest/x", "", time.Minute, http.StatusGatewayTimeout},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m.check.allow()
			if test.timeout != "" {
				m.check.allow("x-envoy-upstream-rq-timeout-ms", test.timeout)
			}
			m.upstream.answers(func(_ http.ResponseWriter, r *http.Request) { pause(r, test.takes) })
			if got := m.post(t, test.path); got.status != test.want {
				t.Errorf("status %d, want %d", got.status, test.want)
			}
			arrived := m.upstream.requests()
			if len(arrived) != 1 {
				t.Fatalf("%d requests upstream, want one", len(arrived))
			}
			for header := range arrived[0].header {
				if strings.Contains(strings.ToLower(header), "timeout") {
					t.Errorf("%s reached the upstream", header)
				}
			}
		})
	}
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	const limit = 300 << 10 // beyond the connection's buffer
	m := start(t, settings{config: func(c *xds.Config) { c.MaxRequestBytes = limit }})
	tests := map[string]struct {
		client  *http.Client
		chunked bool // no length is announced
	}{
		"HTTP/1.1":          {http.DefaultClient, false},
		"HTTP/1.1, chunked": {http.DefaultClient, true},
		"HTTP/2":            {http2Client(t, nil), false},
		"HTTP/2, no length": {http2Client(t, nil), true},
	}
	for name, test := range tests {
		send := func(path string, size int) int {
			body := io.Reader(strings.NewReader(strings.Repeat("x", size)))
			if test.chunked {
				body = struct{ io.Reader }{body}
			}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+m.address+path, body)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer token")
			response, err := test.client.Do(request)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return read(t, response).status
		}
		status := send("/mcp", limit)
		asked, arrived := m.check.asked(), m.upstream.requests()
		if status != http.StatusOK || len(asked) != 1 || len(arrived) != 1 {
			t.Fatalf("%s, at the limit: status %d, %d checks, %d upstream", name, status, len(asked), len(arrived))
		}
		if len(asked[0].GetRequest().GetHttp().GetRawBody()) != limit || len(arrived[0].body) != limit {
			t.Errorf("%s, at the limit: Check or the upstream got another body", name)
		}
		for _, path := range []string{"/mcp", "/api/auth/elevate"} {
			if status := send(path, limit+1); status != http.StatusRequestEntityTooLarge {
				t.Errorf("%s, over the limit at %s: status %d, want 413", name, path, status)
			}
		}
		if n := len(m.check.asked()) + len(m.upstream.requests()); n != 0 {
			t.Errorf("%s, over the limit: %d requests got through", name, n)
		}
	}
}

func TestChunkedBodyReachesCheckWhole(t *testing.T) {
	t.Parallel()
	m := start(t, settings{})
	m.raw(t, "POST /mcp HTTP/1.1\r\n"+known+"Transfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n")
	if got := string(m.check.asked()[0].GetRequest().GetHttp().GetRawBody()); got != `{"a":1}` {
		t.Errorf("Check got %q", got)
	}
	if got := m.upstream.requests()[0].body; got != `{"a":1}` {
		t.Errorf("the upstream got %q", got)
	}
}

func TestNoAnswerFromCheckIsARefusal(t *testing.T) {
	t.Parallel()
	m := start(t, settings{config: func(c *xds.Config) { c.CheckTimeout = 500 * time.Millisecond }})
	refused := func(name string) {
		t.Helper()
		began := time.Now()
		if got := m.post(t, "/mcp"); got.status != http.StatusServiceUnavailable {
			t.Errorf("%s: status %d, want 503", name, got.status)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
		if n := len(m.upstream.requests()); n != 0 {
			t.Errorf("%s: %d requests reached the upstream", name, n)
		}
	}
	m.check.answers(func(context.Context) (*authv3.CheckResponse, error) { return nil, errors.New("broken") })
	refused("error")
	m.check.answers(func(ctx context.Context) (*authv3.CheckResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	refused("timeout")
	m.check.answers(func(context.Context) (*authv3.CheckResponse, error) {
		return &authv3.CheckResponse{DynamicMetadata: pass()}, nil
	})
	if got := m.post(t, "/mcp"); got.status != http.StatusOK {
		t.Fatalf("status %d with a Check that answers again", got.status)
	}
	m.upstream.requests()
	m.check.server.Stop()
	refused("down")
}

// TestCheckCannotTouchTheRouter: a mistake in Check must not reroute, retry or
// corrupt a request, and must not pass unseen.
func TestCheckCannotTouchTheRouter(t *testing.T) {
	t.Parallel()
	m := start(t, settings{})
	for _, name := range []string{
		":path", ":method", ":authority", "host", "x-envoy-retry-on", "x-envoy-max-retries",
		"x-envoy-hedge-on-per-try-timeout", "x-envoy-upstream-rq-per-try-timeout-ms", "x-envoy-retriable-status-codes",
		"x-envoy-original-path", "x-envoy-decorator-operation", "x-envoy-upstream-alt-stat-name", "bad name",
	} {
		m.check.allow(name, "x")
		if got := m.post(t, "/mcp"); got.status != http.StatusInternalServerError {
			t.Errorf("%s: status %d, want 500", name, got.status)
		}
	}
	m.check.allow("x-sallyport-user-id", "a\r\nx-injected: b")
	if got := m.post(t, "/mcp"); got.status != http.StatusInternalServerError {
		t.Errorf("line break in a value: status %d, want 500", got.status)
	}
	if n := len(m.upstream.requests()); n != 0 {
		t.Errorf("%d requests reached the upstream", n)
	}
}

func TestUpgradesAreRefused(t *testing.T) {
	t.Parallel()
	m := start(t, settings{})
	for name, request := range map[string]string{
		"websocket": "GET /mcp HTTP/1.1\r\n" + known + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
		"CONNECT":   "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
		"HTTP/1.0":  "GET /mcp HTTP/1.0\r\n" + known + "\r\n",
	} {
		if got := m.raw(t, request); got.status < 400 || got.status >= 500 {
			t.Errorf("%s: status %d, want a refusal", name, got.status)
		}
		if n := len(m.upstream.requests()); n != 0 {
			t.Errorf("%s: %d requests reached the upstream", name, n)
		}
	}
	if n := len(m.check.asked()); n != 0 {
		t.Errorf("%d checks of what Envoy refuses by itself", n)
	}
}

// TestOnlyMetadataSkipsTheExchange: an allow that doesn't say that it needs no
// exchange goes nowhere without one. (There is nobody for exchanges here.)
func TestOnlyMetadataSkipsTheExchange(t *testing.T) {
	t.Parallel()
	m := start(t, settings{})
	for name, metadata := range map[string]*structpb.Struct{
		"no metadata": nil,
		"run":         {Fields: map[string]*structpb.Value{"exchange": structpb.NewStringValue("run")}},
		"other":       {Fields: map[string]*structpb.Value{"exchange": structpb.NewStringValue("passed")}},
		"no string":   {Fields: map[string]*structpb.Value{"exchange": structpb.NewBoolValue(true)}},
	} {
		m.check.answers(func(context.Context) (*authv3.CheckResponse, error) {
			return &authv3.CheckResponse{DynamicMetadata: metadata}, nil
		})
		if got := m.post(t, "/mcp"); got.status != http.StatusServiceUnavailable {
			t.Errorf("%s: status %d, want 503", name, got.status)
		}
		if n := len(m.upstream.requests()); n != 0 {
			t.Errorf("%s: %d requests reached the upstream", name, n)
		}
	}
}
