package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Hazard 10: making a set fetches nothing and waits for nobody, and a first
// fetch that fails is tried again soon.
func TestFirstFetchIsRetriedSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, hangs())
		start := time.Now()
		k := newTestKeySet(t, p)
		if time.Since(start) != 0 || p.count(testKeysURL) != 0 {
			t.Fatal("NewKeySet fetches")
		}
		run(t, k)
		wantKey(t, k, "a", KeysUnavailable)
		if cause, took := lookup(t, k, "a"); cause != KeysUnavailable || took != 0 {
			t.Errorf("without a set: %q after %v, want an answer at once", cause, took)
		}
		time.Sleep(documentTimeout)
		p.set(testKeysURL, ok(keySetOf("a")))
		time.Sleep(firstBackoff)
		wantKey(t, k, "a", "")
	})
}

func TestLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, unreachable())
		k := newTestKeySet(t, p)
		err := k.Load(t.Context())
		if err == nil || !strings.Contains(err.Error(), `issuer "test"`) || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("provider away: %v", err)
		}
		wantKey(t, k, "a", KeysUnavailable)

		p.set(testKeysURL, hangs())
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("start takes too long"))
		defer cancel()
		if err := k.Load(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("fetch cut off: %v", err)
		}
		<-k.turn
		if err := k.Load(ctx); err == nil || !strings.Contains(err.Error(), "start takes too long") {
			t.Errorf("refresh of another is under way: %v", err)
		}
		k.giveTurn()

		p.set(testKeysURL, ok(keySetOf("a")))
		if err := k.Load(t.Context()); err != nil {
			t.Errorf("provider is back: %v", err)
		}
		wantKey(t, k, "a", "")
	})
}

// A set is fetched again before it is TTL old, not always at the same age, and
// Run doesn't fetch what Load just did.
func TestRefreshIsDueBeforeTTL(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, ok(keySetOf("a")))
		k := running(t, p)
		time.Sleep(24 * time.Hour)
		times := p.times(testKeysURL)
		waits := map[time.Duration]bool{}
		for i := 1; i < len(times); i++ {
			wait := times[i].Sub(times[i-1])
			waits[wait] = true
			if wait <= 54*time.Minute || wait > time.Hour {
				t.Errorf("refresh after %v, want within the last tenth of an hour", wait)
			}
		}
		if len(times) < 24 || len(waits) < 10 {
			t.Errorf("%d refreshes after %d different waits", len(times), len(waits))
		}
		if s := k.Status(); s.Age > time.Hour || s.Refreshes != uint64(len(times)) || s.Failures != 0 {
			t.Errorf("status %+v", s)
		}
	})
}

// A Load beside Run saves it a fetch, and doesn't make the set older than TTL.
func TestLoadBesideRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, ok(keySetOf("a")))
		k := running(t, p)
		time.Sleep(30 * time.Minute)
		if err := k.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 300 {
			time.Sleep(time.Minute)
			if age := k.Status().Age; age > time.Hour {
				t.Fatalf("the set is %v old", age)
			}
		}
		times := p.times(testKeysURL)
		if wait := times[2].Sub(times[1]); wait <= 54*time.Minute {
			t.Errorf("Run fetched %v after Load", wait)
		}
	})
}

// Hazard 9: with the provider away, good tokens work, retries are frequent but
// not too much, and at MaxStale it ends with KeysUnavailable until it is back.
func TestProviderAway(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]answerFunc{"refuses": unreachable(), "answers 503": status(503), "hangs": hangs()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newFakeProvider()
				p.set(testKeysURL, ok(keySetOf("a")))
				k := running(t, p)
				last := p.times(testKeysURL)[0]
				p.set(testKeysURL, away)

				time.Sleep(2 * time.Hour)
				before := p.count(testKeysURL)
				time.Sleep(time.Hour)
				if n := p.count(testKeysURL) - before; n < 55 || n > 70 {
					t.Errorf("%d retries in an hour, want about one a minute", n)
				}
				wantKey(t, k, "a", "")
				wantKey(t, k, "b", UnknownKeyID)
				s := k.Status()
				if !s.Usable || !s.LastSuccess.Equal(last) || s.Age != 3*time.Hour || s.LastError == "" || s.Failures == 0 || s.Generation != 1 {
					t.Errorf("after three hours: status %+v", s)
				}

				time.Sleep(time.Until(last.Add(24 * time.Hour)))
				wantKey(t, k, "a", "")
				time.Sleep(time.Nanosecond)
				wantKey(t, k, "a", KeysUnavailable)
				wantKey(t, k, "b", KeysUnavailable)
				if s := k.Status(); s.Usable || s.Generation != 0 || k.Generation() != 0 {
					t.Errorf("after max_stale: status %+v", s)
				}

				p.set(testKeysURL, ok(keySetOf("a")))
				time.Sleep(lastBackoff + documentTimeout)
				wantKey(t, k, "a", "")
				if s := k.Status(); k.Generation() != 1 || s.LastError != "" || s.Age > lastBackoff+documentTimeout {
					t.Errorf("provider is back: status %+v", s)
				}
			})
		})
	}
}

// The waits after failures double from a second to a minute, less up to a tenth.
func TestBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, unreachable())
		k := newTestKeySet(t, p)
		run(t, k)
		time.Sleep(5 * time.Minute)
		times := p.times(testKeysURL)
		want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60}
		if len(times) <= len(want) {
			t.Fatalf("%d attempts in five minutes", len(times))
		}
		for i, seconds := range want {
			longest := seconds * time.Second
			if got := times[i+1].Sub(times[i]); got > longest || got <= longest*9/10 {
				t.Errorf("wait %d is %v, want %v less up to a tenth", i, got, longest)
			}
		}

		// A success in between, and the next outage begins with a second again.
		p.set(testKeysURL, ok(keySetOf("a")))
		time.Sleep(lastBackoff)
		wantKey(t, k, "a", "")
		p.set(testKeysURL, unreachable())
		before := p.count(testKeysURL)
		time.Sleep(time.Hour + 10*time.Second)
		times = p.times(testKeysURL)[before:]
		if len(times) < 2 || times[1].Sub(times[0]) > firstBackoff {
			t.Errorf("attempts of the second outage: %v", times)
		}
	})
}

// A set's age counts from before its fetch: while a slow answer was on its way
// the provider may have withdrawn a key.
func TestAgeCountsFromBeforeTheFetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, after(3*time.Second, ok(keySetOf("a"))))
		if got := loaded(t, p).Status().Age; got != 3*time.Second {
			t.Errorf("age %v after a fetch of 3s", got)
		}
	})
}

// Hazard 11: a failure is logged once, with a context that is alive.
func TestFailuresAreLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, ok(keySetOf("a")))
		book := &logBook{}
		k := running(t, p, func(c *KeySetConfig) { c.Log = book.logger() })
		p.set(testKeysURL, hangs())
		time.Sleep(time.Hour + 10*time.Second)
		s := k.Status()
		failed := book.with("key set refresh failed")
		if len(failed) == 0 || uint64(len(failed)) != s.Failures {
			t.Errorf("%d failures logged, %d counted", len(failed), s.Failures)
		}
		for _, e := range failed {
			if e.level != slog.LevelError || e.ctxErr != nil {
				t.Errorf("logged at %v with a context that is %v", e.level, e.ctxErr)
			}
		}
		if n := len(book.with("key set changed")); n != 1 {
			t.Errorf("%d changes logged", n)
		}
	})
}

// A fetch that the end of Run cuts off is no failure to report.
func TestEndIsNoFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, hangs())
		book := &logBook{}
		stop := run(t, newTestKeySet(t, p, func(c *KeySetConfig) { c.Log = book.logger() }))
		time.Sleep(time.Second)
		stop()
		if len(book.entries) != 0 {
			t.Errorf("logged %+v", book.entries)
		}
	})
}

// A client that keeps sending an old kid causes refreshes all the time. They
// must not put off the metadata, which may name another address by now.
func TestUnknownKidsDoNotPutOffTheMetadata(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const moved = "https://keys.example/moved"
		p := newFakeProvider()
		p.set(testMetadata, ok(metadata(testIssuer, testKeysURL)))
		p.set(testKeysURL, ok(keySetOf("a")))
		k := running(t, p, discovered)
		p.set(testMetadata, ok(metadata(testIssuer, moved)))
		p.set(moved, ok(keySetOf("b")))
		for start := time.Now(); time.Since(start) < 2*time.Hour; time.Sleep(35 * time.Second) {
			_, _ = k.Key("long-gone", "ES256")
		}
		wantKey(t, k, "b", "")
		wantKey(t, k, "a", UnknownKeyID)
		if m, n := p.count(testMetadata), p.count(testKeysURL)+p.count(moved); m > 6 || n < 100 {
			t.Errorf("metadata fetched %d times, keys %d times", m, n)
		}
		if got := k.Status().JWKSURL; got != moved {
			t.Errorf("status says the keys are at %q", got)
		}
	})
}

// Readers, strangers, refreshes and Status at once; for the race detector.
func TestKeySetConcurrently(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, ok(keySetOf("a")))
		k := running(t, p, func(c *KeySetConfig) { c.TTL, c.CacheDir = time.Second, t.TempDir() })
		start := time.Now()
		var callers sync.WaitGroup
		for i := range 20 {
			callers.Go(func() {
				for round := 0; time.Since(start) < 20*time.Second; round++ {
					_, _ = k.Key("a", "ES256")
					_, _ = k.KeyWait(t.Context(), fmt.Sprint(i, round%7), "ES256")
					_, _ = k.Status(), k.Generation()
					if i == 0 {
						p.set(testKeysURL, ok(keySetOf("a", fmt.Sprint(round))))
						_ = k.Load(t.Context())
					}
					time.Sleep(37 * time.Millisecond)
				}
			})
		}
		callers.Wait()
		wantKey(t, k, "a", "")
	})
}

// TestAdopt: a set with another configuration of the same provider needs no
// fetch, and one of another provider gets nothing.
func TestAdopt(t *testing.T) {
	t.Parallel()
	p := newFakeProvider()
	p.set(testKeysURL, ok(keySetOf("a")))
	old := newTestKeySet(t, p)
	if err := old.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg := old.cfg
	cfg.MaxStale = 48 * time.Hour
	same, err := NewKeySet(cfg)
	if err != nil {
		t.Fatal(err)
	}
	same.Adopt(old)
	if s := same.Status(); !s.Usable || len(s.KeyIDs) == 0 || s.Generation != old.Generation() {
		t.Errorf("nothing was adopted: %+v", s)
	}
	if got, want := same.table.Load().expires, old.table.Load().fetched.Add(48*time.Hour); !got.Equal(want) {
		t.Errorf("it is stale at %v, want %v", got, want)
	}
	cfg.JWKSURL, cfg.DiscoveryURL = "https://other.example/keys", ""
	other, err := NewKeySet(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if other.Adopt(old); other.Status().Usable {
		t.Error("the keys of another provider were adopted")
	}
}
