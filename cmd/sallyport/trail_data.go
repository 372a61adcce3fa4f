package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/sallyport/sallyport/audit/index"
	"github.com/sallyport/sallyport/audit/ledger"
	"github.com/sallyport/sallyport/audit/pipeline"
	"github.com/sallyport/sallyport/audit/subjects"
	"github.com/sallyport/sallyport/internal/database"
	"github.com/sallyport/sallyport/settings"
)

// auditData is what the trail keeps in the database. It is opened when it is
// first needed and tried again until that succeeds: no request waits for it.
type auditData struct {
	cfg      *settings.Config
	database *sharedDatabase

	mu       sync.Mutex // guards what follows
	index    *index.Index
	subjects *subjects.Subjects
}

// newAuditData refuses at once what no waiting would make right.
func newAuditData(cfg *settings.Config, database *sharedDatabase) (*auditData, error) {
	if cfg.Audit.PseudonymiseUsers {
		if _, err := subjects.LoadKeys(cfg.Audit.SubjectKeyFiles...); err != nil {
			return nil, invalid(err)
		}
	}
	return &auditData{cfg: cfg, database: database}, nil
}

// open opens what isn't open.
func (d *auditData) open(ctx context.Context) (err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	db, err := d.database.open(ctx)
	if err != nil {
		return err
	}
	if d.index == nil {
		if d.index, err = index.Open(ctx, db, indexConfig(&d.cfg.Audit)); err != nil {
			d.index = nil
			return err
		}
	}
	if d.subjects == nil && d.cfg.Audit.PseudonymiseUsers {
		d.subjects, err = openSubjects(ctx, db, &d.cfg.Audit)
	}
	return err
}

func openSubjects(ctx context.Context, db *database.DB, a *settings.Audit) (*subjects.Subjects, error) {
	keys, err := subjects.LoadKeys(a.SubjectKeyFiles...)
	if err != nil {
		return nil, err
	}
	return subjects.Open(ctx, db, keys, time.Now)
}

// indexConfig is what the configuration says of the index.
func indexConfig(a *settings.Audit) index.Config {
	return index.Config{Retention: time.Duration(a.IndexRetentionDays) * 24 * time.Hour}
}

// maintain makes the index's partitions ahead, and drops what is too old, where the
// service may.
func (d *auditData) maintain(ctx context.Context, log *slog.Logger) error {
	ticker := time.NewTicker(time.Hour)
	defer ticker.Stop()
	for {
		if d.cfg.Audit.DualWrite && d.cfg.Database.Migrations != database.Check {
			err := d.open(ctx)
			if err == nil {
				err = d.index.Maintain(ctx, time.Now())
			}
			if err != nil && ctx.Err() == nil {
				log.WarnContext(ctx, "audit index not maintained", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// indexOf is the index as the pipeline sees it; nil: there is none.
func (d *auditData) indexOf(a *settings.Audit) pipeline.Index {
	if !a.DualWrite {
		return nil
	}
	return (*indexWriter)(d)
}

// subjectsOf are the subjects as the pipeline sees them; nil: users are recorded
// as they are.
func (d *auditData) subjectsOf(a *settings.Audit) pipeline.Subjects {
	if !a.PseudonymiseUsers {
		return nil
	}
	return (*subjectHider)(d)
}

type indexWriter auditData

func (w *indexWriter) Size(ctx context.Context, log string) (uint64, error) {
	d := (*auditData)(w)
	if err := d.open(ctx); err != nil {
		return 0, err
	}
	return d.index.Size(ctx, log)
}

func (w *indexWriter) Add(ctx context.Context, seal *ledger.Seal, leaves [][]byte) error {
	d := (*auditData)(w)
	if err := d.open(ctx); err != nil {
		return err
	}
	rows, err := index.RowsOf(seal, leaves)
	if err != nil {
		return err
	}
	return d.index.Add(ctx, rows)
}

type subjectHider auditData

func (h *subjectHider) Hide(ctx context.Context, issuer, subject string, plaintext, bound []byte) (string, []byte, error) {
	d := (*auditData)(h)
	if err := d.open(ctx); err != nil {
		return "", nil, err
	}
	if d.subjects == nil {
		return "", nil, errors.New("the subjects are not open")
	}
	return d.subjects.Hide(ctx, subjects.Subject{Issuer: issuer, Subject: subject}, plaintext, bound)
}
