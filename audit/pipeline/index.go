package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/ledger"
)

// indexer adds every cut to the index until ctx ends. What the outbox no longer
// has comes from the archive, so that an index that was away, or is new, catches
// up by itself and never holds up the archive.
func (p *Pipeline) indexer(ctx context.Context) error {
	pause := time.Duration(0)
	known := false // how far the index is
	for p.sleep(ctx, pause) {
		more, err := p.indexNext(ctx, &known)
		p.report(ctx, "index", err)
		switch {
		case err != nil:
			pause, known = slower(pause), false // it may have been restored from a copy
		case more:
			pause = 0
		default:
			pause = tick
		}
	}
	return nil
}

// indexNext adds the next cut; false: there is none.
func (p *Pipeline) indexNext(ctx context.Context, known *bool) (more bool, err error) {
	if !*known {
		if err := p.limited(ctx, p.askIndex); err != nil {
			return false, err
		}
		*known = true
	}
	next := p.indexed.Load()
	if next >= p.sealed.Load() {
		return false, nil
	}
	var seal *ledger.Seal
	var leaves [][]byte
	cut, body, err := p.outbox.get(next)
	switch {
	case err == nil:
		seal = cut.seal
		leaves, err = p.leaves(seal, body)
	case errors.Is(err, fs.ErrNotExist):
		err = p.limited(ctx, func(ctx context.Context) (err error) {
			seal, leaves, err = p.fromArchive(ctx, next)
			return err
		})
	}
	if err != nil {
		return false, fmt.Errorf("index events from %d: %w", next, err)
	}
	if err := p.limited(ctx, func(ctx context.Context) error { return p.index.Add(ctx, seal, leaves) }); err != nil {
		return false, fmt.Errorf("index events from %d: %w", next, err)
	}
	p.indexed.Store(seal.Size)
	return true, nil
}

// askIndex finds out how far the index is.
func (p *Pipeline) askIndex(ctx context.Context) error {
	size, err := p.index.Size(ctx, p.origin)
	if err != nil {
		return err
	}
	p.indexed.Store(size)
	if sealed := p.sealed.Load(); size > sealed {
		return fmt.Errorf("%w: the index has events up to %d, this log ends at %d", ErrForked, size, sealed)
	}
	return nil
}

// fromArchive reads the cut in which the event is.
func (p *Pipeline) fromArchive(ctx context.Context, event uint64) (*ledger.Seal, [][]byte, error) {
	for v, err := range p.store.Versions(ctx, ledger.SealPrefix+p.id.Writer+"/", ledger.SealKey(p.id.Writer, event)) {
		if err != nil {
			return nil, nil, err
		}
		if v.DeleteMarker {
			continue
		}
		signed, err := p.store.Get(ctx, v.Key, v.ID)
		if err != nil {
			return nil, nil, err
		}
		seal, err := ledger.ReadSeal(signed)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", v.Key, err)
		}
		if seal.Origin != p.origin || event < seal.First || event >= seal.Size {
			return nil, nil, fmt.Errorf("%s is a seal of %s from %d to %d", v.Key, seal.Origin, seal.First, seal.Size)
		}
		leaves, err := archive.Leaves(ctx, p.store, p.codec, seal)
		return seal, leaves, err
	}
	return nil, nil, fmt.Errorf("%w: the seal over event %d", archive.ErrNotFound, event)
}
