// Package pipeline carries events from the journal to the archive and the index:
// it cuts them into batches, seals each, and hands them on until they are kept.
//
// A cut is written to the outbox, a local folder, before anything leaves the
// machine: what is sent again after a crash is byte for byte the same.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/ledger"
)

// Journal is where events come from; see package journal.
type Journal interface {
	Append(lines []byte, class audit.Class) error
	Next() uint64
	Synced() uint64
	Read(from uint64, limit int, yield func(seq uint64, class audit.Class, line []byte) bool) error
	Release(before uint64) error
}

// Index makes events searchable; see package index.
type Index interface {
	// Size is up to where the log is indexed without a gap.
	Size(ctx context.Context, log string) (uint64, error)
	// Add adds the leaves of a seal. The same again is a success.
	Add(ctx context.Context, seal *ledger.Seal, leaves [][]byte) error
}

// Config says how events are cut and kept.
type Config struct {
	Dir    string // outbox and identity of the log; created
	Origin string // of the logs of this installation, without the writer
	Name   string // of this writer; a random suffix is added when its log begins
	Layout string // see the constants of package ledger

	BatchEvents int           // at most in one batch; default 5000, at most 20,000
	BatchBytes  int           // of events after which a batch ends; default 8 MiB, at most 32 MiB
	Interval    time.Duration // an event waits at most this long for its cut; default 2s
	Heartbeat   time.Duration // time between heartbeats; default 1m
	Parallel    int           // objects written at a time; default 16

	// Keys sign seals: the first one does; the others may have before, so that the
	// change can be announced.
	Keys []*ledger.Key
	// Version is this program's, for the record.
	Version string
}

// maxBatchEvents keeps the largest seal below ledger.MaxSeal, maxBatchBytes the
// largest batch below ledger.MaxBatch.
const (
	maxBatchEvents = 20_000
	maxBatchBytes  = 32 << 20
)

func (c *Config) validate() error {
	switch {
	case len(c.Keys) == 0:
		return errors.New("no signing key")
	case c.Layout != ledger.LayoutHybrid && c.Layout != ledger.LayoutEvent && c.Layout != ledger.LayoutBatch:
		return fmt.Errorf("layout %q is none", c.Layout)
	case c.BatchEvents > maxBatchEvents || c.BatchBytes > maxBatchBytes:
		return fmt.Errorf("batches of %d events and %d bytes are too large", c.BatchEvents, c.BatchBytes)
	}
	return nil
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		field *int
		value int
	}{{&c.BatchEvents, 5000}, {&c.BatchBytes, 8 << 20}, {&c.Parallel, 16}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&c.Interval, 2 * time.Second}, {&c.Heartbeat, time.Minute}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
}

// Errors that callers tell apart.
var (
	// ErrForked: the archive, the index or the outbox has events of this log that
	// this writer doesn't know: its folder was restored from a copy, or is used twice.
	ErrForked = errors.New("there is more of this log than its writer knows")
	// ErrKey: the log's last seal was signed by none of the keys.
	ErrKey = errors.New("none of the signing keys has sealed this log")
)

// Pipeline carries the events of one log. Its methods are safe for concurrent
// use; Run must be called once.
type Pipeline struct {
	cfg     Config
	journal Journal
	store   archive.Store
	index   Index  // nil: there is none
	hider   *hider // nil: users are recorded as they are
	log     *slog.Logger
	now     func() time.Time
	codec   *ledger.Codec
	outbox  *outbox
	id      identity
	origin  string

	// Used by the cutter alone.
	tree     ledger.Tree
	signers  []note.Signer // of the next seal
	rotateTo note.Signer   // signs alone once the change is announced; nil: no change
	lastCut  time.Time

	sealed   atomic.Uint64 // size of the tree
	archived atomic.Uint64 // size up to which the archive has everything
	indexed  atomic.Uint64
	faults   faults
}

// Open prepares the pipeline: it finds where the log's cuts ended, or begins a new
// log.
func Open(cfg Config, journal Journal, store archive.Store, index Index, subjects Subjects, log *slog.Logger, now func() time.Time) (*Pipeline, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	codec, err := ledger.NewCodec()
	if err != nil {
		return nil, err
	}
	p := &Pipeline{
		cfg: cfg, journal: journal, store: store, index: index, log: log, now: now,
		codec: codec,
	}
	if subjects != nil {
		p.hider = &hider{subjects: subjects}
	}
	if p.outbox, err = openOutbox(cfg.Dir); err != nil {
		return nil, err
	}
	if err := p.resume(); err != nil {
		return nil, fmt.Errorf("audit log in %s: %w", cfg.Dir, err)
	}
	return p, nil
}

// moveAside is what to do where a log can't go on.
const moveAside = "move the whole folder aside, so that a new log begins"

// resume finds the end of the last cut.
func (p *Pipeline) resume() error {
	last, err := p.outbox.lastSeal()
	if err != nil {
		return err
	}
	if err := p.identify(last != nil); err != nil {
		return err
	}
	p.signers = []note.Signer{p.cfg.Keys[0]}
	if last == nil {
		if p.journal.Next() == 0 {
			return p.begin()
		}
		return p.findNext() // the process ended before the first cut
	}
	if last.seal.Origin != p.origin {
		return fmt.Errorf("its last seal is of %s, not of %s; audit.origin can't change while a log goes on", last.seal.Origin, p.origin)
	}
	if p.tree, err = ledger.ResumeTree(last.seal.Size, last.seal.Frontier); err != nil {
		return err
	}
	p.sealed.Store(last.seal.Size)
	first := last.seal.Size
	if waiting := p.outbox.waiting(); len(waiting) > 0 {
		first = waiting[0]
	}
	p.archived.Store(first)
	if next := p.journal.Next(); next < last.seal.Size {
		return fmt.Errorf("%w: events up to %d are sealed, the journal ends at %d; %s", ErrForked, last.seal.Size, next, moveAside)
	}
	if err := p.findNext(); err != nil {
		return err
	}
	return p.resumeKeys(last.signed)
}

// identify finds the log's name. It makes one only where nothing has one yet.
func (p *Pipeline) identify(sealed bool) error {
	id, err := readIdentity(p.cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		if sealed || p.journal.Next() > 0 {
			return fmt.Errorf("%s, which names the log, is missing while there are events of it: put it back, or %s", identityFile, moveAside)
		}
		id, err = makeIdentity(p.cfg.Dir, p.cfg.Name)
	}
	p.id, p.origin = id, p.cfg.Origin+"/"+id.Writer
	return err
}

// findNext makes sure that the journal has the event that the next cut begins with.
func (p *Pipeline) findNext() error {
	size := p.tree.Size()
	if p.journal.Synced() == size {
		return nil
	}
	if err := p.journal.Read(size, 1, func(uint64, audit.Class, []byte) bool { return false }); err != nil {
		return fmt.Errorf("the seals end at event %d, from where the journal can't go on; %s: %w", size, moveAside, err)
	}
	return nil
}

// begin records that the log begins; it is its first event.
func (p *Pipeline) begin() error {
	return p.record("opened", map[string]any{
		"origin": p.origin, "key": p.cfg.Keys[0].Public, "host": p.id.Host, "version": p.cfg.Version,
	})
}

// resumeKeys finds who signed the last seal. If that isn't the first key any more
// the change is announced: in an event whose seal both keys sign.
func (p *Pipeline) resumeKeys(signed []byte) error {
	signer := func(k *ledger.Key) bool {
		verifier, err := note.NewVerifier(k.Public)
		if err != nil {
			return false
		}
		_, _, err = ledger.OpenSeal(signed, note.VerifierList(verifier))
		return err == nil
	}
	if signer(p.cfg.Keys[0]) {
		return nil
	}
	for _, old := range p.cfg.Keys[1:] {
		if !signer(old) {
			continue
		}
		p.signers, p.rotateTo = []note.Signer{old}, p.cfg.Keys[0]
		return p.record("key_rotated", map[string]any{"old": old.Public, "new": p.cfg.Keys[0].Public})
	}
	return fmt.Errorf("%w: name the key that did after the new one in audit.signing_key_files, so that the change can be announced; or %s", ErrKey, moveAside)
}

// record appends an event of the log about itself.
func (p *Pipeline) record(action string, metadata map[string]any) error {
	entry := audit.Entry{Type: "log", Action: action, Metadata: metadata}
	line, err := entry.Line(p.now())
	if err != nil {
		return err
	}
	return p.journal.Append(line, audit.Synced|audit.Reserve)
}

// Origin names the log.
func (p *Pipeline) Origin() string { return p.origin }

// OutboxBytes is what the outbox takes on the disk.
func (p *Pipeline) OutboxBytes() int64 { return p.outbox.bytes.Load() }
