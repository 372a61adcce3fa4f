package journal

import (
	"bytes"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
)

// TestRetire: when everything was released, nothing that an event says stays in the
// folder for longer than a minute, and the numbers go on.
func TestRetire(t *testing.T) {
	t.Parallel()
	cfg := small(t.TempDir())
	start := time.Now()
	var passed atomic.Int64
	j, err := open(cfg, silent(), func() time.Time { return start.Add(time.Duration(passed.Load())) }, osDisk{})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, audit.Synced, "a", "b", "c")
	release := func(before uint64) {
		t.Helper()
		if err := j.Release(before); err != nil {
			t.Fatal(err)
		}
	}
	stays := func(what string) {
		t.Helper()
		j.retire() // as the syncer does
		if j.seg.Load().first != 0 {
			t.Fatalf("%s, and the segment is gone", what)
		}
	}
	until(t, "a segment is prepared", func() bool { return len(j.spare) > 0 })
	release(3)
	stays("it is new")
	release(2)
	passed.Store(int64(retireAfter - 1))
	stays("it is nearly old")
	mustAppend(t, j, audit.Synced, "d")
	passed.Store(int64(retireAfter))
	stays("one event waits")
	wantIDs(t, read(t, j, 3), "d")
	release(4)
	until(t, "the segment is gone", func() bool {
		all, err := firsts(cfg.Dir)
		return err == nil && len(all) == 1 && all[0] == 4
	})
	passed.Store(int64(3 * retireAfter))
	fresh := j.seg.Load()
	if j.retire(); j.seg.Load() != fresh || j.Usage().Bytes != 0 {
		t.Errorf("an empty segment was replaced, or counts: %+v", j.Usage())
	}
	mustClose(t, j)

	j = mustOpen(t, cfg, osDisk{})
	defer mustClose(t, j)
	if j.Truncated() != nil || j.Next() != 4 {
		t.Errorf("it begins with %d, cut off %+v", j.Next(), j.Truncated())
	}
	mustAppend(t, j, audit.Synced, "e")
	wantIDs(t, read(t, j, 4), "e")
}

// TestTornCopyIsSynced: what is moved aside is overwritten only when its copy is on
// the disk.
func TestTornCopyIsSynced(t *testing.T) {
	t.Parallel()
	cfg := small(t.TempDir())
	second, next := filled(t, cfg)
	path := segmentPath(cfg.Dir, second)
	frame, _, err := appendFrames(nil, event("torn"), 0, next)
	if err != nil {
		t.Fatal(err)
	}
	change(t, path, func(b []byte) []byte { copy(b[end(b):], frame[:500]); return b })
	refused := errors.New("refused")
	if _, err := open(cfg, silent(), time.Now, &faultyDisk{t: t, syncErr: refused}); !errors.Is(err, refused) {
		t.Errorf("it opens with %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Contains(b, frame[:500]) {
		t.Errorf("it was overwritten before its copy was on the disk (%v)", err)
	}
	j := mustOpen(t, cfg, osDisk{})
	defer mustClose(t, j)
	if cut := j.Truncated(); cut == nil || cut.Next != next {
		t.Errorf("moved aside: %+v", cut)
	}
}
