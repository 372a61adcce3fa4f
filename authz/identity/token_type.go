package identity

import (
	"encoding/json"
	"strings"
)

// checkType refuses, for every issuer, what is a JWT of that issuer but no
// access token (RFC 8725 §3.12). The presets add each provider's own marks.
func (t *token) checkType(policy string) *Refusal {
	switch typ := mediaType(t.typ); {
	case typ == TypAt:
	case policy == TypAny && (typ == "jwt" || typ == ""):
	default:
		return refuse(WrongTokenType, "the token's typ is not that of an access token")
	}
	// at_hash and c_hash bind an ID token to what was issued beside it (OpenID
	// Connect Core §3.3.2.11); events makes a logout or security event token.
	for _, name := range [...]string{"at_hash", "c_hash", "s_hash", "events"} {
		if t.has(name) {
			return refuse(WrongTokenType, "the token has "+name+", so it is not an access token")
		}
	}
	if use, present := t.claims["token_use"]; present && use != "access" {
		return refuse(WrongTokenType, "the token's token_use is not access")
	}
	if kind, present := t.claims["typ"]; present && !isAccessKind(kind) {
		return refuse(WrongTokenType, "the token's typ claim is not that of an access token")
	}
	// A client assertion (RFC 7523 §3) is issued by its subject.
	if sub, ok := t.claims["sub"].(string); ok && sub == t.claims["iss"] {
		return refuse(WrongTokenType, "the token is issued by its own subject")
	}
	return nil
}

// isAccessKind knows Keycloak's typ claim: Bearer, or DPoP when bound to a key;
// ID, Refresh, Offline and Logout are its other tokens.
func isAccessKind(kind any) bool {
	s, ok := kind.(string)
	return ok && (strings.EqualFold(s, "Bearer") || strings.EqualFold(s, "DPoP") || mediaType(s) == TypAt)
}

func (t *token) has(name string) bool {
	_, ok := t.claims[name]
	return ok
}

// hasAny reports whether one of the claims is there.
func (t *token) hasAny(names ...string) bool {
	for _, name := range names {
		if t.has(name) {
			return true
		}
	}
	return false
}

// marked reports a positive mark of an access token: what only they have.
func (t *token) marked() bool {
	return mediaType(t.typ) == TypAt || t.hasAny("scope", "scp", "permissions") || t.claims["token_use"] == "access"
}

// checkNonce refuses a token with a nonce and no mark of an access token: the
// nonce is at home in ID tokens (OpenID Connect Core §2).
func (t *token) checkNonce() *Refusal {
	if t.has("nonce") && !t.marked() {
		return refuse(WrongTokenType, "the token looks like an ID token")
	}
	return nil
}

// oidcAccessToken is the rule for providers of which nothing is known. An ID
// token needn't have a nonce, and may be issued for our audience; client_id is a
// claim of access tokens alone (RFC 9068 §2.2).
func oidcAccessToken(t *token) *Refusal {
	switch {
	case isAccessKindClaim(t):
		return nil
	case !t.marked() && !t.has("client_id"):
		return refuse(WrongTokenType, "the token has no mark of an access token: typ at+jwt, a scope or client_id")
	}
	return t.checkNonce()
}

func isAccessKindClaim(t *token) bool { return t.has("typ") && isAccessKind(t.claims["typ"]) }

// entraAccessToken: user tokens have scp, application tokens have roles with
// the client; an ID token may have roles, but neither scp nor a client, and it
// can be issued for the same audience.
func entraAccessToken(t *token) *Refusal {
	switch {
	case t.has("scp"):
	case t.has("nonce"):
		return refuse(WrongTokenType, "the token looks like an ID token")
	case t.claims["idtyp"] == "app", t.has("roles") && t.hasAny("azp", "appid"):
	default:
		return refuse(WrongTokenType, "the token has neither scp nor application roles")
	}
	return nil
}

// auth0AccessToken: ID tokens have no client claim and no permissions.
func auth0AccessToken(t *token) *Refusal {
	if !t.marked() && !t.hasAny("azp", "client_id", "gty") {
		return refuse(WrongTokenType, "the token has no mark of an access token")
	}
	if t.has("gty") {
		return nil
	}
	return t.checkNonce()
}

func cognitoAccessToken(t *token) *Refusal {
	if t.claims["token_use"] != "access" {
		return refuse(WrongTokenType, "the token's token_use is not access")
	}
	return nil
}

// oktaAccessToken: cid and scp are in every access token, in no ID token.
func oktaAccessToken(t *token) *Refusal {
	if !t.has("cid") || !t.has("scp") {
		return refuse(WrongTokenType, "the token has no cid and scp, so it is not an access token")
	}
	if ver, present := t.claims["ver"]; present && ver != json.Number("1") {
		return refuse(WrongTokenType, "the token's ver is not 1")
	}
	return nil
}

func keycloakAccessToken(t *token) *Refusal {
	if !isAccessKindClaim(t) {
		return refuse(WrongTokenType, "the token's typ claim is not Bearer")
	}
	return nil
}
