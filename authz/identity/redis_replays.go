package identity

import (
	"context"
	"crypto/sha256"
	_ "embed" // for the script
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed redis_replays.lua
var replaysLua string

// RedisReplays is a Replays that all replicas share. Each call is one round trip.
// When Redis is away, at the start or later, every call is an error after the
// timeout at most, and the first call after its return succeeds. What Redis
// itself loses can be used once more: run it with an append-only file.
type RedisReplays struct {
	client   redis.UniversalClient
	cfg      RedisConfig
	remember *redis.Script
}

// NewRedisReplays uses a client of another's making, a *redis.Client or
// *redis.ClusterClient with ContextTimeoutEnabled. It doesn't connect.
func NewRedisReplays(client redis.UniversalClient, cfg RedisConfig) (*RedisReplays, error) {
	if err := cfg.Ready(client); err != nil {
		return nil, fmt.Errorf("redis replays: %w", err)
	}
	return &RedisReplays{client: client, cfg: cfg, remember: redis.NewScript(replaysLua)}, nil
}

// replaySize: the client sends a command again when its answer is lost. The
// number of the attempt behind the value tells such a binding from another's.
const replaySize = sha256.Size + 8

// Remember implements Replays. It remembers for a minute longer than asked: the
// clocks of Redis and of another replica may be that far off ours.
func (r *RedisReplays) Remember(ctx context.Context, key, value [sha256.Size]byte, until time.Time) (earlier [sha256.Size]byte, seen bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	var mine [replaySize]byte
	copy(mine[:], value[:])
	binary.BigEndian.PutUint64(mine[sha256.Size:], rand.Uint64()) //nolint:gosec // to be told apart, not to be secret
	name := r.cfg.Prefix + "replay:" + base64.RawURLEncoding.EncodeToString(key[:])
	bound, err := r.remember.Run(ctx, r.client, []string{name}, mine[:], until.Add(maxClockSkew).UnixMilli()).Text()
	switch {
	case errors.Is(err, redis.Nil):
		return earlier, false, nil
	case err != nil:
		return earlier, false, fmt.Errorf("remember in redis: %w", err)
	case len(bound) != replaySize:
		return earlier, false, fmt.Errorf("remember in redis: %s holds %d bytes, which are not ours", name, len(bound))
	case bound == string(mine[:]):
		return earlier, false, nil
	}
	copy(earlier[:], bound)
	return earlier, true, nil
}
