package idempotency

import (
	"testing"
	"time"
)

// TestMemoryFreesResponses looks for what would only be seen in the long run.
func TestMemoryFreesResponses(t *testing.T) {
	t.Parallel()
	m, err := NewMemory(MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range byte(10) {
		c := Claim{Key: Key{n}, Owner: "a", Lease: time.Minute, TTL: time.Hour}
		if _, err := m.Claim(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if err := m.Complete(t.Context(), c.Key, c.Owner, &Response{Status: 200, Body: make([]byte, 100)}); err != nil {
			t.Fatal(err)
		}
	}
	if m.bytes < 1000 {
		t.Errorf("%d bytes are kept", m.bytes)
	}
	for n := range byte(10) {
		if ok, err := m.Clear(t.Context(), Record{Key: Key{n}, Owner: "a", State: Replay}); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if m.bytes != 0 || m.kept.next != &m.kept || m.kept.prev != &m.kept || len(m.expiry) != 0 || len(m.entries) != 0 {
		t.Errorf("%d bytes, %d and %d entries are left", m.bytes, len(m.expiry), len(m.entries))
	}
}
