package devissuer_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/internal/devissuer"
)

const audience = "https://mcp.example.com/mcp"

// start runs an issuer until the test ends.
func start(t *testing.T, cfg devissuer.Config) *devissuer.Issuer {
	t.Helper()
	i, err := devissuer.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return i
}

func fetch(t *testing.T, client *http.Client, url string, into any) int {
	t.Helper()
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode == http.StatusOK && into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatal(err)
		}
	}
	return res.StatusCode
}

type keySet struct {
	Keys []struct{ Kty, Kid, Use, Alg, N, E string }
}

func (s keySet) ids() []string {
	var ids []string
	for _, k := range s.Keys {
		ids = append(ids, k.Kid)
	}
	return ids
}

// verify checks a token the way a resource server does, with the keys that are
// published now.
func verify(t *testing.T, i *devissuer.Issuer, raw string) (jwt.MapClaims, error) {
	t.Helper()
	var set keySet
	fetch(t, http.DefaultClient, i.KeySetURL(), &set)
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(raw, claims, func(token *jwt.Token) (any, error) {
		for _, k := range set.Keys {
			if k.Kid == token.Header["kid"] {
				n, _ := base64.RawURLEncoding.DecodeString(k.N)
				e, _ := base64.RawURLEncoding.DecodeString(k.E)
				return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, nil
			}
		}
		return nil, fmt.Errorf("no key %v", token.Header["kid"])
	}, jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer(i.URL()), jwt.WithAudience(audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding())
	return claims, err
}

func TestDiscoveryNamesWhatIsServed(t *testing.T) {
	for _, path := range []string{"", "/", "/realms/demo"} {
		i := start(t, devissuer.Config{Path: path})
		var doc map[string]any
		base := i.URL()
		if path == "/" {
			base = base[:len(base)-1]
		}
		if status := fetch(t, http.DefaultClient, base+"/.well-known/openid-configuration", &doc); status != http.StatusOK {
			t.Fatalf("path %q: discovery answers %d", path, status)
		}
		if doc["issuer"] != i.URL() || doc["jwks_uri"] != i.KeySetURL() || doc["token_endpoint"] != i.TokenURL() {
			t.Errorf("path %q: discovery is %v", path, doc)
		}
		var set keySet
		fetch(t, http.DefaultClient, doc["jwks_uri"].(string), &set)
		if len(set.Keys) != 2 || set.Keys[0].Alg != "RS256" || set.Keys[0].Use != "sig" {
			t.Errorf("path %q: keys are %+v", path, set)
		}
		if diff := cmp.Diff(devissuer.Counts{Discovery: 1, KeySets: 1}, i.Counts()); diff != "" {
			t.Errorf("counts (-want +got):\n%s", diff)
		}
	}
}

func TestOnlyLoopback(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "[::]:0", "example.com:0", "127.0.0.1"} {
		i, err := devissuer.Start(devissuer.Config{Address: address})
		if err == nil {
			i.Close(context.Background())
			t.Errorf("%s was accepted", address)
		}
	}
	start(t, devissuer.Config{Address: "localhost:0"})
}

func TestInvalidConfig(t *testing.T) {
	for name, cfg := range map[string]devissuer.Config{
		"relative path":     {Path: "x"},
		"pattern":           {Path: "/{x}"},
		"client, no secret": {Clients: []devissuer.Client{{ID: "a"}}},
		"client twice":      {Clients: []devissuer.Client{{ID: "a", Secret: "s"}, {ID: "a", Secret: "s"}}},
		"negative grace":    {Grace: -1},
	} {
		if cfg.Validate() == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestTLS(t *testing.T) {
	i := start(t, devissuer.Config{TLS: true})
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(i.CertificatePEM()) {
		t.Fatal("no certificate")
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	if status := fetch(t, client, i.KeySetURL(), nil); status != http.StatusOK {
		t.Errorf("keys answer %d", status)
	}
}

func TestRotationKeepsTheOldKeyForItsGrace(t *testing.T) {
	clock := &fakeClock{now: time.Now()}
	i := start(t, devissuer.Config{Grace: time.Hour, Now: clock.Now})
	old, err := i.Mint(devissuer.TokenOptions{Audience: []string{audience}})
	if err != nil {
		t.Fatal(err)
	}
	before := i.KeyID()
	if err := i.Rotate(); err != nil {
		t.Fatal(err)
	}
	fresh, err := i.Mint(devissuer.TokenOptions{Audience: []string{audience}})
	if err != nil {
		t.Fatal(err)
	}
	if i.KeyID() == before {
		t.Error("the same key signs after the rotation")
	}
	for name, raw := range map[string]string{"old": old, "fresh": fresh} {
		if _, err := verify(t, i, raw); err != nil {
			t.Errorf("%s token: %v", name, err)
		}
	}
	clock.add(time.Hour)
	var set keySet
	fetch(t, http.DefaultClient, i.KeySetURL(), &set)
	if diff := cmp.Diff([]string{i.KeyID()}, set.ids()); diff != "" {
		t.Errorf("keys after the grace (-want +got):\n%s", diff)
	}
}

func TestStagedKeyIsPublishedBeforeItSigns(t *testing.T) {
	i := start(t, devissuer.Config{HideUntilUsed: true})
	signing := i.KeyID()
	for range 2 {
		if err := i.Stage(); err != nil {
			t.Fatal(err)
		}
	}
	var set keySet
	fetch(t, http.DefaultClient, i.KeySetURL(), &set)
	if len(set.Keys) != 3 || i.KeyID() != signing {
		t.Fatalf("keys %v, signing %s; want three, signing %s", set.ids(), i.KeyID(), signing)
	}
	if err := i.Rotate(); err != nil {
		t.Fatal(err)
	}
	if i.KeyID() != set.Keys[2].Kid {
		t.Errorf("%s signs, want the staged %s", i.KeyID(), set.Keys[2].Kid)
	}
}

func TestHiddenKeyAppearsWithItsFirstToken(t *testing.T) {
	i := start(t, devissuer.Config{HideUntilUsed: true})
	if err := i.Rotate(); err != nil {
		t.Fatal(err)
	}
	published := func() bool {
		var set keySet
		fetch(t, http.DefaultClient, i.KeySetURL(), &set)
		return slices.Contains(set.ids(), i.KeyID())
	}
	if published() {
		t.Error("the new key is published before its first token")
	}
	if _, err := i.Mint(devissuer.TokenOptions{}); err != nil {
		t.Fatal(err)
	}
	if !published() {
		t.Error("the new key isn't published after its first token")
	}
}

func TestDownAndBroken(t *testing.T) {
	i := start(t, devissuer.Config{})
	i.SetDown(true)
	for _, url := range []string{i.KeySetURL(), i.URL() + "/.well-known/openid-configuration"} {
		if status := fetch(t, http.DefaultClient, url, nil); status != http.StatusServiceUnavailable {
			t.Errorf("%s answers %d while down", url, status)
		}
	}
	i.SetDown(false)
	i.ServeKeys([]byte(`{"keys":[]}`))
	var set keySet
	if fetch(t, http.DefaultClient, i.KeySetURL(), &set); len(set.Keys) != 0 {
		t.Errorf("the override isn't served: %v", set)
	}
	i.ServeKeys(nil)
	if fetch(t, http.DefaultClient, i.KeySetURL(), &set); len(set.Keys) != 2 {
		t.Errorf("the real set isn't back: %v", set)
	}
	if got := i.Counts(); got != (devissuer.Counts{Discovery: 1, KeySets: 3}) {
		t.Errorf("counts %+v", got)
	}
}

func TestOddTokens(t *testing.T) {
	i := start(t, devissuer.Config{})
	foreign, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	aud := []string{audience}
	cases := []struct {
		name    string
		options devissuer.TokenOptions
		want    error
	}{
		{"right", devissuer.TokenOptions{Audience: aud}, nil},
		{"two audiences", devissuer.TokenOptions{Audience: []string{"x", audience}}, nil},
		{"older key", devissuer.TokenOptions{Audience: aud, KeyID: "dev-1"}, nil},
		{"expired", devissuer.TokenOptions{Audience: aud, IssuedAt: time.Now().Add(-time.Hour)}, jwt.ErrTokenExpired},
		{"wrong audience", devissuer.TokenOptions{Audience: []string{"https://other.example"}}, jwt.ErrTokenInvalidAudience},
		{"wrong issuer", devissuer.TokenOptions{Audience: aud, Claims: map[string]any{"iss": "https://other.example"}}, jwt.ErrTokenInvalidIssuer},
		{"no exp", devissuer.TokenOptions{Audience: aud, Claims: map[string]any{"exp": nil}}, jwt.ErrTokenRequiredClaimMissing},
		{"no kid", devissuer.TokenOptions{Audience: aud, Header: map[string]any{"kid": nil}}, jwt.ErrTokenUnverifiable},
		{"forged", devissuer.TokenOptions{Audience: aud, Key: foreign}, jwt.ErrTokenSignatureInvalid},
		{"symmetric", devissuer.TokenOptions{Audience: aud, Key: []byte("secret"), Method: jwt.SigningMethodHS256}, jwt.ErrTokenSignatureInvalid},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			raw, err := i.Mint(c.options)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := verify(t, i, raw); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	if _, err := i.Mint(devissuer.TokenOptions{KeyID: "nobody"}); err == nil {
		t.Error("a token of a missing key was minted")
	}
}

func TestClaims(t *testing.T) {
	i := start(t, devissuer.Config{})
	at := time.Date(2026, 3, 2, 10, 0, 0, 0, time.FixedZone("IST", 19800))
	raw, err := i.Mint(devissuer.TokenOptions{
		Subject: "asha", Client: "agent", Audience: []string{audience},
		Scopes: []string{"a", "b"}, Roles: []string{"finance"},
		ElevatedAt: at, ElevatedFor: time.Minute,
		Claims: map[string]any{"acr": "mfa", "azp": nil}, Header: map[string]any{"typ": "JWT"},
	})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := verify(t, i, raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"exp", "iat", "jti"} {
		if claims[name] == nil {
			t.Errorf("no %s", name)
		}
		delete(claims, name)
	}
	want := jwt.MapClaims{
		"iss": i.URL(), "sub": "asha", "client_id": "agent", "aud": audience,
		"scope": "a b", "roles": []any{"finance"}, "acr": "mfa",
		"elevation_status": map[string]any{"elevated_at": "2026-03-02T04:30:00Z", "duration_seconds": 60.0},
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestTokensAreSignedWhileKeysRotate(t *testing.T) {
	i := start(t, devissuer.Config{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 20 {
				raw, err := i.Mint(devissuer.TokenOptions{Audience: []string{audience}})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := verify(t, i, raw); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		if err := i.Rotate(); err != nil {
			t.Error(err)
		}
	}
	group.Wait()
}

// fakeClock stands still until told otherwise.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
