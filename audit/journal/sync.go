package journal

import (
	"errors"
	"os"
	"time"
)

const (
	// syncEvery is how long events that nobody waits for may be off the disk.
	syncEvery = 100 * time.Millisecond
	// retryEvery is how often a disk that failed is tried again.
	retryEvery = 500 * time.Millisecond
	// retireAfter is how long events that were all released may stay on the disk.
	retireAfter = time.Minute
)

// syncer brings what was written to the disk: at once if somebody waits, for all
// who wait together.
func (j *Journal) syncer() {
	ticker := time.NewTicker(syncEvery)
	defer ticker.Stop()
	for {
		select {
		case <-j.closing:
			return
		case <-j.wake:
		case <-ticker.C:
			j.measure()
			j.retire()
		}
		if j.failed.Load() {
			select {
			case <-j.closing:
				return
			case <-time.After(retryEvery):
			}
			j.heal()
			continue
		}
		if j.synced.Load() < j.next.Load() {
			_ = j.sync() // it has said so, or the next tick tries again
		}
	}
}

// retire goes on in the prepared segment when all events of the current one were
// released, so that what they say doesn't stay on this disk.
func (j *Journal) retire() {
	s := j.seg.Load()
	if s.used.Load() == 0 || !j.allReleased() || j.now().Sub(s.begun) < retireAfter {
		return
	}
	select {
	case <-j.turn:
	default:
		return // somebody writes
	}
	// Nobody else takes the prepared segment without the turn.
	ready := j.allReleased() && !j.closed && !j.failed.Load() && len(j.spare) > 0
	if ready {
		_, err := j.rotate(time.Now())
		ready = err == nil
	}
	j.give()
	if !ready {
		return // the next tick tries again
	}
	if err := j.Release(j.freed.Load()); err != nil {
		j.log.Warn("journal: a segment that was released stays", "error", err)
	}
}

// allReleased reports whether no event waits to be released.
func (j *Journal) allReleased() bool {
	next := j.next.Load()
	return j.freed.Load() >= next && j.synced.Load() >= next
}

// sync brings everything that was written to the disk.
func (j *Journal) sync() error {
	if err := j.take(time.Now()); err != nil {
		return err
	}
	target, segments := j.next.Load(), j.unsynced()
	j.syncing, j.tail = j.tail, j.syncing
	j.give()

	j.flush.Store(time.Now().UnixNano())
	defer j.flush.Store(0)
	for _, s := range segments {
		if err := s.file.datasync(); err != nil {
			j.fail("fdatasync", err) // heal takes syncing
			return ErrFailed
		}
	}
	if err := j.acknowledge(target, int64(len(j.syncing))); err != nil {
		j.fail("write the watermark", err)
		return ErrFailed
	}
	j.syncing = j.syncing[:0]
	return nil
}

// unsynced are the segments with events that no fdatasync covers yet.
func (j *Journal) unsynced() []*segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	at := len(j.segments) - 1
	for at > 0 && j.segments[at].first > j.synced.Load() {
		at--
	}
	return append([]*segment(nil), j.segments[at:]...)
}

// acknowledge says to those who wait that the events below the number are on the
// disk, with that many bytes. The watermark knows before anybody else does.
func (j *Journal) acknowledge(number uint64, size int64) error {
	if err := j.watermark.write(number); err != nil {
		return err
	}
	j.pending.Add(-size)
	j.synced.Store(number)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ages.remember(number, j.now())
	close(j.done)
	j.done = make(chan struct{})
	return nil
}

// keeper brings the watermark to the disk once a second.
func (j *Journal) keeper() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-j.closing:
			return
		case <-ticker.C:
		}
		if err := j.watermark.keep(); err != nil {
			j.fail("fdatasync of the watermark", err)
		}
	}
}

// fail notes that the disk refused something. The file is not used again: the
// kernel may have dropped what it was given, and would call the next fdatasync a
// success.
func (j *Journal) fail(what string, err error) {
	if !j.failed.Swap(true) {
		j.log.Error("the disk of the journal fails, requests are refused until it is well", "doing", what, "error", err)
	}
}

// heal tries to go on in a new segment, which begins with the events that were
// acknowledged as written and are on the disk only perhaps. Who waits for one of
// them to be on the disk gets its answer from this.
func (j *Journal) heal() {
	if j.take(time.Now()) != nil {
		return
	}
	defer j.give()
	err := j.moveOn()
	if err == nil {
		err = j.acknowledge(j.next.Load(), j.pending.Load())
	}
	if err != nil {
		j.log.Warn("the disk of the journal still fails", "error", err)
		return
	}
	j.syncing, j.tail = j.syncing[:0], j.tail[:0]
	j.failed.Store(false)
	j.log.Info("the disk of the journal is well again")
}

// moveOn begins a segment with what isn't surely on the disk. It wants the turn.
func (j *Journal) moveOn() error {
	var fresh *segment
	var err error
	select {
	case fresh = <-j.spare:
	default:
		if fresh, err = j.prepare(); err != nil {
			return err
		}
	}
	unnamed := fresh.path
	frames := append(append([]byte(nil), j.syncing...), j.tail...)
	// The zeros prove that the disk is well where there are no frames.
	_, err = fresh.file.WriteAt(append(frames, make([]byte, min(4096, fresh.size-int64(len(frames))))...), 0)
	if err == nil {
		err = fresh.file.datasync()
	}
	first := j.synced.Load()
	if err == nil {
		err = fresh.name(j.cfg.Dir, first)
	}
	if err == nil {
		// Up to here a segment that begins later may exist, whose events are also
		// in the new one. If the process ends now they are read from there.
		err = removeAfter(j.cfg.Dir, first)
	}
	if err != nil {
		_ = os.Remove(unnamed) // if it is still there
		return errors.Join(err, fresh.file.Close())
	}
	fresh.used.Store(int64(len(frames)))
	j.begin(fresh)
	return nil
}

// preparer keeps a segment ready.
func (j *Journal) preparer() {
	for {
		fresh, err := j.prepare()
		if err == nil {
			j.starved.Store(false)
			select {
			case j.spare <- fresh:
				continue
			case <-j.closing:
				if err := fresh.discard(); err != nil {
					j.log.Warn("journal: a prepared segment stays", "error", err)
				}
				return
			}
		}
		if !j.starved.Swap(true) {
			j.log.Error("journal: no room for another segment", "error", err)
		}
		select {
		case <-time.After(retryEvery):
		case <-j.closing:
			return
		}
	}
}
