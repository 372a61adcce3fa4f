package journal

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/durable"
)

// Truncation is what recovery cut off: bytes that were never acknowledged as on
// the disk.
type Truncation struct {
	Segment string // the first one that was concerned
	Bytes   int64
	Copy    string // where they are now, or the first of them
	Next    uint64 // number of the event that comes in their place
}

// recover finds the end of the journal.
func (j *Journal) recover() error {
	if err := removeUnfinished(j.cfg.Dir); err != nil {
		return err
	}
	all, err := firsts(j.cfg.Dir)
	if err != nil {
		return err
	}
	var acknowledged uint64
	if j.watermark, acknowledged, err = openWatermark(j.cfg.Dir, len(all) == 0); err != nil {
		return err
	}
	if len(all) == 0 {
		return j.create(acknowledged)
	}
	var again []rewriting
	for i, first := range all {
		end := uint64(math.MaxUint64)
		if i+1 < len(all) {
			end = all[i+1]
		}
		from, err := j.load(first, end, acknowledged)
		if err != nil {
			return err
		}
		s := j.segments[i]
		if from >= 0 {
			again = append(again, rewriting{s, from})
		}
		if j.next.Load() == end {
			continue
		}
		if next := j.next.Load(); next < acknowledged {
			return fmt.Errorf("%w: segment %s ends before event %d, but the events below %d were on the disk;"+
				" the disk or somebody changed it: move the whole folder aside, so that a new log begins, and keep it",
				ErrCorrupt, s.path, next, acknowledged)
		}
		if err := errors.Join(j.setAside(all[i+1:]), j.cutTorn(s)); err != nil {
			return err
		}
		break
	}
	for _, r := range again {
		if err := r.segment.rewrite(r.from); err != nil {
			return err
		}
	}
	j.synced.Store(j.next.Load())
	return j.watermark.write(j.next.Load())
}

// rewriting is a segment whose frames from a place on are perhaps not on the disk.
type rewriting struct {
	segment *segment
	from    int64
}

// load adds the segment that begins with the number, which the next one ends. It
// returns where its events begin that weren't acknowledged as on the disk; -1: it
// has none.
func (j *Journal) load(first, end, acknowledged uint64) (int64, error) {
	path := segmentPath(j.cfg.Dir, first)
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	f, err := j.disk.open(path)
	if err != nil {
		return 0, err
	}
	s := &segment{first: first, path: path, file: f, size: info.Size(), begun: j.now()}
	j.segments = append(j.segments, s)
	from := int64(-1)
	off, next, err := scan(f, 0, first, end, func(number uint64, _ audit.Class, _ []byte, off int64) bool {
		if number >= acknowledged && from < 0 {
			from = off
		}
		return true
	})
	if err != nil {
		return 0, err
	}
	s.used.Store(off)
	j.seg.Store(s)
	j.next.Store(next)
	j.ages.remember(next, info.ModTime())
	return from, nil
}

// create makes the first segment.
func (j *Journal) create(acknowledged uint64) error {
	if acknowledged > 0 {
		return fmt.Errorf("%w: there are no segments, but the events below %d were on the disk;"+
			" somebody removed them: move the whole folder aside, so that a new log begins, and keep it", ErrCorrupt, acknowledged)
	}
	fresh, err := j.prepare()
	if err != nil {
		return err
	}
	if err := fresh.name(j.cfg.Dir, 0); err != nil {
		return errors.Join(err, fresh.discard())
	}
	j.begin(fresh)
	return nil
}

// setAside renames segments that come after a gap. A machine that lost its power
// may have written them, but not the end of the one before.
func (j *Journal) setAside(all []uint64) error {
	for _, first := range all {
		path := segmentPath(j.cfg.Dir, first)
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		aside := j.asidePath(path)
		if err := os.Rename(path, aside); err != nil {
			return err
		}
		j.truncate(path, aside, info.Size())
	}
	return durable.SyncDir(j.cfg.Dir)
}

// cutTorn moves what is behind the last frame aside: the beginning of an event
// that was never acknowledged.
func (j *Journal) cutTorn(s *segment) error {
	off := s.used.Load()
	rest := make([]byte, s.size-off)
	n, err := s.file.ReadAt(rest, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	end := n
	for end > 0 && rest[end-1] == 0 {
		end--
	}
	if end == 0 {
		return nil
	}
	aside := j.asidePath(s.path)
	if err := j.keepCopy(aside, rest[:end]); err != nil {
		return err
	}
	if _, err := s.file.WriteAt(make([]byte, end), off); err != nil {
		return err
	}
	j.truncate(s.path, aside, int64(end))
	return s.file.datasync()
}

// keepCopy writes bytes to a new file, and returns nil when that is on the disk: what
// it is a copy of is overwritten next.
func (j *Journal) keepCopy(path string, b []byte) error {
	f, err := j.disk.create(path, int64(len(b)))
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.datasync()
	}
	return errors.Join(err, f.Close(), durable.SyncDir(j.cfg.Dir))
}

func (j *Journal) asidePath(path string) string {
	return fmt.Sprintf("%s.%d.torn", path, j.now().UnixNano())
}

// truncate notes what was moved aside.
func (j *Journal) truncate(path, aside string, size int64) {
	if j.truncated == nil {
		j.truncated = &Truncation{Segment: filepath.Base(path), Copy: filepath.Base(aside), Next: j.next.Load()}
	}
	j.truncated.Bytes += size
	j.log.Warn("the journal ended in an event that was never acknowledged; it was moved aside", "copy", aside, "bytes", size)
}
