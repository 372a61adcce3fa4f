package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"time"

	"github.com/sallyport/sallyport/audit"
)

// Reader shows the events of a journal that another process may have open, as far
// as they are written: some may not be on the disk yet. It is not safe for
// concurrent use.
type Reader struct {
	dir  string
	next uint64

	// Where it is in the segment it read last, so that it needn't search.
	segment fs.FileInfo
	first   uint64
	number  uint64
	off     int64
}

// OpenReader returns a Reader that begins with the event of the number, or with the
// first one after it that is still there.
func OpenReader(dir string, from uint64) (*Reader, error) {
	if _, err := firsts(dir); err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return &Reader{dir: dir, next: from}, nil
}

// Next is the number of the event that Read goes on with.
func (r *Reader) Next() uint64 { return r.next }

// Read shows what is there now. Called again it goes on. A line is only valid
// during the call. It ends early where yield returns false, and then comes to the
// same event again.
func (r *Reader) Read(yield func(number uint64, class audit.Class, line []byte) bool) error {
	all, err := firsts(r.dir)
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	for i, first := range all {
		end := uint64(math.MaxUint64)
		if i+1 < len(all) {
			end = all[i+1]
		}
		if end <= r.next {
			continue
		}
		stopped, err := r.readSegment(first, end, yield)
		if err != nil {
			return fmt.Errorf("read journal: %w", err)
		}
		if stopped {
			return nil
		}
	}
	return nil
}

func (r *Reader) readSegment(first, end uint64, yield func(number uint64, class audit.Class, line []byte) bool) (stopped bool, err error) {
	f, err := os.Open(segmentPath(r.dir, first))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // it was archived meanwhile
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	// Another file may have taken its name, or its inode.
	if r.segment == nil || r.first != first || !os.SameFile(r.segment, info) {
		r.segment, r.first, r.number, r.off = info, first, first, 0
	}
	off, number, err := scan(f, r.off, r.number, end, func(number uint64, class audit.Class, line []byte, _ int64) bool {
		stopped = number >= r.next && !yield(number, class, line)
		return !stopped
	})
	if err != nil {
		return false, err
	}
	r.number, r.off = number, off
	r.next = max(r.next, number)
	return stopped, nil
}

// Follow reads until ctx ends or yield returns false, looking for more at the given
// interval.
func (r *Reader) Follow(ctx context.Context, every time.Duration, yield func(number uint64, class audit.Class, line []byte) bool) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		stopped := false
		err := r.Read(func(number uint64, class audit.Class, line []byte) bool {
			stopped = !yield(number, class, line)
			return !stopped
		})
		if err != nil || stopped {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
