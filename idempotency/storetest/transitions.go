package storetest

import (
	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/idempotency"
)

func replay(w *world) {
	a := claimOf("a")
	if result := w.expect(idempotency.Acquired, a); result.Retaken {
		w.Error("a first claim is retaken")
	}
	busy := w.expect(idempotency.Busy, by(a, "b"))
	if busy.RetryIn <= 0 || busy.RetryIn > lease {
		w.Errorf("busy for %v, with a lease of %v", busy.RetryIn, lease)
	}
	want := created("booked")
	w.ok(w.complete(a, want))
	for _, owner := range []string{"b", "c", "a"} {
		result := w.expect(idempotency.Replay, by(a, owner))
		if diff := cmp.Diff(want, result.Response); diff != "" {
			w.Errorf("replay to %s (-want +got):\n%s", owner, diff)
		}
	}
}

func notRetained(w *world) {
	a := claimOf("a")
	w.expect(idempotency.Acquired, a)
	w.ok(w.complete(a, nil))
	if result := w.expect(idempotency.NotRetained, by(a, "b")); result.Response != nil {
		w.Errorf("a response from nowhere: %v", result.Response)
	}
}

func release(w *world) {
	a := claimOf("a")
	w.expect(idempotency.Acquired, a)
	w.ok(w.release(a))
	w.isLost("release again", w.release(a))
	w.isLost("complete", w.complete(a, created("late")))
	b := by(a, "b")
	b.Fingerprint[0]++ // nothing is left of the first one
	w.expect(idempotency.Acquired, b)
}

func abandon(w *world) {
	a := claimOf("a")
	w.expect(idempotency.Acquired, a)
	w.ok(w.abandon(a))
	w.ok(w.abandon(a))
	w.expect(idempotency.Unknown, by(a, "b"))
	w.expect(idempotency.Unknown, a)
	w.isLost("renew", w.renew(a))
}

func leaseEnds(w *world) {
	a := claimOf("a")
	a.Lease = brief
	w.expect(idempotency.Acquired, a)
	w.advance(brief + margin)
	w.expect(idempotency.Unknown, by(a, "b"))
	w.expect(idempotency.Unknown, a)
	w.ok(w.release(a)) // the owner still knows best
	w.expect(idempotency.Acquired, by(a, "b"))
}

func renew(w *world) {
	a := claimOf("a")
	a.Lease = while
	w.expect(idempotency.Acquired, a)
	for range 2 {
		w.advance(while / 2)
		w.ok(w.renew(a))
	}
	w.expect(idempotency.Busy, by(a, "b"))
	w.advance(while + margin)
	w.expect(idempotency.Unknown, by(a, "b"))
	w.ok(w.renew(a)) // late, but nobody took it
	w.expect(idempotency.Busy, by(a, "b"))
}

func renewPastTTL(w *world) {
	a := claimOf("a")
	a.Lease, a.TTL = while, while
	w.expect(idempotency.Acquired, a)
	w.advance(while / 2)
	w.ok(w.renew(a))
	w.advance(while/2 + margin) // past the TTL, within the new lease
	w.expect(idempotency.Busy, by(a, "b"))
	w.ok(w.complete(a, created("done")))
}

func repeatedClaim(w *world) {
	a := claimOf("a")
	a.Lease, a.TTL = while, while
	for range 2 {
		w.expect(idempotency.Acquired, a)
		w.advance(while / 2)
	}
	w.advance(margin) // past the TTL of the first, within the lease of the second
	w.expect(idempotency.Busy, by(a, "b"))
}

func retake(w *world) {
	for _, end := range []string{"abandon", "lease"} {
		a := claimOf("a")
		b := by(a, "b")
		b.Retake = true
		if end == "abandon" {
			w.expect(idempotency.Acquired, a)
			w.expect(idempotency.Busy, b)
			w.ok(w.abandon(a))
		} else {
			a.Lease = brief
			w.expect(idempotency.Acquired, a)
			w.advance(brief + margin)
		}
		for range 2 { // the second as if the first answer had been lost
			if result := w.expect(idempotency.Acquired, b); !result.Retaken {
				w.Errorf("%s: not said to be retaken", end)
			}
		}
		w.expect(idempotency.Busy, by(a, "c"))
		w.isLost("complete after a retake", w.complete(a, created("first")))
		w.isLost("renew after a retake", w.renew(a))
		w.ok(w.complete(b, created("second")))
		if result := w.expect(idempotency.Replay, b); string(result.Response.Body) != "second" {
			w.Errorf("%s: replay of %q", end, result.Response.Body)
		}
	}
}

func releasedRetake(w *world) {
	a := claimOf("a")
	w.expect(idempotency.Acquired, a)
	w.ok(w.abandon(a))
	b := by(a, "b")
	b.Retake = true
	w.expect(idempotency.Acquired, b)
	w.ok(w.release(b))
	w.expect(idempotency.Unknown, by(a, "c"))
}

func lateComplete(w *world) {
	a := claimOf("a")
	a.Lease = brief
	w.expect(idempotency.Acquired, a)
	w.advance(brief + margin)
	w.expect(idempotency.Unknown, by(a, "b"))
	w.ok(w.complete(a, created("late")))
	w.expect(idempotency.Replay, by(a, "b"))
}

func completeAbandoned(w *world) {
	a := claimOf("a")
	w.expect(idempotency.Acquired, a)
	w.ok(w.abandon(a))
	w.ok(w.complete(a, created("late")))
	w.expect(idempotency.Replay, by(a, "b"))
}

func completeTwice(w *world) {
	a := claimOf("a")
	w.expect(idempotency.Acquired, a)
	w.ok(w.complete(a, created("first")))
	w.ok(w.complete(a, created("second")))
	w.ok(w.complete(a, nil))
	if result := w.expect(idempotency.Replay, a); string(result.Response.Body) != "first" {
		w.Errorf("replay of %q", result.Response.Body)
	}
}

func fencing(w *world) {
	a := claimOf("a")
	w.expect(idempotency.Acquired, a)
	for _, owner := range []string{"b", "aa", ""} {
		b := by(a, owner)
		w.isLost("renew", w.renew(b))
		w.isLost("complete", w.complete(b, created("forged")))
		w.isLost("release", w.release(b))
		w.isLost("abandon", w.abandon(b))
	}
	w.expect(idempotency.Busy, by(a, "b"))
	w.ok(w.complete(a, created("real")))
	b := by(a, "b")
	w.isLost("complete of what is done", w.complete(b, created("forged")))
	w.isLost("release of what is done", w.release(b))

	nobody := claimOf("a")
	w.isLost("renew of nothing", w.renew(nobody))
	w.isLost("complete of nothing", w.complete(nobody, created("forged")))
	w.isLost("release of nothing", w.release(nobody))
	w.isLost("abandon of nothing", w.abandon(nobody))
	w.expect(idempotency.Acquired, nobody)
}

func final(w *world) {
	a := claimOf("a")
	w.expect(idempotency.Acquired, a)
	w.ok(w.complete(a, created("done")))
	w.isLost("release", w.release(a))
	w.isLost("abandon", w.abandon(a))
	w.isLost("renew", w.renew(a))
	a.Retake = true
	w.expect(idempotency.Replay, a)
}

func mismatch(w *world) {
	a := claimOf("a")
	other := a
	other.Fingerprint[31]++
	other.Retake = true
	w.expect(idempotency.Acquired, a)
	w.expect(idempotency.Mismatch, other) // even of the owner
	w.ok(w.abandon(a))
	w.expect(idempotency.Mismatch, by(other, "b"))
	w.ok(w.complete(a, created("done")))
	if result := w.expect(idempotency.Mismatch, by(other, "b")); result.Response != nil {
		w.Error("a response of another call")
	}
}
