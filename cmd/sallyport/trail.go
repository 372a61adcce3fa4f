package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/journal"
	"github.com/sallyport/sallyport/audit/ledger"
	"github.com/sallyport/sallyport/audit/pipeline"
	"github.com/sallyport/sallyport/settings"
)

// trail is the audit trail of this process: the journal that requests wait for,
// and what carries its events on.
type trail struct {
	cfg       *settings.Audit
	journal   *journal.Journal
	pipeline  *pipeline.Pipeline
	strangers *audit.Strangers
	data      *auditData
	log       *slog.Logger
}

// openTrail opens the journal and finds out whether the archive may be used: one
// that doesn't lock is refused, one that can't be reached is bridged.
func openTrail(ctx context.Context, cfg *settings.Config, database *sharedDatabase, log *slog.Logger) (_ *trail, err error) {
	a := &cfg.Audit
	t := &trail{cfg: a, strangers: audit.NewStrangers(float64(a.UnauthenticatedPerSecond)), log: log}
	if len(a.SigningKeyFiles) == 0 {
		if err := makeSigningKey(signingKeyFiles(a)[0], a.Origin); err != nil {
			return nil, fmt.Errorf("audit.dir: %w", err)
		}
	}
	keys, err := signingKeys(a)
	if err != nil {
		return nil, err
	}
	store, err := openArchive(ctx, a)
	if err != nil {
		return nil, err
	}
	var opened atomic.Pointer[pipeline.Pipeline]
	t.journal, err = journal.Open(journal.Config{
		Dir: filepath.Join(a.Dir, "journal"), MaxBytes: int64(a.JournalMaxBytes), ReadOnlyWhenFull: a.WhenFull == "read_only",
		Extra: func() int64 {
			if p := opened.Load(); p != nil {
				return p.OutboxBytes()
			}
			return 0
		},
	}, log, time.Now)
	if err != nil {
		return nil, fmt.Errorf("audit.dir: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.journal.Close())
		}
	}()
	if t.data, err = newAuditData(cfg, database); err != nil {
		return nil, err
	}
	p, err := pipeline.Open(pipeline.Config{
		Dir: a.Dir, Origin: a.Origin, Name: a.Writer, Layout: a.Layout,
		Interval: a.BatchInterval, Heartbeat: a.HeartbeatInterval, Keys: keys, Version: versionText(),
	}, t.journal, store, t.data.indexOf(a), t.data.subjectsOf(a), log, time.Now)
	if err != nil {
		return nil, err
	}
	opened.Store(p)
	t.pipeline = p
	if err := recordTruncation(t.journal); err != nil {
		return nil, err
	}
	checking, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	switch err := p.Check(checking); {
	case errors.Is(err, archive.ErrNotLocked), errors.Is(err, pipeline.ErrForked):
		return nil, invalid(fmt.Errorf("audit archive %s: %w", store, err))
	case err != nil:
		log.WarnContext(ctx, "audit archive can't be reached, events wait in the journal", "archive", store.String(), "error", err)
	case !store.WORM():
		log.WarnContext(ctx, "the audit archive is a folder, which is no WORM storage: set audit.s3_enabled", "archive", store.String())
	}
	return t, nil
}

// run carries events on until ctx ends, and longer, for what is left.
func (t *trail) run(ctx context.Context, group *errgroup.Group) {
	group.Go(func() error { return t.pipeline.Run(ctx) })
	group.Go(func() error { return t.flushStrangers(ctx) })
	group.Go(func() error { return t.data.maintain(ctx, t.log) })
	group.Go(func() error { return serveAppends(ctx, t.cfg.Dir, t.journal, t.log) })
}

// flushPeriod is how long denials may be counted before their event is recorded.
const flushPeriod = 10 * time.Second

func (t *trail) flushStrangers(ctx context.Context) error {
	ticker := time.NewTicker(flushPeriod)
	defer ticker.Stop()
	var counted []byte
	var err error
	for running := true; running; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			running = false
		}
		counted = append(counted, t.strangers.Flush(time.Now())...)
		if counted, err = t.appendCounted(counted); err != nil {
			t.log.ErrorContext(ctx, "counted denials not recorded yet", "error", err)
		}
	}
	return nil
}

const (
	countedAtOnce = 64 << 10 // bytes in one Append
	maxCounted    = 16 << 20 // bytes that wait for the journal; the oldest are dropped
)

// appendCounted records the events and returns those that it couldn't.
func (t *trail) appendCounted(events []byte) (rest []byte, err error) {
	for len(events) > 0 {
		end := len(events)
		if end > countedAtOnce {
			end = 1 + bytes.LastIndexByte(events[:countedAtOnce], '\n')
		}
		if err := t.journal.Append(events[:end], audit.Reserve); err != nil {
			if len(events) > maxCounted {
				events = events[1+bytes.IndexByte(events[len(events)-maxCounted:], '\n')+len(events)-maxCounted:]
			}
			return events, err
		}
		events = events[end:]
	}
	return nil, nil
}

// record records what the service itself does.
func (t *trail) record(action string, metadata map[string]any) error {
	entry := audit.Entry{Type: "service", Action: action, Metadata: metadata}
	line, err := entry.Line(time.Now())
	if err != nil {
		return err
	}
	if err := t.journal.Append(line, audit.Synced|audit.Single|audit.Reserve); err != nil {
		return fmt.Errorf("record %s: %w", action, err)
	}
	return nil
}

// signingKeyFiles are those of the configuration, or the one beside the journal.
func signingKeyFiles(a *settings.Audit) []string {
	if len(a.SigningKeyFiles) == 0 {
		return []string{filepath.Join(a.Dir, "signing.key")}
	}
	return a.SigningKeyFiles
}

func signingKeys(a *settings.Audit) ([]*ledger.Key, error) {
	var keys []*ledger.Key
	for _, file := range signingKeyFiles(a) {
		key, err := ledger.LoadKey(file)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// makeSigningKey makes the file, and one with the public half, if there is none.
func makeSigningKey(file, origin string) error {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, text, err := ledger.GenerateKey(origin)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(file+".pub", []byte(key.Public+"\n"), 0o644); err != nil { //nolint:gosec // it is public
		return err
	}
	return os.WriteFile(file, []byte(text), 0o600)
}

// openArchive opens the archive without asking it anything.
func openArchive(ctx context.Context, a *settings.Audit) (archive.Store, error) {
	if !a.S3Enabled {
		return archive.OpenFolder(a.Archive())
	}
	return archive.NewS3(ctx, s3Config(a), time.Now)
}

func s3Config(a *settings.Audit) archive.S3Config {
	return archive.S3Config{
		Bucket: a.S3Bucket, Region: a.S3Region, Endpoint: a.S3Endpoint, PathStyle: a.S3PathStyle,
		Mode: a.S3ObjectLockMode, Retention: time.Duration(a.S3RetentionDays) * 24 * time.Hour, KMSKey: a.S3KMSKey,
		AccessKeyFile: a.S3AccessKeyFile, SecretKeyFile: a.S3SecretKeyFile,
	}
}
