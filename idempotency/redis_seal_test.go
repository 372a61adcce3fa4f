package idempotency_test

import (
	"encoding/base64"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/idempotency"
	"github.com/sallyport/sallyport/internal/testenv"
)

// TestKeyRotation changes keys as operators do, and then loses one.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	client := clientOf(t, testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true}), redis.Options{})
	older, newer := newKeyFile(t), newKeyFile(t)
	var unreadable atomic.Int32
	store := newRedis(t, client, idempotency.RedisConfig{
		Sealer: newSealer(t, older),
		Unreadable: func(_ idempotency.Key, err error) {
			if err == nil || !strings.Contains(err.Error(), "open response") {
				t.Errorf("unreadable: %v", err)
			}
			unreadable.Add(1)
		},
	})
	first, second := numbered(1, time.Hour), numbered(2, time.Hour)
	execute(t, store, first, booked)
	store.SetSealer(newSealer(t, newer, older))
	execute(t, store, second, booked)
	for _, c := range []idempotency.Claim{first, second} {
		if got := state(t, store, c); got != idempotency.Replay {
			t.Errorf("%s: state %d, want Replay", c.Owner, got)
		}
	}
	store.SetSealer(newSealer(t, newer))
	if got := state(t, store, first); got != idempotency.NotRetained {
		t.Errorf("without the old key: state %d, want NotRetained", got)
	}
	if got := state(t, store, second); got != idempotency.Replay {
		t.Errorf("with the new key: state %d, want Replay", got)
	}
	if n := unreadable.Load(); n != 1 {
		t.Errorf("unreadable was called %d times", n)
	}
}

// TestForgedResponses changes what is stored, as somebody with access to Redis
// could: nothing of it is replayed, and nothing is executed again.
func TestForgedResponses(t *testing.T) {
	t.Parallel()
	client := clientOf(t, testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true}), redis.Options{})
	store := newRedis(t, client, idempotency.RedisConfig{})
	mine, theirs := numbered(1, time.Hour), numbered(2, time.Hour)
	field := func(c idempotency.Claim, name string) string {
		t.Helper()
		value, err := client.HGet(t.Context(), nameOf(c), name).Result()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	execute(t, store, mine, booked)
	execute(t, store, theirs, booked)
	original := field(mine, "r")
	flip := func(i int) string {
		b := []byte(original)
		b[i] ^= 1
		return string(b)
	}
	forgeries := map[string][]any{
		"another claim's": {"r", field(theirs, "r"), "o", field(theirs, "o")},
		"another owner's": {"o", "somebody else"},
		"version":         {"r", flip(0)},
		"key id":          {"r", flip(1)},
		"nonce":           {"r", flip(9)},
		"text":            {"r", flip(30)},
		"tag":             {"r", flip(len(original) - 1)},
		"cut":             {"r", original[:20]},
		"empty":           {"r", ""},
	}
	for what, fields := range forgeries {
		if err := client.HSet(t.Context(), nameOf(mine), "r", original, "o", mine.Owner).Err(); err != nil {
			t.Fatal(err)
		}
		if got := state(t, store, mine); got != idempotency.Replay {
			t.Fatalf("the original: state %d", got)
		}
		if err := client.HSet(t.Context(), nameOf(mine), fields...).Err(); err != nil {
			t.Fatal(err)
		}
		if got := state(t, store, mine); got != idempotency.NotRetained {
			t.Errorf("%s: state %d, want NotRetained", what, got)
		}
	}
	// Records that no version of this package wrote are errors, not executions.
	if err := client.Del(t.Context(), nameOf(mine)).Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Set(t.Context(), nameOf(mine), "text", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if result, err := store.Claim(t.Context(), mine); err == nil {
		t.Errorf("a record of another type: %+v", result)
	}
}

// nameOf is the Redis key of a claim.
func nameOf(c idempotency.Claim) string {
	return "sallyport:claim:" + base64.RawURLEncoding.EncodeToString(c.Key[:])
}
