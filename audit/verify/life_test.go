package verify

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit/ledger"
)

// TestHeartbeats: silence is a warning, unless the service had stopped.
func TestHeartbeats(t *testing.T) {
	t.Parallel()
	beat := func(l *testLog, after time.Duration) {
		l.now = l.now.Add(after)
		l.own("log", "heartbeat", map[string]any{"size": 1})
	}
	tests := map[string]struct {
		live func(*testLog)
		want []string // in the only warning; nil: none
	}{
		"alive": {func(l *testLog) {
			for range 10 {
				beat(l, time.Minute)
				l.cut()
			}
		}, nil},
		"silent": {func(l *testLog) {
			beat(l, time.Minute)
			l.events(3)
			l.cut()
			beat(l, 6*time.Minute)
			l.cut()
		}, []string{"events 1 to 5", "no sign of life for 6m", "2026-03-01T12:01:00Z"}},
		"stopped between": {func(l *testLog) {
			l.own("service", "stop", nil)
			l.cut()
			l.now = l.now.Add(time.Hour)
			l.own("service", "start", nil)
			l.cut()
		}, nil},
		"ended": {func(l *testLog) {
			beat(l, time.Minute)
			l.cut()
			l.now = l.now.Add(5 * time.Minute)
		}, []string{"event 1:", "what came after may be missing"}},
		"stopped for good": {func(l *testLog) {
			l.own("service", "stop", nil)
			l.cut()
			l.now = l.now.Add(time.Hour)
		}, nil},
	}
	for name, test := range tests {
		l := newLog(t, newShelf(), "gw-0a1b2c3d", newKey(t, "k"))
		test.live(l)
		r, err := l.verify(Options{})
		if err != nil || r.ExitCode() != 0 || len(r.Findings) != min(1, len(test.want)) {
			t.Errorf("%s: %v, exit %d\n%s", name, err, r.ExitCode(), human(t, r))
			continue
		}
		if test.want != nil {
			wantFinding(t, r, Warning, CheckHeartbeat, append(test.want, l.origin)...)
			if r, _ := l.verify(Options{Strict: true}); r.ExitCode() != 2 {
				t.Errorf("%s: strict, exit %d", name, r.ExitCode())
			}
		}
	}
}

// TestClocks: times that can't be are warnings.
func TestClocks(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		write func(*testLog)
		want  []string
	}{
		"a clock that went back in a cut": {func(l *testLog) {
			l.events(5)
			l.now = l.now.Add(-time.Hour)
			l.events(1)
			l.now = l.now.Add(time.Hour)
		}, []string{"event 6:", "59m59.99s before that of event 5"}},
		"a clock that went back between cuts": {func(l *testLog) {
			l.events(5)
			l.cut()
			l.now = l.now.Add(-time.Hour)
			l.events(1)
		}, []string{"event 6:", "before that of an event under an earlier seal"}},
		"an event after its seal": {func(l *testLog) {
			l.now = l.now.Add(time.Hour)
			l.events(1)
			l.now = l.now.Add(-time.Hour)
		}, []string{"event 1:", "after the seal"}},
		"an id of another time": {func(l *testLog) {
			l.events(1)
			l.waiting[1] = []byte(strings.Replace(string(l.waiting[1]), `"timestamp":"2026-03-01T12`, `"timestamp":"2026-03-01T15`, 1))
		}, []string{"event 1:", "are 3h0m0s apart"}},
		"late, from a backlog": {func(l *testLog) { // the writer was away: no mistake
			l.events(10)
			l.now = l.now.Add(time.Minute)
			l.cut()
			l.now = l.now.Add(-time.Minute)
			l.events(5)
			l.now = l.now.Add(time.Hour)
		}, nil},
	}
	for name, test := range tests {
		l := newLog(t, newShelf(), "gw-0a1b2c3d", newKey(t, "k"))
		test.write(l)
		l.cut()
		r, err := l.verify(Options{MaxHeartbeatGap: 100 * time.Hour})
		if err != nil || r.ExitCode() != 0 || len(r.Findings) != min(1, len(test.want)) {
			t.Errorf("%s: %v, exit %d\n%s", name, err, r.ExitCode(), human(t, r))
			continue
		}
		if test.want != nil {
			wantFinding(t, r, Warning, CheckClock, test.want...)
		}
	}
}

// TestForms: what was sealed, and yet is no event.
func TestForms(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		line string
		want []string
	}{
		"no id":          {`{"timestamp":"2026-03-01T12:00:00Z","event_type":"decision"}`, []string{"doesn't begin with an id"}},
		"no UUIDv7":      {`{"event_id":"019ca944-9c00-4000-8000-000000000000","timestamp":"2026-03-01T12:00:00Z","event_type":"decision"}`, []string{"doesn't begin with an id"}},
		"no time":        {`{"event_id":"019ca944-9c00-7000-8000-000000000000","timestamp":"yesterday","event_type":"decision"}`, []string{"doesn't begin with an id"}},
		"no type":        {`{"event_id":"019ca944-9c00-7000-8000-000000000000","timestamp":"2026-03-01T12:00:00Z"}`, []string{"doesn't begin with an id"}},
		"of the log":     {`{"event_id":"019ca944-9c00-7000-8000-000000000000","timestamp":"2026-03-01T12:00:00Z","event_type":"log","action":"heartbeat","metadata":{"peers":7}}`, []string{"its metadata"}},
		"broken, of log": {`{"event_id":"019ca944-9c00-7000-8000-000000000000","timestamp":"2026-03-01T12:00:00Z","event_type":"log",}`, []string{"isn't JSON"}},
	}
	for name, test := range tests {
		l := newLog(t, newShelf(), "gw-0a1b2c3d", newKey(t, "k"))
		l.line([]byte(test.line), true)
		l.line([]byte(test.line), false)
		l.events(3)
		c := l.cut()
		r, err := l.verify(Options{MaxHeartbeatGap: 1000 * day})
		if err != nil || r.ExitCode() != 1 {
			t.Errorf("%s: %v, exit %d", name, err, r.ExitCode())
		}
		wantFinding(t, r, Tampered, CheckForm, append(test.want, c.seal.Batch.Key, "event 1:")...)
	}
}

// TestOpening: every log begins with the event that says so.
func TestOpening(t *testing.T) {
	t.Parallel()
	l := newLog(t, newShelf(), "gw-0a1b2c3d", newKey(t, "k"))
	l.waiting, l.single = nil, nil
	l.events(3)
	c := l.cut()
	r, err := l.verify(Options{})
	if err != nil || len(r.Findings) != 1 {
		t.Errorf("%v\n%s", err, human(t, r))
	}
	wantFinding(t, r, Tampered, CheckRoster, c.seal.Batch.Key, "event 0:")
}

// rows is an index in memory.
type rows struct {
	first, next uint64
	rows        []IndexRow
	names       []string
	err         error
}

func (x *rows) Names(context.Context) ([]string, error)                { return x.names, x.err }
func (x *rows) Bounds(context.Context, string) (uint64, uint64, error) { return x.first, x.next, x.err }

func (x *rows) Rows(_ context.Context, _ string, from, to uint64) iter.Seq2[IndexRow, error] {
	return func(yield func(IndexRow, error) bool) {
		for _, row := range x.rows {
			if row.Seq >= from && row.Seq < to && !yield(row, nil) {
				return
			}
		}
	}
}

func TestIndex(t *testing.T) {
	t.Parallel()
	l := threeCuts(t, ledger.LayoutHybrid)
	tests := map[string]struct {
		change func(*rows)
		want   *want
		code   int
	}{
		"the same":     {func(*rows) {}, nil, 0},
		"a row edited": {func(x *rows) { x.rows[300].LeafHash[5] ^= 1 }, &want{Tampered, CheckIndex, []string{"event 300:", "another event"}}, 1},
		"a column edited": {func(x *rows) {
			x.rows[300].Differs = func(leaf []byte, batch string) string {
				if strings.Contains(batch, "/batch-gw-") && strings.HasSuffix(string(leaf), `"seq":300}`) {
					return "user_id"
				}
				return ""
			}
		}, &want{Tampered, CheckIndex, []string{"event 300:", "something else about it: user_id"}}, 1},
		"rows deleted":   {func(x *rows) { x.rows = append(x.rows[:300], x.rows[302:]...) }, &want{Tampered, CheckIndex, []string{"events 300 to 301:", "has no row"}}, 1},
		"the first gone": {func(x *rows) { x.rows = x.rows[1:] }, &want{Tampered, CheckIndex, []string{"event 0:", "has no row"}}, 1},
		"the last gone":  {func(x *rows) { x.rows = x.rows[:749] }, &want{Tampered, CheckIndex, []string{"event 749:", "has no row"}}, 1},
		"a row inserted": {func(x *rows) {
			x.rows = append(x.rows[:301], append([]IndexRow{{Seq: 300}}, x.rows[301:]...)...)
		}, &want{Tampered, CheckIndex, []string{"event 300:", "a second row"}}, 1},
		"expired": {func(x *rows) { x.first, x.rows = 200, x.rows[200:] }, nil, 0},
		"lagging": {func(x *rows) { x.next, x.rows = 600, x.rows[:600] }, &want{Incomplete, CheckIndex, []string{"events 600 to 749:", "doesn't have them yet"}}, 2},
		"ahead":   {func(x *rows) { x.next, x.rows = 752, append(x.rows, IndexRow{Seq: 750}, IndexRow{Seq: 751}) }, &want{Incomplete, CheckIndex, []string{"events 750 to 751:", "the archive not yet"}}, 2},
		"a moment ahead": {func(x *rows) {
			x.next, x.rows = 751, append(x.rows, IndexRow{Seq: 750, Time: l.now.Add(2 * time.Minute)})
		}, nil, 0},
		"of the future": {func(x *rows) {
			x.next, x.rows = 751, append(x.rows, IndexRow{Seq: 750, Time: began.Add(day)})
		}, &want{Tampered, CheckIndex, []string{"event 750:", "no log can have come so far"}}, 1},
		"far ahead": {func(x *rows) {
			x.next, x.rows = 9_999_999, append(x.rows, IndexRow{Seq: 9_999_998, Time: l.now.Add(2 * time.Minute)})
		}, &want{Tampered, CheckIndex, []string{"event 9999998:", "no log can have come so far"}}, 1},
		"not reachable": {func(x *rows) { x.err = errors.New("connection refused") }, nil, 3},
	}
	for name, test := range tests {
		x := &rows{next: 750}
		for _, c := range l.cuts {
			for i, leaf := range c.leaves {
				x.rows = append(x.rows, IndexRow{Seq: c.seal.First + uint64(i), LeafHash: ledger.LeafHash(leaf)})
			}
		}
		test.change(x)
		r, err := l.verify(Options{Index: x})
		if r.ExitCode() != test.code || (err != nil) != (test.code == 3) {
			t.Errorf("%s: %v, exit %d\n%s", name, err, r.ExitCode(), human(t, r))
		}
		if test.want != nil {
			wantFinding(t, r, test.want.severity, test.want.check, append(test.want.parts, "gw-0a1b2c3d")...)
			if len(r.Findings) != 1 {
				t.Errorf("%s:\n%s", name, human(t, r))
			}
		}
	}
}

// TestIndexOfNobody: rows of a log that the archive doesn't have.
func TestIndexOfNobody(t *testing.T) {
	t.Parallel()
	l := threeCuts(t, ledger.LayoutHybrid)
	x := &rows{next: 750, names: []string{l.origin, "example.com/audit/nobody"}}
	for _, c := range l.cuts {
		for i, leaf := range c.leaves {
			x.rows = append(x.rows, IndexRow{Seq: c.seal.First + uint64(i), LeafHash: ledger.LeafHash(leaf)})
		}
	}
	r, err := l.verify(Options{Index: x})
	if err != nil || r.ExitCode() != 2 {
		t.Errorf("%v, exit %d\n%s", err, r.ExitCode(), human(t, r))
	}
	wantFinding(t, r, Incomplete, CheckIndex, "nobody", "the archive not yet")
}
