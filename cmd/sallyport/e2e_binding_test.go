package main_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sallyport/sallyport/internal/devissuer"
	"github.com/sallyport/sallyport/internal/testenv"
)

// proofKey is a client's DPoP key.
type proofKey struct {
	private    *ecdsa.PrivateKey
	jwk        map[string]string
	thumbprint string // RFC 7638
}

func newProofKey(t *testing.T) *proofKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes() // 4, x, y
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	jwk := map[string]string{"kty": "EC", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:])}
	text, err := json.Marshal(jwk) // sorted by name, without spaces
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	return &proofKey{private: private, jwk: jwk, thumbprint: encode(sum[:])}
}

// prove makes a DPoP proof (RFC 9449 §4.2) for a POST to the URL with the token.
func (k *proofKey) prove(t *testing.T, url, token string, changes map[string]any) string {
	t.Helper()
	hash := sha256.Sum256([]byte(token))
	claims := jwt.MapClaims{
		"jti": rand.Text(), "htm": "POST", "htu": url, "iat": time.Now().Unix(),
		"ath": base64.RawURLEncoding.EncodeToString(hash[:]),
	}
	maps.Copy(claims, changes)
	proof := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	proof.Header["typ"], proof.Header["jwk"] = "dpop+jwt", k.jwk
	text, err := proof.SignedString(k.private)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestProofOfPossession(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	key := newProofKey(t)
	bound := func(o *devissuer.TokenOptions) {
		o.Claims = map[string]any{"cnf": map[string]any{"jkt": key.thumbprint}}
	}
	token := m.token(t, "alice", "vehicles.read", bound)
	url := m.url + "/mcp"
	with := func(scheme string, proofs ...string) request {
		r := callTool("", "search_vehicles", `{}`).with("Authorization", scheme+" "+token)
		for _, proof := range proofs {
			r = r.with("DPoP", proof)
		}
		return r
	}

	proof := key.prove(t, url, token, nil)
	m.allowed(t, m.send(t, with("DPoP", proof)), "dealership")
	a := m.send(t, with("DPoP", proof))
	m.denied(t, a, http.StatusUnauthorized, "authentication.dpop_replayed")
	if challenge := a.header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, `DPoP error="invalid_dpop_proof"`) {
		t.Errorf("challenge %s", challenge)
	}

	// htu is the URL as the client sees it, whatever authority it uses.
	elsewhere := with("DPoP", key.prove(t, "http://dealership.test/mcp", token, nil))
	elsewhere.host = "dealership.test"
	m.allowed(t, m.send(t, elsewhere), "dealership")
	m.allowed(t, m.send(t, withClient(with("DPoP", key.prove(t, url, token, nil)), http2Client(t))), "dealership")
	m.allowed(t, m.send(t, with("DPoP", key.prove(t, url, token, nil)).with("X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil.test")), "dealership")

	fresh := func(changes map[string]any) string { return key.prove(t, url, token, changes) }
	for name, c := range map[string]struct {
		request   request
		status    int
		reason    string
		challenge string
	}{
		"as Bearer":              {with("Bearer"), 401, "authentication.dpop_required", `DPoP error="invalid_token"`},
		"as Bearer with a proof": {with("Bearer", fresh(nil)), 401, "authentication.dpop_required", `DPoP error="invalid_token"`},
		"without a proof":        {with("DPoP"), 401, "authentication.dpop_required", `DPoP error="invalid_token"`},
		"two proofs":             {with("DPoP", fresh(nil), fresh(nil)), 401, "authentication.dpop_invalid", `DPoP error="invalid_dpop_proof"`},
		"another key":            {with("DPoP", newProofKey(t).prove(t, url, token, nil)), 401, "authentication.dpop_invalid", `DPoP error="invalid_dpop_proof"`},
		"another method":         {with("DPoP", fresh(map[string]any{"htm": "GET"})), 401, "authentication.dpop_invalid", `DPoP error="invalid_dpop_proof"`},
		"another server":         {with("DPoP", fresh(map[string]any{"htu": m.url + "/office"})), 401, "authentication.dpop_invalid", `DPoP error="invalid_dpop_proof"`},
		"another authority":      {with("DPoP", fresh(map[string]any{"htu": "http://dealership.test/mcp"})), 401, "authentication.dpop_invalid", `DPoP error="invalid_dpop_proof"`},
		"another scheme":         {with("DPoP", fresh(map[string]any{"htu": "https://" + m.authority + "/mcp"})), 401, "authentication.dpop_invalid", `DPoP error="invalid_dpop_proof"`},
		"another token":          {with("DPoP", key.prove(t, url, "another", nil)), 401, "authentication.dpop_invalid", `DPoP error="invalid_dpop_proof"`},
		"an old proof":           {with("DPoP", fresh(map[string]any{"iat": time.Now().Add(-10 * time.Minute).Unix()})), 401, "authentication.dpop_invalid", `DPoP error="invalid_dpop_proof"`},
		"a plain token as DPoP":  {callTool("", "search_vehicles", `{}`).with("Authorization", "DPoP "+m.token(t, "alice", "vehicles.read"), "DPoP", fresh(nil)), 401, "authentication.dpop_invalid", `DPoP error="invalid_dpop_proof"`},
		"a certificate's token, without TLS": {callTool(m.token(t, "alice", "vehicles.read", func(o *devissuer.TokenOptions) {
			o.Claims = map[string]any{"cnf": map[string]any{"x5t#S256": key.thumbprint}}
		}), "search_vehicles", `{}`), 401, "authentication.certificate_missing", `Bearer error="invalid_token"`},
		"a binding nobody can check": {callTool(m.token(t, "alice", "vehicles.read", func(o *devissuer.TokenOptions) {
			o.Claims = map[string]any{"cnf": map[string]any{"kid": "k"}}
		}), "search_vehicles", `{}`), 401, "authentication.binding_unsupported", `Bearer error="invalid_token"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := m.send(t, c.request)
			m.denied(t, a, c.status, c.reason)
			if challenge := a.header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, c.challenge) {
				t.Errorf("challenge %s, want %s…", challenge, c.challenge)
			}
		})
	}
}

// identity is a certificate that a client can show.
type identity struct {
	certificate tls.Certificate
	thumbprint  string // x5t#S256 (RFC 8705 §3.1)
}

func issue(t *testing.T, authority *testenv.Authority, name string, identities ...string) identity {
	t.Helper()
	certFile, keyFile, err := authority.Issue(name, identities...)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(certificate.Certificate[0])
	return identity{certificate, base64.RawURLEncoding.EncodeToString(sum[:])}
}

func newAuthority(t *testing.T, dir string) *testenv.Authority {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	authority, err := testenv.NewAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func trusting(t *testing.T, caFile string) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatalf("%s holds no certificate", caFile)
	}
	return pool
}

// TestClientCertificates binds tokens to the certificate with which the client
// connects to Envoy.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	var authority *testenv.Authority
	m := startMesh(t, meshOptions{
		scheme: "https",
		envoy:  "  tls: {cert_file: tls/envoy.pem, key_file: tls/envoy.key, client_ca_file: tls/ca.pem}",
		files: func(dir string) {
			authority = newAuthority(t, filepath.Join(dir, "tls"))
			issue(t, authority, "envoy", "127.0.0.1")
		},
	})
	alice, bob := issue(t, authority, "alice"), issue(t, authority, "bob")
	connect := func(who *identity, http2 bool) *http.Client {
		config := &tls.Config{RootCAs: trusting(t, authority.CAFile)}
		if who != nil {
			config.Certificates = []tls.Certificate{who.certificate}
		}
		var protocols http.Protocols
		protocols.SetHTTP1(!http2)
		protocols.SetHTTP2(http2)
		return clientOf(t, &http.Transport{TLSClientConfig: config, Protocols: &protocols})
	}
	bound := m.token(t, "alice", "vehicles.read", func(o *devissuer.TokenOptions) {
		o.Claims = map[string]any{"cnf": map[string]any{"x5t#S256": alice.thumbprint}}
	})
	search := callTool(bound, "search_vehicles", `{}`)
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %v", http2), func(t *testing.T) {
			upstream := m.allowed(t, m.send(t, withClient(search, connect(&alice, http2))), "dealership")
			if proto := upstream.Header.Get("X-Forwarded-Proto"); proto != "https" {
				t.Errorf("x-forwarded-proto upstream is %q", proto)
			}
			a := m.send(t, withClient(search, connect(&bob, http2)))
			m.denied(t, a, http.StatusUnauthorized, "authentication.certificate_mismatch")
			// A header that says so is no certificate.
			claim := fmt.Sprintf(`Hash=%x;Cert="x"`, alice.certificate.Certificate[0][:32])
			a = m.send(t, withClient(search.with("X-Forwarded-Client-Cert", claim), connect(&bob, http2)))
			m.denied(t, a, http.StatusUnauthorized, "authentication.certificate_mismatch")
			// A plain token needs no certain certificate.
			plain := callTool(m.token(t, "alice", "vehicles.read"), "search_vehicles", `{}`)
			m.allowed(t, m.send(t, withClient(plain, connect(&bob, http2))), "dealership")
		})
	}
	t.Run("bound twice", func(t *testing.T) {
		key := newProofKey(t)
		token := m.token(t, "alice", "vehicles.read", func(o *devissuer.TokenOptions) {
			o.Claims = map[string]any{"cnf": map[string]any{"x5t#S256": alice.thumbprint, "jkt": key.thumbprint}}
		})
		r := callTool("", "search_vehicles", `{}`).with("Authorization", "DPoP "+token, "DPoP", key.prove(t, m.url+"/mcp", token, nil))
		m.denied(t, m.send(t, withClient(r, connect(&bob, false))), http.StatusUnauthorized, "authentication.certificate_mismatch")
		m.allowed(t, m.send(t, withClient(r, connect(&alice, false))), "dealership")
	})
	foreign := issue(t, newAuthority(t, filepath.Join(m.dir, "foreign")), "alice")
	for name, who := range map[string]*identity{"no certificate": nil, "certificate of another authority": &foreign} {
		t.Run(name, func(t *testing.T) {
			if response, err := connect(who, false).Get(m.url + "/mcp"); err == nil {
				response.Body.Close()
				t.Errorf("Envoy answers %s", response.Status)
			}
		})
	}
}
