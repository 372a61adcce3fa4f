package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/pim/provider/providertest"
)

// authority issues tokens tok-1, tok-2, …; a test may answer otherwise.
type authority struct {
	url, caFile string
	asked       atomic.Int32
	expiresIn   any
	answer      func(w http.ResponseWriter, form url.Values) (done bool)
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{expiresIn: 3600}
	a.url, a.caFile = providertest.ServeTLS(t, func(w http.ResponseWriter, r *http.Request) {
		n := a.asked.Add(1)
		if err := r.ParseForm(); err != nil || r.Method != http.MethodPost || r.Form.Get("grant_type") != "client_credentials" {
			t.Errorf("bad question for a token: %s %v %v", r.Method, r.Form, err)
		}
		if a.answer != nil && a.answer(w, r.PostForm) {
			return
		}
		providertest.WriteJSON(w, http.StatusOK, map[string]any{"token_type": "bearer", "expires_in": a.expiresIn, "access_token": fmt.Sprintf("tok-%d", n)})
	})
	return a
}

// clock is set by its test.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return noon.Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

func (a *authority) client(t testing.TB, cfg OAuthConfig, now func() time.Time) *oauth {
	t.Helper()
	c, err := newClient(a.caFile, now)
	if err != nil {
		t.Fatal(err)
	}
	cfg.TokenURL, cfg.ClientID = a.url+"/token", "our-client"
	o, err := newOAuth(&cfg, c, now)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func wantToken(t *testing.T, o *oauth, want string) {
	t.Helper()
	if got, err := o.value(t.Context()); err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestTokensAreKeptUntilShortlyBeforeTheirEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		expiresIn any
		until     time.Duration
	}{
		"an hour":   {3600, time.Hour - 90*time.Second},
		"a day":     {86400, time.Hour - 90*time.Second},
		"a minute":  {60, 45 * time.Second},
		"not said":  {nil, 45 * time.Second},
		"fractions": {60.5, 45 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, at := newAuthority(t), &clock{}
			a.expiresIn = c.expiresIn
			o := a.client(t, OAuthConfig{SecretFile: secretIn(t, "hunter2"), Scope: "a b"}, at.now)
			wantToken(t, o, "Bearer tok-1")
			at.advance(c.until - time.Second)
			wantToken(t, o, "Bearer tok-1")
			at.advance(2 * time.Second)
			wantToken(t, o, "Bearer tok-2")
		})
	}
}

func TestTokensAreAskedForWithTheSecretOfNow(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	var secrets []string
	a.answer = func(_ http.ResponseWriter, form url.Values) bool {
		secrets = append(secrets, form.Get("client_secret"))
		if form.Get("client_id") != "our-client" || form.Get("scope") != "a b" {
			t.Errorf("got %v", form)
		}
		return false
	}
	file := secretIn(t, "hunter2")
	o := a.client(t, OAuthConfig{SecretFile: file, Scope: "a b"}, atNoon)
	wantToken(t, o, "Bearer tok-1")
	if err := os.WriteFile(file, []byte("hunter3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantToken(t, o, "Bearer tok-1")
	o.refused("Bearer tok-0") // of another
	wantToken(t, o, "Bearer tok-1")
	o.refused("Bearer tok-1")
	wantToken(t, o, "Bearer tok-2")
	if got := fmt.Sprint(secrets); got != "[hunter2 hunter3]" {
		t.Errorf("got %s", got)
	}
	o.refused("Bearer tok-2")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := o.value(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that the file is missing", err)
	}
}

// roundTrip is a provider without a network, for tests in a bubble.
type roundTrip func(*http.Request) (status int, body string)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := f(r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}, nil
}

const aToken = `{"token_type":"Bearer","access_token":"tok","expires_in":60}`

func inMemory(t *testing.T, answer roundTrip) *oauth {
	t.Helper()
	c := &client{http: &http.Client{Transport: answer}, now: atNoon}
	o, err := newOAuth(&OAuthConfig{TokenURL: "https://example.com", ClientID: "our-client", SecretFile: secretIn(t, "hunter2")}, c, atNoon)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestOneCallerAsks holds the answer back until everybody waits.
func TestOneCallerAsks(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusOK, http.StatusServiceUnavailable} {
		synctest.Test(t, func(t *testing.T) {
			asked, release := 0, make(chan struct{})
			o := inMemory(t, func(*http.Request) (int, string) {
				asked++
				<-release
				return status, aToken
			})
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					token, err := o.value(t.Context())
					if (status == http.StatusOK) != (err == nil && token == "Bearer tok") {
						t.Errorf("got %q, %v", token, err)
					}
				})
			}
			synctest.Wait()
			close(release)
			all.Wait()
			if asked != 1 {
				t.Errorf("status %d: asked %d times", status, asked)
			}
			// What failed for those who waited doesn't fail for whoever comes later.
			_, _ = o.value(t.Context())
			if want := map[int]int{200: 1, 503: 2}[status]; asked != want {
				t.Errorf("status %d: asked %d times, want %d", status, asked, want)
			}
		})
	}
}

func TestACallerGivesUpWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		o := inMemory(t, func(*http.Request) (int, string) { <-release; return 200, aToken })
		var first sync.WaitGroup
		first.Go(func() { wantToken(t, o, "Bearer tok") })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := o.value(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(release)
		first.Wait()
	})
}

// TestACallerThatGaveUpFailsNobodyElse lets the one who asks give up.
func TestACallerThatGaveUpFailsNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		o := inMemory(t, func(r *http.Request) (int, string) {
			if asked++; asked == 1 {
				<-r.Context().Done()
			}
			return 200, aToken
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var both sync.WaitGroup
		both.Go(func() {
			if _, err := o.value(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
		synctest.Wait()
		both.Go(func() { wantToken(t, o, "Bearer tok") })
		both.Wait()
	})
}

func TestAnswersThatAreNoToken(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]map[string]any{
		"DPoP":          {"token_type": "DPoP", "access_token": "hunter3"},
		"no type":       {"access_token": "hunter3"},
		"no token":      {"token_type": "Bearer"},
		"a line break":  {"token_type": "Bearer", "access_token": "hunter3\r\nX: y"},
		"a blank":       {"token_type": "Bearer", "access_token": "hunter3 x"},
		"ended":         {"token_type": "Bearer", "access_token": "hunter3", "expires_in": -1},
		"expiry, words": {"token_type": "Bearer", "access_token": "hunter3", "expires_in": "soon"},
	} {
		a := newAuthority(t)
		a.answer = func(w http.ResponseWriter, _ url.Values) bool { providertest.WriteJSON(w, 200, answer); return true }
		o := a.client(t, OAuthConfig{SecretFile: secretIn(t, "hunter2")}, atNoon)
		if _, err := o.value(t.Context()); !errors.Is(err, ErrAnswer) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: got %v, want ErrAnswer without secrets", name, err)
		}
	}
}

func TestARefusedClient(t *testing.T) {
	t.Parallel()
	a, at := newAuthority(t), &clock{}
	a.answer = func(w http.ResponseWriter, form url.Values) bool {
		providertest.WriteJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client", "error_description": "AADSTS7000215: " + form.Get("client_secret")})
		return true
	}
	o := a.client(t, OAuthConfig{SecretFile: secretIn(t, "hunter2")}, at.now)
	_, err := o.value(t.Context())
	var failure *Error
	if !errors.As(err, &failure) || failure.Code != "invalid_client" || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	at.advance(tokenPause - time.Second)
	if _, again := o.value(t.Context()); again == nil || again.Error() != err.Error() || a.asked.Load() != 1 {
		t.Errorf("got %v after %d questions", again, a.asked.Load())
	}
	a.answer = nil
	at.advance(time.Second)
	wantToken(t, o, "Bearer tok-2")
}
