package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"net/url"
	"time"
)

// binding says by which keys the sender of a token must show itself; empty
// strings for a plain bearer token. Both are base64url of a SHA-256.
type binding struct {
	proofKey    string // cnf.jkt: thumbprint of the DPoP key (RFC 9449 §6.1)
	certificate string // cnf.x5t#S256: of the client certificate (RFC 8705 §3.1)
}

// thumbprintLen is the length of a SHA-256 in base64url.
const thumbprintLen = 43

// binding reads cnf (RFC 7800 §3.1). A member that isn't enforced here makes the
// token unusable: it must never pass as a bearer token.
func (c *claimReader) binding() (b binding) {
	v, present := c.claims["cnf"]
	if !present {
		return b
	}
	cnf, ok := v.(map[string]any)
	if !ok || len(cnf) == 0 {
		c.fail(BindingUnsupported, "the token's cnf names no key")
		return b
	}
	for name, value := range cnf {
		// Checked in full, or an empty value would be no binding at all.
		thumbprint, _ := value.(string)
		sum, err := strictBase64().DecodeString(thumbprint)
		if err != nil || len(sum) != sha256.Size || len(thumbprint) != thumbprintLen {
			thumbprint = ""
		}
		switch {
		case name == "jkt" && thumbprint != "":
			b.proofKey = thumbprint
		case name == "x5t#S256" && thumbprint != "":
			b.certificate = thumbprint
		default:
			c.fail(BindingUnsupported, "the token's cnf has a member that can't be checked here")
		}
	}
	return b
}

// checkSender checks that the sender holds the keys that the token is bound to.
// It is repeated for every request.
func (v *Verifier) checkSender(ctx context.Context, t *verifiedToken, scheme string, c *Credentials, digest [sha256.Size]byte, now time.Time) *Refusal {
	switch {
	case t.binding.proofKey == "" && scheme == dpop:
		return refuse(DPoPInvalid, "the token is not bound to a DPoP key; send it as Bearer")
	case t.binding.proofKey != "" && scheme != dpop: // RFC 9449 §7.2: a downgrade
		return refuse(DPoPRequired, "the token is bound to a DPoP key; send it as DPoP, with a proof")
	}
	if t.binding.certificate != "" {
		if r := checkCertificate(c.ClientCertificate, t.binding.certificate); r != nil {
			return r
		}
	}
	if t.binding.proofKey != "" {
		return v.checkProof(ctx, c, t.binding.proofKey, digest, now) // last, as it uses the proof up
	}
	return nil
}

// maxCertificateBytes bounds the URL-encoded PEM of a client certificate.
const maxCertificateBytes = 32 << 10

// checkCertificate compares a client certificate, as Envoy hands it over
// (URL-encoded PEM, the client's own first), with its thumbprint. That the
// client holds its key, and who vouches for it, was the TLS handshake's matter.
func checkCertificate(encoded, thumbprint string) *Refusal {
	switch {
	case encoded == "":
		return refuse(CertificateMissing, "the token is bound to a client certificate; connect with it")
	case len(encoded) > maxCertificateBytes:
		return refuse(CertificateWrong, "the client certificate is too long")
	}
	text, err := url.PathUnescape(encoded)
	if err != nil {
		return refuse(CertificateWrong, "the client certificate is not URL-encoded PEM")
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return refuse(CertificateWrong, "the client certificate is not PEM")
	}
	sum := sha256.Sum256(block.Bytes)
	if base64.RawURLEncoding.EncodeToString(sum[:]) != thumbprint {
		return refuse(CertificateWrong, "the client certificate is not the one that the token is bound to")
	}
	return nil
}
