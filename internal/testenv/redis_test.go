package testenv_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/internal/testenv"
)

func redisClient(t *testing.T, server *testenv.Redis, options redis.Options) *redis.Client {
	t.Helper()
	options.Network, options.Addr = server.Network(), server.Address()
	options.ContextTimeoutEnabled, options.MaxRetries = true, -1
	client := redis.NewClient(&options)
	t.Cleanup(func() { client.Close() })
	return client
}

// TestRedisKeepsWhatItWrote crashes one server with an append-only file and one
// without.
func TestRedisKeepsWhatItWrote(t *testing.T) {
	t.Parallel()
	for _, aof := range []string{"always", "everysec", ""} {
		t.Run("appendfsync "+aof, func(t *testing.T) {
			t.Parallel()
			server := testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true, AOF: aof})
			if err := redisClient(t, server, redis.Options{}).Set(t.Context(), "a", "b", 0).Err(); err != nil {
				t.Fatal(err)
			}
			address := server.Address()
			if err := server.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := server.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			if server.Address() != address {
				t.Errorf("restarted on %s, was on %s", server.Address(), address)
			}
			n, err := redisClient(t, server, redis.Options{}).Exists(t.Context(), "a").Result()
			if want := aof != ""; err != nil || (n == 1) != want {
				t.Errorf("the value is there: %v (%v), want %v", n == 1, err, want)
			}
			if err := server.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRedisPause(t *testing.T) {
	t.Parallel()
	server := testenv.RedisFor(t, testenv.RedisOptions{})
	client := redisClient(t, server, redis.Options{ReadTimeout: 100 * time.Millisecond})
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Error("a paused server answers")
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := redisClient(t, server, redis.Options{}).Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := server.Stop(); err != nil {
		t.Errorf("stop a paused server: %v", err)
	}
}

func TestRedisWithTLSAndUser(t *testing.T) {
	t.Parallel()
	authority, err := testenv.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile, err := authority.Issue("redis", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	server := testenv.RedisFor(t, testenv.RedisOptions{
		TLS:  &testenv.RedisTLS{CAFile: authority.CAFile, CertFile: certFile, KeyFile: keyFile},
		User: "app", Password: "secret", ACL: "~app:* +@read",
	})
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(authority.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	config := &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13}

	good := redisClient(t, server, redis.Options{TLSConfig: config, Username: "app", Password: "secret"})
	if err := good.Get(t.Context(), "app:1").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("allowed command: %v", err)
	}
	if err := good.Get(t.Context(), "other:1").Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("another's key: %v", err)
	}
	bad := map[string]redis.Options{
		"no TLS":         {Username: "app", Password: "secret"},
		"no certificate": {Username: "app", Password: "secret", TLSConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}},
		"wrong password": {Username: "app", Password: "guess", TLSConfig: config},
		"default user":   {TLSConfig: config},
	}
	for name, options := range bad {
		if err := redisClient(t, server, options).Get(t.Context(), "app:1").Err(); err == nil || errors.Is(err, redis.Nil) {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestRedisCluster(t *testing.T) {
	t.Parallel()
	cluster, err := testenv.StartRedisCluster(t.Context(), 3, 0, testenv.RedisOptions{Log: testenv.LogOnFailure(t, "Redis")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Remove() })
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addresses()})
	defer client.Close()
	for _, key := range []string{"a", "b", "c", "d"} {
		if err := client.Set(t.Context(), key, key, 0).Err(); err != nil {
			t.Error(err)
		}
	}
}

// TestRedisFailover kills a master: its replica takes over, with what it had.
func TestRedisFailover(t *testing.T) {
	t.Parallel()
	master := testenv.RedisFor(t, testenv.RedisOptions{User: "app", Password: "secret"})
	testenv.RedisFor(t, testenv.RedisOptions{User: "app", Password: "secret", ReplicaOf: master})
	sentinel, err := testenv.StartSentinel(t.Context(), master, 1, testenv.RedisOptions{Log: testenv.LogOnFailure(t, "Sentinel")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sentinel.Remove() })
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: testenv.SentinelMaster, SentinelAddrs: []string{sentinel.Address()}, Username: "app", Password: "secret",
	})
	defer client.Close()
	if err := client.Set(t.Context(), "a", "b", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := client.Wait(t.Context(), 1, time.Second).Result(); n != 1 || err != nil {
		t.Fatalf("%d replicas have it, %v", n, err)
	}
	if err := master.Kill(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		value, err := client.Get(t.Context(), "a").Result()
		if value == "b" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the replica never took over: %q, %v", value, err)
		}
	}
}

func TestRedisReportsWhatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := testenv.StartRedis(t.Context(), testenv.RedisOptions{Directives: []string{"no-such-directive yes"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-directive") {
		t.Errorf("got %v, want what Redis said", err)
	}
}

func TestRedisIsGoneAfterRemove(t *testing.T) {
	t.Parallel()
	server, err := testenv.StartRedis(t.Context(), testenv.RedisOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", server.Address()); err == nil {
		t.Error("it still listens")
	}
}
