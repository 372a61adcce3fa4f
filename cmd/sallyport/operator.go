package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/journal"
	"github.com/sallyport/sallyport/idempotency"
	"github.com/sallyport/sallyport/settings"
)

// operator is somebody at the command line who changes what the service keeps in
// Redis. What it keeps in memory no other process can see.
type operator struct {
	cfg    *settings.Config
	client redis.UniversalClient
}

// newOperator connects to nothing yet. The hint says what to do without Redis.
func newOperator(cmd *cobra.Command, hint string) (*operator, error) {
	loaded, err := loadSettings(cmd)
	if err != nil {
		return nil, err
	}
	if len(loaded.Config.Redis.Addresses) == 0 {
		return nil, errors.New("redis.addresses is empty, so the service keeps this in its own memory: " + hint)
	}
	client, err := newRedisClient(&loaded.Config.Redis)
	if err != nil {
		return nil, err
	}
	return &operator{cfg: loaded.Config, client: client}, nil
}

func (o *operator) close() error { return o.client.Close() }

// claims are those of the service.
func (o *operator) claims() (*idempotency.Redis, error) {
	store, err := openClaims(o.cfg, o.client, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	claims, ok := store.(*idempotency.Redis)
	if !ok {
		return nil, errors.New("transaction_safety.idempotency_store_type is memory: claims end with the process that holds them")
	}
	return claims, nil
}

// do records what the operator is about to do, and does it.
func (o *operator) do(ctx context.Context, name, why string, subject any, do func(context.Context) error) error {
	return recorded(ctx, o.cfg, name, why, subject, do)
}

// recorded records what an administrator is about to do, and does it: what can't
// be recorded isn't done. A failure is recorded after it. subject is what is
// changed, as it was.
func recorded(ctx context.Context, cfg *settings.Config, name, why string, subject any, do func(context.Context) error) (err error) {
	who, err := user.Current()
	if err != nil {
		return fmt.Errorf("who are you: %w", err)
	}
	if strings.TrimSpace(why) == "" {
		return errors.New("nothing was done: --why is blank, and it is for the record")
	}
	keep, closeJournal, err := openRecord(ctx, &cfg.Audit)
	if err != nil {
		return fmt.Errorf("nothing was done: %w", err)
	}
	defer func() { err = errors.Join(err, closeJournal()) }()
	record := func(status string, metadata map[string]any) error {
		metadata["why"], metadata["subject"] = why, subject
		return keep(&act{UserID: who.Username, Action: name, Status: status, Metadata: metadata})
	}
	if err := record("begun", map[string]any{}); err != nil {
		return fmt.Errorf("nothing was done: %w", err)
	}
	if err := do(ctx); err != nil {
		return errors.Join(err, record("failed", map[string]any{"failed": clipped(err.Error())}))
	}
	return nil
}

// openRecord returns what records acts: in the journal, or through the service that
// has it open. It begins no journal: what is recorded where no service runs is
// archived by nobody.
func openRecord(ctx context.Context, a *settings.Audit) (keep func(*act) error, closeJournal func() error, err error) {
	dir := filepath.Join(a.Dir, "journal")
	if _, err := os.Stat(dir); err != nil {
		return nil, nil, fmt.Errorf("it can't be recorded, because no service has its journal here (audit.dir): run this where one does: %w", err)
	}
	j, err := journal.Open(journal.Config{Dir: dir, MaxBytes: int64(a.JournalMaxBytes)}, slog.New(slog.DiscardHandler), time.Now)
	if errors.Is(err, journal.ErrInUse) {
		socket := filepath.Join(a.Dir, appendSocket)
		return func(a *act) error { return a.send(ctx, socket) }, func() error { return nil }, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if err := recordTruncation(j); err != nil {
		return nil, nil, errors.Join(err, j.Close())
	}
	return func(a *act) error { return a.record(j) }, j.Close, nil
}

// recordTruncation records that opening the journal cut off what had been written
// and never acknowledged.
func recordTruncation(j *journal.Journal) error {
	cut := j.Truncated()
	if cut == nil {
		return nil
	}
	entry := audit.Entry{Type: "log", Action: "journal_truncated", Metadata: map[string]any{
		"segment": cut.Segment, "bytes": cut.Bytes, "copy": cut.Copy, "next": cut.Next,
	}}
	line, err := entry.Line(time.Now())
	if err != nil {
		return err
	}
	return j.Append(line, audit.Synced|audit.Reserve)
}
