package verify

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sallyport/sallyport/audit/ledger"
)

// TestRotation: a key is trusted when one that is trusted announced it, and then
// the old one isn't any more.
func TestRotation(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		announce func(l *testLog, old, next *ledger.Key) []*ledger.Key // who signs the announcement
		after    func(old, next *ledger.Key) *ledger.Key
		wants    []want
	}{
		"good": {
			func(_ *testLog, old, next *ledger.Key) []*ledger.Key { return []*ledger.Key{old, next} },
			func(_, next *ledger.Key) *ledger.Key { return next }, nil,
		},
		"the old key goes on": {
			func(_ *testLog, old, next *ledger.Key) []*ledger.Key { return []*ledger.Key{old, next} },
			func(old, _ *ledger.Key) *ledger.Key { return old },
			[]want{tampered(CheckKey, "events 101 to 120", "while the log's key is")},
		},
		"only the new key signs": {
			func(_ *testLog, _, next *ledger.Key) []*ledger.Key { return []*ledger.Key{next} },
			func(_, next *ledger.Key) *ledger.Key { return next },
			[]want{tampered(CheckKey, "events 90 to 120", "no trusted key signed it")},
		},
		"only the old key signs": {
			func(_ *testLog, old, _ *ledger.Key) []*ledger.Key { return []*ledger.Key{old} },
			func(_, next *ledger.Key) *ledger.Key { return next },
			[]want{tampered(CheckKey, "events 101 to 120", "no trusted key signed it")},
		},
		"another key signs beside": {
			func(l *testLog, old, _ *ledger.Key) []*ledger.Key { return []*ledger.Key{old, newKey(l.t, "other")} },
			func(_, next *ledger.Key) *ledger.Key { return next },
			[]want{tampered(CheckKey, "event 90:", "didn't sign the announcement"), tampered(CheckKey, "events 101 to 120")},
		},
		"nothing was announced": {
			nil, func(_, next *ledger.Key) *ledger.Key { return next },
			[]want{tampered(CheckKey, "events 101 to 120", "no trusted key signed it")},
		},
	}
	for name, test := range tests {
		for _, layout := range []string{ledger.LayoutHybrid, ledger.LayoutEvent} {
			t.Run(fmt.Sprint(name, " ", layout), func(t *testing.T) {
				t.Parallel()
				old, next := newKey(t, "audit.example.com"), newKey(t, "audit.example.com")
				l := newLog(t, newShelf(), "gw-0a1b2c3d", old)
				l.layout = layout
				l.events(89)
				l.cut()
				if test.announce != nil {
					l.own("log", "key_rotated", map[string]any{"old": old.Public, "new": next.Public})
					l.keys = test.announce(l, old, next)
				} else {
					l.events(1)
				}
				l.events(10)
				l.cut()
				l.keys = []*ledger.Key{test.after(old, next)}
				l.events(10)
				l.cut()
				l.events(10)
				l.cut()
				r, err := l.verify(Options{Keys: verifiers(t, old)})
				if err != nil {
					t.Fatal(err)
				}
				for _, w := range test.wants {
					wantFinding(t, r, w.severity, w.check, w.parts...)
				}
				if code := min(1, len(test.wants)); r.ExitCode() != code {
					t.Errorf("exit %d, want %d\n%s", r.ExitCode(), code, human(t, r))
				}
				if test.wants == nil && len(r.Logs[0].Keys) != 2 {
					t.Errorf("keys %v", r.Logs[0].Keys)
				}
			})
		}
	}
}

// TestRotationTwice: a key that was announced, and changed again before it signed
// anything.
func TestRotationTwice(t *testing.T) {
	t.Parallel()
	old, never, next := newKey(t, "audit.example.com"), newKey(t, "audit.example.com"), newKey(t, "audit.example.com")
	l := newLog(t, newShelf(), "gw-0a1b2c3d", old)
	for _, k := range []*ledger.Key{never, next} {
		l.own("log", "key_rotated", map[string]any{"old": old.Public, "new": k.Public})
	}
	l.keys = []*ledger.Key{old, next}
	l.cut()
	l.keys = []*ledger.Key{next}
	l.events(10)
	c := l.cut()
	if r, err := l.verify(Options{Keys: verifiers(t, old)}); err != nil || r.ExitCode() != 0 || len(r.Findings) != 0 {
		t.Errorf("%v\n%s", err, human(t, r))
	}
	if p, err := Prove(t.Context(), l.store, verifiers(t, old), c.id(4)); err != nil || len(p.Rotations) != 1 {
		t.Error(err)
	}
}

// TestRotationDamaged: what isn't proven to be the announcement announces nothing.
func TestRotationDamaged(t *testing.T) {
	t.Parallel()
	old, next := newKey(t, "audit.example.com"), newKey(t, "audit.example.com")
	l := newLog(t, newShelf(), "gw-0a1b2c3d", old)
	l.own("log", "key_rotated", map[string]any{"old": old.Public, "new": next.Public})
	l.events(8)
	l.keys = []*ledger.Key{old, next}
	c := l.cut()
	l.keys = []*ledger.Key{next}
	l.events(10)
	l.cut()
	leaf := slices.Clone(c.leaves[5])
	leaf[len(leaf)/2] ^= 1
	l.store.put(c.seal.Batch.Key, encode(l, slices.Concat(c.leaves[:5], [][]byte{leaf}, c.leaves[6:])))
	r, err := l.verify(Options{Keys: verifiers(t, old)})
	if err != nil {
		t.Fatal(err)
	}
	wantFinding(t, r, Tampered, CheckEvent, c.seal.Batch.Key, "event 5:")
	wantFinding(t, r, Tampered, CheckKey, l.cuts[1].key, "events 10 to 19", "no trusted key signed it")
}
