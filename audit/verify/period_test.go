package verify

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit/ledger"
)

// TestNothing: an empty place is no proof.
func TestNothing(t *testing.T) {
	t.Parallel()
	r, err := Verify(context.Background(), newShelf(), Options{Keys: verifiers(t, newKey(t, "k"))})
	if err == nil || r.ExitCode() != 3 || !strings.Contains(human(t, r), "there is no audit log") {
		t.Errorf("exit %d, %v", r.ExitCode(), err)
	}
	if r, err := Verify(context.Background(), newShelf(), Options{}); err == nil || r.ExitCode() != 3 {
		t.Errorf("without a key: exit %d, %v", r.ExitCode(), err)
	}
}

// TestPeriod verifies some days of a log of ten.
func TestPeriod(t *testing.T) {
	t.Parallel()
	key := newKey(t, "audit.example.com")
	l := newLog(t, newShelf(), "gw-0a1b2c3d", key)
	next := newKey(t, "audit.example.com")
	for d := range 10 {
		l.now = began.AddDate(0, 0, d)
		switch d {
		case 2:
			l.keys = []*ledger.Key{key, next}
			l.own("log", "key_rotated", map[string]any{"old": key.Public, "new": next.Public})
		case 6:
			continue // nothing happened
		}
		for range 3 {
			l.events(20)
			l.cut()
			l.keys = l.keys[len(l.keys)-1:]
		}
	}
	at := func(d int) time.Time { return began.AddDate(0, 0, d) }
	tests := map[string]struct {
		from, to int // -1: no limit
		events   uint64
		first    uint64
	}{
		"all":            {-1, -1, 542, 0},
		"from a day":     {4, -1, 300, 242},
		"to a day":       {-1, 1, 121, 0},
		"one day":        {4, 4, 60, 242},
		"the rotation":   {2, 2, 61, 121},
		"an empty day":   {6, 6, 0, 362},
		"before all":     {-30, -20, 0, 0},
		"after all":      {20, 30, 0, 542},
		"from the first": {0, -1, 542, 0},
	}
	for name, test := range tests {
		var opts Options
		opts.Keys = verifiers(t, key)
		opts.MaxHeartbeatGap = 1000 * time.Hour
		if test.from != -1 {
			opts.From = at(test.from)
		}
		if test.to != -1 {
			opts.To = at(test.to)
		}
		r, err := l.verify(opts)
		code := 0
		if test.events == 0 {
			code = 2
		}
		if err != nil || r.ExitCode() != code || r.Events != test.events || len(r.Findings) > 0 {
			t.Errorf("%s: %v, exit %d, %d events, want %d\n%s", name, err, r.ExitCode(), r.Events, test.events, human(t, r))
			continue
		}
		if r.Logs[0].From != test.first {
			t.Errorf("%s: from %d, want %d", name, r.Logs[0].From, test.first)
		}
	}

	// A day that was taken away is missing from the period, also if it is all of it.
	for _, c := range l.cuts[12:15] {
		removeCut(l, c)
	}
	r, err := l.verify(Options{Keys: verifiers(t, key), From: at(4), To: at(4)})
	if err != nil || r.ExitCode() != 1 {
		t.Fatalf("%v, exit %d", err, r.ExitCode())
	}
	wantFinding(t, r, Tampered, CheckGap, l.cuts[14].key, "events 242 to 301")
}

// TestUnderWay: what was written a moment ago may still wait for its seal.
func TestUnderWay(t *testing.T) {
	t.Parallel()
	l := threeCuts(t, ledger.LayoutHybrid)
	last := l.cuts[2]
	l.store.remove(last.key)
	for _, key := range append(last.objects, last.seal.Batch.Key) {
		l.store.objects[key][0].Modified = l.now
	}
	opts := Options{Keys: verifiers(t, l.keys[0]), Now: func() time.Time { return l.now.Add(10 * time.Second) }}
	r, err := Verify(t.Context(), l.store, opts)
	if err != nil || r.ExitCode() != 0 || len(r.Findings) != 0 {
		t.Errorf("%v, exit %d\n%s", err, r.ExitCode(), human(t, r))
	}
}

// TestLaterThanItSays: of a copy, everything was written a moment ago.
func TestLaterThanItSays(t *testing.T) {
	t.Parallel()
	l := threeCuts(t, ledger.LayoutHybrid)
	for _, c := range l.cuts {
		l.store.remove(c.key)
	}
	for key := range l.store.objects {
		l.store.objects[key][0].Modified = l.now.Add(2 * time.Minute)
	}
	if r, err := l.verify(Options{}); err != nil || r.ExitCode() != 1 {
		t.Errorf("all seals deleted: %v, exit %d\n%s", err, r.ExitCode(), human(t, r))
	}
}
