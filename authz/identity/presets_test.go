package identity_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/authz/identity"
)

func TestIssuerDefaults(t *testing.T) {
	t.Parallel()
	got := identity.IssuerConfig{Name: "m", Preset: identity.PresetEntraMultitenant, Tenants: []string{tenantA}}.WithDefaults()
	want := identity.IssuerConfig{
		Name: "m", Preset: identity.PresetEntraMultitenant, Issuer: entraURL + "{tenantid}/v2.0", Tenants: []string{tenantA},
		Algorithms: []string{"RS256"}, Typ: identity.TypAny, MaxLifetime: 29 * time.Hour,
		Claims: identity.ClaimNames{Subject: "oid", Tenant: "tid", Scopes: []string{"scp"}, Roles: []string{"roles"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got = identity.IssuerConfig{Name: "x", Issuer: issuerURL, Claims: identity.ClaimNames{Subject: "email", Scopes: []string{"perms"}}, MaxLifetime: time.Hour}.WithDefaults()
	want = identity.IssuerConfig{
		Name: "x", Preset: identity.PresetOIDC, Issuer: issuerURL, Algorithms: []string{"RS256", "RS384", "RS512"}, Typ: identity.TypAny, MaxLifetime: time.Hour,
		Claims: identity.ClaimNames{Subject: "email", Scopes: []string{"perms"}, Roles: []string{"roles"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestIssuerValidate(t *testing.T) {
	t.Parallel()
	right := identity.IssuerConfig{Name: "corp", Issuer: issuerURL}
	with := func(edit func(*identity.IssuerConfig)) identity.IssuerConfig {
		c := right
		edit(&c)
		return c
	}
	of := func(preset, issuer string) identity.IssuerConfig {
		return with(func(c *identity.IssuerConfig) { c.Preset, c.Issuer = preset, issuer })
	}
	type config = identity.IssuerConfig
	for _, c := range []struct {
		name   string
		config config
		want   string // empty: right
	}{
		{"right", right, ""},
		{"path", of("", issuerURL+"/realms/x"), ""},
		{"entra", of(identity.PresetEntra, entraURL+tenantA+"/v2.0"), ""},
		{"entra v1", of(identity.PresetEntraV1, "https://sts.windows.net/"+tenantA+"/"), ""},
		{"loopback http in development", with(func(c *config) { c.Issuer, c.AllowHTTP = "http://127.0.0.1:1", true }), ""},

		{"name", with(func(c *config) { c.Name = "Corp" }), "name:"},
		{"no name", with(func(c *config) { c.Name = "" }), "name:"},
		{"preset", of("ping", issuerURL), "preset:"},
		{"no issuer", of("", ""), "issuer: missing"},
		{"http", of("", "http://issuer.example"), "https://"},
		{"no host", of("", "https:///x"), "must have a host"},
		{"query", of("", issuerURL+"?a=b"), "neither user, query nor fragment"},
		{"empty query", of("", issuerURL+"?"), "neither user, query nor fragment"},
		{"fragment", of("", issuerURL+"#a"), "neither user, query nor fragment"},
		{"user", of("", "https://a@issuer.example"), "neither user, query nor fragment"},
		{"template", of("", entraURL+"{tenantid}/v2.0"), "entra-multitenant"},
		{"entra, v1 issuer", of(identity.PresetEntra, "https://sts.windows.net/"+tenantA+"/"), "/v2.0"},
		{"entra, common", of(identity.PresetEntra, entraURL+"common/v2.0"), "<tenant GUID>"},
		{"entra v1 without slash", of(identity.PresetEntraV1, "https://sts.windows.net/"+tenantA), "final slash"},
		{"auth0 without slash", of(identity.PresetAuth0, "https://x.auth0.com"), "final slash"},
		{"okta's own server", of(identity.PresetOkta, "https://x.okta.com"), "/oauth2/"},
		{"multi-tenant without tenants", of(identity.PresetEntraMultitenant, ""), "needs the list of tenants"},
		{"multi-tenant without template", with(func(c *config) {
			c.Preset, c.Issuer, c.Tenants = identity.PresetEntraMultitenant, entraURL+tenantA+"/v2.0", []string{tenantA}
		}), "{tenantid} once"},
		{"multi-tenant by another claim", with(func(c *config) {
			c.Preset, c.Issuer, c.Tenants, c.Claims.Tenant = identity.PresetEntraMultitenant, "", []string{tenantA}, "org"
		}), "claims.tenant"},
		{"tenant in capitals", with(func(c *config) {
			c.Preset, c.Issuer, c.Tenants = identity.PresetEntra, entraURL+tenantA+"/v2.0", []string{strings.ToUpper(tenantA)}
		}), "lower-case GUID"},
		{"tenant twice", with(func(c *config) { c.Tenants, c.Claims.Tenant = []string{"a", "a"}, "org" }), "there twice"},
		{"tenants without claim", with(func(c *config) { c.Tenants = []string{"a"} }), "claims.tenant must name"},
		{"cognito without clients", of(identity.PresetCognito, issuerURL), "needs the list of clients"},
		{"empty client", with(func(c *config) { c.Clients = []string{""} }), "clients: an empty name"},
		{"empty claim", with(func(c *config) { c.Claims.Roles = []string{""} }), "an empty name in scopes or roles"},
		{"none", with(func(c *config) { c.Algorithms = []string{"none"} }), "algorithms:"},
		{"HS256", with(func(c *config) { c.Algorithms = []string{"RS256", "HS256"} }), "algorithms:"},
		{"algorithm twice", with(func(c *config) { c.Algorithms = []string{"RS256", "RS256"} }), "there twice"},
		{"typ", with(func(c *config) { c.Typ = "JWT" }), "typ:"},
		{"lifetime", with(func(c *config) { c.MaxLifetime = 169 * time.Hour }), "max_lifetime:"},
		{"negative lifetime", with(func(c *config) { c.MaxLifetime = -1 }), "max_lifetime:"},
	} {
		err := c.config.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	// Everything at once.
	err := identity.IssuerConfig{Name: "X", Preset: "y", Typ: "z"}.Validate()
	for _, want := range []string{"name:", "preset:", "issuer:", "typ:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

// Grants, claims and limits of the past are stored under these ids.
func TestPrincipalID(t *testing.T) {
	t.Parallel()
	id := identity.PrincipalID
	if got, want := id("https://a.example", "t", "s", "c", "x"), "eitWYxqvktc-LBBIaMxfZUN1MItHmeNxzKaoTvI5iM4"; got != want {
		t.Errorf("id is %q, want %q", got, want)
	}
	if id("i", "", "", "c", "") != id("i", "", "c", "c", "") {
		t.Error("without a subject the client doesn't take its place")
	}
	seen := map[string]int{}
	for i, p := range [][5]string{
		{"i", "t", "s", "c", "a"}, {"it", "", "s", "c", "a"}, {"i", "ts", "", "c", "a"}, {"i", "t", "sc", "", "a"}, {"i", "t", "s", "ca", ""}, {"i", "t", "s", "", "ca"},
	} {
		got := id(p[0], p[1], p[2], p[3], p[4])
		if j, twice := seen[got]; twice {
			t.Errorf("callers %d and %d are one", i, j)
		}
		seen[got] = i
	}
}
