package idempotency_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/idempotency"
	"github.com/sallyport/sallyport/internal/testenv"
)

func TestCheckServer(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		options testenv.RedisOptions
		refusal string // in the error; empty: none
		warning string // in the warnings; empty: none
	}{
		"as it should be":           {testenv.RedisOptions{AOF: "everysec", MaxMemory: "100mb"}, "", ""},
		"unlimited":                 {testenv.RedisOptions{AOF: "always"}, "", ""},
		"evicts anything":           {testenv.RedisOptions{AOF: "always", MaxMemory: "100mb", MaxMemoryPolicy: "allkeys-lru"}, "set maxmemory-policy noeviction", ""},
		"evicts what expires":       {testenv.RedisOptions{AOF: "always", MaxMemory: "100mb", MaxMemoryPolicy: "volatile-ttl"}, `"volatile-ttl"`, ""},
		"would evict":               {testenv.RedisOptions{AOF: "always", MaxMemoryPolicy: "volatile-lru"}, "", "set noeviction"},
		"no append-only file":       {testenv.RedisOptions{}, "", "set appendonly yes"},
		"a cluster without cluster": {testenv.RedisOptions{AOF: "always", Directives: []string{"cluster-enabled yes"}}, "cluster mode is true on the server", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			warnings, err := idempotency.CheckServer(t.Context(), clientOf(t, testenv.RedisFor(t, test.options), redis.Options{}))
			checkRefusal(t, err, test.refusal)
			if text := strings.Join(warnings, "\n"); (text == "") != (test.warning == "") || !strings.Contains(text, test.warning) {
				t.Errorf("warnings %q, want %q", text, test.warning)
			}
		})
	}
}

func checkRefusal(t *testing.T, err error, refusal string) {
	t.Helper()
	if refusal == "" {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	if !errors.Is(err, idempotency.ErrServer) || errors.Is(err, idempotency.ErrUnavailable) || !strings.Contains(err.Error(), refusal) {
		t.Errorf("got %v, want ErrServer with %q", err, refusal)
	}
}

func TestCheckServerRefusesReplica(t *testing.T) {
	t.Parallel()
	master := testenv.RedisFor(t, testenv.RedisOptions{})
	replica := testenv.RedisFor(t, testenv.RedisOptions{ReplicaOf: master})
	_, err := idempotency.CheckServer(t.Context(), clientOf(t, replica, redis.Options{}))
	checkRefusal(t, err, `role is "slave"`)
}

func TestCheckServerAsksEveryMaster(t *testing.T) {
	t.Parallel()
	client, cluster := startCluster(t, 0)
	if warnings, err := idempotency.CheckServer(t.Context(), client); err != nil || len(warnings) > 0 {
		t.Errorf("%q, %v", warnings, err)
	}
	last := clientOf(t, cluster.Nodes[2], redis.Options{})
	set := func(name, value string) {
		t.Helper()
		if err := last.ConfigSet(t.Context(), name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set("appendonly", "no")
	warnings, err := idempotency.CheckServer(t.Context(), client)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], cluster.Nodes[2].Address()) {
		t.Errorf("append-only file off on one: %q, %v", warnings, err)
	}
	set("maxmemory", "100mb")
	set("maxmemory-policy", "allkeys-random")
	_, err = idempotency.CheckServer(t.Context(), client)
	checkRefusal(t, err, cluster.Nodes[2].Address())
}

func TestCheckServerUnreachable(t *testing.T) {
	t.Parallel()
	server := testenv.RedisFor(t, testenv.RedisOptions{})
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Address()}, ContextTimeoutEnabled: true, DialerRetries: 1})
	defer cluster.Close()
	for _, client := range []redis.UniversalClient{clientOf(t, server, redis.Options{}), cluster} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := idempotency.CheckServer(ctx, client); !errors.Is(err, idempotency.ErrUnavailable) || errors.Is(err, idempotency.ErrServer) {
			t.Errorf("%T: got %v, want ErrUnavailable", client, err)
		}
	}
}

func TestNewRedisRefuses(t *testing.T) {
	t.Parallel()
	good := redis.NewClient(&redis.Options{ContextTimeoutEnabled: true})
	defer good.Close()
	careless := redis.NewClient(&redis.Options{})
	defer careless.Close()
	ring := redis.NewRing(&redis.RingOptions{})
	defer ring.Close()
	sealer := newSealer(t, newKeyFile(t))
	tests := map[string]struct {
		client redis.UniversalClient
		cfg    idempotency.RedisConfig
		want   []string
	}{
		"deadlines ignored": {careless, idempotency.RedisConfig{Sealer: sealer}, []string{"ContextTimeoutEnabled"}},
		"ring":              {ring, idempotency.RedisConfig{Sealer: sealer}, []string{"*redis.Ring"}},
		"everything at once": {good, idempotency.RedisConfig{
			Prefix: "{all}", Timeout: -1, Replicas: -1, ReplicaWait: time.Hour, MaxResponse: -1,
		}, []string{"prefix", "timeout", "replicas", "replica_wait", "max_response", "key file"}},
	}
	for name, test := range tests {
		_, err := idempotency.NewRedis(test.client, test.cfg)
		if err == nil || slices.ContainsFunc(test.want, func(part string) bool { return !strings.Contains(err.Error(), part) }) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}
