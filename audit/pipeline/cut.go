package pipeline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/ledger"
)

// cutter cuts until ctx ends, and then what is left.
func (p *Pipeline) cutter(ctx context.Context) error {
	pause := tick
	for p.sleep(ctx, pause) {
		err := p.cutDue(ctx)
		p.report(ctx, "cut", err)
		if err != nil {
			pause = slower(pause)
		} else {
			pause = tick
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	p.report(ctx, "cut", p.cutUpTo(ctx, p.journal.Synced()))
	return nil
}

// cutDue cuts while a batch is full, or an event has waited long enough.
func (p *Pipeline) cutDue(ctx context.Context) error {
	full := false // was the last one: more of its kind may wait
	for {
		waiting := p.journal.Synced() - p.tree.Size()
		if waiting == 0 || !full && waiting < uint64(p.cfg.BatchEvents) && p.now().Sub(p.lastCut) < p.cfg.Interval { //nolint:gosec // positive
			return nil
		}
		var err error
		if full, err = p.cutOne(ctx); err != nil {
			return err
		}
	}
}

// cutUpTo cuts the events below the number.
func (p *Pipeline) cutUpTo(ctx context.Context, end uint64) error {
	for p.tree.Size() < end {
		if _, err := p.cutOne(ctx); err != nil {
			return err
		}
	}
	return nil
}

// cutOne moves the next events from the journal to the outbox, and reports whether
// its batch is full.
func (p *Pipeline) cutOne(ctx context.Context) (full bool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cut after event %d: %w", p.tree.Size(), err)
		}
	}()
	c, err := p.take(ctx)
	if err != nil {
		return false, err
	}
	seal, batch, tree := p.seal(c)
	signers := p.signers
	if c.rotates {
		signers = append(signers[:len(signers):len(signers)], p.rotateTo)
	}
	signed, err := seal.Sign(signers...)
	if err != nil {
		return false, err
	}
	if err := p.outbox.put(seal.First, batch, signed); err != nil {
		return false, err
	}
	// A crash from here on finds the cut in the outbox, and goes on after it.
	if c.rotates {
		p.signers, p.rotateTo = []note.Signer{p.rotateTo}, nil
	}
	p.tree, p.lastCut = tree, p.now()
	p.sealed.Store(seal.Size)
	return c.full, p.journal.Release(seal.Size)
}

// batch is what one cut takes.
type batch struct {
	leaves  [][]byte
	singles []int
	rotates bool // announces the key that is to sign from now on
	full    bool
}

// take reads the events of the next cut and makes leaves of them. A cut ends with
// its day, so that the keys of its events and its batch have the same one.
func (p *Pipeline) take(ctx context.Context) (*batch, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c := &batch{}
	size, day := 0, int64(-1)
	var err error
	readErr := p.journal.Read(p.tree.Size(), p.cfg.BatchEvents, func(seq uint64, class audit.Class, line []byte) bool {
		if want := p.tree.Size() + uint64(len(c.leaves)); seq != want {
			err = fmt.Errorf("the journal goes on with event %d instead of %d", seq, want)
			return false
		}
		id := ledger.LeafID(line)
		var when time.Time
		if when, err = ledger.IDTime(id); err != nil {
			err = fmt.Errorf("event %d: %w", seq, err)
			return false
		}
		if d := when.Unix() / (24 * 60 * 60); day < 0 {
			day = d
		} else if d != day { // also of the key; see ledger.DayPrefix
			return false
		}
		event := line
		if p.hider != nil {
			if event, err = p.hider.hide(ctx, line, Bound(p.origin, seq)); err != nil {
				err = fmt.Errorf("event %d: %w", seq, err)
				return false
			}
		}
		if class&audit.Single != 0 {
			c.singles = append(c.singles, len(c.leaves))
		}
		c.rotates = c.rotates || p.announces(event)
		leaf := ledger.AppendLeaf(make([]byte, 0, len(event)+len(p.origin)+32), event, p.origin, seq)
		c.leaves = append(c.leaves, leaf)
		size += len(leaf)
		c.full = size >= p.cfg.BatchBytes || len(c.leaves) == p.cfg.BatchEvents
		return !c.full
	})
	switch {
	case err != nil && len(c.leaves) == 0:
		return nil, err
	case readErr != nil:
		return nil, readErr
	case len(c.leaves) == 0:
		return nil, fmt.Errorf("the journal has no event %d", p.tree.Size())
	}
	return c, nil
}

// announces reports whether the event announces the key that is to sign: the seal
// over it is the first one that the key signs. A key that was announced and never
// used, because somebody changed their mind, is not.
func (p *Pipeline) announces(event []byte) bool {
	return p.rotateTo != nil && ledger.LeafType(event) == "log" &&
		bytes.Contains(event, []byte(`"action":"key_rotated"`)) &&
		bytes.Contains(event, append([]byte(`"new":`), quote(p.cfg.Keys[0].Public)...))
}

// seal seals the cut, and returns the tree that ends with it.
func (p *Pipeline) seal(c *batch) (*ledger.Seal, []byte, ledger.Tree) {
	tree, _ := ledger.ResumeTree(p.tree.Size(), p.tree.Frontier()) // a copy of a valid one
	seal := &ledger.Seal{
		Origin: p.origin, First: tree.Size(), Time: p.now().UTC().Truncate(time.Millisecond), Layout: p.cfg.Layout,
		Leaves: make([]byte, 0, len(c.leaves)*ledger.LeafMark),
	}
	for _, leaf := range c.leaves {
		h := ledger.LeafHash(leaf)
		tree.Append(h)
		seal.Leaves = append(seal.Leaves, h[:ledger.LeafMark]...)
	}
	seal.Size, seal.Root, seal.Frontier = tree.Size(), tree.Root(), tree.Frontier()
	body, frames := p.codec.Encode(c.leaves)
	if p.cfg.Layout == ledger.LayoutEvent {
		for _, leaf := range c.leaves {
			id, _ := hex.DecodeString(strings.ReplaceAll(ledger.LeafID(leaf), "-", "")) // was checked
			seal.IDs = append(seal.IDs, id...)
		}
		return seal, body, tree
	}
	day, _ := ledger.IDTime(ledger.LeafID(c.leaves[0])) // was checked
	seal.Batch = &ledger.Batch{
		Key:    ledger.BatchKey(p.id.Writer, seal.First, len(c.leaves), day),
		SHA256: sha256.Sum256(body), Frames: frames,
	}
	if p.cfg.Layout == ledger.LayoutHybrid {
		seal.Singles = c.singles
	}
	return seal, body, tree
}
