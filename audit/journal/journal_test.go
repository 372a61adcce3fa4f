package journal

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
)

// small makes segments change often.
func small(dir string) Config { return Config{Dir: dir, SegmentBytes: 4 * MaxLine} }

func mustOpen(t *testing.T, cfg Config, d disk) *Journal {
	t.Helper()
	j, err := open(cfg, silent(), time.Now, d)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func mustClose(t *testing.T, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustAppend(t *testing.T, j *Journal, class audit.Class, ids ...string) {
	t.Helper()
	var lines []byte
	for _, id := range ids {
		lines = append(lines, event(id)...)
	}
	if err := j.Append(lines, class); err != nil {
		t.Fatal(err)
	}
}

// event is an event of about a kilobyte.
func event(id string) []byte {
	return fmt.Appendf(nil, "{\"event_id\":%q,\"metadata\":{\"pad\":%q}}\n", id, strings.Repeat("x", 900))
}

func idOf(line []byte) string {
	id, _, _ := strings.Cut(strings.TrimPrefix(string(line), `{"event_id":"`), `"`)
	return id
}

// read returns the ids of the events from a number on, and wants them without gaps.
func read(t *testing.T, j *Journal, from uint64) []string {
	t.Helper()
	var ids []string
	err := j.Read(from, math.MaxInt, func(number uint64, _ audit.Class, line []byte) bool {
		if want := from + uint64(len(ids)); number != want {
			t.Fatalf("event %d comes where %d should", number, want)
		}
		ids = append(ids, idOf(line))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func wantIDs(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("events %v, want %v", got, want)
	}
}

func TestConcurrentAppends(t *testing.T) {
	t.Parallel()
	cfg := small(t.TempDir())
	j := mustOpen(t, cfg, osDisk{})
	const writers, each = 16, 200
	var wait sync.WaitGroup
	for writer := range writers {
		wait.Go(func() {
			for i := range each {
				class := audit.Class(i % 2) // Synced, or not
				if err := j.Append(event(fmt.Sprintf("%d-%d", writer, i)), class); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if got := j.Next(); got != writers*each {
		t.Errorf("next is %d, want %d", got, writers*each)
	}
	until(t, "events that nobody waits for are synced", func() bool { return j.Synced() == j.Next() })
	check := func(j *Journal) {
		t.Helper()
		seen := make(map[string]int)
		last := make(map[string]int) // a writer's events keep their order
		for _, id := range read(t, j, 0) {
			var i int
			writer, number, _ := strings.Cut(id, "-")
			fmt.Sscan(number, &i)
			if i != last[writer] {
				t.Errorf("event %s comes after %s-%d", id, writer, last[writer])
			}
			last[writer] = i + 1
			seen[id]++
		}
		if len(seen) != writers*each {
			t.Errorf("%d different events, want %d", len(seen), writers*each)
		}
	}
	check(j)
	if all, err := firsts(cfg.Dir); err != nil || len(all) < 10 {
		t.Errorf("%d segments, %v: want many", len(all), err)
	}
	mustClose(t, j)
	j = mustOpen(t, cfg, osDisk{})
	defer mustClose(t, j)
	check(j)
	if j.Truncated() != nil {
		t.Errorf("a journal that was closed was truncated: %+v", j.Truncated())
	}
}

func TestAppendOfSeveral(t *testing.T) {
	t.Parallel()
	j := mustOpen(t, small(t.TempDir()), osDisk{})
	defer mustClose(t, j)
	long := strings.Repeat("x", MaxLine-1)
	for _, tc := range []struct {
		name, lines string
		want        error
	}{
		{"none", "", ErrTooLarge},
		{"no newline", "a", ErrTooLarge},
		{"second without newline", "a\nb", ErrTooLarge},
		{"empty line", "a\n\nb\n", ErrTooLarge},
		{"line too long", long + "x\n", ErrTooLarge},
		{"more than a segment", strings.Repeat(long+"\n", 5), ErrTooLarge},
		{"longest", long + "\n", nil},
		{"several", "{\"event_id\":\"a\"}\n{\"event_id\":\"b\"}\n", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := j.Next()
			err := j.Append([]byte(tc.lines), audit.Synced)
			if !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
			if err != nil && j.Next() != before {
				t.Error("something was written")
			}
		})
	}
	wantIDs(t, read(t, j, 1), "a", "b")
}

// TestRelease: numbers go on after everything was released, also over a restart.
func TestRelease(t *testing.T) {
	t.Parallel()
	cfg := small(t.TempDir())
	j := mustOpen(t, cfg, osDisk{})
	const n = 1000
	for i := range n {
		mustAppend(t, j, 0, fmt.Sprint(i))
	}
	mustAppend(t, j, audit.Synced, "last")
	if u := j.Usage(); u.Bytes < n*900 || u.Oldest <= 0 {
		t.Errorf("usage %+v", u)
	}
	if err := j.Release(n / 2); err != nil {
		t.Fatal(err)
	}
	if got := read(t, j, n/2); len(got) != n/2+1 || got[0] != fmt.Sprint(n/2) {
		t.Errorf("%d events are left, beginning with %s", len(got), got[0])
	}
	if err := j.Read(0, 1, func(uint64, audit.Class, []byte) bool { return true }); err == nil {
		t.Error("released events can be read")
	}
	if err := j.Release(j.Next()); err != nil {
		t.Fatal(err)
	}
	if all, err := firsts(cfg.Dir); err != nil || len(all) != 1 {
		t.Errorf("segments %v, %v: want one", all, err)
	}
	if u := j.Usage(); u.Bytes > cfg.SegmentBytes || u.Oldest != 0 {
		t.Errorf("usage %+v", u)
	}
	for restart := range 3 {
		mustClose(t, j)
		j = mustOpen(t, cfg, osDisk{})
		if got, want := j.Next(), uint64(n+1+restart); got != want {
			t.Errorf("next is %d, want %d", got, want)
		}
		mustAppend(t, j, audit.Synced, fmt.Sprint("after-", restart))
	}
	wantIDs(t, read(t, j, n+1), "after-0", "after-1", "after-2")
	mustClose(t, j)
}

func TestRead(t *testing.T) {
	t.Parallel()
	j := mustOpen(t, small(t.TempDir()), osDisk{})
	defer mustClose(t, j)
	mustAppend(t, j, 0, "a", "b")
	mustAppend(t, j, audit.Synced|audit.Single, "c", "d")
	var classes []int
	collect := func(stop int) func(uint64, audit.Class, []byte) bool {
		classes = nil
		return func(_ uint64, class audit.Class, _ []byte) bool {
			classes = append(classes, int(class))
			return len(classes) < stop
		}
	}
	for _, tc := range []struct {
		name        string
		from        uint64
		limit, stop int
		want        string
	}{
		{"all", 0, 10, 10, "[0 0 3 3]"},
		{"limit", 1, 2, 10, "[0 3]"},
		{"stopped", 0, 10, 3, "[0 0 3]"},
		{"stopped, again", 1, 10, 1, "[0]"},
		{"back", 0, 1, 1, "[0]"},
		{"none yet", 4, 10, 10, "[]"},
	} {
		if err := j.Read(tc.from, tc.limit, collect(tc.stop)); err != nil || fmt.Sprint(classes) != tc.want {
			t.Errorf("%s: %v, %v, want %s", tc.name, classes, err, tc.want)
		}
	}
}

func TestInUse(t *testing.T) {
	t.Parallel()
	cfg := small(filepath.Join(t.TempDir(), "new", "journal"))
	j := mustOpen(t, cfg, osDisk{})
	if _, err := Open(cfg, silent(), time.Now); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), cfg.Dir) {
		t.Errorf("opened twice: %v", err)
	}
	if info, err := os.Stat(cfg.Dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(segmentPath(cfg.Dir, 0)); err != nil || info.Mode().Perm() != 0o600 || info.Size() != cfg.SegmentBytes {
		t.Errorf("segment: %v, %v", info, err)
	}
	mustClose(t, j)
	if err := j.Append(event("late"), 0); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if err := j.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(cfg.Dir, "*"+preparedSuffix)); len(left) > 0 {
		t.Errorf("prepared segments are left: %v", left)
	}
	mustClose(t, mustOpen(t, cfg, osDisk{}))
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if _, err := Open(Config{Dir: t.TempDir(), SegmentBytes: MaxLine}, silent(), time.Now); err == nil {
		t.Error("segments of one line")
	}
	cfg := Config{MaxBytes: 32 << 20}
	if err := cfg.setDefaults(); err != nil || cfg.SegmentBytes != 2<<20 {
		t.Errorf("%+v, %v", cfg, err)
	}
}
