package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/durable"
)

// segment is one file of frames.
type segment struct {
	first uint64 // number of its first event
	path  string
	file  file
	size  int64
	used  atomic.Int64 // bytes of frames
	begun time.Time    // when it became the one that is written to, or was loaded
}

const (
	segmentSuffix  = ".seg"
	preparedSuffix = ".tmp"
)

// prepare makes a segment that is full of zeros, on the disk.
func (j *Journal) prepare() (*segment, error) {
	path := filepath.Join(j.cfg.Dir, strconv.FormatInt(j.prepared.Add(1), 10)+preparedSuffix)
	size := j.cfg.SegmentBytes
	f, err := j.disk.create(path, size)
	if err != nil {
		return nil, err
	}
	s := &segment{path: path, file: f, size: size}
	// Piece by piece, so that an fdatasync of the journal that comes meanwhile
	// waits for little.
	zeros := make([]byte, 1<<20)
	for off := int64(0); off < size && err == nil; off += int64(len(zeros)) {
		if _, err = f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err == nil {
			err = f.datasync()
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.discard())
	}
	return s, nil
}

// name gives a prepared segment its place.
func (s *segment) name(dir string, first uint64) error {
	path := segmentPath(dir, first)
	if err := os.Rename(s.path, path); err != nil {
		return err
	}
	s.first, s.path = first, path
	return durable.SyncDir(dir)
}

// discard closes and removes the segment.
func (s *segment) discard() error { return errors.Join(s.file.Close(), os.Remove(s.path)) }

// rewrite writes the segment's frames from a place on again, so that they are on
// the disk for sure: the kernel may show bytes that a disk has refused before.
func (s *segment) rewrite(from int64) error {
	b := make([]byte, s.used.Load()-from)
	if _, err := s.file.ReadAt(b, from); err != nil {
		return err
	}
	if _, err := s.file.WriteAt(b, from); err != nil {
		return err
	}
	return s.file.datasync()
}

func segmentPath(dir string, first uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", first, segmentSuffix))
}

// firsts are the numbers that the folder's segments begin with, in order.
func firsts(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []uint64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		if !ok {
			continue
		}
		first, err := strconv.ParseUint(name, 16, 64)
		if err != nil || segmentPath("", first) != e.Name() {
			return nil, fmt.Errorf("%s is no segment", e.Name())
		}
		all = append(all, first)
	}
	slices.Sort(all)
	return all, nil
}

// removeAfter removes the segments that begin after a number.
func removeAfter(dir string, number uint64) error {
	all, err := firsts(dir)
	for _, first := range all {
		if first > number && err == nil {
			err = os.Remove(segmentPath(dir, first))
		}
	}
	return errors.Join(err, durable.SyncDir(dir))
}

// removeUnfinished removes what a process that was killed had begun to prepare.
func removeUnfinished(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), preparedSuffix) && err == nil {
			err = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// scan shows the frames from a place on, up to the number end, and returns where
// it stopped: at end, at the first byte that is no frame, or where yield said so.
func scan(f io.ReaderAt, off int64, number, end uint64, yield func(number uint64, class audit.Class, line []byte, off int64) bool) (int64, uint64, error) {
	buf := make([]byte, 256<<10)
	have := 0
	for number < end {
		n, err := f.ReadAt(buf[have:], off+int64(have))
		if err != nil && !errors.Is(err, io.EOF) {
			return off, number, err
		}
		have += n
		last := errors.Is(err, io.EOF)
		at := 0
		for number < end {
			line, class, size, ok := readFrame(buf[at:have], number)
			if !ok {
				break
			}
			if !yield(number, class, line, off+int64(at)) {
				return off + int64(at), number, nil
			}
			at += size
			number++
		}
		if number < end && (last || have-at >= headerBytes+MaxLine) {
			return off + int64(at), number, nil
		}
		copy(buf, buf[at:have])
		have -= at
		off += int64(at)
	}
	return off, number, nil
}
