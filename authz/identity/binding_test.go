package identity_test

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/authz/identity"
)

// clientCertificate makes a certificate as Envoy hands it over, and its
// thumbprint.
func clientCertificate(t testing.TB, key crypto.Signer) (encoded, thumbprint string) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"},
		NotBefore: noon().Add(-time.Hour), NotAfter: noon().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))), b64(sum[:])
}

func TestCertificateBoundTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mine, thumbprint := clientCertificate(t, p256Key())
	other, _ := clientCertificate(t, p384Key())
	envoy := strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3D").Replace(mine) // Envoy escapes these too
	token := good(object{"cnf": object{"x5t#S256": thumbprint}})
	for name, c := range map[string]struct {
		certificate string
		want        string
	}{
		"right":             {mine, ""},
		"as Envoy has it":   {envoy, ""},
		"right one first":   {mine + other, ""},
		"none":              {"", identity.CertificateMissing},
		"another":           {other, identity.CertificateWrong},
		"right one second":  {other + mine, identity.CertificateWrong},
		"bad escape":        {"%zz", identity.CertificateWrong},
		"not PEM":           {"certificate", identity.CertificateWrong},
		"PEM of a key":      {strings.ReplaceAll(mine, "CERTIFICATE", "PUBLIC KEY"), identity.CertificateWrong},
		"too long":          {mine + strings.Repeat("x", 40<<10), identity.CertificateWrong},
		"its thumbprint":    {thumbprint, identity.CertificateWrong},
		"a broken PEM body": {strings.Replace(mine, "MII", "M!!", 1), identity.CertificateWrong},
	} {
		for range 2 { // the second is a token that is known
			credentials := bearer(token)
			credentials.ClientCertificate = c.certificate
			_, err := w.Verify(t.Context(), credentials, w.target)
			t.Run(name, func(t *testing.T) { wantCause(t, err, c.want) })
		}
	}
}

// A token that is bound to something is never a bearer token.
func TestBindingsThatCantBeChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	thumbprint := thumbprintOf(p256Key().Public())
	for name, cnf := range map[string]any{
		"empty":              object{},
		"a string":           "jkt",
		"an array":           []any{},
		"kid":                object{"kid": "1"},
		"jwk":                object{"jwk": jwkOf(p256Key().Public())},
		"jwe":                object{"jwe": "x"},
		"jku":                object{"jku": "https://evil.example"},
		"x5t of SHA-1":       object{"x5t": "x"},
		"jkt, empty":         object{"jkt": ""},
		"jkt, null":          object{"jkt": nil},
		"jkt, a number":      object{"jkt": 1},
		"jkt, short":         object{"jkt": thumbprint[:42]},
		"jkt, padded":        object{"jkt": thumbprint + "="},
		"jkt, line break":    object{"jkt": thumbprint + "\n"},
		"x5t#S256, empty":    object{"x5t#S256": ""},
		"x5t#S256, an array": object{"x5t#S256": []string{thumbprint}},
		"one known of two":   object{"jkt": thumbprint, "kid": "1"},
		"null":               rawNull(),
	} {
		_, err := w.verify(t, good(object{"cnf": cnf}))
		t.Run(name, func(t *testing.T) { wantCause(t, err, identity.BindingUnsupported) })
	}
}

// Both bindings of one token are checked.
func TestBothBindings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	certificate, thumbprint := clientCertificate(t, p256Key())
	token := good(object{"cnf": object{"x5t#S256": thumbprint, "jkt": thumbprintOf(p256Key().Public())}})
	right := withProof(token, proof(p256Key(), "ES256", token, nil, nil))
	right.ClientCertificate = certificate
	noCertificate, noProof := right, right
	noCertificate.ClientCertificate = ""
	noProof.DPoP, noProof.DPoPLines = "", 0
	asBearer := bearer(token)
	asBearer.ClientCertificate = certificate
	for _, c := range []struct {
		credentials identity.Credentials
		want        string
	}{
		{noCertificate, identity.CertificateMissing}, {noProof, identity.DPoPRequired}, {asBearer, identity.DPoPRequired}, {right, ""},
	} {
		_, err := w.Verify(t.Context(), c.credentials, w.target)
		wantCause(t, err, c.want)
	}
}
