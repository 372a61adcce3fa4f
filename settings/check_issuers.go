package settings

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"
)

func (r *report) checkIssuers(cfg *Config) {
	if len(cfg.Issuers) == 0 {
		r.refuse("issuers", "is missing: list an issuer, or set authentication.oidc_issuer (OIDC_ISSUER)")
	}
	names, identifiers := make(map[string]string), make(map[string]string)
	for i := range cfg.Issuers {
		issuer, path := &cfg.Issuers[i], fmt.Sprintf("issuers[%d]", i)
		r.name(path+".name", issuer.Name, names)
		if first, taken := identifiers[issuer.Issuer]; taken && issuer.Issuer != "" {
			r.refuse(path+".issuer", "is already the issuer of %s: tokens name their issuer, so only one entry can have it", first)
		}
		identifiers[issuer.Issuer] = path
		if r.oneOf(path+".preset", issuer.Preset, presets()...) {
			r.checkIdentifier(path+".issuer", issuer, cfg.Development())
		}
		r.checkKeySource(path, issuer, cfg)
		r.checkIssuer(path, issuer)
		r.checkClaims(path, issuer)
	}
}

const tenantPlaceholder = "{tenantid}"

var guidPattern = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// checkIdentifier checks the issuer's form, with what is peculiar to each
// product: such a mistake would show as every token refused.
func (r *report) checkIdentifier(path string, issuer *Issuer, development bool) {
	id := issuer.Issuer
	if id == "" {
		r.refuse(path, "is missing: write the exact iss claim of the tokens")
		return
	}
	n := strings.Count(id, tenantPlaceholder)
	if issuer.Preset == "entra-multitenant" && n != 1 {
		r.refuse(path, "must contain %s once, as in %s", tenantPlaceholder, multitenantIssuer)
		return
	} else if issuer.Preset != "entra-multitenant" && n > 0 {
		r.refuse(path, "contains %s, which is for the preset entra-multitenant: write the tenant's GUID", tenantPlaceholder)
		return
	}
	u := r.url(path, strings.Replace(id, tenantPlaceholder, "tenantid", 1), "an https URL", development)
	if u == nil {
		return
	}
	if u.RawQuery != "" || u.ForceQuery {
		r.refuse(path, "has a query, which an issuer never has: remove it")
	}
	switch issuer.Preset {
	case "entra":
		tenant, v2 := strings.CutSuffix(strings.TrimPrefix(u.Path, "/"), "/v2.0")
		if !v2 || !guidPattern.MatchString(tenant) {
			r.refuse(path, "of the preset entra ends in /<tenant GUID>/v2.0: for v1 tokens use the preset entra-v1, for several tenants entra-multitenant")
		}
	case "entra-v1":
		tenant, slash := strings.CutSuffix(strings.TrimPrefix(u.Path, "/"), "/")
		if !slash || !guidPattern.MatchString(tenant) {
			r.refuse(path, "of the preset entra-v1 ends in /<tenant GUID>/ with the final slash")
		}
	case "auth0":
		if !strings.HasSuffix(id, "/") {
			r.refuse(path, "of the preset auth0 ends in a slash: write %s/", clip(id))
		}
	case "okta":
		if !strings.HasPrefix(u.Path, "/oauth2/") {
			r.refuse(path, "of the preset okta has /oauth2/<authorization server> in it: tokens of the organisation's own server are for Okta alone")
		}
	case "oidc":
		if likely := productOf(u.Hostname()); likely != "" {
			r.warn(path, "looks like an issuer of %s: without its preset, what is peculiar to its tokens is not known", likely)
		}
	}
}

// productOf names the presets whose issuers have such a host.
func productOf(host string) string {
	for _, known := range []struct{ suffix, preset string }{
		{"login.microsoftonline.com", "entra"}, {"sts.windows.net", "entra-v1"},
		{".auth0.com", "auth0"}, {".okta.com", "okta"}, {".amazonaws.com", "cognito"},
	} {
		if strings.HasSuffix(host, known.suffix) {
			return known.preset
		}
	}
	return ""
}

// checkKeySource checks where the keys come from, and how long they last.
func (r *report) checkKeySource(path string, issuer *Issuer, cfg *Config) {
	if issuer.DiscoveryURL != "" {
		r.url(path+".discovery_url", issuer.DiscoveryURL, "an https URL", cfg.Development())
	}
	if issuer.JWKSURL != "" {
		r.url(path+".jwks_url", issuer.JWKSURL, "an https URL", cfg.Development())
	}
	switch {
	case issuer.DiscoveryURL != "" && issuer.JWKSURL != "":
		r.refuse(path+".discovery_url", "conflicts with jwks_url: remove one of them")
	case issuer.DiscoveryURL == "" && issuer.JWKSURL == "" && issuer.Preset == "entra-multitenant":
		r.refuse(path+".discovery_url", "is missing: the issuer is a template, so say where its metadata is, or set jwks_url")
	}
	if ttl := cfg.Authentication.OIDCJWKSCacheTTL; issuer.MaxStale < ttl || issuer.MaxStale > 168*time.Hour {
		r.refuse(path+".max_stale", "must be within oidc_jwks_cache_ttl, which is %s, and 168h, not %s", brief(ttl), brief(issuer.MaxStale))
	}
}

// checkIssuer checks which tokens are accepted.
func (r *report) checkIssuer(path string, issuer *Issuer) {
	for i, algorithm := range issuer.Algorithms {
		at := fmt.Sprintf("%s.algorithms[%d]", path, i)
		if strings.HasPrefix(algorithm, "HS") || strings.EqualFold(algorithm, "none") {
			r.refuse(at, "%s is never accepted: anybody who knows the public keys could make tokens", clip(algorithm))
			continue
		}
		if algorithm != "" {
			r.oneOf(at, algorithm, "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
		}
	}
	r.unique(path+".algorithms", issuer.Algorithms)
	r.oneOf(path+".typ", issuer.Typ, "any", "at+jwt")
	if issuer.MaxLifetime != 0 {
		within(r, path+".max_lifetime", issuer.MaxLifetime, time.Minute, 168*time.Hour)
	}
	r.unique(path+".clients", issuer.Clients)
	if issuer.Preset == "cognito" && len(issuer.Clients) == 0 {
		r.refuse(path+".clients", "is missing: Cognito's access tokens have no audience, so list the clients that are accepted")
	}
	if issuer.RequireScopePrefix != "" && issuer.Preset != "cognito" {
		r.refuse(path+".require_scope_prefix", "is for the preset cognito only: remove it; audiences do this for other issuers")
	}
}

// checkClaims checks the tenants with the claim that they are compared to.
func (r *report) checkClaims(path string, issuer *Issuer) {
	r.unique(path+".claims.scopes", issuer.Claims.Scopes)
	r.unique(path+".claims.roles", issuer.Claims.Roles)
	entra := strings.HasPrefix(issuer.Preset, "entra")
	switch {
	case issuer.Preset == "entra-multitenant" && len(issuer.Tenants) == 0:
		r.refuse(path+".tenants", "is missing: list the tenants that are accepted, or everybody's would be")
	case len(issuer.Tenants) > 0 && !entra && issuer.Claims.Tenant == "":
		r.refuse(path+".tenants", "needs claims.tenant, the name of the claim that they are compared to")
	}
	r.unique(path+".tenants", issuer.Tenants)
	if claim := issuer.Claims.Tenant; claim == "tid" || claim == "" && entra {
		for i, tenant := range issuer.Tenants {
			if tenant != "" && !guidPattern.MatchString(tenant) {
				r.refuse(fmt.Sprintf("%s.tenants[%d]", path, i), "must be a GUID in lower case, not %q", clip(tenant))
			}
		}
	}
}

// url parses an absolute https URL without user and fragment; nil if it is
// another thing. With development, http is accepted for loopback hosts. The form
// says in the message what is wanted.
func (r *report) url(path, text, form string, development bool) *url.URL {
	u, err := url.Parse(text)
	switch {
	case strings.Contains(text, "@") && (err != nil || u.User != nil):
		r.refuse(path, "holds a user name or password: remove it") // and never repeat it
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		r.refuse(path, "must be %s, not %q", form, clip(text))
	case u.Scheme == "http" && !development:
		r.refuse(path, "must be %s; http is for loopback in the development profile", form)
	case u.Scheme == "http" && !isLoopbackHost(u.Hostname()):
		r.refuse(path, "must be %s: the development profile allows http to localhost and loopback addresses only", form)
	case strings.Contains(text, "#"):
		r.refuse(path, "has a fragment (#): remove it")
	default:
		return u
	}
	return nil
}

func isLoopbackHost(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback() || strings.EqualFold(host, "localhost")
}
