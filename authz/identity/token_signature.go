package identity

import (
	"crypto"

	"github.com/golang-jwt/jwt/v5"
)

// methodOf returns the signature method of a JWS algorithm that may be
// configured, nil for every other: none and the HMAC family have no row here.
// PS* insist on the salt length of RFC 7518 §3.5, which the library's own
// methods leave open.
func methodOf(alg string) jwt.SigningMethod {
	switch alg {
	case "RS256":
		return jwt.SigningMethodRS256
	case "RS384":
		return jwt.SigningMethodRS384
	case "RS512":
		return jwt.SigningMethodRS512
	case "PS256":
		return strictPSS(jwt.SigningMethodPS256)
	case "PS384":
		return strictPSS(jwt.SigningMethodPS384)
	case "PS512":
		return strictPSS(jwt.SigningMethodPS512)
	case "ES256":
		return jwt.SigningMethodES256
	case "ES384":
		return jwt.SigningMethodES384
	case "ES512":
		return jwt.SigningMethodES512
	case "EdDSA":
		return jwt.SigningMethodEdDSA
	}
	return nil
}

func strictPSS(m *jwt.SigningMethodRSAPSS) jwt.SigningMethod {
	return &jwt.SigningMethodRSAPSS{SigningMethodRSA: m.SigningMethodRSA, Options: m.Options}
}

// verifySignature checks the signature with a key that was chosen for it and is
// strong enough (checkStrength). The library checks the kind of key, not the
// curve (RFC 8725 §3.1), so that is done here.
func (t *token) verifySignature(key crypto.PublicKey) *Refusal {
	method := methodOf(t.alg)
	if method == nil || !algorithmFits(t.alg, key) {
		return refuse(AlgorithmRefused, "the token's algorithm doesn't fit its key")
	}
	if method.Verify(t.signed, t.signature, key) != nil {
		return refuse(BadSignature, "the token's signature is wrong")
	}
	return nil
}
