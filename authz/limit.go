package authz

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"

	"github.com/sallyport/sallyport/authz/catalogue"
)

// Rate is an allowance that refills steadily.
type Rate struct {
	PerMinute int // at least 1
	Burst     int // at least 1: calls that may come at once
}

// Tiers are the rates of the three tiers.
type Tiers struct{ Permissive, Standard, Strict Rate }

// DefaultTiers apply where the configuration sets nothing.
func DefaultTiers() Tiers {
	return Tiers{
		Permissive: Rate{PerMinute: 600, Burst: 100},
		Standard:   Rate{PerMinute: 120, Burst: 20},
		Strict:     Rate{PerMinute: 12, Burst: 5},
	}
}

func (t *Tiers) of(tier catalogue.Tier) Rate {
	switch tier {
	case catalogue.Permissive:
		return t.Permissive
	case catalogue.Standard:
		return t.Standard
	default:
		return t.Strict
	}
}

// LimitKey is what calls are counted by.
type LimitKey struct{ Principal, Server, Tool string }

// MemoryLimiter counts in this process. It holds a bounded number of callers;
// one that was forgotten for want of room starts with a full allowance.
type MemoryLimiter struct {
	buckets *otter.Cache[LimitKey, *bucket]
}

// bucket is the allowance of one key. It is safe for concurrent use.
type bucket struct {
	rate       Rate
	limiter    *rate.Limiter // perCall tokens are one call
	unreported atomic.Int64  // calls that RedisLimiter has to report
}

// perCall makes parts of a call countable; rate.Limiter counts whole tokens.
const perCall = 1000

// bucketIdle is how long an unused bucket is kept. The slowest rate, one a
// minute, is full again after burst minutes; a bucket that is forgotten early
// gives its caller at most one burst too many.
const bucketIdle = 10 * time.Minute

// NewMemoryLimiter returns a limiter for at most this many pairs of caller and tool.
func NewMemoryLimiter(callers int) (*MemoryLimiter, error) {
	buckets, err := otter.New(&otter.Options[LimitKey, *bucket]{
		MaximumSize:      callers,
		ExpiryCalculator: otter.ExpiryAccessing[LimitKey, *bucket](bucketIdle),
	})
	if err != nil {
		return nil, fmt.Errorf("create rate limit buckets: %w", err)
	}
	return &MemoryLimiter{buckets: buckets}, nil
}

// Allow implements Limiter. A changed rate applies from the next call on, with
// a full allowance.
func (m *MemoryLimiter) Allow(now time.Time, key LimitKey, r Rate) (time.Duration, bool) {
	return m.bucket(key, r).take(now)
}

func (m *MemoryLimiter) bucket(key LimitKey, r Rate) *bucket {
	b, ok := m.buckets.GetIfPresent(key)
	if ok && b.rate == r {
		return b
	}
	fresh := &bucket{rate: r, limiter: rate.NewLimiter(rate.Limit(float64(r.PerMinute)/60*perCall), r.Burst*perCall)}
	if ok {
		m.buckets.Set(key, fresh)
		return fresh
	}
	// Two first calls at once must share one bucket: the one that was stored.
	b, _ = m.buckets.SetIfAbsent(key, fresh)
	return b
}

// take takes one call, or says after which time there will be one.
func (b *bucket) take(now time.Time) (retryIn time.Duration, ok bool) {
	if b.limiter.AllowN(now, perCall) {
		return 0, true
	}
	missing := perCall - b.limiter.TokensAt(now)
	return time.Duration(missing / float64(b.limiter.Limit()) * float64(time.Second)), false
}
