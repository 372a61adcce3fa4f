package identity

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMetadataURLs(t *testing.T) {
	t.Parallel()
	const oidc, oauth = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"
	tests := map[string][]string{
		"https://i.example":             {"https://i.example" + oidc, "https://i.example" + oauth},
		"https://tenant.auth0.example/": {"https://tenant.auth0.example" + oidc, "https://tenant.auth0.example" + oauth},
		"https://i.example/realms/demo": {"https://i.example/realms/demo" + oidc, "https://i.example" + oauth + "/realms/demo"},
		"https://i.example/a%20b/":      {"https://i.example/a%20b" + oidc, "https://i.example" + oauth + "/a%20b"},
		"https://i.example:8443/oauth2": {"https://i.example:8443/oauth2" + oidc, "https://i.example:8443" + oauth + "/oauth2"},
	}
	for issuer, want := range tests {
		if diff := cmp.Diff(want, metadataURLs(issuer)); diff != "" {
			t.Errorf("%s: %s", issuer, diff)
		}
	}
}

func TestParseMetadata(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ raw, why string }{
		"good":               {metadata(testIssuer, testKeysURL), ""},
		"another issuer":     {metadata("https://evil.example", testKeysURL), `issuer is "https://evil.example"`},
		"a final slash more": {metadata(testIssuer+"/", testKeysURL), "expected"},
		"another case":       {metadata("https://ISSUER.example", testKeysURL), "expected"},
		"no issuer":          {`{"jwks_uri":"` + testKeysURL + `"}`, "issuer is missing"},
		"issuer null":        {`{"issuer":null,"jwks_uri":"` + testKeysURL + `"}`, `issuer is ""`},
		"issuer an array":    {`{"issuer":["` + testIssuer + `"],"jwks_uri":"x"}`, "not a string"},
		"issuer twice":       {`{"issuer":"https://evil.example",` + metadata(testIssuer, testKeysURL)[1:], `"issuer" is there twice`},
		"issuer as Issuer":   {strings.Replace(metadata(testIssuer, testKeysURL), "issuer", "Issuer", 1), "issuer is missing"},
		"no jwks_uri":        {`{"issuer":"` + testIssuer + `"}`, "jwks_uri is missing"},
		"empty jwks_uri":     {metadata(testIssuer, ""), "jwks_uri is missing"},
		"jwks_uri a number":  {`{"issuer":"` + testIssuer + `","jwks_uri":1}`, "jwks_uri is missing or not a string"},
		"HTML":               {"<html>", "not a JSON object"},
		"nothing":            {"", "not a JSON object"},
		"cut off":            {metadata(testIssuer, testKeysURL)[:50], "unexpected EOF"},
		"something after":    {metadata(testIssuer, testKeysURL) + "]", "something follows"},
	}
	for name, test := range tests {
		got, err := parseMetadata([]byte(test.raw), testIssuer)
		switch {
		case test.why == "" && (err != nil || got != testKeysURL):
			t.Errorf("%s: got %q, %v", name, got, err)
		case test.why != "" && (err == nil || !strings.Contains(err.Error(), test.why)):
			t.Errorf("%s: got %q, %v, want an error about %q", name, got, err, test.why)
		}
	}
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	const (
		pathIssuer = "https://issuer.example/realms/demo"
		rfc8414    = "https://issuer.example/.well-known/oauth-authorization-server/realms/demo"
		oidc       = pathIssuer + "/.well-known/openid-configuration"
		elsewhere  = "https://keys.cdn.example/jwks" // Entra, Cognito: another host than the issuer's
		entra      = "https://login.microsoftonline.com/"
		tenant     = entra + "{tenantid}/v2.0"
		common     = entra + "common/v2.0/.well-known/openid-configuration"
		entraKeys  = entra + "common/discovery/v2.0/keys"
		organised  = entra + "organizations/v2.0/.well-known/openid-configuration"
	)
	serve := func(doc string) answerFunc { return ok(doc) }
	good := serve(metadata(pathIssuer, elsewhere))
	tests := map[string]struct {
		cfg     KeySetConfig
		answers map[string]answerFunc
		why     string // empty: the keys are found
	}{
		"OpenID Connect":    {answers: map[string]answerFunc{oidc: good}},
		"RFC 8414 instead":  {answers: map[string]answerFunc{rfc8414: good}},
		"gone, then 8414":   {answers: map[string]answerFunc{oidc: status(410), rfc8414: good}},
		"403, then 8414":    {answers: map[string]answerFunc{oidc: status(403), rfc8414: good}},
		"neither":           {why: rfc8414 + ": status 404"},
		"503 is no 404":     {answers: map[string]answerFunc{oidc: status(503), rfc8414: good}, why: "status 503"},
		"429 is no 404":     {answers: map[string]answerFunc{oidc: status(429), rfc8414: good}, why: "status 429"},
		"a redirect":        {answers: map[string]answerFunc{oidc: answer(302, "", "Location", rfc8414), rfc8414: good}, why: "status 302"},
		"away":              {answers: map[string]answerFunc{oidc: unreachable(), rfc8414: good}, why: "connection refused"},
		"HTML for all":      {answers: map[string]answerFunc{oidc: serve("<html>"), rfc8414: good}, why: "not a JSON object"},
		"wrong issuer":      {answers: map[string]answerFunc{oidc: serve(metadata("https://evil.example", elsewhere)), rfc8414: good}, why: `expected "` + pathIssuer},
		"issuer + slash":    {answers: map[string]answerFunc{oidc: serve(metadata(pathIssuer+"/", elsewhere))}, why: "expected"},
		"keys over http":    {answers: map[string]answerFunc{oidc: serve(metadata(pathIssuer, "http://keys.cdn.example/jwks"))}, why: "jwks_uri: "},
		"keys in a file":    {answers: map[string]answerFunc{oidc: serve(metadata(pathIssuer, "file:///etc/keys"))}, why: "the scheme must be https"},
		"keys with a login": {answers: map[string]answerFunc{oidc: serve(metadata(pathIssuer, "https://u:p@keys.cdn.example/jwks"))}, why: "user name or password"},
		"relative jwks_uri": {answers: map[string]answerFunc{oidc: serve(metadata(pathIssuer, "/jwks"))}, why: "the scheme must be https"},
		"elsewhere configured": {
			cfg:     KeySetConfig{Issuer: pathIssuer, DiscoveryURL: "https://meta.example/doc"},
			answers: map[string]answerFunc{"https://meta.example/doc": good},
		},
		"configured, no fallback": {
			cfg:     KeySetConfig{Issuer: pathIssuer, DiscoveryURL: "https://meta.example/doc"},
			answers: map[string]answerFunc{rfc8414: good, oidc: good}, why: "https://meta.example/doc: status 404",
		},
		"Entra's literal {tenantid}": {
			cfg:     KeySetConfig{Issuer: tenant},
			answers: map[string]answerFunc{common: serve(metadata(tenant, entraKeys))},
		},
		"Entra, configured place": {
			cfg:     KeySetConfig{Issuer: tenant, DiscoveryURL: organised},
			answers: map[string]answerFunc{organised: serve(metadata(tenant, entraKeys))},
		},
		"Entra, one tenant's metadata": {
			cfg:     KeySetConfig{Issuer: tenant},
			answers: map[string]answerFunc{common: serve(metadata(entra+"9188040d-6c67-4c5b-b112-36a304b66dad/v2.0", entraKeys))},
			why:     "expected",
		},
		"issuer of tokens and of metadata differ": {
			cfg:     KeySetConfig{Issuer: "https://sts.example/t/", DiscoveryURL: "https://meta.example/doc", DiscoveryIssuer: pathIssuer},
			answers: map[string]answerFunc{"https://meta.example/doc": good},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newFakeProvider()
			p.set(elsewhere, ok(keySetOf("a")))
			p.set(entraKeys, ok(keySetOf("a")))
			p.set("http://keys.cdn.example/jwks", ok(keySetOf("a")))
			for url, a := range test.answers {
				p.set(url, a)
			}
			if test.cfg.Issuer == "" {
				test.cfg.Issuer = pathIssuer
			}
			k := newTestKeySet(t, p, func(c *KeySetConfig) { *c = test.cfg })
			err := k.Load(t.Context())
			if test.why == "" {
				if err != nil {
					t.Fatal(err)
				}
				wantKey(t, k, "a", "")
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.why) {
				t.Errorf("got %v, want an error about %q", err, test.why)
			}
			wantKey(t, k, "a", KeysUnavailable)
			if n := p.count(elsewhere) + p.count("http://keys.cdn.example/jwks"); n != 0 {
				t.Errorf("keys were fetched %d times", n)
			}
		})
	}
}

// When the metadata is away but the keys aren't, the address that it gave is
// good for as long as keys are, and the outage shows as a warning.
func TestMetadataAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testMetadata, ok(metadata(testIssuer, testKeysURL)))
		p.set(testKeysURL, ok(keySetOf("a")))
		k := running(t, p, discovered)
		for what, broken := range map[string]answerFunc{
			"unavailable": status(503), "of-another-issuer": ok(metadata("https://evil.example", testKeysURL)),
		} {
			p.set(testMetadata, broken)
			p.set(testKeysURL, ok(keySetOf("a", what)))
			time.Sleep(2 * time.Hour)
			wantKey(t, k, what, "") // a rotation is seen
			if s := k.Status(); s.LastError != "" || !strings.Contains(s.Warning, "discover keys") {
				t.Errorf("%s: error %q, warning %q", what, s.LastError, s.Warning)
			}
		}
		time.Sleep(21 * time.Hour) // 25 since the metadata said where the keys are
		if s := k.Status(); s.LastError == "" {
			t.Errorf("after max_stale: %+v", s)
		}
		time.Sleep(24 * time.Hour)
		wantKey(t, k, "a", KeysUnavailable)

		p.set(testMetadata, ok(metadata(testIssuer, testKeysURL)))
		time.Sleep(2 * lastBackoff)
		wantKey(t, k, "a", "")
		if s := k.Status(); s.LastError != "" || s.Warning != "" {
			t.Errorf("metadata is back: error %q, warning %q", s.LastError, s.Warning)
		}
	})
}

// Keys that move are found when they are gone from where they were, without
// waiting for the next refresh that is due; also if the old place answers
// something that is no key set.
func TestKeysMove(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]answerFunc{"404": status(404), "an empty set": ok(`{"keys":[]}`)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const moved = "https://keys.example/moved"
				p := newFakeProvider()
				p.set(testMetadata, ok(metadata(testIssuer, testKeysURL)))
				p.set(testKeysURL, ok(keySetOf("a")))
				k := running(t, p, discovered)
				p.set(testMetadata, ok(metadata(testIssuer, moved)))
				p.set(testKeysURL, gone)
				p.set(moved, ok(keySetOf("b")))
				wantKey(t, k, "b", UnknownKeyID)
				time.Sleep(firstBackoff)
				wantKey(t, k, "b", "")
			})
		})
	}
}

func FuzzParseMetadata(f *testing.F) {
	for _, seed := range []string{
		metadata(testIssuer, testKeysURL), metadata(testIssuer+"/", testKeysURL), "{}", "[]", "", "null",
		`{"issuer":"a","issuer":"` + testIssuer + `","jwks_uri":"x"}`,
		`{"\u0069ssuer":"` + testIssuer + `","jwks_uri":"https://k"}`,
		`{"issuer":"` + testIssuer + `","jwks_uri":{"a":[1,2,{"b":null}]}}`,
		fmt.Sprintf(`{"issuer":%q,"jwks_uri":"x"}y`, testIssuer),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 64<<10 {
			t.Skip()
		}
		uri, err := parseMetadata(raw, testIssuer)
		if (err == nil) != (uri != "") {
			t.Fatalf("got %q, %v", uri, err)
		}
		if err != nil {
			return
		}
		// Whatever the document says, it is the document of one issuer.
		if uri, err := parseMetadata(raw, testIssuer+"/"); err == nil {
			t.Fatalf("the document of one issuer counts for another: %q", uri)
		}
	})
}
