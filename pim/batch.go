package pim

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sallyport/sallyport/internal/database"
)

// batch is one changing transaction. It holds the feed's row until it is committed,
// so there is one at a time over all replicas, and numbers are in the order of
// commits: who has seen one has seen all before it.
type batch struct {
	tx            database.Tx
	db            *database.DB
	notify        func(Request) ([]Notice, error)
	now           time.Time // the database's, after the turn was awaited
	number        uint64    // of the last change
	pending, live int64     // requests in all
	changed       []Request
}

func (b *batch) begin(ctx context.Context, now func() time.Time) error {
	// PostgreSQL computes what is returned after it has the lock.
	statement, clock := "UPDATE pim_feed SET change = change + 1 WHERE id = 1 RETURNING change - 1, pending, live", ", clock_timestamp()"
	into := []any{&b.number, &b.pending, &b.live}
	if b.db.Dialect() == database.Postgres {
		statement += clock
		into = append(into, database.ScanTime(&b.now))
	} else {
		b.now = now().UTC().Truncate(time.Microsecond)
	}
	rows := 0
	err := b.tx.Query(ctx, func(r *sql.Rows) error {
		rows++
		return r.Scan(into...)
	}, statement)
	if err == nil && rows == 0 {
		err = fmt.Errorf("the feed has no row")
	}
	return err
}

// end publishes the changes.
func (b *batch) end(ctx context.Context) error {
	_, err := b.tx.ExecContext(ctx, "UPDATE pim_feed SET change = $1, pending = $2, live = $3 WHERE id = 1", b.number, b.pending, b.live)
	return err
}

// find returns a request; ErrUnknown if there is none.
func (b *batch) find(ctx context.Context, id string) (r Request, err error) {
	err = b.tx.Query(ctx, func(rows *sql.Rows) error {
		r, err = scanRequest(rows)
		return err
	}, "SELECT "+requestColumns+" FROM pim_requests WHERE id = $1", id)
	if err == nil && r.ID == "" {
		err = ErrUnknown
	}
	return r, err
}

// step lets an event happen to a request, as far as it changes it.
func (b *batch) step(ctx context.Context, r Request, e Event) (Request, error) {
	after, err := r.After(e, b.now)
	if err != nil || after == r {
		return after, err
	}
	if after.State == Approved && b.live >= mostLive {
		return r, fmt.Errorf("%w: %d grants and approvals are in force", ErrTooMany, b.live)
	}
	return b.save(ctx, after, r.State)
}

// save writes a request that was in another state before ("": it is new).
func (b *batch) save(ctx context.Context, r Request, before State) (Request, error) {
	b.number++
	r.Change = b.number
	b.count(before, -1)
	b.count(r.State, +1)
	arguments, err := requestArguments(b.db, &r, b.now)
	if err != nil {
		return r, err
	}
	if _, err := b.tx.ExecContext(ctx, saveRequest(), arguments...); err != nil {
		return r, fmt.Errorf("save request: %w", err)
	}
	if r.State != before && b.notify != nil {
		told, err := b.notify(r)
		if err == nil {
			err = b.saveNotices(ctx, told)
		}
		if err != nil {
			return r, fmt.Errorf("save notices: %w", err)
		}
	}
	b.changed = append(b.changed, r)
	return r, nil
}

func (b *batch) count(s State, n int64) {
	switch s {
	case Pending:
		b.pending += n
	case Approved:
		b.live += n
	}
}

// lastEnd is when the last elevation ends that the holder of a request has now.
func (b *batch) lastEnd(ctx context.Context, r *Request) (end time.Time, err error) {
	held, err := b.held(ctx, r.Requester.PrincipalID)
	of := r.row().holder
	for i := range held {
		if h := &held[i]; h.kind == Elevation && h.state == Approved && h.holder == of && h.until.After(end) {
			end = h.until
		}
	}
	return end, err
}

// held returns what matters of a requester, briefly.
func (b *batch) held(ctx context.Context, principalID string) (all []row, err error) {
	err = b.tx.Query(ctx, scanRows(&all), "SELECT "+rowColumns+" FROM pim_requests WHERE principal_id = $1 AND matters_until > $2",
		principalID, b.db.Time(b.now))
	return all, err
}
