package verify

import (
	"context"
	"hash/maphash"
	"math"
	"slices"

	"golang.org/x/sync/errgroup"
)

// readsAtOnce is how many small objects of a seal are read at a time.
const readsAtOnce = 16

// each does the same for n things, some at a time, and returns what was found in
// their order.
func (r *run) each(ctx context.Context, n int, work func(ctx context.Context, i int) ([]Finding, error)) ([]Finding, error) {
	if n == 0 {
		return nil, nil
	}
	found := make([][]Finding, n)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readsAtOnce)
	for i := range n {
		group.Go(func() (err error) {
			found[i], err = work(ctx, i)
			return err
		})
	}
	err := group.Wait()
	return slices.Concat(found...), err
}

// sampler chooses a part of the keys, another one in each run, so that nobody can
// know which.
type sampler struct {
	seed  maphash.Seed
	limit uint64
}

func newSampler(part float64) sampler {
	s := sampler{seed: maphash.MakeSeed(), limit: math.MaxUint64}
	if part < 1 {
		s.limit = uint64(part * math.MaxUint64)
	}
	return s
}

func (s sampler) takes(key string) bool {
	return s.limit == math.MaxUint64 || maphash.String(s.seed, key) < s.limit
}
