package identity

import "time"

// The presets: whose tokens an issuer's are. A preset fills what the
// configuration leaves open and knows by which marks the provider's access
// tokens differ from its other tokens.
const (
	PresetEntra            = "entra"             // Microsoft Entra ID, v2 tokens of one tenant
	PresetEntraV1          = "entra-v1"          // Microsoft Entra ID, v1 tokens of one tenant
	PresetEntraMultitenant = "entra-multitenant" // Microsoft Entra ID, listed tenants
	PresetAuth0            = "auth0"
	PresetCognito          = "cognito"
	PresetOkta             = "okta" // a custom authorization server
	PresetKeycloak         = "keycloak"
	PresetOIDC             = "oidc" // anything else
)

// preset is what is known of one provider's access tokens.
type preset struct {
	algorithms  []string
	maxLifetime time.Duration
	subject     string
	tenant      string
	client      []string // the first one present counts
	scopes      []string
	roles       []string
	session     []string // the first one present counts
	tokenID     []string // the first one present counts
	// accessToken refuses what the provider issues beside access tokens.
	accessToken func(*token) *Refusal
	// clientAsAudience: access tokens may come without aud; then the client
	// has to be on the allow-list instead.
	clientAsAudience bool
}

// presetOf returns the provider's facts. The signature algorithm is pinned
// where the provider has only one, because some key sets (Entra's) name none.
func presetOf(name string) (preset, bool) {
	p := preset{
		algorithms:  []string{"RS256"},
		maxLifetime: 24 * time.Hour,
		subject:     "sub",
		session:     []string{"sid"},
		tokenID:     []string{"jti"},
	}
	switch name {
	case PresetEntra, PresetEntraV1, PresetEntraMultitenant:
		// sub is pairwise per application, so one user would be several: oid.
		p.subject, p.tenant = "oid", "tid"
		p.client = []string{"azp", "appid"} // v2, v1
		p.tokenID = []string{"uti", "jti"}
		p.scopes, p.roles = []string{"scp"}, []string{"roles"}
		p.maxLifetime = 29 * time.Hour // continuous access evaluation: 20 to 28 hours
		p.accessToken = entraAccessToken
	case PresetAuth0:
		p.client = []string{"azp", "client_id"} // default and RFC 9068 profile
		p.scopes = []string{"scope"}
		p.accessToken = auth0AccessToken
	case PresetCognito:
		p.client = []string{"client_id"}
		p.scopes, p.roles = []string{"scope"}, []string{"cognito:groups"}
		p.session = []string{"origin_jti"}
		p.clientAsAudience = true
		p.accessToken = cognitoAccessToken
	case PresetOkta:
		p.subject, p.client = "uid", []string{"cid"}
		p.scopes, p.roles = []string{"scp"}, []string{"groups"}
		p.accessToken = oktaAccessToken
	case PresetKeycloak:
		p.algorithms = []string{"RS256", "RS384", "RS512"}
		p.client = []string{"azp"}
		p.scopes, p.roles = []string{"scope"}, []string{"realm_access.roles"}
		p.session = []string{"sid", "session_state"}
		p.accessToken = keycloakAccessToken
	case PresetOIDC:
		p.algorithms = []string{"RS256", "RS384", "RS512"}
		p.client = []string{"client_id", "azp"}
		p.scopes, p.roles = []string{"scope", "scp"}, []string{"roles"}
		p.accessToken = oidcAccessToken
	default:
		return preset{}, false
	}
	return p, true
}
