package identity_test

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/internal/devissuer"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got, err := w.verify(t, good(object{
		"aud": []string{"https://other.example", resource}, "sid": "s1", "acr": "gold", "amr": []string{"pwd", "otp"},
		"auth_time": noon().Add(-time.Hour).Unix(), "roles": []string{"sales", "admin", "sales"}, "scope": "write  read",
		"act": object{"sub": "robot", "act": object{"sub": "earlier"}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got.Claims["jti"] != "t1" || got.Claims["exp"] != json.Number("1772366700") {
		t.Errorf("claims are %v", got.Claims)
	}
	got.Claims = nil
	want := &identity.Principal{
		ID:     identity.PrincipalID(issuerURL, "", "alice", "agent", "robot"),
		Issuer: "main", IssuerID: issuerURL, Subject: "alice", Client: "agent", Actor: "robot",
		Scopes: []string{"read", "write"}, Roles: []string{"admin", "sales"},
		Audiences: []string{"https://other.example", "https://mcp.example/mcp"},
		TokenID:   "t1", SessionID: "s1", ACR: "gold", AMR: []string{"pwd", "otp"},
		IssuedAt: noon().Add(-time.Minute), Expires: noon().Add(5 * time.Minute), AuthTime: noon().Add(-time.Hour),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestVerifyEveryAlgorithm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	keys := map[string]string{
		"RS256": "rsa", "RS384": "rsa", "RS512": "rsa", "PS256": "rsa", "PS384": "rsa", "PS512": "rsa",
		"ES256": "p256", "ES384": "p384", "ES512": "p521", "EdDSA": "ed",
	}
	fits := func(alg, kid string) bool { return keys[alg] == kid }
	for alg, right := range keys {
		token := mint(signers()[right], alg, goodHeader(object{"alg": alg, "kid": right}), goodClaims())
		_, err := w.verify(t, token)
		wantCause(t, err, "")
		for kid := range signers() { // RFC 8725 §3.1: no algorithm with a foreign kind of key
			if fits(alg, kid) {
				continue
			}
			_, err := w.verify(t, mint(signers()[right], alg, goodHeader(object{"alg": alg, "kid": kid}), goodClaims()))
			wantCause(t, err, identity.AlgorithmRefused)
		}
	}
	only := newWorld(t, func(c *identity.VerifierConfig) { c.Issuers[0].Algorithms = []string{"ES256"} })
	_, err := only.verify(t, good())
	wantCause(t, err, identity.AlgorithmRefused)
}

func TestTypHeader(t *testing.T) {
	t.Parallel()
	strict := func(c *identity.VerifierConfig) { c.Issuers[0].Typ = identity.TypAt }
	for typ, want := range map[any][2]string{ // by policy: any, at+jwt
		"at+jwt": {"", ""}, "AT+JWT": {"", ""}, "application/at+jwt": {"", ""},
		"JWT": {"", identity.WrongTokenType}, "jwt": {"", identity.WrongTokenType}, nil: {"", identity.WrongTokenType},
		"text/at+jwt": {identity.WrongTokenType, identity.WrongTokenType}, "JOSE": {identity.WrongTokenType, identity.WrongTokenType},
	} {
		token := mint(rsaKey(), "RS256", goodHeader(object{"typ": typ}), goodClaims())
		_, err := newWorld(t).verify(t, token)
		wantCause(t, err, want[0])
		_, err = newWorld(t, strict).verify(t, token)
		wantCause(t, err, want[1])
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := good()
	for name, c := range map[string]struct {
		credentials identity.Credentials
		want        string
	}{
		"none":            {identity.Credentials{}, identity.Missing},
		"basic":           {identity.Credentials{Authorization: "Basic YTpi", AuthorizationLines: 1}, identity.Missing},
		"no scheme":       {identity.Credentials{Authorization: token, AuthorizationLines: 1}, identity.Missing},
		"scheme alone":    {identity.Credentials{Authorization: "Bearer", AuthorizationLines: 1}, identity.Malformed},
		"lower case":      {identity.Credentials{Authorization: "bearer " + token, AuthorizationLines: 1}, ""},
		"more spaces":     {identity.Credentials{Authorization: "Bearer   " + token + " ", AuthorizationLines: 1}, ""},
		"two headers":     {identity.Credentials{Authorization: "Bearer " + token, AuthorizationLines: 2}, identity.Ambiguous},
		"joined headers":  {identity.Credentials{Authorization: "Bearer " + token + ", Bearer " + token, AuthorizationLines: 1}, identity.Ambiguous},
		"query alone":     {identity.Credentials{QueryToken: true}, identity.Ambiguous},
		"query as well":   {identity.Credentials{Authorization: "Bearer " + token, AuthorizationLines: 1, QueryToken: true}, identity.Ambiguous},
		"trailing text":   {identity.Credentials{Authorization: "Bearer " + token + " x", AuthorizationLines: 1}, identity.Malformed},
		"unbound as DPoP": {identity.Credentials{Authorization: "DPoP " + token, AuthorizationLines: 1}, identity.DPoPInvalid},
	} {
		_, err := w.Verify(t.Context(), c.credentials, w.target)
		if err != nil || c.want != "" {
			t.Run(name, func(t *testing.T) { wantCause(t, err, c.want) })
		}
	}
}

func TestTokenSize(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *identity.VerifierConfig) { c.MaxTokenBytes = 4096 })
	_, err := w.verify(t, good(object{"pad": strings.Repeat("x", 1000)}))
	wantCause(t, err, "")
	_, err = w.verify(t, good(object{"pad": strings.Repeat("x", 4000)}))
	wantCause(t, err, identity.Malformed)
}

// What depends on the server is asked for each request, whatever is remembered.
func TestTargets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := good()
	for range 2 {
		for _, c := range []struct {
			target identity.Target
			want   string
		}{
			{identity.Target{Audiences: []string{resource}}, ""},
			{identity.Target{Audiences: []string{"https://b.example", resource}, Issuers: []string{"x", "main"}}, ""},
			{identity.Target{Audiences: []string{"https://b.example"}}, identity.WrongAudience},
			{identity.Target{}, identity.WrongAudience},
			{identity.Target{Audiences: []string{resource}, Issuers: []string{"x"}}, identity.UnknownIssuer},
		} {
			_, err := w.Verify(t.Context(), bearer(token), &c.target)
			wantCause(t, err, c.want)
		}
	}
	if n := w.keys.lookups(); n != 1 {
		t.Errorf("the signature was verified %d times, want once", n)
	}
	_, err := w.Verify(t.Context(), bearer(good(object{"aud": []string{""}})), &identity.Target{Audiences: []string{""}})
	wantCause(t, err, identity.WrongAudience)
}

func TestNonce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *identity.VerifierConfig) {
		c.Issuers = append(c.Issuers, identity.IssuerConfig{Name: "other", Issuer: issuerURL + "/b"})
	})
	first, second := good(object{"nonce": "n1"}), good(object{"nonce": "n1", "jti": "t2"})
	for _, c := range []struct{ token, want string }{
		{first, ""}, {first, ""}, {second, identity.NonceReplayed}, {first, ""}, {second, identity.NonceReplayed},
		{good(object{"nonce": "n2"}), ""},
		{good(object{"nonce": "n1", "iss": issuerURL + "/b"}), ""}, // another issuer's nonces are its own
		{good(object{"nonce": "/bn1"}), ""},                        // and not those of a name that continues ours
		{good(object{"nonce": 7}), identity.Malformed},
	} {
		_, err := w.verify(t, c.token)
		wantCause(t, err, c.want)
	}
	// A token for somebody else takes no nonce.
	_, err := w.verify(t, good(object{"nonce": "n3", "aud": "https://b.example"}))
	wantCause(t, err, identity.WrongAudience)
	_, err = w.verify(t, good(object{"nonce": "n3"}))
	wantCause(t, err, "")
	// After the first token's end the nonce is free.
	w.clock.advance(5*time.Minute + skew)
	_, err = w.verify(t, good(object{"nonce": "n1", "exp": w.clock.now().Add(time.Minute).Unix()}))
	wantCause(t, err, "")

	lenient := newWorld(t, func(c *identity.VerifierConfig) { c.Issuers[0].IgnoreNonce = true })
	for _, token := range []string{first, second} {
		_, err := lenient.verify(t, token)
		wantCause(t, err, "")
	}
}

// brokenReplays is a store that is away.
type brokenReplays struct{}

func (brokenReplays) Remember(context.Context, [32]byte, [32]byte, time.Time) ([32]byte, bool, error) {
	return [32]byte{}, false, errors.New("away")
}

func TestStoreAway(t *testing.T) {
	t.Parallel()
	v, err := identity.NewVerifier(
		identity.VerifierConfig{Issuers: []identity.IssuerConfig{{Name: "main", Issuer: issuerURL}}},
		map[string]identity.Keys{"main": newFixedKeys(signers())}, brokenReplays{}, noon)
	if err != nil {
		t.Fatal(err)
	}
	target := &identity.Target{Audiences: []string{resource}}
	_, err = v.Verify(t.Context(), bearer(good(object{"nonce": "n"})), target)
	wantCause(t, err, identity.StoreUnavailable)
	_, err = v.Verify(t.Context(), bearer(good()), target)
	wantCause(t, err, "") // needs no store
	bound := good(object{"cnf": object{"jkt": thumbprintOf(p256Key().Public())}})
	_, err = v.Verify(t.Context(), withProof(bound, proof(p256Key(), "ES256", bound, nil, nil)), target)
	wantCause(t, err, identity.StoreUnavailable)
}

func TestNewVerifierRefuses(t *testing.T) {
	t.Parallel()
	is := func(name, url string) identity.IssuerConfig { return identity.IssuerConfig{Name: name, Issuer: url} }
	entra := identity.IssuerConfig{Name: "m1", Preset: identity.PresetEntraMultitenant, Tenants: []string{tenantA}}
	again := entra
	again.Name = "m2"
	for want, cfg := range map[string]identity.VerifierConfig{
		"clock_skew":                           {ClockSkew: time.Minute + 1, Issuers: []identity.IssuerConfig{is("a", issuerURL)}},
		"max_token_bytes":                      {MaxTokenBytes: 1 << 20, Issuers: []identity.IssuerConfig{is("a", issuerURL)}},
		"none is configured":                   {},
		"the name is there twice":              {Issuers: []identity.IssuerConfig{is("a", issuerURL), is("a", issuerURL+"/b")}},
		"is also that of \"a\"":                {Issuers: []identity.IssuerConfig{is("a", issuerURL), is("b", issuerURL)}},
		"is also that of \"m1\"":               {Issuers: []identity.IssuerConfig{entra, again}},
		"no key set":                           {Issuers: []identity.IssuerConfig{is("keyless", issuerURL)}},
		"does not begin with https":            {Issuers: []identity.IssuerConfig{is("a", "http://issuer.example")}},
		"an empty issuer would switch the che": {Issuers: []identity.IssuerConfig{is("a", "")}},
	} {
		keys := map[string]identity.Keys{}
		for _, c := range cfg.Issuers {
			if c.Name != "keyless" {
				keys[c.Name] = newFixedKeys(nil)
			}
		}
		_, err := identity.NewVerifier(cfg, keys, brokenReplays{}, noon)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	_, err := identity.NewVerifier(identity.VerifierConfig{Issuers: []identity.IssuerConfig{is("a", issuerURL)}},
		map[string]identity.Keys{"a": newFixedKeys(nil)}, nil, noon)
	if err == nil {
		t.Error("no store was accepted")
	}
}

// Keys that can't be had are an outage, not a bad token.
func TestKeysAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := good()
	_, err := w.verify(t, token)
	wantCause(t, err, "")
	w.keys.change(func(f *fixedKeys) {
		f.err = &identity.Refusal{Cause: identity.KeysUnavailable, Detail: "gone"}
		f.generation = ^uint64(0) // change makes it 0
	})
	_, err = w.verify(t, token)
	wantCause(t, err, identity.KeysUnavailable)
	w.keys.change(func(f *fixedKeys) { f.err = errors.New("not a refusal") })
	_, err = w.verify(t, good(object{"jti": "t3"}))
	wantCause(t, err, identity.KeysUnavailable)
}

// A key of one issuer never verifies another's token, under the same kid too.
func TestIssuersDontShareKeys(t *testing.T) {
	t.Parallel()
	c := newClock()
	v := newVerifier(t, identity.VerifierConfig{Issuers: []identity.IssuerConfig{
		{Name: "a", Issuer: issuerURL}, {Name: "b", Issuer: "https://b.example"},
	}}, map[string]identity.Keys{
		"a": newFixedKeys(map[string]crypto.Signer{"rsa": rsaKey()}),
		"b": newFixedKeys(map[string]crypto.Signer{"rsa": otherRSAKey()}),
	}, c)
	target := &identity.Target{Audiences: []string{resource}}
	for _, tc := range []struct {
		key  crypto.Signer
		iss  string
		want string
	}{
		{rsaKey(), issuerURL, ""}, {otherRSAKey(), "https://b.example", ""},
		{otherRSAKey(), issuerURL, identity.BadSignature}, {rsaKey(), "https://b.example", identity.BadSignature},
	} {
		_, err := v.Verify(t.Context(), bearer(mint(tc.key, "RS256", goodHeader(), goodClaims(object{"iss": tc.iss}))), target)
		wantCause(t, err, tc.want)
	}
}

// A running issuer, its real key set and a rotation that nobody announced.
func TestRotationOfARealIssuer(t *testing.T) {
	t.Parallel()
	issuer, err := devissuer.Start(devissuer.Config{HideUntilUsed: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := issuer.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	keys := runKeySet(t, identity.KeySetConfig{Name: "dev", Issuer: issuer.URL(), AllowHTTP: true})
	v, err := identity.NewVerifier(identity.VerifierConfig{Issuers: []identity.IssuerConfig{
		{Name: "dev", Issuer: issuer.URL(), AllowHTTP: true},
	}}, map[string]identity.Keys{"dev": keys}, identity.NewMemoryReplays(10, time.Now), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	target := &identity.Target{Audiences: []string{resource}}
	for range 2 {
		token, err := issuer.Mint(devissuer.TokenOptions{Audience: []string{resource}, Scopes: []string{"read"}})
		if err != nil {
			t.Fatal(err)
		}
		p, err := v.Verify(t.Context(), bearer(token), target)
		wantCause(t, err, "")
		if err == nil && !p.HasScope("read") {
			t.Errorf("scopes are %v", p.Scopes)
		}
		if err := issuer.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
	forged, err := issuer.Mint(devissuer.TokenOptions{Audience: []string{resource}, Key: otherRSAKey(), Header: object{"kid": "dev-2"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Verify(t.Context(), bearer(forged), target)
	wantCause(t, err, identity.BadSignature)
}
