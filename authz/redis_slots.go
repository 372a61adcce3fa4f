package authz

import (
	"context"
	_ "embed" // for the script
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/authz/identity"
)

//go:embed redis_slots.lua
var slotsLua string

// RedisSlots are the slots that all replicas share. Each call is one round trip;
// leases end by Redis' clock, so a replica that dies gives its slots back. When
// Redis is away, at the start or later, every call is an error after the timeout
// at most. Slots that Redis itself loses are free at once.
type RedisSlots struct {
	client redis.UniversalClient
	cfg    identity.RedisConfig
	take   *redis.Script
}

// NewRedisSlots uses a client of another's making, a *redis.Client or
// *redis.ClusterClient with ContextTimeoutEnabled. It doesn't connect.
func NewRedisSlots(client redis.UniversalClient, cfg identity.RedisConfig) (*RedisSlots, error) {
	if err := cfg.Ready(client); err != nil {
		return nil, fmt.Errorf("redis slots: %w", err)
	}
	return &RedisSlots{client: client, cfg: cfg, take: redis.NewScript(slotsLua)}, nil
}

// Take implements Slots. Leases are whole milliseconds.
func (r *RedisSlots) Take(ctx context.Context, slot Slot, limit int, lease time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	taken, err := r.take.Run(ctx, r.client, []string{r.name(slot)}, slot.Owner, limit, lease.Milliseconds()).Int()
	if err != nil {
		return false, fmt.Errorf("take a slot in redis: %w", err)
	}
	return taken == 1, nil
}

// Free implements Slots.
func (r *RedisSlots) Free(ctx context.Context, slot Slot) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	if err := r.client.ZRem(ctx, r.name(slot), slot.Owner).Err(); err != nil {
		return fmt.Errorf("free a slot in redis: %w", err)
	}
	return nil
}

// name is unambiguous: a server's name has no colon.
func (r *RedisSlots) name(slot Slot) string {
	return r.cfg.Prefix + "slots:" + slot.Server + ":" + slot.Tool
}
