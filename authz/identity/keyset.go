package identity

import (
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// KeySetConfig says where the keys of one issuer come from and how long they
// are good for.
type KeySetConfig struct {
	// Name is the issuer's configured name; for messages.
	Name string
	// Issuer is the exact issuer identifier, the iss of its tokens.
	Issuer string
	// DiscoveryURL is where the issuer's metadata is. Default: below Issuer at
	// /.well-known/openid-configuration, then RFC 8414's place; "common" stands
	// in for a {tenantid} in Issuer. Conflicts with JWKSURL.
	DiscoveryURL string
	// DiscoveryIssuer is what the metadata must name as issuer, literally.
	// Default: Issuer. Entra's multi-tenant metadata says
	// https://login.microsoftonline.com/{tenantid}/v2.0, braces included.
	DiscoveryIssuer string
	// JWKSURL is where the keys are; metadata isn't read then.
	JWKSURL string

	// AllowHTTP allows http URLs on loopback addresses; for development only.
	AllowHTTP bool
	// AllowPrivate allows https to loopback and private addresses.
	AllowPrivate bool
	// RootCAs verify the provider's servers; nil means the system's.
	RootCAs *x509.CertPool

	// TTL is the age at which a set is fetched again, within 1s to 24h. Default
	// 1h; up to a tenth is taken off at random, so that replicas spread. A key
	// that the provider withdraws verifies tokens for that long.
	TTL time.Duration
	// MaxStale is the age at which a set that could not be refreshed is no
	// longer used. At least TTL, at most 7 days. Default 24h.
	MaxStale time.Duration
	// CacheDir keeps the last good set across restarts; it must exist. Empty:
	// not kept. A file is used only if it is ours or root's and nobody else may
	// write it.
	CacheDir string

	// Now is the clock; default time.Now.
	Now func() time.Time
	// Log receives failed refreshes and changes of the set; default: nowhere.
	Log *slog.Logger
}

func (c KeySetConfig) withDefaults() KeySetConfig {
	c.DiscoveryIssuer = cmp.Or(c.DiscoveryIssuer, c.Issuer)
	c.TTL = cmp.Or(c.TTL, time.Hour)
	c.MaxStale = cmp.Or(c.MaxStale, 24*time.Hour)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate reports everything that is wrong at once.
func (c KeySetConfig) Validate() error {
	c = c.withDefaults()
	var errs []error
	if c.Issuer == "" {
		errs = append(errs, errors.New("issuer: is empty"))
	}
	if c.JWKSURL != "" && c.DiscoveryURL != "" {
		errs = append(errs, errors.New("jwks_url, discovery_url: only one of them can be set"))
	}
	switch {
	case c.JWKSURL != "":
		if err := checkFetchURL(c.JWKSURL, c.AllowHTTP); err != nil {
			errs = append(errs, fmt.Errorf("jwks_url: %w", err))
		}
	case c.DiscoveryURL != "":
		if err := checkFetchURL(c.DiscoveryURL, c.AllowHTTP); err != nil {
			errs = append(errs, fmt.Errorf("discovery_url: %w", err))
		}
	case c.Issuer != "":
		if err := checkFetchURL(c.Issuer, c.AllowHTTP); err != nil {
			errs = append(errs, fmt.Errorf("issuer: %w", err))
		}
	}
	if c.TTL < time.Second || c.TTL > 24*time.Hour {
		errs = append(errs, fmt.Errorf("key cache TTL: %v is not within 1s to 24h", c.TTL))
	}
	if c.MaxStale < c.TTL || c.MaxStale > 7*24*time.Hour {
		errs = append(errs, fmt.Errorf("max_stale: %v is not within the key cache TTL (%v) to 168h", c.MaxStale, c.TTL))
	}
	return errors.Join(errs...)
}

// Key is one public key of an issuer.
type Key struct {
	Public crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	Alg    string           // alg of the JWK; empty if it has none
	Issuer string           // issuer of the JWK (Entra has it per key); empty if it has none
}

// KeySet is the keys of one issuer. There is one for each issuer, so that a key
// of one never verifies a token of another.
//
// Lookups read an immutable map behind an atomic pointer: they take no lock,
// allocate nothing and never wait for a fetch. Fetching is Run's work. A refresh
// that fails, or that brings no usable key, leaves the set as it is; from
// MaxStale after the last success on, every lookup is refused with
// KeysUnavailable until a refresh succeeds. It is safe for concurrent use.
type KeySet struct {
	cfg    KeySetConfig
	source *keySource    // used by the holder of turn only
	turn   chan struct{} // holds one token; who has it may refresh

	table atomic.Pointer[keyTable]
	wake  chan struct{} // tells Run that unknown has work for it

	mu      sync.Mutex // guards all below; never taken by a lookup that succeeds
	unknown unknownKeyIDs
	status  KeySetStatus // the parts that refreshes write
}

// keyTable is one state of the set. It is immutable.
type keyTable struct {
	keys       map[string]Key
	dropped    []string
	digest     [32]byte // of the usable keys, to see changes
	generation uint64
	fetched    time.Time // when the provider last gave this set
	expires    time.Time // fetched + MaxStale
	fromDisk   bool
}

// NewKeySet checks the configuration. It fetches nothing: the caller starts Run
// and may call Load before.
func NewKeySet(cfg KeySetConfig) (*KeySet, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("key set of issuer %q: %w", cfg.Name, err)
	}
	cfg = cfg.withDefaults()
	k := &KeySet{
		cfg:     cfg,
		source:  newKeySource(cfg),
		turn:    make(chan struct{}, 1),
		wake:    make(chan struct{}, 1),
		unknown: newUnknownKeyIDs(),
	}
	k.turn <- struct{}{}
	return k, nil
}

// Adopt starts with the keys of another set, with their age, if both are of the
// same provider: so a change of the configuration doesn't need the provider.
// Call it before Load and Run.
func (k *KeySet) Adopt(from *KeySet) {
	same := k.cfg.Issuer == from.cfg.Issuer && k.cfg.DiscoveryIssuer == from.cfg.DiscoveryIssuer &&
		k.cfg.DiscoveryURL == from.cfg.DiscoveryURL && k.cfg.JWKSURL == from.cfg.JWKSURL
	if old := from.table.Load(); same && old != nil {
		table := *old
		table.expires = table.fetched.Add(k.cfg.MaxStale)
		k.table.Store(&table)
	}
}

// Key returns the key that a token with this kid and alg must be verified with.
// It never blocks. An unknown kid is answered as unknown at once, and asks Run
// for a refresh, within the limits that unknownKeyIDs describes.
//
// The error is a *Refusal: KeysUnavailable if no set was ever loaded or it is
// older than MaxStale; UnknownKeyID; AlgorithmRefused if the key is not one for
// alg (RFC 8725 §3.1).
func (k *KeySet) Key(kid, alg string) (Key, error) {
	key, cause := k.find(kid, alg)
	if cause == "" {
		return key, nil
	}
	if cause == UnknownKeyID && validKeyID(kid) {
		k.askFor(kid)
	}
	return Key{}, k.refusal(cause)
}

// KeyWait is Key, except that an unknown kid which may ask for a refresh now
// waits for that refresh, for at most half a second and while ctx lasts: then
// the first token of a rotated key is not refused. All requests with that kid
// wait for the same refresh. A kid that has to queue for a refresh, one that was
// looked for in the last 30 s, and more than a thousand waiting requests are
// answered at once.
func (k *KeySet) KeyWait(ctx context.Context, kid, alg string) (Key, error) {
	key, cause := k.find(kid, alg)
	if cause == UnknownKeyID && validKeyID(kid) {
		if f := k.askFor(kid); f != nil && k.await(ctx, f) {
			key, cause = k.find(kid, alg)
		}
	}
	if cause != "" {
		return Key{}, k.refusal(cause)
	}
	return key, nil
}

// find looks a key up. cause is empty if it is there and fits.
func (k *KeySet) find(kid, alg string) (key Key, cause string) {
	t := k.table.Load()
	if t == nil || k.cfg.Now().After(t.expires) {
		return Key{}, KeysUnavailable
	}
	key, ok := t.keys[kid]
	switch {
	case !ok:
		return Key{}, UnknownKeyID
	case key.Alg != "" && key.Alg != alg, !algorithmFits(alg, key.Public):
		return Key{}, AlgorithmRefused
	}
	return key, ""
}

// refusal words a cause. The kid is a stranger's text and not repeated.
func (k *KeySet) refusal(cause string) *Refusal {
	detail := ""
	switch cause {
	case KeysUnavailable:
		detail = "no usable key set of issuer " + k.cfg.Name
	case UnknownKeyID:
		detail = "kid is not in the key set of issuer " + k.cfg.Name
	case AlgorithmRefused:
		detail = "alg does not fit the key of issuer " + k.cfg.Name
	}
	return &Refusal{Cause: cause, Detail: detail}
}

// Generation changes whenever the usable keys change, so that what was verified
// with an earlier set can be told apart. It is 0 while there is no usable set
// (none was loaded, or it is older than MaxStale): nothing verified before
// counts then either.
func (k *KeySet) Generation() uint64 {
	t := k.table.Load()
	if t == nil || k.cfg.Now().After(t.expires) {
		return 0
	}
	return t.generation
}

// KeySetStatus is what people and metrics see of a key set.
type KeySetStatus struct {
	Name       string
	Issuer     string
	JWKSURL    string        // where the last set came from
	KeyIDs     []string      // sorted
	Dropped    []string      // keys of the last set that aren't used, and why
	Generation uint64        // as Generation
	Usable     bool          // lookups are answered
	FromDisk   bool          // the set is the one of an earlier run; the provider gave none yet
	Age        time.Duration // since the provider gave this set

	LastSuccess time.Time // zero: never
	LastFailure time.Time // zero: never
	LastError   string    // of the last refresh; empty if it succeeded
	Warning     string    // of the last success: metadata or CacheDir failed; empty if nothing did

	Refreshes   uint64 // attempts
	Failures    uint64 // of them failed
	UnknownKIDs uint64 // lookups of a well-formed kid that isn't in the set
}

// Status describes the set now. The slices are the caller's.
func (k *KeySet) Status() KeySetStatus {
	k.mu.Lock()
	s := k.status
	s.UnknownKIDs = k.unknown.asked
	k.mu.Unlock()
	s.Name, s.Issuer = k.cfg.Name, k.cfg.Issuer
	t := k.table.Load()
	if t == nil {
		return s
	}
	now := k.cfg.Now()
	s.KeyIDs = slices.Sorted(maps.Keys(t.keys))
	s.Dropped = slices.Clone(t.dropped)
	s.FromDisk = t.fromDisk
	s.Age = now.Sub(t.fetched)
	s.Usable = !now.After(t.expires)
	if s.Usable {
		s.Generation = t.generation
	}
	return s
}
