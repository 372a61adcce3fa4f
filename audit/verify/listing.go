package verify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/ledger"
)

// entry is what the archive has under one key.
type entry struct {
	key      string
	versions []archive.Version // in the order of the listing
	markers  []archive.Version // delete markers
}

// original is the oldest version: in a WORM store, what the writer wrote.
func (e *entry) original() archive.Version {
	oldest := e.versions[len(e.versions)-1]
	for _, v := range e.versions {
		if v.Modified.Before(oldest.Modified) {
			oldest = v
		}
	}
	return oldest
}

// entries gathers the versions of each key.
func entries(ctx context.Context, store archive.Store, prefix, after string) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		var e entry
		for v, err := range store.Versions(ctx, prefix, after) {
			if err != nil {
				yield(entry{}, fmt.Errorf("list %s: %w", prefix, err))
				return
			}
			if v.Key != e.key {
				if e.key != "" && !yield(e, nil) {
					return
				}
				e = entry{key: v.Key}
			}
			if v.DeleteMarker {
				e.markers = append(e.markers, v)
			} else {
				e.versions = append(e.versions, v)
			}
		}
		if e.key != "" {
			yield(e, nil)
		}
	}
}

// lookUp is what the archive has under exactly this key; no versions: nothing.
func lookUp(ctx context.Context, store archive.Store, key string) (entry, error) {
	for e, err := range entries(ctx, store, key, "") {
		if err != nil || e.key == key {
			return e, err
		}
	}
	return entry{key: key}, nil
}

// storedSeal is a seal as it lies in the archive. Nobody verified its signature.
type storedSeal struct {
	key    string
	signed []byte
	*ledger.Seal
}

// nextSeal is the writer's first readable seal of at least the size; nil: there is
// none.
func nextSeal(ctx context.Context, store archive.Store, writer string, size uint64) (*storedSeal, error) {
	after := ""
	if size > 0 {
		after = ledger.SealKey(writer, size-1)
	}
	for e, err := range entries(ctx, store, ledger.SealPrefix+writer+"/", after) {
		if err != nil {
			return nil, err
		}
		_, keySize, err := ledger.ParseSealKey(e.key)
		if err != nil || len(e.versions) == 0 {
			continue
		}
		signed, err := store.Get(ctx, e.key, e.original().ID)
		if errors.Is(err, archive.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.key, err)
		}
		if seal, err := ledger.ReadSeal(signed); err == nil && seal.Size == keySize {
			return &storedSeal{key: e.key, signed: signed, Seal: seal}, nil
		}
	}
	return nil, nil //nolint:nilnil // there is none, and that is no error
}

// lastSealBefore is the writer's last readable seal for which before holds; nil:
// there is none. before must hold for the first seals and for none after those.
func lastSealBefore(ctx context.Context, store archive.Store, writer string, before func(*storedSeal) bool) (*storedSeal, error) {
	var last *storedSeal
	low, high := uint64(0), uint64(1) // the seal's size lies within (low, high)
	for bounded := false; high-low > 1 || !bounded; {
		size := high
		if bounded {
			size = low + (high-low)/2
		}
		seal, err := nextSeal(ctx, store, writer, size)
		if err != nil {
			return nil, err
		}
		switch {
		case seal != nil && (!bounded || seal.Size < high) && before(seal):
			last, low = seal, seal.Size
			if !bounded && low < math.MaxInt64/2 {
				high = 2 * low
			} else if !bounded {
				high, bounded = math.MaxInt64, true
			}
		default:
			high, bounded = size, true
		}
	}
	return last, nil
}

// newestSize is the size of the writer's newest readable seal; 0: there is none.
func newestSize(ctx context.Context, store archive.Store, writer string) (uint64, error) {
	last, err := lastSealBefore(ctx, store, writer, func(*storedSeal) bool { return true })
	if last == nil {
		return 0, err
	}
	return last.Size, nil
}
