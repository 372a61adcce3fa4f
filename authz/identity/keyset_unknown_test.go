package identity

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lookup is KeyWait with how long it took.
func lookup(t *testing.T, k *KeySet, kid string) (cause string, took time.Duration) {
	t.Helper()
	start := time.Now()
	_, err := k.KeyWait(t.Context(), kid, "ES256")
	return causeOf(t, err), time.Since(start)
}

// Hazard 1: the first token with a rotated key is verified, and so are all that
// come while its key is fetched; one fetch serves them.
func TestKeyWaitSeesRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, ok(keySetOf("old")))
		k := running(t, p)
		time.Sleep(10 * time.Minute)
		p.set(testKeysURL, after(300*time.Millisecond, ok(keySetOf("old", "new"))))
		var requests sync.WaitGroup
		for range 1000 {
			requests.Go(func() {
				if cause, took := lookup(t, k, "new"); cause != "" || took != 300*time.Millisecond {
					t.Errorf("got cause %q after %v, want the key when its fetch ends", cause, took)
				}
			})
		}
		requests.Wait()
		wantKey(t, k, "new", "")
		wantKey(t, k, "old", "")
		if n := p.count(testKeysURL); n != 2 {
			t.Errorf("%d fetches, want the first and one for the rotation", n)
		}
	})
}

// Key, which never waits, asks for the same refresh.
func TestKeySeesRotationWithinASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, ok(keySetOf("old")))
		k := running(t, p)
		p.set(testKeysURL, after(300*time.Millisecond, ok(keySetOf("new"))))
		wantKey(t, k, "new", UnknownKeyID)
		time.Sleep(time.Second)
		wantKey(t, k, "new", "")
		wantKey(t, k, "old", UnknownKeyID) // withdrawn
	})
}

// A stranger who has just spent the refresh delays a rotation by a second, as
// long as the burst lasts; then until the next refresh that the rate allows.
func TestRotationAmongStrangers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		strangers time.Duration // how long they have been at it, ten a second
		within    time.Duration
	}{
		"a moment":  {time.Millisecond, time.Second},
		"a second":  {1050 * time.Millisecond, time.Second},
		"an hour":   {time.Hour, 6 * time.Second},
		"ten hours": {10 * time.Hour, 6 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newFakeProvider()
				p.set(testKeysURL, ok(keySetOf("old")))
				k := running(t, p, func(c *KeySetConfig) { c.TTL = 24 * time.Hour })
				ctx, cancel := context.WithCancel(t.Context())
				var strangers sync.WaitGroup
				strangers.Go(func() {
					for i := 0; ctx.Err() == nil; i++ {
						_, _ = k.KeyWait(ctx, fmt.Sprint("stranger-", i), "ES256")
						time.Sleep(100 * time.Millisecond)
					}
				})
				time.Sleep(test.strangers)
				before := p.count(testKeysURL)
				if most := 2 + 5 + int(test.strangers/(6*time.Second)); before > most {
					t.Errorf("%d fetches in %v, want at most %d", before, test.strangers, most)
				}
				p.set(testKeysURL, ok(keySetOf("old", "new")))
				first := time.Now()
				for {
					if _, err := k.Key("new", "ES256"); err == nil {
						break
					}
					if time.Since(first) > test.within {
						t.Errorf("the new key is unknown after %v", time.Since(first))
						break
					}
					time.Sleep(10 * time.Millisecond)
				}
				cancel()
				strangers.Wait()
			})
		})
	}
}

func TestThousandRandomKidsFetchHardlyAnything(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, after(50*time.Millisecond, ok(keySetOf("a"))))
		k := running(t, p)
		for i := range 1000 { // a second of them
			wantKey(t, k, fmt.Sprint("random-", i), UnknownKeyID)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		if n := p.count(testKeysURL) - 1; n > 3 {
			t.Errorf("1,000 random kids caused %d fetches", n)
		}
		if s := k.Status(); s.UnknownKIDs != 1000 || !s.Usable {
			t.Errorf("status counts %d unknown kids, usable %v", s.UnknownKIDs, s.Usable)
		}
	})
}

// A kid that isn't there is asked about once in half a minute, and then its
// requests are answered at once.
func TestUnknownKidIsRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, after(100*time.Millisecond, ok(keySetOf("a"))))
		k := running(t, p)
		if cause, took := lookup(t, k, "gone"); cause != UnknownKeyID || took != 100*time.Millisecond {
			t.Errorf("first: %q after %v, want unknown after the fetch", cause, took)
		}
		for range 290 {
			if cause, took := lookup(t, k, "gone"); cause != UnknownKeyID || took != 0 {
				t.Fatalf("again: %q after %v, want unknown at once", cause, took)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := p.count(testKeysURL); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
		time.Sleep(2 * time.Second)
		p.set(testKeysURL, ok(keySetOf("a", "gone"))) // the provider was slow to publish it
		if cause, _ := lookup(t, k, "gone"); cause != "" {
			t.Errorf("after half a minute: %q", cause)
		}
	})
}

func TestKeyWaitGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, ok(keySetOf("a")))
		k := running(t, p)
		p.set(testKeysURL, hangs())
		if cause, took := lookup(t, k, "new"); cause != UnknownKeyID || took != 500*time.Millisecond {
			t.Errorf("provider hangs: %q after %v, want half a second", cause, took)
		}
		if cause, took := lookup(t, k, "other"); cause != UnknownKeyID || took != 0 {
			t.Errorf("no refresh may begin yet: %q after %v, want at once", cause, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := k.KeyWait(ctx, "new", "ES256")
		if took := time.Since(start); causeOf(t, err) != UnknownKeyID || took != 20*time.Millisecond {
			t.Errorf("request ends: %v after %v, want 20ms", err, took)
		}
	})
}

// The waiting requests are bounded; the one too many is answered at once.
func TestKeyWaitIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, ok(keySetOf("a")))
		k := running(t, p)
		p.set(testKeysURL, hangs())
		var waiting sync.WaitGroup
		for range 1024 {
			waiting.Go(func() {
				if _, took := lookup(t, k, "new"); took != 500*time.Millisecond {
					t.Errorf("waited %v", took)
				}
			})
		}
		synctest.Wait()
		if cause, took := lookup(t, k, "new"); cause != UnknownKeyID || took != 0 {
			t.Errorf("number 1,025: %q after %v, want unknown at once", cause, took)
		}
		waiting.Wait()
		if k.unknown.waiters != 0 {
			t.Errorf("%d waiters are left", k.unknown.waiters)
		}
	})
}

// Who waits for a refresh that will never begin is let go when Run ends.
func TestRunReleasesWaiters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, ok(keySetOf("a")))
		k := loaded(t, p)
		<-k.turn // as a Load that hangs has it
		stop := run(t, k)
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if cause, took := lookup(t, k, "new"); cause != UnknownKeyID || took != 200*time.Millisecond {
				t.Errorf("%q after %v, want to be let go after 200ms", cause, took)
			}
		})
		time.Sleep(200 * time.Millisecond)
		stop()
		waiting.Wait()
	})
}

// What can't be a kid asks for nothing and is not counted (RFC 8725 §3.10).
func TestMalformedKidsAskForNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProvider()
		p.set(testKeysURL, ok(keySetOf("a")))
		k := running(t, p)
		for _, kid := range []string{
			"", strings.Repeat("k", 201), strings.Repeat("k", 100_000), "a b", "a\nb", "a\x00", "kéy", "\xff",
		} {
			wantKey(t, k, kid, UnknownKeyID)
			if cause, took := lookup(t, k, kid); cause != UnknownKeyID || took != 0 {
				t.Errorf("%.20q: %q after %v", kid, cause, took)
			}
		}
		time.Sleep(time.Minute)
		if n := p.count(testKeysURL); n != 1 || k.Status().UnknownKIDs != 0 {
			t.Errorf("%d fetches, %d counted", n, k.Status().UnknownKIDs)
		}
	})
}

func TestUnknownKidsAreBounded(t *testing.T) {
	t.Parallel()
	u := newUnknownKeyIDs()
	now := time.Unix(1e9, 0)
	for i := range 10_000 {
		u.ask(fmt.Sprint("random-", i), now)
	}
	if len(u.absent) != unknownMax {
		t.Errorf("%d kids are remembered, want %d", len(u.absent), unknownMax)
	}
	if _, ok := u.absent["random-9999"]; !ok {
		t.Error("the last kid is forgotten")
	}
	if _, ok := u.absent["random-0"]; ok {
		t.Error("the first kid is remembered")
	}
}

// One refresh serves whatever asked before it begins, and nothing that asked
// after: that gets its own.
func TestEveryKidGetsARefreshAfterIt(t *testing.T) {
	t.Parallel()
	u := newUnknownKeyIDs()
	now := time.Unix(1e9, 0)
	first, wake := u.ask("a", now)
	if first == nil || !wake {
		t.Fatalf("the first kid: flight %v, wake %v", first, wake)
	}
	if f, wake := u.ask("b", now); f != first || wake {
		t.Error("a second kid before the refresh doesn't join it")
	}
	if u.begin() != first || u.begin() != nil {
		t.Fatal("begin hands over another flight than the one that was asked for")
	}
	if f, wake := u.ask("a", now); f != first || wake {
		t.Error("the first kid doesn't wait for its own refresh")
	}
	if f, wake := u.ask("c", now); f != nil || !wake || u.next == first {
		t.Error("a kid that came during the refresh: it needs the next one, and can't wait for it")
	}
	if f, wake := u.ask("c", now); f != nil || wake {
		t.Error("a kid whose refresh may not begin yet waits when it comes again")
	}
	if want := now.Add(unknownInterval); !u.nextAt.Equal(want) {
		t.Errorf("the next refresh begins at %v, want %v", u.nextAt, want)
	}
	close(first.done)
	if f, wake := u.ask("a", now); f != nil || wake {
		t.Error("a kid that was looked for asks again")
	}
}
