package journal

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// faultyDisk is a disk that fails on demand and forgets what wasn't synced when it
// loses its power. Like a kernel, it reports a failed fdatasync once: the bytes
// stay readable and are on the disk never.
type faultyDisk struct {
	t *testing.T

	mu       sync.Mutex
	writeErr error         // WriteAt writes half, and fails
	syncErr  error         // datasync fails
	noRoom   bool          // create fails
	stuck    chan struct{} // WriteAt and datasync wait until it is closed
	waiting  int           // calls that do
	syncHang chan struct{} // datasync waits until it is closed
	files    []*faultyFile
	// unsure says from where on the files of a path hold bytes that are only shown:
	// an fdatasync of an earlier process has failed for them.
	unsure map[string]int64
}

func (d *faultyDisk) create(path string, size int64) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.noRoom {
		return nil, &os.PathError{Op: "create", Path: path, Err: syscall.ENOSPC}
	}
	return d.add(osDisk{}.create(path, size))
}

func (d *faultyDisk) open(path string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := osDisk{}.open(path)
	ff, err := d.add(f, err)
	if from, ok := d.unsure[path]; ok && err == nil {
		ff.(*faultyFile).unsure = &from
	}
	return ff, err
}

func (d *faultyDisk) add(f file, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Dup(int(f.(osFile).Fd()))
	if err != nil {
		return nil, err
	}
	ff := &faultyFile{file: f, disk: d, own: os.NewFile(uintptr(fd), "own")}
	d.t.Cleanup(func() { ff.own.Close() })
	d.files = append(d.files, ff)
	return ff, nil
}

func (d *faultyDisk) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// wait holds the call while the disk is stuck.
func (d *faultyDisk) wait() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.stuck != nil {
		stuck := d.stuck
		d.waiting++
		d.mu.Unlock()
		<-stuck
		d.mu.Lock()
		d.waiting--
	}
}

func (d *faultyDisk) unstick() {
	d.set(func() { close(d.stuck); d.stuck = nil })
}

// losePower takes back writes that weren't synced, but those that stay by chance.
func (d *faultyDisk) losePower(stays func() bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.files {
		f.mu.Lock()
		if f.unsure != nil {
			f.undo = append(f.undo, undo{*f.unsure, make([]byte, 4*MaxLine-*f.unsure)})
		}
		for _, u := range slices.Backward(f.undo) {
			if stays() {
				continue
			}
			if _, err := f.own.WriteAt(u.old, u.off); err != nil {
				d.t.Fatal(err)
			}
		}
		f.mu.Unlock()
	}
}

type faultyFile struct {
	file
	disk     *faultyDisk
	own      *os.File   // stays open
	mu       sync.Mutex // guards what follows
	undo     []undo     // since the last fdatasync
	poisoned bool
	unsure   *int64
}

type undo struct {
	off int64
	old []byte
}

func (f *faultyFile) WriteAt(b []byte, off int64) (int, error) {
	f.disk.wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.disk.mu.Lock()
	err := f.disk.writeErr
	f.disk.mu.Unlock()
	if err != nil {
		b = b[:len(b)/2]
	}
	old := make([]byte, len(b))
	if _, err := f.ReadAt(old, off); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if f.unsure != nil && off <= *f.unsure { // written again; the disk had zeros
		clear(old[*f.unsure-off:])
		f.unsure = nil
	}
	f.undo = append(f.undo, undo{off, old})
	n, writeErr := f.file.WriteAt(b, off)
	return n, errors.Join(err, writeErr)
}

func (f *faultyFile) datasync() error {
	f.mu.Lock()
	poisoned, covered := f.poisoned, len(f.undo)
	f.mu.Unlock()
	f.disk.wait()
	f.disk.mu.Lock()
	hang := f.disk.syncHang
	f.disk.mu.Unlock()
	if hang != nil {
		<-hang
	}
	f.disk.mu.Lock()
	err := f.disk.syncErr
	f.disk.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil:
		f.poisoned = true
		return err
	case poisoned:
		f.disk.t.Error("an fdatasync that failed was tried again on the same file")
		return nil
	}
	f.undo = f.undo[covered:]
	return nil
}

// silent is a log that nobody reads.
func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

// until waits for something that the journal does by itself.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("still waiting: %s", what)
		}
	}
}
