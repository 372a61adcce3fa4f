package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/index"
	"github.com/sallyport/sallyport/audit/journal"
	"github.com/sallyport/sallyport/audit/ledger"
	"github.com/sallyport/sallyport/audit/pipeline"
	"github.com/sallyport/sallyport/audit/verify"
	"github.com/sallyport/sallyport/internal/database"
)

// auditResult is bench/out/audit.json. CPU is of this process, per event in µs.
type auditResult struct {
	CPURecord float64 `json:"cpu_us_record"` // of the journal, as an allowed read needs it
	CPUCheck  float64 `json:"cpu_us_check"`  // of a whole Check, in the same run
	Share     float64 `json:"record_share"`  // how much more a Check costs for its record

	SyncedBare  map[string]float64 `json:"ms_fdatasync"` // median, by how many write at a time
	SyncedTotal map[string]float64 `json:"ms_synced"`
	SyncedMore  float64            `json:"ms_synced_added"` // the largest difference

	Rate        float64 `json:"pipeline_events_per_second"` // asked for: pipelineRate, on one core
	CPUPipeline float64 `json:"cpu_us_pipeline"`            // journal, cut, archive and index together
	Behind      float64 `json:"pipeline_seconds_behind"`    // until the last event was indexed

	VerifyRate float64 `json:"verify_events_per_second_per_core"`
}

// The targets.
const (
	maxShare      = 0.10
	maxSyncedMore = 1.5 // ms
	pipelineRate  = 10_000
	maxBehind     = 10.0 // s, of what takes two seconds to be cut
	minVerifyRate = 200_000
)

// event is a record as reads have it: 880 bytes.
func event() []byte {
	b := audit.AppendHead(nil, time.Now(), "decision")
	b = fmt.Appendf(b, `,"correlation_id":"%016x%016x","user_id":"alice","tool_name":"search_vehicles","action":"tools/call","status":"allow","metadata":{"reason":"allowed","principal":{"id":"%016x"},"fingerprint":"`, rand.Uint64(), rand.Uint64(), rand.Uint64()) //nolint:gosec // filling
	for len(b) < 840 {
		b = fmt.Appendf(b, "%016x", rand.Uint64()) //nolint:gosec // filling
	}
	return append(b, "\"}}\n"...)
}

func benchAudit(ctx context.Context, out string) error {
	dir, err := os.MkdirTemp("", "sallyport-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	r := auditResult{SyncedBare: make(map[string]float64), SyncedTotal: make(map[string]float64)}
	check, err := measure(ctx, 5, 2000, "")
	if err != nil {
		return err
	}
	r.CPUCheck = check.CPUCheck
	for _, part := range []func() error{
		func() error { return r.record(dir) },
		func() error { return r.synced(dir) },
		func() error { return r.carry(ctx, dir) },
	} {
		if err := part(); err != nil {
			return err
		}
	}
	return r.report(out)
}

func openJournal(dir string) (*journal.Journal, error) {
	return journal.Open(journal.Config{Dir: dir}, slog.New(slog.DiscardHandler), time.Now)
}

// used is the CPU time of this process.
func used() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // can't fail for oneself
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// paced calls do at a rate, in bursts each few milliseconds, for a time.
func paced(rate int, length time.Duration, do func() error) (calls int, err error) {
	start := time.Now()
	for now := start; now.Sub(start) < length; now = time.Now() {
		for due := int(float64(rate) * now.Sub(start).Seconds()); calls < due; calls++ {
			if err := do(); err != nil {
				return calls, err
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	return calls, nil
}

// record measures what an allowed read pays: the difference to a loop that does
// the same without a journal.
func (r *auditResult) record(dir string) error {
	j, err := openJournal(filepath.Join(dir, "record"))
	if err != nil {
		return err
	}
	defer j.Close() //nolint:errcheck // measured before
	line := event()
	var with, without []float64
	for range 5 {
		before := used()
		n, err := paced(pipelineRate, time.Second, func() error { return j.Append(line, 0) })
		if err != nil {
			return err
		}
		with = append(with, float64((used()-before).Nanoseconds())/1e3/float64(n))
		before = used()
		n, _ = paced(pipelineRate, time.Second, func() error { return nil })
		without = append(without, float64((used()-before).Nanoseconds())/1e3/float64(n))
		if err := j.Release(j.Synced()); err != nil {
			return err
		}
	}
	r.CPURecord = quantile(with, 0.5) - quantile(without, 0.5)
	r.Share = r.CPURecord / (r.CPUCheck - r.CPURecord)
	return nil
}

// synced measures what a write waits for, by turns with the bare disk.
func (r *auditResult) synced(dir string) error {
	j, err := openJournal(filepath.Join(dir, "synced"))
	if err != nil {
		return err
	}
	defer j.Close() //nolint:errcheck // measured before
	bare, err := os.Create(filepath.Join(dir, "bare"))
	if err != nil {
		return err
	}
	defer bare.Close()
	if _, err := bare.Write(make([]byte, 16<<20)); err != nil {
		return err
	}
	line := event()
	for _, writers := range []int{1, 16, 64} {
		name := fmt.Sprint(writers)
		var disk, record []float64
		for range 5 {
			frames := bytes.Repeat(line, writers)
			for i := range 100 {
				start := time.Now()
				if _, err := bare.WriteAt(frames, int64(i*len(frames))%(8<<20)); err != nil {
					return err
				}
				if err := unix.Fdatasync(int(bare.Fd())); err != nil {
					return err
				}
				disk = append(disk, time.Since(start).Seconds()*1e3)
			}
			took := make([][]float64, writers)
			var group errgroup.Group
			for w := range writers {
				group.Go(func() error {
					for range 100 {
						start := time.Now()
						if err := j.Append(line, audit.Synced); err != nil {
							return err
						}
						took[w] = append(took[w], time.Since(start).Seconds()*1e3)
					}
					return nil
				})
			}
			if err := group.Wait(); err != nil {
				return err
			}
			record = append(record, slices.Concat(took...)...)
		}
		r.SyncedBare[name], r.SyncedTotal[name] = quantile(disk, 0.5), quantile(record, 0.5)
		r.SyncedMore = max(r.SyncedMore, r.SyncedTotal[name]-r.SyncedBare[name])
	}
	return nil
}

// carry measures the way to the archive, a folder, and to the index, SQLite, on
// one core, and then how fast the archive is verified, on one core too.
func (r *auditResult) carry(ctx context.Context, dir string) (err error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	j, err := openJournal(filepath.Join(dir, "carry", "journal"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	store, err := archive.OpenFolder(filepath.Join(dir, "carry", "archive"))
	if err != nil {
		return err
	}
	db, err := database.Open(ctx, database.Config{Driver: database.SQLite, File: filepath.Join(dir, "events.db")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	x, err := index.Open(ctx, db, index.Config{})
	if err != nil {
		return err
	}
	key, _, err := ledger.GenerateKey("bench")
	if err != nil {
		return err
	}
	p, err := pipeline.Open(pipeline.Config{
		Dir: filepath.Join(dir, "carry"), Origin: "bench", Layout: ledger.LayoutHybrid, Keys: []*ledger.Key{key},
	}, j, store, indexed{x}, nil, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	var group errgroup.Group
	group.Go(func() error { return p.Run(running) })
	if err := r.pace(ctx, j, p); err != nil {
		return err
	}
	stop()
	if err := group.Wait(); err != nil {
		return err
	}
	return r.verify(ctx, store, key)
}

// pace sends events through the pipeline at the rate.
func (r *auditResult) pace(ctx context.Context, j *journal.Journal, p *pipeline.Pipeline) error {
	lines := make([][]byte, 1024)
	for i := range lines {
		lines[i] = event()
	}
	const length = 20 * time.Second
	i, before, start := 0, used(), time.Now()
	n, err := paced(pipelineRate, length, func() error {
		i++
		return j.Append(fresh(lines[i%len(lines)]), 0)
	})
	if err != nil {
		return err
	}
	r.Rate = float64(n) / time.Since(start).Seconds()
	for start = time.Now(); p.Status().Indexed < uint64(n) && ctx.Err() == nil && time.Since(start) < time.Minute; { //nolint:gosec // positive
		time.Sleep(10 * time.Millisecond)
	}
	r.Behind = time.Since(start).Seconds()
	r.CPUPipeline = float64((used() - before).Nanoseconds()) / 1e3 / float64(n)
	return ctx.Err()
}

// fresh gives an event a new id.
func fresh(line []byte) []byte {
	copy(line[len(`{"event_id":"`):], audit.NewID(time.Now()))
	return line
}

func (r *auditResult) verify(ctx context.Context, store archive.Store, key *ledger.Key) error {
	verifier, err := note.NewVerifier(key.Public)
	if err != nil {
		return err
	}
	var rates []float64
	for range 3 {
		before := used()
		report, err := verify.Verify(ctx, store, verify.Options{Keys: []note.Verifier{verifier}, Parallel: 1})
		if err != nil {
			return err
		}
		if report.ExitCode() != 0 {
			return fmt.Errorf("verify found %v", report.Findings)
		}
		rates = append(rates, float64(report.Events)/(used()-before).Seconds())
	}
	r.VerifyRate = quantile(rates, 0.5)
	return nil
}

// indexed is the index as the pipeline sees it.
type indexed struct{ *index.Index }

func (x indexed) Add(ctx context.Context, seal *ledger.Seal, leaves [][]byte) error {
	rows, err := index.RowsOf(seal, leaves)
	if err != nil {
		return err
	}
	return x.Index.Add(ctx, rows)
}

func (r *auditResult) report(out string) error {
	fmt.Printf("audit trail\n")
	fmt.Printf("  record of a read      %7.2f µs CPU, Check without it %.1f µs: %.1f %% more (at most %.0f wanted)\n", r.CPURecord, r.CPUCheck-r.CPURecord, 100*r.Share, 100*maxShare)
	for _, name := range []string{"1", "16", "64"} {
		fmt.Printf("  synced, %2s at a time  %7.2f ms, bare fdatasync %.2f ms\n", name, r.SyncedTotal[name], r.SyncedBare[name])
	}
	fmt.Printf("  one core at %d/s   %7.0f events/s recorded, %.1f µs CPU each, %.1f s behind at the end\n", pipelineRate, r.Rate, r.CPUPipeline, r.Behind)
	fmt.Printf("  verify                %7.0f events/s per core (at least %d wanted)\n", r.VerifyRate, minVerifyRate)
	if err := writeResult(filepath.Join(out, "audit.json"), r); err != nil {
		return err
	}
	if r.Share > maxShare || r.SyncedMore > maxSyncedMore || r.Rate < 0.95*pipelineRate || r.Behind > maxBehind || r.VerifyRate < minVerifyRate {
		return errors.New("audit trail: over the target")
	}
	return nil
}
