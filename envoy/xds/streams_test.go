package xds_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/sallyport/sallyport/envoy/xds"
)

func TestEventStreamIsNotHeldBack(t *testing.T) {
	t.Parallel()
	m := start(t, settings{config: func(c *xds.Config) { c.RequestTimeout = 100 * time.Millisecond }})
	next := make(chan bool)
	m.upstream.answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, event := range []string{"data: 1\n\n", "data: 2\n\n"} {
			_, _ = io.WriteString(w, event)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+m.address+"/mcp", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer token")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	for _, want := range []string{"data: 1\n\n", "data: 2\n\n"} {
		event := make([]byte, len(want))
		if _, err := io.ReadFull(response.Body, event); err != nil || string(event) != want {
			t.Fatalf("got %q, %v; want %q", event, err, want)
		}
		time.AfterFunc(200*time.Millisecond, func() { next <- true }) // longer than the request's timeout
	}
}

// TestEventStreamEndsInTime: a stream whose server never stops sending ends when
// the time is over that Check gave it, and in any case after the longest duration.
func TestEventStreamEndsInTime(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		method, timeout string // milliseconds, as Check sets it
		duration        time.Duration
		least           time.Duration // the most is that of this test
	}{
		"GET, timeout":    {http.MethodGet, "500", 0, 400 * time.Millisecond},
		"POST, timeout":   {http.MethodPost, "500", 0, 400 * time.Millisecond},
		"duration":        {http.MethodGet, "", time.Second, 900 * time.Millisecond},
		"longer timeout":  {http.MethodGet, "3600000", time.Second, 900 * time.Millisecond},
		"longer duration": {http.MethodGet, "500", 10 * time.Minute, 400 * time.Millisecond},
	}
	for proto, client := range map[string]*http.Client{"HTTP/1.1": http.DefaultClient, "HTTP/2": http2Client(t, nil)} {
		for name, test := range tests {
			t.Run(proto+", "+name, func(t *testing.T) {
				t.Parallel()
				m := start(t, settings{config: func(c *xds.Config) { c.MaxStreamDuration = test.duration }})
				if test.timeout != "" {
					m.check.allow("x-envoy-upstream-rq-timeout-ms", test.timeout)
				}
				stopped := make(chan bool)
				m.upstream.answers(func(w http.ResponseWriter, r *http.Request) {
					defer close(stopped)
					w.Header().Set("Content-Type", "text/event-stream")
					for r.Context().Err() == nil {
						_, _ = io.WriteString(w, "data: x\n\n")
						_ = http.NewResponseController(w).Flush()
						pause(r, 20*time.Millisecond)
					}
				})
				ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
				defer cancel()
				request, err := http.NewRequestWithContext(ctx, test.method, "http://"+m.address+"/mcp", nil)
				if err != nil {
					t.Fatal(err)
				}
				request.Header.Set("Authorization", "Bearer token")
				began := time.Now()
				response, err := client.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				defer response.Body.Close()
				events, err := io.Copy(io.Discard, response.Body)
				if took := time.Since(began); took < test.least || ctx.Err() != nil {
					t.Errorf("the stream lasted %v, want %v or a little more", took, test.least)
				}
				if response.StatusCode != http.StatusOK || events == 0 || err == nil {
					t.Errorf("status %d, %d bytes of events, %v; want a stream that breaks off", response.StatusCode, events, err)
				}
				select {
				case <-stopped:
				case <-ctx.Done():
					t.Error("the upstream still sends")
				}
			})
		}
	}
}

// TestSlowRequestsEnd: a request has to arrive within its time, although streams
// may last and be silent for longer.
func TestSlowRequestsEnd(t *testing.T) {
	t.Parallel()
	m := start(t, settings{config: func(c *xds.Config) {
		c.ReceiveTimeout, c.CheckTimeout = 200*time.Millisecond, 300*time.Millisecond
	}})
	for name, client := range map[string]*http.Client{"HTTP/1.1": http.DefaultClient, "HTTP/2": http2Client(t, nil)} {
		began := time.Now()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+m.address+"/mcp", endless(t.Context(), "{"))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer token")
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		got := read(t, response)
		if took := time.Since(began); got.status != http.StatusRequestTimeout || took > patience {
			t.Errorf("%s: status %d after %v, want 408", name, got.status, took)
		}
	}
	if n := len(m.check.asked()) + len(m.upstream.requests()); n != 0 {
		t.Errorf("%d requests got through", n)
	}
	m.upstream.answers(func(_ http.ResponseWriter, r *http.Request) { pause(r, time.Second) })
	if got := m.post(t, "/mcp"); got.status != http.StatusOK {
		t.Errorf("a whole request with a slow answer: status %d, want 200", got.status)
	}
}
