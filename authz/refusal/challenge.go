package refusal

import (
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/authz"
)

// Challenge builds the WWW-Authenticate header of a refusal, which text words;
// empty without one.
func Challenge(d *authz.Decision, text string) string {
	var b challengeBuilder
	var scopes string // of the server, for a caller who has no token yet
	if d.Server != nil {
		scopes = strings.Join(d.Server.RequiredScopes, " ")
	}
	switch d.Reason.Challenge {
	case authz.NoChallenge:
		return ""
	case authz.DPoPToken:
		b.scheme("DPoP", "invalid_token", text)
		b.param("algs", "ES256 ES384 ES512 PS256 PS384 PS512 RS256 RS384 RS512 EdDSA")
	case authz.DPoPProof:
		b.scheme("DPoP", "invalid_dpop_proof", text)
		b.param("algs", "ES256 ES384 ES512 PS256 PS384 PS512 RS256 RS384 RS512 EdDSA")
	case authz.Credentials:
		b.scheme("Bearer", "", text)
		b.param("scope", scopes)
	case authz.InvalidRequest:
		b.scheme("Bearer", "invalid_request", text)
	case authz.InvalidToken:
		b.scheme("Bearer", "invalid_token", text)
		b.param("scope", scopes)
	case authz.InsufficientScope:
		b.scheme("Bearer", "insufficient_scope", text)
		b.param("scope", strings.Join(d.Scopes, " "))
	case authz.StepUp:
		b.scheme("Bearer", "insufficient_user_authentication", text)
		b.param("acr_values", strings.Join(d.Tool.StepUp.ACRValues, " "))
		if age := d.Tool.StepUp.MaxAge; age > 0 {
			b.param("max_age", strconv.FormatInt(int64(age/time.Second), 10))
		}
	}
	if d.Server != nil {
		b.param("resource_metadata", d.Server.MetadataURL())
	}
	return b.String()
}

type challengeBuilder struct {
	strings.Builder
	params int
}

func (b *challengeBuilder) scheme(scheme, code, text string) {
	b.WriteString(scheme)
	if code != "" {
		b.param("error", code)
		b.param("error_description", text)
	}
}

// param adds a quoted parameter; an empty one is left out. Characters that RFC
// 6750 §3 doesn't allow in a value become a question mark.
func (b *challengeBuilder) param(name, value string) {
	if value == "" {
		return
	}
	if b.params > 0 {
		b.WriteByte(',')
	}
	b.params++
	b.WriteByte(' ')
	b.WriteString(name)
	b.WriteString(`="`)
	for i := range len(value) {
		if c := value[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			b.WriteByte('?')
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
}
