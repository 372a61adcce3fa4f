package verify

import (
	"slices"
	"strings"
	"testing"

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
		"an event's only object emptied": {ledger.LayoutEvent, func(l *testLog) []want {
			l.store.put(l.cuts[1].objects[7], nil)
			return []want{tampered(CheckEvent, l.cuts[1].objects[7], "event 107")}
		}},
		"a single event emptied": {"", func(l *testLog) []want {
			l.store.put(l.cuts[1].objects[7], nil)
			return []want{tampered(CheckObject, l.cuts[1].objects[7], "event 128")}
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
		"a stray object beside the years":        {"", strayAt("note.txt")},
		"a stray object beside the canaries":     {"", strayAt("_preflight.txt")},
		"a stray object between the years":       {"", strayAt("year=2026-notes")},
		"a stray object in a folder of its own":  {"", strayAt("other/x")},
		"a stray object in a year":               {"", strayAt("year=2026/x")},
		"a stray object before the days":         {"", strayAt("year=2026/month=03/a")},
		"a stray object in a month that is none": {"", strayAt("year=2026/month=13x/x")},
		"a stray object beside the logs":         {"", strayAt("_checkpoints/note.txt")},
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

// strayAt puts an object where none belongs.
func strayAt(name string) func(*testLog) []want {
	return func(l *testLog) []want {
		l.store.put(prefix+name, []byte("hello"))
		return []want{tampered(CheckExtra, prefix+name, "no object can lie here")}
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
