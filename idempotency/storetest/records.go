package storetest

import (
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/idempotency"
)

func ttlEnds(w *world) {
	ends := map[string]func(idempotency.Claim) error{
		"busy":    func(idempotency.Claim) error { return nil },
		"unknown": w.abandon,
		"done":    func(c idempotency.Claim) error { return w.complete(c, created("done")) },
	}
	claims := make(map[string]idempotency.Claim)
	for name, end := range ends {
		a := claimOf("a")
		a.Lease, a.TTL = brief, while
		w.expect(idempotency.Acquired, a)
		w.ok(end(a))
		claims[name] = a
	}
	w.advance(while + margin)
	for name, a := range claims {
		w.isLost(name+": complete", w.complete(a, created("late")))
		b := by(a, "b")
		b.Fingerprint[0]++
		if result := w.claim(b); result.State != idempotency.Acquired {
			w.Errorf("%s: state %d", name, result.State)
		}
	}
}

// ttlFromEnd lets an execution take half of its TTL: what became of it is
// remembered for all of the TTL.
func ttlFromEnd(w *world) {
	done, unknown := claimOf("done"), claimOf("unknown")
	for _, a := range []*idempotency.Claim{&done, &unknown} {
		a.Lease, a.TTL = while, while
		w.expect(idempotency.Acquired, *a)
	}
	w.advance(while / 2)
	w.ok(w.complete(done, created("done")))
	w.ok(w.abandon(unknown))
	w.advance(while/2 + margin)
	w.expect(idempotency.Replay, by(done, "b"))
	w.expect(idempotency.Unknown, by(unknown, "b"))
}

func ttlChanges(w *world) {
	short, long := claimOf("a"), claimOf("a")
	short.Lease, short.TTL = brief, while
	w.expect(idempotency.Acquired, short)
	w.expect(idempotency.Acquired, long)
	w.ok(w.complete(short, created("short")))
	w.ok(w.complete(long, created("long")))
	// The setting is now the other way round. What is remembered stays so.
	short.TTL, long.TTL = long.TTL, short.TTL
	w.expect(idempotency.Replay, by(short, "b"))
	w.expect(idempotency.Replay, by(long, "b"))
	w.advance(while + margin)
	w.expect(idempotency.Acquired, by(short, "b"))
	w.expect(idempotency.Replay, by(long, "b"))
}

func ttlShorterThanLease(w *world) {
	a := claimOf("a")
	a.Lease, a.TTL = while, time.Millisecond
	w.expect(idempotency.Acquired, a)
	w.advance(margin)
	w.expect(idempotency.Busy, by(a, "b"))
}

func keysApart(w *world) {
	a := claimOf("a")
	b := a
	b.Key[31]++
	w.expect(idempotency.Acquired, a)
	w.expect(idempotency.Acquired, b)
	w.ok(w.complete(a, created("a")))
	w.expect(idempotency.Busy, by(b, "b"))
}

func showAndClear(w *world) {
	a := claimOf("a")
	if _, ok, err := w.store.Show(w.Context(), a.Key); ok || err != nil {
		w.Errorf("show nothing: %v, %v", ok, err)
	}
	w.clears(idempotency.Record{Key: a.Key, State: idempotency.Unknown}, false)
	w.expect(idempotency.Acquired, a)
	record := w.show(a, idempotency.Busy)
	if got := record.Expires.Sub(record.Claimed); got < ttl-time.Second || got > ttl+time.Second {
		w.Errorf("expires after %v, want %v", got, ttl)
	}
	if got := record.LeaseEnds.Sub(record.Claimed); got < lease-time.Millisecond || got > lease+time.Millisecond {
		w.Errorf("the lease ends after %v, want %v", got, lease)
	}
	w.ok(w.abandon(a))
	if record := w.show(a, idempotency.Unknown); !record.LeaseEnds.IsZero() {
		w.Errorf("a lease that is over ends at %v", record.LeaseEnds)
	}
	w.ok(w.complete(a, created("done")))
	w.show(a, idempotency.Replay)

	b := claimOf("b")
	w.expect(idempotency.Acquired, b)
	w.ok(w.complete(b, nil))
	w.show(b, idempotency.NotRetained)

	late := claimOf("c")
	late.Lease = brief
	w.expect(idempotency.Acquired, late)
	w.advance(brief + margin)
	w.show(late, idempotency.Unknown)

	for _, c := range []idempotency.Claim{a, b, late} {
		seen, _, err := w.store.Show(w.Context(), c.Key)
		w.ok(err)
		other := seen
		other.Owner = "other"
		w.clears(other, false)
		for state := idempotency.Busy; state <= idempotency.Unknown; state++ {
			if done := seen.State == idempotency.Replay || seen.State == idempotency.NotRetained; state != seen.State && !done {
				other = seen
				other.State = state
				w.clears(other, false)
			}
		}
		w.clears(seen, true)
		w.expect(idempotency.Acquired, by(c, "c"))
	}
}

func (w *world) clears(seen idempotency.Record, want bool) {
	w.Helper()
	if ok, err := w.store.Clear(w.Context(), seen); ok != want || err != nil {
		w.Errorf("clear %+v: %v, %v", seen, ok, err)
	}
}

func (w *world) show(c idempotency.Claim, state idempotency.State) idempotency.Record {
	w.Helper()
	record, ok, err := w.store.Show(w.Context(), c.Key)
	if err != nil || !ok {
		w.Fatalf("show: %v, %v", ok, err)
	}
	got := idempotency.Record{Key: record.Key, State: record.State, Owner: record.Owner, Fingerprint: record.Fingerprint}
	want := idempotency.Record{Key: c.Key, State: state, Owner: c.Owner, Fingerprint: c.Fingerprint}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("record (-want +got):\n%s", diff)
	}
	return record
}
