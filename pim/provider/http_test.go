package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/pim/provider/providertest"
)

func writeFile(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// called makes a client for a handler.
func called(t testing.TB, handler http.HandlerFunc) (*client, string) {
	t.Helper()
	address, caFile := providertest.ServeTLS(t, handler)
	c, err := newClient(caFile, atNoon)
	if err != nil {
		t.Fatal(err)
	}
	return c, address
}

func secretHeader() http.Header { return http.Header{"Authorization": {"Bearer s3cr3t-token"}} }

func TestCallSendsAndReadsJSON(t *testing.T) {
	t.Parallel()
	c, address := called(t, func(w http.ResponseWriter, r *http.Request) {
		var body map[string]string
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		providertest.WriteJSON(w, http.StatusCreated, map[string]string{
			"said": body["say"], "type": r.Header.Get("Content-Type"), "token": r.Header.Get("Authorization"), "accept": r.Header.Get("Accept"),
		})
	})
	var answer map[string]string
	if err := c.call(t.Context(), http.MethodPost, address+"/x", secretHeader(), map[string]string{"say": "hello"}, &answer); err != nil {
		t.Fatal(err)
	}
	want := "map[accept:application/json said:hello token:Bearer s3cr3t-token type:application/json]"
	if got := fmt.Sprint(answer); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := c.call(t.Context(), http.MethodPost, address+"/x", nil, map[string]string{}, nil); err != nil {
		t.Errorf("answer not wanted: %v", err)
	}
}

func TestCallOfAVendorsErrors(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 400)
	for name, c := range map[string]struct{ body, code, message string }{
		"graph":     {`{"error":{"code":"Authorization_RequestDenied","message":"Insufficient privileges","innerError":{"date":"x"}}}`, "Authorization_RequestDenied", "Insufficient privileges"},
		"oauth":     {`{"error":"invalid_client","error_description":"AADSTS7000215: bad","error_codes":[7000215]}`, "invalid_client", "AADSTS7000215: bad"},
		"okta":      {`{"errorCode":"E0000011","errorSummary":"Invalid token provided","errorCauses":[]}`, "E0000011", "Invalid token provided"},
		"pvwa":      {`{"ErrorCode":"PASWS013E","ErrorMessage":"Authentication failure"}`, "PASWS013E", "Authentication failure"},
		"plain":     {`{"code":1234,"message":"no"}`, "1234", "no"},
		"problem":   {`{"type":"about:blank","title":"Forbidden","detail":"why","status":403}`, "Forbidden", "why"},
		"html":      {`<html>gateway</html>`, "", ""},
		"nothing":   {``, "", ""},
		"array":     {`[{"code":"x"}]`, "", ""},
		"odd types": {`{"error":{"code":{},"message":[1]},"errorCode":true}`, "", ""},
		"long":      {`{"error":{"code":"` + long + `","message":"` + long + `"}}`, long[:512], long[:512]},
		"the token": {`{"error":{"code":"s3cr3t-token","message":"token 's3cr3t-token' is bad"}}`, "[secret]", "token '[secret]' is bad"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, address := called(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprint(w, c.body)
			})
			err := client.call(t.Context(), http.MethodGet, address+"/p?user=alice", secretHeader(), nil, &struct{}{})
			var failure *Error
			if !errors.As(err, &failure) {
				t.Fatalf("got %v, want an *Error", err)
			}
			if failure.Status != http.StatusForbidden || failure.Code != c.code || failure.Message != c.message {
				t.Errorf("got %+v, want code %q, message %q", failure, c.code, c.message)
			}
			if text := err.Error(); strings.Contains(text, "s3cr3t") || strings.Contains(text, "alice") {
				t.Errorf("the error tells too much: %s", text)
			}
		})
	}
}

func TestCallTellsWhenToRetry(t *testing.T) {
	t.Parallel()
	date := func(d time.Duration) string { return noon.Add(d).Format(http.TimeFormat) }
	for name, c := range map[string]struct {
		status int
		header map[string]string
		want   time.Duration
	}{
		"seconds":                  {429, map[string]string{"Retry-After": "17"}, 17 * time.Second},
		"seconds of a 503":         {503, map[string]string{"Retry-After": "3"}, 3 * time.Second},
		"date":                     {429, map[string]string{"Retry-After": date(40 * time.Second)}, 40 * time.Second},
		"date in the past":         {429, map[string]string{"Retry-After": date(-time.Hour)}, 0},
		"date by their clock":      {429, map[string]string{"Retry-After": date(time.Hour), "Date": date(time.Hour - 5*time.Second)}, 5 * time.Second},
		"limit reset":              {429, map[string]string{"X-Rate-Limit-Reset": fmt.Sprint(noon.Unix() + 21)}, 21 * time.Second},
		"limit reset by theirs":    {429, map[string]string{"X-Rate-Limit-Reset": fmt.Sprint(noon.Unix() + 100), "Date": date(90 * time.Second)}, 10 * time.Second},
		"limit reset of no 429":    {500, map[string]string{"X-Rate-Limit-Reset": fmt.Sprint(noon.Unix() + 21)}, 0},
		"retry-after before reset": {429, map[string]string{"Retry-After": "2", "X-Rate-Limit-Reset": fmt.Sprint(noon.Unix() + 21)}, 2 * time.Second},
		"too long":                 {429, map[string]string{"Retry-After": "2000000000"}, 24 * time.Hour},
		"longer than a duration":   {429, map[string]string{"X-Rate-Limit-Reset": "4000000000000000000"}, 24 * time.Hour},
		"negative":                 {429, map[string]string{"Retry-After": "-5"}, 0},
		"words":                    {429, map[string]string{"Retry-After": "soon"}, 0},
		"nothing":                  {429, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, address := called(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Date"] = nil
				for name, value := range c.header {
					w.Header().Set(name, value)
				}
				w.WriteHeader(c.status)
			})
			err := client.call(t.Context(), http.MethodGet, address, nil, nil, nil)
			var failure *Error
			if !errors.As(err, &failure) || failure.RetryIn != c.want {
				t.Errorf("got %+v (%v), want %v", failure, err, c.want)
			}
		})
	}
}

func TestCallFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other, _ := providertest.ServeTLS(t, func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	for _, status := range []int{301, 302, 303, 307, 308} {
		c, address := called(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/" {
				elsewhere.Add(1)
			}
			http.Redirect(w, r, []string{other, "/here"}[status%2], status)
		})
		err := c.call(t.Context(), http.MethodGet, address, secretHeader(), nil, nil)
		var failure *Error
		if !errors.As(err, &failure) || failure.Status != status {
			t.Errorf("status %d: got %v, want an *Error of it", status, err)
		}
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

func TestCallRefusesBadAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ contentType, body string }{
		"html":               {"text/html", "<html>"},
		"JSON as text":       {"text/plain", "{}"},
		"no content type":    {"", "{}"},
		"garbage":            {"application/json", "\x00\x01{"},
		"cut short":          {"application/json", `{"a":1`},
		"two documents":      {"application/json", `{}{}`},
		"nothing":            {"application/json", ""},
		"another type":       {"application/json", `{"a":"s3cr3t-token"}`},
		"larger than a MiB":  {"application/json", `{"a":1,"b":"` + strings.Repeat("x", 1<<20) + `"}`},
		"blanks after it":    {"application/json", `{"a":1}` + strings.Repeat(" ", 1<<20)},
		"compressed unasked": {"application/json", "\x1f\x8b\x08\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, address := called(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{c.contentType}
				fmt.Fprint(w, c.body)
			})
			var answer struct{ A int }
			err := client.call(t.Context(), http.MethodGet, address, secretHeader(), nil, &answer)
			if !errors.Is(err, ErrAnswer) || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("got %v, want ErrAnswer without the token", err)
			}
		})
	}
}

func TestCallTakesAnAnswerOfAMiB(t *testing.T) {
	t.Parallel()
	client, address := called(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		fmt.Fprintf(w, `{"b":"%s"}`, strings.Repeat("x", longestAnswer-8))
	})
	if err := client.call(t.Context(), http.MethodGet, address, nil, nil, &struct{ B string }{}); err != nil {
		t.Error(err)
	}
}

func TestCallKeepsToTheDeadline(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]string{"hang": "", "slow": `{"a":`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, address := called(t, func(w http.ResponseWriter, r *http.Request) {
				if begin != "" {
					w.Header().Set("Content-Type", "application/json")
					fmt.Fprint(w, begin)
					w.(http.Flusher).Flush()
				}
				<-r.Context().Done()
			})
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			err := client.call(ctx, http.MethodGet, address+"/p?user=alice", secretHeader(), nil, &struct{}{})
			if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "alice") {
				t.Errorf("got %v, want the deadline's error without the query", err)
			}
		})
	}
}

func TestCallTrustsOnlyTheConfiguredCA(t *testing.T) {
	t.Parallel()
	address, _ := providertest.ServeTLS(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") })
	system, err := newClient("", atNoon)
	if err != nil {
		t.Fatal(err)
	}
	if err := system.call(t.Context(), http.MethodGet, address, secretHeader(), nil, nil); err == nil {
		t.Error("a CA that isn't the system's was trusted")
	}
	for name, file := range map[string]string{"missing": "/nowhere/ca.pem", "empty": writeFile(t, ""), "garbage": writeFile(t, "x")} {
		if _, err := newClient(file, atNoon); err == nil {
			t.Errorf("%s CA file: no error", name)
		}
	}
}

func TestCheckAddress(t *testing.T) {
	t.Parallel()
	for address, good := range map[string]bool{
		"https://graph.microsoft.com/v1.0": true, "https://127.0.0.1:8443": true, "http://127.0.0.1:80/x": true, "http://[::1]/x": true,
		"http://example.com": false, "http://localhost": false, "http://10.0.0.1": false, "http://127.0.0.1.example.com": false,
		"": false, "example.com": false, "https://": false, "https://:443": false, "ftp://example.com": false, "//example.com": false,
		"https://u:p@example.com": false, "https://example.com/#x": false, "https://exa mple.com": false, "https://%zz": false,
	} {
		err := checkAddress(address)
		if good != (err == nil) {
			t.Errorf("%q: got %v", address, err)
		}
		if err != nil && strings.Contains(err.Error(), ":p@") {
			t.Errorf("%q: the password is in %v", address, err)
		}
	}
	c, _ := called(t, nil)
	if err := c.call(t.Context(), http.MethodGet, "http://example.com", secretHeader(), nil, nil); err == nil {
		t.Error("a token was sent without TLS")
	}
}

func TestSecretsOfABodyStayOutOfErrors(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]any{
		"secret":    url.Values{"client_secret": {"hunter2"}},
		"assertion": url.Values{"client_assertion": {"hunter2"}},
		"password":  map[string]any{"password": "hunter2"},
	} {
		c, address := called(t, func(w http.ResponseWriter, _ *http.Request) {
			providertest.WriteJSON(w, http.StatusBadRequest, map[string]string{"code": "x", "message": "hunter2 is wrong"})
		})
		err := c.call(t.Context(), http.MethodPost, address, nil, body, nil)
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "is wrong") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzVendorError(f *testing.F) {
	f.Add([]byte(`{"error":{"code":"c","message":"m"}}`))
	f.Add([]byte(`{"error":"c","error_description":"m s3cr3t"}`))
	f.Add([]byte(`{"errorCode":1e400}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		code, message := vendorError(text, []string{"s3cr3t"})
		for _, s := range []string{code, message} {
			if len(s) > longestVendorText || strings.Contains(s, "s3cr3t") {
				t.Errorf("got %q", s)
			}
		}
	})
}
