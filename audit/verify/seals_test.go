package verify

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit/ledger"
)

// TestSeals: each size once, those around the period only, and what can't be read
// with why.
func TestSeals(t *testing.T) {
	t.Parallel()
	l := newLog(t, newShelf(), "gw-0a1b2c3d", newKey(t, "audit.example.com"))
	for range 20 {
		l.events(1)
		l.cut()
		l.now = l.now.Add(day / 2)
	}
	l.store.over(l.cuts[9].key, l.store.get(t, l.cuts[9].key))
	l.store.put(l.cuts[15].key, []byte("no seal"))
	l.store.put(ledger.SealPrefix+l.writer+"/zz", []byte("hello"))
	sizes := func(from, to time.Time) (list []uint64) {
		for s, err := range Seals(t.Context(), l.store, l.writer, from, to) {
			if err != nil {
				t.Fatal(err)
			}
			broken := s.Key == l.cuts[15].key
			if broken != (s.Seal == nil) || broken != (s.Invalid != nil) || !broken && s.Day.IsZero() {
				t.Errorf("%+v", s)
			}
			list = append(list, s.Size)
		}
		return list
	}
	if got := sizes(time.Time{}, time.Time{}); len(got) != 20 || !slices.IsSorted(got) {
		t.Errorf("all: %v", got)
	}
	// Cuts are at noon and shortly after midnight. There are two on the fifth day, one
	// before it, one after it that is too near to be left out, and the one that ends it.
	at := began.AddDate(0, 0, 4)
	if got := sizes(at, at); !slices.Equal(got, []uint64{8, 9, 10, 11, 12}) {
		t.Errorf("the fifth day: %v", got)
	}
	l.store.fail = func(op, key string) error {
		if op == "get" && strings.HasPrefix(key, ledger.SealPrefix) {
			return errors.New("the disk is broken")
		}
		return nil
	}
	for _, err := range Seals(t.Context(), l.store, l.writer, time.Time{}, time.Time{}) {
		if err == nil {
			t.Error("a store that can't be read is not reported")
		}
	}
}
