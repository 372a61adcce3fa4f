package identity

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// One key in different ways; "good" beside it shows that it can't fail the set.
func TestParseKeySetKeys(t *testing.T) {
	const (
		b32 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" // 32 bytes
		okp = `"kid":"k","kty":"OKP"`
		k1  = `"kid":"k","kty":"EC","crv":"secp256k1","x":"eb5mfvncu6xVoGKVzocLBwKb_NstzijZWfKBWxb4F5g","y":"SDradyajxGVdpPv8DhEIqP0XtEimhVQZnEfQj_sQ1Lg"`
	)
	x, y := pointFor(ecdh.P256(), "k")
	n := modulus(2048)
	tests := map[string]struct {
		key  string
		kept bool   // else dropped
		why  string // part of the reason
		alg  string // of the kept key
	}{
		"EC":                        {key: ecJWK("k"), kept: true},
		"EC with alg":               {key: ecJWK("k", `"alg":"ES256"`, `"use":"sig"`), kept: true, alg: "ES256"},
		"P-384":                     {key: curveJWK(ecdh.P384(), "k", `"alg":"ES384"`), kept: true, alg: "ES384"},
		"RSA without alg (Entra)":   {key: rsaJWK("k", n, 65537, `"use":"sig"`), kept: true},
		"RSA":                       {key: rsaJWK("k", n, 65537, `"alg":"RS256"`), kept: true, alg: "RS256"},
		"RSA of 8192 bits":          {key: rsaJWK("k", modulus(8192), 65537), kept: true},
		"RSA with e=3":              {key: rsaJWK("k", n, 3), kept: true},
		"padded base64":             {key: strings.Replace(ecJWK("k"), x, x+"=", 1), kept: true},
		"Ed25519":                   {key: jwk(okp, `"crv":"Ed25519"`, `"x":"`+b32+`"`, `"alg":"EdDSA"`), kept: true, alg: "EdDSA"},
		"Ed25519 by RFC 9864":       {key: jwk(okp, `"crv":"Ed25519"`, `"x":"`+b32+`"`, `"alg":"Ed25519"`), kept: true, alg: "EdDSA"},
		"key_ops verify":            {key: ecJWK("k", `"key_ops":["verify"]`), kept: true},
		"broken x5c":                {key: ecJWK("k", `"x5c":["not base64!"]`), kept: true},
		"x5c of no known type":      {key: ecJWK("k", `"x5c":{"a":1}`), kept: true},
		"x5u is not fetched":        {key: ecJWK("k", `"x5u":"http://127.0.0.1:1/cert"`), kept: true},
		"members that are null":     {key: ecJWK("k", `"use":null`, `"key_ops":null`, `"alg":null`, `"d":null`), kept: true},
		"unknown members":           {key: ecJWK("k", `"exp":1,"status":{"revoked":false}`), kept: true},
		"longest kid":               {key: ecJWK(strings.Repeat("k", 200)), kept: true},
		"kid like a path":           {key: ecJWK("../../dev/null"), kept: true}, // a map key, nothing else
		"not an object":             {key: `"k"`, why: "not a JSON object"},
		"null":                      {key: `null`, why: "not a JSON object"},
		"no kty":                    {key: jwk(`"kid":"k"`), why: "kty"},
		"kty in another case":       {key: strings.Replace(ecJWK("k"), `"kty"`, `"KTY"`, 1), why: "kty"},
		"kty is a number":           {key: jwk(`"kid":"k"`, `"kty":1`), why: "kty is not a string"},
		"no kid":                    {key: jwk(`"kty":"EC"`), why: "kid is missing"},
		"empty kid":                 {key: ecJWK(""), why: "kid is missing"},
		"kid is a number":           {key: jwk(`"kid":1`, `"kty":"EC"`), why: "kid is not a string"},
		"kid too long":              {key: ecJWK(strings.Repeat("k", 201)), why: "kid is missing, too long"},
		"kid with a line break":     {key: ecJWK("a\nb"), why: "not printable"},
		"member twice":              {key: ecJWK("k", `"kid":"other"`), why: `"kid" is there twice`},
		"oct":                       {key: jwk(`"kid":"k","kty":"oct","k":"c2VjcmV0"`), why: "kty"},
		"AKP (ML-DSA)":              {key: jwk(`"kid":"k","kty":"AKP","alg":"ML-DSA-44","pub":"AA"`), why: "kty"},
		"private EC":                {key: ecJWK("k", `"d":"AQ"`), why: `private member "d"`},
		"private RSA":               {key: rsaJWK("k", n, 65537, `"p":"AQ"`), why: `private member "p"`},
		"RSA with the k of oct":     {key: rsaJWK("k", n, 65537, `"k":"AQ"`), why: `private member "k"`},
		"use enc":                   {key: ecJWK("k", `"use":"enc"`), why: `use is "enc"`},
		"unknown use":               {key: ecJWK("k", `"use":"tls"`), why: `use is "tls"`},
		"use is an array":           {key: ecJWK("k", `"use":["sig"]`), why: "use is not a string"},
		"key_ops sign":              {key: ecJWK("k", `"key_ops":["sign"]`), why: `lacks "verify"`},
		"key_ops empty":             {key: ecJWK("k", `"key_ops":[]`), why: `lacks "verify"`},
		"key_ops is a string":       {key: ecJWK("k", `"key_ops":"verify"`), why: "key_ops is not"},
		"alg for encryption":        {key: rsaJWK("k", n, 65537, `"alg":"RSA-OAEP"`), why: `alg "RSA-OAEP"`},
		"alg HS256 on RSA":          {key: rsaJWK("k", n, 65537, `"alg":"HS256"`), why: `alg "HS256"`},
		"alg none":                  {key: ecJWK("k", `"alg":"none"`), why: `alg "none"`},
		"alg of another curve":      {key: ecJWK("k", `"alg":"ES384"`), why: `alg "ES384"`},
		"alg of another type":       {key: ecJWK("k", `"alg":"RS256"`), why: `alg "RS256"`},
		"alg is a number":           {key: ecJWK("k", `"alg":5`), why: "alg is not a string"},
		"RSA of 1024 bits":          {key: rsaJWK("k", modulus(1024), 65537), why: "1024 bits"},
		"RSA of 2047 bits":          {key: rsaJWK("k", modulus(2047), 65537), why: "2047 bits"},
		"RSA of 8193 bits":          {key: rsaJWK("k", modulus(8193), 65537), why: "8193 bits"},
		"RSA with e=1":              {key: rsaJWK("k", n, 1), why: `"e" is out of range`},
		"RSA with e=2":              {key: rsaJWK("k", n, 2), why: "exponent 2"},
		"RSA with e=65536":          {key: rsaJWK("k", n, 65536), why: "exponent 65536"},
		"RSA with e above 2^31":     {key: rsaJWK("k", n, 1<<31+1), why: `"e" is out of range`},
		"RSA with e of 9 bytes":     {key: strings.Replace(rsaJWK("k", n, 3), `"Aw"`, `"AQAAAAAAAQAB"`, 1), why: "E in marshal does not match"},
		"RSA without e":             {key: strings.Replace(rsaJWK("k", n, 3), `"e"`, `"f"`, 1), why: `requires parameters "n" and "e"`},
		"RSA with an even modulus":  {key: rsaJWK("k", new(big.Int).Lsh(n, 1), 65537), why: "modulus is even"},
		"RSA with ROCA":             {key: rsaJWK("k", rocaModulus(), 65537), why: "CVE-2017-15361"},
		"EC secp256k1":              {key: jwk(k1), why: "secp256k1"},
		"EC not on the curve":       {key: strings.Replace(ecJWK("k"), y, x, 1), why: "not on the specified curve"},
		"EC at infinity":            {key: jwk(`"kid":"k","kty":"EC","crv":"P-256","x":"AA","y":"AA"`), why: "not on the specified curve"},
		"EC on another curve":       {key: strings.Replace(ecJWK("k"), "P-256", "P-384", 1), why: "not on the specified curve"},
		"P-521":                     {key: curveJWK(ecdh.P521(), "k"), kept: true},
		"Ed448":                     {key: jwk(okp, `"crv":"Ed448"`, `"x":"`+b32+`"`), why: "Ed448"},
		"Ed25519 of 31 bytes":       {key: jwk(okp, `"crv":"Ed25519"`, `"x":"`+b32[:42]+`"`), why: "32 bytes"},
		"X25519 agrees, not signs":  {key: jwk(okp, `"crv":"X25519"`, `"x":"`+b32+`"`), why: "can't verify"},
		"broken base64":             {key: strings.Replace(ecJWK("k"), x, "*", 1), why: "illegal base64"},
		"x is a number":             {key: jwk(`"kid":"k","kty":"EC","crv":"P-256","x":1,"y":"AA"`), why: "x is not a string"},
		"nested deeper than a JWK":  {key: ecJWK("k", `"x5c":`+strings.Repeat("[", 500)+strings.Repeat("]", 500)), kept: true},
		"issuer is not a string":    {key: ecJWK("k", `"issuer":7`), why: "issuer is not a string"},
		"two names after unescaped": {key: ecJWK("k", `"\u006bid":"other"`), why: `"kid" is there twice`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			set, err := parseKeySet([]byte(jwks(test.key, ecJWK("good"))))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(set.keys, func(k parsedKey) bool { return k.id == "good" }) {
				t.Fatal("the good key is gone")
			}
			if test.kept {
				if len(set.keys) != 2 || len(set.dropped) != 0 {
					t.Fatalf("got %d keys, dropped %q, want it kept", len(set.keys), set.dropped)
				}
				if got := set.keys[0].Alg; got != test.alg {
					t.Errorf("got alg %q, want %q", got, test.alg)
				}
				return
			}
			if len(set.keys) != 1 || len(set.dropped) != 1 || !strings.Contains(set.dropped[0], test.why) {
				t.Fatalf("got %d keys, dropped %q, want it dropped because %q", len(set.keys), set.dropped, test.why)
			}
		})
	}
}

// rocaModulus is a power of 65537 modulo all the small primes that the check
// looks at, which is what betrays the flawed generator.
func rocaModulus() *big.Int {
	product := big.NewInt(1)
	for p := int64(3); p <= 167; p += 2 {
		if big.NewInt(p).ProbablyPrime(0) {
			product.Mul(product, big.NewInt(p))
		}
	}
	n := new(big.Int).Exp(big.NewInt(65537), big.NewInt(1234567), product)
	step := new(big.Int).Lsh(product, 1) // n stays odd or even
	if n.Bit(0) == 0 {
		n.Add(n, product)
	}
	high := new(big.Int).Lsh(big.NewInt(3), 2046)
	high.Sub(high, new(big.Int).Mod(high, step))
	return n.Add(n, high)
}

func TestROCAFlagsNoOthers(t *testing.T) {
	t.Parallel()
	for bits := 2048; bits < 2548; bits++ {
		if looksLikeROCA(modulus(bits)) {
			t.Fatalf("modulus(%d) is flagged", bits)
		}
	}
}

func TestParseKeySetDuplicateKids(t *testing.T) {
	t.Parallel()
	other := strings.Replace(ecJWK("other"), `"other"`, `"twice"`, 1)
	set, err := parseKeySet([]byte(jwks(ecJWK("good"), ecJWK("twice"), other)))
	if err != nil {
		t.Fatal(err)
	}
	if len(set.keys) != 1 || set.keys[0].id != "good" {
		t.Errorf("got keys %v, want good alone", set.keys)
	}
	if diff := cmp.Diff([]string{`kid "twice": 2 keys with this id`}, set.dropped); diff != "" {
		t.Error(diff)
	}

	// A key for encryption may have the id of one for signatures.
	set, err = parseKeySet([]byte(jwks(ecJWK("k", `"use":"enc"`), ecJWK("k", `"use":"sig"`))))
	if err != nil || len(set.keys) != 1 {
		t.Errorf("got %d keys, %v, want the one for signatures", len(set.keys), err)
	}

	if set, err = parseKeySet([]byte(jwks(ecJWK("twice"), other))); err == nil {
		t.Errorf("a set of duplicates alone is accepted: %v", set.keys)
	}
}

func TestParseKeySetEntraIssuer(t *testing.T) {
	t.Parallel()
	const template = "https://login.microsoftonline.com/{tenantid}/v2.0"
	set, err := parseKeySet([]byte(jwks(ecJWK("a", `"issuer":"`+template+`"`), ecJWK("b"))))
	if err != nil {
		t.Fatal(err)
	}
	if set.keys[0].Issuer != template || set.keys[1].Issuer != "" {
		t.Errorf("got issuers %q, %q", set.keys[0].Issuer, set.keys[1].Issuer)
	}
}

func TestParseKeySetRefusesDocuments(t *testing.T) {
	t.Parallel()
	good := ecJWK("good")
	tests := map[string]struct{ raw, why string }{
		"nothing":         {"", "not a JSON object"},
		"HTML":            {"<html><body>sign in</body></html>", "not a JSON object"},
		"an array":        {"[" + good + "]", "not a JSON object"},
		"no keys":         {"{}", `"keys" is missing`},
		"keys null":       {`{"keys":null}`, `"keys" is missing`},
		"keys an object":  {`{"keys":` + good + `}`, `"keys" is missing or not an array`},
		"keys empty":      {`{"keys":[]}`, "none of 0 keys"},
		"another case":    {`{"Keys":[` + good + `]}`, `"keys" is missing`},
		"keys twice":      {`{"keys":[` + good + `],"keys":[]}`, `"keys" is there twice`},
		"cut off":         {jwks(good)[:60], "unexpected EOF"},
		"cut at the end":  {strings.TrimSuffix(jwks(good), "}"), "read end of object"},
		"something after": {jwks(good) + "x", "something follows"},
		"a second object": {jwks(good) + "{}", "something follows"},
		"a BOM":           {"\ufeff" + jwks(good), "not a JSON object"},
		"only unusable":   {jwks(ecJWK("a", `"use":"enc"`), jwk(`"kty":"oct","kid":"b","k":"AA"`)), "none of 2 keys is usable"},
		"nested too deep": {`{"keys":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, "exceeded max depth"},
		"metadata":        {metadata(testIssuer, testKeysURL), `"keys" is missing`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			set, err := parseKeySet([]byte(test.raw))
			if err == nil || !strings.Contains(err.Error(), test.why) {
				t.Errorf("got %v, %v, want an error about %q", set, err, test.why)
			}
		})
	}
}

func TestParseKeySetBoundsReasons(t *testing.T) {
	t.Parallel()
	keys := []string{ecJWK("good")}
	for i := range 5000 {
		keys = append(keys, fmt.Sprintf(`{"kid":"k%d","kty":"%s"}`, i, strings.Repeat("Z", 100)))
	}
	set, err := parseKeySet([]byte(jwks(keys...)))
	if err != nil {
		t.Fatal(err)
	}
	size := len(strings.Join(set.dropped, ""))
	if n := len(set.dropped); n != maxDropped+1 || set.dropped[n-1] != "and 4980 more" || size > 8<<10 {
		t.Errorf("got %d reasons of %d bytes, the last %q", n, size, set.dropped[n-1])
	}
}

// What the fuzz test of key sets begins with: real peculiarities and attacks.
func FuzzParseKeySet(f *testing.F) {
	n := modulus(2048)
	for _, seed := range []string{
		"", "{}", `{"keys":[]}`, `{"keys":null}`, "[", "\ufeff{}",
		keySetOf("a", "b"),
		jwks(ecJWK("a"), ecJWK("a")),
		jwks(rsaJWK("a", n, 65537, `"alg":"RS256","use":"sig","issuer":"https://login.microsoftonline.com/{tenantid}/v2.0"`)),
		jwks(rsaJWK("a", n, 1), rsaJWK("b", big.NewInt(0), 65537), rsaJWK("c", rocaModulus(), 3)),
		jwks(jwk(`"kid":"a","kty":"OKP","crv":"Ed25519","x":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","alg":"Ed25519"`)),
		jwks(jwk(`"kid":"a","kty":"EC","crv":"P-384","x":"AA","y":"AA"`), `null`, `1`, `[]`),
		jwks(ecJWK("a", `"key_ops":["verify"],"x5c":["x"],"x5u":"https://x","d":null`)),
		`{"keys":[{"kid":"a","\u006bid":"b","kty":"RSA"}],"keys":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 64<<10 {
			t.Skip()
		}
		set, err := parseKeySet(raw)
		if err != nil {
			return
		}
		checkParsedSet(t, set)
	})
}

// checkParsedSet holds a set to what parseKeySet promises of every input.
func checkParsedSet(t *testing.T, set parsedSet) {
	t.Helper()
	if len(set.keys) == 0 || len(set.dropped) > maxDropped+1 {
		t.Fatalf("%d keys, %d reasons", len(set.keys), len(set.dropped))
	}
	ids := map[string]bool{}
	for _, k := range set.keys {
		if !validKeyID(k.id) || ids[k.id] {
			t.Fatalf("kid %q is not valid or not unique", k.id)
		}
		ids[k.id] = true
		switch public := k.Public.(type) {
		case *rsa.PublicKey:
			if public.N.BitLen() < 2048 || public.N.BitLen() > 8192 || public.E < 3 || public.E%2 == 0 {
				t.Fatalf("RSA key of %d bits with exponent %d", public.N.BitLen(), public.E)
			}
		case *ecdsa.PublicKey:
			if _, err := public.ECDH(); err != nil { // checks the point
				t.Fatal(err)
			}
		case ed25519.PublicKey:
			if len(public) != ed25519.PublicKeySize {
				t.Fatalf("Ed25519 key of %d bytes", len(public))
			}
		default:
			t.Fatalf("a %T", public)
		}
		if k.Alg != "" && !algorithmFits(k.Alg, k.Public) {
			t.Fatalf("alg %q with a %T", k.Alg, k.Public)
		}
	}
	again, err := parseKeySet(marshalKeys(set.keys))
	if err != nil {
		t.Fatalf("the stored form: %v", err)
	}
	if string(marshalKeys(again.keys)) != string(marshalKeys(set.keys)) || len(again.dropped) != 0 {
		t.Fatalf("the stored form is another set: %s", marshalKeys(again.keys))
	}
}
