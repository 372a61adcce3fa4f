package identity

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestKeySetConfigValidate(t *testing.T) {
	t.Parallel()
	good := KeySetConfig{Name: "test", Issuer: testIssuer}
	tests := map[string]struct {
		edit func(*KeySetConfig)
		want []string // all in the error; nil: no error
	}{
		"defaults":               {func(*KeySetConfig) {}, nil},
		"keys at a URL":          {func(c *KeySetConfig) { c.JWKSURL = testKeysURL }, nil},
		"issuer that is no URL":  {func(c *KeySetConfig) { c.Issuer, c.JWKSURL = "joe", testKeysURL }, nil},
		"multi-tenant":           {func(c *KeySetConfig) { c.Issuer = "https://login.example/{tenantid}/v2.0" }, nil},
		"http for development":   {func(c *KeySetConfig) { c.Issuer, c.AllowHTTP = "http://127.0.0.1:8080", true }, nil},
		"longest times":          {func(c *KeySetConfig) { c.TTL, c.MaxStale = 24*time.Hour, 7*24*time.Hour }, nil},
		"nothing":                {func(c *KeySetConfig) { *c = KeySetConfig{} }, []string{"issuer: is empty"}},
		"both URLs":              {func(c *KeySetConfig) { c.JWKSURL, c.DiscoveryURL = testKeysURL, testMetadata }, []string{"only one"}},
		"http":                   {func(c *KeySetConfig) { c.Issuer = "http://127.0.0.1" }, []string{"issuer: ", "use https"}},
		"http keys":              {func(c *KeySetConfig) { c.JWKSURL = "http://issuer.example/keys" }, []string{"jwks_url: ", "use https"}},
		"a file":                 {func(c *KeySetConfig) { c.DiscoveryURL = "file:///etc/passwd" }, []string{"discovery_url: ", "must be https"}},
		"no host":                {func(c *KeySetConfig) { c.JWKSURL = "https:///keys" }, []string{"jwks_url: ", "no host"}},
		"not a URL":              {func(c *KeySetConfig) { c.JWKSURL = "https://a b/" }, []string{"jwks_url: ", "parse URL"}},
		"TTL too short, and all": {func(c *KeySetConfig) { c.Issuer, c.TTL, c.MaxStale = "", time.Millisecond, time.Microsecond }, []string{"issuer:", "TTL", "max_stale"}},
		"TTL too long":           {func(c *KeySetConfig) { c.TTL, c.MaxStale = 25*time.Hour, 26*time.Hour }, []string{"key cache TTL: 25h0m0s"}},
		"stale before it is due": {func(c *KeySetConfig) { c.TTL, c.MaxStale = time.Hour, time.Minute }, []string{"max_stale: 1m0s"}},
		"stale for a month":      {func(c *KeySetConfig) { c.MaxStale = 720 * time.Hour }, []string{"max_stale: 720h0m0s"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := good
			test.edit(&cfg)
			err := cfg.Validate()
			if (err != nil) != (test.want != nil) {
				t.Fatalf("got %v", err)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q lacks %q", err, part)
				}
			}
			if _, newErr := NewKeySet(cfg); (newErr != nil) != (err != nil) {
				t.Errorf("NewKeySet: %v", newErr)
			}
		})
	}
}

func TestKeyCauses(t *testing.T) {
	t.Parallel()
	p := newFakeProvider()
	empty := newTestKeySet(t, p)
	wantKey(t, empty, "a", KeysUnavailable)
	if g := empty.Generation(); g != 0 {
		t.Errorf("generation %d without a set", g)
	}

	p.set(testKeysURL, ok(jwks(
		ecJWK("any"), ecJWK("pinned", `"alg":"ES256"`), rsaJWK("rsa", modulus(2048), 65537),
		rsaJWK("rs384", modulus(2048), 65537, `"alg":"RS384"`))))
	k := loaded(t, p)
	tests := []struct{ kid, alg, cause string }{
		{"any", "ES256", ""},
		{"pinned", "ES256", ""},
		{"rsa", "RS256", ""},
		{"rsa", "PS512", ""},
		{"rs384", "RS384", ""},
		{"rs384", "RS256", AlgorithmRefused}, // the JWK says otherwise
		{"any", "ES384", AlgorithmRefused},   // another curve
		{"any", "RS256", AlgorithmRefused},   // another type
		{"rsa", "ES256", AlgorithmRefused},
		{"rsa", "HS256", AlgorithmRefused}, // the public key as a secret
		{"rsa", "none", AlgorithmRefused},
		{"rsa", "rs256", AlgorithmRefused},
		{"rsa", "", AlgorithmRefused},
		{"ANY", "ES256", UnknownKeyID},
		{"", "ES256", UnknownKeyID},
		{"../any", "ES256", UnknownKeyID},
	}
	for _, test := range tests {
		key, err := k.Key(test.kid, test.alg)
		if got := causeOf(t, err); got != test.cause {
			t.Errorf("Key(%q, %q): got cause %q, want %q", test.kid, test.alg, got, test.cause)
		}
		if (key.Public == nil) != (test.cause != "") {
			t.Errorf("Key(%q, %q): got key %v with cause %q", test.kid, test.alg, key, test.cause)
		}
	}
}

// A refusal ends in a header: the stranger's kid must not.
func TestKeyRefusalDoesNotRepeatTheKid(t *testing.T) {
	t.Parallel()
	p := newFakeProvider()
	p.set(testKeysURL, ok(keySetOf("a")))
	_, err := loaded(t, p).Key("evil-kid", "ES256")
	if err == nil || strings.Contains(err.Error(), "evil") || !strings.Contains(err.Error(), `test`) {
		t.Errorf("got %v", err)
	}
}

// Hazards 2 and 3: every issuer has its own keys, and its unknown kids are
// looked for at its own address alone.
func TestKeySetsAreSeparate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const other = "https://other.example/keys"
		p := newFakeProvider()
		p.set(testKeysURL, ok(keySetOf("same", "ours")))
		p.set(other, ok(jwks(strings.Replace(ecJWK("x"), `"x"`, `"same"`, 1), ecJWK("theirs"))))
		a := running(t, p)
		b := running(t, p, func(c *KeySetConfig) { c.JWKSURL = other })
		wantKey(t, a, "theirs", UnknownKeyID)
		time.Sleep(time.Minute)
		wantKey(t, a, "theirs", UnknownKeyID)
		if asked, untouched := p.count(testKeysURL), p.count(other); asked < 2 || untouched != 1 {
			t.Errorf("fetched %d and %d times, want the unknown kid looked for at its issuer alone", asked, untouched)
		}
		ka, errA := a.Key("same", "ES256")
		kb, errB := b.Key("same", "ES256")
		if errA != nil || errB != nil || ka.Public == kb.Public {
			t.Errorf("one kid at two issuers: %v, %v, %v, %v", ka, errA, kb, errB)
		}
	})
}

func TestOneFetchForManyRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testMetadata, ok(metadata(testIssuer, testKeysURL)))
		p.set(testKeysURL, after(time.Second, ok(keySetOf("a", "b"))))
		k := newTestKeySet(t, p, discovered)
		run(t, k)
		var loads sync.WaitGroup
		for range 10 { // whoever needs the set joins the one fetch
			loads.Go(func() {
				if err := k.Load(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		loads.Wait()
		var requests sync.WaitGroup
		for range 100 {
			requests.Go(func() {
				for range 50 {
					wantKey(t, k, "a", "")
					if _, err := k.KeyWait(t.Context(), "b", "ES256"); err != nil {
						t.Error(err)
					}
				}
			})
		}
		requests.Wait()
		if m, n := p.count(testMetadata), p.count(testKeysURL); m != 1 || n != 1 {
			t.Errorf("metadata fetched %d times, keys %d times, want once each", m, n)
		}
	})
}

// A lookup that succeeds takes no lock and waits for nobody: it returns while
// the lock is held and a fetch hangs.
func TestGoodKeyNeedsNoLock(t *testing.T) {
	t.Parallel()
	p := newFakeProvider()
	p.set(testKeysURL, ok(keySetOf("a")))
	k := loaded(t, p)
	<-k.turn
	k.mu.Lock()
	defer k.mu.Unlock()
	done := make(chan error)
	go func() {
		_, err := k.Key("a", "ES256")
		if err == nil {
			_, err = k.KeyWait(t.Context(), "a", "ES256")
		}
		if k.Generation() != 1 {
			err = fmt.Errorf("generation %d: %w", k.Generation(), err)
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("a good lookup waits for a lock")
	}
}

func TestGoodKeyAllocatesNothing(t *testing.T) {
	p := newFakeProvider()
	p.set(testKeysURL, ok(keySetOf("a")))
	k := loaded(t, p)
	n := testing.AllocsPerRun(100, func() {
		if _, err := k.KeyWait(t.Context(), "a", "ES256"); err != nil {
			t.Error(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations per lookup", n)
	}
}

// While 1,000 strangers hammer with kids of their own and each fetch takes its
// time, no good lookup waits: the bubble's clock doesn't move during one.
func TestStrangersDoNotDelayGoodLookups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, ok(keySetOf("a")))
		k := running(t, p)
		p.set(testKeysURL, after(400*time.Millisecond, ok(keySetOf("a"))))
		var strangers sync.WaitGroup
		for i := range 1000 {
			strangers.Go(func() {
				for round := range 20 {
					if _, err := k.KeyWait(t.Context(), fmt.Sprintf("stranger-%d-%d", i, round), "ES256"); causeOf(t, err) != UnknownKeyID {
						t.Errorf("stranger: %v", err)
					}
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		var over atomic.Bool
		go func() { strangers.Wait(); over.Store(true) }()
		lookups := 0
		for ; !over.Load(); lookups++ {
			start := time.Now()
			wantKey(t, k, "a", "")
			if waited := time.Since(start); waited != 0 {
				t.Fatalf("a good lookup waited %v", waited)
			}
			time.Sleep(time.Millisecond)
		}
		if lookups < 1000 {
			t.Fatalf("only %d good lookups", lookups)
		}
		if n := p.count(testKeysURL); n > 8 {
			t.Errorf("20,000 strange kids in a few seconds caused %d fetches", n)
		}
	})
}

func BenchmarkKey(b *testing.B) {
	p := newFakeProvider()
	p.set(testKeysURL, ok(keySetOf("a", "b", "c")))
	lookup := func(b *testing.B, k *KeySet) {
		if _, err := k.Key("a", "ES256"); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("good", func(b *testing.B) {
		k := loaded(b, p)
		b.ReportAllocs()
		for b.Loop() {
			lookup(b, k)
		}
	})
	b.Run("good, parallel", func(b *testing.B) {
		k := loaded(b, p)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				lookup(b, k)
			}
		})
	})
	b.Run("good, while a stranger hammers", func(b *testing.B) {
		k := running(b, p)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					_, _ = k.Key(fmt.Sprint("stranger-", i), "ES256")
				}
			}
		}()
		b.ReportAllocs()
		for b.Loop() {
			lookup(b, k)
		}
		close(stop)
		<-stopped
	})
	b.Run("unknown, always another", func(b *testing.B) {
		k := running(b, p)
		kids := make([]string, 4096)
		for i := range kids {
			kids[i] = fmt.Sprint("stranger-", i)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			_, _ = k.Key(kids[i%len(kids)], "ES256")
		}
	})
}
