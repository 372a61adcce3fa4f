package idempotency

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// tryReplicated asks for a claim and for its confirmation by replicas in one
// round trip. A claim that is acquired but not confirmed is released: its server
// may be about to lose it.
func (r *Redis) tryReplicated(ctx context.Context, c *Claim, keys []string, arguments []any) (answer, error) {
	node, err := r.master(ctx, keys[0])
	if err != nil {
		return answer{}, err
	}
	a, replicas, err := r.claimAndWait(ctx, node, r.claim.EvalSha, keys, arguments)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		a, replicas, err = r.claimAndWait(ctx, node, r.claim.Eval, keys, arguments)
	}
	if cluster, ok := r.client.(*redis.ClusterClient); ok && redis.HasErrorPrefix(err, "MOVED") {
		cluster.ReloadState(ctx) // for the second attempt, or the next claim
	}
	if err != nil || a.state != Acquired || replicas >= int64(r.cfg.Replicas) {
		return a, err
	}
	err = fmt.Errorf("%w: %d of %d", ErrNotReplicated, replicas, r.cfg.Replicas)
	if released := r.Release(context.WithoutCancel(ctx), c.Key, c.Owner); released != nil {
		err = errors.Join(err, released)
	}
	return answer{}, err
}

// claimAndWait sends the script and WAIT behind each other on one connection:
// WAIT is about what that connection wrote.
func (r *Redis) claimAndWait(ctx context.Context, node *redis.Client,
	script func(context.Context, redis.Scripter, []string, ...any) *redis.Cmd, keys []string, arguments []any,
) (a answer, replicas int64, err error) {
	var claim, wait *redis.Cmd
	_, err = node.Pipelined(ctx, func(p redis.Pipeliner) error {
		claim = script(ctx, p, keys, arguments...)
		wait = p.Do(ctx, "wait", r.cfg.Replicas, milliseconds(r.cfg.ReplicaWait))
		return nil
	})
	if err != nil {
		return answer{}, 0, err
	}
	if a, err = readAnswer(claim.Slice()); err != nil {
		return answer{}, 0, err
	}
	replicas, err = wait.Int64()
	return a, replicas, err
}

// master is the server that a claim is kept on.
func (r *Redis) master(ctx context.Context, name string) (*redis.Client, error) {
	switch c := r.client.(type) {
	case *redis.Client:
		return c, nil
	case *redis.ClusterClient:
		return c.MasterForKey(ctx, name)
	default:
		return nil, fmt.Errorf("a %T can't keep claims", c) // NewRedis refuses it
	}
}
