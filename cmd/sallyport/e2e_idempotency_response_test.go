package main_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// chunks is a body without a length, whose parts leave on their own.
func chunks(status int, parts ...string) play {
	return func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(status)
		for _, part := range parts {
			_, _ = io.WriteString(w, part)
			w.(http.Flusher).Flush()
		}
	}
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestResponseShapes sends a REST write twice: what the client gets of each shape
// of an answer, the first time and again.
func TestResponseShapes(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	compressed := gzipped(t, "compressed")
	large := strings.Repeat("0123456789abcdef", 3<<20/16)
	shapes := map[string]struct {
		play   play
		status int
		body   string
		header http.Header // of both answers
		retry  string      // replayed, or the reason of a refusal
	}{
		"small":              {answers(201, "done", "Content-Type", "text/plain"), 201, "done", http.Header{"Content-Type": {"text/plain"}}, "replayed"},
		"empty":              {answers(200, ""), 200, "", nil, "replayed"},
		"no content":         {answers(204, ""), 204, "", http.Header{"Content-Type": nil}, "replayed"},
		"not modified":       {answers(304, "", "ETag", `"1"`), 304, "", http.Header{"Etag": {`"1"`}}, "replayed"},
		"see other":          {answers(303, "there", "Location", "/orders/7"), 303, "there", http.Header{"Location": {"/orders/7"}}, "replayed"},
		"permanent redirect": {answers(308, "", "Location", "https://other.test/"), 308, "", http.Header{"Location": {"https://other.test/"}}, "replayed"},
		"gzip":               {answers(200, compressed, "Content-Encoding", "gzip", "Content-Type", "text/plain"), 200, compressed, http.Header{"Content-Encoding": {"gzip"}}, "replayed"},
		"a chunk":            {chunks(200, "whole"), 200, "whole", nil, "replayed"},
		"chunks":             {chunks(200, "in ", "three ", "parts"), 200, "in three parts", nil, "replayed"},
		"chunks, then end":   {chunks(200, "in parts", ""), 200, "in parts", nil, "replayed"},
		"no chunk":           {chunks(200), 200, "", nil, "replayed"},
		"many chunks":        {chunks(200, strings.SplitAfter(large[:1000], "")...), 200, large[:1000], nil, "replayed"},
		"too large":          {answers(201, large), 201, large, nil, "idempotency.not_retained"},
		"chunks, too large":  {chunks(201, large[:2000], large[2000:6000], large[6000:]), 201, large, nil, "idempotency.not_retained"},
		"one byte too many":  {answers(200, large[:maxKept+1]), 200, large[:maxKept+1], nil, "idempotency.not_retained"},
		"many headers":       {answers(200, "x", strings.Split(strings.Repeat("Link,</a>,", 40), ",")[:80]...), 200, "x", nil, "idempotency.not_retained"},
		"partial":            {answers(206, "part", "Content-Range", "bytes 0-3/9"), 206, "part", http.Header{"Content-Range": {"bytes 0-3/9"}}, "idempotency.not_retained"},
		"an informational":   {func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(103); w.WriteHeader(201) }, 201, "", nil, "replayed"},
		"trailers": {func(w http.ResponseWriter, _ *http.Request, _ int) {
			_, _ = io.WriteString(w, "body")
			w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
		}, 200, "body", nil, "replayed"},
		"chunks and trailers": {func(w http.ResponseWriter, r *http.Request, n int) {
			chunks(200, "in ", "parts")(w, r, n)
			w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
		}, 200, "in parts", nil, "replayed"},
		"a length and trailers": {func(w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("Content-Length", "8")
			chunks(200, "in ", "parts")(w, r, n)
			w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
		}, 200, "in parts", nil, "replayed"},
		"trailers alone": {func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
		}, 200, "", nil, "replayed"},
		"trailers, too large": {func(w http.ResponseWriter, r *http.Request, n int) {
			chunks(201, large[:2000], large[2000:])(w, r, n)
			w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
		}, 201, large, nil, "idempotency.not_retained"},
		"a body that is none": {answers(200, "\x00"), 200, "\x00", nil, "replayed"},
	}
	clients := map[string]*http.Client{"HTTP/1.1": clientOf(t, &http.Transport{}), "HTTP/2.0": http2Client(t)}
	ways := []struct{ proto, path, upstream string }{
		{"HTTP/1.1", "/orders", "HTTP/1.1"}, {"HTTP/2.0", "/orders", "HTTP/1.1"},
		{"HTTP/1.1", "/modern/orders", "HTTP/2"}, {"HTTP/2.0", "/modern/orders", "HTTP/2"},
	}
	for _, way := range ways {
		proto, client := way.proto, clients[way.proto]
		for name, c := range shapes {
			t.Run(proto+" to "+way.upstream+", "+name, func(t *testing.T) {
				t.Parallel()
				s := x.scene(c.play)
				write := withClient(s.order(x.caller(t, "alice")), client).with("Accept-Encoding", "gzip")
				write.path = way.path
				a := x.send(t, write)
				x.answered(t, a, c.status, "executed")
				b := x.send(t, write)
				x.retried(t, b, a, c.retry)
				got := []answer{a}
				if c.retry == "replayed" {
					got = append(got, b)
				}
				for i, a := range got {
					if a.body != c.body || a.proto != proto {
						t.Errorf("answer %d: %s with %d bytes, want %d", i, a.proto, len(a.body), len(c.body))
					}
					for name, want := range c.header {
						if diff := cmp.Diff(want, a.header[name]); diff != "" {
							t.Errorf("answer %d: %s (-want +got):\n%s", i, name, diff)
						}
					}
				}
				s.executed(t, 1)
			})
		}
	}
}

// TestResponseIsHeld checks that a client sees the end of an answer only when it
// is stored: the retry never comes too early.
func TestResponseIsHeld(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{})
	for dialect, write := range dialects() {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			token := x.caller(t, "alice")
			for range 20 {
				s := x.scene(nil)
				a := x.send(t, write(s, token))
				if b := x.send(t, write(s, token)); b.header.Get("Idempotent-Replayed") != "true" || b.body != a.body {
					t.Fatalf("after the answer %s a retry gets %d %s", a.body, b.status, b.body)
				}
				s.executed(t, 1)
			}
		})
	}
}
