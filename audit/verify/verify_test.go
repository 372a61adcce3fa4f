package verify

import (
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/ledger"
)

// threeCuts is a log of 1+99, 600 and 50 events.
func threeCuts(t testing.TB, layout string) *testLog {
	l := newLog(t, newShelf(), "gw-0a1b2c3d", newKey(t, "audit.example.com"))
	l.layout = layout
	for _, n := range []int{99, 600, 50} {
		l.events(n)
		l.cut()
	}
	return l
}

func TestVerifyIntact(t *testing.T) {
	t.Parallel()
	for _, layout := range []string{ledger.LayoutHybrid, ledger.LayoutBatch, ledger.LayoutEvent} {
		t.Run(layout, func(t *testing.T) {
			t.Parallel()
			l := threeCuts(t, layout)
			var done, total uint64
			r, err := l.verify(Options{Progress: func(d, n uint64) { done, total = d, n }, Expect: []string{l.writer}})
			if err != nil || r.ExitCode() != 0 || r.Events != 750 || len(r.Findings) != 0 {
				t.Fatalf("%v, exit %d\n%s", err, r.ExitCode(), human(t, r))
			}
			if done != 750 || total != 750 {
				t.Errorf("progress ended with %d of %d", done, total)
			}
			got := r.Logs[0]
			if got.Origin != l.origin || got.Size != 750 || got.Seals != 3 || len(got.Keys) != 1 ||
				!got.First.Equal(began) || got.Last.Before(began.Add(7*time.Second)) {
				t.Errorf("log %+v", got)
			}
			if text := human(t, r); !strings.Contains(text, "not WORM") || !strings.Contains(text, "Intact. 750 events in 1 log,") {
				t.Error(text)
			}
		})
	}
}

// TestOptions: what makes no sense is refused before anything is read.
func TestOptions(t *testing.T) {
	t.Parallel()
	l := threeCuts(t, ledger.LayoutHybrid)
	for want, opts := range map[string]Options{
		"-1 batches at a time": {Parallel: -1},
		"a sample of 2":        {Sample: 2},
		`lock mode "NONE"`:     {Lock: &LockPolicy{Mode: "NONE"}},
	} {
		if _, err := l.verify(opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestCanaries: what the check of the bucket leaves is no part of the trail.
func TestCanaries(t *testing.T) {
	t.Parallel()
	l := threeCuts(t, ledger.LayoutHybrid)
	l.store.put(archive.CanaryPrefix+"x", []byte("hello"))
	if r, err := l.verify(Options{}); err != nil || len(r.Findings) != 0 {
		t.Errorf("%v\n%s", err, human(t, r))
	}
}
