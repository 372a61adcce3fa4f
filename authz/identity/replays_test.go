package identity_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/authz/identity"
)

func sum(s string) (b [32]byte) {
	copy(b[:], s)
	return b
}

func TestMemoryReplays(t *testing.T) {
	t.Parallel()
	c := newClock()
	suite := identity.NewMemoryReplays(1000, time.Now)
	testReplays(t, suite, suite)
	m := identity.NewMemoryReplays(3, c.now)
	remember := func(key, value string, d time.Duration, wantEarlier string, wantSeen, wantErr bool) {
		t.Helper()
		earlier, seen, err := m.Remember(t.Context(), sum(key), sum(value), c.now().Add(d))
		if earlier != sum(wantEarlier) || seen != wantSeen || (err != nil) != wantErr {
			t.Errorf("%s=%s: %q, %v, %v", key, value, earlier, seen, err)
		}
	}
	remember("a", "1", time.Minute, "", false, false)
	remember("a", "1", time.Hour, "1", true, false)
	remember("a", "2", time.Hour, "1", true, false)
	remember("b", "2", time.Hour, "", false, false)
	remember("c", "3", time.Second, "", false, false)
	remember("d", "4", time.Hour, "", false, true) // full: nothing that lives makes room
	remember("b", "5", time.Hour, "2", true, false)
	c.advance(time.Second)
	remember("d", "4", time.Hour, "", false, false) // c has expired
	remember("c", "3", time.Hour, "", false, true)
	c.advance(time.Minute - time.Second)
	remember("a", "9", time.Hour, "", false, false) // the second until didn't lengthen the first
	remember("a", "9", time.Hour, "9", true, false)
}

// What expires at once is forgotten little by little, and is forgotten.
func TestMemoryReplaysForget(t *testing.T) {
	t.Parallel()
	c := newClock()
	m := identity.NewMemoryReplays(1000, c.now)
	fill := func(generation int) {
		for i := range 1000 {
			if _, seen, err := m.Remember(t.Context(), sum(fmt.Sprint(i)), sum(fmt.Sprint(generation)), c.now().Add(time.Minute)); seen || err != nil {
				t.Fatalf("generation %d, %d: %v, %v", generation, i, seen, err)
			}
		}
	}
	for generation := range 5 {
		fill(generation)
		for i := range 1000 { // bound anew, and still bound after the old ones are gone
			if earlier, seen, _ := m.Remember(t.Context(), sum(fmt.Sprint(i)), sum("x"), c.now()); !seen || earlier != sum(fmt.Sprint(generation)) {
				t.Fatalf("generation %d, %d: %v, %q", generation, i, seen, earlier)
			}
		}
		c.advance(time.Minute)
	}
}

// One of many at the same time finds the key unbound.
func TestMemoryReplaysConcurrently(t *testing.T) {
	t.Parallel()
	m := identity.NewMemoryReplays(10_000, noon)
	var firsts atomic.Int64
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range 1000 {
				if _, seen, err := m.Remember(t.Context(), sum(fmt.Sprint(i)), sum(fmt.Sprint(g)), noon().Add(time.Minute)); err == nil && !seen {
					firsts.Add(1)
				}
			}
		})
	}
	group.Wait()
	if n := firsts.Load(); n != 1000 {
		t.Errorf("%d keys were bound, want 1000", n)
	}
}

func BenchmarkMemoryReplays(b *testing.B) {
	m := identity.NewMemoryReplays(500_000, time.Now)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		if _, _, err := m.Remember(b.Context(), sum(fmt.Sprint(n)), sum("v"), time.Now().Add(100*time.Millisecond)); err != nil {
			b.Fatal(err)
		}
	}
}
