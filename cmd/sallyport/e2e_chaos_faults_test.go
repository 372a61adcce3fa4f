package main_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/internal/testenv"
)

// fault is one kind of what the injector does; it returns when it is undone.
type fault struct {
	name   string
	inject func(t *testing.T)
}

// inject makes all kinds of faults, one at a time and in an order of its own in
// each round, until the time is over, but at least one round of them. Between
// two faults it waits until clients get through again.
func (r *chaosRun) inject(t *testing.T, random *rand.Rand, until time.Time, faults []fault) {
	t.Helper()
	for round := 0; round == 0 || time.Now().Before(until); round++ {
		for _, i := range random.Perm(len(faults)) {
			if round > 0 && time.Now().After(until) {
				return
			}
			linger(t.Context(), between(random, 300, 900))
			faults[i].inject(t)
			r.result.Faults[faults[i].name]++
			through := r.successes.Load()
			eventually(t, 30*time.Second, "clients get through after: "+faults[i].name, func() bool { return r.successes.Load() > through+20 })
		}
	}
}

func between(random *rand.Rand, low, high int) time.Duration {
	return time.Duration(low+random.IntN(high-low+1)) * time.Millisecond
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// crashes are the faults that need no particular Redis.
func (r *chaosRun) crashes(random *rand.Rand) []fault {
	return []fault{
		{"sallyport killed", func(t *testing.T) {
			must(t, r.sallyport.Kill())
			linger(t.Context(), between(random, 0, 400))
			r.startSallyport(t)
		}},
		{"envoy killed", func(t *testing.T) {
			must(t, r.envoy.Kill())
			linger(t.Context(), between(random, 0, 400))
			r.startEnvoy(t)
		}},
		{"upstream away", func(t *testing.T) {
			must(t, r.upstream.away())
			linger(t.Context(), between(random, 300, 900))
			r.upstream.listen(t)
		}},
	}
}

// singleRedis is a server with an append-only file, and its faults.
func singleRedis(t *testing.T, random *rand.Rand) (yaml string, faults []fault) {
	t.Helper()
	server := testenv.RedisFor(t, testenv.RedisOptions{AOF: "always"})
	return "{addresses: ['" + server.Address() + "']}", []fault{
		{"redis paused", func(t *testing.T) {
			must(t, server.Pause())
			linger(t.Context(), between(random, 300, 2500))
			must(t, server.Resume())
		}},
		{"redis killed", func(t *testing.T) {
			must(t, server.Kill())
			linger(t.Context(), between(random, 0, 700))
			must(t, server.Restart(t.Context()))
		}},
	}
}

// pair is a master and its replica, which keep nothing on disk, behind a
// Sentinel: what a failover loses is lost.
type pair struct {
	master, replica *testenv.Redis
	sentinel        *redis.SentinelClient
}

func replicatedRedis(t *testing.T) (yaml string, faults []fault) {
	t.Helper()
	p := &pair{master: testenv.RedisFor(t, testenv.RedisOptions{}), replica: testenv.RedisFor(t, testenv.RedisOptions{})}
	p.follow(t)
	sentinel, err := testenv.StartSentinel(t.Context(), p.master, 1, testenv.RedisOptions{Log: testenv.LogOnFailure(t, "Sentinel")})
	must(t, err)
	t.Cleanup(func() { must(t, sentinel.Remove()) })
	p.sentinel = redis.NewSentinelClient(&redis.Options{Addr: sentinel.Address(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = p.sentinel.Close() })
	return fmt.Sprintf("{mode: sentinel, master_name: %s, addresses: ['%s']}", testenv.SentinelMaster, sentinel.Address()), []fault{
		{"redis failed over", p.failOver},
		{"redis failed over to a replica that was cut off", func(t *testing.T) {
			// What the master acquires from now on is lost with it.
			redisDo(t, p.replica, "config", "set", "masterauth", "wrong")
			redisDo(t, p.replica, "client", "kill", "type", "master")
			linger(t.Context(), time.Second)
			p.failOver(t)
		}},
	}
}

// failOver kills the master, waits for its replica's promotion, and makes the
// old master the replica of the new one.
func (p *pair) failOver(t *testing.T) {
	t.Helper()
	must(t, p.master.Kill())
	redisDo(t, p.replica, "config", "set", "masterauth", "")
	p.master, p.replica = p.replica, p.master
	eventually(t, 30*time.Second, "the failover is over", func() bool {
		master, err := p.sentinel.Master(t.Context(), testenv.SentinelMaster).Result()
		return err == nil && net.JoinHostPort(master["ip"], master["port"]) == p.master.Address()
	})
	must(t, p.replica.Restart(t.Context()))
	p.follow(t)
	// Otherwise the Sentinel looks ten seconds later, and fails over again not
	// before twice its timeout.
	must(t, p.sentinel.Reset(t.Context(), testenv.SentinelMaster).Err())
	eventually(t, 30*time.Second, "the Sentinel knows the new replica", func() bool {
		replicas, err := p.sentinel.Replicas(t.Context(), testenv.SentinelMaster).Result()
		return err == nil && len(replicas) == 1 && replicas[0]["flags"] == "slave" && replicas[0]["master-link-status"] == "ok"
	})
}

func (p *pair) follow(t *testing.T) {
	t.Helper()
	host, port, err := net.SplitHostPort(p.master.Address())
	must(t, err)
	redisDo(t, p.replica, "replicaof", host, port)
	eventually(t, 30*time.Second, "the replica is in step", func() bool {
		return strings.Contains(redisDo(t, p.replica, "info", "replication"), "master_link_status:up")
	})
}

// redisDo is one command on a connection of its own.
func redisDo(t *testing.T, server *testenv.Redis, arguments ...any) string {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Address(), ContextTimeoutEnabled: true})
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	answer, err := client.Do(ctx, arguments...).Result()
	must(t, err)
	return fmt.Sprint(answer)
}
