package identity

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Hazards 7 and 8: nothing that isn't a good set takes the place of one.
func TestBadAnswersNeverReplaceAGoodSet(t *testing.T) {
	t.Parallel()
	good := keySetOf("a", "new")
	tests := map[string]struct {
		answer answerFunc
		why    string
	}{
		"empty object":      {ok(`{}`), `"keys" is missing`},
		"empty set":         {ok(`{"keys":[]}`), "none of 0 keys"},
		"empty body":        {ok(``), "not a JSON object"},
		"HTML":              {answer(200, "<html>maintenance</html>", "Content-Type", "text/html"), "not a JSON object"},
		"cut off":           {ok(good[:len(good)-10]), "unexpected EOF"},
		"only unusable":     {ok(jwks(ecJWK("a", `"use":"enc"`), `{"kty":"oct","kid":"new","k":"AA"}`)), "none of 2 keys"},
		"oversize":          {ok(good + strings.Repeat(" ", 1<<20)), "more than 1048576 bytes"},
		"endless":           {endless(), "deadline exceeded"},
		"gzip":              {answer(200, "\x1f\x8b\x08\x00", "Content-Encoding", "gzip"), `unasked content encoding "gzip"`},
		"gzip, unannounced": {ok("\x1f\x8b\x08\x00"), "not a JSON object"},
		"redirect":          {answer(302, good, "Location", "https://elsewhere.example/keys"), "status 302"},
		"other 2xx":         {answer(206, good), "status 206"},
		"not found":         {answer(404, good), "status 404"},
		"too many requests": {answer(429, good), "status 429"},
		"server error":      {answer(500, good), "status 500"},
		"slow":              {hangs(), "deadline exceeded"},
		"slow, then good":   {after(6*time.Second, ok(good)), "deadline exceeded"},
		"connection lost":   {failing(errors.New("reset by peer")), "reset by peer"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newFakeProvider()
				p.set("https://elsewhere.example/keys", ok(good))
				p.set(testKeysURL, ok(keySetOf("a")))
				k := running(t, p)
				p.set(testKeysURL, test.answer)
				time.Sleep(2 * time.Hour)

				wantKey(t, k, "a", "")
				wantKey(t, k, "new", UnknownKeyID)
				s := k.Status()
				if k.Generation() != 1 || s.Failures == 0 || s.Refreshes != s.Failures+1 || !strings.Contains(s.LastError, test.why) {
					t.Errorf("status %+v, want failures because %q", s, test.why)
				}
				if !strings.Contains(s.LastError, testKeysURL) {
					t.Errorf("error %q doesn't name the URL", s.LastError)
				}
				if n := p.count("https://elsewhere.example/keys"); n != 0 {
					t.Errorf("a redirect was followed %d times", n)
				}
				p.set(testKeysURL, ok(good))
				time.Sleep(2 * lastBackoff)
				wantKey(t, k, "new", "")
			})
		})
	}
}

// endless sends spaces, one a second, until the request ends.
func endless() answerFunc {
	return func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: &drip{req.Context()}}, nil
	}
}

type drip struct{ ctx context.Context }

func (d *drip) Read(b []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		b[0] = ' '
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

func (d *drip) Close() error { return nil }

// One bad key is left out, shown, and doesn't keep a rotation away.
func TestBadKeyDoesNotFailTheSet(t *testing.T) {
	t.Parallel()
	p := newFakeProvider()
	p.set(testKeysURL, ok(keySetOf("a")))
	k := loaded(t, p)
	p.set(testKeysURL, ok(jwks(
		`{"kid":"pq","kty":"AKP","alg":"ML-DSA-65","pub":"AA"}`,
		`{"kid":"k1","kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}`,
		`{"kid":"448","kty":"OKP","crv":"Ed448","x":"AA"}`,
		ecJWK("tls", `"use":"tls"`),
		ecJWK("b", `"x5c":["broken"]`), ecJWK("c", `"x5u":"https://issuer.example/cert"`))))
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := k.Status()
	if diff := cmp.Diff([]string{"b", "c"}, s.KeyIDs); diff != "" || len(s.Dropped) != 4 {
		t.Errorf("kids %s, dropped %q", diff, s.Dropped)
	}
	if n := p.count("https://issuer.example/cert"); n != 0 {
		t.Errorf("an x5u was fetched %d times", n)
	}
	wantKey(t, k, "b", "")
	wantKey(t, k, "a", UnknownKeyID)
}

// The generation changes with the keys, with nothing else.
func TestGeneration(t *testing.T) {
	t.Parallel()
	p := newFakeProvider()
	steps := []struct {
		what, set string
		want      uint64
	}{
		{"first set", keySetOf("a", "b"), 1},
		{"the same", keySetOf("a", "b"), 1},
		{"another order", keySetOf("b", "a"), 1},
		{"with a key that isn't used", jwks(ecJWK("a"), ecJWK("b"), ecJWK("c", `"use":"enc"`)), 1},
		{"with members that don't matter", jwks(ecJWK("a", `"x5t":"AA"`, `"use":"sig"`), ecJWK("b")), 1},
		{"one more", keySetOf("a", "b", "c"), 2},
		{"one less", keySetOf("a", "c"), 3},
		{"an alg", jwks(ecJWK("a", `"alg":"ES256"`), ecJWK("c")), 4},
		{"an issuer", jwks(ecJWK("a", `"alg":"ES256"`, `"issuer":"https://i"`), ecJWK("c")), 5},
		{"other material under one kid", jwks(strings.Replace(ecJWK("x"), `"x"`, `"a"`, 1), ecJWK("c")), 6},
		{"back to the first", keySetOf("a", "b"), 7},
	}
	k := newTestKeySet(t, p)
	for _, step := range steps {
		p.set(testKeysURL, ok(step.set))
		if err := k.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := k.Generation(); got != step.want {
			t.Errorf("%s: generation %d, want %d", step.what, got, step.want)
		}
		p.set(testKeysURL, status(500))
		if err := k.Load(t.Context()); err != nil {
			t.Fatalf("a set is there, so a failure is only logged: %v", err)
		}
		if got := k.Generation(); got != step.want {
			t.Errorf("%s, then a failure: generation %d, want %d", step.what, got, step.want)
		}
	}
}
