package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"
)

// Bounds of VerifierConfig.
const (
	maxClockSkew  = time.Minute
	minTokenBytes = 1 << 10
	maxTokenBytes = 64 << 10
)

// VerifierConfig says whose tokens are accepted.
type VerifierConfig struct {
	// ClockSkew is forgiven for every claim that carries a time; at most 60s.
	// Default: none.
	ClockSkew time.Duration
	// MaxTokenBytes is the longest token that is parsed, within [1024, 65536].
	// Default 16384.
	MaxTokenBytes int
	// Issuers have names and issuer identifiers of their own each.
	Issuers []IssuerConfig
}

// Keys is the key set of one issuer; *KeySet is one. It is safe for concurrent
// use.
type Keys interface {
	// KeyWait returns the key that a token with this kid and alg must be
	// verified with. It may wait a moment for a kid that it doesn't know. The
	// error is a *Refusal.
	KeyWait(ctx context.Context, kid, alg string) (Key, error)
	// Generation changes whenever the keys do. 0: there are none now.
	Generation() uint64
}

// Verifier turns what a request presents into a principal. What a signature
// vouches for is remembered for a while; what depends on the request (audience,
// time, nonce, binding to the sender) is checked for each one. It is safe for
// concurrent use, and a token that it knows takes no lock of its own.
type Verifier struct {
	skew      time.Duration
	maxBytes  int
	exact     map[string]*issuer // by iss
	templates []*issuer          // those whose iss names a tenant
	replays   Replays
	now       func() time.Time
	cache     *otter.Cache[[sha256.Size]byte, *verifiedToken]
}

// NewVerifier checks the configuration and reports everything that is wrong
// with it at once. keys holds a key set for each issuer, by its name.
func NewVerifier(cfg VerifierConfig, keys map[string]Keys, replays Replays, now func() time.Time) (*Verifier, error) {
	if cfg.MaxTokenBytes == 0 {
		cfg.MaxTokenBytes = defaultMaxTokenBytes
	}
	v := &Verifier{
		skew:     cfg.ClockSkew,
		maxBytes: cfg.MaxTokenBytes,
		exact:    make(map[string]*issuer),
		replays:  replays,
		now:      now,
	}
	var errs []error
	if cfg.ClockSkew < 0 || cfg.ClockSkew > maxClockSkew {
		errs = append(errs, fmt.Errorf("clock_skew: %v is not within [0, %v]", cfg.ClockSkew, maxClockSkew))
	}
	if cfg.MaxTokenBytes < minTokenBytes || cfg.MaxTokenBytes > maxTokenBytes {
		errs = append(errs, fmt.Errorf("max_token_bytes: %d is not within [%d, %d]", cfg.MaxTokenBytes, minTokenBytes, maxTokenBytes))
	}
	if len(cfg.Issuers) == 0 {
		errs = append(errs, errors.New("issuers: none is configured"))
	}
	if replays == nil {
		errs = append(errs, errors.New("the store for nonces and proofs is missing"))
	}
	names := make(map[string]bool)
	for _, c := range cfg.Issuers {
		if names[c.Name] {
			errs = append(errs, fmt.Errorf("issuer %q: the name is there twice", c.Name))
		}
		names[c.Name] = true
		if err := v.add(c.WithDefaults(), keys[c.Name]); err != nil {
			errs = append(errs, fmt.Errorf("issuer %q: %w", c.Name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var err error
	v.cache, err = newTokenCache()
	return v, err
}

// add makes one issuer known.
func (v *Verifier) add(c IssuerConfig, keys Keys) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if keys == nil {
		return errors.New("it has no key set")
	}
	p, _ := presetOf(c.Preset) // valid, so there is one
	is := &issuer{IssuerConfig: c, preset: p, keys: keys}
	if before, after, ok := strings.Cut(c.Issuer, tenantPlaceholder); ok {
		is.beforeTenant, is.afterTenant = before, after
		for _, other := range v.templates {
			if other.Issuer == c.Issuer {
				return fmt.Errorf("issuer: %q is also that of %q", c.Issuer, other.Name)
			}
		}
		v.templates = append(v.templates, is)
		return nil
	}
	if other := v.exact[c.Issuer]; other != nil {
		return fmt.Errorf("issuer: %q is also that of %q", c.Issuer, other.Name)
	}
	v.exact[c.Issuer] = is
	return nil
}

// Verify returns the caller that the credentials prove, for a request to target.
// The error is always a *Refusal.
func (v *Verifier) Verify(ctx context.Context, c Credentials, target *Target) (*Principal, error) {
	scheme, raw, r := c.token()
	if r != nil {
		return nil, r
	}
	if len(raw) > v.maxBytes { // as parseToken, but before anything is hashed
		return nil, refuse(Malformed, "the token is too long")
	}
	now := v.now()
	digest := tokenDigest(raw)
	t := v.cached(digest, now)
	if t == nil {
		if t, r = v.verify(ctx, raw); r != nil {
			return nil, r
		}
		v.remember(digest, t, len(raw), now)
	}
	if r := t.times.check(now, v.skew); r != nil {
		return nil, r
	}
	if r := t.checkTarget(target); r != nil {
		return nil, r
	}
	if r := v.checkNonce(ctx, t, digest); r != nil {
		return nil, r
	}
	if r := v.checkSender(ctx, t, scheme, &c, digest, now); r != nil {
		return nil, r
	}
	return t.principal, nil
}

// The schemes of the Authorization header that carry access tokens.
const (
	bearer = "Bearer" // RFC 6750 §2.1
	dpop   = "DPoP"   // RFC 9449 §7.1
)

// token finds the one access token. Another scheme is as if there were none
// (RFC 6750 §3.1: then the challenge has no error code).
func (c *Credentials) token() (scheme, raw string, r *Refusal) {
	switch {
	case c.QueryToken:
		return "", "", refuse(Ambiguous, "an access token in the query is refused; use the Authorization header")
	case c.AuthorizationLines > 1:
		return "", "", refuse(Ambiguous, "more than one Authorization header")
	case c.AuthorizationLines == 0:
		return "", "", refuse(Missing, "no Authorization header")
	}
	name, raw, _ := strings.Cut(c.Authorization, " ")
	raw = strings.Trim(raw, " ")
	for _, scheme := range [...]string{bearer, dpop} {
		switch {
		case !strings.EqualFold(name, scheme):
		case strings.Contains(raw, ","): // Envoy joins two headers; no token has a comma
			return "", "", refuse(Ambiguous, "more than one Authorization header, or a list in one")
		default:
			return scheme, raw, nil
		}
	}
	return "", "", refuse(Missing, "the Authorization header is neither Bearer nor DPoP")
}

// verifiedToken is what a signature vouches for. It is immutable.
type verifiedToken struct {
	principal *Principal
	issuer    *issuer
	times     lifetime
	nonce     string
	binding   binding

	// Of the cache:
	generation uint64    // of the keys, from before the key was looked up
	until      time.Time // when it is verified anew
	size       int       // of the token in bytes
}

// verify does everything that depends on the token alone.
func (v *Verifier) verify(ctx context.Context, raw string) (*verifiedToken, *Refusal) {
	t, r := parseToken(raw, v.maxBytes)
	if r != nil {
		return nil, r
	}
	is, tenant, r := v.issuerOf(t)
	if r != nil {
		return nil, r
	}
	// Read before the key: if the set changes in between, the token is verified
	// once more, rather than trusted with a key that is gone.
	generation := is.keys.Generation()
	if r := is.checkSignature(ctx, t, tenant); r != nil {
		return nil, r
	}
	if r := is.checkType(t); r != nil {
		return nil, r
	}
	verified, r := is.read(t, tenant)
	if r != nil {
		return nil, r
	}
	verified.generation = generation
	return verified, nil
}

// checkTarget asks whether the token was issued for this server (RFC 8725 §3.9).
func (t *verifiedToken) checkTarget(target *Target) *Refusal {
	if len(target.Issuers) > 0 && !slices.Contains(target.Issuers, t.issuer.Name) {
		return refuse(UnknownIssuer, "this server doesn't accept tokens of issuer "+t.issuer.Name)
	}
	if t.principal.Audiences == nil && t.issuer.preset.clientAsAudience {
		return nil // read has found the client on the allow-list
	}
	for _, audience := range t.principal.Audiences {
		if audience != "" && slices.Contains(target.Audiences, audience) {
			return nil
		}
	}
	return refuse(WrongAudience, "the token's aud is not this server")
}

// checkNonce binds a nonce to the first token that shows it.
func (v *Verifier) checkNonce(ctx context.Context, t *verifiedToken, digest [sha256.Size]byte) *Refusal {
	if t.nonce == "" || t.issuer.IgnoreNonce {
		return nil
	}
	key := replayKey("nonce", t.principal.IssuerID, t.nonce)
	earlier, seen, err := v.replays.Remember(ctx, key, digest, t.times.expires.Add(v.skew))
	switch {
	case err != nil:
		return refuse(StoreUnavailable, "the store of nonces is not available")
	case seen && earlier != digest:
		return refuse(NonceReplayed, "another token had this nonce")
	}
	return nil
}
