package identity

import (
	"encoding/binary"
	"testing"
)

// The cache stays within its bytes, whatever is put in.
func TestTokenCacheIsBounded(t *testing.T) {
	t.Parallel()
	cache, err := newTokenCache()
	if err != nil {
		t.Fatal(err)
	}
	for size := range 3 {
		for i := range 30_000 {
			var digest [32]byte
			binary.BigEndian.PutUint64(digest[:], uint64(size<<32|i))
			cache.Set(digest, &verifiedToken{size: size * 4096})
		}
		cache.CleanUp()
		if n := cache.WeightedSize(); n > maxCachedBytes {
			t.Errorf("the cache holds %d bytes, more than %d", n, maxCachedBytes)
		}
	}
	if n := cache.EstimatedSize(); n == 0 || n > maxCachedBytes/2048 {
		t.Errorf("the cache has %d entries", n)
	}
}
