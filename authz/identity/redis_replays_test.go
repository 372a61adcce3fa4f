package identity_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/internal/testenv"
)

func newRedisReplays(t testing.TB, client redis.UniversalClient, timeout time.Duration) *identity.RedisReplays {
	t.Helper()
	r, err := identity.NewRedisReplays(client, identity.RedisConfig{Prefix: "app:", Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// testReplays is what every Replays must do, here at two replicas.
func testReplays(t *testing.T, replays, other identity.Replays) {
	t.Helper()
	until := time.Now().Add(time.Hour)
	remember := func(at identity.Replays, key, value, wantEarlier string, wantSeen bool) {
		t.Helper()
		earlier, seen, err := at.Remember(t.Context(), sum(key), sum(value), until)
		if earlier != sum(wantEarlier) || seen != wantSeen || err != nil {
			t.Errorf("%s=%s: %q, %v, %v", key, value, earlier, seen, err)
		}
	}
	remember(replays, "a", "1", "", false)
	remember(replays, "a", "1", "1", true) // as a DPoP proof that is sent again
	remember(other, "a", "2", "1", true)   // as another token with the nonce
	remember(other, "b", "2", "", false)
	remember(replays, "b", "1", "2", true)
	remember(replays, "\r\n\x00", "\x00", "", false)
	remember(other, "\r\n\x00", "x", "\x00", true)

	var firsts atomic.Int64
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for i := range 200 {
				at := []identity.Replays{replays, other}[g%2]
				_, seen, err := at.Remember(t.Context(), sum(fmt.Sprint("key ", i)), sum(fmt.Sprint(g)), until)
				if err != nil {
					t.Error(err)
				}
				if !seen {
					firsts.Add(1)
				}
			}
		})
	}
	group.Wait()
	if n := firsts.Load(); n != 200 {
		t.Errorf("%d keys were found unbound, want 200", n)
	}
}

// A binding ends a minute after its time, by the server's clock.
func TestRedisReplaysForget(t *testing.T) {
	t.Parallel()
	server := testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true})
	r := newRedisReplays(t, connect(t, server), redisTimeout)
	remember := func() bool {
		_, seen, err := r.Remember(t.Context(), sum("a"), sum("1"), time.Now().Add(-time.Minute+200*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		return seen
	}
	if remember() {
		t.Error("seen at first")
	}
	if !remember() {
		t.Error("forgotten at once")
	}
	eventually(t, 5*time.Second, "forgotten", func() bool { return !remember() })
	client := connect(t, server)
	if _, _, err := r.Remember(t.Context(), sum("b"), sum("1"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, key := range client.Keys(t.Context(), "*").Val() {
		if left := client.PTTL(t.Context(), key).Val(); left <= 0 || left > time.Hour+time.Minute {
			t.Errorf("%s is kept for %v", key, left)
		}
	}
}

// The client sends a command again when its answer is lost: that is no replay.
func TestRedisReplaysLostAnswer(t *testing.T) {
	t.Parallel()
	client := connect(t, testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true}))
	if _, _, err := newRedisReplays(t, client, redisTimeout).Remember(t.Context(), sum("a"), sum("1"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err) // the script is known now
	}
	client.AddHook(twice{})
	r := newRedisReplays(t, client, redisTimeout)
	for i, want := range []bool{false, true, true} {
		if _, seen, err := r.Remember(t.Context(), sum("b"), sum("1"), time.Now().Add(time.Hour)); seen != want || err != nil {
			t.Errorf("call %d: %v, %v", i, seen, err)
		}
	}
}

// When Redis is away, nothing is known: at the start, when it hangs, when it is
// full. It is known again when it is back.
func TestRedisReplaysAway(t *testing.T) {
	t.Parallel()
	server := testenv.RedisFor(t, testenv.RedisOptions{})
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	client := connect(t, server)
	r := newRedisReplays(t, client, 200*time.Millisecond)
	n := 0
	remember := func() error {
		n++
		start := time.Now()
		_, seen, err := r.Remember(t.Context(), sum(fmt.Sprint(n)), sum("1"), time.Now().Add(time.Hour))
		if seen {
			t.Error("a new key is seen")
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the answer took %v", took)
		}
		return err
	}
	if remember() == nil {
		t.Error("no error while Redis isn't there")
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "an answer after the restart", func() bool { return remember() == nil })
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := remember(); !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
		t.Errorf("while it hangs: %v", err)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "an answer after the pause", func() bool { return remember() == nil })
	if err := client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := remember(); err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("while it is full: %v", err)
	}
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// What isn't ours is no binding and no freedom.
func TestRedisReplaysStranger(t *testing.T) {
	t.Parallel()
	client := connect(t, testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true}))
	r := newRedisReplays(t, client, redisTimeout)
	if _, _, err := r.Remember(t.Context(), sum("a"), sum("1"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, key := range client.Keys(t.Context(), "*").Val() {
		client.Set(t.Context(), key, "x", 0)
	}
	if _, _, err := r.Remember(t.Context(), sum("a"), sum("1"), time.Now().Add(time.Hour)); err == nil {
		t.Error("a stranger's value is accepted")
	}
}

func BenchmarkRedisReplays(b *testing.B) {
	server, err := testenv.StartRedis(b.Context(), testenv.RedisOptions{UnixSocket: true})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Remove()
	client := redis.NewClient(&redis.Options{Network: server.Network(), Addr: server.Address(), ContextTimeoutEnabled: true})
	defer client.Close()
	r := newRedisReplays(b, client, redisTimeout)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		if _, _, err := r.Remember(b.Context(), sum(fmt.Sprint(n)), sum("v"), time.Now().Add(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
}
