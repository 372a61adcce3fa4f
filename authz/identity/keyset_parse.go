package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"

	"github.com/MicahParks/jwkset"
)

// Bounds of keys and their ids.
const (
	maxKeyID   = 200  // bytes; the longest known are resource names of cloud key services
	minRSABits = 2048 // RFC 7518 §3.3
	maxRSABits = 8192 // a verification with more costs too much
	maxDropped = 20   // reasons that are kept for people
)

// parsedKey is one usable key with the form in which it is written to disk.
type parsedKey struct {
	Key
	id  string
	jwk storedJWK
}

// storedJWK is a JWK reduced to its public, checked members.
type storedJWK struct {
	jwkset.JWKMarshal
	Issuer string `json:"issuer,omitempty"`
}

// parsedSet is what is usable of one JWK Set.
type parsedSet struct {
	keys    []parsedKey
	dropped []string // what isn't, and why; for people
}

// parseKeySet reads a JWK Set (RFC 7517 §5) and keeps the keys that may verify
// an access token. What can't is left out with a reason, as §5 asks, and never
// fails the set: providers add key types that we don't know. Two usable keys
// with one id are both left out, because nobody can say which is meant. A set
// without any usable key is an error.
func parseKeySet(raw []byte) (parsedSet, error) {
	members, err := jsonMembers(raw)
	if err != nil {
		return parsedSet{}, fmt.Errorf("parse key set: %w", err)
	}
	var jwks []json.RawMessage
	if err := json.Unmarshal(members["keys"], &jwks); err != nil || jwks == nil {
		return parsedSet{}, errors.New(`parse key set: "keys" is missing or not an array`)
	}
	var set parsedSet
	count := make(map[string]int)
	for i, jwk := range jwks {
		k, err := parseJWK(jwk)
		if err != nil {
			set.dropped = append(set.dropped, fmt.Sprintf("key %d: %v", i, err))
			continue
		}
		count[k.id]++
		set.keys = append(set.keys, k)
	}
	for id, n := range count {
		if n > 1 {
			set.dropped = append(set.dropped, fmt.Sprintf("kid %q: %d keys with this id", id, n))
		}
	}
	set.keys = slices.DeleteFunc(set.keys, func(k parsedKey) bool { return count[k.id] > 1 })
	slices.Sort(set.dropped)
	set.dropped = shorten(set.dropped, maxDropped)
	if len(set.keys) == 0 {
		return parsedSet{}, fmt.Errorf("parse key set: none of %d keys is usable: %q", len(jwks), shorten(set.dropped, 3))
	}
	return set, nil
}

// shorten keeps n messages and the number of the others.
func shorten(messages []string, n int) []string {
	if len(messages) <= n {
		return messages
	}
	return append(messages[:n:n], fmt.Sprintf("and %d more", len(messages)-n))
}

// parseJWK reads one public signature key. It looks at no certificate: an x5c
// that can't be parsed or an x5u that would have to be fetched must not matter.
func parseJWK(raw json.RawMessage) (parsedKey, error) {
	m, err := jsonMembers(raw)
	if err != nil {
		return parsedKey{}, err
	}
	// Some serialisers write every member they know and null for absent.
	maps.DeleteFunc(m, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
	kty, err := stringMember(m, "kty")
	if err != nil {
		return parsedKey{}, err
	}
	id, err := stringMember(m, "kid")
	if err != nil {
		return parsedKey{}, err
	}
	if !validKeyID(id) {
		return parsedKey{}, errors.New("kid is missing, too long or not printable ASCII")
	}
	if kty != "RSA" && kty != "EC" && kty != "OKP" {
		return parsedKey{}, fmt.Errorf("kid %q: kty %.20q is not used for signatures here", id, kty)
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, ok := m[private]; ok {
			return parsedKey{}, fmt.Errorf("kid %q: has the private member %q, so it is nobody's secret", id, private)
		}
	}
	if err := checkPurpose(m); err != nil {
		return parsedKey{}, fmt.Errorf("kid %q: %w", id, err)
	}
	k, err := keyMaterial(kty, m)
	if err != nil {
		return parsedKey{}, fmt.Errorf("kid %q: %w", id, err)
	}
	k.id = id
	k.jwk.KID = id
	return k, nil
}

// checkPurpose enforces use and key_ops (RFC 7517 §4.2, §4.3) where present.
func checkPurpose(m map[string]json.RawMessage) error {
	use, err := stringMember(m, "use")
	if err != nil {
		return err
	}
	if use != "" && use != "sig" {
		return fmt.Errorf("use is %.20q", use)
	}
	raw, ok := m["key_ops"]
	if !ok {
		return nil
	}
	var ops []string
	if err := json.Unmarshal(raw, &ops); err != nil {
		return errors.New("key_ops is not an array of strings")
	}
	if !slices.Contains(ops, "verify") {
		return errors.New(`key_ops lacks "verify"`)
	}
	return nil
}

// keyMaterial decodes the key itself and checks its strength and that its alg,
// if it has one, can be done with it.
func keyMaterial(kty string, m map[string]json.RawMessage) (parsedKey, error) {
	var errs []error
	text := func(name string) string {
		s, err := stringMember(m, name)
		errs = append(errs, err)
		return s
	}
	alg, issuer := text("alg"), text("issuer")
	marshal := jwkset.JWKMarshal{KTY: jwkset.KTY(kty)}
	switch kty {
	case "RSA":
		marshal.N, marshal.E = text("n"), text("e")
	case "EC":
		marshal.CRV, marshal.X, marshal.Y = jwkset.CRV(text("crv")), text("x"), text("y")
	case "OKP":
		marshal.CRV, marshal.X = jwkset.CRV(text("crv")), text("x")
	}
	if err := errors.Join(errs...); err != nil {
		return parsedKey{}, err
	}
	jwk, err := jwkset.NewJWKFromMarshal(marshal, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return parsedKey{}, fmt.Errorf("decode: %w", err)
	}
	if err := checkStrength(jwk.Key()); err != nil {
		return parsedKey{}, err
	}
	if alg == "Ed25519" { // RFC 9864's name of what tokens call EdDSA
		alg = "EdDSA"
	}
	if alg != "" && !algorithmFits(alg, jwk.Key()) {
		return parsedKey{}, fmt.Errorf("alg %.20q is not one for this key and for signatures", alg)
	}
	marshal.ALG = jwkset.ALG(alg)
	return parsedKey{
		Key: Key{Public: jwk.Key(), Alg: alg, Issuer: issuer},
		jwk: storedJWK{JWKMarshal: marshal, Issuer: issuer},
	}, nil
}

// checkStrength accepts the kinds of keys that can verify and are worth it.
func checkStrength(key crypto.PublicKey) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minRSABits || n > maxRSABits {
			return fmt.Errorf("RSA key of %d bits is not within %d to %d", n, minRSABits, maxRSABits)
		}
		if key.N.Bit(0) == 0 {
			return errors.New("RSA modulus is even")
		}
		if key.E < 3 || key.E&1 == 0 {
			return fmt.Errorf("RSA exponent %d is not odd and at least 3", key.E)
		}
		if looksLikeROCA(key.N) {
			return errors.New("RSA modulus has the mark of a broken generator (CVE-2017-15361)")
		}
	case *ecdsa.PublicKey: // the point was found to be on the curve
	case ed25519.PublicKey:
	default:
		return fmt.Errorf("a %T can't verify", key)
	}
	return nil
}

// looksLikeROCA reports whether a modulus is a power of 65537 modulo each of
// the small primes, as those of one flawed generator are; their private keys can
// be computed. Of other moduli, about one in 2^27 is.
func looksLikeROCA(n *big.Int) bool {
	for _, p := range [...]int64{
		3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83,
		89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
	} {
		rest := new(big.Int).Mod(n, big.NewInt(p)).Int64()
		power := int64(1)
		for power != rest {
			power = power * 65537 % p
			if power == 1 {
				return false // all powers seen
			}
		}
	}
	return true
}

// algorithmFits binds algorithms to kinds of keys one to one (RFC 8725 §3.1,
// RFC 7518 §3.4: each ECDSA algorithm has its own curve).
func algorithmFits(alg string, key crypto.PublicKey) bool {
	switch alg {
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		_, ok := key.(*rsa.PublicKey)
		return ok
	case "ES256":
		k, ok := key.(*ecdsa.PublicKey)
		return ok && k.Curve == elliptic.P256()
	case "ES384":
		k, ok := key.(*ecdsa.PublicKey)
		return ok && k.Curve == elliptic.P384()
	case "ES512":
		k, ok := key.(*ecdsa.PublicKey)
		return ok && k.Curve == elliptic.P521()
	case "EdDSA":
		_, ok := key.(ed25519.PublicKey)
		return ok
	}
	return false
}

// validKeyID bounds a kid before anything is done with it (RFC 8725 §3.10).
func validKeyID(kid string) bool {
	if kid == "" || len(kid) > maxKeyID {
		return false
	}
	for i := range len(kid) {
		if c := kid[i]; c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// stringMember returns a member that must be a string if it is there at all.
func stringMember(m map[string]json.RawMessage, name string) (string, error) {
	raw, ok := m[name]
	if !ok {
		return "", nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", fmt.Errorf("%s is not a string", name)
	}
	return s, nil
}

// jsonMembers splits one JSON object into its members by their exact names and
// refuses one that has a name twice; encoding/json alone would take the last
// and, into a struct, any letter case.
func jsonMembers(raw []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	members := make(map[string]json.RawMessage)
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("read member name: %w", err)
		}
		name, ok := t.(string)
		if !ok {
			return nil, errors.New("member name is not a string")
		}
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("member %.40q is there twice", name)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("read member %.40q: %w", name, err)
		}
		members[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("read end of object: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	return members, nil
}
