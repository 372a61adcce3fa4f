package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/idempotency"
	"github.com/sallyport/sallyport/internal/testenv"
)

// slack is how much later than its deadline a call may return on a busy machine.
const slack = time.Second

var booked = &idempotency.Response{Status: 201, Body: []byte(`{"booking":"4711"}`)}

// TestRedisCrash kills the server and wants nothing forgotten.
func TestRedisCrash(t *testing.T) {
	t.Parallel()
	for _, aof := range []string{"always", "everysec"} {
		t.Run(aof, func(t *testing.T) {
			t.Parallel()
			server := testenv.RedisFor(t, testenv.RedisOptions{AOF: aof})
			sealer := newSealer(t, newKeyFile(t))
			store := newRedis(t, clientOf(t, server, redis.Options{}), idempotency.RedisConfig{Timeout: 300 * time.Millisecond, Sealer: sealer})
			busy, unknown, done := numbered(1, time.Hour), numbered(2, time.Hour), numbered(3, time.Hour)
			busy.Lease = time.Minute
			for _, c := range []idempotency.Claim{busy, unknown, done} {
				if _, err := store.Claim(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			}
			err := errors.Join(store.Abandon(t.Context(), unknown.Key, unknown.Owner), store.Complete(t.Context(), done.Key, done.Owner, booked))
			if err != nil {
				t.Fatal(err)
			}
			if aof == "everysec" {
				awaitWritten(t, clientOf(t, server, redis.Options{}))
			}
			if err := server.Kill(); err != nil {
				t.Fatal(err)
			}
			isUnavailable(t, store, 300*time.Millisecond)
			if err := server.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			store = newRedis(t, clientOf(t, server, redis.Options{}), idempotency.RedisConfig{Sealer: sealer})
			for c, want := range map[*idempotency.Claim]idempotency.State{
				&busy: idempotency.Busy, &unknown: idempotency.Unknown, &done: idempotency.Replay,
			} {
				if got := state(t, store, *c); got != want {
					t.Errorf("%s: state %d, want %d", c.Owner, got, want)
				}
			}
			if err := store.Complete(t.Context(), busy.Key, busy.Owner, booked); err != nil {
				t.Errorf("the owner's claim is lost: %v", err)
			}
		})
	}
}

// awaitWritten waits until the append-only file has everything. With everysec
// Redis answers before that while it is busy with an earlier fsync.
func awaitWritten(t *testing.T, client *redis.Client) {
	t.Helper()
	for {
		info, err := client.Info(t.Context(), "persistence").Result()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(info, "aof_buffer_length:0\r\n") && strings.Contains(info, "aof_pending_bio_fsync:0\r\n") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// isUnavailable wants every operation to say so, in time.
func isUnavailable(t *testing.T, store idempotency.Store, timeout time.Duration) {
	t.Helper()
	c := numbered(1, time.Hour)
	operations := map[string]func() error{
		"claim":    func() error { _, err := store.Claim(t.Context(), c); return err },
		"renew":    func() error { return store.Renew(t.Context(), c.Key, c.Owner, c.Lease) },
		"complete": func() error { return store.Complete(t.Context(), c.Key, c.Owner, booked) },
		"release":  func() error { return store.Release(t.Context(), numbered(99, 0).Key, c.Owner) },
		"abandon":  func() error { return store.Abandon(t.Context(), numbered(99, 0).Key, c.Owner) },
		"show":     func() error { _, _, err := store.Show(t.Context(), c.Key); return err },
		"clear": func() error {
			_, err := store.Clear(t.Context(), idempotency.Record{Key: numbered(99, 0).Key})
			return err
		},
	}
	for name, operation := range operations {
		start := time.Now()
		err := operation()
		if !errors.Is(err, idempotency.ErrUnavailable) {
			t.Errorf("%s: got %v, want ErrUnavailable", name, err)
		}
		if took := time.Since(start); took > timeout+slack {
			t.Errorf("%s took %v of %v", name, took, timeout)
		}
	}
}

// TestRedisPaused stops the server's process, as a machine that hangs would.
func TestRedisPaused(t *testing.T) {
	t.Parallel()
	server := testenv.RedisFor(t, testenv.RedisOptions{})
	store := newRedis(t, clientOf(t, server, redis.Options{}), idempotency.RedisConfig{Timeout: 200 * time.Millisecond})
	c := numbered(1, time.Hour)
	c.Lease = time.Minute
	if _, err := store.Claim(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	isUnavailable(t, store, 200*time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond) // the caller's deadline counts too
	defer cancel()
	start := time.Now()
	if _, err := store.Claim(ctx, c); !errors.Is(err, idempotency.ErrUnavailable) || time.Since(start) > 20*time.Millisecond+slack {
		t.Errorf("got %v after %v", err, time.Since(start))
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	// What was asked meanwhile is carried out now, too late for anybody, in any
	// order: a claim is still its owner's, or was completed by the owner.
	patient := newRedis(t, clientOf(t, server, redis.Options{}), idempotency.RedisConfig{})
	record, ok, err := patient.Show(t.Context(), c.Key)
	if err != nil || !ok || record.Owner != c.Owner {
		t.Errorf("%+v, %v, %v", record, ok, err)
	}
	if got := state(t, patient, c); got == idempotency.Acquired {
		t.Error("somebody else acquires it")
	}
}

// loseAnswers lets commands reach the server and loses the answers of some.
type loseAnswers struct{ left atomic.Int32 }

func (h *loseAnswers) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *loseAnswers) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if err == nil && h.left.Add(-1) >= 0 {
			<-ctx.Done()
			cmd.SetErr(ctx.Err())
			return ctx.Err()
		}
		return err
	}
}

func (h *loseAnswers) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if err == nil && len(cmds) == 2 && h.left.Add(-1) >= 0 {
			<-ctx.Done()
			return ctx.Err()
		}
		return err
	}
}

// TestRedisLostAnswers loses the answer of a claim: the second attempt gets it.
// If both are lost, the claim is its owner's all the same.
func TestRedisLostAnswers(t *testing.T) {
	t.Parallel()
	master := testenv.RedisFor(t, testenv.RedisOptions{})
	testenv.RedisFor(t, testenv.RedisOptions{ReplicaOf: master})
	for replicas := range 2 {
		client, hook := clientOf(t, master, redis.Options{}), &loseAnswers{}
		client.AddHook(hook)
		store := newRedis(t, client, idempotency.RedisConfig{Timeout: time.Second, Replicas: replicas})
		for lost := range 3 {
			c := numbered(10*replicas+lost, time.Hour)
			c.Lease = time.Minute
			hook.left.Store(int32(lost))
			result, err := store.Claim(t.Context(), c)
			if lost < 2 && (err != nil || result.State != idempotency.Acquired) {
				t.Errorf("replicas %d, %d answers lost: %+v, %v", replicas, lost, result, err)
			}
			if lost == 2 && !errors.Is(err, idempotency.ErrUnavailable) {
				t.Errorf("replicas %d, both answers lost: %+v, %v", replicas, result, err)
			}
			hook.left.Store(0)
			if err := store.Release(t.Context(), c.Key, c.Owner); err != nil {
				t.Errorf("replicas %d, %d answers lost: release: %v", replicas, lost, err)
			}
		}
	}
}

// TestRedisFailover kills the master of claims that its replica has confirmed.
func TestRedisFailover(t *testing.T) {
	t.Parallel()
	client, master := startSentinel(t)
	store := newRedis(t, client, idempotency.RedisConfig{Replicas: 1, Timeout: 2 * time.Second})
	var claims []idempotency.Claim
	for n := range 20 {
		c := numbered(n, time.Hour)
		c.Lease = time.Minute
		if _, err := store.Claim(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		claims = append(claims, c)
	}
	if err := master.Kill(); err != nil {
		t.Fatal(err)
	}
	// The promoted replica has no replica of its own: it is asked without.
	store = newRedis(t, client, idempotency.RedisConfig{Timeout: 2 * time.Second})
	for _, c := range claims {
		other := c
		other.Owner = "somebody else"
		result, err := store.Claim(t.Context(), other)
		for deadline := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(deadline); {
			result, err = store.Claim(t.Context(), other)
		}
		if err != nil || result.State != idempotency.Busy {
			t.Fatalf("after the failover: %+v, %v", result, err)
		}
	}
}

// TestRedisNotReplicated pauses the only replica: nothing is acquired.
func TestRedisNotReplicated(t *testing.T) {
	t.Parallel()
	master := testenv.RedisFor(t, testenv.RedisOptions{})
	replica := testenv.RedisFor(t, testenv.RedisOptions{ReplicaOf: master})
	client := clientOf(t, master, redis.Options{})
	store := newRedis(t, client, idempotency.RedisConfig{Replicas: 1, ReplicaWait: 50 * time.Millisecond})
	unknown := numbered(1, time.Hour)
	if _, err := store.Claim(t.Context(), unknown); err != nil {
		t.Fatal(err)
	}
	if err := store.Abandon(t.Context(), unknown.Key, unknown.Owner); err != nil {
		t.Fatal(err)
	}
	if err := replica.Pause(); err != nil {
		t.Fatal(err)
	}
	_, err := store.Claim(t.Context(), numbered(2, time.Hour))
	if !errors.Is(err, idempotency.ErrNotReplicated) || !errors.Is(err, idempotency.ErrUnavailable) {
		t.Errorf("got %v, want ErrNotReplicated", err)
	}
	retake := unknown
	retake.Owner, retake.Retake = "b", true
	if _, err := store.Claim(t.Context(), retake); !errors.Is(err, idempotency.ErrNotReplicated) {
		t.Errorf("retake: got %v, want ErrNotReplicated", err)
	}
	alone := newRedis(t, client, idempotency.RedisConfig{})
	if _, ok, err := alone.Show(t.Context(), numbered(2, 0).Key); ok || err != nil {
		t.Errorf("a claim that nobody confirmed is kept: %v, %v", ok, err)
	}
	if got := state(t, alone, unknown); got != idempotency.Unknown {
		t.Errorf("a retake that nobody confirmed: state %d, want Unknown", got)
	}
	if err := replica.Resume(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Claim(t.Context(), numbered(2, time.Hour)); err != nil {
		t.Error(err)
	}
}

// TestRedisFull makes a server full that evicts nothing.
func TestRedisFull(t *testing.T) {
	t.Parallel()
	server := testenv.RedisFor(t, testenv.RedisOptions{})
	client := clientOf(t, server, redis.Options{})
	store := newRedis(t, client, idempotency.RedisConfig{})
	first := numbered(0, time.Hour)
	execute(t, store, first, booked)
	if err := client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Claim(t.Context(), numbered(1, time.Hour)); !errors.Is(err, idempotency.ErrUnavailable) {
		t.Errorf("full: got %v, want ErrUnavailable", err)
	}
	if got := state(t, store, first); got != idempotency.Replay {
		t.Errorf("an executed request is state %d", got)
	}
}

// TestRedisClusterMovesSlots moves the slot of a key to another master, unknown
// to the client.
func TestRedisClusterMovesSlots(t *testing.T) {
	t.Parallel()
	client, cluster := startCluster(t, 1)
	store := newRedis(t, client, idempotency.RedisConfig{Replicas: 1})
	execute(t, store, numbered(0, time.Hour), nil) // the client knows the layout
	c := numbered(1, time.Hour)
	moveSlot(t, client, cluster, nameOf(c))
	var result idempotency.Result
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if result, err = store.Claim(t.Context(), c); err == nil {
			break
		}
		if !errors.Is(err, idempotency.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if err != nil || result.State != idempotency.Acquired {
		t.Errorf("%+v, %v", result, err)
	}
}

// moveSlot gives the slot of a key, which must be empty, to the next master.
func moveSlot(t *testing.T, client *redis.ClusterClient, cluster *testenv.RedisCluster, key string) {
	t.Helper()
	const masters, slots = 3, 16384
	slot, err := client.ClusterKeySlot(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	owner := 0
	for owner+1 < masters && int(slot) >= (owner+1)*slots/masters {
		owner++
	}
	from := clientOf(t, cluster.Nodes[owner], redis.Options{})
	to := clientOf(t, cluster.Nodes[(owner+1)%masters], redis.Options{})
	id, err := to.Do(t.Context(), "cluster", "myid").Text()
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range []*redis.Client{to, from} {
		if err := node.Do(t.Context(), "cluster", "setslot", slot, "node", id).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRedisHoldsNothingInClear watches what reaches the server, and what it keeps.
func TestRedisHoldsNothingInClear(t *testing.T) {
	t.Parallel()
	server := testenv.RedisFor(t, testenv.RedisOptions{})
	client := clientOf(t, server, redis.Options{})
	seen := watch(t, server)
	const principal, clientKey, secret = "principal-of-alice", "alices-own-key", "alices-secret-booking"
	store := newRedis(t, client, idempotency.RedisConfig{})
	c := idempotency.Claim{Key: idempotency.KeyOf(principal, clientKey), Owner: "owner-of-claim", Lease: time.Minute, TTL: time.Hour}
	execute(t, store, c, &idempotency.Response{
		Status: 201, Headers: []idempotency.Header{{Name: "location", Value: "/" + secret}}, Body: []byte(strings.Repeat(secret, 10)),
	})
	if got := state(t, store, c); got != idempotency.Replay {
		t.Fatalf("state %d", got)
	}
	if err := client.Echo(t.Context(), "the end").Err(); err != nil {
		t.Fatal(err)
	}
	text := seen("the end")
	for _, key := range mustKeys(t, client) {
		fields, err := client.HGetAll(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("%s %q", key, fields)
	}
	if !strings.Contains(text, c.Owner) {
		t.Errorf("the test sees nothing:\n%s", text)
	}
	for _, clear := range []string{principal, clientKey, secret} {
		if strings.Contains(text, clear) {
			t.Errorf("%q is in clear in:\n%s", clear, text)
		}
	}
}

func mustKeys(t *testing.T, client *redis.Client) []string {
	t.Helper()
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) == 0 {
		t.Fatalf("keys: %v, %v", keys, err)
	}
	return keys
}

// watch collects what MONITOR shows, until a word is in it.
func watch(t *testing.T, server *testenv.Redis) func(until string) string {
	t.Helper()
	connection, err := net.Dial(server.Network(), server.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	if err := connection.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := connection.Write([]byte("MONITOR\r\n")); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 64<<10)
	read := func(until string) string {
		var text strings.Builder
		for !strings.Contains(text.String(), until) {
			n, err := connection.Read(buffer)
			if err != nil {
				t.Fatalf("%v, after:\n%s", err, text.String())
			}
			text.Write(buffer[:n])
		}
		return text.String()
	}
	read("+OK")
	return read
}
