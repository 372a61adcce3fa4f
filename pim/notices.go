package pim

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/database"
)

// Notice is what one endpoint is to be told of one change.
type Notice struct {
	ID       string
	Endpoint string // its name
	Body     []byte
	Created  time.Time
	Attempts int // that were made before
}

// keepNotices is how long notices are kept that nobody has asked for.
const keepNotices = 3 * 24 * time.Hour

// Notices holds notices until they are delivered, for all replicas.
type Notices struct {
	store *store
	wake  chan struct{}
}

// Wake says that this process has made new ones.
func (n *Notices) Wake() <-chan struct{} { return n.wake }

func (n *Notices) stir() {
	select {
	case n.wake <- struct{}{}:
	default: // they know
	}
}

// Due claims up to limit notices whose time has come, oldest first: nobody else gets
// them for the lease. Then they are due again, so a notice may be delivered twice.
func (n *Notices) Due(ctx context.Context, limit int, lease time.Duration) (due []Notice, err error) {
	now, err := n.store.clock(ctx)
	if err != nil {
		return nil, err
	}
	err = n.store.settle(ctx, func(ctx context.Context, db *database.DB, tx database.Tx) error {
		due = nil
		some := "SELECT id FROM pim_notices WHERE due <= $1 ORDER BY due, id LIMIT $2" + forUpdate(db)
		return tx.Query(ctx, func(rows *sql.Rows) error {
			var notice Notice
			var body string
			err := rows.Scan(&notice.ID, &notice.Endpoint, &body, database.ScanTime(&notice.Created), &notice.Attempts)
			notice.Body = []byte(body)
			due = append(due, notice)
			return err
		}, "UPDATE pim_notices SET due = $3 WHERE id IN ("+some+") RETURNING id, endpoint, body, created, attempts",
			db.Time(now), limit, db.Time(now.Add(lease)))
	})
	slices.SortFunc(due, func(a, b Notice) int { return strings.Compare(a.ID, b.ID) }) // ids are in the order of their making
	return due, err
}

// Forget removes a notice that is delivered, or can't be.
func (n *Notices) Forget(ctx context.Context, id string) error {
	return n.store.settle(ctx, func(ctx context.Context, _ *database.DB, tx database.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM pim_notices WHERE id = $1", id)
		return err
	})
}

// Retry counts an attempt, and makes the notice due again at a time.
func (n *Notices) Retry(ctx context.Context, id string, at time.Time) error {
	return n.store.settle(ctx, func(ctx context.Context, db *database.DB, tx database.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE pim_notices SET attempts = attempts + 1, due = $1 WHERE id = $2", db.Time(at), id)
		return err
	})
}

// settle runs a transaction that no request is changed in.
func (s *store) settle(ctx context.Context, do func(context.Context, *database.DB, database.Tx) error) error {
	db, err := s.database(ctx)
	if err != nil {
		return err
	}
	if err := db.Change(ctx, func(ctx context.Context, tx database.Tx) error { return do(ctx, db, tx) }); err != nil {
		return unavailable(err)
	}
	return nil
}

func (b *batch) saveNotices(ctx context.Context, all []Notice) error {
	for _, n := range all {
		_, err := b.tx.ExecContext(ctx, "INSERT INTO pim_notices (id, endpoint, body, created, due, attempts) VALUES ($1, $2, $3, $4, $4, 0)",
			audit.NewID(b.now), n.Endpoint, string(n.Body), b.db.Time(b.now))
		if err != nil {
			return err
		}
	}
	return nil
}
