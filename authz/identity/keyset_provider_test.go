package identity

import (
	"context"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// The addresses of the issuer that most key set tests use.
const (
	testIssuer   = "https://issuer.example"
	testMetadata = testIssuer + "/.well-known/openid-configuration"
	testKeysURL  = testIssuer + "/keys"
)

// fakeProvider is an identity provider without a network, so that tests can run
// in a bubble of testing/synctest, where an hour takes no time. What it wasn't
// told to serve is answered with 404.
type fakeProvider struct {
	mu      sync.Mutex
	answers map[string]http.RoundTripper
	asked   map[string][]time.Time // when each URL was asked for
}

func newFakeProvider() *fakeProvider {
	return &fakeProvider{answers: map[string]http.RoundTripper{}, asked: map[string][]time.Time{}}
}

func (p *fakeProvider) RoundTrip(req *http.Request) (*http.Response, error) {
	url := req.URL.String()
	p.mu.Lock()
	p.asked[url] = append(p.asked[url], time.Now())
	answer := p.answers[url]
	p.mu.Unlock()
	if answer == nil {
		answer = status(http.StatusNotFound)
	}
	resp, err := answer.RoundTrip(req)
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}

// set makes a URL answer that from now on.
func (p *fakeProvider) set(url string, answer http.RoundTripper) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[url] = answer
}

// times says when a URL was asked for.
func (p *fakeProvider) times(url string) []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]time.Time(nil), p.asked[url]...)
}

func (p *fakeProvider) count(url string) int { return len(p.times(url)) }

// answerFunc is one way to answer.
type answerFunc func(*http.Request) (*http.Response, error)

func (f answerFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// answer is a complete response; header is pairs of name and value.
func answer(code int, body string, header ...string) answerFunc {
	return func(*http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"application/json"}}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func ok(body string) answerFunc  { return answer(http.StatusOK, body) }
func status(code int) answerFunc { return answer(code, "") }
func unreachable() answerFunc    { return failing(errors.New("connection refused")) }
func failing(err error) answerFunc {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// hangs never answers.
func hangs() answerFunc {
	return func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
}

// after answers late.
func after(d time.Duration, next answerFunc) answerFunc {
	return func(req *http.Request) (*http.Response, error) {
		select {
		case <-time.After(d):
			return next(req)
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
}

// metadata is a document of testIssuer, or of whom issuer says.
func metadata(issuer, jwksURI string) string {
	return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q,"token_endpoint":"https://issuer.example/token"}`, issuer, jwksURI)
}

// newTestKeySet is a key set whose fetches end at the provider. Without edits
// its keys are at testKeysURL.
func newTestKeySet(t testing.TB, p *fakeProvider, edits ...func(*KeySetConfig)) *KeySet {
	t.Helper()
	cfg := KeySetConfig{Name: "test", Issuer: testIssuer, JWKSURL: testKeysURL}
	for _, edit := range edits {
		edit(&cfg)
	}
	k, err := NewKeySet(cfg)
	if err != nil {
		t.Fatal(err)
	}
	k.source.fetch.client.Transport = p
	return k
}

// discovered makes the metadata say where the keys are.
func discovered(c *KeySetConfig) { c.JWKSURL = "" }

// loaded is a set that has its first keys.
func loaded(t testing.TB, p *fakeProvider, edits ...func(*KeySetConfig)) *KeySet {
	t.Helper()
	k := newTestKeySet(t, p, edits...)
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return k
}

// running is a loaded set with its Run, which ends with the test.
func running(t testing.TB, p *fakeProvider, edits ...func(*KeySetConfig)) *KeySet {
	t.Helper()
	k := loaded(t, p, edits...)
	run(t, k)
	return k
}

// run starts Run. The returned function ends it before the test does.
func run(t testing.TB, k *KeySet) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// keySetOf is a JWK Set of P-256 keys with these ids.
func keySetOf(kids ...string) string {
	keys := make([]string, len(kids))
	for i, kid := range kids {
		keys[i] = ecJWK(kid)
	}
	return jwks(keys...)
}

func jwks(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

// ecJWK is a P-256 key, always the same for the same id, with further members
// as they are.
func ecJWK(kid string, members ...string) string { return curveJWK(ecdh.P256(), kid, members...) }

func curveJWK(curve ecdh.Curve, kid string, members ...string) string {
	x, y := pointFor(curve, kid)
	return jwk(append([]string{
		fmt.Sprintf(`"kid":%q`, kid), `"kty":"EC"`, fmt.Sprintf(`"crv":"%v"`, curve), `"x":"` + x + `"`, `"y":"` + y + `"`,
	}, members...)...)
}

func jwk(members ...string) string { return `{` + strings.Join(members, ",") + `}` }

// pointFor derives the coordinates of a public key from a name.
func pointFor(curve ecdh.Curve, name string) (x, y string) {
	size := map[ecdh.Curve]int{ecdh.P256(): 32, ecdh.P384(): 48, ecdh.P521(): 66}[curve]
	scalar := make([]byte, size)
	sum := sha256.Sum256([]byte(name))
	copy(scalar[size-len(sum):], sum[:])
	private, err := curve.NewPrivateKey(scalar)
	if err != nil {
		panic(err) // one name in 2^32
	}
	point := private.PublicKey().Bytes() // 4, x, y
	return base64.RawURLEncoding.EncodeToString(point[1 : 1+size]), base64.RawURLEncoding.EncodeToString(point[1+size:])
}

// rsaJWK is an RSA key with this modulus.
func rsaJWK(kid string, n *big.Int, e int64, members ...string) string {
	return jwk(append([]string{
		fmt.Sprintf(`"kid":%q`, kid), `"kty":"RSA"`,
		`"n":"` + base64.RawURLEncoding.EncodeToString(n.Bytes()) + `"`,
		`"e":"` + base64.RawURLEncoding.EncodeToString(big.NewInt(e).Bytes()) + `"`,
	}, members...)...)
}

// modulus is an odd number of this length, always the same. Nobody knows its
// factors, which a verifier can't see.
func modulus(bits int) *big.Int {
	n := new(big.Int)
	for i := 0; n.BitLen() < bits+256; i++ {
		block := sha256.Sum256(fmt.Append(nil, bits, i))
		n.Lsh(n, 256).Or(n, new(big.Int).SetBytes(block[:]))
	}
	n.Rsh(n, uint(n.BitLen()-bits))
	return n.SetBit(n, 0, 1)
}

// causeOf is the cause of a refusal, empty for success.
func causeOf(t testing.TB, err error) string {
	t.Helper()
	var refusal *Refusal
	switch {
	case err == nil:
		return ""
	case !errors.As(err, &refusal):
		t.Errorf("got error %v, want a *Refusal", err)
		return "no refusal"
	}
	return refusal.Cause
}

// wantKey fails the test unless a lookup ends with this cause; empty: success.
func wantKey(t testing.TB, k *KeySet, kid, cause string) {
	t.Helper()
	_, err := k.Key(kid, "ES256")
	if got := causeOf(t, err); got != cause {
		t.Errorf("Key(%.40q): got cause %q, want %q", kid, got, cause)
	}
}

// logBook keeps what was logged.
type logBook struct {
	mu      sync.Mutex
	entries []logEntry
}

type logEntry struct {
	level   slog.Level
	message string
	ctxErr  error // of the context at the time
}

func (b *logBook) logger() *slog.Logger { return slog.New(b) }

func (b *logBook) Enabled(context.Context, slog.Level) bool { return true }
func (b *logBook) WithAttrs([]slog.Attr) slog.Handler       { return b }
func (b *logBook) WithGroup(string) slog.Handler            { return b }
func (b *logBook) Handle(ctx context.Context, r slog.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries = append(b.entries, logEntry{r.Level, r.Message, ctx.Err()})
	return nil
}

// with returns the entries with this message.
func (b *logBook) with(message string) (found []logEntry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.entries {
		if e.message == message {
			found = append(found, e)
		}
	}
	return found
}
