package settings

import "time"

// Issuer is one identity provider whose tokens are accepted.
type Issuer struct {
	// Name is how servers and records call it; lower case, unique.
	Name string `yaml:"name"`
	// Preset knows a product's peculiarities: entra, entra-v1,
	// entra-multitenant, auth0, cognito, okta, keycloak, oidc. Default oidc.
	Preset string `yaml:"preset"`
	// Issuer is the exact iss claim, an https URL. For entra-multitenant it
	// holds {tenantid}; default there: that of Microsoft's public cloud.
	Issuer string `yaml:"issuer"`
	// DiscoveryURL is empty for issuer + /.well-known/openid-configuration. For
	// entra-multitenant with another issuer than the default it is required,
	// or JWKSURL: a template can't be fetched. Conflicts with JWKSURL.
	DiscoveryURL string `yaml:"discovery_url"`
	// JWKSURL is empty for the one that discovery names.
	JWKSURL string `yaml:"jwks_url"`
	// CAFile holds further authorities for fetching from this issuer.
	CAFile string `yaml:"ca_file" file:"cert"`
	// AllowPrivate allows to fetch from loopback and private addresses.
	AllowPrivate bool `yaml:"allow_private"`
	// Algorithms are accepted for signatures: RS*, PS*, ES* of 256, 384, 512,
	// and EdDSA. Empty: RS256, RS384, RS512, or the preset's choice.
	Algorithms []string `yaml:"algorithms"`
	// Typ is "any" (JWT, at+jwt, or absent) or "at+jwt". Default any.
	Typ string `yaml:"typ"`
	// MaxLifetime is the longest exp - iat that is accepted, within [1m, 168h].
	// 0: the preset's choice, 24h or, for Entra, 29h.
	MaxLifetime time.Duration `yaml:"max_lifetime"`
	// MaxStale is how old a key set may become while the provider is away, at
	// least the cache TTL and at most 168h. Default 24h.
	MaxStale time.Duration `yaml:"max_stale"`
	// Tenants are accepted; for entra-multitenant, where they are required, the
	// GUIDs of tid. Otherwise empty: any.
	Tenants []string `yaml:"tenants"`
	// Clients are accepted; required for cognito, whose tokens have no
	// audience. Otherwise empty: any.
	Clients []string `yaml:"clients"`
	// RequireScopePrefix must begin at least one scope of a token; cognito only:
	// the resource server's identifier with a slash.
	RequireScopePrefix string `yaml:"require_scope_prefix"`
	// Claims name what is read from where; empty fields: the preset's choice.
	Claims Claims `yaml:"claims"`
	// Elevation trusts the claim elevation_status of this issuer's tokens.
	// Default false.
	Elevation bool `yaml:"elevation"`
}

// Claims are names of claims. Empty: the preset's choice.
type Claims struct {
	Subject string   `yaml:"subject"`
	Tenant  string   `yaml:"tenant"`
	Client  string   `yaml:"client"`
	Person  string   `yaml:"person"` // the human behind several clients
	Scopes  []string `yaml:"scopes"`
	Roles   []string `yaml:"roles"`
}

func (i *Issuer) setDefaults() {
	i.Preset, i.Typ, i.MaxStale = "oidc", "any", 24*time.Hour
}

// Server is one MCP server or REST API that is protected.
type Server struct {
	// Name is how the catalogue and records call it; lower case, unique.
	Name string `yaml:"name"`
	// Hosts are authorities, "host" or "host:port", or "*" for any other.
	Hosts []string `yaml:"hosts"`
	// Path is the exact path of the MCP endpoint, or the prefix of a REST API.
	Path string `yaml:"path"`
	// Resource is the RFC 9728 resource identifier: the https URL that clients
	// use, without query and fragment, different for each server.
	Resource string `yaml:"resource"`
	// Audiences are accepted in aud, any of them. Default: oidc_audience if it
	// is set and the server accepts the issuer "default", else the resource.
	Audiences []string `yaml:"audiences"`
	// Issuers are names of accepted issuers. Empty: all.
	Issuers []string `yaml:"issuers"`
	// RequiredScopes are needed for every request to this server.
	RequiredScopes []string `yaml:"required_scopes"`
	// ScopesSupported are published in the server's metadata.
	ScopesSupported []string `yaml:"scopes_supported"`
	// Upstream is where Envoy sends what passed.
	Upstream Upstream `yaml:"upstream"`
	// MCP or REST: exactly one is set.
	MCP  *MCP  `yaml:"mcp"`
	REST *REST `yaml:"rest"`
}

// Upstream is a server's address as Envoy reaches it.
type Upstream struct {
	// Address is "host:port", the host a name or an IP address.
	Address string `yaml:"address"`
	// TLS encrypts and verifies. CAFile and SNI need it.
	TLS bool `yaml:"tls"`
	// CAFile holds the accepted authorities, read by Envoy; required with TLS.
	CAFile string `yaml:"ca_file" file:"cert"`
	// SNI is the name that is asked for and verified. Default: the host of the
	// address; required if that is an IP address.
	SNI string `yaml:"sni"`
	// HTTP2 speaks HTTP/2 to the upstream.
	HTTP2 bool `yaml:"http2"`
}

// MCP says what may be asked of an MCP server; what isn't listed is refused.
type MCP struct {
	// Methods are names, or a name and "/*". Default: initialize,
	// server/discover, ping, tools/list, tools/call, notifications/*,
	// logging/setLevel, subscriptions/listen.
	Methods []string `yaml:"methods"`
	// Resources are exact URIs, or a beginning and "*". What * stands for has no
	// query, fragment or parameters (? # ;): a URI with one is listed exactly, or
	// with a beginning that reaches into the query, which then ends at the next &.
	Resources []string `yaml:"resources"`
	// Prompts are exact names, or a beginning and "*".
	Prompts []string `yaml:"prompts"`
	// Origins are accepted Origin headers, never "null". Empty: only requests
	// without one.
	Origins []string `yaml:"origins"`
	// Versions are accepted revisions. Empty: all that this version knows.
	Versions []string `yaml:"versions"`
}

func (m *MCP) setDefaults() {
	m.Methods = []string{"initialize", "server/discover", "ping", "tools/list", "tools/call", "notifications/*", "logging/setLevel", "subscriptions/listen"}
}

// REST maps routes of an API to tools; what isn't listed is refused.
type REST struct {
	Routes []Route `yaml:"routes"`
}

// Route is one method and path template.
type Route struct {
	Method string `yaml:"method"` // GET, HEAD, POST, PUT, PATCH, DELETE
	Path   string `yaml:"path"`   // below the server's; whole segments may be {name}: /vehicles/{id}
	Tool   string `yaml:"tool"`   // of the catalogue
	// AnyBody accepts bodies that are not JSON, too. Schema and conditions
	// can't see what is in them. Default false.
	AnyBody bool `yaml:"any_body"`
}

func presets() []string {
	return []string{"entra", "entra-v1", "entra-multitenant", "auth0", "cognito", "okta", "keycloak", "oidc"}
}

func protocolVersions() []string {
	return []string{"2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"}
}
