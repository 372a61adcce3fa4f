package evidence

import (
	"context"
	"fmt"
	"iter"

	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/ledger"
)

// seals yields every seal of the archive. They are not verified here.
func seals(ctx context.Context, store archive.Store) iter.Seq2[*ledger.Seal, error] {
	return func(yield func(*ledger.Seal, error) bool) {
		for v, err := range store.Versions(ctx, ledger.SealPrefix, "") {
			if err != nil {
				yield(nil, err)
				return
			}
			if v.DeleteMarker {
				continue
			}
			signed, err := store.Get(ctx, v.Key, v.ID)
			if err != nil {
				yield(nil, err)
				return
			}
			seal, err := ledger.ReadSeal(signed)
			if err != nil {
				err = fmt.Errorf("%s: %w", v.Key, err)
			}
			if !yield(seal, err) || err != nil {
				return
			}
		}
	}
}
