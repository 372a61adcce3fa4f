package journal

import (
	"fmt"
	"math"

	"github.com/sallyport/sallyport/audit"
)

// cursor is where the last Read ended, so that the next one needn't search.
type cursor struct {
	segment *segment
	number  uint64
	off     int64
}

// Read shows at most limit events from a number on, as far as they are on the disk,
// without their newlines. A line is only valid during the call. It ends early where
// yield returns false. Reads wait for each other.
func (j *Journal) Read(from uint64, limit int, yield func(number uint64, class audit.Class, line []byte) bool) error {
	j.reading.Lock()
	defer j.reading.Unlock()
	end := min(j.synced.Load(), from+uint64(limit)) //nolint:gosec // positive
	for from < end {
		s, until := j.segmentOf(from)
		if s == nil {
			return fmt.Errorf("journal: event %d is not there any more", from)
		}
		at := cursor{segment: s, number: s.first}
		if j.cursor.segment == s && j.cursor.number <= from {
			at = j.cursor
		}
		stopped := false
		off, number, err := scan(s.file, at.off, at.number, min(end, until), func(number uint64, class audit.Class, line []byte, _ int64) bool {
			stopped = number >= from && !yield(number, class, line)
			return !stopped
		})
		if err != nil {
			return fmt.Errorf("read journal: %w", err)
		}
		j.cursor = cursor{segment: s, number: number, off: off}
		if stopped {
			return nil
		}
		if number < min(end, until) {
			return fmt.Errorf("%w: event %d in %s", ErrCorrupt, number, s.path)
		}
		from = number
	}
	return nil
}

// segmentOf is the segment with the event, and the number that the next one begins
// with.
func (j *Journal) segmentOf(number uint64) (*segment, uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	until := uint64(math.MaxUint64)
	for i := len(j.segments) - 1; i >= 0; i-- {
		if s := j.segments[i]; s.first <= number {
			return s, until
		}
		until = j.segments[i].first
	}
	return nil, 0
}
