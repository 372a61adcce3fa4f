package archive

import (
	"context"
	"fmt"

	"github.com/sallyport/sallyport/audit/ledger"
)

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
	for i := range leaves {
		key, err := ledger.EventKey(seal.ID(i))
		if err != nil {
			return nil, err
		}
		if leaves[i], err = store.Get(ctx, key, ""); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return leaves, nil
}
