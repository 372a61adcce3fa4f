package journal

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// disk is what tests make fail.
type disk interface {
	// create makes a file, unless the disk has no room for its size.
	create(path string, size int64) (file, error)
	open(path string) (file, error)
}

type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	datasync() error
}

type osDisk struct{}

func (osDisk) create(path string, size int64) (file, error) {
	// Asked first, so that trying again and again doesn't take from others on this
	// disk what is left.
	var stat unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &stat); err == nil && int64(stat.Bavail)*stat.Bsize < size { //nolint:gosec // far below 1<<63 blocks
		return nil, &os.PathError{Op: "create", Path: path, Err: syscall.ENOSPC}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	return osFile{f}, err
}

func (osDisk) open(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	return osFile{f}, err
}

type osFile struct{ *os.File }

// datasync writes the file's bytes to the disk, without times that nobody needs.
func (f osFile) datasync() error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// unlock doesn't leave it to the closing: a child process that is just being started
// has the file, too, and would keep the lock for a moment.
func unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

// warnOfMemory says that a journal in memory ends with the machine, or its pod.
func warnOfMemory(dir string, log *slog.Logger) {
	var stat unix.Statfs_t
	if unix.Statfs(dir, &stat) == nil && stat.Type == unix.TMPFS_MAGIC {
		log.Warn("the journal is in memory (tmpfs): what isn't archived ends with the machine; use a volume", "dir", dir)
	}
}
