package verify

import (
	"context"
	"iter"

	"golang.org/x/sync/errgroup"
)

// ordered does the work of n inputs at a time and yields the results in the order
// of the inputs. It ends early when ctx does.
func ordered[In, Out any](ctx context.Context, n int, inputs iter.Seq[In], work func(context.Context, In) Out) iter.Seq[Out] {
	return func(yield func(Out) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var group errgroup.Group
		defer group.Wait() //nolint:errcheck // none returns an error
		defer cancel()
		results := make(chan chan Out, n-1) // one more is awaited below
		group.Go(func() error {
			defer close(results)
			for in := range inputs {
				result := make(chan Out, 1)
				select {
				case <-ctx.Done():
					return nil
				case results <- result:
				}
				group.Go(func() error {
					result <- work(ctx, in)
					return nil
				})
			}
			return nil
		})
		for result := range results {
			if !yield(<-result) {
				return
			}
		}
	}
}
