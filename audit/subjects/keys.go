package subjects

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/sallyport/sallyport/internal/keyfile"
)

// A wrapped key is
//
//	version     1 byte: 1
//	key id      8 bytes: the beginning of the SHA-256 of the wrapping key, with a domain
//	nonce       12 bytes, random
//	ciphertext  AES-256-GCM of the key, with its tag; version, key id and what the
//	            key is for are authenticated
//
// under a key that HKDF-SHA256 derives from that of the file.
const (
	wrapVersion = 1
	keySize     = 32
	keyIDSize   = 8
	nonceSize   = 12
	wrapHeader  = 1 + keyIDSize

	keyIDDomain = "sallyport/audit/subjects/key-id/1"
	wrapDomain  = "sallyport/audit/subjects/wrap/1"
)

// Keys are the keys that the subjects' keys are encrypted under. They don't
// change and are safe for concurrent use.
type Keys struct {
	current keyID
	aeads   map[keyID]cipher.AEAD
}

type keyID [keyIDSize]byte

// LoadKeys reads keys from files: the first encrypts, all decrypt. Each file holds
// 32 bytes from a random source, in hex or base64 (openssl rand -base64 32) or as
// they are, belongs to nobody else and is written by its owner only (at most 0640).
//
// To change keys, add the new file behind the current one on all replicas, then
// move it to the front, call Subjects.Rewrap, and remove the old one. Keep a copy
// of the keys apart from those of the database: without them all pseudonyms are
// as good as erased.
func LoadKeys(files ...string) (*Keys, error) {
	if len(files) == 0 {
		return nil, errors.New("no key file for the subjects' keys")
	}
	k := &Keys{aeads: make(map[keyID]cipher.AEAD, len(files))}
	for i, file := range files {
		key, err := keyfile.ReadRaw(file)
		if err != nil {
			return nil, fmt.Errorf("key file %s: %w", file, err)
		}
		sum := sha256.Sum256(append([]byte(keyIDDomain), key...))
		id := keyID(sum[:keyIDSize])
		if k.aeads[id] != nil {
			return nil, fmt.Errorf("key file %s: the same key is in another file", file)
		}
		own, err := hkdf.Key(sha256.New, key, nil, wrapDomain, keySize)
		if err != nil {
			return nil, err
		}
		if k.aeads[id], err = newAEAD(own); err != nil {
			return nil, err
		}
		if i == 0 {
			k.current = id
		}
	}
	return k, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// wrap encrypts a key; use says what it is for, so that one can't stand in for
// another.
func (k *Keys) wrap(key []byte, use string) []byte {
	b := make([]byte, wrapHeader+nonceSize, wrapHeader+nonceSize+len(key)+16)
	b[0] = wrapVersion
	copy(b[1:], k.current[:])
	nonce := b[wrapHeader:]
	_, _ = rand.Read(nonce) // it never fails
	return k.aeads[k.current].Seal(b, nonce, key, append(bytes.Clone(b[:wrapHeader]), use...))
}

// unwrap decrypts what wrap made for the same use.
func (k *Keys) unwrap(wrapped []byte, use string) ([]byte, error) {
	if len(wrapped) < wrapHeader+nonceSize || wrapped[0] != wrapVersion {
		return nil, fmt.Errorf("%w: a key of an unknown version", ErrDamaged)
	}
	id := keyID(wrapped[1:wrapHeader])
	aead := k.aeads[id]
	if aead == nil {
		return nil, fmt.Errorf("%w %x", ErrKeyMissing, id)
	}
	nonce, text := wrapped[wrapHeader:wrapHeader+nonceSize], wrapped[wrapHeader+nonceSize:]
	key, err := aead.Open(nil, nonce, text, append(bytes.Clone(wrapped[:wrapHeader]), use...))
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("%w: a key was changed, or is another's", ErrDamaged)
	}
	return key, nil
}

// isCurrent reports whether a key is wrapped under the first file's.
func (k *Keys) isCurrent(wrapped []byte) bool {
	return len(wrapped) >= wrapHeader && keyID(wrapped[1:wrapHeader]) == k.current
}
