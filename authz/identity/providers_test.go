package identity_test

import (
	"crypto"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/authz/identity"
)

const (
	tenantA  = "0a4f3b1c-6d2e-4c55-9b1a-3f7d5c2e1a01"
	tenantB  = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
	consumer = "9188040d-6c67-4c5b-b112-36a304b66dad" // the tenant of Microsoft accounts
	entraURL = "https://login.microsoftonline.com/"
	apiGUID  = "33333333-3333-4333-8333-333333333333"
)

// provider is one identity provider: its documents with their peculiarities, and
// a token as it issues them.
type provider struct {
	name     string
	config   identity.IssuerConfig
	keys     []object // of its key set, kid "k1" for rsaKey
	audience string   // of our server
	header   object   // of its access tokens, beside alg and kid
	claims   object   // of its access tokens, beside iat and exp

	wantSubject, wantClient, wantTenant string
	wantTokenID, wantSession            string
	wantScope, wantRole                 string
	cases                               []providerCase
}

// providerCase is a deviation from the access token.
type providerCase struct {
	name   string
	header object
	claims object
	want   string
}

// entraKeys have no alg, an x5t, a certificate that isn't looked at, and the
// issuer that may use them.
func entraKeys(issuer string) []object {
	return []object{
		jwkOf(rsaKey().Public(), object{"kid": "k1", "use": "sig", "x5t": "k1", "x5c": []string{"MIIC"}, "issuer": issuer, "cloud_instance_name": "microsoftonline.com"}),
		jwkOf(otherRSAKey().Public(), object{"kid": "msa", "use": "sig", "x5t": "msa", "issuer": entraURL + consumer + "/v2.0"}),
	}
}

func entraV2() provider {
	iss := entraURL + tenantA + "/v2.0"
	return provider{
		name:     "entra v2",
		config:   identity.IssuerConfig{Preset: identity.PresetEntra, Issuer: iss},
		keys:     entraKeys(iss),
		audience: apiGUID,
		header:   object{"typ": "JWT"},
		claims: object{
			"iss": iss, "aud": apiGUID, "oid": "oid-alice", "sub": "pairwise", "tid": tenantA, "azp": "app-1", "azpacr": "0",
			"scp": "Vehicles.Read Vehicles.Write", "ver": "2.0", "uti": "u1", "rh": "x", "name": "Alice",
		},
		wantSubject: "oid-alice", wantClient: "app-1", wantTenant: tenantA, wantTokenID: "u1", wantScope: "Vehicles.Write",
		cases: []providerCase{
			{"app token by idtyp", nil, object{"scp": nil, "idtyp": "app", "roles": []string{"R"}}, ""},
			{"app token by roles", nil, object{"scp": nil, "roles": []string{"R"}}, ""},
			{"roles overage", nil, object{"_claim_names": object{"groups": "src1"}, "_claim_sources": object{}}, ""},
			{"lives a day and more (CAE)", nil, object{"exp": noon().Add(28 * time.Hour).Unix()}, ""},
			{"ID token", nil, object{"scp": nil, "azp": nil, "nonce": "n", "roles": []string{"R"}}, identity.WrongTokenType},
			{"ID token without nonce", nil, object{"scp": nil, "azp": nil, "roles": []string{"R"}}, identity.WrongTokenType},
			{"v1 token", nil, object{"iss": "https://sts.windows.net/" + tenantA + "/", "ver": "1.0"}, identity.UnknownIssuer},
			{"other tenant", nil, object{"iss": entraURL + tenantB + "/v2.0", "tid": tenantB}, identity.UnknownIssuer},
			{"key of Microsoft accounts", object{"kid": "msa"}, nil, identity.UnknownKeyID},
			{"proof-of-possession token", nil, object{"cnf": object{"kid": "x"}}, identity.BindingUnsupported},
		},
	}
}

func entraV1() provider {
	iss := "https://sts.windows.net/" + tenantA + "/"
	return provider{
		name:   "entra v1",
		config: identity.IssuerConfig{Preset: identity.PresetEntraV1, Issuer: iss},
		keys: []object{
			jwkOf(rsaKey().Public(), object{"kid": "k1", "use": "sig", "x5t": "k1"}),
			jwkOf(rsaKey().Public(), object{"kid": "v2", "use": "sig", "issuer": entraURL + "{tenantid}/v2.0"}),
			jwkOf(rsaKey().Public(), object{"kid": "other", "use": "sig", "issuer": entraURL + tenantB + "/v2.0"}),
			jwkOf(otherRSAKey().Public(), object{"kid": "msa", "use": "sig"}),
		},
		audience: "api://dealership",
		header:   object{"typ": "JWT", "x5t": "k1"},
		claims: object{
			"iss": iss, "aud": "api://dealership", "oid": "oid-alice", "sub": "pairwise", "tid": tenantA, "appid": "app-1", "appidacr": "1",
			"acr": "1", "amr": []string{"pwd", "mfa"}, "scp": "Vehicles.Read", "ver": "1.0", "uti": "u1", "unique_name": "alice@contoso.example",
		},
		wantSubject: "oid-alice", wantClient: "app-1", wantTenant: tenantA, wantTokenID: "u1", wantScope: "Vehicles.Read",
		cases: []providerCase{
			{"key from v2 metadata", object{"kid": "v2"}, nil, ""},
			{"key of another tenant", object{"kid": "other"}, nil, identity.UnknownKeyID},
			{"no final slash", nil, object{"iss": strings.TrimSuffix(iss, "/")}, identity.UnknownIssuer},
			{"v2 token", nil, object{"iss": entraURL + tenantA + "/v2.0"}, identity.UnknownIssuer},
		},
	}
}

func entraMultitenant() provider {
	iss := entraURL + tenantA + "/v2.0"
	p := entraV2()
	p.name = "entra multi-tenant"
	p.config = identity.IssuerConfig{Preset: identity.PresetEntraMultitenant, Issuer: entraURL + "{tenantid}/v2.0", Tenants: []string{tenantA, consumer}}
	p.keys = entraKeys(entraURL + "{tenantid}/v2.0")
	p.cases = []providerCase{
		{"tenant not listed", nil, object{"iss": entraURL + tenantB + "/v2.0", "tid": tenantB}, identity.WrongTenant},
		{"tid not that of iss", nil, object{"tid": consumer}, identity.WrongTenant},
		{"no tid", nil, object{"tid": nil}, identity.WrongTenant},
		{"key of Microsoft accounts for a tenant", object{"kid": "msa"}, nil, identity.UnknownKeyID},
		{"tenant that is no GUID", nil, object{"iss": entraURL + "common/v2.0"}, identity.UnknownIssuer},
		{"template as iss", nil, object{"iss": entraURL + "{tenantid}/v2.0"}, identity.UnknownIssuer},
		{"tenant with a path", nil, object{"iss": entraURL + tenantA + "/x/v2.0"}, identity.UnknownIssuer},
		{"tenant in capitals", nil, object{"iss": entraURL + strings.ToUpper(tenantA) + "/v2.0"}, identity.UnknownIssuer},
		{"tenant's v1 issuer", nil, object{"iss": "https://sts.windows.net/" + tenantA + "/"}, identity.UnknownIssuer},
		{"right once more", nil, object{"iss": iss}, ""},
	}
	return p
}

func auth0() provider {
	iss := "https://dealer.eu.auth0.com/"
	return provider{
		name:     "auth0",
		config:   identity.IssuerConfig{Preset: identity.PresetAuth0, Issuer: iss, Claims: identity.ClaimNames{Scopes: []string{"scope", "permissions"}}},
		keys:     []object{jwkOf(rsaKey().Public(), object{"kid": "k1", "use": "sig", "alg": "RS256", "x5t": "k1"}), jwkOf(otherRSAKey().Public(), object{"kid": "msa", "alg": "RS256"})},
		audience: "https://api.dealer.example/",
		header:   object{"typ": "JWT"},
		claims: object{
			"iss": iss, "sub": "auth0|alice", "aud": []string{"https://api.dealer.example/", iss + "userinfo"},
			"azp": "app-1", "scope": "openid read:vehicles", "permissions": []string{"read:vehicles", "write:vehicles"},
		},
		wantSubject: "auth0|alice", wantClient: "app-1", wantScope: "write:vehicles",
		cases: []providerCase{
			{"RFC 9068 profile", object{"typ": "at+jwt"}, object{"azp": nil, "client_id": "app-1", "jti": "j"}, ""},
			{"machine", nil, object{"sub": "app-1@clients", "gty": "client-credentials", "permissions": nil, "scope": nil}, ""},
			{"ID token", nil, object{"aud": "https://api.dealer.example/", "azp": nil, "scope": nil, "permissions": nil, "nonce": "n", "email": "a@b.example"}, identity.WrongTokenType},
			{"no final slash", nil, object{"iss": strings.TrimSuffix(iss, "/")}, identity.UnknownIssuer},
			{"for userinfo alone", nil, object{"aud": iss + "userinfo"}, identity.WrongAudience},
		},
	}
}

func okta() provider {
	iss := "https://dealer.okta.com/oauth2/aus1"
	return provider{
		name:     "okta",
		config:   identity.IssuerConfig{Preset: identity.PresetOkta, Issuer: iss},
		keys:     []object{jwkOf(rsaKey().Public(), object{"kid": "k1", "use": "sig", "alg": "RS256"}), jwkOf(otherRSAKey().Public(), object{"kid": "msa", "alg": "RS256"})},
		audience: "api://default",
		header:   object{},
		claims: object{
			"ver": 1, "jti": "AT.1", "iss": iss, "aud": "api://default", "cid": "app-1", "uid": "00u1", "sub": "alice@dealer.example",
			"scp": []string{"openid", "vehicles.read"}, "groups": []string{"Sales"},
		},
		wantSubject: "00u1", wantClient: "app-1", wantTokenID: "AT.1", wantScope: "vehicles.read", wantRole: "Sales",
		cases: []providerCase{
			{"machine", nil, object{"uid": nil, "sub": "app-1"}, ""},
			{"ID token", nil, object{"cid": nil, "uid": nil, "scp": nil, "idp": "00o1", "at_hash": "x"}, identity.WrongTokenType},
			{"ID token without at_hash", nil, object{"cid": nil, "scp": nil}, identity.WrongTokenType},
			{"another version", nil, object{"ver": 2}, identity.WrongTokenType},
			{"the organisation's own token", nil, object{"iss": "https://dealer.okta.com", "aud": "https://dealer.okta.com"}, identity.UnknownIssuer},
		},
	}
}

func cognito() provider {
	iss := "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Pool1"
	return provider{
		name:     "cognito",
		config:   identity.IssuerConfig{Preset: identity.PresetCognito, Issuer: iss, Clients: []string{"app-1"}, RequireScopePrefix: "dealer/"},
		keys:     []object{jwkOf(rsaKey().Public(), object{"kid": "k1", "use": "sig", "alg": "RS256"}), jwkOf(otherRSAKey().Public(), object{"kid": "msa", "alg": "RS256"})},
		audience: "https://mcp.dealer.example/mcp",
		header:   object{},
		claims: object{
			"iss": iss, "sub": "sub-alice", "username": "alice", "client_id": "app-1", "token_use": "access", "version": 2, "jti": "j1",
			"origin_jti": "o1", "auth_time": noon().Add(-time.Minute).Unix(), "scope": "openid dealer/vehicles.read", "cognito:groups": []string{"sales"},
		},
		wantSubject: "sub-alice", wantClient: "app-1", wantTokenID: "j1", wantSession: "o1", wantScope: "dealer/vehicles.read", wantRole: "sales",
		cases: []providerCase{
			{"machine", nil, object{"sub": "app-1", "username": nil}, ""},
			{"with our aud", nil, object{"aud": "https://mcp.dealer.example/mcp"}, ""},
			{"with another aud", nil, object{"aud": "https://other.example"}, identity.WrongAudience},
			{"with an empty aud", nil, object{"aud": []string{}}, identity.WrongAudience},
			{"client not listed", nil, object{"client_id": "app-2"}, identity.WrongClient},
			{"no scope of the resource server", nil, object{"scope": "openid other/read"}, identity.WrongAudience},
			{"ID token", nil, object{"token_use": "id", "aud": "app-1", "client_id": nil, "scope": nil}, identity.WrongTokenType},
			{"no token_use", nil, object{"token_use": nil}, identity.WrongTokenType},
		},
	}
}

func keycloak() provider {
	iss := "https://sso.dealer.example/realms/dealer"
	return provider{
		name:   "keycloak",
		config: identity.IssuerConfig{Preset: identity.PresetKeycloak, Issuer: iss},
		keys: []object{
			jwkOf(rsaKey().Public(), object{"kid": "k1", "use": "sig", "alg": "RS256", "x5t": "x", "x5c": []string{"MIIC"}}),
			jwkOf(otherRSAKey().Public(), object{"kid": "enc", "use": "enc", "alg": "RSA-OAEP"}),
			jwkOf(otherRSAKey().Public(), object{"kid": "msa", "use": "sig", "alg": "RS256"}),
		},
		audience: "mcp-dealer",
		header:   object{"typ": "JWT"},
		claims: object{
			"iss": iss, "sub": "sub-alice", "aud": []string{"mcp-dealer", "account"}, "typ": "Bearer", "azp": "app-1", "jti": "j1", "sid": "s1",
			"acr": "1", "realm_access": object{"roles": []string{"sales", "uma_authorization"}}, "resource_access": object{"account": object{"roles": []string{"view-profile"}}},
			"scope": "openid profile vehicles", "preferred_username": "alice",
		},
		wantSubject: "sub-alice", wantClient: "app-1", wantTokenID: "j1", wantSession: "s1", wantScope: "vehicles", wantRole: "sales",
		cases: []providerCase{
			{"no realm roles", nil, object{"realm_access": nil}, ""},
			{"with the login's nonce", nil, object{"nonce": "n1"}, ""},
			{"audience account alone", nil, object{"aud": "account"}, identity.WrongAudience},
			{"no audience mapper", nil, object{"aud": nil}, identity.MissingClaim},
			{"refresh token", nil, object{"typ": "Refresh", "aud": iss}, identity.WrongTokenType},
			{"ID token", nil, object{"typ": "ID"}, identity.WrongTokenType},
			{"no typ claim", nil, object{"typ": nil}, identity.WrongTokenType},
			{"encryption key", object{"kid": "enc"}, nil, identity.UnknownKeyID},
			{"plain http issuer", nil, object{"iss": strings.Replace(iss, "https", "http", 1)}, identity.UnknownIssuer},
		},
	}
}

// Each provider's tokens, with its key set read from its own documents.
func TestProviders(t *testing.T) {
	t.Parallel()
	for _, p := range []provider{entraV2(), entraV1(), entraMultitenant(), auth0(), okta(), cognito(), keycloak()} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			v := p.start(t)
			target := &identity.Target{Audiences: []string{p.audience}}
			got, err := v.Verify(t.Context(), bearer(p.token(rsaKey(), nil, nil)), target)
			wantCause(t, err, "")
			if err == nil {
				p.check(t, got)
			}
			for _, c := range append(p.common(), p.cases...) {
				key := rsaKey()
				if c.header["kid"] == "msa" || c.header["kid"] == "enc" {
					key = otherRSAKey()
				}
				_, err := v.Verify(t.Context(), bearer(p.token(key, c.header, c.claims)), target)
				t.Run(c.name, func(t *testing.T) { wantCause(t, err, c.want) })
			}
			_, err = v.Verify(t.Context(), bearer(p.token(otherRSAKey(), nil, nil)), target)
			wantCause(t, err, identity.BadSignature)
			_, err = v.Verify(t.Context(), bearer(p.token(rsaKey(), nil, nil)), &identity.Target{Audiences: []string{p.audience}, Issuers: []string{"other"}})
			wantCause(t, err, identity.UnknownIssuer)
		})
	}
}

// start serves the provider's documents and returns a verifier for it.
func (p *provider) start(t testing.TB) *identity.Verifier {
	d := serveDocuments(t)
	d.put("/.well-known/openid-configuration", object{
		"issuer": p.config.Issuer, "jwks_uri": d.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"},
	})
	d.put("/keys", object{"keys": p.keys})
	p.config.Name = "main"
	keys := d.keySet(t, identity.KeySetConfig{Name: "main", Issuer: p.config.Issuer, DiscoveryURL: d.URL + "/.well-known/openid-configuration"})
	return newVerifier(t, identity.VerifierConfig{ClockSkew: skew, Issuers: []identity.IssuerConfig{p.config}}, map[string]identity.Keys{"main": keys}, newClock())
}

func (p *provider) token(key crypto.Signer, header, claims object) string {
	return mint(key, "RS256",
		changed(object{"alg": "RS256", "kid": "k1"}, p.header, header),
		changed(object{"iat": noon().Add(-time.Minute).Unix(), "exp": noon().Add(time.Hour).Unix()}, p.claims, claims))
}

// common are the refusals that every provider's tokens share.
func (p *provider) common() []providerCase {
	return []providerCase{
		{"wrong audience", nil, object{"aud": "https://other.example"}, identity.WrongAudience},
		{"expired", nil, object{"iat": noon().Add(-2 * time.Hour).Unix(), "exp": noon().Add(-time.Hour).Unix()}, identity.Expired},
		{"not yet valid", nil, object{"nbf": noon().Add(time.Hour).Unix()}, identity.NotYetValid},
		{"wrong issuer", nil, object{"iss": "https://evil.example/"}, identity.UnknownIssuer},
		{"missing kid", object{"kid": nil}, nil, identity.MissingKeyID},
		{"unknown kid", object{"kid": "k0"}, nil, identity.UnknownKeyID},
	}
}

func (p *provider) check(t *testing.T, got *identity.Principal) {
	t.Helper()
	for what, pair := range map[string][2]string{
		"subject": {got.Subject, p.wantSubject}, "client": {got.Client, p.wantClient}, "tenant": {got.Tenant, p.wantTenant},
		"token id": {got.TokenID, p.wantTokenID}, "session": {got.SessionID, p.wantSession}, "issuer": {got.IssuerID, p.claims["iss"].(string)},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %q, want %q", what, pair[0], pair[1])
		}
	}
	if !got.HasScope(p.wantScope) || got.HasScope(p.wantScope[:len(p.wantScope)-1]) {
		t.Errorf("scopes are %q, want %q and no prefix of it", got.Scopes, p.wantScope)
	}
	if p.wantRole != "" && (len(got.Roles) == 0 || got.Roles[0] != p.wantRole) {
		t.Errorf("roles are %q, want %q first", got.Roles, p.wantRole)
	}
	if got.HasScope(p.wantRole) {
		t.Error("a role is a scope")
	}
}
