package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// slots is the number of slots of every Redis Cluster.
const slots = 16384

// RedisCluster is a running Redis Cluster. The masters come first in Nodes.
type RedisCluster struct{ Nodes []*Redis }

// StartRedisCluster starts a cluster with all slots served, each node with the
// given options; it needs TCP ports without TLS. Master i has the replicas at
// Nodes[masters+i], [2*masters+i] and so on.
func StartRedisCluster(ctx context.Context, masters, replicasEach int, options RedisOptions) (*RedisCluster, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	options.Directives = append([]string{"cluster-enabled yes", "cluster-node-timeout 2000"}, options.Directives...)
	cluster := &RedisCluster{}
	for range masters * (1 + replicasEach) {
		node, err := startRedis(ctx, options, freeBusPort)
		if err != nil {
			return nil, errors.Join(err, cluster.Remove())
		}
		cluster.Nodes = append(cluster.Nodes, node)
	}
	if err := cluster.join(ctx, masters); err != nil {
		return nil, errors.Join(fmt.Errorf("form a Redis Cluster: %w", err), cluster.Remove())
	}
	return cluster, nil
}

// join gives each master its share of the slots and makes all nodes meet the
// first one. It returns when every node sees the whole cluster, and every
// replica is in step.
func (c *RedisCluster) join(ctx context.Context, masters int) error {
	host, port, err := net.SplitHostPort(c.Nodes[0].address)
	if err != nil {
		return err
	}
	for i, node := range c.Nodes {
		client := node.client()
		defer client.Close() //nolint:errcheck // nothing depends on it
		err := errors.Join(
			client.Do(ctx, "cluster", "set-config-epoch", i+1).Err(),
			client.ClusterMeet(ctx, host, port).Err())
		if i < masters {
			err = errors.Join(err, client.ClusterAddSlotsRange(ctx, i*slots/masters, (i+1)*slots/masters-1).Err())
		}
		if err != nil {
			return err
		}
	}
	for _, node := range c.Nodes {
		if err := eventually(ctx, node.seesCluster(len(c.Nodes))); err != nil {
			return err
		}
	}
	for i, node := range c.Nodes[masters:] {
		if err := node.follow(ctx, c.Nodes[i%masters]); err != nil {
			return err
		}
	}
	return nil
}

// follow makes a node of a cluster the replica of another.
func (r *Redis) follow(ctx context.Context, master *Redis) error {
	theirs, ours := master.client(), r.client()
	defer theirs.Close() //nolint:errcheck // nothing depends on it
	defer ours.Close()   //nolint:errcheck // nothing depends on it
	id, err := theirs.Do(ctx, "cluster", "myid").Text()
	if err != nil {
		return err
	}
	if err := ours.ClusterReplicate(ctx, id).Err(); err != nil {
		return err
	}
	return eventually(ctx, func(ctx context.Context) error { return inStep(ctx, ours) })
}

func (r *Redis) seesCluster(nodes int) func(context.Context) error {
	return func(ctx context.Context) error {
		client := r.client()
		defer client.Close() //nolint:errcheck // nothing depends on it
		info, err := client.ClusterInfo(ctx).Result()
		whole := strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d\r", nodes))
		if err == nil && !whole {
			err = errors.New(info)
		}
		return err
	}
}

// Addresses are the nodes' addresses.
func (c *RedisCluster) Addresses() []string {
	addresses := make([]string, 0, len(c.Nodes))
	for _, node := range c.Nodes {
		addresses = append(addresses, node.Address())
	}
	return addresses
}

// Remove kills all nodes and forgets their data.
func (c *RedisCluster) Remove() error {
	var errs []error
	for _, node := range c.Nodes {
		errs = append(errs, node.Remove())
	}
	return errors.Join(errs...)
}

// SentinelMaster is the name under which StartSentinel watches a master.
const SentinelMaster = "main"

// StartSentinel starts one Sentinel that watches a master and promotes a replica
// of it, alone, when it has been away for half a second. It returns when the
// Sentinel knows that many replicas.
func StartSentinel(ctx context.Context, master *Redis, replicas int, options RedisOptions) (*Redis, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(master.address)
	if err != nil {
		return nil, fmt.Errorf("start sentinel: %w", err)
	}
	options.sentinel = []string{
		"sentinel monitor " + SentinelMaster + " " + host + " " + port + " 1",
		"sentinel down-after-milliseconds " + SentinelMaster + " 500",
		"sentinel failover-timeout " + SentinelMaster + " 3000",
	}
	if master.options.User != "" {
		options.sentinel = append(options.sentinel,
			"sentinel auth-user "+SentinelMaster+" "+ownUser,
			"sentinel auth-pass "+SentinelMaster+" "+master.options.Password)
	}
	sentinel, err := startRedis(ctx, options, FreePort)
	if err != nil {
		return nil, err
	}
	if err := eventually(ctx, sentinel.knowsReplicas(replicas)); err != nil {
		return nil, errors.Join(fmt.Errorf("start sentinel: %w", err), sentinel.Remove())
	}
	return sentinel, nil
}

func (r *Redis) knowsReplicas(n int) func(context.Context) error {
	return func(ctx context.Context) error {
		client := redis.NewSentinelClient(&redis.Options{Addr: r.address, ContextTimeoutEnabled: true})
		defer client.Close() //nolint:errcheck // nothing depends on it
		master, err := client.Master(ctx, SentinelMaster).Result()
		if known, _ := strconv.Atoi(master["num-slaves"]); err == nil && known < n {
			err = fmt.Errorf("the sentinel knows %d of %d replicas", known, n)
		}
		return err
	}
}
