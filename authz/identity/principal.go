// Package identity finds out who is asking: it verifies access tokens of
// several issuers, their binding to a sender, and their revocation.
package identity

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"
)

// Principal is the verified caller. It is immutable and may be shared by
// requests that carry the same token.
type Principal struct {
	ID       string // see PrincipalID
	Issuer   string // configured name of the issuer
	IssuerID string // the iss claim
	Subject  string
	Client   string
	Tenant   string
	Actor    string // act.sub of a delegated token; empty otherwise
	Person   string // human behind the client, of issuers allowed to name one; empty otherwise

	Scopes []string
	Roles  []string
	// Audiences are whom the token is for; none: its client, which its issuer allows,
	// stands for them.
	Audiences []string

	TokenID   string // jti, or the issuer's word for it
	SessionID string // sid
	IssuedAt  time.Time
	Expires   time.Time
	AuthTime  time.Time // zero if the token has none
	ACR       string
	AMR       []string

	// Elevation is set only for issuers that are trusted to elevate.
	Elevation *Elevation

	// Claims are all claims of the token, for conditions; numbers are json.Number.
	Claims map[string]any
}

// HasScope reports whether the token grants exactly this scope.
func (p *Principal) HasScope(scope string) bool {
	for _, s := range p.Scopes {
		if s == scope {
			return true
		}
	}
	return false
}

// Claim is the text of a claim, by the name of a top-level member; empty if there is
// none or it is no text.
func (p *Principal) Claim(name string) string {
	text, _ := p.Claims[name].(string)
	return text
}

// Elevation is the token's claim that its subject is elevated (elevation_status).
type Elevation struct {
	At       time.Time     // elevated_at, RFC 3339
	Duration time.Duration // duration_seconds if the claim has it; 0: the configured one applies
}

// PrincipalID names a caller across tokens: base64url of the SHA-256 over the
// length-prefixed issuer, tenant, subject, client and actor. Scopes and roles
// are no part of it, so a refreshed token is the same caller. Without a
// subject the client takes its place.
func PrincipalID(issuer, tenant, subject, client, actor string) string {
	if subject == "" {
		subject = client
	}
	h := sha256.New()
	var n [8]byte
	for _, s := range [...]string{issuer, tenant, subject, client, actor} {
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// Credentials are what one request presents.
type Credentials struct {
	Authorization      string // value of the first Authorization header
	AuthorizationLines int    // how many Authorization headers there were
	DPoP               string // value of the first DPoP header
	DPoPLines          int
	QueryToken         bool // the query carries access_token
	Method             string
	URL                string // scheme://authority/path without query, as the client sees it (RFC 9449 htu); only read for DPoP
	ClientCertificate  string // URL-encoded PEM from the proxy's TLS session; empty without one
}

// Target is what a token must have been issued for.
type Target struct {
	Audiences []string // any of them
	Issuers   []string // names of the issuers that are accepted; empty: all
}

// Refusal says why credentials are not accepted. Cause is one of the constants
// below and names a row of the table of reasons.
type Refusal struct {
	Cause  string
	Detail string
}

func (r *Refusal) Error() string { return fmt.Sprintf("identity: %s: %s", r.Cause, r.Detail) }

// The causes of a refusal.
const (
	Missing            = "missing"             // no credentials at all
	Ambiguous          = "ambiguous"           // two Authorization headers, or a token in the query
	Malformed          = "malformed"           // not a JWS, duplicate members, over a size limit …
	AlgorithmRefused   = "algorithm"           // not on the issuer's allow-list
	CriticalHeader     = "critical_header"     // crit, or b64=false
	MissingKeyID       = "missing_kid"         //
	UnknownKeyID       = "unknown_kid"         //
	BadSignature       = "signature"           //
	UnknownIssuer      = "issuer"              // not configured, or not accepted for this server
	WrongAudience      = "audience"            //
	Expired            = "expired"             //
	NotYetValid        = "not_yet_valid"       // nbf or iat in the future
	LifetimeTooLong    = "lifetime"            //
	WrongTokenType     = "token_type"          // ID, refresh or logout token, client assertion …
	WrongTenant        = "tenant"              //
	WrongClient        = "client"              // not on the issuer's allow-list of clients
	MissingClaim       = "missing_claim"       //
	NonceReplayed      = "nonce"               // another token with the same nonce
	BindingUnsupported = "binding_unsupported" // a cnf member that can't be checked
	DPoPRequired       = "dpop_required"       // bound by cnf.jkt, presented as bearer or without a proof
	DPoPInvalid        = "dpop_invalid"        //
	DPoPReplayed       = "dpop_replayed"       //
	CertificateMissing = "certificate_missing" // bound by cnf.x5t#S256, no client certificate
	CertificateWrong   = "certificate_mismatch"
	KeysUnavailable    = "keys_unavailable"  // no usable key set, or older than max_stale: 503, not 401
	StoreUnavailable   = "store_unavailable" // replay store away: 503
)
