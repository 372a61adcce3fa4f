package identity_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/internal/testenv"
)

// redisTimeout is that of the stores in tests that don't measure it: a machine
// that does other things too must not look like a Redis that is away.
const redisTimeout = 5 * time.Second

// connect makes a client as the service has one.
func connect(t *testing.T, server *testenv.Redis, edits ...func(*redis.Options)) *redis.Client {
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
// server. The users may only use keys and channels under "app:".
func redisKinds(t *testing.T) map[string]func(*testing.T) redis.UniversalClient {
	t.Helper()
	single := func(binary func() (string, error)) func(*testing.T) redis.UniversalClient {
		return func(t *testing.T) redis.UniversalClient {
			path, err := binary()
			if err != nil {
				t.Fatal(err)
			}
			server := testenv.RedisFor(t, testenv.RedisOptions{
				Binary: path, UnixSocket: true, User: "app", Password: "secret", ACL: "resetchannels ~app:* &app:* +@all",
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

// TestRedis tries what a server's version or a Cluster could change.
func TestRedis(t *testing.T) {
	t.Parallel()
	for name, start := range redisKinds(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := start(t)
			testReplays(t, newRedisReplays(t, client, redisTimeout), newRedisReplays(t, client, redisTimeout))
			testRevocations(t, newFeed(t, client, redisTimeout))
		})
	}
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, within time.Duration, what string, ask func() bool) {
	t.Helper()
	deadline, tick := time.After(within), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !ask() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

func TestRedisConfig(t *testing.T) {
	t.Parallel()
	obedient := redis.NewClient(&redis.Options{ContextTimeoutEnabled: true})
	careless := redis.NewClient(&redis.Options{})
	ring := redis.NewRing(&redis.RingOptions{ContextTimeoutEnabled: true, Addrs: map[string]string{"a": "127.0.0.1:1"}})
	for _, c := range []redis.UniversalClient{obedient, careless, ring} {
		t.Cleanup(func() { _ = c.Close() })
	}
	for _, tc := range []struct {
		name   string
		client redis.UniversalClient
		cfg    identity.RedisConfig
		want   []string
	}{
		{"defaults", obedient, identity.RedisConfig{}, nil},
		{"all mistakes", careless, identity.RedisConfig{Prefix: "{a}", Timeout: time.Microsecond}, []string{"prefix:", "timeout:", "ContextTimeoutEnabled"}},
		{"a ring", ring, identity.RedisConfig{}, []string{"*redis.Ring"}},
		{"no client", nil, identity.RedisConfig{}, []string{"client:"}},
	} {
		_, errReplays := identity.NewRedisReplays(tc.client, tc.cfg)
		_, errFeed := identity.NewRedisRevocations(tc.client, tc.cfg)
		for _, err := range []error{errReplays, errFeed} {
			if (err != nil) != (tc.want != nil) {
				t.Errorf("%s: %v", tc.name, err)
			}
			for _, want := range tc.want {
				if err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v, want %s", tc.name, err, want)
				}
			}
		}
	}
}

// twice sends every command again, as if the first answer had been lost.
type twice struct{}

func (twice) DialHook(next redis.DialHook) redis.DialHook { return next }
func (twice) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (twice) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := next(ctx, cmd); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		return next(ctx, cmd)
	}
}

// logBook counts what was logged by its message.
type logBook struct {
	mu    sync.Mutex // guards times
	times map[string]int
}

func (b *logBook) logger() *slog.Logger { return slog.New(b) }

func (b *logBook) Enabled(context.Context, slog.Level) bool { return true }
func (b *logBook) WithAttrs([]slog.Attr) slog.Handler       { return b }
func (b *logBook) WithGroup(string) slog.Handler            { return b }
func (b *logBook) Handle(_ context.Context, r slog.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.times == nil {
		b.times = make(map[string]int)
	}
	b.times[r.Message]++
	return nil
}

func (b *logBook) count(message string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.times[message]
}
