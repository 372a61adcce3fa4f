package provider

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/pim/provider/providertest"
)

// noon is the time of tests whose providers look at the clock.
var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func atNoon() time.Time { return noon }

// secretIn writes a file with a secret.
func secretIn(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func answerJSON(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}

func jsonAnswer(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, status, text) }
}

// garbage is what no provider may take for an answer.
func garbage() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"page":         func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>sign in</html>")) },
		"nothing":      jsonAnswer(200, ""),
		"no content":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"cut":          jsonAnswer(200, `{"elevated":true,"response":[`),
		"null":         jsonAnswer(200, `null`),
		"object":       jsonAnswer(200, `{}`),
		"list":         jsonAnswer(200, `[]`),
		"text":         jsonAnswer(200, `"elevated"`),
		"true":         jsonAnswer(200, `true`),
		"two":          jsonAnswer(200, `{"elevated":true}{}`),
		"long":         jsonAnswer(200, `{"elevated":true,"response":[],"x":"`+strings.Repeat("x", 1<<20)+`"}`),
		"deep":         jsonAnswer(200, strings.Repeat(`[`, 20_000)+strings.Repeat(`]`, 20_000)),
		"not a list":   jsonAnswer(200, `{"response":{},"items":1,"Requests":"x","totalCount":0}`),
		"list of text": jsonAnswer(200, `{"response":["x"],"items":["x"],"Requests":[1],"totalCount":1}`),
	}
}

// testFailures wants an error, and nobody elevated, of a provider that fails in every
// way. connect makes one for an endpoint.
func testFailures(t *testing.T, who Subject, connect func(t *testing.T, endpoint string) Provider) {
	t.Helper()
	for name, handler := range garbage() {
		t.Run("garbage/"+name, func(t *testing.T) {
			t.Parallel()
			wantFailure(t, connect(t, providertest.Serve(t, handler)), who, 0)
		})
	}
	for _, status := range []int{301, 302, 307, 400, 401, 403, 404, 409, 429, 500, 502, 503, 504} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			wantFailure(t, connect(t, providertest.Serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.Header().Set("Retry-After", "17")
				answerJSON(w, status, `{"elevated":true,"ErrorCode":"PASWS042E","ErrorMessage":"It didn't work"}`)
			})), who, status)
		})
	}
	t.Run("hang", func(t *testing.T) {
		t.Parallel()
		p := connect(t, providertest.Serve(t, func(_ http.ResponseWriter, r *http.Request) { untilGone(r) }))
		wantDeadline(t, p, who)
	})
	t.Run("slow", func(t *testing.T) {
		t.Parallel()
		p := connect(t, providertest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			answerJSON(w, 200, `{"elevated":`)
			_ = http.NewResponseController(w).Flush()
			untilGone(r)
		}))
		wantDeadline(t, p, who)
	})
	t.Run("away", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewServer(http.NotFoundHandler())
		server.Close()
		wantFailure(t, connect(t, server.URL), who, 0)
	})
}

// untilGone returns when the caller has gone, which a server only sees once it has
// read the body.
func untilGone(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func wantFailure(t *testing.T, p Provider, who Subject, status int) {
	t.Helper()
	got, err := p.Check(t.Context(), who)
	if err == nil || got != (Status{}) {
		t.Fatalf("Check = %+v, %v; want an error", got, err)
	}
	var answer *Error
	if status != 0 && (!errors.As(err, &answer) || answer.Status != status || answer.RetryIn != 17*time.Second || answer.Code != "PASWS042E") {
		t.Errorf("Check: %v (%+v), want status %d", err, answer, status)
	}
}

func wantDeadline(t *testing.T, p Provider, who Subject) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := p.Check(ctx, who); !errors.Is(err, context.DeadlineExceeded) || got.Active {
		t.Errorf("Check = %+v, %v; want the deadline", got, err)
	}
}

// wantStatus wants this answer of a provider.
func wantStatus(t *testing.T, p Provider, who Subject, want Status) {
	t.Helper()
	got, err := p.Check(t.Context(), who)
	if err != nil || got.Active != want.Active || !got.Until.Equal(want.Until) || got.Evidence != want.Evidence {
		t.Errorf("Check(%v) = %+v, %v; want %+v", who, got, err, want)
	}
}

func wantPoll(t *testing.T, p Provider, ref string, who Subject, want FiledState) Filed {
	t.Helper()
	filed, err := p.Poll(t.Context(), ref, who)
	if err != nil || filed.State != want || filed.Ref != ref {
		t.Errorf("Poll(%s) = %+v, %v; want %s", ref, filed, err, want)
	}
	return filed
}
