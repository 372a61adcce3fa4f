package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/ledger"
)

// began is when all logs of these tests begin.
var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// testLog writes a log into an archive as the pipeline does, but with every clock,
// key and mistake that a test wants.
type testLog struct {
	t      testing.TB
	store  *shelf
	writer string
	origin string
	layout string
	now    time.Time
	tree   ledger.Tree
	keys   []*ledger.Key // that sign the next seal
	codec  *ledger.Codec

	waiting [][]byte // lines
	single  []bool
	cuts    []cut
}

// cut is what lies under one seal.
type cut struct {
	seal    *ledger.Seal
	key     string
	leaves  [][]byte
	objects []string // the keys of single events
}

func (c cut) id(offset int) string { return ledger.LeafID(c.leaves[offset]) }

func newKey(t testing.TB, name string) *ledger.Key {
	t.Helper()
	key, _, err := ledger.GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func verifiers(t testing.TB, keys ...*ledger.Key) (list []note.Verifier) {
	t.Helper()
	for _, k := range keys {
		v, err := note.NewVerifier(k.Public)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, v)
	}
	return list
}

// newLog begins a log with its first event.
func newLog(t testing.TB, store *shelf, writer string, key *ledger.Key) *testLog {
	t.Helper()
	codec, err := ledger.NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(codec.Close)
	l := &testLog{
		t: t, store: store, writer: writer, origin: "example.com/audit/" + writer, layout: ledger.LayoutHybrid,
		now: began, keys: []*ledger.Key{key}, codec: codec,
	}
	l.own("log", "opened", map[string]any{"origin": l.origin})
	return l
}

// own adds an event of the log or the service about itself.
func (l *testLog) own(kind, action string, metadata map[string]any) {
	l.t.Helper()
	entry := audit.Entry{Type: kind, Action: action, Metadata: metadata}
	line, err := entry.Line(l.now)
	if err != nil {
		l.t.Fatal(err)
	}
	l.line(bytes.TrimSuffix(line, []byte("\n")), false)
}

func (l *testLog) line(line []byte, single bool) {
	l.waiting, l.single = append(l.waiting, line), append(l.single, single)
}

// events adds decisions, every fourth of which gets an object of its own.
func (l *testLog) events(n int) {
	for i := range n {
		l.now = l.now.Add(10 * time.Millisecond)
		line := audit.AppendHead(nil, l.now, "decision")
		line = append(line, fmt.Sprintf(`,"tool_name":"orders.create","status":"allow","metadata":{"n":%d,"pad":"%064x"}}`, i, l.now.UnixNano()*int64(i+1))...)
		l.line(line, i%4 == 0)
	}
}

// cut seals what waits.
func (l *testLog) cut() cut {
	l.t.Helper()
	l.write(l.prepare())
	return l.cuts[len(l.cuts)-1]
}

// prepare makes a seal of what waits, and goes on after it.
func (l *testLog) prepare() cut {
	l.t.Helper()
	l.now = l.now.Add(time.Second)
	c := cut{seal: &ledger.Seal{Origin: l.origin, First: l.tree.Size(), Time: l.now, Layout: l.layout}}
	for i, line := range l.waiting {
		leaf := ledger.AppendLeaf(nil, line, l.origin, l.tree.Size())
		c.leaves = append(c.leaves, leaf)
		h := ledger.LeafHash(leaf)
		l.tree.Append(h)
		c.seal.Leaves = append(c.seal.Leaves, h[:ledger.LeafMark]...)
		id, _ := ledger.ParseID([]byte(ledger.LeafID(leaf)))
		if l.layout == ledger.LayoutEvent {
			c.seal.IDs = append(c.seal.IDs, id[:]...)
		}
		if l.layout == ledger.LayoutHybrid && l.single[i] {
			c.seal.Singles = append(c.seal.Singles, i)
		}
	}
	l.waiting, l.single = nil, nil
	c.seal.Size, c.seal.Root, c.seal.Frontier = l.tree.Size(), l.tree.Root(), l.tree.Frontier()
	c.key = ledger.SealKey(l.writer, c.seal.Size)
	return c
}

// write puts the objects of a cut into the archive.
func (l *testLog) write(c cut) {
	l.t.Helper()
	if l.layout != ledger.LayoutEvent {
		l.batch(&c)
	}
	for i, leaf := range c.leaves {
		own := l.layout == ledger.LayoutEvent
		for _, offset := range c.seal.Singles {
			own = own || offset == i
		}
		key, err := ledger.EventKey(ledger.LeafID(leaf))
		if own && err == nil {
			l.store.put(key, leaf)
			c.objects = append(c.objects, key)
		}
	}
	l.store.put(c.key, signed(l.t, c.seal, l.keys...))
	l.cuts = append(l.cuts, c)
}

// batch writes the cut's batch, and names it in the seal.
func (l *testLog) batch(c *cut) {
	body, frames := l.codec.Encode(c.leaves)
	first, err := ledger.IDTime(ledger.LeafID(c.leaves[0]))
	if err != nil {
		l.t.Fatal(err)
	}
	c.seal.Batch = &ledger.Batch{
		Key: ledger.BatchKey(l.writer, c.seal.First, len(c.leaves), first), SHA256: sha256.Sum256(body), Frames: frames,
	}
	l.store.put(c.seal.Batch.Key, body)
}

func signed(t testing.TB, seal *ledger.Seal, keys ...*ledger.Key) []byte {
	t.Helper()
	var signers []note.Signer
	for _, k := range keys {
		signers = append(signers, k)
	}
	text, err := seal.Sign(signers...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// verify runs Verify with a clock shortly after the log's end.
func (l *testLog) verify(opts Options) (*Report, error) {
	if opts.Keys == nil {
		opts.Keys = verifiers(l.t, l.keys[0])
	}
	now := l.now.Add(2 * time.Minute)
	opts.Now = func() time.Time { return now }
	return Verify(context.Background(), l.store, opts)
}

// wantFinding fails unless there is a finding of the check whose message has all
// the parts.
func wantFinding(t *testing.T, r *Report, severity Severity, check string, parts ...string) {
	t.Helper()
next:
	for _, f := range r.Findings {
		if f.Severity != severity || f.Check != check {
			continue
		}
		for _, part := range parts {
			if !strings.Contains(f.Message, part) {
				continue next
			}
		}
		return
	}
	t.Errorf("no %s finding of %s with %q in:\n%s", severity, check, parts, human(t, r))
}

func human(t testing.TB, r *Report) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteHuman(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
