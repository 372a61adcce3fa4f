package provider

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// keyPair writes a key and its certificate.
func keyPair(t testing.TB, key crypto.Signer) (keyFile, certificateFile string, thumbprint [32]byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: noon, NotAfter: noon.Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyFile = writeFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	certificateFile = writeFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})))
	return keyFile, certificateFile, sha256.Sum256(certificate)
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAssertions(t *testing.T) {
	rsa2048, p256 := rsaKey(t, 2048), ecKey(t, elliptic.P256())
	for name, c := range map[string]struct {
		key         crypto.Signer
		algorithm   string
		certificate bool
		want        string
	}{
		"RSA":                      {rsa2048, "", false, "RS256"},
		"RSA with certificate":     {rsa2048, "", true, "PS256"},
		"RSA, cert., RS256":        {rsa2048, "RS256", true, "RS256"},
		"P-256":                    {p256, "", false, "ES256"},
		"P-256 with a certificate": {p256, "ES256", true, "ES256"},
	} {
		t.Run(name, func(t *testing.T) {
			keyFile, certificateFile, thumbprint := keyPair(t, c.key)
			cfg := OAuthConfig{KeyFile: keyFile, KeyID: "kid-1", Algorithm: c.algorithm}
			if c.certificate {
				cfg.CertificateFile = certificateFile
			}
			a := newAuthority(t)
			seen := map[string]bool{}
			a.answer = func(_ http.ResponseWriter, form url.Values) bool {
				id := verifyAssertion(t, form, a.url+"/token", c.key, c.want, c.certificate, thumbprint)
				if seen[id] || form.Has("client_secret") {
					t.Errorf("jti %q twice, or a secret: %v", id, form)
				}
				seen[id] = true
				return false
			}
			o := a.client(t, cfg, atNoon)
			wantToken(t, o, "Bearer tok-1")
			o.refused("Bearer tok-1")
			wantToken(t, o, "Bearer tok-2")
		})
	}
}

func verifyAssertion(t *testing.T, form url.Values, audience string, key crypto.Signer, alg string, certificate bool, thumbprint [32]byte) (id string) {
	t.Helper()
	if got := form.Get("client_assertion_type"); got != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		t.Errorf("type %q", got)
	}
	claims := jwt.MapClaims{}
	token, err := jwt.ParseWithClaims(form.Get("client_assertion"), claims, func(*jwt.Token) (any, error) { return key.Public(), nil },
		jwt.WithValidMethods([]string{alg}), jwt.WithTimeFunc(atNoon), jwt.WithAudience(audience), jwt.WithIssuer("our-client"),
		jwt.WithSubject("our-client"), jwt.WithExpirationRequired())
	if err != nil {
		t.Errorf("assertion: %v", err)
		return ""
	}
	want := ""
	if certificate {
		want = base64.RawURLEncoding.EncodeToString(thumbprint[:])
	}
	if got, _ := token.Header["x5t#S256"].(string); got != want || token.Header["kid"] != "kid-1" {
		t.Errorf("header %v", token.Header)
	}
	if exp, _ := claims.GetExpirationTime(); exp.Sub(noon) > 10*time.Minute {
		t.Errorf("ends at %v", exp)
	}
	id, _ = claims["jti"].(string)
	return id
}

func TestOAuthConfigIsChecked(t *testing.T) {
	short, _, _ := keyPair(t, rsaKey(t, 1024))
	p384, _, _ := keyPair(t, ecKey(t, elliptic.P384()))
	rsaFile, rsaCertificate, _ := keyPair(t, rsaKey(t, 2048))
	p256, _, _ := keyPair(t, ecKey(t, elliptic.P256()))
	secret := secretIn(t, "hunter2")
	for name, c := range map[string]struct {
		cfg  OAuthConfig
		want string
	}{
		"nothing":             {OAuthConfig{}, "secret_file"},
		"both":                {OAuthConfig{SecretFile: secret, KeyFile: rsaFile}, "secret_file: conflicts"},
		"kid with a secret":   {OAuthConfig{SecretFile: secret, KeyID: "k"}, "key_id"},
		"no such secret":      {OAuthConfig{SecretFile: "/nowhere"}, "secret_file"},
		"empty secret":        {OAuthConfig{SecretFile: writeFile(t, "\n")}, "secret_file"},
		"no such key":         {OAuthConfig{KeyFile: "/nowhere"}, "key_file"},
		"secret as key":       {OAuthConfig{KeyFile: secret}, "key_file"},
		"certificate as key":  {OAuthConfig{KeyFile: rsaCertificate}, "key_file"},
		"short key":           {OAuthConfig{KeyFile: short}, "1024"},
		"P-384":               {OAuthConfig{KeyFile: p384}, "P-256"},
		"ES256 of RSA":        {OAuthConfig{KeyFile: rsaFile, Algorithm: "ES256"}, "algorithm"},
		"HS256":               {OAuthConfig{KeyFile: rsaFile, Algorithm: "HS256"}, "algorithm"},
		"RS256 of P-256":      {OAuthConfig{KeyFile: p256, Algorithm: "RS256"}, "ES256"},
		"another certificate": {OAuthConfig{KeyFile: p256, CertificateFile: rsaCertificate}, "another key"},
		"key as certificate":  {OAuthConfig{KeyFile: rsaFile, CertificateFile: rsaFile}, "certificate"},
	} {
		c.cfg.TokenURL, c.cfg.ClientID = "https://example.com", "our-client"
		err := c.cfg.Validate()
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
	err := (&OAuthConfig{SecretFile: secret}).Validate()
	if err == nil || !strings.Contains(err.Error(), "token_url") || !strings.Contains(err.Error(), "client_id") {
		t.Errorf("got %v, want both errors", err)
	}
}
