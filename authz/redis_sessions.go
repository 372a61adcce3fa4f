package authz

import (
	"context"
	"crypto/sha256"
	_ "embed" // for the script
	"encoding/base64"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/authz/identity"
)

//go:embed redis_sessions.lua
var sessionsLua string

const (
	// extendEvery is how often a session in use is kept for longer, at most.
	extendEvery = 5 * time.Minute
	// extendQueue is how many sessions can wait for that.
	extendQueue = 1024
)

// RedisSessions are the sessions that all replicas share. An owner never changes,
// so this replica remembers those that it has seen, and a Check waits for Redis
// only for a session that is new to it. A session ends 24 hours after its last
// use, less up to five minutes.
//
// When Redis is away, at the start or later, sessions that this replica knows go
// on, for 24 hours at most; for others Owner and Bind are an error, after the
// timeout at most. A session that Redis loses is unknown to other replicas until
// one that knows it has kept it for longer.
type RedisSessions struct {
	client redis.UniversalClient
	cfg    identity.RedisConfig
	now    func() time.Time
	bind   *redis.Script
	known  *otter.Cache[[2]string, *knownSession] // by server and session
	extend chan extension
}

// knownSession is a session of which Redis has said whose it is.
type knownSession struct {
	owner     string
	confirmed atomic.Int64 // Unix milliseconds: Redis keeps it for sessionIdle from then on, at least
	asked     atomic.Int64 // the same, of the last attempt to extend that
}

// extension is a session that is in use.
type extension struct {
	key     [2]string
	session *knownSession
}

// NewRedisSessions remembers this many sessions, about 400 bytes each. It uses a
// client of another's making, a *redis.Client or *redis.ClusterClient with
// ContextTimeoutEnabled. It doesn't connect.
func NewRedisSessions(client redis.UniversalClient, cfg identity.RedisConfig, sessions int, now func() time.Time) (*RedisSessions, error) {
	if err := cfg.Ready(client); err != nil {
		return nil, fmt.Errorf("redis sessions: %w", err)
	}
	known, err := otter.New(&otter.Options[[2]string, *knownSession]{
		MaximumSize:      sessions,
		ExpiryCalculator: otter.ExpiryAccessing[[2]string, *knownSession](sessionIdle),
	})
	if err != nil {
		return nil, fmt.Errorf("redis sessions: %w", err)
	}
	return &RedisSessions{
		client: client, cfg: cfg, now: now, bind: redis.NewScript(sessionsLua),
		known: known, extend: make(chan extension, extendQueue),
	}, nil
}

// Run keeps sessions in use for longer, until ctx ends. Without it they end 24
// hours after this replica learned of them, and are asked for again.
func (r *RedisSessions) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-r.extend:
			asked := r.now()
			switch err := r.tryBind(ctx, e.key, e.session.owner); {
			case err == nil:
				e.session.confirmed.Store(asked.UnixMilli())
			case errors.Is(err, errSessionTaken):
				r.known.Invalidate(e.key) // Redis had lost it, and the upstream gave it to somebody else
			}
		}
	}
}

// Owner implements Sessions.
func (r *RedisSessions) Owner(ctx context.Context, server, session string) (string, error) {
	key, now := [2]string{server, session}, r.now()
	if known, ok := r.known.GetIfPresent(key); ok && now.UnixMilli()-known.confirmed.Load() < sessionIdle.Milliseconds() {
		r.used(key, known, now)
		return known.owner, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	owner, err := r.client.GetEx(ctx, r.name(key), sessionIdle).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("look for a session in redis: %w", err)
	}
	r.remember(key, owner, now)
	return owner, nil
}

// used has the session kept for longer, now and then. If the queue is full, the
// next time is soon enough.
func (r *RedisSessions) used(key [2]string, known *knownSession, now time.Time) {
	asked := known.asked.Load()
	if now.UnixMilli()-asked < extendEvery.Milliseconds() || !known.asked.CompareAndSwap(asked, now.UnixMilli()) {
		return
	}
	select {
	case r.extend <- extension{key, known}:
	default:
	}
}

// Bind implements Sessions.
func (r *RedisSessions) Bind(ctx context.Context, server, session, principal string) error {
	key, now := [2]string{server, session}, r.now()
	if err := r.tryBind(ctx, key, principal); err != nil {
		return err
	}
	r.remember(key, principal, now)
	return nil
}

func (r *RedisSessions) tryBind(ctx context.Context, key [2]string, principal string) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	bound, err := r.bind.Run(ctx, r.client, []string{r.name(key)}, principal, sessionIdle.Milliseconds()).Int()
	switch {
	case err != nil:
		return fmt.Errorf("bind a session in redis: %w", err)
	case bound == 0:
		return errSessionTaken
	}
	return nil
}

// remember notes what Redis said of a session after that time.
func (r *RedisSessions) remember(key [2]string, owner string, asked time.Time) {
	known := &knownSession{owner: owner}
	known.confirmed.Store(asked.UnixMilli())
	known.asked.Store(asked.UnixMilli())
	r.known.Set(key, known)
}

// name hashes the session's id, which its upstream may take for a credential. A
// server's name has no colon.
func (r *RedisSessions) name(key [2]string) string {
	sum := sha256.Sum256([]byte(key[1]))
	return r.cfg.Prefix + "session:" + key[0] + ":" + base64.RawURLEncoding.EncodeToString(sum[:])
}
