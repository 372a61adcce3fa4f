package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/ledger"
)

// deliverer hands cuts to the archive until ctx ends; what it can't hand over
// stays in the outbox. What it can't do is tried again, ever more slowly.
func (p *Pipeline) deliverer(ctx context.Context) error {
	checked := false
	pause := time.Duration(0)
	for p.sleep(ctx, pause) {
		err := p.deliver(ctx, &checked)
		p.report(ctx, "archive", err)
		switch {
		case needsPerson(err):
			pause = time.Minute
		case err != nil:
			pause = slower(pause)
		default:
			pause = tick
		}
	}
	return nil
}

// needsPerson reports whether trying again won't help until somebody has looked.
func needsPerson(err error) bool {
	return errors.Is(err, archive.ErrNotLocked) || errors.Is(err, archive.ErrConflict) || errors.Is(err, ErrForked)
}

// deliver hands over every cut that waits.
func (p *Pipeline) deliver(ctx context.Context, checked *bool) error {
	waiting := p.outbox.waiting()
	if len(waiting) == 0 && *checked {
		return nil
	}
	if !*checked {
		if err := p.Check(ctx); err != nil {
			return err
		}
		*checked = true
	}
	for _, first := range waiting {
		if err := p.deliverOne(ctx, first); err != nil {
			return fmt.Errorf("archive events from %d: %w", first, err)
		}
	}
	return nil
}

// Check finds out whether the archive locks what it is given, and whether it knows
// more of this log than its writer: archive.ErrNotLocked, ErrForked. Any other
// error says that it couldn't find out. Run checks by itself, before it writes.
func (p *Pipeline) Check(ctx context.Context) error {
	if p.store.WORM() {
		if err := p.limited(ctx, p.store.Check); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for v, err := range p.store.Versions(ctx, ledger.SealPrefix+p.id.Writer+"/", ledger.SealKey(p.id.Writer, p.archived.Load())) {
		if err != nil {
			return err
		}
		if err := p.checkOwn(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

// checkOwn makes sure that a seal is that of a cut which was archived just before a
// crash, so that it still waits.
func (p *Pipeline) checkOwn(ctx context.Context, v archive.Version) error {
	_, size, err := ledger.ParseSealKey(v.Key)
	if err != nil {
		return err
	}
	cut, err := p.outbox.endingAt(size)
	if err != nil {
		return err
	}
	if cut != nil {
		held, err := p.store.Get(ctx, v.Key, v.ID)
		if err != nil || bytes.Equal(held, cut.signed) {
			return err
		}
	}
	return fmt.Errorf("%w: %s; move %s aside, so that a new log begins", ErrForked, v.Key, p.cfg.Dir)
}

// callTimeout bounds one call of the archive or the index; of listings, one heartbeat's
// or one check's.
const callTimeout = 30 * time.Second

func (p *Pipeline) limited(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return f(ctx)
}

// deliverOne writes the objects of a cut, its seal last: a seal promises that all
// the others are there.
func (p *Pipeline) deliverOne(ctx context.Context, first uint64) error {
	cut, body, err := p.outbox.get(first)
	if err != nil {
		return err
	}
	seal := cut.seal
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(p.cfg.Parallel)
	put := func(o archive.Object) {
		group.Go(func() error {
			return p.limited(groupCtx, func(ctx context.Context) error { return p.store.Put(ctx, o) })
		})
	}
	if seal.Batch != nil {
		put(archive.Object{Key: seal.Batch.Key, Body: body, ContentType: "application/zstd", Metadata: map[string]string{
			"log": seal.Origin, "first": fmt.Sprint(seal.First), "count": fmt.Sprint(seal.Count()),
		}})
	}
	if seal.Batch == nil || len(seal.Singles) > 0 {
		if err := p.putSingles(seal, body, put); err != nil {
			return errors.Join(err, group.Wait())
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	o := archive.Object{Key: ledger.SealKey(p.id.Writer, seal.Size), Body: cut.signed, ContentType: "text/plain; charset=utf-8"}
	if err := p.limited(ctx, func(ctx context.Context) error { return p.store.Put(ctx, o) }); err != nil {
		return err
	}
	p.archived.Store(seal.Size)
	return p.outbox.remove(first)
}

// putSingles puts the events that get an object of their own.
func (p *Pipeline) putSingles(seal *ledger.Seal, body []byte, put func(archive.Object)) error {
	leaves, err := p.leaves(seal, body)
	if err != nil {
		return err
	}
	single := func(leaf []byte) error {
		id := ledger.LeafID(leaf)
		key, err := ledger.EventKey(id)
		if err == nil {
			put(archive.Object{Key: key, Body: leaf, ContentType: "application/json", Metadata: map[string]string{
				"event_id": id, "event_type": ledger.LeafType(leaf), "log": seal.Origin,
			}})
		}
		return err
	}
	if seal.Batch == nil {
		for _, leaf := range leaves {
			if err := single(leaf); err != nil {
				return err
			}
		}
	}
	for _, offset := range seal.Singles {
		if err := single(leaves[offset]); err != nil {
			return err
		}
	}
	return nil
}

// leaves decodes a batch of the outbox.
func (p *Pipeline) leaves(seal *ledger.Seal, body []byte) ([][]byte, error) {
	leaves, err := p.codec.DecodeAll(body)
	if err != nil {
		return nil, err
	}
	if len(leaves) != seal.Count() {
		return nil, fmt.Errorf("the outbox has %d events, its seal says %d", len(leaves), seal.Count())
	}
	return leaves, nil
}
