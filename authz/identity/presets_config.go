package identity

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The policies for the typ header (IssuerConfig.Typ).
const (
	TypAny = "any"    // JWT, at+jwt or absent: what most providers send
	TypAt  = "at+jwt" // only at+jwt (RFC 9068 §4)
)

// tenantPlaceholder stands for the tenant in the issuer of a multi-tenant
// configuration and in the issuer of keys, as Entra's metadata spells it.
const tenantPlaceholder = "{tenantid}"

// maxLifetimeLimit bounds IssuerConfig.MaxLifetime.
const maxLifetimeLimit = 7 * 24 * time.Hour

// IssuerConfig says which tokens of one issuer are access tokens for us. The
// zero value of every optional field is the preset's default.
type IssuerConfig struct {
	// Name is ours, for targets, logs and metrics: lower-case letters, digits, - and _.
	Name string
	// Preset is one of the Preset constants; empty: oidc.
	Preset string
	// Issuer is the exact iss claim. For entra-multitenant it contains
	// "{tenantid}" once; empty there: Entra's public v2 issuer.
	Issuer string
	// Algorithms is the allow-list for alg: RS*, PS*, ES* and EdDSA. Never HS* or none.
	Algorithms []string
	// Typ is the policy for the typ header: any (default) or at+jwt.
	Typ string
	// MaxLifetime bounds exp - iat; at most 168h, default 24h (Entra: 29h).
	MaxLifetime time.Duration
	// Tenants is an allow-list for the tenant claim: GUIDs, and required, for
	// entra-multitenant; optional elsewhere.
	Tenants []string
	// Clients is an allow-list for the client claim; required for cognito.
	Clients []string
	// RequireScopePrefix is what at least one scope must begin with: the
	// resource server of Cognito, whose tokens name no audience.
	RequireScopePrefix string
	// Claims names the claims where the preset's names don't fit.
	Claims ClaimNames
	// Elevation trusts the issuer's elevation_status claim.
	Elevation bool
	// IgnoreNonce leaves the nonce claim unchecked. Otherwise a nonce belongs
	// to the first token that shows it until that token expires.
	IgnoreNonce bool
	// AllowHTTP accepts an http issuer: development profile only.
	AllowHTTP bool
}

// ClaimNames says which claims carry what. A name is that of a top-level
// member, or a path with dots ("realm_access.roles"); an exact member wins.
type ClaimNames struct {
	Subject string
	Tenant  string
	Client  string
	Person  string   // names the human behind the client; empty: no person is known
	Scopes  []string // scope, scp, by choice permissions; a string holds several, divided by spaces
	Roles   []string // a string holds one
}

var (
	namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	guidPattern = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

// WithDefaults returns the configuration with everything that the preset knows
// filled in. An unknown preset is left for Validate to report.
func (c IssuerConfig) WithDefaults() IssuerConfig {
	if c.Preset == "" {
		c.Preset = PresetOIDC
	}
	p, ok := presetOf(c.Preset)
	if !ok {
		return c
	}
	if c.Preset == PresetEntraMultitenant && c.Issuer == "" {
		c.Issuer = "https://login.microsoftonline.com/" + tenantPlaceholder + "/v2.0"
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = p.algorithms
	}
	if c.Typ == "" {
		c.Typ = TypAny
	}
	if c.MaxLifetime == 0 {
		c.MaxLifetime = p.maxLifetime
	}
	if c.Claims.Subject == "" {
		c.Claims.Subject = p.subject
	}
	if c.Claims.Tenant == "" {
		c.Claims.Tenant = p.tenant
	}
	if len(c.Claims.Scopes) == 0 {
		c.Claims.Scopes = p.scopes
	}
	if len(c.Claims.Roles) == 0 {
		c.Claims.Roles = p.roles
	}
	return c
}

// Validate reports everything that is wrong at once. Defaults count as set.
func (c IssuerConfig) Validate() error {
	c = c.WithDefaults()
	var errs []error
	if !namePattern.MatchString(c.Name) {
		errs = append(errs, fmt.Errorf("name: %q is not made of lower-case letters, digits, - and _", c.Name))
	}
	if _, ok := presetOf(c.Preset); !ok {
		errs = append(errs, fmt.Errorf("preset: %q is none of entra, entra-v1, entra-multitenant, auth0, cognito, okta, keycloak, oidc", c.Preset))
	}
	errs = append(errs, c.validateIssuer()...)
	for i, alg := range c.Algorithms {
		switch {
		case methodOf(alg) == nil:
			errs = append(errs, fmt.Errorf("algorithms: %q is not one of RS*, PS*, ES* (256, 384, 512) and EdDSA", alg))
		case slices.Contains(c.Algorithms[:i], alg):
			errs = append(errs, fmt.Errorf("algorithms: %q is there twice", alg))
		}
	}
	if c.Typ != "" && c.Typ != TypAny && c.Typ != TypAt {
		errs = append(errs, fmt.Errorf("typ: %q is neither any nor at+jwt", c.Typ))
	}
	if c.MaxLifetime < 0 || c.MaxLifetime > maxLifetimeLimit {
		errs = append(errs, fmt.Errorf("max_lifetime: %v is not within (0, 168h]", c.MaxLifetime))
	}
	errs = append(errs, c.validateLists()...)
	return errors.Join(errs...)
}

// validateIssuer checks the issuer's form, with what is peculiar to each
// provider: each of these mistakes would otherwise show as every token refused.
func (c *IssuerConfig) validateIssuer() []error {
	if c.Issuer == "" {
		return []error{errors.New("issuer: missing; an empty issuer would switch the check off")}
	}
	u, err := url.Parse(strings.ReplaceAll(c.Issuer, tenantPlaceholder, "00000000-0000-0000-0000-000000000000"))
	if err != nil {
		return []error{fmt.Errorf("issuer: %q is not a URL", c.Issuer)}
	}
	var errs []error
	if u.Scheme != "https" && (u.Scheme != "http" || !c.AllowHTTP) {
		errs = append(errs, fmt.Errorf("issuer: %q does not begin with https://", c.Issuer))
	}
	if u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(c.Issuer, "#") {
		errs = append(errs, fmt.Errorf("issuer: %q must have a host and neither user, query nor fragment (OpenID Connect Core §2)", c.Issuer))
	}
	if n := strings.Count(c.Issuer, tenantPlaceholder); c.Preset == PresetEntraMultitenant && n != 1 {
		errs = append(errs, fmt.Errorf("issuer: %q must contain %s once", c.Issuer, tenantPlaceholder))
	} else if c.Preset != PresetEntraMultitenant && n != 0 {
		errs = append(errs, fmt.Errorf("issuer: %s is for the preset entra-multitenant", tenantPlaceholder))
	}
	switch c.Preset {
	case PresetEntra:
		if !guidPattern.MatchString(strings.TrimSuffix(strings.TrimPrefix(u.Path, "/"), "/v2.0")) || !strings.HasSuffix(u.Path, "/v2.0") {
			errs = append(errs, fmt.Errorf("issuer: %q is not …/<tenant GUID>/v2.0", c.Issuer))
		}
	case PresetEntraV1:
		if !guidPattern.MatchString(strings.Trim(u.Path, "/")) || !strings.HasSuffix(u.Path, "/") {
			errs = append(errs, fmt.Errorf("issuer: %q is not …/<tenant GUID>/ with its final slash", c.Issuer))
		}
	case PresetAuth0:
		if !strings.HasSuffix(c.Issuer, "/") {
			errs = append(errs, fmt.Errorf("issuer: %q lacks the final slash that Auth0's iss has", c.Issuer))
		}
	case PresetOkta:
		if !strings.HasPrefix(u.Path, "/oauth2/") {
			errs = append(errs, fmt.Errorf("issuer: %q is not …/oauth2/<authorization server>; tokens of the organisation's own server are for Okta alone", c.Issuer))
		}
	}
	return errs
}

// validateLists checks the allow-lists and the claim names.
func (c *IssuerConfig) validateLists() []error {
	var errs []error
	if c.Preset == PresetEntraMultitenant && len(c.Tenants) == 0 {
		errs = append(errs, errors.New("tenants: entra-multitenant needs the list of tenants; without it anybody's tenant would be accepted"))
	}
	if c.Preset == PresetEntraMultitenant && c.Claims.Tenant != "tid" {
		errs = append(errs, errors.New("claims.tenant: entra-multitenant compares tid with the issuer, nothing else"))
	}
	if len(c.Tenants) > 0 && c.Claims.Tenant == "" {
		errs = append(errs, errors.New("tenants: claims.tenant must name the claim that is compared"))
	}
	for i, t := range c.Tenants {
		if c.Claims.Tenant == "tid" && !guidPattern.MatchString(t) {
			errs = append(errs, fmt.Errorf("tenants: %q is not a lower-case GUID", t))
		}
		if t == "" || slices.Contains(c.Tenants[:i], t) {
			errs = append(errs, fmt.Errorf("tenants: %q is empty or there twice", t))
		}
	}
	if c.Preset == PresetCognito && len(c.Clients) == 0 {
		errs = append(errs, errors.New("clients: cognito needs the list of clients; its access tokens name no audience"))
	}
	if slices.Contains(c.Clients, "") {
		errs = append(errs, errors.New("clients: an empty name"))
	}
	if slices.Contains(c.Claims.Scopes, "") || slices.Contains(c.Claims.Roles, "") {
		errs = append(errs, errors.New("claims: an empty name in scopes or roles"))
	}
	return errs
}
