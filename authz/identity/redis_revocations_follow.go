package identity

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// pollEvery leaves half a second of the one that a revocation may take.
const pollEvery = 500 * time.Millisecond

// RevocationFollower keeps a list in step with a feed.
type RevocationFollower struct {
	feed *RedisRevocations
	list *RevocationList
	log  *slog.Logger

	mu   sync.Mutex // one reads at a time; guards what follows
	upTo int64      // number of the feed up to which all is in the list
}

// Follow makes the list hold what the feed does, beside what its file says. From
// now on the list refuses everybody (RevocationsStale) while the feed wasn't read
// for two seconds; before the first Refresh too.
func (r *RedisRevocations) Follow(list *RevocationList, log *slog.Logger) *RevocationFollower {
	list.feed.Store(&revocationFeed{})
	return &RevocationFollower{feed: r, list: list, log: log}
}

// Run reads the feed twice a second, and when something is appended, until ctx
// ends. When Redis is away it goes on trying.
func (f *RevocationFollower) Run(ctx context.Context) error {
	wake := f.feed.client.Subscribe(ctx)
	defer wake.Close() //nolint:errcheck // nothing is lost
	failing := f.refresh(ctx, false)
	f.subscribe(ctx, wake)
	woken := wake.Channel(redis.WithChannelSize(1))
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-woken:
		}
		failing = f.refresh(ctx, failing)
	}
}

// subscribe asks for the channel. An error is for later: the client asks again
// whenever it connects.
func (f *RevocationFollower) subscribe(ctx context.Context, wake *redis.PubSub) {
	ctx, cancel := context.WithTimeout(ctx, f.feed.cfg.Timeout)
	defer cancel()
	_ = wake.Subscribe(ctx, f.feed.channel)
}

// refresh logs when the feed goes away and when it is back.
func (f *RevocationFollower) refresh(ctx context.Context, failing bool) (failed bool) {
	err := f.Refresh(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil && !failing:
		f.log.ErrorContext(ctx, "the feed of revocations can't be read; requests are refused until it can", "error", err)
	case err == nil && failing:
		f.log.InfoContext(ctx, "the feed of revocations is read again")
	}
	return err != nil
}

// Refresh brings the list up to date once. After an error it holds what was read.
func (f *RevocationFollower) Refresh(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	// What Redis answers is at least as new as the question.
	now := f.list.now()
	next := *f.list.feed.Load()
	err := f.catchUp(ctx, &next, now)
	if err == nil {
		next.read = now
	}
	f.list.feed.Store(&next)
	return err
}

// catchUp reads all that is new into next.
func (f *RevocationFollower) catchUp(ctx context.Context, next *revocationFeed, now time.Time) error {
	copied := false
	for {
		page, err := f.feed.page(ctx, f.upTo)
		if err != nil {
			return err
		}
		if page.last < f.upTo {
			// What is in the list stays there: a revocation is not taken back by an accident.
			f.log.ErrorContext(ctx, "redis lost revocations that it had; this replica keeps them, a new one won't know them")
			f.upTo = 0
			continue
		}
		if len(page.entries) > 0 && !copied {
			next.list, copied = unended(next.list, now), true
		}
		for _, text := range page.entries {
			entry, err := parseRevocation(text)
			if err != nil {
				return err
			}
			next.list[entry.key()] = revocation{until: entry.Until, issuedBefore: entry.IssuedBefore}
		}
		f.upTo = page.upTo
		if f.upTo >= page.last {
			return nil
		}
	}
}

// unended copies a list without what has ended, by any replica's clock.
func unended(list map[revoked]revocation, now time.Time) map[revoked]revocation {
	kept := make(map[revoked]revocation, len(list)+1)
	for key, r := range list {
		if r.until.IsZero() || now.Before(r.until.Add(maxClockSkew)) {
			kept[key] = r
		}
	}
	return kept
}
