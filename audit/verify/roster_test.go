package verify

import (
	"testing"

	"github.com/sallyport/sallyport/audit/ledger"
)

// TestTailDropped: a log whose end was taken away with everything that belongs to
// it is intact by itself. What others know of it shows it.
func TestTailDropped(t *testing.T) {
	t.Parallel()
	l := threeCuts(t, ledger.LayoutHybrid)
	other := newLog(t, l.store, "gw-11111111", l.keys[0])
	other.cut()
	kept := l.store.get(t, l.cuts[2].key)
	removeCut(l, l.cuts[2])
	if r, err := l.verify(Options{}); err != nil || r.ExitCode() != 0 {
		t.Errorf("this can't be seen, and yet: %v\n%s", err, human(t, r))
	}
	want := func(opts Options, severity Severity, check string) {
		t.Helper()
		r, err := l.verify(opts)
		if err != nil {
			t.Fatal(err)
		}
		wantFinding(t, r, severity, check, l.cuts[2].key, "events 700 to 749")
	}
	want(Options{Trusted: [][]byte{kept}}, Tampered, CheckAnchor)
	other.own("log", "heartbeat", map[string]any{"size": 1, "peers": map[string]uint64{l.writer: 750}})
	other.cut()
	want(Options{}, Tampered, CheckRoster)
}

// TestLogMissing: a whole log is gone.
func TestLogMissing(t *testing.T) {
	t.Parallel()
	l := threeCuts(t, ledger.LayoutHybrid)
	gone := newLog(t, newShelf(), "gw-22222222", l.keys[0])
	gone.cut()
	l.own("log", "heartbeat", map[string]any{"size": 750, "peers": map[string]uint64{gone.writer: 1}})
	l.cut()
	r, err := l.verify(Options{
		Expect: []string{"gw-33333333"}, Trusted: [][]byte{gone.store.get(t, gone.cuts[0].key)},
	})
	if err != nil || r.ExitCode() != 1 {
		t.Fatalf("%v, exit %d", err, r.ExitCode())
	}
	key := gone.cuts[0].key
	wantFinding(t, r, Tampered, CheckRoster, key, "event 0", "event 750 of "+l.origin)
	wantFinding(t, r, Tampered, CheckRoster, "gw-33333333")
	wantFinding(t, r, Tampered, CheckAnchor, key, "event 0", "the whole log is missing")
	if len(r.Findings) != 3 {
		t.Error(human(t, r))
	}
}

// TestAnchors: what was kept lies on the log, or doesn't.
func TestAnchors(t *testing.T) {
	t.Parallel()
	l := threeCuts(t, ledger.LayoutHybrid)
	kept := l.store.get(t, l.cuts[1].key)
	if r, err := l.verify(Options{Trusted: [][]byte{kept}}); err != nil || r.ExitCode() != 0 {
		t.Errorf("%v\n%s", err, human(t, r))
	}
	// Whoever has the key writes another history after the first cut.
	again := newLog(t, newShelf(), l.writer, l.keys[0])
	again.events(99)
	again.cut()
	again.events(600)
	again.cut()
	again.events(50)
	again.cut()
	r, err := again.verify(Options{Trusted: [][]byte{kept, l.store.get(t, l.cuts[2].key)}})
	if err != nil {
		t.Fatal(err)
	}
	wantFinding(t, r, Tampered, CheckAnchor, l.cuts[1].key, "events 100 to 699", "another one")
	wantFinding(t, r, Tampered, CheckAnchor, l.cuts[2].key, "events 700 to 749", "another one")

	foreign := signed(t, l.cuts[1].seal, newKey(t, "audit.example.com"))
	r, err = l.verify(Options{Trusted: [][]byte{foreign, []byte("no seal")}})
	if err != nil || r.ExitCode() != 2 {
		t.Errorf("exit %d, %v", r.ExitCode(), err)
	}
	wantFinding(t, r, Incomplete, CheckAnchor, l.cuts[1].key, "can't be used")
	wantFinding(t, r, Incomplete, CheckAnchor, "can't be used: not a signed note")
}
