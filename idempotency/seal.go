package idempotency

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/sallyport/sallyport/internal/keyfile"
)

// A sealed response is
//
//	version     1 byte: 1
//	key id      8 bytes: the beginning of the SHA-256 of the key, with a domain
//	nonce       12 bytes, random
//	ciphertext  AES-256-GCM of the encoded response, with its tag; version and
//	            key id are authenticated
//
// under a key of its own, which HKDF-SHA256 derives from the file's key, the
// claim's key and its owner. So a response can't be moved to another claim, and
// no key sees many nonces: a busy gateway would use up the 2^32 random ones that
// are good for one key (NIST SP 800-38D §8.3) in weeks.
const (
	sealVersion  = 1
	keyIDSize    = 8
	nonceSize    = 12
	sealHeader   = 1 + keyIDSize
	sealOverhead = sealHeader + nonceSize + 16

	keyIDDomain = "sallyport/idempotency/key-id/1"
	sealDomain  = "sallyport/idempotency/seal/1"
)

// Sealer encrypts responses at rest. It doesn't change and is safe for
// concurrent use.
type Sealer struct {
	current keyID
	keys    map[keyID][]byte
}

type keyID [keyIDSize]byte

// NewSealer reads keys from files: the first seals, all open. Each file holds 32
// bytes from a random source in hex or base64 (openssl rand -hex 32), belongs to
// nobody else and is written by its owner only (at most 0640).
//
// To change keys, add the new file behind the current one on all replicas, then
// move it to the front, and remove the old one when its TTL is over.
func NewSealer(files ...string) (*Sealer, error) {
	if len(files) == 0 {
		return nil, errors.New("no key file for the responses that are kept")
	}
	s := &Sealer{keys: make(map[keyID][]byte, len(files))}
	for i, file := range files {
		key, err := keyfile.Read(file)
		if err != nil {
			return nil, fmt.Errorf("key file %s: %w", file, err)
		}
		id := idOf(key)
		if s.keys[id] != nil {
			return nil, fmt.Errorf("key file %s: the same key is in another file", file)
		}
		s.keys[id] = key
		if i == 0 {
			s.current = id
		}
	}
	return s, nil
}

func idOf(key []byte) keyID {
	sum := sha256.Sum256(append([]byte(keyIDDomain), key...))
	return keyID(sum[:keyIDSize])
}

// seal encrypts an encoded response of one claim.
func (s *Sealer) seal(plain []byte, key Key, owner string) ([]byte, error) {
	aead, err := newAEAD(s.keys[s.current], key, owner)
	if err != nil {
		return nil, fmt.Errorf("seal response: %w", err)
	}
	b := make([]byte, sealHeader+nonceSize, sealOverhead+len(plain))
	b[0] = sealVersion
	copy(b[1:], s.current[:])
	nonce := b[sealHeader:]
	_, _ = rand.Read(nonce) // it never fails
	return aead.Seal(b, nonce, plain, b[:sealHeader]), nil
}

// open decrypts what seal made for the same claim. A key that isn't here any
// more, or a changed byte, is an error.
func (s *Sealer) open(sealed []byte, key Key, owner string) ([]byte, error) {
	if len(sealed) < sealOverhead || sealed[0] != sealVersion {
		return nil, errors.New("open response: not sealed by a known version")
	}
	header, nonce, text := sealed[:sealHeader], sealed[sealHeader:sealHeader+nonceSize], sealed[sealHeader+nonceSize:]
	id := keyID(header[1:])
	secret := s.keys[id]
	if secret == nil {
		return nil, fmt.Errorf("open response: no key file holds key %x", id)
	}
	aead, err := newAEAD(secret, key, owner)
	if err != nil {
		return nil, fmt.Errorf("open response: %w", err)
	}
	plain, err := aead.Open(nil, nonce, text, header)
	if err != nil {
		return nil, errors.New("open response: it was changed, or belongs to another claim")
	}
	return plain, nil
}

func newAEAD(secret []byte, key Key, owner string) (cipher.AEAD, error) {
	own, err := hkdf.Key(sha256.New, secret, key[:], sealDomain+owner, len(secret))
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(own)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
