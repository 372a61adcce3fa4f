package identity_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/authz/identity"
)

// thumbprintOf is RFC 7638's, written out.
func thumbprintOf(key crypto.PublicKey) string {
	k := jwkOf(key)
	switch k["kty"] {
	case "RSA":
		return hash64(fmt.Sprintf(`{"e":"%s","kty":"RSA","n":"%s"}`, k["e"], k["n"]))
	case "EC":
		return hash64(fmt.Sprintf(`{"crv":"%s","kty":"EC","x":"%s","y":"%s"}`, k["crv"], k["x"], k["y"]))
	default:
		return hash64(fmt.Sprintf(`{"crv":"Ed25519","kty":"OKP","x":"%s"}`, k["x"]))
	}
}

// proof makes a DPoP proof for a POST to resource with this token, now.
func proof(key crypto.Signer, alg, token string, header, claims object) string {
	h := changed(object{"typ": "dpop+jwt", "alg": alg, "jwk": jwkOf(key.Public())}, header)
	c := changed(object{"jti": rand.Text(), "htm": "POST", "htu": resource, "iat": noon().Unix(), "ath": hash64(token)}, claims)
	return mint(key, alg, h, c)
}

func withProof(token, proof string) identity.Credentials {
	return identity.Credentials{
		Authorization: "DPoP " + token, AuthorizationLines: 1,
		DPoP: proof, DPoPLines: 1, Method: "POST", URL: resource,
	}
}

func rawNull() json.RawMessage { return json.RawMessage("null") }

func rawNumber(s string) json.RawMessage { return json.RawMessage(s) }

// RFC 7638 §3.1 and RFC 8037 §A.3 print thumbprints.
func TestThumbprintsOfTheRFCs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct{ jwk, thumbprint string }{
		{`{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		{`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
	} {
		// Nobody here has the private keys: if the thumbprint is right, the
		// signature is what's wrong.
		alg := "RS256"
		if strings.Contains(c.jwk, "OKP") {
			alg = "EdDSA"
		}
		for thumbprint, want := range map[string]string{c.thumbprint: "signature", thumbprintOf(p256Key().Public()): "not the one"} {
			token := good(object{"cnf": object{"jkt": thumbprint}})
			forged := mint(map[string]crypto.Signer{"RS256": rsaKey(), "EdDSA": edKey()}[alg], alg,
				object{"typ": "dpop+jwt", "alg": alg, "jwk": json.RawMessage(c.jwk)},
				object{"jti": "1", "htm": "POST", "htu": resource, "iat": noon().Unix(), "ath": hash64(token)})
			_, err := w.Verify(t.Context(), withProof(token, forged), w.target)
			wantCause(t, err, identity.DPoPInvalid)
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
	}
}

func TestProofOfEveryKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for alg, key := range map[string]crypto.Signer{
		"ES256": p256Key(), "ES384": p384Key(), "ES512": p521Key(), "RS256": rsaKey(), "PS256": rsaKey(), "EdDSA": edKey(),
	} {
		token := good(object{"cnf": object{"jkt": thumbprintOf(key.Public())}})
		for range 2 { // the second is a token that is known
			_, err := w.Verify(t.Context(), withProof(token, proof(key, alg, token, nil, nil)), w.target)
			wantCause(t, err, "")
		}
	}
}

// Every check of RFC 9449 §4.3, and what belongs to them.
func TestProofs(t *testing.T) {
	t.Parallel()
	key := p256Key()
	token := good(object{"cnf": object{"jkt": thumbprintOf(key.Public())}})
	private := jwkOf(key.Public())
	scalar, err := key.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	private["d"] = b64(scalar)
	at := func(d time.Duration) object { return object{"iat": noon().Add(d).Unix()} }
	header := func(o object) string { return proof(key, "ES256", token, o, nil) }
	claims := func(o object) string { return proof(key, "ES256", token, nil, o) }
	right := header(nil)

	for name, c := range map[string]struct {
		proof string
		want  string
	}{
		"right":                    {right, ""},
		"typ in capitals":          {header(object{"typ": "DPoP+JWT"}), ""},
		"typ, long form":           {header(object{"typ": "application/dpop+jwt"}), ""},
		"typ missing":              {header(object{"typ": nil}), identity.DPoPInvalid},
		"typ JWT":                  {header(object{"typ": "JWT"}), identity.DPoPInvalid},
		"no jwk":                   {header(object{"jwk": nil}), identity.DPoPInvalid},
		"jwk, a string":            {header(object{"jwk": "x"}), identity.DPoPInvalid},
		"jwk, private":             {header(object{"jwk": private}), identity.DPoPInvalid},
		"jwk, symmetric":           {header(object{"jwk": object{"kty": "oct", "k": "AAAA"}}), identity.DPoPInvalid},
		"jwk, oct without k":       {header(object{"jwk": object{"kty": "oct"}}), identity.DPoPInvalid},
		"jwk, of another key":      {header(object{"jwk": jwkOf(p384Key().Public())}), identity.DPoPInvalid},
		"jwk, not on the curve":    {header(object{"jwk": jwkOf(key.Public(), object{"x": b64(make([]byte, 32))})}), identity.DPoPInvalid},
		"jwk, for another alg":     {header(object{"jwk": jwkOf(key.Public(), object{"alg": "ES384"})}), identity.DPoPInvalid},
		"jwk, with a kid":          {header(object{"jwk": jwkOf(key.Public(), object{"kid": "1", "alg": "ES256", "use": "sig"})}), ""},
		"another key's proof":      {proof(p384Key(), "ES384", token, nil, nil), identity.DPoPInvalid},
		"key right, not its proof": {mint(newEC(key.(*ecdsa.PrivateKey).Curve), "ES256", object{"typ": "dpop+jwt", "alg": "ES256", "jwk": jwkOf(key.Public())}, object{}), identity.DPoPInvalid},
		"alg none":                 {b64([]byte(text(object{"typ": "dpop+jwt", "alg": "none", "jwk": jwkOf(key.Public())}))) + "." + strings.Split(right, ".")[1] + ".", identity.DPoPInvalid},
		"alg HS256":                {b64([]byte(text(object{"typ": "dpop+jwt", "alg": "HS256", "jwk": jwkOf(key.Public())}))) + "." + strings.Split(right, ".")[1] + ".AAAA", identity.DPoPInvalid},
		"crit":                     {header(object{"crit": []string{"x"}}), identity.DPoPInvalid},
		"x5c":                      {header(object{"x5c": []string{"x"}}), identity.DPoPInvalid},
		"htm, another":             {claims(object{"htm": "GET"}), identity.DPoPInvalid},
		"htm, lower case":          {claims(object{"htm": "post"}), identity.DPoPInvalid},
		"htm missing":              {claims(object{"htm": nil}), identity.DPoPInvalid},
		"htu missing":              {claims(object{"htu": nil}), identity.DPoPInvalid},
		"htu, a number":            {claims(object{"htu": 1}), identity.DPoPInvalid},
		"iat missing":              {claims(object{"iat": nil}), identity.DPoPInvalid},
		"iat, text":                {claims(object{"iat": "now"}), identity.DPoPInvalid},
		"iat, oldest":              {claims(at(-time.Minute - skew)), ""},
		"iat, too old":             {claims(at(-time.Minute - skew - time.Second)), identity.DPoPInvalid},
		"iat, newest":              {claims(at(skew)), ""},
		"iat, too new":             {claims(at(skew + time.Second)), identity.DPoPInvalid},
		"jti missing":              {claims(object{"jti": nil}), identity.DPoPInvalid},
		"jti empty":                {claims(object{"jti": ""}), identity.DPoPInvalid},
		"jti, a number":            {claims(object{"jti": 7}), identity.DPoPInvalid},
		"ath missing":              {claims(object{"ath": nil}), identity.DPoPInvalid},
		"ath of another token":     {claims(object{"ath": hash64("x")}), identity.DPoPInvalid},
		"long":                     {claims(object{"pad": strings.Repeat("x", 8<<10)}), identity.DPoPInvalid},
		"no JWS":                   {"x", identity.DPoPInvalid},
		"two in one header":        {right + ", " + right, identity.DPoPInvalid},
		"the token itself":         {token, identity.DPoPInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			_, err := w.Verify(t.Context(), withProof(token, c.proof), w.target)
			wantCause(t, err, c.want)
		})
	}
}

func TestProofKeyForAnotherAlgorithm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := good(object{"cnf": object{"jkt": thumbprintOf(rsaKey().Public())}})
	for alg, want := range map[string]string{"RS512": identity.DPoPInvalid, "RS256": ""} {
		p := proof(rsaKey(), "RS256", token, object{"jwk": jwkOf(rsaKey().Public(), object{"alg": alg})}, nil)
		_, err := w.Verify(t.Context(), withProof(token, p), w.target)
		wantCause(t, err, want)
	}
}

func TestProofKeyStrength(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	weak := shortRSAKey()
	token := good(object{"cnf": object{"jkt": thumbprintOf(weak.Public())}})
	_, err := w.Verify(t.Context(), withProof(token, proof(weak, "RS256", token, nil, nil)), w.target)
	wantCause(t, err, identity.DPoPInvalid)

	one := &rsa.PublicKey{N: rsaKey().Public().(*rsa.PublicKey).N, E: 1} // anybody can sign for e=1
	token = good(object{"cnf": object{"jkt": thumbprintOf(one)}})
	_, err = w.Verify(t.Context(), withProof(token, proof(rsaKey(), "RS256", token, object{"jwk": jwkOf(one)}, nil)), w.target)
	wantCause(t, err, identity.DPoPInvalid)
}

func TestProofHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := good(object{"cnf": object{"jkt": thumbprintOf(p256Key().Public())}})
	right := withProof(token, proof(p256Key(), "ES256", token, nil, nil))
	for _, c := range []struct {
		name string
		edit func(*identity.Credentials)
		want string
	}{
		{"as bearer, with proof", func(c *identity.Credentials) { c.Authorization = "Bearer " + token }, identity.DPoPRequired},
		{"as bearer, without", func(c *identity.Credentials) { *c = bearer(token) }, identity.DPoPRequired},
		{"no proof", func(c *identity.Credentials) { c.DPoP, c.DPoPLines = "", 0 }, identity.DPoPRequired},
		{"two proofs", func(c *identity.Credentials) { c.DPoPLines = 2 }, identity.DPoPInvalid},
		{"no method", func(c *identity.Credentials) { c.Method = "" }, identity.DPoPInvalid},
		{"no URL", func(c *identity.Credentials) { c.URL = "" }, identity.DPoPInvalid},
		{"right", func(*identity.Credentials) {}, ""},
		{"replayed", func(*identity.Credentials) {}, identity.DPoPReplayed},
	} {
		credentials := right
		c.edit(&credentials)
		_, err := w.Verify(t.Context(), credentials, w.target)
		t.Run(c.name, func(t *testing.T) { wantCause(t, err, c.want) })
	}
	// It stays used until it is too old to be used.
	w.clock.advance(time.Minute + skew)
	_, err := w.Verify(t.Context(), right, w.target)
	wantCause(t, err, identity.DPoPReplayed)
	w.clock.advance(time.Second)
	_, err = w.Verify(t.Context(), right, w.target)
	wantCause(t, err, identity.DPoPInvalid)
}

// The proof's URL is compared without what doesn't matter, and with what does.
func TestProofURL(t *testing.T) {
	t.Parallel()
	const request = "https://mcp.example/a/~b%2Fc"
	token := good(object{"cnf": object{"jkt": thumbprintOf(p256Key().Public())}})
	for _, c := range []struct {
		request, htu string
		same         bool
	}{
		{request, request, true},
		{request, request + "?x=1#y", true},
		{request, "HTTPS://MCP.Example:443/a/~b%2Fc", true},
		{request, "https://mcp.example:/a/~b%2Fc", true},
		{request, "https://mcp.example/a/%7eb%2fc", true},
		{"https://mcp.example:443/a", "https://mcp.example/a", true},
		{"http://127.0.0.1:80/", "http://127.0.0.1", true},
		{"https://[::1]:8443/a", "https://[::1]:8443/a", true},
		{request, "https://mcp.example/a/~b/c", false},
		{request, "https://mcp.example/A/~b%2Fc", false},
		{request, "https://mcp.example/a/~b%2Fc/", false},
		{request, "https://mcp.example/", false},
		{request, "http://mcp.example/a/~b%2Fc", false},
		{request, "https://mcp.example:8443/a/~b%2Fc", false},
		{request, "https://evil.example/a/~b%2Fc", false},
		{request, "https://mcp.example@evil.example/a/~b%2Fc", false},
		{request, "https://evil@mcp.example/a/~b%2Fc", false},
		{request, "//mcp.example/a/~b%2Fc", false},
		{request, "/a/~b%2Fc", false},
		{request, "ftp://mcp.example/a/~b%2Fc", false},
		{request, "https://mcp.example/%zz", false},
		{"https:///a", "https:///a", false},
	} {
		w := newWorld(t)
		credentials := withProof(token, proof(p256Key(), "ES256", token, nil, object{"htu": c.htu}))
		credentials.URL = c.request
		_, err := w.Verify(t.Context(), credentials, w.target)
		if (err == nil) != c.same {
			t.Errorf("%s for %s: %v", c.htu, c.request, err)
		}
	}
}

func FuzzProof(f *testing.F) {
	w := newWorld(f)
	key := p256Key()
	token := good(object{"cnf": object{"jkt": thumbprintOf(key.Public())}})
	right := proof(key, "ES256", token, nil, nil)
	parts := strings.Split(right, ".")
	header, claims := []byte(text(object{"typ": "dpop+jwt", "alg": "ES256", "jwk": jwkOf(key.Public())})), []byte(`{"jti":"1","htm":"POST"}`)
	f.Add([]byte(right), header, claims)
	f.Add([]byte(parts[0]+"."+parts[1]+"."), []byte(`{"typ":"dpop+jwt","alg":"RS256","jwk":{"kty":"RSA","n":"AQ","e":"AQAB"}}`), []byte(`{}`))
	f.Add([]byte("a.b.c"), []byte(`{"typ":"dpop+jwt","alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"AA"}}`), []byte(`{"iat":1e9}`))
	f.Fuzz(func(t *testing.T, raw, header, claims []byte) {
		if _, err := w.Verify(t.Context(), withProof(token, string(raw)), w.target); err != nil {
			wantRefusal(t, err)
		} else if string(raw) != right {
			t.Errorf("accepted %q", raw)
		}
		// A header and claims of a stranger, signed by the right key: whatever
		// is accepted binds this request.
		signed := compact(key, "ES256", string(header), string(claims))
		if _, err := w.Verify(t.Context(), withProof(token, signed), w.target); err != nil {
			wantRefusal(t, err)
			return
		}
		var got map[string]any
		if err := json.Unmarshal(claims, &got); err != nil || got["htm"] != "POST" || got["ath"] != hash64(token) || got["jti"] == "" {
			t.Errorf("accepted %s %s", header, claims)
		}
	})
}
