package devissuer_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/sallyport/sallyport/internal/devissuer"
)

func withClients(t *testing.T) *devissuer.Issuer {
	return start(t, devissuer.Config{Clients: []devissuer.Client{
		{ID: "agent", Secret: "s3cr:t+%", Scopes: []string{"read", "write"}, Resources: []string{audience}, Claims: map[string]any{"roles": []string{"sales"}}},
		{ID: "free", Secret: "other"},
	}})
}

func TestClientCredentials(t *testing.T) {
	i := withClients(t)
	for name, style := range map[string]oauth2.AuthStyle{"basic": oauth2.AuthStyleInHeader, "post": oauth2.AuthStyleInParams} {
		cfg := clientcredentials.Config{
			ClientID: "agent", ClientSecret: "s3cr:t+%", TokenURL: i.TokenURL(), Scopes: []string{"read"},
			EndpointParams: url.Values{"resource": {audience}}, AuthStyle: style,
		}
		token, err := cfg.Token(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if token.Expiry.IsZero() || token.Type() != "Bearer" {
			t.Errorf("%s: token is %+v", name, token)
		}
		claims, err := verify(t, i, token.AccessToken)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if claims["scope"] != "read" || claims["sub"] != "agent" || claims["client_id"] != "agent" || claims["aud"] != audience || claims["roles"] == nil {
			t.Errorf("%s: claims are %v", name, claims)
		}
	}
}

func TestTokenDefaults(t *testing.T) {
	i := withClients(t)
	cfg := clientcredentials.Config{ClientID: "agent", ClientSecret: "s3cr:t+%", TokenURL: i.TokenURL()}
	token, err := cfg.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	claims, err := verify(t, i, token.AccessToken)
	if err != nil || claims["scope"] != "read write" {
		t.Errorf("scope %v, %v", claims["scope"], err)
	}
}

func TestTokenRefusals(t *testing.T) {
	i := withClients(t)
	cases := []struct {
		name, id, secret string
		scopes           []string
		params           url.Values
		want             string
	}{
		{"wrong secret", "agent", "x", nil, nil, "invalid_client"},
		{"unknown client", "nobody", "", nil, nil, "invalid_client"},
		{"foreign scope", "agent", "s3cr:t+%", []string{"admin"}, nil, "invalid_scope"},
		{"foreign resource", "agent", "s3cr:t+%", nil, url.Values{"resource": {"https://other.example"}}, "invalid_target"},
		{"relative resource", "free", "other", nil, url.Values{"resource": {"/mcp"}}, "invalid_target"},
		{"resource with fragment", "free", "other", nil, url.Values{"resource": {"https://a.example/#x"}}, "invalid_target"},
		{"no resource", "free", "other", nil, nil, "invalid_target"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cfg := clientcredentials.Config{
				ClientID: c.id, ClientSecret: c.secret, TokenURL: i.TokenURL(), Scopes: c.scopes,
				EndpointParams: c.params, AuthStyle: oauth2.AuthStyleInHeader,
			}
			_, err := cfg.Token(t.Context())
			var refused *oauth2.RetrieveError
			if !errors.As(err, &refused) || refused.ErrorCode != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	i.SetDown(true)
	cfg := clientcredentials.Config{ClientID: "agent", ClientSecret: "s3cr:t+%", TokenURL: i.TokenURL()}
	if _, err := cfg.Token(t.Context()); err == nil {
		t.Error("a token came from an issuer that is down")
	}
}

func TestTokenRequestForms(t *testing.T) {
	i := withClients(t)
	right := "grant_type=client_credentials&client_id=agent&client_secret=" + url.QueryEscape("s3cr:t+%")
	cases := []struct {
		name, body, basic string
		status            int
		code              string
	}{
		{"post", right, "", 200, ""},
		{"other grant", strings.Replace(right, "client_credentials", "password", 1), "", 400, "unsupported_grant_type"},
		{"both ways", right, "agent", 401, "invalid_client"},
		{"too large", right + "&x=" + strings.Repeat("x", 70<<10), "", 400, "invalid_request"},
	}
	for _, c := range cases {
		req := httptest.NewRequestWithContext(t.Context(), "POST", i.TokenURL(), strings.NewReader(c.body))
		req.RequestURI = ""
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if c.basic != "" {
			req.SetBasicAuth(c.basic, "x")
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct{ Error string }
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
			t.Error(err)
		}
		res.Body.Close()
		if res.StatusCode != c.status || answer.Error != c.code {
			t.Errorf("%s: %d %s, want %d %s", c.name, res.StatusCode, answer.Error, c.status, c.code)
		}
	}
}
