package identity_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/authz/identity"
)

// unsigned puts a header and a payload together with a signature of choice.
func unsigned(header, payload object, signature string) string {
	return b64([]byte(text(header))) + "." + b64([]byte(text(payload))) + "." + signature
}

// macced signs with HMAC and a secret that everybody knows: the public key.
func macced(secret []byte, kid string) string {
	signed := unsigned(goodHeader(object{"alg": "HS256", "kid": kid}), goodClaims(), "")
	signed = strings.TrimSuffix(signed, ".")
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(signed))
	return signed + "." + b64(mac.Sum(nil))
}

func publicPEM(key crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func algorithmAttacks() (list []attack) {
	signature := strings.Split(good(), ".")[2]
	for _, alg := range []any{"none", "None", "NONE", "nOnE", "", "rs256", "Rs256", "RS256 ", "RS1", "ES256K", "Ed25519", "RSA-OAEP", "dir"} {
		list = append(list,
			attack{"alg " + text(alg) + " without signature", unsigned(goodHeader(object{"alg": alg}), goodClaims(), ""), identity.AlgorithmRefused},
			attack{"alg " + text(alg) + " with signature", unsigned(goodHeader(object{"alg": alg}), goodClaims(), signature), identity.AlgorithmRefused})
	}
	block, _ := pem.Decode(publicPEM(rsaKey().Public()))
	for name, secret := range map[string][]byte{
		"RSA PEM":                  publicPEM(rsaKey().Public()),
		"RSA PEM without line end": []byte(strings.TrimSpace(string(publicPEM(rsaKey().Public())))),
		"RSA DER":                  block.Bytes,
		"RSA PKCS1 DER":            x509.MarshalPKCS1PublicKey(rsaKey().Public().(*rsa.PublicKey)),
		"RSA n":                    rsaKey().Public().(*rsa.PublicKey).N.Bytes(),
		"JWK n":                    []byte(jwkOf(rsaKey().Public())["n"].(string)),
		"JWK":                      []byte(text(jwkOf(rsaKey().Public()))),
		"nothing":                  {},
	} {
		list = append(list, attack{"HS256 with " + name, macced(secret, "rsa"), identity.AlgorithmRefused})
	}
	return append(list,
		attack{"HS256 with EC PEM", macced(publicPEM(p256Key().Public()), "p256"), identity.AlgorithmRefused},
		attack{"HS256 with the oct key of the set", macced([]byte("secret"), "oct"), identity.AlgorithmRefused},
		attack{"alg missing", unsigned(goodHeader(object{"alg": nil}), goodClaims(), signature), identity.Malformed},
		attack{"alg null", unsigned(goodHeader(object{"alg": rawNull()}), goodClaims(), signature), identity.Malformed},
		attack{"alg, a number", unsigned(goodHeader(object{"alg": 256}), goodClaims(), signature), identity.Malformed},
		attack{"alg, an array", unsigned(goodHeader(object{"alg": []string{"RS256"}}), goodClaims(), signature), identity.Malformed},
		attack{"ES256 for an RSA key", mint(p256Key(), "ES256", goodHeader(object{"alg": "ES256"}), goodClaims()), identity.AlgorithmRefused},
		attack{"RS256 for an EC key", mint(rsaKey(), "RS256", goodHeader(object{"kid": "p256"}), goodClaims()), identity.AlgorithmRefused},
		attack{"ES256 for an Ed25519 key", mint(p256Key(), "ES256", goodHeader(object{"alg": "ES256", "kid": "ed"}), goodClaims()), identity.AlgorithmRefused},
		attack{"RS256 for a key of RS512", mint(rsaKey(), "RS256", goodHeader(object{"kid": "rs512"}), goodClaims()), identity.AlgorithmRefused},
		attack{"alg that is not on the list", mint(rsaKey(), "RS384", goodHeader(object{"alg": "RS384"}), goodClaims()), identity.AlgorithmRefused},
		attack{"PBES2 with 2^31 rounds", unsigned(goodHeader(object{"alg": "PBES2-HS256+A128KW", "p2c": 1 << 31, "p2s": "AAAA"}), goodClaims(), ""), identity.AlgorithmRefused},
	)
}

// keyAttacks bring their own key, or say where to get it.
func keyAttacks(server string) (list []attack) {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: noon(), NotAfter: noon().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, otherRSAKey().Public(), otherRSAKey())
	if err != nil {
		panic(err)
	}
	forged := func(name string, header object, want string) {
		list = append(list, attack{name, mint(otherRSAKey(), "RS256", goodHeader(header), goodClaims()), want})
	}
	own := jwkOf(otherRSAKey().Public(), object{"kid": "rsa"})
	forged("jwk", object{"jwk": own}, identity.Malformed)
	forged("jwk without kid", object{"jwk": own, "kid": nil}, identity.Malformed)
	forged("jwk under the typ of a proof", object{"jwk": own, "typ": "dpop+jwt"}, identity.BadSignature)
	forged("jwk null", object{"jwk": rawNull()}, identity.Malformed)
	forged("jku", object{"jku": server + bait}, identity.Malformed)
	forged("x5u", object{"x5u": server + bait}, identity.Malformed)
	forged("jku and a new kid", object{"jku": server + bait, "kid": "new"}, identity.Malformed)
	forged("x5c, self-signed", object{"x5c": []string{base64.StdEncoding.EncodeToString(certificate)}}, identity.Malformed)
	forged("another's key under a known kid", nil, identity.BadSignature)
	forged("kid that is a URL", object{"kid": server + bait}, identity.UnknownKeyID)
	forged("key for encryption", object{"kid": "enc"}, identity.UnknownKeyID)
	forged("key for other operations", object{"kid": "ops"}, identity.UnknownKeyID)
	forged("kid of two keys", object{"kid": "twice"}, identity.UnknownKeyID)
	return append(list,
		attack{"RSA key of 1024 bits", mint(shortRSAKey(), "RS256", goodHeader(object{"kid": "short"}), goodClaims()), identity.UnknownKeyID},
		attack{"RSA exponent 1", mint(rsaKey(), "RS256", goodHeader(object{"kid": "e1"}), goodClaims()), identity.UnknownKeyID},
		attack{"a proof as a token", mint(rsaKey(), "RS256", goodHeader(object{"typ": "dpop+jwt"}), goodClaims()), identity.WrongTokenType})
}

func kidAttacks() (list []attack) {
	for _, c := range []struct {
		kid  any
		want string
	}{
		{"../../dev/null", identity.UnknownKeyID}, {"rsa' OR '1'='1", identity.UnknownKeyID}, {"|cmd", identity.UnknownKeyID},
		{"*)(uid=*", identity.UnknownKeyID}, {"rsa\x00", identity.UnknownKeyID}, {"RSA", identity.UnknownKeyID}, {"rsa ", identity.UnknownKeyID},
		{strings.Repeat("k", 1000), identity.UnknownKeyID}, {"\u202Ersa", identity.UnknownKeyID},
		{strings.Repeat("k", 100<<10), identity.Malformed}, {strings.Repeat("k", 5<<10), identity.Malformed},
		{nil, identity.MissingKeyID}, {rawNull(), identity.MissingKeyID}, {"", identity.MissingKeyID},
		{7, identity.Malformed}, {true, identity.Malformed}, {[]string{"rsa"}, identity.Malformed}, {object{"kid": "rsa"}, identity.Malformed},
	} {
		list = append(list, attack{"kid " + text(c.kid)[:min(20, len(text(c.kid)))], mint(rsaKey(), "RS256", goodHeader(object{"kid": c.kid}), goodClaims()), c.want})
	}
	return list
}

// ecdsaAttacks are the edges of r and s (CVE-2022-21449), and other forms.
func ecdsaAttacks(t *testing.T) (list []attack) {
	token := mint(p256Key(), "ES256", goodHeader(object{"alg": "ES256", "kid": "p256"}), goodClaims())
	signed := token[:strings.LastIndexByte(token, '.')]
	n := p256Key().Public().(*ecdsa.PublicKey).Params().N
	edges := map[string]*big.Int{"0": big.NewInt(0), "1": big.NewInt(1), "n-1": new(big.Int).Sub(n, big.NewInt(1)), "n": n, "n+1": new(big.Int).Add(n, big.NewInt(1))}
	for rName, r := range edges {
		for sName, s := range edges {
			var signature [64]byte
			r.FillBytes(signature[:32])
			s.FillBytes(signature[32:])
			list = append(list, attack{"r=" + rName + " s=" + sName, signed + "." + b64(signature[:]), identity.BadSignature})
		}
	}
	right, err := base64.RawURLEncoding.DecodeString(token[len(signed)+1:])
	if err != nil {
		t.Fatal(err)
	}
	r, s := new(big.Int).SetBytes(right[:32]), new(big.Int).SetBytes(right[32:])
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		t.Fatal(err)
	}
	// s plus the order, for an implementation that reduces: it may not fit.
	var wide [66]byte
	r.FillBytes(wide[:33])
	s.FillBytes(wide[33:])
	for name, signature := range map[string][]byte{
		"DER": der, "wider numbers": wide[:], "a byte less": right[:63], "a byte more": append(right[:64:64], 0),
		"r alone": right[:32], "nothing": {}, "swapped": append(right[32:64:64], right[:32]...), "all ff": []byte(strings.Repeat("\xff", 64)),
	} {
		list = append(list, attack{"ES256, " + name, signed + "." + b64(signature), identity.BadSignature})
	}
	ed := mint(edKey(), "EdDSA", goodHeader(object{"alg": "EdDSA", "kid": "ed"}), goodClaims())
	edSigned := ed[:strings.LastIndexByte(ed, '.')]
	return append(list,
		attack{"EdDSA, zeros", edSigned + "." + b64(make([]byte, 64)), identity.BadSignature},
		attack{"EdDSA, short", edSigned + "." + b64(make([]byte, 63)), identity.BadSignature})
}

func rsaAttacks(t *testing.T) []attack {
	sign := func(alg string, options crypto.SignerOpts) string {
		signed := strings.TrimSuffix(unsigned(goodHeader(object{"alg": alg}), goodClaims(), ""), ".")
		sum := sha256.Sum256([]byte(signed))
		signature, err := rsaKey().Sign(rand.Reader, sum[:], options)
		if err != nil {
			t.Fatal(err)
		}
		return signed + "." + b64(signature)
	}
	pss := func(salt int) *rsa.PSSOptions { return &rsa.PSSOptions{SaltLength: salt, Hash: crypto.SHA256} }
	token := good()
	signed := token[:strings.LastIndexByte(token, '.')]
	right, err := base64.RawURLEncoding.DecodeString(token[len(signed)+1:])
	if err != nil {
		t.Fatal(err)
	}
	n := rsaKey().Public().(*rsa.PublicKey).N
	plusN := new(big.Int).Add(new(big.Int).SetBytes(right), n)
	return []attack{
		{"RS256 with a PSS signature", sign("RS256", pss(rsa.PSSSaltLengthEqualsHash)), identity.BadSignature},
		{"PS256 with a PKCS1 signature", sign("PS256", crypto.SHA256), identity.BadSignature},
		{"PS256 without salt", sign("PS256", pss(0)), identity.BadSignature},
		{"PS256 with a short salt", sign("PS256", pss(20)), identity.BadSignature},
		{"PS256 with the longest salt", sign("PS256", pss(rsa.PSSSaltLengthAuto)), identity.BadSignature},
		{"RS256, zeros", signed + "." + b64(make([]byte, 256)), identity.BadSignature},
		{"RS256, one", signed + "." + b64(append(make([]byte, 255), 1)), identity.BadSignature},
		{"RS256, n", signed + "." + b64(n.Bytes()), identity.BadSignature},
		{"RS256, signature plus n", signed + "." + b64(plusN.Bytes()), identity.BadSignature},
		{"RS256, leading zero", signed + "." + b64(append([]byte{0}, right...)), identity.BadSignature},
		{"RS256, empty", signed + ".", identity.BadSignature},
		{"RS256, truncated", signed + "." + b64(right[:255]), identity.BadSignature},
		{"RS256, SHA-512 inside", compact(rsaKey(), "RS512", text(goodHeader()), text(goodClaims())), identity.BadSignature},
	}
}
