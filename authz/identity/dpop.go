package identity

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Bounds of DPoP proofs.
const (
	maxProofBytes = 8 << 10
	maxProofAge   = time.Minute // beyond the clock skew; a proof is made for one request
)

func isProofType(typ string) bool { return mediaType(typ) == "dpop+jwt" }

// checkProof checks the DPoP proof of one request as RFC 9449 §4.3 lists it,
// against the key that the token is bound to (jkt).
func (v *Verifier) checkProof(ctx context.Context, c *Credentials, jkt string, digest [sha256.Size]byte, now time.Time) *Refusal {
	switch {
	case c.DPoPLines == 0:
		return refuse(DPoPRequired, "the token is bound to a DPoP key; a DPoP header is missing")
	case c.DPoPLines > 1:
		return refuse(DPoPInvalid, "more than one DPoP header")
	}
	proof, r := parseToken(c.DPoP, maxProofBytes)
	if r != nil {
		return refuse(DPoPInvalid, "DPoP proof: "+r.Detail)
	}
	if !isProofType(proof.typ) {
		return refuse(DPoPInvalid, "the proof's typ is not dpop+jwt")
	}
	key, thumbprint, r := proof.ownKey()
	if r != nil {
		return r
	}
	if thumbprint != jkt { // before the signature: a stranger's key is not worth one
		return refuse(DPoPInvalid, "the proof's key is not the one that the token is bound to")
	}
	if proof.verifySignature(key) != nil {
		return refuse(DPoPInvalid, "the proof's signature is wrong")
	}
	return v.checkProofClaims(ctx, c, proof, jkt, digest, now)
}

// ownKey returns the key that a proof brings along, and its thumbprint.
func (t *token) ownKey() (crypto.PublicKey, string, *Refusal) {
	jwk, ok := t.header["jwk"].(map[string]any)
	if !ok {
		return nil, "", refuse(DPoPInvalid, "the proof's header has no jwk")
	}
	for _, private := range [...]string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, ok := jwk[private]; ok {
			return nil, "", refuse(DPoPInvalid, "the proof's jwk is not a public key")
		}
	}
	members := make(map[string]json.RawMessage, len(jwk))
	for name, value := range jwk {
		members[name], _ = json.Marshal(value) // it came from JSON
	}
	kty, _ := jwk["kty"].(string)
	parsed, err := keyMaterial(kty, members) // with checkStrength
	if err != nil || !algorithmFits(t.alg, parsed.Public) || parsed.Alg != "" && parsed.Alg != t.alg {
		return nil, "", refuse(DPoPInvalid, "the proof's jwk is not a key for its alg")
	}
	return parsed.Public, thumbprint(kty, jwk), nil
}

// thumbprint is RFC 7638's, of a jwk that keyMaterial has accepted.
func thumbprint(kty string, jwk map[string]any) string {
	names := map[string][]string{"RSA": {"e", "n"}, "EC": {"crv", "x", "y"}, "OKP": {"crv", "x"}}[kty]
	required := map[string]any{"kty": kty}
	for _, name := range names {
		required[name] = jwk[name]
	}
	text, _ := json.Marshal(required) // in the order of the names, without spaces
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// checkProofClaims checks that the proof was made for this request, this token
// and now, and that it wasn't used before.
func (v *Verifier) checkProofClaims(ctx context.Context, c *Credentials, proof *token, jkt string, digest [sha256.Size]byte, now time.Time) *Refusal {
	claims := claimReader{claims: proof.claims}
	jti, htu := claims.text("jti", "jti"), claims.text("htu", "htu")
	issued, present := claims.date("iat")
	origin, path, ok := splitTarget(c.URL)
	switch {
	case claims.refusal != nil:
		return refuse(DPoPInvalid, "DPoP proof: "+claims.refusal.Detail)
	case jti == "":
		return refuse(DPoPInvalid, "the proof has no jti")
	case proof.claims["htm"] != c.Method:
		return refuse(DPoPInvalid, "the proof's htm is not this request's method")
	case !ok || !sameTarget(htu, origin, path):
		return refuse(DPoPInvalid, "the proof's htu is not this request's URL")
	case proof.claims["ath"] != base64.RawURLEncoding.EncodeToString(digest[:]):
		return refuse(DPoPInvalid, "the proof's ath is not the hash of the token")
	case !present || issued.After(now.Add(v.skew)) || issued.Before(now.Add(-maxProofAge-v.skew)):
		return refuse(DPoPInvalid, "the proof's iat is not now")
	}
	// A proof is refused by its age once it is forgotten here. The target is no part
	// of what is remembered: one path has several spellings, and a client makes a
	// jti for one proof.
	until := issued.Add(maxProofAge + v.skew + time.Second)
	_, seen, err := v.replays.Remember(ctx, replayKey("dpop", jkt, jti), digest, until)
	switch {
	case err != nil:
		return refuse(StoreUnavailable, "the store of used proofs is not available")
	case seen:
		return refuse(DPoPReplayed, "the proof's jti was used before")
	}
	return nil
}

// sameTarget compares htu, without its query and fragment, with a request's
// target after the normalisation that RFC 9449 §4.3 asks for.
func sameTarget(htu, origin, path string) bool {
	htuOrigin, htuPath, ok := splitTarget(htu)
	return ok && htuOrigin == origin && (htuPath == path || samePath(htuPath, path))
}

// splitTarget takes a URL apart: scheme and authority in lower case without a
// default port (RFC 3986 §6.2.3), and the path as it is written.
func splitTarget(text string) (origin, path string, ok bool) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" {
		return "", "", false
	}
	host := strings.TrimSuffix(strings.ToLower(u.Host), ":")
	switch u.Scheme { // url.Parse has lowered it
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	default:
		return "", "", false
	}
	path = u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return u.Scheme + "://" + host, path, true
}

// samePath compares paths by their segments' text, so that %7e, %7E and ~ are
// the same (RFC 3986 §6.2.2) while %2F is no slash.
func samePath(a, b string) bool {
	return slices.EqualFunc(strings.Split(a, "/"), strings.Split(b, "/"), func(a, b string) bool {
		a, errA := url.PathUnescape(a)
		b, errB := url.PathUnescape(b)
		return errA == nil && errB == nil && a == b
	})
}
