package identity_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/authz/identity"
)

func TestVerifiedTokensAreRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := good(object{"iat": noon().Unix(), "exp": noon().Add(time.Hour).Unix()})
	check := func(when string, lookups int, want string) {
		t.Helper()
		_, err := w.verify(t, token)
		wantCause(t, err, want)
		if got := w.keys.lookups(); got != lookups {
			t.Errorf("%s: verified %d times, want %d", when, got, lookups)
		}
	}
	check("first", 1, "")
	check("again", 1, "")
	w.clock.advance(5*time.Minute - 1)
	check("just below five minutes", 1, "")
	w.clock.advance(1)
	check("after five minutes", 2, "")
	w.keys.change(func(*fixedKeys) {})
	check("other keys", 3, "")
	check("again", 3, "")
	w.keys.change(func(f *fixedKeys) { delete(f.keys, "rsa") })
	check("withdrawn key", 4, identity.UnknownKeyID)
	check("refusals aren't remembered", 5, identity.UnknownKeyID)
}

// racingKeys withdraws each key right after it was looked up.
type racingKeys struct{ *fixedKeys }

func (r racingKeys) KeyWait(ctx context.Context, kid, alg string) (identity.Key, error) {
	key, err := r.fixedKeys.KeyWait(ctx, kid, alg)
	r.change(func(f *fixedKeys) { delete(f.keys, kid) })
	return key, err
}

func TestKeyWithdrawnDuringVerification(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, identity.VerifierConfig{Issuers: []identity.IssuerConfig{{Name: "main", Issuer: issuerURL}}},
		map[string]identity.Keys{"main": racingKeys{newFixedKeys(signers())}}, newClock())
	target := &identity.Target{Audiences: []string{resource}}
	_, err := v.Verify(t.Context(), bearer(good()), target)
	wantCause(t, err, "")
	_, err = v.Verify(t.Context(), bearer(good()), target)
	wantCause(t, err, identity.UnknownKeyID)
}

// Nothing is remembered without keys, and nothing that has expired.
func TestNotRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 3 {
		_, err := w.verify(t, good(object{"exp": noon().Add(-skew).Unix()}))
		wantCause(t, err, identity.Expired)
		if n := w.keys.lookups(); n != i+1 {
			t.Errorf("expired token: verified %d times, want %d", n, i+1)
		}
	}
	w.keys.change(func(f *fixedKeys) { f.generation = ^uint64(0) }) // change makes it 0
	for range 3 {
		_, err := w.verify(t, good())
		wantCause(t, err, "")
	}
	if n := w.keys.lookups(); n != 6 {
		t.Errorf("without a generation: verified %d times, want 6", n)
	}
}

// The end of a token is its end, in memory too.
func TestRememberedTokenExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := good(object{"exp": noon().Add(time.Minute).Unix(), "nbf": noon().Add(-time.Minute).Unix()})
	_, err := w.verify(t, token)
	wantCause(t, err, "")
	w.clock.advance(time.Minute + skew - 1)
	_, err = w.verify(t, token)
	wantCause(t, err, "")
	w.clock.advance(1)
	_, err = w.verify(t, token)
	wantCause(t, err, identity.Expired)
	w.clock.advance(-3*time.Minute - 2*skew) // a clock that was set back: nbf counts on a hit as well
	_, err = w.verify(t, token)
	wantCause(t, err, identity.NotYetValid)
}

// Neither another signature nor another header may find a remembered token.
func TestRememberedByTheWholeToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := good()
	_, err := w.verify(t, token)
	wantCause(t, err, "")
	for i := range len(token) {
		if i%7 != 0 && i < len(token)-12 { // every seventh place, and the signature's end
			continue
		}
		changed := []byte(token)
		if changed[i] == 'A' {
			changed[i] = 'B'
		} else {
			changed[i] = 'A'
		}
		if _, err := w.verify(t, string(changed)); err == nil {
			t.Errorf("accepted with another byte %d", i)
		}
	}
}

func TestVerifyConcurrently(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tokens := make([]string, 8)
	for i := range tokens {
		tokens[i] = good(object{"sub": fmt.Sprint("user", i), "nonce": fmt.Sprint("n", i)})
	}
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range 200 {
				n := (g + i) % len(tokens)
				p, err := w.Verify(t.Context(), bearer(tokens[n]), w.target)
				if err != nil || p.Subject != fmt.Sprint("user", n) {
					t.Errorf("token %d: %v, %v", n, p, err)
				}
				if i%50 == 0 {
					w.keys.change(func(*fixedKeys) {})
				}
			}
		})
	}
	group.Wait()
}

func TestHitAllocatesNothing(t *testing.T) {
	w := newWorld(t)
	c := bearer(good())
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := w.Verify(t.Context(), c, w.target); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("a token that is known costs %v allocations", n)
	}
}

func BenchmarkVerifyHit(b *testing.B) {
	w := newWorld(b)
	c := bearer(good())
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Verify(ctx, c, w.target); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyMiss(b *testing.B) {
	for _, k := range []struct{ alg, kid string }{{"RS256", "rsa"}, {"ES256", "p256"}, {"EdDSA", "ed"}} {
		b.Run(k.alg, func(b *testing.B) {
			w := newWorld(b)
			c := bearer(mint(signers()[k.kid], k.alg, goodHeader(object{"alg": k.alg, "kid": k.kid}), goodClaims()))
			w.keys.change(func(f *fixedKeys) { f.generation = ^uint64(0) }) // 0: nothing is remembered
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.Verify(ctx, c, w.target); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
