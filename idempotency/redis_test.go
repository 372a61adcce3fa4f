package idempotency_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/idempotency"
	"github.com/sallyport/sallyport/idempotency/storetest"
	"github.com/sallyport/sallyport/internal/testenv"
)

// leastRights are those that idempotency.Redis names.
const leastRights = "~sallyport:claim:* -@all +evalsha +eval +time +hset +hget +hmget +hexists +del +pexpire +pttl +wait +info +hello +client|setinfo"

func clientOf(t testing.TB, server *testenv.Redis, options redis.Options) *redis.Client {
	t.Helper()
	options.Network, options.Addr = server.Network(), server.Address()
	options.ContextTimeoutEnabled, options.DialerRetries = true, 1 // each retry is logged
	client := redis.NewClient(&options)
	t.Cleanup(func() { client.Close() })
	return client
}

// newKeyFile writes a random key.
func newKeyFile(t testing.TB) string {
	t.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	return writeKeyFile(t, hex.EncodeToString(key)+"\n", 0o600)
}

func writeKeyFile(t testing.TB, text string, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	return name
}

func newSealer(t testing.TB, files ...string) *idempotency.Sealer {
	t.Helper()
	sealer, err := idempotency.NewSealer(files...)
	if err != nil {
		t.Fatal(err)
	}
	return sealer
}

// newRedis makes a store with patience for a busy machine, unless cfg says else.
func newRedis(t testing.TB, client redis.UniversalClient, cfg idempotency.RedisConfig) *idempotency.Redis {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Sealer == nil {
		cfg.Sealer = newSealer(t, newKeyFile(t))
	}
	store, err := idempotency.NewRedis(client, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// wait lets the server's clock advance.
func wait(d time.Duration) { <-time.After(d) }

// suite runs the contract with a client, for one test after the other: their
// keys are random.
func suite(t *testing.T, client redis.UniversalClient, cfg idempotency.RedisConfig) {
	t.Helper()
	if _, err := idempotency.CheckServer(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	storetest.Run(t, func(t *testing.T) (idempotency.Store, func(time.Duration)) {
		return newRedis(t, client, cfg), wait
	})
}

func TestRedisOnUnixSocket(t *testing.T) {
	t.Parallel()
	suite(t, clientOf(t, testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true}), redis.Options{}), idempotency.RedisConfig{})
}

func TestRedisOfTheOldestVersion(t *testing.T) {
	t.Parallel()
	if runtime.GOARCH != "amd64" {
		t.Logf("no pinned server for %s: only the newest version is tested", runtime.GOARCH)
		return
	}
	binary, err := testenv.OldestRedisBinary()
	if err != nil {
		t.Fatal(err)
	}
	server := testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true, Binary: binary})
	suite(t, clientOf(t, server, redis.Options{}), idempotency.RedisConfig{Prefix: "other prefix:"})
}

func TestRedisWithTLSAndLeastRights(t *testing.T) {
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
		User: "sallyport", Password: "secret", ACL: leastRights,
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
	suite(t, clientOf(t, server, redis.Options{
		Username: "sallyport", Password: "secret",
		TLSConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13},
	}), idempotency.RedisConfig{})
}

func TestRedisCluster(t *testing.T) {
	t.Parallel()
	cluster, err := testenv.StartRedisCluster(t.Context(), 3, 0, testenv.RedisOptions{
		User: "sallyport", Password: "secret", ACL: leastRights + " +command +cluster|slots",
		Log: testenv.LogOnFailure(t, "Redis"),
	})
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: cluster.Addresses(), Username: "sallyport", Password: "secret", ContextTimeoutEnabled: true,
	})
	t.Cleanup(func() {
		client.Close()
		if err := cluster.Remove(); err != nil {
			t.Error(err)
		}
	})
	suite(t, client, idempotency.RedisConfig{})
}

func TestRedisClusterReplicated(t *testing.T) {
	t.Parallel()
	client, _ := startCluster(t, 1)
	suite(t, client, idempotency.RedisConfig{Replicas: 1})
}

func startCluster(t *testing.T, replicas int) (*redis.ClusterClient, *testenv.RedisCluster) {
	t.Helper()
	cluster, err := testenv.StartRedisCluster(t.Context(), 3, replicas, testenv.RedisOptions{AOF: "everysec", Log: testenv.LogOnFailure(t, "Redis")})
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addresses(), ContextTimeoutEnabled: true})
	t.Cleanup(func() {
		client.Close()
		if err := cluster.Remove(); err != nil {
			t.Error(err)
		}
	})
	return client, cluster
}

func TestRedisReplicated(t *testing.T) {
	t.Parallel()
	master := testenv.RedisFor(t, testenv.RedisOptions{AOF: "everysec"})
	testenv.RedisFor(t, testenv.RedisOptions{ReplicaOf: master})
	suite(t, clientOf(t, master, redis.Options{}), idempotency.RedisConfig{Replicas: 1})
}

// TestRedisSentinel also runs replicated: that is what it is for.
func TestRedisSentinel(t *testing.T) {
	t.Parallel()
	client, _ := startSentinel(t)
	suite(t, client, idempotency.RedisConfig{Replicas: 1})
}

// startSentinel starts a master with a replica and a client that asks a Sentinel
// which of them is the master.
func startSentinel(t *testing.T) (client *redis.Client, master *testenv.Redis) {
	t.Helper()
	master = testenv.RedisFor(t, testenv.RedisOptions{})
	testenv.RedisFor(t, testenv.RedisOptions{ReplicaOf: master})
	sentinel, err := testenv.StartSentinel(t.Context(), master, 1, testenv.RedisOptions{Log: testenv.LogOnFailure(t, "Sentinel")})
	if err != nil {
		t.Fatal(err)
	}
	client = redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: testenv.SentinelMaster, SentinelAddrs: []string{sentinel.Address()}, ContextTimeoutEnabled: true,
	})
	t.Cleanup(func() {
		client.Close()
		if err := sentinel.Remove(); err != nil {
			t.Error(err)
		}
	})
	return client, master
}

func BenchmarkRedis(b *testing.B) {
	server := testenv.RedisFor(b, testenv.RedisOptions{UnixSocket: true, AOF: "everysec"})
	benchmark(b, newRedis(b, clientOf(b, server, redis.Options{}), idempotency.RedisConfig{}))
}
