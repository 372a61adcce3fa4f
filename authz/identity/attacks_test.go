package identity_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/authz/identity"
)

// attacked is a verifier whose key set is a real one, fetched from documents
// that hold good keys and bad ones. The documents also lie in wait for whoever
// follows a URL out of a token.
type attacked struct {
	*identity.Verifier
	documents *documents
	target    *identity.Target
}

const bait = "/bait"

func newAttacked(t testing.TB) *attacked {
	d := serveDocuments(t)
	weakExponent := jwkOf(rsaKey().Public(), object{"kid": "e1", "e": "AQ"})
	d.put("/keys", object{"keys": []object{
		jwkOf(rsaKey().Public(), object{"kid": "rsa"}),
		jwkOf(p256Key().Public(), object{"kid": "p256"}),
		jwkOf(edKey().Public(), object{"kid": "ed"}),
		jwkOf(rsaKey().Public(), object{"kid": "rs512", "alg": "RS512"}),
		jwkOf(otherRSAKey().Public(), object{"kid": "enc", "use": "enc"}),
		jwkOf(otherRSAKey().Public(), object{"kid": "ops", "key_ops": []string{"encrypt"}}),
		jwkOf(shortRSAKey().Public(), object{"kid": "short"}),
		weakExponent,
		jwkOf(rsaKey().Public(), object{"kid": "twice"}),
		jwkOf(otherRSAKey().Public(), object{"kid": "twice"}),
		{"kty": "oct", "kid": "oct", "k": "c2VjcmV0"},
	}})
	d.put(bait, object{"keys": []object{jwkOf(otherRSAKey().Public(), object{"kid": "rsa"})}})
	keys := d.keySet(t, identity.KeySetConfig{Name: "main", Issuer: issuerURL, JWKSURL: d.URL + "/keys"})
	v := newVerifier(t, identity.VerifierConfig{ClockSkew: skew, MaxTokenBytes: 64 << 10, Issuers: []identity.IssuerConfig{{
		Name: "main", Issuer: issuerURL, Algorithms: []string{"RS256", "PS256", "ES256", "EdDSA"},
	}}}, map[string]identity.Keys{"main": keys}, newClock())
	return &attacked{Verifier: v, documents: d, target: &identity.Target{Audiences: []string{resource}}}
}

// attack is a token that must be refused for a certain reason.
type attack struct{ name, token, want string }

func TestAttacks(t *testing.T) {
	t.Parallel()
	a := newAttacked(t)
	_, err := a.Verify(t.Context(), bearer(good()), a.target)
	wantCause(t, err, "") // or every refusal below would prove nothing

	var all []attack
	for _, list := range [][]attack{
		algorithmAttacks(), keyAttacks(a.documents.URL), kidAttacks(), ecdsaAttacks(t), rsaAttacks(t), formAttacks(),
		headerAttacks(), base64Attacks(), jsonAttacks(), claimAttacks(), typeAttacks(),
	} {
		all = append(all, list...)
	}
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			for range 2 { // the second time as well: refusals leave nothing behind
				_, err := a.Verify(t.Context(), bearer(c.token), a.target)
				wantCause(t, err, c.want)
			}
		})
	}
	if n := a.documents.count(bait); n != 0 {
		t.Errorf("a URL out of a token was fetched %d times", n)
	}
}

func formAttacks() []attack {
	token := good()
	p := strings.Split(token, ".")
	return []attack{
		{"one part", p[0], identity.Malformed},
		{"two parts", p[0] + "." + p[1], identity.Malformed},
		{"four parts", token + ".AAAA", identity.Malformed},
		{"five parts, as a JWE", b64([]byte(`{"alg":"RSA-OAEP","enc":"A128GCM"}`)) + ".AAAA.AAAA.AAAA.AAAA", identity.Malformed},
		{"trailing dot", token + ".", identity.Malformed},
		{"leading dot", "." + token, identity.Malformed},
		{"dots alone", "..", identity.Malformed},
		{"very many dots", strings.Repeat(".", 60000), identity.Malformed},
		{"empty header", "." + p[1] + "." + p[2], identity.Malformed},
		{"empty payload", p[0] + ".." + p[2], identity.Malformed},
		{"JSON serialization", text(object{"protected": p[0], "payload": p[1], "signature": p[2]}), identity.Ambiguous},
		{"JSON serialization with signatures", text(object{"payload": p[1], "signatures": []object{{"protected": p[0], "signature": p[2]}}}), identity.Ambiguous},
		{"longer than allowed", good(object{"pad": strings.Repeat("x", 50<<10)}), identity.Malformed},
		{"opaque", "2YotnFZFEjr1zCsicMWpAA", identity.Malformed},
	}
}

func headerAttacks() (list []attack) {
	for name, c := range map[string]struct {
		header object
		want   string
	}{
		"crit of exp":           {object{"crit": []string{"exp"}}, identity.CriticalHeader},
		"crit of b64":           {object{"crit": []string{"b64"}, "b64": true}, identity.CriticalHeader},
		"crit, empty":           {object{"crit": []string{}}, identity.CriticalHeader},
		"crit, a string":        {object{"crit": "exp"}, identity.CriticalHeader},
		"crit, null":            {object{"crit": rawNull()}, identity.CriticalHeader},
		"b64 false":             {object{"b64": false}, identity.CriticalHeader},
		"zip":                   {object{"zip": "DEF"}, identity.Malformed},
		"enc":                   {object{"enc": "A128GCM"}, identity.Malformed},
		"cty, a nested token":   {object{"cty": "JWT"}, identity.Malformed},
		"typ, a number":         {object{"typ": 1}, identity.Malformed},
		"typ, an array":         {object{"typ": []string{"at+jwt"}}, identity.Malformed},
		"typ of a client proof": {object{"typ": "client-authentication+jwt"}, identity.WrongTokenType},
		"typ of a logout token": {object{"typ": "logout+jwt"}, identity.WrongTokenType},
		"typ of an event":       {object{"typ": "secevent+jwt"}, identity.WrongTokenType},
		"typ of introspection":  {object{"typ": "token-introspection+jwt"}, identity.WrongTokenType},
		"header of 5 KB":        {object{"pad": strings.Repeat("x", 5<<10)}, identity.Malformed},
	} {
		list = append(list, attack{name, mint(rsaKey(), "RS256", goodHeader(c.header), goodClaims()), c.want})
	}
	header, claims := text(goodHeader()), text(goodClaims())
	return append(list,
		attack{"alg twice", compact(rsaKey(), "RS256", `{"alg":"none",`+header[1:], claims), identity.Malformed},
		attack{"alg twice, once escaped", compact(rsaKey(), "RS256", `{"\u0061lg":"none",`+header[1:], claims), identity.Malformed},
		attack{"header, an array", compact(rsaKey(), "RS256", `[]`, claims), identity.Malformed},
		attack{"header, null", compact(rsaKey(), "RS256", `null`, claims), identity.Malformed},
		attack{"header with a tail", compact(rsaKey(), "RS256", header+"{}", claims), identity.Malformed},
		attack{"ALG in capitals", compact(rsaKey(), "RS256", strings.Replace(header, "alg", "ALG", 1), claims), identity.Malformed})
}

func base64Attacks() (list []attack) {
	// A payload whose length leaves two spare bits in its last character.
	claims := goodClaims()
	for len(b64([]byte(text(claims))))%4 != 3 {
		claims["pad"] = text(claims["pad"])
	}
	token := mint(rsaKey(), "RS256", goodHeader(), claims)
	p := strings.Split(token, ".")
	// next is the character whose bits differ from c's in the last place only.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	next := func(part string) string {
		last := strings.IndexByte(alphabet, part[len(part)-1])
		return part[:len(part)-1] + string(alphabet[last^1])
	}
	for name, token := range map[string]string{
		"spare bits in the payload":   p[0] + "." + next(p[1]) + "." + p[2],
		"spare bits in the signature": p[0] + "." + p[1] + "." + next(p[2]),
		"padded header":               p[0] + "=." + p[1] + "." + p[2],
		"padded payload":              p[0] + "." + p[1] + "=." + p[2],
		"padded signature":            token + "==",
		"standard alphabet":           p[0] + "." + p[1] + "." + "+/" + p[2][2:],
		"a space inside":              p[0] + "." + p[1][:8] + " " + p[1][8:] + "." + p[2],
		"a line break inside":         p[0] + "." + p[1][:8] + "\n" + p[1][8:] + "." + p[2],
		"a carriage return inside":    p[0] + "." + p[1] + "." + p[2][:8] + "\r" + p[2][8:],
		"a NUL inside":                p[0] + "." + p[1] + "." + p[2][:8] + "\x00" + p[2][8:],
		"a full-width dot":            p[0] + "\uFF0E" + p[1] + "." + p[2],
		"an impossible length":        p[0] + "." + p[1] + "." + p[2] + "AAA",
	} {
		list = append(list, attack{name, token, identity.Malformed})
	}
	return list
}

func jsonAttacks() (list []attack) {
	claims := text(goodClaims())
	for name, payload := range map[string]string{
		"iss twice":               `{"iss":"https://evil.example",` + claims[1:],
		"aud twice":               claims[:len(claims)-1] + `,"aud":"https://evil.example"}`,
		"exp twice":               `{"exp":1,` + claims[1:],
		"exp twice, once escaped": claims[:len(claims)-1] + `,"\u0065xp":9999999999}`,
		"twice at depth":          `{"act":{"sub":"a","sub":"b"},` + claims[1:],
		"deep arrays":             `{"x":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `,` + claims[1:],
		"deep objects":            `{"x":` + strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40) + `,` + claims[1:],
		"unclosed depth":          strings.Repeat("[", 40000),
		"invalid UTF-8":           `{"x":"` + "\xff" + `",` + claims[1:],
		"overlong UTF-8":          `{"x":"` + "\xc0\xaf" + `",` + claims[1:],
		"half a surrogate pair":   `{"x":"\ud800",` + claims[1:],
		"reversed pair":           `{"x":"\udc00\ud800",` + claims[1:],
		"a byte order mark":       "\uFEFF" + claims,
		"a tail":                  claims + claims,
		"a trailing comma":        claims[:len(claims)-1] + `,}`,
		"a comment":               `{/**/` + claims[1:],
		"single quotes":           strings.ReplaceAll(claims, `"`, `'`),
		"NaN":                     `{"x":NaN,` + claims[1:],
		"a number with zeros":     `{"x":007,` + claims[1:],
		"an array":                "[" + claims + "]",
		"a string":                `"claims"`,
		"null":                    "null",
		"nothing":                 "",
	} {
		list = append(list, attack{"payload, " + name, compact(rsaKey(), "RS256", text(goodHeader()), payload), identity.Malformed})
	}
	return list
}

func claimAttacks() (list []attack) {
	add := func(name string, claims object, want string) {
		list = append(list, attack{name, good(claims), want})
	}
	for name, v := range map[string]any{
		"text": "1772366700", "negative": -1, "1e400": rawNumber("1e400"), "with an exponent": rawNumber("1.7723667e9"), "1e9": rawNumber("1e9"),
		"beyond the year 9999": rawNumber("253402300800"), "beyond int64": rawNumber("92233720368547758080"), "an array": []int64{noon().Unix() + 60},
		"an object": object{}, "true": true, "-0": rawNumber("-0"), "-0.0": rawNumber("-0.0"),
	} {
		add("exp "+name, object{"exp": v}, identity.Malformed)
		add("iat "+name, object{"iat": v}, identity.Malformed)
		add("nbf "+name, object{"nbf": v}, identity.Malformed)
	}
	add("exp zero", object{"exp": 0}, identity.Expired)
	add("exp null", object{"exp": rawNull()}, identity.MissingClaim)
	add("EXP in capitals", object{"exp": nil, "EXP": noon().Add(time.Minute).Unix()}, identity.MissingClaim)
	add("exp in the year 9999", object{"exp": rawNumber("253402300799")}, identity.LifetimeTooLong)

	add("aud missing", object{"aud": nil}, identity.MissingClaim)
	add("aud, a number", object{"aud": 1}, identity.Malformed)
	add("aud, an object", object{"aud": object{resource: true}}, identity.Malformed)
	add("aud, nested", object{"aud": [][]string{{resource}}}, identity.Malformed)
	add("aud, mixed", object{"aud": []any{resource, 1}}, identity.Malformed)
	add("aud, nobody", object{"aud": []string{}}, identity.WrongAudience)
	for _, aud := range []string{
		"", resource[:len(resource)-1], resource + "/", resource + "x", "x" + resource, strings.ToUpper(resource), "https://MCP.example/mcp",
		"https://mcp.example", "mcp", " " + resource, resource + " https://evil.example", resource + "\x00", "https://mcp.example:443/mcp", "*",
	} {
		add("aud "+aud, object{"aud": aud}, identity.WrongAudience)
	}

	add("iss missing", object{"iss": nil}, identity.MissingClaim)
	add("iss empty", object{"iss": ""}, identity.MissingClaim)
	add("iss, an array", object{"iss": []string{issuerURL}}, identity.Malformed)
	for _, iss := range []string{
		issuerURL + "/", strings.ToUpper(issuerURL), "https://ISSUER.example", issuerURL + "@evil.example", "https://evil@issuer.example", "http://issuer.example",
		issuerURL + ".evil.example", "https://issuer.example:443", " " + issuerURL, issuerURL + "#", issuerURL + "?", "issuer.example", "https://evil.example",
	} {
		add("iss "+iss, object{"iss": iss}, identity.UnknownIssuer)
	}
	// An escaped name is the name: no second meaning, and none to hide.
	list = append(list, attack{"exp in escapes", compact(rsaKey(), "RS256", text(goodHeader()),
		strings.Replace(text(goodClaims(object{"exp": 1})), `"exp"`, `"\u0065\u0078\u0070"`, 1)), identity.Expired})
	return list
}

// typeAttacks are other tokens of the same issuer.
func typeAttacks() (list []attack) {
	add := func(name string, header, claims object) {
		list = append(list, attack{name, mint(rsaKey(), "RS256", goodHeader(header), goodClaims(claims)), identity.WrongTokenType})
	}
	jwt := object{"typ": "JWT"}
	add("ID token", jwt, object{"scope": nil, "nonce": "n"})
	add("ID token without a nonce", jwt, object{"scope": nil, "client_id": nil, "azp": "agent"})
	add("ID token with at_hash", jwt, object{"at_hash": "x"})
	add("ID token with c_hash", jwt, object{"c_hash": "x"})
	add("ID token with at_hash, as at+jwt", nil, object{"at_hash": "x"})
	add("logout token", jwt, object{"events": object{"http://schemas.openid.net/event/backchannel-logout": object{}}})
	add("Keycloak's refresh token", jwt, object{"typ": "Refresh"})
	add("Keycloak's offline token", jwt, object{"typ": "Offline"})
	add("Keycloak's ID token", jwt, object{"typ": "ID"})
	add("typ claim, a number", jwt, object{"typ": 7})
	add("Cognito's ID token", jwt, object{"token_use": "id"})
	add("client assertion", jwt, object{"iss": issuerURL, "sub": issuerURL})
	return list
}

// A key that was withdrawn stops working at once, for tokens that are known too.
func TestWithdrawnKey(t *testing.T) {
	t.Parallel()
	d := serveDocuments(t)
	d.put("/keys", object{"keys": []object{jwkOf(rsaKey().Public(), object{"kid": "rsa"})}})
	keys := d.keySet(t, identity.KeySetConfig{Name: "main", Issuer: issuerURL, JWKSURL: d.URL + "/keys"})
	v := newVerifier(t, identity.VerifierConfig{Issuers: []identity.IssuerConfig{{Name: "main", Issuer: issuerURL}}},
		map[string]identity.Keys{"main": keys}, newClock())
	target := &identity.Target{Audiences: []string{resource}}
	_, err := v.Verify(t.Context(), bearer(good()), target)
	wantCause(t, err, "")
	d.put("/keys", object{"keys": []object{jwkOf(otherRSAKey().Public(), object{"kid": "next"})}})
	rotated := mint(otherRSAKey(), "RS256", goodHeader(object{"kid": "next"}), goodClaims())
	_, err = v.Verify(t.Context(), bearer(rotated), target)
	wantCause(t, err, "")
	_, err = v.Verify(t.Context(), bearer(good()), target)
	wantCause(t, err, identity.UnknownKeyID)
}

func FuzzVerify(f *testing.F) {
	w := newWorld(f)
	right := good()
	parts := strings.Split(right, ".")
	f.Add(right, `{"alg":"EdDSA","kid":"ed","typ":"at+jwt"}`, text(goodClaims()))
	f.Add(parts[0]+"."+parts[1]+".", `{"alg":"none"}`, `{}`)
	f.Add("..", `{"alg":"EdDSA","kid":"ed","crit":["exp"]}`, `{"iss":"https://issuer.example","exp":1e400,"iat":-1}`)
	f.Add("a.b.c.d.e", `{"alg":"EdDSA","kid":"ed","typ":"JWT"}`, `{"iss":"https://issuer.example","aud":[[]],"exp":9999999999,"iat":1,"cnf":{"jkt":""},"act":{},"elevation_status":1}`)
	f.Fuzz(func(t *testing.T, token, header, payload string) {
		if _, err := w.verify(t, token); err != nil {
			wantRefusal(t, err)
		} else if token != right {
			t.Errorf("accepted %q", token)
		}
		// What the issuer itself signed: whatever is accepted is for us, of
		// this issuer, and valid now.
		p, err := w.verify(t, compact(edKey(), "EdDSA", header, payload))
		if err != nil {
			wantRefusal(t, err)
			return
		}
		if p.IssuerID != issuerURL || p.Subject == "" && p.Client == "" || !p.Expires.After(noon().Add(-skew)) || p.Claims["cnf"] != nil {
			t.Errorf("accepted %s %s as %+v", header, payload, p)
		}
	})
}
