// Package verify finds what is wrong with an archive, or proves a single event of it.
//
// It only reads, and it believes nothing but the keys it is given. What it can't
// see by itself: that the end of a log was taken away together with everything that
// mentions it. For that, keep checkpoints elsewhere (Latest, Options.Trusted).
// Neither does it look at the bucket's configuration, which can't be tested without
// writing: see archive.Store.Check.
package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/ledger"
)

// ErrNoLogs: there is nothing at all where an archive should be. It is no proof of
// anything: most likely it is the wrong place.
var ErrNoLogs = errors.New("there is no audit log")

// Options say what to verify, and against what.
type Options struct {
	// Keys are trusted. They must come from elsewhere than the archive. Keys that a
	// log announced under one of these need not be named.
	Keys []note.Verifier
	// From and To limit the events to those of whole days in UTC: of From's day to
	// To's, both included. Zero: no limit. What lies beside the folders of years and
	// of logs belongs to no day: it is looked for without a limit only.
	From, To time.Time
	// Trusted are seals that somebody kept elsewhere. Each must lie on its archived
	// log.
	Trusted [][]byte
	// Expect are writers whose logs must be there.
	Expect []string
	// Lock is how each object must be protected. Nil: not checked. It can't be
	// checked in a store that isn't WORM.
	Lock *LockPolicy
	// Index is compared with the archive. Nil: there is none.
	Index Index
	// Sample is the part of the single objects beside batches whose content is
	// read, within (0, 1]; 0 means all. That each of them is there is known from
	// the listing.
	Sample float64
	// MaxHeartbeatGap is how long a log may be silent without having ended;
	// default 5m. A longer silence is a warning.
	MaxHeartbeatGap time.Duration
	// Strict makes the exit code of warnings that of incompleteness.
	Strict bool
	// Parallel is how many batches are verified at a time; default GOMAXPROCS.
	Parallel int
	// Progress is called with counts of events, by one goroutine. Total is an
	// estimate. May be nil.
	Progress func(done, total uint64)
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// LockPolicy is how objects must be protected.
type LockPolicy struct {
	Mode         string        // "COMPLIANCE", or "GOVERNANCE": then both will do
	MinRetention time.Duration // since the object was written
}

// Index is a search index beside the archive.
type Index interface {
	// Names are the logs that there are rows of.
	Names(ctx context.Context) ([]string, error)
	// Bounds says which rows of a log must be there: before first they were removed
	// by retention, from next on they have not come yet.
	Bounds(ctx context.Context, log string) (first, next uint64, err error)
	// Rows yields the rows with from ≤ Seq < to in order; two of one number if
	// there are two.
	Rows(ctx context.Context, log string, from, to uint64) iter.Seq2[IndexRow, error]
}

// IndexRow is what the index has of one event.
type IndexRow struct {
	Seq      uint64
	Time     time.Time // of the event
	LeafHash ledger.Hash
	// Differs names what in the row is not as the leaf in that batch says; empty:
	// nothing. Nil: the hash must do.
	Differs func(leaf []byte, batch string) string
}

func (o *Options) complete() error {
	if len(o.Keys) == 0 {
		return errors.New("verify: no public key to trust")
	}
	if o.Sample < 0 || o.Sample > 1 {
		return fmt.Errorf("verify: a sample of %v is not within (0, 1]", o.Sample)
	}
	if o.Parallel < 0 {
		return fmt.Errorf("verify: %d batches at a time can't be", o.Parallel)
	}
	if o.Lock != nil && o.Lock.Mode != modeGovernance && o.Lock.Mode != modeCompliance {
		return fmt.Errorf("verify: lock mode %q is neither %s nor %s", o.Lock.Mode, modeGovernance, modeCompliance)
	}
	o.Sample = cmp.Or(o.Sample, 1)
	o.MaxHeartbeatGap = cmp.Or(o.MaxHeartbeatGap, 5*time.Minute)
	o.Parallel = cmp.Or(o.Parallel, runtime.GOMAXPROCS(0))
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Progress == nil {
		o.Progress = func(uint64, uint64) {}
	}
	return nil
}

// run is one verification. Its report is written by one goroutine.
type run struct {
	store  archive.Store
	opts   Options
	period period
	codec  *ledger.Codec
	report *Report
	days   *days
	sample sampler
	bounds bounds

	logs     map[string]*chain // by writer
	mentions map[string]mention
	done     uint64 // events
	total    uint64
	lookups  int
}

// Verify reads the archive and reports what is wrong with it. The report is there
// also if err says that something couldn't be read, or is ErrNoLogs: it then holds
// what was found until then.
func Verify(ctx context.Context, store archive.Store, opts Options) (*Report, error) {
	if err := opts.complete(); err != nil {
		return &Report{Failed: err.Error()}, err
	}
	codec, err := ledger.NewCodec()
	if err != nil {
		return &Report{Failed: err.Error()}, err
	}
	defer codec.Close()
	r := &run{
		store: store, opts: opts, period: newPeriod(opts.From, opts.To), codec: codec,
		report: newReport(store, opts), days: newDays(), sample: newSampler(opts.Sample),
		logs: make(map[string]*chain), mentions: make(map[string]mention),
	}
	err = r.all(ctx)
	if err != nil {
		r.report.Failed = err.Error()
	}
	r.report.Seconds = opts.Now().Sub(r.report.Started).Seconds()
	return r.report, err
}

func (r *run) all(ctx context.Context) error {
	writers, err := r.store.Folders(ctx, ledger.SealPrefix)
	if err != nil {
		return fmt.Errorf("list the logs: %w", err)
	}
	for _, writer := range writers {
		newest, err := newestSize(ctx, r.store, writer)
		if err != nil {
			return fmt.Errorf("log %s: %w", writer, err)
		}
		r.total += newest
	}
	for _, writer := range writers {
		if err := r.verifyLog(ctx, writer); err != nil {
			return fmt.Errorf("log %s: %w", writer, err)
		}
	}
	if err := r.verifyDays(ctx); err != nil {
		return err
	}
	if err := r.verifyStrays(ctx); err != nil {
		return err
	}
	if err := r.verifyRoster(ctx); err != nil {
		return err
	}
	if err := r.compareNames(ctx); err != nil {
		return err
	}
	if len(writers) == 0 && r.report.Objects == 0 {
		return fmt.Errorf("%w under %s of %s", ErrNoLogs, ledger.Prefix, r.store)
	}
	return ctx.Err()
}
