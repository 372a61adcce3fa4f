package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit/archive"
)

// TestVersions: in a WORM store nothing can be taken away, but much can be laid
// over it.
func TestVersions(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		key    func(*testLog) string
		body   []byte // of another version; nil: a delete marker
		wants  func(key string) []want
		events uint64
	}{
		"a batch behind another version": {
			func(l *testLog) string { return l.cuts[1].seal.Batch.Key }, []byte("other"),
			func(key string) []want {
				return []want{
					tampered(CheckBatch, key, "events 100 to 699", "what was sealed is still there as version v"),
					tampered(CheckVersion, key, "events 100 to 699", "a second version"),
				}
			}, 750,
		},
		"a batch behind a delete marker": {
			func(l *testLog) string { return l.cuts[1].seal.Batch.Key }, nil,
			func(key string) []want {
				return []want{
					tampered(CheckBatch, key, "events 100 to 699", "what was sealed is still there as version v"),
					tampered(CheckVersion, key, "events 100 to 699", "a delete marker"),
				}
			}, 750,
		},
		"a seal behind another version": {
			func(l *testLog) string { return l.cuts[1].key }, []byte("other"),
			func(key string) []want {
				return []want{tampered(CheckVersion, key, "events 100 to 699", "a second version")}
			}, 750,
		},
		"a seal behind a delete marker": {
			func(l *testLog) string { return l.cuts[1].key }, nil,
			func(key string) []want {
				return []want{tampered(CheckVersion, key, "events 100 to 699", "a delete marker")}
			}, 750,
		},
		"an event behind another version": {
			func(l *testLog) string { return l.cuts[1].objects[1] }, []byte("other"),
			func(key string) []want {
				return []want{tampered(CheckObject, key, "event 104"), tampered(CheckVersion, key, "event 104", "a second version")}
			}, 750,
		},
		"an event behind a delete marker": {
			func(l *testLog) string { return l.cuts[1].objects[1] }, nil,
			func(key string) []want {
				return []want{tampered(CheckObject, key, "event 104"), tampered(CheckVersion, key, "event 104", "a delete marker")}
			}, 750,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := threeCuts(t, "hybrid")
			l.store.worm = true
			key := test.key(l)
			l.store.over(key, test.body)
			r, err := l.verify(Options{})
			if err != nil || r.ExitCode() != 1 || r.Events != test.events {
				t.Fatalf("%v, exit %d\n%s", err, r.ExitCode(), human(t, r))
			}
			wants := test.wants(key)
			for _, w := range wants {
				wantFinding(t, r, w.severity, w.check, w.parts...)
			}
			if len(r.Findings) != len(wants) {
				t.Error(human(t, r))
			}
		})
	}
}

// TestSameSizeFork: two seals of one size, both signed by the log's key.
func TestSameSizeFork(t *testing.T) {
	t.Parallel()
	l := threeCuts(t, "hybrid")
	again := newLog(t, newShelf(), l.writer, l.keys[0])
	again.events(99)
	again.cut()
	l.store.over(l.cuts[0].key, again.store.get(t, again.cuts[0].key))
	r, err := l.verify(Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantFinding(t, r, Tampered, CheckFork, l.cuts[0].key, "events 0 to 99", "two different logs")
	wantFinding(t, r, Tampered, CheckVersion, l.cuts[0].key, "events 0 to 99")
}

// TestWrittenTwice: a store without conditional writes may have the same twice.
func TestWrittenTwice(t *testing.T) {
	t.Parallel()
	l := threeCuts(t, "hybrid")
	l.store.worm = true
	keys := []string{l.cuts[1].key, l.cuts[1].seal.Batch.Key, l.cuts[1].objects[1]}
	for _, key := range keys {
		l.store.over(key, l.store.get(t, key))
	}
	r, err := l.verify(Options{})
	if err != nil || r.ExitCode() != 0 || len(r.Findings) != 3 {
		t.Fatalf("%v, exit %d\n%s", err, r.ExitCode(), human(t, r))
	}
	for _, key := range keys {
		wantFinding(t, r, Warning, CheckVersion, key, "event", "the same bytes")
	}
}

// TestLock: each version has to be protected as it should be.
func TestLock(t *testing.T) {
	t.Parallel()
	year := 365 * day
	late := began.Add(2 * year)
	tests := map[string]struct {
		policy LockPolicy
		lock   archive.Lock
		what   string // is wrong; empty: nothing
	}{
		"as it should be":    {LockPolicy{"COMPLIANCE", year}, archive.Lock{Mode: "COMPLIANCE", RetainUntil: began.Add(year)}, ""},
		"more than asked":    {LockPolicy{"GOVERNANCE", year}, archive.Lock{Mode: "COMPLIANCE", RetainUntil: late}, ""},
		"none":               {LockPolicy{"GOVERNANCE", year}, archive.Lock{}, "it has no lock"},
		"short":              {LockPolicy{"GOVERNANCE", year}, archive.Lock{Mode: "GOVERNANCE", RetainUntil: began.Add(year - day)}, "retained until 2027-02-28T12:00:00Z, not 2027-03-01T12:00:00Z"},
		"in the weaker mode": {LockPolicy{"COMPLIANCE", year}, archive.Lock{Mode: "GOVERNANCE", RetainUntil: late}, `mode is "GOVERNANCE"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := threeCuts(t, "hybrid")
			l.store.worm = true
			places := map[string]string{l.cuts[1].key: "events 100 to 699", l.cuts[1].seal.Batch.Key: "events 100 to 699", l.cuts[1].objects[1]: "event 104"}
			for key := range places {
				l.store.relock(key, test.lock)
			}
			r, err := l.verify(Options{Lock: &test.policy})
			if err != nil {
				t.Fatal(err)
			}
			for key, events := range places {
				if test.what != "" {
					wantFinding(t, r, Tampered, CheckLock, key, events+": version v", test.what)
				}
			}
			if n := min(1, len(test.what)) * len(places); len(r.Findings) != n {
				t.Errorf("%d findings, want %d\n%s", len(r.Findings), n, human(t, r))
			}
		})
	}
	if _, err := threeCuts(t, "hybrid").verify(Options{Lock: &LockPolicy{Mode: "none"}}); err == nil {
		t.Error("a policy of no known mode was accepted")
	}
}

// TestStoreFails: what can't be read is neither intact nor tampered with, and what
// was found before is still reported.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	down := errors.New("connection refused")
	for _, op := range []string{"folders", "list", "get", "lock"} {
		for _, part := range []string{"", "_checkpoints/", "year="} {
			l := threeCuts(t, "hybrid")
			l.store.worm = true
			var failed atomic.Bool
			l.store.fail = func(o, key string) error {
				if o == op && strings.Contains(key, part) {
					failed.Store(true)
					return down
				}
				return nil
			}
			r, err := l.verify(Options{Lock: &LockPolicy{Mode: "COMPLIANCE"}})
			if failed.Load() != errors.Is(err, down) || failed.Load() && r.ExitCode() != 3 {
				t.Errorf("%s %s: %v, exit %d", op, part, err, r.ExitCode())
			}
			if failed.Load() && !strings.Contains(human(t, r), "connection refused") {
				t.Errorf("%s %s: %s", op, part, human(t, r))
			}
		}
	}

	l := threeCuts(t, "hybrid")
	l.store.flip(t, l.cuts[0].seal.Batch.Key)
	key := l.cuts[2].seal.Batch.Key
	l.store.fail = func(op, k string) error {
		if op == "get" && k == key {
			return down
		}
		return nil
	}
	r, err := l.verify(Options{Parallel: 1})
	if !errors.Is(err, down) || r.ExitCode() != 1 || !strings.Contains(human(t, r), "not everything could be read") {
		t.Errorf("%v, exit %d\n%s", err, r.ExitCode(), human(t, r))
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := Verify(ctx, threeCuts(t, "hybrid").store, Options{Keys: verifiers(t, l.keys[0])}); !errors.Is(err, context.Canceled) || r.ExitCode() != 3 {
		t.Errorf("cancelled: %v, exit %d", err, r.ExitCode())
	}
}

// TestSample: without reading all single objects those that are missing are still
// noticed.
func TestSample(t *testing.T) {
	t.Parallel()
	l := threeCuts(t, "hybrid")
	var reads atomic.Int64
	l.store.fail = func(op, key string) error {
		if op == "get" && strings.HasSuffix(key, ".json") {
			reads.Add(1)
		}
		return nil
	}
	opts := Options{Sample: 1e-9}
	if r, err := l.verify(opts); err != nil || r.ExitCode() != 0 || reads.Load() != 0 {
		t.Errorf("%v, %d reads\n%s", err, reads.Load(), human(t, r))
	}
	l.store.remove(l.cuts[1].objects[3])
	r, err := l.verify(opts)
	if err != nil || r.ExitCode() != 1 {
		t.Errorf("%v\n%s", err, human(t, r))
	}
	wantFinding(t, r, Tampered, CheckObject, "at least 1 objects", "year=2026/month=03/day=01")
	for _, part := range []float64{-0.1, 1.1} {
		if _, err := l.verify(Options{Sample: part}); err == nil {
			t.Errorf("a sample of %v was accepted", part)
		}
	}
}

// TestMissingOfDay: a day of which nothing at all is left.
func TestMissingOfDay(t *testing.T) {
	t.Parallel()
	l := newLog(t, newShelf(), "gw-0a1b2c3d", newKey(t, "k"))
	l.layout = "hybrid"
	l.events(20)
	l.cut()
	l.now = l.now.Add(day)
	l.events(20)
	l.cut()
	for _, key := range slices.Concat(l.cuts[1].objects, []string{l.cuts[1].seal.Batch.Key}) {
		l.store.remove(key)
	}
	r, err := l.verify(Options{MaxHeartbeatGap: 48 * time.Hour})
	if err != nil || r.ExitCode() != 1 || len(r.Findings) != 1 {
		t.Fatalf("%v\n%s", err, human(t, r))
	}
	wantFinding(t, r, Tampered, CheckBatch, l.cuts[1].seal.Batch.Key, "events 21 to 40")
}

// TestDeterministic: the report's order doesn't depend on how many batches are
// verified at a time.
func TestDeterministic(t *testing.T) {
	t.Parallel()
	l := newLog(t, newShelf(), "gw-0a1b2c3d", newKey(t, "k"))
	for i := range 40 {
		l.events(10)
		c := l.cut()
		if i%3 == 0 {
			l.store.flip(t, c.seal.Batch.Key)
		}
		if i%5 == 0 {
			l.store.remove(c.objects[0])
		}
	}
	var reports []string
	for _, n := range []int{1, 2, 16} {
		r, err := l.verify(Options{Parallel: n})
		if err != nil {
			t.Fatal(err)
		}
		reports = append(reports, human(t, r))
	}
	if reports[0] != reports[1] || reports[0] != reports[2] {
		t.Errorf("%s\n%s\n%s", reports[0], reports[1], reports[2])
	}
}

// TestManyFindings: a report is bounded, and counts on.
func TestManyFindings(t *testing.T) {
	t.Parallel()
	l := newLog(t, newShelf(), "gw-0a1b2c3d", newKey(t, "k"))
	l.layout = "event"
	l.events(MaxFindings + 500)
	for _, key := range l.cut().objects[100:] {
		l.store.flip(t, key)
	}
	r, err := l.verify(Options{})
	if err != nil || len(r.Findings) != MaxFindings || r.Found != MaxFindings+401 || r.ExitCode() != 1 {
		t.Fatalf("%v: %d listed, %d found", err, len(r.Findings), r.Found)
	}
	if text := human(t, r); !strings.Contains(text, fmt.Sprintf("… and %d more\n", 401)) || !bytes.Contains([]byte(text), []byte("event 100: ")) {
		t.Error(text[:2000])
	}
}
