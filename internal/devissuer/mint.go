package devissuer

import (
	"crypto"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// TokenOptions describes a token, right or wrong. The zero value is a valid
// token without an audience, without scopes, for the subject "dev-user".
type TokenOptions struct {
	Subject  string   // default "dev-user"
	Client   string   // client_id, azp; default "dev-client"
	Audience []string // one: a string, as most issuers write it; several: an array
	Scopes   []string
	Roles    []string

	// IssuedAt defaults to now.
	IssuedAt time.Time
	// Lifetime counts from IssuedAt, default the issuer's. To get an expired
	// token, set IssuedAt to the past.
	Lifetime time.Duration
	// ElevatedAt adds the elevation claim (elevation_status.elevated_at), with
	// ElevatedFor as its duration_seconds unless that is 0.
	ElevatedAt  time.Time
	ElevatedFor time.Duration

	// Claims are added or replace; a nil value removes the claim.
	Claims map[string]any
	// Header members are added or replace; a nil value removes the member. The
	// signature fits the key that signs, whatever kid or alg say here.
	Header map[string]any
	// KeyID signs with this key of the ring rather than with the current one,
	// published or not.
	KeyID string
	// Key signs instead of any key of the issuer, with Method (default RS256):
	// a forgery.
	Key    crypto.PrivateKey
	Method jwt.SigningMethod
}

// Mint signs a token.
func (i *Issuer) Mint(o TokenOptions) (string, error) {
	token := &jwt.Token{
		Header: map[string]any{"alg": "RS256", "typ": "at+jwt"},
		Claims: i.claims(o),
		Method: jwt.SigningMethodRS256,
	}
	var key crypto.PrivateKey
	switch {
	case o.Key != nil:
		key = o.Key
		token.Header["kid"] = i.KeyID()
		if o.Method != nil {
			token.Method = o.Method
			token.Header["alg"] = o.Method.Alg()
		}
	case o.KeyID != "":
		k := i.keys.find(o.KeyID)
		if k == nil {
			return "", fmt.Errorf("devissuer: mint: no key %q", o.KeyID)
		}
		key, token.Header["kid"] = k.private, k.id
	default:
		k := i.keys.signer()
		key, token.Header["kid"] = k.private, k.id
	}
	replace(token.Header, o.Header)
	signed, err := token.SignedString(key)
	if err != nil {
		return "", fmt.Errorf("devissuer: mint: %w", err)
	}
	return signed, nil
}

// claims are those of an access token (RFC 9068 §2.2), with azp beside
// client_id because issuers differ in which they write.
func (i *Issuer) claims(o TokenOptions) jwt.MapClaims {
	if o.Subject == "" {
		o.Subject = "dev-user"
	}
	if o.Client == "" {
		o.Client = "dev-client"
	}
	if o.IssuedAt.IsZero() {
		o.IssuedAt = i.cfg.Now()
	}
	if o.Lifetime == 0 {
		o.Lifetime = i.cfg.Lifetime
	}
	c := jwt.MapClaims{
		"iss":       i.url,
		"sub":       o.Subject,
		"client_id": o.Client,
		"azp":       o.Client,
		"iat":       o.IssuedAt.Unix(),
		"exp":       o.IssuedAt.Add(o.Lifetime).Unix(),
		"jti":       uuid.NewString(),
	}
	switch len(o.Audience) {
	case 0:
	case 1:
		c["aud"] = o.Audience[0]
	default:
		c["aud"] = o.Audience
	}
	if len(o.Scopes) > 0 {
		c["scope"] = strings.Join(o.Scopes, " ")
	}
	if len(o.Roles) > 0 {
		c["roles"] = o.Roles
	}
	if !o.ElevatedAt.IsZero() {
		elevation := map[string]any{"elevated_at": o.ElevatedAt.UTC().Format(time.RFC3339)}
		if o.ElevatedFor != 0 {
			elevation["duration_seconds"] = int64(o.ElevatedFor / time.Second)
		}
		c["elevation_status"] = elevation
	}
	replace(c, o.Claims)
	return c
}

// replace merges changes into m; nil values delete.
func replace(m, changes map[string]any) {
	maps.Copy(m, changes)
	for name, value := range changes {
		if value == nil {
			delete(m, name)
		}
	}
}
