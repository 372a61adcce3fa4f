package identity

import (
	"encoding/base64"
	"strings"
)

// Limits that hold before anything is parsed.
const (
	defaultMaxTokenBytes = 16 << 10
	maxHeaderBytes       = 4 << 10 // of the encoded JOSE header
)

// token is a compact JWS taken apart; nothing in it is believed yet.
type token struct {
	signed    string // header and payload with the dot between, as received
	signature []byte
	alg       string
	kid       string
	typ       string
	header    map[string]any
	claims    map[string]any
}

// strictBase64 refuses padding and set trailing bits, so that a token has one
// spelling only. (It skips CR and LF; splitToken lets neither through.)
func strictBase64() *base64.Encoding { return base64.RawURLEncoding.Strict() }

// parseToken takes a compact JWS (RFC 7515 §7.1) apart, strictly. It is used
// for access tokens and for DPoP proofs.
func parseToken(raw string, maxBytes int) (*token, *Refusal) {
	if len(raw) > maxBytes {
		return nil, refuse(Malformed, "the token is too long")
	}
	header, payload, signature, ok := splitToken(raw)
	if !ok {
		return nil, refuse(Malformed, "the token is not three base64url parts")
	}
	if len(header) > maxHeaderBytes {
		return nil, refuse(Malformed, "the token's header is too long")
	}
	t := &token{signed: raw[:len(header)+1+len(payload)]}
	var r *Refusal
	if t.header, r = decodePart(header); r != nil {
		return nil, r
	}
	if r := t.readHeader(); r != nil {
		return nil, r
	}
	if t.claims, r = decodePart(payload); r != nil {
		return nil, r
	}
	var err error
	if t.signature, err = strictBase64().DecodeString(signature); err != nil {
		return nil, refuse(Malformed, "the token's signature is not base64url")
	}
	return t, nil
}

// splitToken cuts at exactly two dots and lets only the base64url alphabet
// through: five parts (JWE), the JSON serialization, line breaks and padding
// end here.
func splitToken(raw string) (header, payload, signature string, ok bool) {
	dots := [2]int{}
	n := 0
	for i := range len(raw) {
		switch c := raw[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.' && n < 2:
			dots[n] = i
			n++
		default:
			return "", "", "", false
		}
	}
	if n != 2 {
		return "", "", "", false
	}
	return raw[:dots[0]], raw[dots[0]+1 : dots[1]], raw[dots[1]+1:], true
}

func decodePart(part string) (map[string]any, *Refusal) {
	data, err := strictBase64().DecodeString(part)
	if err != nil {
		return nil, refuse(Malformed, "the token is not base64url")
	}
	object, err := decodeObject(data)
	if err != nil {
		return nil, refuse(Malformed, "the token's JSON: "+err.Error())
	}
	return object, nil
}

// readHeader checks what holds for every JWS here, whoever signed it.
//
// Keys that a token brings along (jwk, x5c) or points to (jku, x5u) are never
// used or fetched (RFC 8725 §3.10); a token with one is refused rather than
// verified without it, because nobody who is honest here sends one. A DPoP
// proof carries jwk and is excepted by its typ, which no access token may have.
func (t *token) readHeader() *Refusal {
	for _, name := range [...]string{"crit", "b64"} { // RFC 7515 §4.1.11, RFC 7797: we implement no extension
		if _, ok := t.header[name]; ok {
			return refuse(CriticalHeader, "the token's header has "+name)
		}
	}
	var ok bool
	if t.alg, ok = t.header["alg"].(string); !ok {
		return refuse(Malformed, "the token's header has no alg")
	}
	if methodOf(t.alg) == nil {
		return refuse(AlgorithmRefused, "the token's algorithm is never accepted")
	}
	if typ, present := t.header["typ"]; present {
		if t.typ, ok = typ.(string); !ok {
			return refuse(Malformed, "the token's typ is not a string")
		}
	}
	for _, name := range [...]string{"zip", "enc", "cty", "jwk", "jku", "x5u", "x5c"} {
		if name == "jwk" && isProofType(t.typ) {
			continue
		}
		if _, ok := t.header[name]; ok {
			return refuse(Malformed, "the token's header has "+name)
		}
	}
	if kid, present := t.header["kid"]; present && kid != nil {
		if t.kid, ok = kid.(string); !ok {
			return refuse(Malformed, "the token's kid is not a string")
		}
	}
	return nil
}

// mediaType is typ in lower case without the "application/" that RFC 7515
// §4.1.9 lets senders leave away.
func mediaType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// refuse makes a refusal. Detail is shown to the caller, inside a header: it
// is our own text in ASCII, never a piece of the token.
func refuse(cause, detail string) *Refusal { return &Refusal{Cause: cause, Detail: detail} }
