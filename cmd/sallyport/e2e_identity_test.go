package main_test

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/internal/devissuer"
)

// TestAudiences shows the token for each server to every server.
func TestAudiences(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	for server, path := range map[string]string{"dealership": "/mcp", "office": "/office", "api": ""} {
		only := m.token(t, "alice", "vehicles.read", func(o *devissuer.TokenOptions) { o.Audience = []string{m.url + path} })
		for other, r := range map[string]request{
			"dealership": callTool(only, "search_vehicles", `{}`),
			"office":     toOffice(callTool(only, "search_vehicles", `{}`)),
			"api":        rest(only, "GET", "/vehicles/V-1001", ""),
		} {
			t.Run("token for "+server+" at "+other, func(t *testing.T) {
				t.Parallel()
				a := m.send(t, r)
				if server == other {
					m.allowed(t, a, server)
					return
				}
				m.denied(t, a, http.StatusUnauthorized, "authentication.audience")
				challenge := a.header.Get("WWW-Authenticate")
				if !strings.HasPrefix(challenge, `Bearer error="invalid_token", `) {
					t.Errorf("challenge %s", challenge)
				}
				// It must lead to the server that was called, not to the token's.
				if got, want := metadataURL(challenge), m.metadata(other); got != want {
					t.Errorf("the challenge leads to %s, want %s", got, want)
				}
			})
		}
	}
}

// TestTokens has tokens refused behind the proxy; which tokens are good is the
// matter of package identity's own tests.
func TestTokens(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	const scopes = "vehicles.read services.write"
	good := m.token(t, "alice", scopes)
	search := func(token string, header ...string) request {
		return callTool(token, "search_vehicles", `{}`).with(header...)
	}
	inQuery := search("")
	inQuery.path = "/mcp?access_token=" + good
	inBoth := search(good)
	inBoth.path = inQuery.path
	inForm := rest("", "GET", "/vehicles/V-1001?access_token="+good, "")
	for name, c := range map[string]struct {
		request   request
		status    int
		reason    string
		challenge string
	}{
		"none":                 {search(""), 401, "authentication.missing", "Bearer resource_metadata="},
		"expired":              {search(m.token(t, "alice", scopes, func(o *devissuer.TokenOptions) { o.IssuedAt = time.Now().Add(-time.Hour) })), 401, "authentication.expired", `Bearer error="invalid_token"`},
		"issuer nobody knows":  {search(m.token(t, "alice", scopes, func(o *devissuer.TokenOptions) { o.Claims = map[string]any{"iss": "https://evil.example"} })), 401, "authentication.issuer", `Bearer error="invalid_token"`},
		"key of the partner":   {search(mint(t, m.partner, m.tokenOptions("alice", scopes, func(o *devissuer.TokenOptions) { o.Claims = map[string]any{"iss": m.issuer.URL()} }))), 401, "authentication.signature", `Bearer error="invalid_token"`},
		"no JWT":               {search("opaque"), 401, "authentication.malformed", `Bearer error="invalid_token"`},
		"two headers":          {search(good, "Authorization", "Bearer "+good), 400, "authentication.ambiguous", `Bearer error="invalid_request"`},
		"two different":        {search(good, "Authorization", "Bearer "+m.token(t, "mallory", scopes)), 400, "authentication.ambiguous", `Bearer error="invalid_request"`},
		"a list in one header": {search("", "Authorization", "Bearer "+good+", Bearer "+good), 400, "authentication.ambiguous", `Bearer error="invalid_request"`},
		"basic before":         {search(good, "Authorization", "Basic YTpi"), 401, "authentication.missing", "Bearer resource_metadata="},
		"basic behind":         {search("", "Authorization", "Bearer "+good, "Authorization", "Basic YTpi"), 400, "authentication.ambiguous", `Bearer error="invalid_request"`},
		"basic":                {search("", "Authorization", "Basic YTpi"), 401, "authentication.missing", "Bearer resource_metadata="},
		"in the query":         {inQuery, 400, "authentication.ambiguous", `Bearer error="invalid_request"`},
		"in the query as well": {inBoth, 400, "authentication.ambiguous", `Bearer error="invalid_request"`},
		"in a REST query":      {inForm, 400, "authentication.ambiguous", `Bearer error="invalid_request"`},
		"scope":                {search(m.token(t, "alice", "")), 403, "scopes.insufficient", `Bearer error="insufficient_scope", error_description="The access token lacks a required scope. Required scopes: vehicles.read", scope="vehicles.read"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := m.send(t, c.request)
			m.denied(t, a, c.status, c.reason)
			if challenge := a.header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, c.challenge) {
				t.Errorf("challenge %s, want %s…", challenge, c.challenge)
			}
			if strings.Contains(a.body+a.header.Get("WWW-Authenticate"), good) {
				t.Error("the answer holds the token")
			}
		})
	}
	t.Run("of the partner", func(t *testing.T) {
		t.Parallel()
		a := m.send(t, search(mint(t, m.partner, m.tokenOptions("alice", scopes))))
		m.allowed(t, a, "dealership")
		// The same subject at two issuers is two callers.
		mine := m.decision(t, m.send(t, search(good))).Principal
		if d := m.decision(t, a); d.Principal.Issuer != "partner" || d.Principal.ID == mine.ID {
			t.Errorf("alice of the partner is %+v, ours %+v", d.Principal, mine)
		}
	})
}

func toOffice(r request) request {
	r.path = "/office"
	return r
}

// metadata is where a server's protected-resource metadata is (RFC 9728 §3.1).
func (m *mesh) metadata(server string) string {
	path := map[string]string{"dealership": "/mcp", "office": "/office", "api": ""}[server]
	return m.url + "/.well-known/oauth-protected-resource" + path
}

func metadataURL(challenge string) string {
	found := regexp.MustCompile(`resource_metadata="([^"]*)"`).FindStringSubmatch(challenge)
	if found == nil {
		return ""
	}
	return found[1]
}

// TestMetadata goes where a client without a token is sent.
func TestMetadata(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	for server, r := range map[string]request{
		"dealership": callTool("", "search_vehicles", `{}`),
		"office":     toOffice(callTool("", "search_vehicles", `{}`)),
		"api":        rest("", "GET", "/vehicles/V-1001", ""),
	} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			a := m.send(t, r)
			m.denied(t, a, http.StatusUnauthorized, "authentication.missing")
			url := metadataURL(a.header.Get("WWW-Authenticate"))
			if url != m.metadata(server) {
				t.Fatalf("the challenge leads to %q, want %s", url, m.metadata(server))
			}
			for _, client := range []*http.Client{http.DefaultClient, http2Client(t)} {
				response, err := client.Get(url)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				var got struct {
					Resource string   `json:"resource"`
					Issuers  []string `json:"authorization_servers"`
					Scopes   []string `json:"scopes_supported"`
				}
				if err != nil || response.StatusCode != http.StatusOK || json.Unmarshal(body, &got) != nil {
					t.Fatalf("%s answers %d %s", url, response.StatusCode, body)
				}
				// RFC 9728 §3.3: the client compares it with the URL it has called.
				if want := strings.Replace(url, "/.well-known/oauth-protected-resource", "", 1); got.Resource != want {
					t.Errorf("resource %s, want %s", got.Resource, want)
				}
				if diff := cmp.Diff([]string{m.issuer.URL(), m.partner.URL()}, got.Issuers); diff != "" {
					t.Errorf("authorization servers (-want +got):\n%s", diff)
				}
				if server == "dealership" != (len(got.Scopes) == 2) {
					t.Errorf("scopes %v", got.Scopes)
				}
			}
		})
	}
	for name, c := range map[string]struct {
		request request
		status  int
	}{
		"other resource":  {request{method: "GET", path: "/.well-known/oauth-protected-resource/other"}, 404},
		"other authority": {request{method: "GET", path: "/.well-known/oauth-protected-resource/office", host: "dealership.test"}, 404},
		"POST":            {request{path: "/.well-known/oauth-protected-resource/mcp"}, 405},
		"with a token":    {request{method: "GET", path: "/.well-known/oauth-protected-resource/mcp", token: "whatever"}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := m.send(t, c.request)
			m.undecided(t, a, c.status)
		})
	}
}
