package verify

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/sallyport/sallyport/audit/ledger"
)

// chain follows the seals of one log in order.
type chain struct {
	run    *run
	writer string

	// Of what places seals.
	ring     *ring
	origin   string
	end      uint64 // up to where the log is sealed
	trees    map[uint64]ledger.Tree
	sizes    []uint64 // of trees, in the order of their coming
	doubtful []span   // after end, covered only by seals that can't be trusted
	missing  []span   // without a seal
	settled  uint64   // the size of the last seal that isn't quite new

	// Of what reports.
	log     Log
	lastIDs map[ledger.ID]struct{} // of the last seal
	newest  int64                  // milliseconds of the newest id
	life    life
}

// span is a range of sequence numbers; to isn't included.
type span struct{ from, to uint64 }

// link is a seal in its place in the chain.
type link struct {
	*opened
	trusted bool
	signer  string
	beside  bool         // the period: only there for the links within
	prev    *ledger.Tree // that it goes on from; nil: not known
	content *content     // nil: not read
}

// maxTrees is how many trees are remembered, to find where a fork began.
const maxTrees = 64

func (r *run) verifyLog(ctx context.Context, writer string) error {
	c := &chain{
		run: r, writer: writer, ring: newRing(r.opts.Keys), trees: map[uint64]ledger.Tree{0: {}},
		log: Log{Writer: writer, Keys: []string{}},
	}
	r.logs[writer] = c
	before := r.report.Found
	start, err := r.start(ctx, c)
	if err != nil {
		return err
	}
	c.end, c.log.From = start, start
	for l := range ordered(ctx, r.opts.Parallel, c.links(ctx, start), r.read) {
		if err = l.failed(); err != nil {
			break
		}
		c.take(l)
	}
	if err = errors.Join(err, ctx.Err()); err != nil {
		return err
	}
	c.finish()
	if err := c.compareEnd(ctx); err != nil {
		return err
	}
	c.log.Found = r.report.Found - before
	r.report.Logs = append(r.report.Logs, c.log)
	return nil
}

func (l *link) failed() error {
	if l.content != nil {
		return errors.Join(l.err, l.content.err)
	}
	return l.err
}

// start is the size of the seal to begin with: 0, or the one before the period.
func (r *run) start(ctx context.Context, c *chain) (uint64, error) {
	if r.period.from.IsZero() {
		return 0, nil
	}
	last, err := lastSealBefore(ctx, r.store, c.writer, r.period.precedes)
	if last == nil {
		return 0, err
	}
	reader := &reader{store: r.store, codec: r.codec, ring: c.ring}
	if _, err := reader.catchUp(ctx, c.writer, last); err != nil && !errors.Is(err, errUntrusted) {
		return 0, err
	}
	return last.Size, nil
}

// links opens the log's seals from a size on and puts each in its place.
func (c *chain) links(ctx context.Context, start uint64) iter.Seq[*link] {
	after := ""
	if start > 0 {
		after = ledger.SealKey(c.writer, start-1)
	}
	var listing error
	keys := func(yield func(entry) bool) {
		for e, err := range entries(ctx, c.run.store, ledger.SealPrefix+c.writer+"/", after) {
			if listing = err; err != nil || !yield(e) {
				return
			}
		}
	}
	return func(yield func(*link) bool) {
		for o := range ordered(ctx, c.run.opts.Parallel, keys, c.run.open) {
			l := c.place(ctx, o, start > 0 && o.size == start)
			last := l.trusted && c.run.period.follows(l.seal)
			l.beside = l.beside || last
			if !yield(l) || last || l.err != nil {
				return
			}
		}
		if listing != nil {
			yield(&link{opened: &opened{err: listing}, beside: true})
		}
	}
}

// place finds out what a seal is worth and what it follows.
func (c *chain) place(ctx context.Context, o *opened, start bool) *link {
	l := &link{opened: o, beside: start}
	switch {
	case o.err != nil || o.stray:
		return l
	case o.seal == nil:
		c.doubt(l, CheckSeal, "the seal can't be read: "+o.invalid.Error())
		return l
	}
	if err := c.ring.open(o.signed); err != nil {
		check := CheckSeal
		if errors.Is(err, errUntrusted) {
			check = CheckKey
		}
		c.doubt(l, check, err.Error())
		return l
	}
	if c.origin == "" {
		c.origin = o.seal.Origin
	}
	if c.origin != o.seal.Origin {
		c.doubt(l, CheckSeal, "it is a seal of "+o.seal.Origin+", the ones before are of "+c.origin)
		return l
	}
	l.trusted, l.signer = true, c.ring.current
	c.sameSize(l)
	c.follow(l)
	if l.beside || signatures(o.signed) < 2 {
		return l
	}
	l.content = c.run.content(ctx, l)
	if !l.content.proven {
		return l // what is wrong is reported, and nothing under it believed
	}
	c.announced(l)
	return l
}

// announced goes over to the key that the seal announces. There may be more than
// one announcement: of a key that was changed again before it signed anything.
func (c *chain) announced(l *link) {
	var failed []Finding
	for _, a := range l.content.announced {
		err := c.ring.announced(l.signed, a.public)
		if err == nil {
			return
		}
		failed = append(failed, finding(Tampered, CheckKey, l.log(), l.key, a.seq, a.seq, "%v", err))
	}
	l.findings = append(l.findings, failed...)
}

// report adds a finding about events to the seal's.
func (l *link) report(check string, from, to uint64, what string, args ...any) {
	l.findings = append(l.findings, finding(Tampered, check, l.log(), l.key, from, to, what, args...))
}

// doubt reports a seal that can't be trusted. The log goes on with the next one.
func (c *chain) doubt(l *link, check, what string) {
	from := c.end
	if n := len(c.doubtful); n > 0 {
		from = max(from, c.doubtful[n-1].to)
	}
	if l.seal != nil && l.seal.First >= c.end {
		from = l.seal.First
	}
	from = min(from, l.size-1)
	l.report(check, from, l.size-1, "%s", what)
	c.doubtful = append(c.doubtful, span{from, l.size})
}

// sameSize looks at the other versions of a seal. Whoever has the key and signs a
// second tree of a size tells two histories.
func (c *chain) sameSize(l *link) {
	for _, signed := range l.others {
		if _, _, err := ledger.OpenSeal(signed, c.ring.known()); err != nil {
			continue // it is reported as a version, and proves nothing
		}
		if seal, err := ledger.ReadSeal(signed); err == nil && seal.Root != l.seal.Root {
			l.report(CheckFork, l.seal.First, l.size-1, "the log's key signed two different logs of this size")
		}
	}
}

// follow finds the tree that the seal goes on from, and what lies between.
func (c *chain) follow(l *link) {
	first := l.seal.First
	switch {
	case l.beside: // the one before the period
	case first > c.end:
		for _, gap := range without(span{c.end, first}, c.doubtful) {
			hint := ""
			if gap.from == 0 {
				hint = "; if they were kept long enough and then removed, limit the period"
			}
			l.findings = append(l.findings, finding(Tampered, CheckGap, l.log(), ledger.SealKey(c.writer, gap.to), gap.from, gap.to-1,
				"no seal covers them: this seal is missing, and all others that did%s", hint))
			c.missing = append(c.missing, gap)
		}
	case first < c.end:
		l.report(CheckFork, first, min(c.end, l.size)-1, "another seal, at size %d, covers them too: the log has two histories", c.end)
	}
	c.doubtful = nil
	if tree, ok := c.trees[first]; ok {
		l.prev = &tree
	}
	c.end = max(c.end, l.size)
	if l.seal.Time.Before(c.run.report.Started.Add(-underWay)) {
		c.settled = c.end
	}
	tree, err := ledger.ResumeTree(l.size, l.seal.Frontier)
	if err != nil {
		return // a parsed seal's frontier fits its size
	}
	if c.trees[l.size] = tree; len(c.sizes) >= maxTrees {
		delete(c.trees, c.sizes[0])
		c.sizes = c.sizes[1:]
	}
	c.sizes = append(c.sizes, l.size)
}

// without is what is left of a span.
func without(s span, taken []span) (left []span) {
	for _, t := range slices.Concat(taken, []span{{s.to, s.to}}) {
		if t.from > s.from {
			left = append(left, span{s.from, min(t.from, s.to)})
		}
		s.from = max(s.from, t.to)
		if s.from >= s.to {
			break
		}
	}
	return left
}
