package xds_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"

	"github.com/sallyport/sallyport/envoy/extauthz"
	"github.com/sallyport/sallyport/envoy/xds"
)

// patience is how long a test waits for what should come at once.
const patience = 10 * time.Second

// endless is a body that begins and then never comes to its end. It fails when
// ctx ends or the client gives up.
func endless(ctx context.Context, begin string) io.ReadCloser {
	ctx, cancel := context.WithCancel(ctx)
	return &endlessBody{begin: strings.NewReader(begin), ctx: ctx, cancel: cancel}
}

type endlessBody struct {
	begin  *strings.Reader
	ctx    context.Context
	cancel context.CancelFunc
}

func (b *endlessBody) Read(p []byte) (int, error) {
	if b.begin.Len() > 0 {
		return b.begin.Read(p)
	}
	<-b.ctx.Done()
	return 0, io.ErrUnexpectedEOF
}

func (b *endlessBody) Close() error {
	b.cancel()
	return nil
}

// TestStrangersBodyIsNotAwaited: what is refused by its headers is refused while
// its body is still being sent, and reaches no upstream even if Check allows it.
func TestStrangersBodyIsNotAwaited(t *testing.T) {
	t.Parallel()
	m := start(t, settings{config: func(c *xds.Config) { restServer(c, "/rest") }})
	targets := map[string]struct {
		path, token, server string
		allowed             int // status if Check allows
	}{
		"MCP":            {"/mcp", "", "dealership", http.StatusUnauthorized},
		"REST":           {"/rest/x", "", "rest", http.StatusUnauthorized},
		"nowhere":        {"/nowhere", "", extauthz.NoServer, http.StatusNotFound},
		"nowhere, token": {"/nowhere", "Bearer token", extauthz.NoServer, http.StatusNotFound},
	}
	http1, http2 := client(t, &http.Transport{}), http2Client(t, nil)
	clients := map[string]struct {
		client *http.Client
		length int64
	}{
		"HTTP/1.1, chunked": {http1, -1}, "HTTP/1.1": {http1, 1 << 20},
		"HTTP/2, no length": {http2, -1}, "HTTP/2": {http2, 1 << 20},
	}
	for proto, from := range clients {
		for name, to := range targets {
			t.Run(proto+", "+name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				send := func() int {
					// Beyond the connection's buffer: Envoy stops reading.
					body := endless(ctx, strings.Repeat("x", 200<<10))
					request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+m.address+to.path, body)
					if err != nil {
						t.Fatal(err)
					}
					request.ContentLength = from.length
					if to.token != "" {
						request.Header.Set("Authorization", to.token)
					}
					response, err := from.client.Do(request)
					if err != nil {
						t.Fatal(err)
					}
					return read(t, response).status
				}
				m.check.deny(http.StatusTeapot, "")
				if status := send(); status != http.StatusTeapot {
					t.Errorf("denied: status %d, want that of Check", status)
				}
				m.check.allow()
				if status := send(); status != to.allowed {
					t.Errorf("allowed: status %d, want %d", status, to.allowed)
				}
				asked := m.check.asked()
				if len(asked) != 2 {
					t.Errorf("%d checks, want two", len(asked))
				}
				for _, a := range asked {
					if body := a.GetRequest().GetHttp().GetRawBody(); len(body) != 0 {
						t.Errorf("Check got %d bytes of the body", len(body))
					}
					if server := a.GetContextExtensions()[extauthz.ServerExtension]; server != to.server {
						t.Errorf("Check was asked for server %q, want %q", server, to.server)
					}
				}
				if n := len(m.upstream.requests()); n != 0 {
					t.Errorf("%d requests reached the upstream", n)
				}
			})
		}
	}
}

// TestTokenNeedsTheBody: with a token, Check gets the body, whatever the token.
func TestTokenNeedsTheBody(t *testing.T) {
	t.Parallel()
	m := start(t, settings{})
	for _, token := range []string{"Bearer token", "x", "Basic x"} {
		got := m.post(t, "/mcp", "Authorization", token)
		asked, arrived := m.check.asked(), m.upstream.requests()
		if got.status != http.StatusOK || len(asked) != 1 || len(arrived) != 1 {
			t.Fatalf("%q: status %d, %d checks, %d upstream", token, got.status, len(asked), len(arrived))
		}
		if body := string(asked[0].GetRequest().GetHttp().GetRawBody()); body != `{}` {
			t.Errorf("%q: Check got the body %q", token, body)
		}
	}
}

// TestStrangersCannotFillTheMemory: with tokens that nobody has looked at yet,
// strangers send bodies and never end them. Envoy lives, its memory is bounded
// and it serves others, at once or after.
func TestStrangersCannotFillTheMemory(t *testing.T) {
	t.Parallel()
	const (
		limit  = 64 << 20
		bound  = limit + 100<<20 // what isn't counted, and what comes between two measurements
		attack = 256             // requests at a time, each of 1 MB
		lasts  = 2 * time.Second // after Envoy began to defend itself
	)
	tests := map[string]struct {
		stranger func(*testing.T, *mesh) func(context.Context)
		edit     func(*bootstrapv3.Bootstrap)
		defence  string // the counter of what bounds the memory
		// meanwhile: others are served during the attack. HTTP/1 streams can't be
		// reset, so there they may have to wait for the strangers' timeouts.
		meanwhile bool
	}{
		"HTTP/1.1": {stranger: http1Stranger,
			defence: "overload.envoy.load_shed_points.http2_server_go_away_and_close_on_dispatch.shed_load_count"},
		"HTTP/2": {stranger: http2Stranger, meanwhile: true,
			defence: "envoy.overload_actions.reset_high_memory_stream.count"},
		"no defence is left": {stranger: http1Stranger, edit: func(b *bootstrapv3.Bootstrap) { b.OverloadManager = nil }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := start(t, settings{config: func(c *xds.Config) { c.MaxHeapBytes = limit }, bootstrap: test.edit})
			send := test.stranger(t, m)
			ctx, stop := context.WithTimeout(t.Context(), 6*patience)
			defer stop()
			var strangers sync.WaitGroup
			for range attack {
				strangers.Go(func() {
					for ctx.Err() == nil {
						send(ctx)
					}
				})
			}
			var most, served int
			var end *time.Timer
			for most <= bound && ctx.Err() == nil {
				if end == nil && m.count(t, test.defence) > 0 {
					end = time.AfterFunc(lasts, stop)
				}
				most = max(most, memory(t, m))
				if m.serves(t) {
					served++
				}
			}
			stop()
			strangers.Wait()
			t.Logf("%d MiB at most, %d requests served meanwhile", most>>20, served)
			if bounded := test.defence != ""; (most <= bound) != bounded || (end != nil) != bounded {
				t.Errorf("%d MiB at most, defence seen: %v; want it bounded: %v", most>>20, end != nil, bounded)
			}
			if test.meanwhile && served == 0 {
				t.Error("nobody else was served")
			}
			for deadline := time.Now().Add(patience); !m.serves(t); {
				if time.Now().After(deadline) {
					t.Fatal("nobody is served after the attack")
				}
			}
		})
	}
}

// strangersBytes are below the limit of one request.
const strangersBytes = 1_000_000

// http1Stranger sends one request until Envoy closes the connection.
func http1Stranger(_ *testing.T, m *mesh) func(context.Context) {
	request := "POST /mcp HTTP/1.1\r\n" + known + "Content-Length: 1000001\r\n\r\n" + strings.Repeat("x", strangersBytes)
	return func(ctx context.Context) {
		conn, err := net.Dial("tcp", m.address)
		if err != nil {
			return
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
		// Errors are what the attack is answered with.
		_, _ = io.WriteString(conn, request)
		_, _ = io.Copy(io.Discard, conn)
	}
}

// http2Stranger sends as many requests over a connection as Envoy lets it.
func http2Stranger(t *testing.T, m *mesh) func(context.Context) {
	client, body := http2Client(t, nil), strings.Repeat("x", strangersBytes)
	return func(ctx context.Context) {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+m.address+"/mcp", endless(ctx, body))
		if err != nil {
			t.Error(err)
			return
		}
		request.Header.Set("Authorization", "Bearer token")
		if response, err := client.Do(request); err == nil {
			_ = response.Body.Close()
		}
	}
}

// count reads one of Envoy's counters; there is none without a name.
func (m *mesh) count(t *testing.T, counter string) uint64 {
	t.Helper()
	if counter == "" {
		return 0
	}
	stats, err := m.envoy.Stats(t.Context(), counter)
	if err != nil {
		t.Fatal(err)
	}
	return stats[counter]
}

// serves reports whether a request over a new connection is answered by the
// upstream, within a second.
func (m *mesh) serves(t *testing.T) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+m.address+"/mcp", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer token")
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err == nil && response.StatusCode == http.StatusOK
}

// memory is how many bytes Envoy's allocator holds of the system.
func memory(t *testing.T, m *mesh) int {
	t.Helper()
	response, err := http.Get(m.envoy.AdminURL() + "/memory")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var figures struct {
		Physical int `json:"total_physical_bytes,string"`
	}
	if err := json.NewDecoder(response.Body).Decode(&figures); err != nil {
		t.Fatal(err)
	}
	return figures.Physical
}
