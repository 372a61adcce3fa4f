package idempotency

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/dunglas/httpsfv"
)

// A Key is the SHA-256 over its domain and its parts, each behind its length in
// four bytes, big endian: no two pairs of caller and key look the same. Keys
// outlive a release: any change is a new domain.
const (
	keyDomain     = "sallyport/idempotency/key/1"
	derivedDomain = "sallyport/idempotency/derived/1"
)

// KeyOf is the claim of a caller's own key. principal is the PrincipalID of a
// caller who has been verified: callers without one would share their keys.
func KeyOf(principal, clientKey string) Key {
	return hashed(keyDomain, principal, clientKey)
}

// DerivedKey is the claim of a caller who chose no key: the same call is the
// same key. fingerprint is the digest of the canonical call.
func DerivedKey(principal string, fingerprint [32]byte) Key {
	return hashed(derivedDomain, principal, string(fingerprint[:]))
}

func hashed(parts ...string) Key {
	b := make([]byte, 0, 512) // most fit, and stay on the stack
	for _, part := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part))) //nolint:gosec // header values and ids
		b = append(b, part...)
	}
	return sha256.Sum256(b)
}

const (
	maxKeyLen    = 255
	maxHeaderLen = 1024 // parameters and quotes included
)

// ParseHeader reads the header Idempotency-Key
// (draft-ietf-httpapi-idempotency-key-header-07 §2.1): a structured-field string
// (RFC 8941), whose parameters are ignored, or the bare text that most clients
// send. Both ways give the same key, of 1 to 255 visible ASCII characters; a
// bare one has no comma, semicolon, quote or backslash. lines is how many header
// lines there were: more than one is a list, which is refused.
func ParseHeader(value string, lines int) (string, error) {
	key, err := parseHeader(value, lines)
	if err != nil {
		return "", fmt.Errorf("Idempotency-Key: %w", err)
	}
	return key, nil
}

func parseHeader(value string, lines int) (string, error) {
	value = strings.Trim(value, " \t")
	switch {
	case lines > 1:
		return "", fmt.Errorf("there are %d header lines, and only one key can count", lines)
	case value == "":
		return "", errors.New("is empty")
	case len(value) > maxHeaderLen:
		return "", fmt.Errorf("is longer than %d bytes", maxHeaderLen)
	}
	key := value
	if value[0] == '"' {
		item, err := httpsfv.UnmarshalItem([]string{value})
		if err != nil {
			return "", errors.New("begins with a quote, but is not one string of a structured field (RFC 8941)")
		}
		key, _ = item.Value.(string) // it begins with a quote
	} else if i := strings.IndexAny(value, "\",;\\"); i >= 0 {
		return "", fmt.Errorf("has %q at byte %d: a key with it must be a quoted string (RFC 8941), and a list is no key", value[i], i)
	}
	if len(key) == 0 || len(key) > maxKeyLen {
		return "", fmt.Errorf("the key has %d characters, not 1 to %d", len(key), maxKeyLen)
	}
	for i := range len(key) {
		if key[i] < 0x21 || key[i] > 0x7e {
			return "", fmt.Errorf("the key has a character at %d that is not visible ASCII", i)
		}
	}
	return key, nil
}
