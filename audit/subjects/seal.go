package subjects

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Sealed data is
//
//	version     1 byte: 1
//	salt        24 bytes, random
//	ciphertext  AES-256-GCM with its tag; version, pseudonym and the caller's
//	            additional data are authenticated
//
// under a key of its own: HMAC-SHA256 of the salt with the subject's key. A busy
// service account would use up the 2^32 random nonces that are good for one key
// (NIST SP 800-38D §8.3) in weeks; with a key each, the nonce can be zero.
const (
	sealVersion  = 1
	saltSize     = 24
	sealHeader   = 1 + saltSize
	sealOverhead = sealHeader + 16
	sealDomain   = "sallyport/audit/subjects/seal/1"

	// MaxPlaintext bounds what Hide takes.
	MaxPlaintext = 64 << 10
)

func (s *subject) seal(plaintext, aad []byte) ([]byte, error) {
	if len(plaintext) > MaxPlaintext {
		return nil, fmt.Errorf("more than %d bytes", MaxPlaintext)
	}
	b := make([]byte, sealHeader, sealOverhead+len(plaintext))
	b[0] = sealVersion
	_, _ = rand.Read(b[1:]) // it never fails
	aead, err := s.aead(b[1:sealHeader])
	if err != nil {
		return nil, err
	}
	return aead.Seal(b, make([]byte, nonceSize), plaintext, s.bound(aad)), nil
}

func (s *subject) open(sealed, aad []byte) ([]byte, error) {
	if len(sealed) < sealOverhead || len(sealed) > sealOverhead+MaxPlaintext || sealed[0] != sealVersion {
		return nil, fmt.Errorf("%w: not sealed by a known version", ErrDamaged)
	}
	aead, err := s.aead(sealed[1:sealHeader])
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, make([]byte, nonceSize), sealed[sealHeader:], s.bound(aad))
	if err != nil {
		return nil, fmt.Errorf("%w: it was changed, or belongs elsewhere", ErrDamaged)
	}
	return plaintext, nil
}

func (s *subject) aead(salt []byte) (cipher.AEAD, error) {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(sealDomain))
	mac.Write(salt)
	return newAEAD(mac.Sum(nil))
}

// bound is what the ciphertext can't be moved away from. Pseudonyms have one
// length, so no two pairs look alike.
func (s *subject) bound(aad []byte) []byte {
	b := append([]byte{sealVersion}, s.pseudonym...)
	return append(b, aad...)
}

// lookup is what a subject is found by.
func lookup(key []byte, who Subject) ([]byte, error) {
	if who.Issuer == "" || who.Subject == "" {
		return nil, errors.New("a subject without issuer or name")
	}
	mac := hmac.New(sha256.New, key)
	_ = binary.Write(mac, binary.BigEndian, uint64(len(who.Issuer))) // it never fails
	mac.Write([]byte(who.Issuer))
	mac.Write([]byte(who.Subject))
	return mac.Sum(nil), nil
}
