package journal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
)

// TestFollow: a reader sees everything in order while it is written, with segments
// that change.
func TestFollow(t *testing.T) {
	t.Parallel()
	cfg := small(t.TempDir())
	j := mustOpen(t, cfg, osDisk{})
	defer mustClose(t, j)
	const n = 2000
	mustAppend(t, j, 0, "0")
	r, err := OpenReader(cfg.Dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for i := 1; i < n; i++ {
			if err := j.Append(event(fmt.Sprint(i)), audit.Class(i%100/99)); err != nil {
				t.Error(err)
			}
		}
	}()
	seen := uint64(0)
	err = r.Follow(t.Context(), time.Millisecond, func(number uint64, class audit.Class, line []byte) bool {
		if number != seen || idOf(line) != fmt.Sprint(number) || class != audit.Class(number%100/99) {
			t.Errorf("event %d, class %d, %.40s: want %d", number, class, line, seen)
			return false
		}
		seen++
		return seen < n
	})
	if err != nil || seen != n {
		t.Errorf("%d events, %v", seen, err)
	}
	if r.Next() != n-1 {
		t.Errorf("it goes on with %d", r.Next())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := r.Follow(ctx, time.Hour, func(uint64, audit.Class, []byte) bool { return true }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after its context ended: %v", err)
	}
}

// TestReaderSeesReplacement: a segment that took another one's name is read anew.
func TestReaderSeesReplacement(t *testing.T) {
	t.Parallel()
	f := newFaults(t, 5*time.Second)
	hang := make(chan struct{})
	f.disk.set(func() { f.disk.syncHang = hang })
	mustAppend(t, f.Journal, 0, "a")
	until(t, "nothing reaches the disk", func() bool { return f.flush.Load() != 0 })
	f.disk.set(func() { f.disk.writeErr, f.disk.syncErr = syscall.EIO, syscall.EIO })
	if err := f.Append(append(event("refused"), event("more, and longer")...), 0); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	r, err := OpenReader(f.cfg.Dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	collect := func(_ uint64, _ audit.Class, line []byte) bool { got = append(got, idOf(line)); return true }
	if err := r.Read(collect); err != nil {
		t.Fatal(err)
	}
	f.disk.set(func() { f.disk.syncHang = nil; close(hang) })
	until(t, "the fdatasync failed", func() bool { return f.flush.Load() == 0 })
	f.disk.set(func() { f.disk.writeErr, f.disk.syncErr = nil, nil })
	until(t, "it is well again", f.Healthy)
	mustAppend(t, f.Journal, audit.Synced, "b, with a longer name", "c")
	if err := r.Read(collect); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, got, "a", "refused", "c") // what is only written may be replaced
	wantIDs(t, read(t, f.Journal, 0), "a", "b, with a longer name", "c")
	mustClose(t, f.Journal)
}

// TestReaderSkips: released events are skipped.
func TestReaderSkips(t *testing.T) {
	t.Parallel()
	cfg := small(t.TempDir())
	f := &faultyDisk{t: t}
	j := mustOpen(t, cfg, f)
	for i := range 600 {
		mustAppend(t, j, 0, fmt.Sprint(i))
	}
	mustAppend(t, j, audit.Synced, "600")
	if err := j.Release(550); err != nil {
		t.Fatal(err)
	}
	first := j.segments[0].first
	r, err := OpenReader(cfg.Dir, 3)
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	collect := func(number uint64, _ audit.Class, _ []byte) bool { got = append(got, number); return true }
	if err := r.Read(collect); err != nil || got[0] != first || r.Next() != 601 || first == 0 {
		t.Errorf("read %d to %d, %v; want it to begin with %d", got[0], r.Next(), err, first)
	}
	// The disk refuses a write, after half of it, and the journal moves on.
	f.set(func() { f.writeErr = errors.New("refused") })
	if err := j.Append(append(event("601"), event("refused")...), 0); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	if err := r.Read(collect); err != nil {
		t.Fatal(err)
	}
	f.set(func() { f.writeErr = nil })
	until(t, "it is well again", j.Healthy)
	mustAppend(t, j, audit.Synced, "601 again, and longer", "602")
	if err := r.Read(collect); err != nil || r.Next() != 603 {
		t.Errorf("the reader goes on with %d, %v", r.Next(), err)
	}
	mustClose(t, j)
	if _, err := OpenReader(filepath.Join(cfg.Dir, "none"), 0); err == nil {
		t.Error("read a folder that isn't there")
	}
}
