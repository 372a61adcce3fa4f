package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit/ledger"
)

// want is a finding that there must be.
type want struct {
	severity Severity
	check    string
	parts    []string // of its message
}

func tampered(check string, parts ...string) want   { return want{Tampered, check, parts} }
func incomplete(check string, parts ...string) want { return want{Incomplete, check, parts} }

// TestTampered changes, adds and removes what is in a log of five cuts, with 101,
// 600, 50, 50 and 50 events: 0–99, 100–699, 700–749, 750–799, 800–849.
func TestTampered(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		layout string
		tamper func(*testLog) []want
	}{
		"a bit of a batch": {"", func(l *testLog) []want {
			key := l.cuts[1].seal.Batch.Key
			body := l.store.get(l.t, key)
			body[l.cuts[1].seal.Batch.Frames[0]+100] ^= 1 // in the second frame
			l.store.put(key, body)
			return []want{tampered(CheckBatch, key, "events 356 to 611")}
		}},
		"a bit of an event in a batch": {"", func(l *testLog) []want {
			c := l.cuts[1]
			leaf := slices.Clone(c.leaves[303])
			leaf[len(leaf)/2] ^= 1
			c.leaves[303] = leaf
			l.store.put(c.seal.Batch.Key, encode(l, c.leaves))
			return []want{tampered(CheckEvent, c.seal.Batch.Key, "event 403: its bytes are not the ones that were sealed")}
		}},
		"the same events, compressed anew": {"", func(l *testLog) []want {
			c := l.cuts[1]
			body := encode(l, c.leaves[:200])
			l.store.put(c.seal.Batch.Key, append(body, encode(l, c.leaves[200:])...))
			return []want{tampered(CheckBatch, c.seal.Batch.Key, "events")}
		}},
		"a bit of a seal": {"", func(l *testLog) []want {
			l.store.flip(l.t, l.cuts[2].key)
			return []want{tampered(CheckSeal, l.cuts[2].key, "events 700 to 749")}
		}},
		"a bit of a signature": {"", func(l *testLog) []want {
			key := l.cuts[2].key
			body := l.store.get(l.t, key)
			body[len(body)-20] ^= 1
			l.store.put(key, body)
			return []want{tampered(CheckSeal, key, "events 700 to 749", "not what was signed")}
		}},
		"a bit of a single event": {"", func(l *testLog) []want {
			key := l.cuts[1].objects[2]
			l.store.flip(l.t, key)
			return []want{tampered(CheckObject, key, "event 108: its bytes are not the ones that were sealed")}
		}},
		"a bit of an event's only object": {ledger.LayoutEvent, func(l *testLog) []want {
			key := l.cuts[1].objects[2]
			l.store.flip(l.t, key)
			return []want{tampered(CheckEvent, key, "event 102: its bytes are not the ones that were sealed")}
		}},
		"a batch deleted": {"", func(l *testLog) []want {
			l.store.remove(l.cuts[1].seal.Batch.Key)
			return []want{tampered(CheckBatch, l.cuts[1].seal.Batch.Key, "events 100 to 699")}
		}},
		"two adjacent batches deleted": {"", func(l *testLog) []want {
			l.store.remove(l.cuts[1].seal.Batch.Key)
			l.store.remove(l.cuts[2].seal.Batch.Key)
			return []want{
				tampered(CheckBatch, l.cuts[1].seal.Batch.Key, "events 100 to 699"),
				tampered(CheckBatch, l.cuts[2].seal.Batch.Key, "events 700 to 749"),
			}
		}},
		"a single event deleted": {"", func(l *testLog) []want {
			l.store.remove(l.cuts[1].objects[0])
			return []want{tampered(CheckObject, l.cuts[1].objects[0], "event 100")}
		}},
		"an event's only object deleted": {ledger.LayoutEvent, func(l *testLog) []want {
			l.store.remove(l.cuts[1].objects[7])
			return []want{tampered(CheckObject, l.cuts[1].objects[7], "event 107")}
		}},
		"a seal deleted": {"", func(l *testLog) []want {
			l.store.remove(l.cuts[1].key)
			return []want{
				tampered(CheckGap, l.cuts[1].key, "events 100 to 699"),
				tampered(CheckExtra, l.cuts[1].seal.Batch.Key, "events 100 to 699", l.cuts[1].key),
			}
		}},
		"two adjacent seals deleted": {"", func(l *testLog) []want {
			l.store.remove(l.cuts[1].key)
			l.store.remove(l.cuts[2].key)
			return []want{
				tampered(CheckGap, l.cuts[2].key, "events 100 to 749"),
				tampered(CheckExtra, l.cuts[1].seal.Batch.Key, "events 100 to 699", l.cuts[1].key),
				tampered(CheckExtra, l.cuts[2].seal.Batch.Key, "events 700 to 749", l.cuts[2].key),
			}
		}},
		"two adjacent seals and all they seal deleted": {"", func(l *testLog) []want {
			for _, c := range l.cuts[1:3] {
				removeCut(l, c)
			}
			return []want{tampered(CheckGap, l.cuts[2].key, "events 100 to 749")}
		}},
		"a deleted seal beside a broken one": {"", func(l *testLog) []want {
			l.store.remove(l.cuts[1].key)
			l.store.flip(l.t, l.cuts[2].key)
			return []want{
				tampered(CheckSeal, l.cuts[2].key, "749"),
				tampered(CheckExtra, l.cuts[1].seal.Batch.Key, "events 100 to 699", l.cuts[1].key),
			}
		}},
		"the first seal deleted": {"", func(l *testLog) []want {
			removeCut(l, l.cuts[0])
			return []want{tampered(CheckGap, l.cuts[0].key, "events 0 to 99", "limit the period")}
		}},
		"the last seal deleted": {"", func(l *testLog) []want {
			l.store.remove(l.cuts[4].key)
			return []want{incomplete(CheckExtra, l.cuts[4].seal.Batch.Key, "events 800 to 849", "the log's seals end at 800")}
		}},
		"all seals deleted": {"", func(l *testLog) []want {
			for _, c := range l.cuts {
				l.store.remove(c.key)
			}
			return []want{tampered(CheckExtra, l.cuts[1].seal.Batch.Key, "events 100 to 699", "the log has none at all")}
		}},
		"two events swapped": {"", func(l *testLog) []want {
			c := l.cuts[1]
			c.leaves[5], c.leaves[6] = c.leaves[6], c.leaves[5]
			l.store.put(c.seal.Batch.Key, encode(l, c.leaves))
			return []want{tampered(CheckEvent, c.seal.Batch.Key, "events 105 to 106")}
		}},
		"two events swapped, and sealed with a foreign key": {"", func(l *testLog) []want {
			c := l.cuts[1]
			c.leaves[5], c.leaves[6] = c.leaves[6], c.leaves[5]
			reseal(l, c, newKey(l.t, "audit.example.com"))
			return []want{tampered(CheckKey, c.key, "events 100 to 699", "no trusted key signed it, but audit.example.com+")}
		}},
		"all sealed with a foreign key": {"", func(l *testLog) []want {
			foreign := newKey(l.t, "audit.example.com")
			for _, c := range l.cuts {
				l.store.put(c.key, signed(l.t, c.seal, foreign))
			}
			return []want{tampered(CheckKey, l.cuts[0].key, "and 4 more", "events 0 to 849")}
		}},
		"two events swapped, and sealed with the log's key": {"", func(l *testLog) []want {
			c := l.cuts[1]
			c.leaves[5], c.leaves[6] = c.leaves[6], c.leaves[5]
			reseal(l, c, l.keys[0])
			return []want{
				tampered(CheckForm, c.seal.Batch.Key, "event 105", "belongs elsewhere"),
				tampered(CheckForm, c.seal.Batch.Key, "event 106", "belongs elsewhere"),
				tampered(CheckRoot, l.cuts[2].key, "events 700 to 749"),
			}
		}},
		"a sequence number twice, sealed with the log's key": {"", func(l *testLog) []want {
			c := l.cuts[1]
			c.leaves[5] = c.leaves[6]
			reseal(l, c, l.keys[0])
			return []want{
				tampered(CheckForm, c.seal.Batch.Key, "event 105", "belongs elsewhere"),
				tampered(CheckForm, c.seal.Batch.Key, "event 106", "its id "+c.id(6)+" is another event's"),
			}
		}},
		"a sequence number twice, in the batch": {"", func(l *testLog) []want {
			c := l.cuts[1]
			c.leaves[5] = c.leaves[6]
			l.store.put(c.seal.Batch.Key, encode(l, c.leaves))
			return []want{tampered(CheckEvent, c.seal.Batch.Key, "event 105: ")}
		}},
		"an id of the seal before": {"", func(l *testLog) []want {
			c := l.cuts[4]
			event := c.leaves[9][:strings.Index(string(c.leaves[9]), `,"log":`)]
			event = append([]byte(strings.Replace(string(event), c.id(9), l.cuts[3].id(3), 1)), '}')
			c.leaves[9] = ledger.AppendLeaf(nil, event, l.origin, 809)
			reseal(l, c, l.keys[0])
			return []want{tampered(CheckForm, c.key, l.cuts[3].id(3), "the seal before")}
		}},
		"a second history": {"", func(l *testLog) []want {
			// The writer's folder is restored as it was after the third cut, and goes on.
			tree, err := ledger.ResumeTree(750, l.cuts[2].seal.Frontier)
			if err != nil {
				l.t.Fatal(err)
			}
			l.tree = tree
			l.events(70)
			c := l.cut()
			return []want{
				tampered(CheckFork, c.key, "events 750 to 799", "two histories"),
				tampered(CheckFork, l.cuts[4].key, "events 800 to 819", "two histories"),
			}
		}},
		"a forged batch": {"", func(l *testLog) []want {
			key := ledger.BatchKey(l.writer, 100, 3, began)
			l.store.put(key, encode(l, l.cuts[1].leaves[:3]))
			return []want{tampered(CheckExtra, key, "events 100 to 102", "no seal promises")}
		}},
		"a forged event": {"", func(l *testLog) []want {
			l.events(1)
			leaf := ledger.AppendLeaf(nil, l.waiting[0], l.origin, 104)
			key, _ := ledger.EventKey(ledger.LeafID(leaf))
			l.store.put(key, leaf)
			return []want{tampered(CheckExtra, key, "event 104", "no seal promises")}
		}},
		"a batched event as an object, too": {"", func(l *testLog) []want {
			leaf := l.cuts[1].leaves[1]
			key, _ := ledger.EventKey(ledger.LeafID(leaf))
			l.store.put(key, leaf)
			return []want{tampered(CheckExtra, key, "event 101", "no seal promises")}
		}},
		"a stray object": {"", func(l *testLog) []want {
			key := ledger.DayPrefix(began) + "note.txt"
			l.store.put(key, []byte("hello"))
			return []want{tampered(CheckExtra, key, "no seal promises")}
		}},
		"a stray object beside the seals": {"", func(l *testLog) []want {
			key := ledger.SealPrefix + l.writer + "/zz"
			l.store.put(key, []byte("hello"))
			return []want{tampered(CheckExtra, key, "no seal can lie here")}
		}},
		"a seal in another's place": {"", func(l *testLog) []want {
			l.store.put(ledger.SealKey(l.writer, 720), l.store.get(l.t, l.cuts[2].key))
			return []want{tampered(CheckSeal, ledger.SealKey(l.writer, 720), "event", l.origin+" at size 750")}
		}},
		"another log's seals": {"", func(l *testLog) []want {
			other := newLog(l.t, newShelf(), "gw-ffffffff", l.keys[0])
			other.origin = "example.com/other/" + l.writer
			other.events(1000)
			other.cut()
			l.store.put(ledger.SealKey(l.writer, 1001), other.store.get(l.t, other.cuts[0].key))
			return []want{tampered(CheckSeal, ledger.SealKey(l.writer, 1001), "example.com/other/")}
		}},
		"an event that is far too large": {"", func(l *testLog) []want {
			key := l.cuts[1].objects[1]
			l.store.swell(key)
			return []want{tampered(CheckObject, key, "event 104", "larger than")}
		}},
		"a batch that is far too large": {"", func(l *testLog) []want {
			key := l.cuts[1].seal.Batch.Key
			l.store.swell(key)
			return []want{tampered(CheckBatch, key, "events 100 to 699", "larger than")}
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLog(t, newShelf(), "gw-0a1b2c3d", newKey(t, "audit.example.com"))
			if l.layout = test.layout; l.layout == "" {
				l.layout = ledger.LayoutHybrid
			}
			for _, n := range []int{99, 600, 50, 50, 50} {
				l.events(n)
				l.cut()
			}
			wants := test.tamper(l)
			r, err := l.verify(Options{Keys: verifiers(t, l.keys[0])})
			if err != nil {
				t.Fatal(err)
			}
			code := 2
			for _, w := range wants {
				wantFinding(t, r, w.severity, w.check, w.parts...)
				if w.severity == Tampered {
					code = 1
				}
			}
			if r.ExitCode() != code {
				t.Errorf("exit code %d, want %d:\n%s", r.ExitCode(), code, human(t, r))
			}
			if t.Failed() || testing.Verbose() {
				t.Log("\n" + human(t, r))
			}
		})
	}
}

func encode(l *testLog, leaves [][]byte) []byte {
	body, _ := l.codec.Encode(leaves)
	return body
}

func removeCut(l *testLog, c cut) {
	for _, key := range append([]string{c.key, c.seal.Batch.Key}, c.objects...) {
		l.store.remove(key)
	}
}

// reseal makes a seal of changed leaves, and writes both.
func reseal(l *testLog, c cut, key *ledger.Key) {
	l.t.Helper()
	tree := ledger.Tree{}
	for _, before := range l.cuts {
		if before.seal.Size == c.seal.First {
			tree, _ = ledger.ResumeTree(before.seal.Size, before.seal.Frontier)
		}
	}
	c.seal.Leaves = nil
	for _, leaf := range c.leaves {
		h := ledger.LeafHash(leaf)
		tree.Append(h)
		c.seal.Leaves = append(c.seal.Leaves, h[:ledger.LeafMark]...)
	}
	c.seal.Root, c.seal.Frontier = tree.Root(), tree.Frontier()
	l.batch(&c)
	l.store.put(c.key, signed(l.t, c.seal, key))
}

// TestTailDropped: a log whose end was taken away with everything that belongs to
// it is intact by itself. What others know of it shows it.
func TestTailDropped(t *testing.T) {
	t.Parallel()
	l := threeCuts(t, ledger.LayoutHybrid)
	other := newLog(t, l.store, "gw-11111111", l.keys[0])
	other.cut()
	kept := l.store.get(t, l.cuts[2].key)
	removeCut(l, l.cuts[2])
	if r, err := l.verify(Options{}); err != nil || r.ExitCode() != 0 {
		t.Errorf("this can't be seen, and yet: %v\n%s", err, human(t, r))
	}
	want := func(opts Options, severity Severity, check string) {
		t.Helper()
		r, err := l.verify(opts)
		if err != nil {
			t.Fatal(err)
		}
		wantFinding(t, r, severity, check, l.cuts[2].key, "events 700 to 749")
	}
	want(Options{Trusted: [][]byte{kept}}, Tampered, CheckAnchor)
	want(Options{Local: []Local{{Writer: l.writer, Sealed: 750}}}, Incomplete, CheckLocal)
	other.own("log", "heartbeat", map[string]any{"size": 1, "peers": map[string]uint64{l.writer: 750}})
	other.cut()
	want(Options{}, Tampered, CheckRoster)
}

// TestLogMissing: a whole log is gone.
func TestLogMissing(t *testing.T) {
	t.Parallel()
	l := threeCuts(t, ledger.LayoutHybrid)
	gone := newLog(t, newShelf(), "gw-22222222", l.keys[0])
	gone.cut()
	l.own("log", "heartbeat", map[string]any{"size": 750, "peers": map[string]uint64{gone.writer: 1}})
	l.cut()
	r, err := l.verify(Options{
		Expect: []string{"gw-33333333"}, Trusted: [][]byte{gone.store.get(t, gone.cuts[0].key)},
		Local: []Local{{Writer: gone.writer, Sealed: 1}, {Writer: l.writer, Sealed: 751}},
	})
	if err != nil || r.ExitCode() != 1 {
		t.Fatalf("%v, exit %d", err, r.ExitCode())
	}
	key := gone.cuts[0].key
	wantFinding(t, r, Tampered, CheckRoster, key, "event 0", "event 750 of "+l.origin)
	wantFinding(t, r, Tampered, CheckRoster, "gw-33333333")
	wantFinding(t, r, Tampered, CheckAnchor, key, "event 0", "the whole log is missing")
	wantFinding(t, r, Incomplete, CheckLocal, key, "event 0")
	if len(r.Findings) != 4 {
		t.Error(human(t, r))
	}
}

// TestAnchors: what was kept lies on the log, or doesn't.
func TestAnchors(t *testing.T) {
	t.Parallel()
	l := threeCuts(t, ledger.LayoutHybrid)
	kept := l.store.get(t, l.cuts[1].key)
	if r, err := l.verify(Options{Trusted: [][]byte{kept}}); err != nil || r.ExitCode() != 0 {
		t.Errorf("%v\n%s", err, human(t, r))
	}
	// Whoever has the key writes another history after the first cut.
	again := newLog(t, newShelf(), l.writer, l.keys[0])
	again.events(99)
	again.cut()
	again.events(600)
	again.cut()
	again.events(50)
	again.cut()
	r, err := again.verify(Options{Trusted: [][]byte{kept, l.store.get(t, l.cuts[2].key)}})
	if err != nil {
		t.Fatal(err)
	}
	wantFinding(t, r, Tampered, CheckAnchor, l.cuts[1].key, "events 100 to 699", "another one")
	wantFinding(t, r, Tampered, CheckAnchor, l.cuts[2].key, "events 700 to 749", "another one")

	foreign := signed(t, l.cuts[1].seal, newKey(t, "audit.example.com"))
	r, err = l.verify(Options{Trusted: [][]byte{foreign, []byte("no seal")}})
	if err != nil || r.ExitCode() != 2 {
		t.Errorf("exit %d, %v", r.ExitCode(), err)
	}
	wantFinding(t, r, Incomplete, CheckAnchor, l.cuts[1].key, "can't be used")
	wantFinding(t, r, Incomplete, CheckAnchor, "can't be used: not a signed note")
}

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

// TestNothing: an empty place is no proof.
func TestNothing(t *testing.T) {
	t.Parallel()
	r, err := Verify(context.Background(), newShelf(), Options{Keys: verifiers(t, newKey(t, "k"))})
	if err == nil || r.ExitCode() != 3 || !strings.Contains(human(t, r), "there is no audit log") {
		t.Errorf("exit %d, %v", r.ExitCode(), err)
	}
	if r, err := Verify(context.Background(), newShelf(), Options{}); err == nil || r.ExitCode() != 3 {
		t.Errorf("without a key: exit %d, %v", r.ExitCode(), err)
	}
}

// TestPeriod verifies some days of a log of ten.
func TestPeriod(t *testing.T) {
	t.Parallel()
	key := newKey(t, "audit.example.com")
	l := newLog(t, newShelf(), "gw-0a1b2c3d", key)
	next := newKey(t, "audit.example.com")
	for d := range 10 {
		l.now = began.AddDate(0, 0, d)
		switch d {
		case 2:
			l.keys = []*ledger.Key{key, next}
			l.own("log", "key_rotated", map[string]any{"old": key.Public, "new": next.Public})
		case 6:
			continue // nothing happened
		}
		for range 3 {
			l.events(20)
			l.cut()
			l.keys = l.keys[len(l.keys)-1:]
		}
	}
	at := func(d int) time.Time { return began.AddDate(0, 0, d) }
	tests := map[string]struct {
		from, to int // -1: no limit
		events   uint64
		first    uint64
	}{
		"all":            {-1, -1, 542, 0},
		"from a day":     {4, -1, 300, 242},
		"to a day":       {-1, 1, 121, 0},
		"one day":        {4, 4, 60, 242},
		"the rotation":   {2, 2, 61, 121},
		"an empty day":   {6, 6, 0, 362},
		"before all":     {-30, -20, 0, 0},
		"after all":      {20, 30, 0, 542},
		"from the first": {0, -1, 542, 0},
	}
	for name, test := range tests {
		var opts Options
		opts.Keys = verifiers(t, key)
		opts.MaxHeartbeatGap = 1000 * time.Hour
		if test.from != -1 {
			opts.From = at(test.from)
		}
		if test.to != -1 {
			opts.To = at(test.to)
		}
		r, err := l.verify(opts)
		if err != nil || r.ExitCode() != 0 || r.Events != test.events || len(r.Findings) > 0 {
			t.Errorf("%s: %v, exit %d, %d events, want %d\n%s", name, err, r.ExitCode(), r.Events, test.events, human(t, r))
			continue
		}
		if r.Logs[0].From != test.first {
			t.Errorf("%s: from %d, want %d", name, r.Logs[0].From, test.first)
		}
	}

	// A day that was taken away is missing from the period, also if it is all of it.
	for _, c := range l.cuts[12:15] {
		removeCut(l, c)
	}
	r, err := l.verify(Options{Keys: verifiers(t, key), From: at(4), To: at(4)})
	if err != nil || r.ExitCode() != 1 {
		t.Fatalf("%v, exit %d", err, r.ExitCode())
	}
	wantFinding(t, r, Tampered, CheckGap, l.cuts[14].key, "events 242 to 301")
}
