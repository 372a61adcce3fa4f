package verify

import (
	"context"
	"iter"
	"time"

	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/ledger"
)

// Sealed is what lies where a log's seal belongs. Nobody verified its signature.
type Sealed struct {
	Key     string
	Size    uint64       // of the log then, by the key
	Seal    *ledger.Seal // nil: there is none that can be read
	Invalid error        // why not
	Day     time.Time    // of the first event under it, or when it was sealed, if it names none
}

// Seals yields a writer's seals in the order of their sizes, each size once: as it
// was written first. Those before and after the days of from and to are left out as
// far as that costs little, without reading them; zero times are no limit. The one
// before the first is yielded, too, if there is a limit: the log goes on from there.
// The error is the store's, and the last that is yielded.
func Seals(ctx context.Context, store archive.Store, writer string, from, to time.Time) iter.Seq2[Sealed, error] {
	return func(yield func(Sealed, error) bool) {
		limit := newPeriod(from, to)
		after := ""
		last, err := lastSealBefore(ctx, store, writer, limit.precedes)
		if err != nil {
			yield(Sealed{}, err)
			return
		}
		if last != nil && last.Size > 0 {
			after = ledger.SealKey(writer, last.Size-1)
		}
		for e, err := range entries(ctx, store, ledger.SealPrefix+writer+"/", after) {
			if err != nil {
				yield(Sealed{}, err)
				return
			}
			_, size, err := ledger.ParseSealKey(e.key)
			if err != nil || size == 0 {
				continue // no seal can lie there
			}
			s, err := sealed(ctx, store, writer, size, e)
			if !yield(s, err) || err != nil || s.Seal != nil && limit.follows(s.Seal) {
				return
			}
		}
	}
}

// sealed reads the seal that lies there.
func sealed(ctx context.Context, store archive.Store, writer string, size uint64, e entry) (Sealed, error) {
	o := &opened{entry: e, size: size}
	if err := (&run{store: store}).readSeal(ctx, o, writer); err != nil {
		return Sealed{}, err
	}
	s := Sealed{Key: e.key, Size: size, Seal: o.seal, Invalid: o.invalid}
	if s.Seal != nil {
		ok := false
		if s.Day, ok = sealDay(s.Seal); !ok {
			s.Day = s.Seal.Time
		}
	}
	return s, nil
}
