// Package journal keeps events on the local disk until they are archived.
//
// Events are numbered from zero without gaps, in segments: files that were filled
// with zeros before they are used, so that a full disk is noticed while one is
// prepared and not while an event is written. A segment is a run of frames; the
// first byte that is no frame with the expected number ends it, or the number that
// the next segment begins with does.
package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/audit"
)

// Errors that callers tell apart.
var (
	// ErrFull: there is no room for an event of this class.
	ErrFull = errors.New("the journal is full")
	// ErrBusy: the event waited for its deadline. It may have been written, and
	// then stays.
	ErrBusy = errors.New("the disk takes too long")
	// ErrTooLarge: a line is longer than MaxLine, or empty.
	ErrTooLarge = errors.New("no line of an event")
	// ErrCorrupt: events that were acknowledged are missing.
	ErrCorrupt = errors.New("the journal lost events that it had acknowledged")
	// ErrInUse: another process has the journal open.
	ErrInUse = errors.New("the journal is in use by another process")
	// ErrFailed: the disk refused a write, and hasn't taken one since.
	ErrFailed = errors.New("the disk of the journal fails")
	// ErrClosed: the journal was closed.
	ErrClosed = errors.New("the journal is closed")
)

// errBehind: so much waits for an fdatasync that it couldn't be written again.
var errBehind = errors.New("the disk is behind")

// MaxLine bounds an event, with its newline.
const MaxLine = 64 << 10

// Config says where the journal is and how large it may become.
type Config struct {
	Dir string // created; of this journal alone
	// SegmentBytes is the size of a segment. Default: 8 MiB, or a sixteenth of
	// MaxBytes if that is less.
	SegmentBytes int64
	// MaxBytes is what the journal may take, with what Extra says. On the disk it
	// takes up to three segments more. Default 4 GiB.
	MaxBytes int64
	// Extra is what the caller keeps beside the journal; nil: nothing. It is
	// called ten times a second, by a goroutine that holds no lock.
	Extra func() int64
	// ReadOnlyWhenFull lets events without Synced pass for longer; see Append.
	ReadOnlyWhenFull bool
	// Patience is how long Append waits in all. Default 2s.
	Patience time.Duration
}

func (c *Config) setDefaults() error {
	if c.MaxBytes == 0 {
		c.MaxBytes = 4 << 30
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = min(8<<20, c.MaxBytes/16)
	}
	if c.SegmentBytes < 4*MaxLine {
		return fmt.Errorf("journal: segments of %d bytes are too small", c.SegmentBytes)
	}
	if c.Patience == 0 {
		c.Patience = 2 * time.Second
	}
	return nil
}

// Journal is open for appending. All methods are safe for concurrent use.
type Journal struct {
	cfg  Config
	log  *slog.Logger
	now  func() time.Time
	disk disk
	lock *os.File

	turn   chan struct{} // holds one token; who has it may use what follows
	closed bool
	// tail holds the frames that no fdatasync was begun for, should they have to
	// be written again.
	tail    []byte
	scratch []byte

	syncing   []byte     // of the syncer: the frames that one is under way for
	watermark *watermark // of the syncer

	seg     atomic.Pointer[segment] // the one that is written to; changed with the turn
	next    atomic.Uint64           // number of the next event
	synced  atomic.Uint64           // events below are on the disk
	pending atomic.Int64            // bytes of tail and syncing
	failed  atomic.Bool             // the disk refused something
	busy    atomic.Int64            // since when an Append has the turn, in Unix nanoseconds; 0: none has
	flush   atomic.Int64            // since when an fdatasync is under way
	others  atomic.Int64            // bytes of the segments before seg
	freed   atomic.Uint64           // events below were released
	extra   atomic.Int64            // what Extra said last
	starved atomic.Bool             // no segment can be prepared
	state   atomic.Int32            // the last one that was said

	spare    chan *segment // prepared
	prepared atomic.Int64  // numbers the files of segments that have no place yet
	wake     chan struct{} // asks the syncer
	closing  chan struct{}
	running  sync.WaitGroup

	reading   sync.Mutex // held by Read; guards cursor
	cursor    cursor
	truncated *Truncation // of Open

	mu       sync.Mutex    // guards what follows
	segments []*segment    // all, in order; the last one is seg
	done     chan struct{} // closed by the next fdatasync
	ages     ages
}

// Open opens the journal of a folder, or makes one. ErrCorrupt is for a person.
func Open(cfg Config, log *slog.Logger, now func() time.Time) (*Journal, error) {
	return open(cfg, log, now, osDisk{})
}

func open(cfg Config, log *slog.Logger, now func() time.Time, d disk) (_ *Journal, err error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	j := &Journal{
		cfg: cfg, log: log, now: now, disk: d, turn: make(chan struct{}, 1),
		spare: make(chan *segment, 1), wake: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{}),
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if j.lock, err = lockDir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("journal %s: %w", cfg.Dir, err)
	}
	if err := j.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", cfg.Dir, err), j.release())
	}
	warnOfMemory(cfg.Dir, log)
	j.measure()
	j.give()
	j.running.Go(j.syncer)
	j.running.Go(j.preparer)
	j.running.Go(j.keeper)
	return j, nil
}

// Append writes one or more events, each a line with its newline: all or none,
// unless the process ends meanwhile. It keeps no reference to lines. When it
// returns nil the events survive the end of this process, and with audit.Synced
// that of the machine.
//
// At nine tenths of MaxBytes events without audit.Reserve are refused; with
// ReadOnlyWhenFull those with audit.Synced are, and the others at 95 percent.
//
// It waits no longer than Patience, but for the one whose write the kernel holds.
func (j *Journal) Append(lines []byte, class audit.Class) error {
	if j.failed.Load() {
		return ErrFailed
	}
	if !j.admits(class) {
		return ErrFull
	}
	start := time.Now()
	for {
		if err := j.take(start); err != nil {
			return err
		}
		j.busy.Store(start.UnixNano())
		next, err := j.write(start, lines, class)
		j.busy.Store(0)
		j.give()
		switch {
		case errors.Is(err, errBehind):
			if err := j.awaitSync(start, next); err != nil {
				return err
			}
		case err != nil || class&audit.Synced == 0:
			return err
		default:
			return j.awaitSync(start, next)
		}
	}
}

// take waits for the turn, give returns it.
func (j *Journal) take(start time.Time) error {
	select {
	case <-j.turn:
		return nil
	default:
	}
	timer := time.NewTimer(time.Until(start.Add(j.cfg.Patience)))
	defer timer.Stop()
	select {
	case <-j.turn:
		return nil
	case <-timer.C:
		return ErrBusy
	}
}

func (j *Journal) give() { j.turn <- struct{}{} }

// write writes the frames of the lines and returns the number after the last one;
// with errBehind the number to wait for. It wants the turn.
func (j *Journal) write(start time.Time, lines []byte, class audit.Class) (next uint64, err error) {
	switch {
	case j.closed:
		return 0, ErrClosed
	case j.failed.Load():
		return 0, ErrFailed
	}
	j.scratch, next, err = appendFrames(j.scratch[:0], lines, class, j.next.Load())
	if err != nil {
		return 0, err
	}
	size, behind := int64(len(j.scratch)), j.synced.Load()+1 // before pending, so that it will come
	pending := j.pending.Load()
	switch {
	case size > j.cfg.SegmentBytes:
		return 0, ErrTooLarge
	case pending+size > j.cfg.SegmentBytes: // heal has one segment for them
		return behind, errBehind
	case pending > j.cfg.SegmentBytes/4:
		j.ask()
	}
	s := j.seg.Load()
	if s.used.Load()+size > s.size {
		if s, err = j.rotate(start); err != nil {
			return 0, err
		}
	}
	off := s.used.Load()
	if _, err := s.file.WriteAt(j.scratch, off); err != nil {
		j.fail("write", err)
		return 0, ErrFailed
	}
	j.tail = append(j.tail, j.scratch...)
	j.pending.Add(size)
	s.used.Store(off + size)
	j.next.Store(next)
	return next, nil
}

// rotate goes on in the prepared segment.
func (j *Journal) rotate(start time.Time) (*segment, error) {
	var fresh *segment
	select {
	case fresh = <-j.spare:
	default:
		if j.starved.Load() {
			return nil, ErrFull
		}
		timer := time.NewTimer(time.Until(start.Add(j.cfg.Patience)))
		defer timer.Stop()
		select {
		case fresh = <-j.spare:
		case <-timer.C:
			return nil, ErrBusy
		}
	}
	if err := fresh.name(j.cfg.Dir, j.next.Load()); err != nil {
		j.fail("begin a segment", errors.Join(err, fresh.discard()))
		return nil, ErrFailed
	}
	j.begin(fresh)
	return fresh, nil
}

// begin makes a segment the one that is written to. It supersedes those that begin
// with its number or later.
func (j *Journal) begin(fresh *segment) {
	fresh.begun = j.now()
	j.mu.Lock()
	for n := len(j.segments); n > 0 && j.segments[n-1].first >= fresh.first; n-- {
		_ = j.segments[n-1].file.Close() // nobody uses it
		j.segments = j.segments[:n-1]
	}
	j.segments = append(j.segments, fresh)
	j.seg.Store(fresh)
	j.recount()
	j.mu.Unlock()
}

// ask asks the syncer for an fdatasync.
func (j *Journal) ask() {
	select {
	case j.wake <- struct{}{}:
	default: // it was asked
	}
}

// awaitSync waits until the events below the number are on the disk.
func (j *Journal) awaitSync(start time.Time, number uint64) error {
	timer := time.NewTimer(time.Until(start.Add(j.cfg.Patience)))
	defer timer.Stop()
	for {
		j.mu.Lock()
		done := j.done
		j.mu.Unlock()
		if j.synced.Load() >= number {
			return nil
		}
		j.ask()
		select {
		case <-done:
		case <-timer.C:
			return ErrBusy
		}
	}
}

// Next is the number of the next event.
func (j *Journal) Next() uint64 { return j.next.Load() }

// Synced says that the events below it are on the disk.
func (j *Journal) Synced() uint64 { return j.synced.Load() }

// Truncated is what recovery cut off; nil: nothing.
func (j *Journal) Truncated() *Truncation { return j.truncated }

// Healthy reports whether the disk takes what it is given, in time. A full journal
// is healthy; see Usage.
func (j *Journal) Healthy() bool {
	late := func(since int64) bool { return since != 0 && time.Since(time.Unix(0, since)) > j.cfg.Patience }
	return !j.failed.Load() && !late(j.busy.Load()) && !late(j.flush.Load())
}

// Release removes the segments whose events are all below the number. The one that
// is written to goes when it is a minute old and all of its events were released.
func (j *Journal) Release(before uint64) error {
	j.mu.Lock()
	j.freed.Store(max(j.freed.Load(), before))
	var gone []*segment
	for len(j.segments) > 1 && j.segments[1].first <= before && j.segments[1].first <= j.synced.Load() {
		gone = append(gone, j.segments[0])
		j.segments = j.segments[1:]
	}
	j.ages.forget(before)
	j.recount()
	j.mu.Unlock()
	var errs []error
	for _, s := range gone {
		errs = append(errs, s.discard())
	}
	return errors.Join(errs...)
}

// Close writes everything to the disk and closes the journal. It waits for a disk
// that hangs.
func (j *Journal) Close() error {
	if err := j.take(time.Now()); err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	closed := j.closed
	j.closed = true
	j.give()
	if closed {
		return ErrClosed
	}
	close(j.closing)
	j.running.Wait()
	if j.failed.Load() {
		j.heal()
	}
	err := ErrFailed
	if !j.failed.Load() {
		err = j.sync()
	}
	if err := errors.Join(err, j.release()); err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

// release closes all files and lets others use the folder.
func (j *Journal) release() error {
	var errs []error
	for _, s := range j.segments {
		errs = append(errs, s.file.Close())
	}
	select {
	case s := <-j.spare:
		errs = append(errs, s.discard())
	default:
	}
	if j.watermark != nil {
		errs = append(errs, j.watermark.close())
	}
	return errors.Join(append(errs, unlock(j.lock))...)
}
