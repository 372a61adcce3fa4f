package authz

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/sallyport/sallyport/authz/identity"
)

const (
	// reportEvery and reportAfter say when calls are reported: that often, or as
	// soon as one key has so many.
	reportEvery = 50 * time.Millisecond
	reportAfter = 16
	// reportsAtOnce is how many keys are reported at a time.
	reportsAtOnce = 8
	// mostUnreported bounds the keys that wait for a report; the calls of others
	// count only here.
	mostUnreported = 50_000
	// headroom is more than replicas can let through too much. With that much on top
	// of its burst redis_rate never says no, and counts what has happened already.
	headroom = 1 << 20
)

// RedisLimiter is a Limiter whose allowances all replicas share, without a wait
// for Redis in Allow. The local limiter decides at once. What it lets through is
// reported in the background, and Redis' answer lowers the local allowance to
// what is left of the shared one. That can be less than nothing: then the key is
// refused here until Redis' allowance has grown again.
//
// Replicas thus know of each other after a while, D: 50 ms and a round trip,
// longer if thousands of keys are in use at once. In any time t, R replicas let
// through at most
//
//	burst + rate·t + R·(burst + rate·D)
//
// calls of a key, where one replica alone would let through burst + rate·t. What
// was too much is paid back: over a long time the shared rate holds.
//
// When Redis is away, at the start or later, the local limiter is alone: each
// replica lets through burst + rate·t. Calls of that time are not reported later.
// When Redis is back it is used from the next report on; if it lost its data, all
// allowances in it are full.
type RedisLimiter struct {
	local  *MemoryLimiter
	shared *redis_rate.Limiter
	cfg    identity.RedisConfig
	now    func() time.Time
	log    *slog.Logger
	alone  atomic.Bool
	wake   chan struct{}

	mu   sync.Mutex // guards uses
	uses []use      // each bucket with unreported calls once
}

// use is a bucket whose calls are to be reported.
type use struct {
	key    LimitKey
	bucket *bucket
}

// NewRedisLimiter shares what local lets through; local must not be used by
// anybody else. It uses a client of another's making, a *redis.Client or
// *redis.ClusterClient with ContextTimeoutEnabled. It doesn't connect.
func NewRedisLimiter(client redis.UniversalClient, cfg identity.RedisConfig, local *MemoryLimiter, now func() time.Time, log *slog.Logger) (*RedisLimiter, error) {
	if err := cfg.Ready(client); err != nil {
		return nil, fmt.Errorf("redis limiter: %w", err)
	}
	return &RedisLimiter{
		local: local, shared: redis_rate.NewLimiter(prefixed{client, cfg.Prefix}),
		cfg: cfg, now: now, log: log, wake: make(chan struct{}, 1),
	}, nil
}

// Allow implements Limiter.
func (l *RedisLimiter) Allow(now time.Time, key LimitKey, r Rate) (time.Duration, bool) {
	b := l.local.bucket(key, r)
	if retryIn, ok := b.take(now); !ok {
		return retryIn, false
	}
	switch b.unreported.Add(1) {
	case 1:
		l.add(use{key, b})
	case reportAfter:
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	return 0, true
}

func (l *RedisLimiter) add(u use) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.uses) < mostUnreported {
		l.uses = append(l.uses, u)
	} else {
		u.bucket.unreported.Store(0)
	}
}

// Alone reports whether the last report failed, so that the local limiter is alone.
func (l *RedisLimiter) Alone() bool { return l.alone.Load() }

// Run reports until ctx ends. Without it the local limiter is alone.
func (l *RedisLimiter) Run(ctx context.Context) error {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-l.wake:
		}
		l.mu.Lock()
		uses := l.uses
		l.uses = nil
		l.mu.Unlock()
		if len(uses) == 0 {
			continue
		}
		err := l.reportAll(ctx, uses)
		switch failed := err != nil; {
		case ctx.Err() != nil || failed == l.alone.Load():
		case failed:
			l.alone.Store(true)
			l.log.WarnContext(ctx, "rate limits are counted by this replica alone", "error", err)
		default:
			l.alone.Store(false)
			l.log.InfoContext(ctx, "rate limits are shared again")
		}
	}
}

// reportAll gives up at the first error. What isn't reported is forgotten: paid
// later, it would refuse callers who kept to their rate.
func (l *RedisLimiter) reportAll(ctx context.Context, uses []use) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(reportsAtOnce)
	for _, u := range uses {
		calls := u.bucket.unreported.Swap(0)
		if ctx.Err() == nil {
			group.Go(func() error { return l.report(ctx, u, int(calls)) })
		}
	}
	return group.Wait()
}

func (l *RedisLimiter) report(ctx context.Context, u use, calls int) error {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
	defer cancel()
	r := u.bucket.rate
	limit := redis_rate.Limit{Rate: r.PerMinute, Period: time.Minute, Burst: r.Burst + headroom}
	answer, err := l.shared.AllowN(ctx, u.key.Principal+":"+u.key.Server+":"+u.key.Tool, limit, calls)
	if err != nil {
		return fmt.Errorf("report calls to redis: %w", err)
	}
	left := float64(r.Burst) - answer.ResetAfter.Minutes()*float64(r.PerMinute)
	u.bucket.lower(l.now(), left-float64(u.bucket.unreported.Load()))
	return nil
}

// lower leaves at most so many calls, which may be less than none. No more than a
// hundred bursts below: whatever Redis holds, a key isn't refused for ever.
func (b *bucket) lower(now time.Time, calls float64) {
	burst := b.limiter.Burst()
	surplus := b.limiter.TokensAt(now) - perCall*max(calls, -100*float64(b.rate.Burst))
	for surplus >= 1 {
		part := min(int(surplus), burst)
		b.limiter.ReserveN(now, part)
		surplus -= float64(part)
	}
}

// prefixed puts the prefix in front of redis_rate's keys, which begin with "rate:".
type prefixed struct {
	redis.UniversalClient
	prefix string
}

func (p prefixed) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return p.UniversalClient.Eval(ctx, script, []string{p.prefix + keys[0]}, args...)
}

func (p prefixed) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return p.UniversalClient.EvalSha(ctx, sha, []string{p.prefix + keys[0]}, args...)
}
