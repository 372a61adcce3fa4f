package identity_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sallyport/sallyport/authz/identity"
)

const (
	issuerURL = "https://issuer.example"
	resource  = "https://mcp.example/mcp"
	skew      = 30 * time.Second
)

// noon is what the verifier's clock shows unless a test moves it.
func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// clock is a clock that a test moves.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanos.Store(noon().UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.nanos.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

// One key of each kind for all tests, because RSA keys take long to make.
var (
	rsaKey      = sync.OnceValue(func() crypto.Signer { return newRSA(2048) })
	otherRSAKey = sync.OnceValue(func() crypto.Signer { return newRSA(2048) })
	shortRSAKey = sync.OnceValue(func() crypto.Signer { return newRSA(1024) })
	p256Key     = sync.OnceValue(func() crypto.Signer { return newEC(elliptic.P256()) })
	p384Key     = sync.OnceValue(func() crypto.Signer { return newEC(elliptic.P384()) })
	p521Key     = sync.OnceValue(func() crypto.Signer { return newEC(elliptic.P521()) })
	edKey       = sync.OnceValue(newEd)
)

func newRSA(bits int) crypto.Signer {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return k
}

func newEC(curve elliptic.Curve) crypto.Signer {
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

func newEd() crypto.Signer {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

// object is a JSON object; a nil value in changes deletes.
type object = map[string]any

func changed(o object, changes ...object) object {
	o = maps.Clone(o)
	for _, c := range changes {
		maps.Copy(o, c)
	}
	maps.DeleteFunc(o, func(_ string, v any) bool { return v == nil })
	return o
}

func text(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func hash64(s string) string {
	sum := sha256.Sum256([]byte(s))
	return b64(sum[:])
}

// jwkOf is the public key as a JWK.
func jwkOf(key crypto.PublicKey, changes ...object) object {
	var o object
	switch k := key.(type) {
	case *rsa.PublicKey:
		o = object{"kty": "RSA", "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			panic(err)
		}
		half := len(point) / 2
		o = object{"kty": "EC", "crv": k.Curve.Params().Name, "x": b64(point[1 : 1+half]), "y": b64(point[1+half:])}
	case ed25519.PublicKey:
		o = object{"kty": "OKP", "crv": "Ed25519", "x": b64(k)}
	}
	return changed(o, changes...)
}

// compact signs a header and a payload as they are written.
func compact(key crypto.Signer, alg, header, payload string) string {
	signed := b64([]byte(header)) + "." + b64([]byte(payload))
	signature, err := jwt.GetSigningMethod(alg).Sign(signed, key)
	if err != nil {
		panic(err)
	}
	return signed + "." + b64(signature)
}

// mint signs a token with header and claims, both complete.
func mint(key crypto.Signer, alg string, header, claims object) string {
	return compact(key, alg, text(header), text(claims))
}

// goodHeader and goodClaims make a token that newWorld's verifier accepts.
func goodHeader(changes ...object) object {
	return changed(object{"alg": "RS256", "typ": "at+jwt", "kid": "rsa"}, changes...)
}

func goodClaims(changes ...object) object {
	return changed(object{
		"iss": issuerURL, "sub": "alice", "client_id": "agent", "aud": resource, "scope": "read write", "jti": "t1",
		"iat": noon().Add(-time.Minute).Unix(), "exp": noon().Add(5 * time.Minute).Unix(),
	}, changes...)
}

// good is a token with changed claims, otherwise right.
func good(changes ...object) string {
	return mint(rsaKey(), "RS256", goodHeader(), goodClaims(changes...))
}

// fixedKeys is a key set that fetches nothing.
type fixedKeys struct {
	mu         sync.Mutex
	keys       map[string]identity.Key
	generation uint64
	asked      int
	err        error
}

func newFixedKeys(keys map[string]crypto.Signer) *fixedKeys {
	f := &fixedKeys{keys: map[string]identity.Key{}, generation: 1}
	for kid, key := range keys {
		f.keys[kid] = identity.Key{Public: key.Public()}
	}
	return f
}

func (f *fixedKeys) KeyWait(_ context.Context, kid, _ string) (identity.Key, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.err != nil {
		return identity.Key{}, f.err
	}
	key, ok := f.keys[kid]
	if !ok {
		return key, &identity.Refusal{Cause: identity.UnknownKeyID, Detail: "unknown"}
	}
	return key, nil
}

func (f *fixedKeys) Generation() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.generation
}

// change edits the set as a refresh would.
func (f *fixedKeys) change(edit func(*fixedKeys)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit(f)
	f.generation++
}

func (f *fixedKeys) lookups() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// world is a verifier of one issuer with everything around it.
type world struct {
	*identity.Verifier
	clock  *clock
	keys   *fixedKeys
	target *identity.Target
}

func signers() map[string]crypto.Signer {
	return map[string]crypto.Signer{
		"rsa": rsaKey(), "p256": p256Key(), "p384": p384Key(), "p521": p521Key(), "ed": edKey(),
	}
}

func newWorld(t testing.TB, edits ...func(*identity.VerifierConfig)) *world {
	t.Helper()
	w := &world{
		clock:  newClock(),
		keys:   newFixedKeys(signers()),
		target: &identity.Target{Audiences: []string{resource}},
	}
	cfg := identity.VerifierConfig{ClockSkew: skew, Issuers: []identity.IssuerConfig{{
		Name: "main", Issuer: issuerURL,
		Algorithms: []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"},
	}}}
	for _, edit := range edits {
		edit(&cfg)
	}
	keys := map[string]identity.Keys{}
	for _, is := range cfg.Issuers {
		keys[is.Name] = w.keys
	}
	w.Verifier = newVerifier(t, cfg, keys, w.clock)
	return w
}

func newVerifier(t testing.TB, cfg identity.VerifierConfig, keys map[string]identity.Keys, c *clock) *identity.Verifier {
	t.Helper()
	v, err := identity.NewVerifier(cfg, keys, identity.NewMemoryReplays(1000, c.now), c.now)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func bearer(token string) identity.Credentials {
	return identity.Credentials{Authorization: "Bearer " + token, AuthorizationLines: 1, Method: "POST"}
}

// verify verifies a bearer token.
func (w *world) verify(t testing.TB, token string) (*identity.Principal, error) {
	t.Helper()
	return w.Verify(t.Context(), bearer(token), w.target)
}

// wantCause checks the outcome of Verify; an empty cause means acceptance.
func wantCause(t testing.TB, err error, cause string) {
	t.Helper()
	switch {
	case err == nil && cause != "":
		t.Errorf("accepted, want %s", cause)
	case err != nil:
		if r := wantRefusal(t, err); r.Cause != cause {
			t.Errorf("cause is %q (%s), want %q", r.Cause, r.Detail, cause)
		}
	}
}

// wantRefusal checks the form of a refusal: its detail goes into a header.
func wantRefusal(t testing.TB, err error) *identity.Refusal {
	t.Helper()
	var r *identity.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("error is a %T, want a *Refusal: %v", err, err)
	}
	if r.Cause == "" || r.Detail == "" || len(r.Detail) > 200 {
		t.Errorf("cause %q, detail of %d bytes: %q", r.Cause, len(r.Detail), r.Detail)
	}
	for _, c := range []byte(r.Detail) {
		if c < ' ' || c > '~' {
			t.Errorf("detail %q has %q", r.Detail, c)
		}
	}
	return r
}

// documents serves JSON documents by path over TLS and counts requests.
type documents struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string]any
	asked map[string]int
}

func serveDocuments(t testing.TB) *documents {
	d := &documents{files: map[string]any{}, asked: map[string]int{}}
	d.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.asked[r.URL.Path]++
		file, ok := d.files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, text(file))
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *documents) put(path string, file any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files[path] = file
}

func (d *documents) count(path string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[path]
}

// keySet loads a real key set from these documents and keeps it running.
func (d *documents) keySet(t testing.TB, cfg identity.KeySetConfig) *identity.KeySet {
	t.Helper()
	cfg.AllowPrivate = true
	cfg.RootCAs = d.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return runKeySet(t, cfg)
}

func runKeySet(t testing.TB, cfg identity.KeySetConfig) *identity.KeySet {
	t.Helper()
	keys, err := identity.NewKeySet(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- keys.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return keys
}
