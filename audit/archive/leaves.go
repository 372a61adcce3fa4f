package archive

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/sallyport/sallyport/audit/ledger"
)

// leavesAtOnce is how many objects are read at a time where each leaf is one.
const leavesAtOnce = 16

// Leaves reads the leaves that a seal covers. It doesn't verify them.
func Leaves(ctx context.Context, store Store, codec *ledger.Codec, seal *ledger.Seal) ([][]byte, error) {
	if seal.Batch != nil {
		body, err := store.Get(ctx, seal.Batch.Key, "")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", seal.Batch.Key, err)
		}
		leaves, err := codec.Decode(body, seal.Batch.Frames)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", seal.Batch.Key, err)
		}
		return leaves, nil
	}
	leaves := make([][]byte, seal.Count())
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(leavesAtOnce)
	for i := range leaves {
		key, err := ledger.EventKey(seal.ID(i))
		if err != nil {
			return nil, errors.Join(err, group.Wait())
		}
		group.Go(func() (err error) {
			if leaves[i], err = store.Get(ctx, key, ""); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return leaves, nil
}
