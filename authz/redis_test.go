package authz_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/internal/testenv"
)

// redisConfig is that of the stores in tests that don't measure the timeout: a
// machine that does other things too must not look like a Redis that is away.
func redisConfig() identity.RedisConfig {
	return identity.RedisConfig{Prefix: "app:", Timeout: 5 * time.Second}
}

// connect makes a client as the service has one.
func connect(t testing.TB, server *testenv.Redis, edits ...func(*redis.Options)) *redis.Client {
	t.Helper()
	options := &redis.Options{Network: server.Network(), Addr: server.Address(), ContextTimeoutEnabled: true, DialTimeout: time.Second}
	for _, edit := range edits {
		edit(options)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// redisKinds are the ways in which Redis is run: each makes a client of its own
// server. The users may only use keys under "app:".
func redisKinds(t *testing.T) map[string]func(*testing.T) redis.UniversalClient {
	t.Helper()
	single := func(binary func() (string, error)) func(*testing.T) redis.UniversalClient {
		return func(t *testing.T) redis.UniversalClient {
			path, err := binary()
			if err != nil {
				t.Fatal(err)
			}
			server := testenv.RedisFor(t, testenv.RedisOptions{
				Binary: path, UnixSocket: true, User: "app", Password: "secret", ACL: "resetchannels ~app:* +@all",
			})
			return connect(t, server, func(o *redis.Options) { o.Username, o.Password = "app", "secret" })
		}
	}
	kinds := map[string]func(*testing.T) redis.UniversalClient{
		"redis": single(testenv.RedisBinary),
		"cluster": func(t *testing.T) redis.UniversalClient {
			cluster, err := testenv.StartRedisCluster(t.Context(), 2, 0, testenv.RedisOptions{Log: testenv.LogOnFailure(t, "Redis")})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cluster.Remove() })
			client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addresses(), ContextTimeoutEnabled: true})
			t.Cleanup(func() { _ = client.Close() })
			return client
		},
	}
	if runtime.GOARCH == "amd64" { // there is no other pinned build
		kinds["oldest redis"] = single(testenv.OldestRedisBinary)
	}
	return kinds
}

// TestRedis holds each store to what the memory's must do too.
func TestRedis(t *testing.T) {
	t.Parallel()
	for name, start := range redisKinds(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := start(t)
			t.Run("slots", func(t *testing.T) {
				testSlots(t, newSlots(t, client), newSlots(t, client), func(d time.Duration) { <-time.After(d) })
			})
			t.Run("sessions", func(t *testing.T) {
				testSessions(t, newSessions(t, client, time.Now), newSessions(t, client, time.Now))
			})
			t.Run("limiter", func(t *testing.T) {
				l, log := newLimiter(t, client, redisConfig())
				runs(t, l.Run)
				testLimiter(t, l)
				if text := log.String(); text != "" {
					t.Errorf("not all calls were reported: %s", text)
				}
			})
		})
	}
}

// eventually asks until the answer is yes.
func eventually(t testing.TB, within time.Duration, what string, ask func() bool) {
	t.Helper()
	deadline, tick := time.After(within), time.NewTicker(2*time.Millisecond)
	defer tick.Stop()
	for !ask() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// runs runs something until the test ends.
func runs(t testing.TB, run func(context.Context) error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// outage is what becomes of a store while Redis isn't there, hangs, and is back.
// failing is asked while it is away; working is tried until it succeeds after
// each return.
func outage(t *testing.T, server *testenv.Redis, failing func(when string), working func() bool) {
	t.Helper()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	failing("away at the start")
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "working after the restart", working)
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	failing("hanging")
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "working after the pause", working)
}

// twice sends every command again, as if the first answer had been lost.
type twice struct{}

func (twice) DialHook(next redis.DialHook) redis.DialHook { return next }
func (twice) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (twice) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		_ = next(ctx, cmd)
		return next(ctx, cmd)
	}
}

// movingClock shows what a test makes it show.
type movingClock struct{ passed atomic.Int64 }

func (c *movingClock) now() time.Time          { return time.Unix(1_800_000_000, c.passed.Load()) }
func (c *movingClock) advance(d time.Duration) { c.passed.Add(int64(d)) }
