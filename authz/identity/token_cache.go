package identity

import (
	"crypto/sha256"
	"fmt"
	"time"
	"unsafe"

	"github.com/maypok86/otter/v2"
)

// Bounds of the cache of verified tokens.
const (
	maxCached      = 5 * time.Minute
	maxCachedBytes = 64 << 20 // of memory, as cachedBytes estimates it
)

// newTokenCache makes a cache whose key is the SHA-256 of a whole token, so that
// no part of one (jti, kid) can stand for another token.
func newTokenCache() (*otter.Cache[[sha256.Size]byte, *verifiedToken], error) {
	cache, err := otter.New(&otter.Options[[sha256.Size]byte, *verifiedToken]{
		MaximumWeight: maxCachedBytes,
		Weigher:       func(_ [sha256.Size]byte, t *verifiedToken) uint32 { return cachedBytes(t.size) },
	})
	if err != nil {
		return nil, fmt.Errorf("cache of verified tokens: %w", err)
	}
	return cache, nil
}

// tokenDigest is the SHA-256 of a token, from the string itself: a conversion
// would copy every token of every request.
func tokenDigest(raw string) [sha256.Size]byte {
	return sha256.Sum256(unsafe.Slice(unsafe.StringData(raw), len(raw)))
}

// cachedBytes estimates what a verified token takes: its claims as Go values,
// and what every entry has. So there are at most 32768 entries.
func cachedBytes(tokenSize int) uint32 {
	return uint32(2048 + 5*tokenSize) //nolint:gosec // a token is at most a header long
}

// cached returns the token if its signature was verified a short time ago with
// keys that are still the issuer's.
func (v *Verifier) cached(digest [sha256.Size]byte, now time.Time) *verifiedToken {
	t, ok := v.cache.GetIfPresent(digest)
	if !ok || !now.Before(t.until) || t.generation != t.issuer.keys.Generation() {
		return nil
	}
	return t
}

// remember keeps a verified token. Refusals are never kept: a token that was
// refused a moment ago can be right now. A new set of keys (another generation)
// makes the entry void, and so does having none (0).
func (v *Verifier) remember(digest [sha256.Size]byte, t *verifiedToken, size int, now time.Time) {
	t.size = size
	t.until = now.Add(maxCached)
	if end := t.times.expires.Add(v.skew); end.Before(t.until) {
		t.until = end
	}
	if t.generation != 0 && now.Before(t.until) {
		v.cache.Set(digest, t)
	}
}
