package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
)

// faults runs a journal on a disk that fails, with writers that note what was
// acknowledged.
type faults struct {
	*Journal
	disk *faultyDisk
	cfg  Config

	mu              sync.Mutex
	written, synced []string // acknowledged
	refused         []string
}

func newFaults(t *testing.T, patience time.Duration) *faults {
	t.Helper()
	cfg := small(t.TempDir())
	cfg.Patience = patience
	d := &faultyDisk{t: t}
	return &faults{Journal: mustOpen(t, cfg, d), disk: d, cfg: cfg}
}

func (f *faults) append(id string, class audit.Class) error {
	err := f.Append(event(id), class)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case errors.Is(err, ErrFailed) || errors.Is(err, ErrFull):
		f.refused = append(f.refused, id)
	case err == nil && class&audit.Synced != 0:
		f.synced = append(f.synced, id)
	case err == nil:
		f.written = append(f.written, id)
	}
	return err
}

// want wants the events in the journal: all acknowledged ones, none of the refused.
func (f *faults) want(t *testing.T, j *Journal, acknowledged ...[]string) {
	t.Helper()
	got := make(map[string]int)
	for _, id := range read(t, j, 0) {
		got[id]++
	}
	for _, id := range slices.Concat(acknowledged...) {
		if got[id] != 1 {
			t.Errorf("acknowledged event %s is there %d times", id, got[id])
		}
	}
	for _, id := range f.refused {
		if got[id] != 0 {
			t.Errorf("refused event %s is there", id)
		}
	}
}

// nothing that wasn't synced stays.
func nothing() bool { return false }

// TestDiskFails: nothing that was acknowledged is lost over a disk that fails and
// gets well, whether the machine loses its power then or not.
func TestDiskFails(t *testing.T) {
	t.Parallel()
	eio := syscall.EIO
	for _, tc := range []struct {
		name       string
		sick, well func(d *faultyDisk)
	}{
		{"write", func(d *faultyDisk) { d.writeErr = eio }, func(d *faultyDisk) { d.writeErr = nil }},
		{"fdatasync", func(d *faultyDisk) { d.syncErr = eio }, func(d *faultyDisk) { d.syncErr = nil }},
		{"both", func(d *faultyDisk) { d.writeErr, d.syncErr = eio, eio }, func(d *faultyDisk) { d.writeErr, d.syncErr = nil, nil }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFaults(t, 5*time.Second)
			for round := range 3 {
				for i := range 100 { // more than a segment in all
					f.append(fmt.Sprintf("written-%d-%d", round, i), 0)
				}
				f.append(fmt.Sprintf("synced-%d", round), audit.Synced)
				f.append(fmt.Sprintf("open-%d", round), 0)
				f.disk.set(func() { tc.sick(f.disk) })
				until(t, "the failure is noticed", func() bool {
					return f.append(fmt.Sprintf("probe-%d-%d", round, f.Next()), 0) != nil
				})
				if f.Healthy() {
					t.Error("healthy on a disk that fails")
				}
				if err := f.append(fmt.Sprintf("during-%d", round), audit.Synced); !errors.Is(err, ErrFailed) {
					t.Errorf("on a disk that fails: %v", err)
				}
				f.disk.set(func() { tc.well(f.disk) })
				until(t, "it is well again", f.Healthy)
				if err := f.append(fmt.Sprintf("after-%d", round), audit.Synced); err != nil {
					t.Fatal(err)
				}
			}
			if len(f.synced) != 6 || len(f.refused) == 0 {
				t.Errorf("synced %v, refused %v", f.synced, f.refused)
			}
			f.want(t, f.Journal, f.written, f.synced)
			mustClose(t, f.Journal)
			f.disk.losePower(nothing)
			again := mustOpen(t, f.cfg, osDisk{})
			defer mustClose(t, again)
			f.want(t, again, f.written, f.synced)
		})
	}
}

// TestWaitsThroughFailure: who waits for an fdatasync that fails is told the truth.
func TestWaitsThroughFailure(t *testing.T) {
	t.Parallel()
	f := newFaults(t, 10*time.Second)
	f.disk.set(func() { f.disk.syncErr = syscall.EIO })
	answer := make(chan error)
	go func() { answer <- f.append("patient", audit.Synced) }()
	until(t, "the failure is noticed", func() bool { return !f.Healthy() })
	select {
	case err := <-answer:
		t.Fatalf("answered %v, on a disk that fails", err)
	default:
	}
	f.disk.set(func() { f.disk.syncErr = nil })
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	mustClose(t, f.Journal)
	f.disk.losePower(nothing)
	again := mustOpen(t, f.cfg, osDisk{})
	defer mustClose(t, again)
	wantIDs(t, read(t, again, 0), "patient")
}

// TestStuckDisk: an fdatasync that hangs holds nobody for longer than Patience.
func TestStuckDisk(t *testing.T) {
	t.Parallel()
	const patience = 300 * time.Millisecond
	f := newFaults(t, patience)
	f.append("before", audit.Synced)
	f.disk.set(func() { f.disk.stuck = make(chan struct{}) })
	// The first one's write is held by the disk itself.
	first := make(chan error)
	go func() { first <- f.append("held", audit.Synced) }()
	until(t, "the disk holds it", func() bool { return f.busy.Load() != 0 }) // and not the preparer, or the next one would be held
	for _, class := range []audit.Class{0, audit.Synced, audit.Synced | audit.Reserve} {
		start := time.Now()
		if err := f.append("late", class); !errors.Is(err, ErrBusy) {
			t.Errorf("class %d: %v", class, err)
		}
		if took := time.Since(start); took > 2*patience {
			t.Errorf("class %d: it took %v", class, took)
		}
	}
	if f.Healthy() {
		t.Error("healthy on a disk that hangs")
	}
	f.disk.unstick()
	if err := <-first; err != nil && !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	until(t, "it is well again", f.Healthy)
	if err := f.append("after", audit.Synced); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, read(t, f.Journal, 0), "before", "held", "after")
	mustClose(t, f.Journal)
}

// TestDiskBehind: without an fdatasync no more is written than can be written again.
func TestDiskBehind(t *testing.T) {
	t.Parallel()
	f := newFaults(t, 300*time.Millisecond)
	for i := range 100 { // so that it goes on in a second segment
		f.append(fmt.Sprint("first-", i), audit.Synced)
	}
	until(t, "a segment is prepared", func() bool { return len(f.spare) == 1 })
	hang := make(chan struct{})
	f.disk.set(func() { f.disk.syncHang = hang })
	var err error
	n := 0
	for ; err == nil && n < 10_000; n++ {
		err = f.append(fmt.Sprint(n), 0)
	}
	if !errors.Is(err, ErrBusy) {
		t.Errorf("after %d events: %v", n, err)
	}
	until(t, "it is noticed that the disk hangs", func() bool { return !f.Healthy() })
	if len(f.segments) != 2 {
		t.Errorf("%d segments, want two", len(f.segments))
	}
	if n := len(read(t, f.Journal, 0)); n != 100 {
		t.Errorf("%d events can be read, 100 are on the disk", n)
	}
	if pending := f.pending.Load(); pending > f.cfg.SegmentBytes || pending < f.cfg.SegmentBytes*9/10 {
		t.Errorf("%d bytes wait", pending)
	}
	f.disk.set(func() { f.disk.syncErr = syscall.EIO; f.disk.syncHang = nil; close(hang) })
	until(t, "the failure is noticed", f.failed.Load)
	f.disk.set(func() { f.disk.syncErr = nil })
	until(t, "it is well again", f.Healthy)
	if err := f.append("after", audit.Synced); err != nil {
		t.Fatal(err)
	}
	f.want(t, f.Journal, f.written, f.synced)
	var used []uint64
	for _, s := range f.segments {
		used = append(used, s.first)
	}
	if all, err := firsts(f.cfg.Dir); err != nil || !slices.Equal(all, used) {
		t.Errorf("segments %v, %v; used are %v", all, err, used)
	}
	mustClose(t, f.Journal)
	f.disk.losePower(nothing)
	again := mustOpen(t, f.cfg, osDisk{})
	defer mustClose(t, again)
	f.want(t, again, f.written, f.synced)
}

// TestSteadyStream: a stream faster than the disk is slowed down, not refused.
func TestSteadyStream(t *testing.T) {
	t.Parallel()
	j := mustOpen(t, small(t.TempDir()), osDisk{})
	defer mustClose(t, j)
	line := []byte(strings.Repeat("x", 30<<10) + "\n")
	for range 500 {
		if err := j.Append(line, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoRoom: a disk that is full has the effect of a full journal, while there is
// still room in the current segment, and only until it isn't full any more.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	f := newFaults(t, 5*time.Second)
	until(t, "a segment is prepared", func() bool { return len(f.spare) == 1 })
	f.disk.set(func() { f.disk.noRoom = true })
	n := 0
	fill := func(class audit.Class) error {
		for {
			n++
			if err := f.append(fmt.Sprint(n), class); err != nil {
				return err
			}
		}
	}
	if err := fill(0); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if u := f.Usage(); stateOf(f.level()) != stateRefusing || u.Bytes > u.Max/2 {
		t.Errorf("usage %+v", u)
	}
	if !f.Healthy() {
		t.Error("a full disk is not a sick one")
	}
	reserve := n
	if err := fill(audit.Reserve | audit.Synced); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if n-reserve < 10 {
		t.Errorf("%d events fit into the reserve", n-reserve)
	}
	f.disk.set(func() { f.disk.noRoom = false })
	until(t, "there is room again", func() bool { n++; return f.append(fmt.Sprint(n), audit.Synced) == nil })
	f.want(t, f.Journal, f.written, f.synced)
	mustClose(t, f.Journal)
}

// TestFileLimit has the kernel refuse a write after half of it. The limit is the
// process's, so this test runs alone.
func TestFileLimit(t *testing.T) {
	f := newFaults(t, 5*time.Second)
	until(t, "a segment is prepared", func() bool { return len(f.spare) == 1 })
	var unlimited syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &unlimited); err != nil {
		t.Fatal(err)
	}
	limit := func(bytes uint64) {
		t.Helper()
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: unlimited.Max}); err != nil {
			t.Fatal(err)
		}
	}
	limit(20_500)
	defer limit(unlimited.Cur)
	n := 0
	until(t, "the kernel refuses", func() bool { n++; return f.append(fmt.Sprint(n), 0) != nil })
	limit(unlimited.Cur)
	until(t, "there is room again", func() bool { n++; return f.append(fmt.Sprint(n), audit.Synced) == nil })
	if len(f.refused) == 0 || len(f.written) < 10 {
		t.Errorf("written %v, refused %v", f.written, f.refused)
	}
	f.want(t, f.Journal, f.written, f.synced)
	mustClose(t, f.Journal)
	again := mustOpen(t, f.cfg, osDisk{})
	defer mustClose(t, again)
	f.want(t, again, f.written, f.synced)
}

// TestRewritten: what an earlier process wrote and perhaps failed to sync is on the
// disk for sure when the journal is open again.
func TestRewritten(t *testing.T) {
	t.Parallel()
	cfg := small(t.TempDir())
	second, next := filled(t, cfg)
	setWatermark(t, cfg.Dir, second-2)
	d := &faultyDisk{t: t, unsure: map[string]int64{}}
	j := mustOpen(t, cfg, osDisk{})
	var size int64 // of an event
	for _, s := range j.segments {
		if s.first == 0 {
			size = 2 * (headerBytes + int64(len(event("first-100"))) - 1)
			d.unsure[s.path] = s.used.Load() - size
		} else {
			d.unsure[s.path] = 0
		}
	}
	want := read(t, j, 0)
	mustClose(t, j)
	setWatermark(t, cfg.Dir, second-2)
	j = mustOpen(t, cfg, d)
	if j.Synced() != next {
		t.Errorf("synced is %d, want %d", j.Synced(), next)
	}
	d.losePower(nothing)
	mustClose(t, j)
	j = mustOpen(t, cfg, osDisk{})
	defer mustClose(t, j)
	wantIDs(t, read(t, j, 0), want...)
}

// TestPowerLoss: a machine that stops keeps what was acknowledged as on the disk,
// and of the rest what it likes.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		f := newFaults(t, 5*time.Second)
		var wait sync.WaitGroup
		for writer := range 8 {
			wait.Go(func() {
				for i := range 50 {
					f.append(fmt.Sprintf("%d-%d", writer, i), audit.Class(i%2))
				}
			})
		}
		wait.Wait()
		hang := make(chan struct{}) // from here on nothing reaches the disk by itself
		f.disk.set(func() { f.disk.syncHang = hang })
		for i := range 100 {
			f.append(fmt.Sprint("perhaps-", i), 0)
		}
		chance := rand.New(rand.NewPCG(seed, 0))
		f.disk.losePower(func() bool { return seed > 0 && chance.IntN(3) > 0 })
		after := small(t.TempDir())
		if err := os.CopyFS(after.Dir, os.DirFS(f.cfg.Dir)); err != nil {
			t.Fatal(err)
		}
		f.disk.set(func() { f.disk.syncHang = nil; close(hang) })
		mustClose(t, f.Journal)
		again := mustOpen(t, after, osDisk{})
		f.want(t, again, f.synced)
		if err := again.Append(event("after"), audit.Synced); err != nil {
			t.Error(err)
		}
		f.want(t, again, f.synced, []string{"after"})
		mustClose(t, again)
	}
}
