package identity

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// issuer is one configured issuer. It is immutable.
type issuer struct {
	IssuerConfig
	preset preset
	keys   Keys
	// The parts of a template around the tenant.
	beforeTenant, afterTenant string
}

// issuerOf finds the issuer by the exact iss claim, which decides whose keys may
// verify the token (RFC 8725 §3.8). tenant is the one that iss names where the
// configured issuer is a template.
func (v *Verifier) issuerOf(t *token) (is *issuer, tenant string, r *Refusal) {
	c := claimReader{claims: t.claims}
	iss := c.text("iss", "iss")
	switch {
	case c.refusal != nil:
		return nil, "", c.refusal
	case iss == "":
		return nil, "", refuse(MissingClaim, "the token has no iss")
	}
	if is := v.exact[iss]; is != nil {
		return is, "", nil
	}
	for _, is := range v.templates {
		rest, begins := strings.CutPrefix(iss, is.beforeTenant)
		tenant, ends := strings.CutSuffix(rest, is.afterTenant)
		if begins && ends && guidPattern.MatchString(tenant) {
			return is, tenant, nil
		}
	}
	return nil, "", refuse(UnknownIssuer, "the token's iss is not a configured issuer")
}

// checkSignature verifies the token with the one key of this issuer that it
// names.
func (is *issuer) checkSignature(ctx context.Context, t *token, tenant string) *Refusal {
	if !slices.Contains(is.Algorithms, t.alg) {
		return refuse(AlgorithmRefused, "alg is not one that issuer "+is.Name+" may use")
	}
	if t.kid == "" {
		return refuse(MissingKeyID, "the token's header has no kid")
	}
	key, err := is.keys.KeyWait(ctx, t.kid, t.alg)
	if err != nil {
		var r *Refusal
		if errors.As(err, &r) {
			return r
		}
		return refuse(KeysUnavailable, "no usable key set of issuer "+is.Name)
	}
	if !is.owns(&key, t, tenant) {
		return refuse(UnknownKeyID, "the key belongs to another tenant of issuer "+is.Name)
	}
	return t.verifySignature(key.Public)
}

// owns reports whether the key may sign for the token's iss. Entra publishes
// the keys of many tenants in one set, each with an issuer: a template for all
// tenants, or the one tenant that it is for. Keys of its v1 metadata have none;
// if a v1 issuer's keys come from v2 metadata, they name the same tenant's v2
// issuer.
func (is *issuer) owns(key *Key, t *token, tenant string) bool {
	if key.Issuer == "" || key.Issuer == t.claims["iss"] {
		return true
	}
	if tenant == "" {
		tenant, _ = t.claims["tid"].(string)
	}
	if !guidPattern.MatchString(tenant) {
		return false
	}
	named := strings.ReplaceAll(key.Issuer, tenantPlaceholder, tenant)
	return named == t.claims["iss"] ||
		is.Preset == PresetEntraV1 && strings.HasSuffix(named, "/"+tenant+"/v2.0")
}

// checkType refuses other tokens of this issuer than access tokens.
func (is *issuer) checkType(t *token) *Refusal {
	if r := t.checkType(is.Typ); r != nil {
		return r
	}
	return is.preset.accessToken(t)
}

// read takes the claims of a token whose signature is right, and checks those
// that are the same for every request.
func (is *issuer) read(t *token, tenant string) (*verifiedToken, *Refusal) {
	c := claimReader{claims: t.claims}
	verified := &verifiedToken{issuer: is, times: c.lifetime(is.MaxLifetime)}
	audiences := c.list("aud", "aud")
	if audiences == nil && !is.preset.clientAsAudience {
		c.fail(MissingClaim, "the token has no aud")
	}
	verified.nonce = c.text("nonce", "nonce")
	verified.binding = c.binding()
	verified.principal = c.principal(is, verified.times)
	verified.principal.Audiences = audiences
	if c.refusal != nil {
		return nil, c.refusal
	}
	return verified, is.checkLists(verified.principal, tenant)
}

// checkLists holds the principal against the issuer's allow-lists.
func (is *issuer) checkLists(p *Principal, tenant string) *Refusal {
	switch {
	case tenant != "" && p.Tenant != tenant:
		return refuse(WrongTenant, "the token's tenant is not the one of its iss")
	case len(is.Tenants) > 0 && !slices.Contains(is.Tenants, p.Tenant):
		return refuse(WrongTenant, "the token's tenant is not on the list of issuer "+is.Name)
	case len(is.Clients) > 0 && !slices.Contains(is.Clients, p.Client):
		return refuse(WrongClient, "the token's client is not on the list of issuer "+is.Name)
	case is.RequireScopePrefix != "" && !slices.ContainsFunc(p.Scopes, func(scope string) bool {
		return strings.HasPrefix(scope, is.RequireScopePrefix)
	}):
		return refuse(WrongAudience, "the token has no scope of this resource server")
	}
	return nil
}
