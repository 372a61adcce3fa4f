package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/sallyport/sallyport/audit/ledger"
)

// content is what the events under one seal are worth.
type content struct {
	findings  []Finding
	events    uint64 // verified
	ids       map[ledger.ID]struct{}
	oldest    clock // by id
	newest    clock
	signs     []sign // of life
	mentions  map[string]mention
	announced []announcement
	proven    bool  // all leaves are what was signed
	err       error // the store's
}

// clock is the time in an event's id.
type clock struct {
	milli int64
	seq   uint64
}

// announcement is an event that announces a key.
type announcement struct {
	seq    uint64
	public string
}

// read verifies the events of a link, unless it is there for others only.
func (r *run) read(ctx context.Context, l *link) *link {
	if l.content == nil && l.trusted && !l.beside {
		l.content = r.content(ctx, l)
	}
	if !l.trusted && l.seal != nil && l.seal.Batch != nil {
		r.days.promise(l.seal.Batch.Key) // or it would be one that nobody knows
	}
	return l
}

// content verifies the events under a seal that is trusted.
func (r *run) content(ctx context.Context, l *link) *content {
	s := l.seal
	c := &content{ids: make(map[ledger.ID]struct{}, s.Count()), mentions: make(map[string]mention)}
	leaves, findings, err := r.leaves(ctx, l)
	c.findings = findings
	if err != nil {
		c.err = err
		return c
	}
	hashes, whole := c.check(l, leaves)
	c.proven = whole && len(findings) == 0
	if whole && l.prev != nil {
		c.proven = c.root(l, hashes)
	}
	if s.Batch != nil {
		c.add(r.singles(ctx, l, leaves))
	}
	if r.opts.Index != nil {
		c.add(r.compareRows(ctx, l, leaves, hashes))
	}
	return c
}

func (c *content) add(findings []Finding, err error) {
	c.findings = append(c.findings, findings...)
	if c.err == nil {
		c.err = err
	}
}

// leaves reads what the seal covers. Those that can't be read are nil; findings say
// why.
func (r *run) leaves(ctx context.Context, l *link) ([][]byte, []Finding, error) {
	if l.seal.Batch == nil {
		return r.objects(ctx, l)
	}
	batch := l.seal.Batch
	none := make([][]byte, l.seal.Count())
	r.days.promise(batch.Key)
	if want := l.batchKey(); dayOf(batch.Key) == "" || want != batch.Key[len(dayLayout):] {
		return none, []Finding{finding(Tampered, CheckSeal, l.log(), l.key, l.seal.First, l.size-1, "it names %s, which is no batch of these", batch.Key)}, nil
	}
	body, err := r.store.Get(ctx, batch.Key, "")
	if err != nil && !r.absent(ctx, batch.Key, err) {
		return nil, nil, fmt.Errorf("%s: %w", batch.Key, err)
	}
	if err == nil && sha256.Sum256(body) == batch.SHA256 {
		leaves, err := r.codec.Decode(body, batch.Frames)
		if err == nil && len(leaves) != len(none) {
			err = fmt.Errorf("it holds %d events instead of %d", len(leaves), len(none))
		}
		if err == nil {
			return leaves, nil, nil
		}
		return none, []Finding{finding(Tampered, CheckBatch, l.log(), batch.Key, l.seal.First, l.size-1, "it is what was sealed, and no batch of these: %v", err)}, nil
	}
	return r.damaged(ctx, l, body, err)
}

// batchKey is what the key of the seal's batch must be, without its day.
func (l *link) batchKey() string {
	day, _ := sealDay(l.seal)
	return ledger.BatchKey(ledger.Writer(l.seal.Origin), l.seal.First, l.seal.Count(), day)[len(dayLayout):]
}

// check hashes the leaves and looks into each. What isn't as it was sealed is
// reported and made nil; whole says that there is none such.
func (c *content) check(l *link, leaves [][]byte) (hashes []ledger.Hash, whole bool) {
	hashes = make([]ledger.Hash, len(leaves))
	hasher := sha256.New()
	end := make([]byte, 0, len(l.seal.Origin)+64)
	whole = true
	for i, leaf := range leaves {
		if leaf == nil {
			whole = false
			continue
		}
		hasher.Reset()
		hasher.Write(leafPrefix)
		hasher.Write(leaf)
		hasher.Sum(hashes[i][:0])
		if !l.seal.Marked(i, hashes[i]) {
			c.findings = append(c.findings, l.changed(i, i))
			leaves[i], whole = nil, false
			continue
		}
		c.events++
		end = ledger.AppendPlace(end[:0], l.seal.Origin, l.seq(i))
		c.leaf(l, i, leaf, end)
	}
	c.lateIDs(l)
	if l.seal.First == 0 && leaves[0] != nil && (len(c.signs) == 0 || !c.signs[0].opens()) {
		c.findings = append(c.findings, finding(Tampered, CheckRoster, l.log(), l.place(0), 0, 0, "the log doesn't begin with the event that says so"))
	}
	return hashes, whole
}

// leafPrefix begins what is hashed of a leaf (RFC 6962 §2.1).
var leafPrefix = []byte{0}

// leaf looks into a leaf that is as it was sealed; end is what it must end with.
func (c *content) leaf(l *link, offset int, leaf, end []byte) {
	seq := l.seq(offset)
	report := func(severity Severity, check, what string, args ...any) {
		c.findings = append(c.findings, finding(severity, check, l.log(), l.place(offset), seq, seq, what, args...))
	}
	if !bytes.HasSuffix(leaf, end) {
		report(Tampered, CheckForm, "it says that it belongs elsewhere: it doesn't end with %s", end)
	}
	h, ok := parseHead(leaf)
	if !ok {
		report(Tampered, CheckForm, "it doesn't begin with an id, a time and a type")
		return
	}
	if _, twice := c.ids[h.id]; twice {
		report(Tampered, CheckForm, "its id %s is another event's", h.id)
	}
	c.ids[h.id] = struct{}{}
	c.clock(h, seq, report)
	if !h.own {
		return
	}
	if err := c.own(leaf, h, seq); err != nil {
		report(Tampered, CheckForm, "%v", err)
	}
}

// changed reports leaves, by their offsets, whose bytes aren't those of the seal.
func (l *link) changed(from, to int) Finding {
	first := l.seal.First
	return finding(Tampered, CheckEvent, l.log(), l.place(from), first+uint64(from), first+uint64(to), //nolint:gosec // offsets are positive
		"its bytes are not the ones that were sealed")
}

// place is the object that a leaf is read from.
func (l *link) place(offset int) string {
	if l.seal.Batch != nil {
		return l.seal.Batch.Key
	}
	key, err := ledger.EventKey(l.seal.ID(offset))
	if err != nil {
		return l.key
	}
	return key
}

// root appends the leaves to the tree before, and reports whether that makes the
// tree that was signed.
func (c *content) root(l *link, hashes []ledger.Hash) bool {
	tree, err := ledger.ResumeTree(l.prev.Size(), l.prev.Frontier())
	if err != nil {
		return false // it was one before
	}
	for _, h := range hashes {
		tree.Append(h)
	}
	if tree.Root() != l.seal.Root {
		c.findings = append(c.findings, finding(Tampered, CheckRoot, l.log(), l.key, l.seal.First, l.size-1,
			"these events, after the ones before, don't make the tree that was signed"))
		return false
	}
	return true
}

// objects reads the leaves of layout "event".
func (r *run) objects(ctx context.Context, l *link) ([][]byte, []Finding, error) {
	leaves := make([][]byte, l.seal.Count())
	findings, err := r.each(ctx, len(leaves), func(ctx context.Context, i int) ([]Finding, error) {
		key, err := ledger.EventKey(l.seal.ID(i))
		if err != nil {
			return []Finding{finding(Tampered, CheckSeal, l.log(), l.key, l.seq(i), l.seq(i), "it names an event by %v", err)}, nil
		}
		r.days.promise(key)
		leaf, err := r.store.Get(ctx, key, "")
		if err == nil {
			leaves[i] = append([]byte{}, leaf...) // never nil: also an empty one was read
			return nil, nil
		}
		if !r.absent(ctx, key, err) {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		r.days.withdraw(key)
		return []Finding{finding(Tampered, CheckObject, l.log(), key, l.seq(i), l.seq(i), "its object can't be read: %v", err)}, nil
	})
	return leaves, findings, err
}

func (l *link) seq(offset int) uint64 { return l.seal.First + uint64(offset) } //nolint:gosec // it is positive

// singles compares the events that have an object of their own with those.
func (r *run) singles(ctx context.Context, l *link, leaves [][]byte) ([]Finding, error) {
	return r.each(ctx, len(l.seal.Singles), func(ctx context.Context, i int) ([]Finding, error) {
		offset := l.seal.Singles[i]
		if leaves[offset] == nil {
			return nil, nil
		}
		key, err := ledger.EventKey(ledger.LeafID(leaves[offset]))
		if err != nil {
			return nil, nil //nolint:nilerr // that it has no id was reported
		}
		r.days.promise(key)
		if !r.sample.takes(key) {
			return nil, nil
		}
		seq := l.seq(offset)
		object, err := r.store.Get(ctx, key, "")
		switch {
		case err == nil && bytes.Equal(object, leaves[offset]):
			return nil, nil
		case err == nil:
			return []Finding{finding(Tampered, CheckObject, l.log(), key, seq, seq, "its bytes are not the ones that were sealed")}, nil
		case r.absent(ctx, key, err):
			r.days.withdraw(key)
			return []Finding{finding(Tampered, CheckObject, l.log(), key, seq, seq, "its object can't be read: %v", err)}, nil
		}
		return nil, fmt.Errorf("%s: %w", key, err)
	})
}
