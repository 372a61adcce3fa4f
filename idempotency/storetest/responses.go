package storetest

import (
	"bytes"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/idempotency"
)

func responses(w *world) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 40<<10) // 640 KiB
	tests := map[string]*idempotency.Response{
		"empty":     {Status: 204},
		"binary":    {Status: 200, Body: []byte{0, 0xff, '\r', '\n', 0}},
		"rpc error": {Status: 200, Body: []byte(`{"code":-32602,"message":"no"}`), Error: true},
		"large":     {Status: 299, Body: large},
		"same name": {Status: 200, Headers: []idempotency.Header{{Name: "link", Value: "a"}, {Name: "link", Value: ""}}, Body: []byte("x")},
	}
	for name, want := range tests {
		a := claimOf("a")
		w.expect(idempotency.Acquired, a)
		w.ok(w.complete(a, want))
		result := w.claim(by(a, "b"))
		if result.State != idempotency.Replay {
			w.Errorf("%s: state %d", name, result.State)
			continue
		}
		if diff := cmp.Diff(*want, *result.Response, cmp.Comparer(bytes.Equal)); diff != "" {
			w.Errorf("%s (-want +got):\n%.2000s", name, diff)
		}
	}
}

func tooLarge(w *world) {
	a := claimOf("a")
	w.expect(idempotency.Acquired, a)
	w.ok(w.complete(a, &idempotency.Response{Status: 200, Body: make([]byte, idempotency.DefaultMaxResponse)}))
	w.expect(idempotency.NotRetained, by(a, "b"))
}

func aliasing(w *world) {
	a := claimOf("a")
	w.expect(idempotency.Acquired, a)
	given := created("booked")
	w.ok(w.complete(a, given))
	copy(given.Body, "XXXXXX")
	for range 2 {
		result := w.expect(idempotency.Replay, by(a, "b"))
		if string(result.Response.Body) != "booked" {
			w.Fatalf("replay of %q", result.Response.Body)
		}
		copy(result.Response.Body, "YYYYYY")
	}
}
