package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sallyport/sallyport/idempotency"
)

// contend lets many claim one key at once and returns the owners that got it.
func (w *world) contend(c idempotency.Claim) []string {
	w.Helper()
	const claimants = 64
	var mu sync.Mutex // guards acquired
	var acquired []string
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := range claimants {
		group.Go(func() {
			<-start
			owner := fmt.Sprintf("owner %d", i)
			result, err := w.store.Claim(w.Context(), by(c, owner))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				w.Errorf("%s: %v", owner, err)
			case result.State == idempotency.Acquired:
				acquired = append(acquired, owner)
			case result.State != idempotency.Busy:
				w.Errorf("%s: state %d", owner, result.State)
			}
		})
	}
	close(start)
	group.Wait()
	return acquired
}

func oneOfMany(w *world) {
	c := claimOf("")
	if acquired := w.contend(c); len(acquired) != 1 {
		w.Errorf("acquired by %v", acquired)
	}
}

func oneOfManyRetakes(w *world) {
	c := claimOf("first")
	w.expect(idempotency.Acquired, c)
	w.ok(w.abandon(c))
	c.Retake = true
	if acquired := w.contend(c); len(acquired) != 1 {
		w.Errorf("acquired by %v", acquired)
	}
}

func cancelled(w *world) {
	a := claimOf("a")
	ctx, cancel := context.WithCancel(w.Context())
	cancel()
	isUnavailable := func(what string, err error) {
		w.Helper()
		if !errors.Is(err, idempotency.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			w.Errorf("%s: got %v, want ErrUnavailable for being cancelled", what, err)
		}
	}
	_, err := w.store.Claim(ctx, a)
	isUnavailable("claim", err)
	w.expect(idempotency.Acquired, by(a, "b"))
	isUnavailable("renew", w.store.Renew(ctx, a.Key, "b", lease))
	isUnavailable("complete", w.store.Complete(ctx, a.Key, "b", nil))
	isUnavailable("release", w.store.Release(ctx, a.Key, "b"))
	isUnavailable("abandon", w.store.Abandon(ctx, a.Key, "b"))
	_, _, err = w.store.Show(ctx, a.Key)
	isUnavailable("show", err)
	_, err = w.store.Clear(ctx, idempotency.Record{Key: a.Key, Owner: "b", State: idempotency.Busy})
	isUnavailable("clear", err)
	w.expect(idempotency.Busy, a)
}

func badClaims(w *world) {
	noOwner, noLease := claimOf(""), claimOf("a")
	noLease.Lease = 0
	for _, c := range []idempotency.Claim{noOwner, noLease} {
		if _, err := w.store.Claim(w.Context(), c); !errors.Is(err, idempotency.ErrUnavailable) {
			w.Errorf("claim %+v: %v", c, err)
		}
	}
	a := claimOf("a")
	w.expect(idempotency.Acquired, a)
	if err := w.store.Renew(w.Context(), a.Key, a.Owner, 0); err == nil {
		w.Error("renew without a lease is accepted")
	}
}
