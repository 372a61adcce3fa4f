package devissuer

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"sync"
	"time"
)

// keyBits is the size of the signing keys: the smallest that RFC 7518 §3.3 allows.
const keyBits = 2048

// signingKey is one key with its state of publication.
type signingKey struct {
	id      string
	private *rsa.PrivateKey
	hidden  bool      // not published before its first token
	until   time.Time // published until then; zero: still in use
}

// keyRing holds the keys, old ones too.
type keyRing struct {
	cfg Config

	// making is held by whoever replaces keys, which takes long; mu only while
	// the fields change. Reading them needs one of the two, changing them both.
	making sync.Mutex
	mu     sync.Mutex
	keys   []*signingKey // the last one signs
	staged *signingKey   // published, not yet signing
}

// newKeyRing makes two keys: one that was just replaced, one that signs. So a
// published set always has several, as real ones do.
func newKeyRing(cfg Config) (*keyRing, error) {
	r := &keyRing{cfg: cfg}
	for range 2 {
		if err := r.rotate(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// generate makes a key. It takes long, so mu must not be held: tokens are
// signed meanwhile.
func generate(serial int) (*signingKey, error) {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("generate key: %w", err)
	}
	return &signingKey{id: fmt.Sprintf("dev-%d", serial), private: private}, nil
}

// rotate makes the staged key sign, or a new one if none is staged.
func (r *keyRing) rotate() error {
	r.making.Lock()
	defer r.making.Unlock()
	next := r.staged
	if next == nil {
		var err error
		if next, err = generate(len(r.keys) + 1); err != nil {
			return err
		}
		// The first signing key can't be hidden: a verifier that starts before
		// the first token would find no usable set.
		next.hidden = r.cfg.HideUntilUsed && len(r.keys) > 1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.staged = nil
	if n := len(r.keys); n > 0 {
		r.keys[n-1].until = r.cfg.Now().Add(r.cfg.Grace)
	}
	r.keys = append(r.keys, next)
	return nil
}

// stage publishes the key that will sign next.
func (r *keyRing) stage() error {
	r.making.Lock()
	defer r.making.Unlock()
	if r.staged != nil {
		return nil
	}
	next, err := generate(len(r.keys) + 1)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.staged = next
	return nil
}

// signer returns the key that signs now, which publishes it.
func (r *keyRing) signer() *signingKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.keys[len(r.keys)-1]
	k.hidden = false
	return k
}

// find returns the key with this id, published or not; nil if there is none.
func (r *keyRing) find(id string) *signingKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.keys {
		if k.id == id {
			return k
		}
	}
	return nil
}

// jsonWebKey is a public RSA key (RFC 7517 §4, RFC 7518 §6.3.1).
type jsonWebKey struct {
	Type      string `json:"kty"`
	ID        string `json:"kid"`
	Use       string `json:"use"`
	Algorithm string `json:"alg,omitempty"`
	Modulus   string `json:"n"`
	Exponent  string `json:"e"`
}

// public returns the published set as JSON.
func (r *keyRing) public() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	published := append([]*signingKey(nil), r.keys...)
	if r.staged != nil {
		published = append(published, r.staged)
	}
	set := struct {
		Keys []jsonWebKey `json:"keys"`
	}{Keys: []jsonWebKey{}}
	for _, k := range published {
		if k.hidden || (!k.until.IsZero() && !now.Before(k.until)) {
			continue
		}
		key := jsonWebKey{
			Type:      "RSA",
			ID:        k.id,
			Use:       "sig",
			Algorithm: "RS256",
			Modulus:   base64.RawURLEncoding.EncodeToString(k.private.N.Bytes()),
			Exponent:  base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.private.E)).Bytes()),
		}
		if r.cfg.OmitAlgorithm {
			key.Algorithm = ""
		}
		set.Keys = append(set.Keys, key)
	}
	return json.Marshal(set)
}

// Rotate makes a new key sign. The old one stays published for the grace
// period. The new one is the staged one, if Stage was called before.
func (i *Issuer) Rotate() error {
	if err := i.keys.rotate(); err != nil {
		return fmt.Errorf("devissuer: rotate: %w", err)
	}
	return nil
}

// Stage publishes the key that the next Rotate makes sign, as careful issuers
// do. A second call before that changes nothing.
func (i *Issuer) Stage() error {
	if err := i.keys.stage(); err != nil {
		return fmt.Errorf("devissuer: stage: %w", err)
	}
	return nil
}

// KeySet returns the key set as it is published now, whatever ServeKeys says.
func (i *Issuer) KeySet() ([]byte, error) { return i.keys.public() }

// KeyID returns the id of the key that signs now.
func (i *Issuer) KeyID() string {
	i.keys.mu.Lock()
	defer i.keys.mu.Unlock()
	return i.keys.keys[len(i.keys.keys)-1].id
}
