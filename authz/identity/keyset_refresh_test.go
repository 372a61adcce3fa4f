package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Hazard 10: making a set fetches nothing and waits for nobody, and a first
// fetch that fails is tried again soon.
func TestFirstFetchIsRetriedSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, hangs())
		start := time.Now()
		k := newTestKeySet(t, p)
		if time.Since(start) != 0 || p.count(testKeysURL) != 0 {
			t.Fatal("NewKeySet fetches")
		}
		run(t, k)
		wantKey(t, k, "a", KeysUnavailable)
		if cause, took := lookup(t, k, "a"); cause != KeysUnavailable || took != 0 {
			t.Errorf("without a set: %q after %v, want an answer at once", cause, took)
		}
		time.Sleep(documentTimeout)
		p.set(testKeysURL, ok(keySetOf("a")))
		time.Sleep(firstBackoff)
		wantKey(t, k, "a", "")
	})
}

func TestLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, unreachable())
		k := newTestKeySet(t, p)
		err := k.Load(t.Context())
		if err == nil || !strings.Contains(err.Error(), `issuer "test"`) || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("provider away: %v", err)
		}
		wantKey(t, k, "a", KeysUnavailable)

		p.set(testKeysURL, hangs())
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("start takes too long"))
		defer cancel()
		if err := k.Load(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("fetch cut off: %v", err)
		}
		<-k.turn
		if err := k.Load(ctx); err == nil || !strings.Contains(err.Error(), "start takes too long") {
			t.Errorf("refresh of another is under way: %v", err)
		}
		k.giveTurn()

		p.set(testKeysURL, ok(keySetOf("a")))
		if err := k.Load(t.Context()); err != nil {
			t.Errorf("provider is back: %v", err)
		}
		wantKey(t, k, "a", "")
	})
}

// A set is fetched again before it is TTL old, not always at the same age, and
// Run doesn't fetch what Load just did.
func TestRefreshIsDueBeforeTTL(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, ok(keySetOf("a")))
		k := running(t, p)
		time.Sleep(24 * time.Hour)
		times := p.times(testKeysURL)
		waits := map[time.Duration]bool{}
		for i := 1; i < len(times); i++ {
			wait := times[i].Sub(times[i-1])
			waits[wait] = true
			if wait <= 54*time.Minute || wait > time.Hour {
				t.Errorf("refresh after %v, want within the last tenth of an hour", wait)
			}
		}
		if len(times) < 24 || len(waits) < 10 {
			t.Errorf("%d refreshes after %d different waits", len(times), len(waits))
		}
		if s := k.Status(); s.Age > time.Hour || s.Refreshes != uint64(len(times)) || s.Failures != 0 {
			t.Errorf("status %+v", s)
		}
	})
}

// A Load beside Run saves it a fetch, and doesn't make the set older than TTL.
func TestLoadBesideRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, ok(keySetOf("a")))
		k := running(t, p)
		time.Sleep(30 * time.Minute)
		if err := k.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 300 {
			time.Sleep(time.Minute)
			if age := k.Status().Age; age > time.Hour {
				t.Fatalf("the set is %v old", age)
			}
		}
		times := p.times(testKeysURL)
		if wait := times[2].Sub(times[1]); wait <= 54*time.Minute {
			t.Errorf("Run fetched %v after Load", wait)
		}
	})
}

// Hazard 9: with the provider away, good tokens work, retries are frequent but
// not too much, and at MaxStale it ends with KeysUnavailable until it is back.
func TestProviderAway(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]answerFunc{"refuses": unreachable(), "answers 503": status(503), "hangs": hangs()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newFakeProvider()
				p.set(testKeysURL, ok(keySetOf("a")))
				k := running(t, p)
				last := p.times(testKeysURL)[0]
				p.set(testKeysURL, away)

				time.Sleep(2 * time.Hour)
				before := p.count(testKeysURL)
				time.Sleep(time.Hour)
				if n := p.count(testKeysURL) - before; n < 55 || n > 70 {
					t.Errorf("%d retries in an hour, want about one a minute", n)
				}
				wantKey(t, k, "a", "")
				wantKey(t, k, "b", UnknownKeyID)
				s := k.Status()
				if !s.Usable || !s.LastSuccess.Equal(last) || s.Age != 3*time.Hour || s.LastError == "" || s.Failures == 0 || s.Generation != 1 {
					t.Errorf("after three hours: status %+v", s)
				}

				time.Sleep(time.Until(last.Add(24 * time.Hour)))
				wantKey(t, k, "a", "")
				time.Sleep(time.Nanosecond)
				wantKey(t, k, "a", KeysUnavailable)
				wantKey(t, k, "b", KeysUnavailable)
				if s := k.Status(); s.Usable || s.Generation != 0 || k.Generation() != 0 {
					t.Errorf("after max_stale: status %+v", s)
				}

				p.set(testKeysURL, ok(keySetOf("a")))
				time.Sleep(lastBackoff + documentTimeout)
				wantKey(t, k, "a", "")
				if s := k.Status(); k.Generation() != 1 || s.LastError != "" || s.Age > lastBackoff+documentTimeout {
					t.Errorf("provider is back: status %+v", s)
				}
			})
		})
	}
}

// The waits after failures double from a second to a minute, less up to a tenth.
func TestBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, unreachable())
		k := newTestKeySet(t, p)
		run(t, k)
		time.Sleep(5 * time.Minute)
		times := p.times(testKeysURL)
		want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60}
		if len(times) <= len(want) {
			t.Fatalf("%d attempts in five minutes", len(times))
		}
		for i, seconds := range want {
			longest := seconds * time.Second
			if got := times[i+1].Sub(times[i]); got > longest || got <= longest*9/10 {
				t.Errorf("wait %d is %v, want %v less up to a tenth", i, got, longest)
			}
		}

		// A success in between, and the next outage begins with a second again.
		p.set(testKeysURL, ok(keySetOf("a")))
		time.Sleep(lastBackoff)
		wantKey(t, k, "a", "")
		p.set(testKeysURL, unreachable())
		before := p.count(testKeysURL)
		time.Sleep(time.Hour + 10*time.Second)
		times = p.times(testKeysURL)[before:]
		if len(times) < 2 || times[1].Sub(times[0]) > firstBackoff {
			t.Errorf("attempts of the second outage: %v", times)
		}
	})
}

// A set's age counts from before its fetch: while a slow answer was on its way
// the provider may have withdrawn a key.
func TestAgeCountsFromBeforeTheFetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, after(3*time.Second, ok(keySetOf("a"))))
		if got := loaded(t, p).Status().Age; got != 3*time.Second {
			t.Errorf("age %v after a fetch of 3s", got)
		}
	})
}

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

// Hazard 11: a failure is logged once, with a context that is alive.
func TestFailuresAreLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, ok(keySetOf("a")))
		book := &logBook{}
		k := running(t, p, func(c *KeySetConfig) { c.Log = book.logger() })
		p.set(testKeysURL, hangs())
		time.Sleep(time.Hour + 10*time.Second)
		s := k.Status()
		failed := book.with("key set refresh failed")
		if len(failed) == 0 || uint64(len(failed)) != s.Failures {
			t.Errorf("%d failures logged, %d counted", len(failed), s.Failures)
		}
		for _, e := range failed {
			if e.level != slog.LevelError || e.ctxErr != nil {
				t.Errorf("logged at %v with a context that is %v", e.level, e.ctxErr)
			}
		}
		if n := len(book.with("key set changed")); n != 1 {
			t.Errorf("%d changes logged", n)
		}
	})
}

// A fetch that the end of Run cuts off is no failure to report.
func TestEndIsNoFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, hangs())
		book := &logBook{}
		stop := run(t, newTestKeySet(t, p, func(c *KeySetConfig) { c.Log = book.logger() }))
		time.Sleep(time.Second)
		stop()
		if len(book.entries) != 0 {
			t.Errorf("logged %+v", book.entries)
		}
	})
}

// A client that keeps sending an old kid causes refreshes all the time. They
// must not put off the metadata, which may name another address by now.
func TestUnknownKidsDoNotPutOffTheMetadata(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const moved = "https://keys.example/moved"
		p := newFakeProvider()
		p.set(testMetadata, ok(metadata(testIssuer, testKeysURL)))
		p.set(testKeysURL, ok(keySetOf("a")))
		k := running(t, p, discovered)
		p.set(testMetadata, ok(metadata(testIssuer, moved)))
		p.set(moved, ok(keySetOf("b")))
		for start := time.Now(); time.Since(start) < 2*time.Hour; time.Sleep(35 * time.Second) {
			_, _ = k.Key("long-gone", "ES256")
		}
		wantKey(t, k, "b", "")
		wantKey(t, k, "a", UnknownKeyID)
		if m, n := p.count(testMetadata), p.count(testKeysURL)+p.count(moved); m > 6 || n < 100 {
			t.Errorf("metadata fetched %d times, keys %d times", m, n)
		}
		if got := k.Status().JWKSURL; got != moved {
			t.Errorf("status says the keys are at %q", got)
		}
	})
}

// Readers, strangers, refreshes and Status at once; for the race detector.
func TestKeySetConcurrently(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, ok(keySetOf("a")))
		k := running(t, p, func(c *KeySetConfig) { c.TTL, c.CacheDir = time.Second, t.TempDir() })
		start := time.Now()
		var callers sync.WaitGroup
		for i := range 20 {
			callers.Go(func() {
				for round := 0; time.Since(start) < 20*time.Second; round++ {
					_, _ = k.Key("a", "ES256")
					_, _ = k.KeyWait(t.Context(), fmt.Sprint(i, round%7), "ES256")
					_, _ = k.Status(), k.Generation()
					if i == 0 {
						p.set(testKeysURL, ok(keySetOf("a", fmt.Sprint(round))))
						_ = k.Load(t.Context())
					}
					time.Sleep(37 * time.Millisecond)
				}
			})
		}
		callers.Wait()
		wantKey(t, k, "a", "")
	})
}
