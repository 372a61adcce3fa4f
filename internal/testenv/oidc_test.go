package testenv_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/internal/testenv"
)

const resource = "https://mcp.example.com/mcp"

// TestTokensOfACertifiedProvider: what our verifier makes of a provider that
// nobody here has written.
func TestTokensOfACertifiedProvider(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"RS256", "ES256"} {
		t.Run(algorithm, func(t *testing.T) {
			provider := startOIDC(t, algorithm)
			verifier := verify(t, provider.URL(), algorithm)
			token := fetchToken(t, provider, nil)
			principal, err := verifier(identity.Credentials{Authorization: "Bearer " + token, AuthorizationLines: 1}, resource)
			if err != nil {
				t.Fatal(err)
			}
			if principal.Subject != "agent" || principal.Client != "agent" {
				t.Errorf("principal is %+v", principal)
			}
			if diff := cmp.Diff([]string{"read", "write"}, principal.Scopes); diff != "" {
				t.Errorf("scopes (-want +got):\n%s", diff)
			}
			_, err = verifier(identity.Credentials{Authorization: "Bearer " + token, AuthorizationLines: 1}, "https://other.example")
			if refusal := new(identity.Refusal); !errors.As(err, &refusal) || refusal.Cause != identity.WrongAudience {
				t.Errorf("at another server: %v", err)
			}
		})
	}
}

// TestProofsOfPossession: the provider takes our DPoP proof, and we take the
// token that it bound to the same key.
func TestProofsOfPossession(t *testing.T) {
	t.Parallel()
	provider := startOIDC(t, "RS256")
	verifier := verify(t, provider.URL(), "RS256")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	token := fetchToken(t, provider, func(r *http.Request) { r.Header.Set("DPoP", proof(t, key, provider.TokenURL(), "")) })
	credentials := identity.Credentials{
		Authorization: "DPoP " + token, AuthorizationLines: 1,
		DPoP: proof(t, key, resource, token), DPoPLines: 1, Method: http.MethodPost, URL: resource,
	}
	if _, err := verifier(credentials, resource); err != nil {
		t.Error(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	credentials.DPoP = proof(t, other, resource, token)
	if _, err := verifier(credentials, resource); err == nil {
		t.Error("a proof by another key was accepted")
	}
	if _, err := verifier(identity.Credentials{Authorization: "Bearer " + token, AuthorizationLines: 1}, resource); err == nil {
		t.Error("the bound token was accepted without a proof")
	}
}

func startOIDC(t *testing.T, algorithm string) *testenv.OIDCProvider {
	t.Helper()
	provider, err := testenv.StartOIDCProvider(t.Context(), testenv.OIDCOptions{
		Client: "agent", Secret: "s3cr:t+%", Scopes: []string{"read", "write"}, Algorithm: algorithm,
		Log: testenv.LogOnFailure(t, "OpenID provider"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := provider.Stop(); err != nil {
			t.Error(err)
		}
	})
	return provider
}

// verify returns a verifier that has found the provider's keys by discovery.
func verify(t *testing.T, issuer, algorithm string) func(identity.Credentials, string) (*identity.Principal, error) {
	t.Helper()
	keys, err := identity.NewKeySet(identity.KeySetConfig{Name: "provider", Issuer: issuer, AllowHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	verifier, err := identity.NewVerifier(
		identity.VerifierConfig{ClockSkew: 5 * time.Second, Issuers: []identity.IssuerConfig{{
			Name: "provider", Issuer: issuer, AllowHTTP: true, Algorithms: []string{algorithm}, Typ: "at+jwt",
		}}},
		map[string]identity.Keys{"provider": keys}, identity.NewMemoryReplays(100, time.Now), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return func(c identity.Credentials, audience string) (*identity.Principal, error) {
		return verifier.Verify(context.WithoutCancel(t.Context()), c, &identity.Target{Audiences: []string{audience}})
	}
}

func fetchToken(t *testing.T, provider *testenv.OIDCProvider, change func(*http.Request)) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"read write"}, "resource": {resource}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, provider.TokenURL(), strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth("agent", url.QueryEscape("s3cr:t+%"))
	if change != nil {
		change(request)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Token       string `json:"access_token"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Token == "" {
		t.Fatalf("no token: %+v, %v", answer, err)
	}
	return answer.Token
}

// proof is a DPoP proof (RFC 9449 §4.2), with the token's hash if there is one.
func proof(t *testing.T, key crypto.Signer, target, token string) string {
	t.Helper()
	public, err := jwkset.NewJWKFromKey(key.Public(), jwkset.JWKOptions{})
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.MapClaims{"jti": rand.Text(), "htm": http.MethodPost, "htu": target, "iat": time.Now().Unix()}
	if token != "" {
		digest := sha256.Sum256([]byte(token))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(digest[:])
	}
	unsigned := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	unsigned.Header["typ"], unsigned.Header["jwk"] = "dpop+jwt", public.Marshal()
	signed, err := unsigned.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}
