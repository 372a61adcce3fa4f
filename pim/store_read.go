package pim

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sallyport/sallyport/internal/database"
)

const (
	defaultPage, longestPage = 100, 500
	feedPage                 = 2000
	duePage                  = 20
	// keepRequests is how long requests are kept after their end.
	keepRequests = 90 * 24 * time.Hour
	purgePage    = 1000
)

// get returns a request and the time at the database.
func (s *store) get(ctx context.Context, id string) (r Request, now time.Time, err error) {
	if !isID(id) {
		return r, now, ErrUnknown
	}
	if now, err = s.clock(ctx); err != nil {
		return r, now, err
	}
	err = s.query(ctx, func(rows *sql.Rows) error {
		r, err = scanRequest(rows)
		return err
	}, "SELECT "+requestColumns+" FROM pim_requests WHERE id = $1", id)
	if err == nil && r.ID == "" {
		err = ErrUnknown
	}
	return r, now, err
}

// isID spares the database what can't be one.
func isID(text string) bool {
	return len(text) == 36 && strings.Trim(text, "0123456789abcdef-") == ""
}

// list returns a page of requests, the newest first, and where the next one begins.
func (s *store) list(ctx context.Context, f Filter) (page []Request, next string, err error) {
	var where []string
	var arguments []any
	want := func(column, comparison, value string) {
		if value != "" {
			arguments = append(arguments, value)
			where = append(where, fmt.Sprintf("%s %s $%d", column, comparison, len(arguments)))
		}
	}
	want("state", "=", string(f.State))
	want("kind", "=", string(f.Kind))
	want("server", "=", f.Server)
	want("tool", "=", f.Tool)
	want("principal_id", "=", f.PrincipalID)
	want("id", "<", f.After)
	limit := cmp.Or(f.Limit, defaultPage)
	if err := f.validate(limit); err != nil {
		return nil, "", err
	}
	statement := "SELECT " + strings.Replace(requestColumns, ", call,", ", '',", 1) + " FROM pim_requests" // calls are long
	if len(where) != 0 {
		statement += " WHERE " + strings.Join(where, " AND ")
	}
	err = s.query(ctx, func(rows *sql.Rows) error {
		r, err := scanRequest(rows)
		page = append(page, r)
		return err
	}, fmt.Sprintf("%s ORDER BY id DESC LIMIT %d", statement, limit+1), arguments...)
	if err == nil && len(page) > limit {
		page = page[:limit]
		next = page[limit-1].ID
	}
	return page, next, err
}

func (f *Filter) validate(limit int) error {
	if limit < 1 || limit > longestPage {
		return fmt.Errorf("%w: limit: %d is not within [1, %d]", ErrAsk, limit, longestPage)
	}
	if f.After != "" && !isID(f.After) {
		return fmt.Errorf("%w: after: it is no end of a page", ErrAsk)
	}
	return errors.Join(plain("server", f.Server, longestName), plain("tool", f.Tool, longestName), plain("principal", f.PrincipalID, longestName))
}

// feed is how far the database is.
type feed struct {
	change uint64
	now    time.Time
}

func (s *store) feed(ctx context.Context) (f feed, err error) {
	db, err := s.database(ctx)
	if err != nil {
		return f, err
	}
	f.now = s.now()
	statement, into := "SELECT change FROM pim_feed WHERE id = 1", []any{&f.change}
	if db.Dialect() == database.Postgres {
		statement, into = "SELECT change, clock_timestamp() FROM pim_feed WHERE id = 1", append(into, database.ScanTime(&f.now))
	}
	err = s.query(ctx, func(rows *sql.Rows) error { return rows.Scan(into...) }, statement)
	return f, err
}

// changedAfter returns what was changed after a number, in order; a full page may not
// be all.
func (s *store) changedAfter(ctx context.Context, number uint64) (page []row, err error) {
	err = s.query(ctx, scanRows(&page), fmt.Sprintf("SELECT %s FROM pim_requests WHERE change > $1 ORDER BY change LIMIT %d", rowColumns, feedPage), number)
	return page, err
}

// mattering returns all that matters to calls.
func (s *store) mattering(ctx context.Context, now time.Time) (all []row, err error) {
	db, err := s.database(ctx)
	if err != nil {
		return nil, err
	}
	err = s.query(ctx, scanRows(&all), "SELECT "+rowColumns+" FROM pim_requests WHERE matters_until > $1", db.Time(now))
	return all, err
}

// due returns some requests that are past their time.
func (s *store) due(ctx context.Context) (some []Request, err error) {
	now, err := s.clock(ctx)
	if err != nil {
		return nil, err
	}
	db, err := s.database(ctx)
	if err != nil {
		return nil, err
	}
	err = s.query(ctx, func(rows *sql.Rows) error {
		r, err := scanRequest(rows)
		some = append(some, r)
		return err
	}, fmt.Sprintf("SELECT %s FROM pim_requests WHERE matters_until <= $1 AND state IN ('pending', 'approved') ORDER BY matters_until LIMIT %d",
		requestColumns, duePage), db.Time(now))
	return some, err
}

// purge removes some of what has ended long ago, and notices that nobody wants.
func (s *store) purge(ctx context.Context, keep time.Duration) error {
	now, err := s.clock(ctx)
	if err != nil {
		return err
	}
	return s.settle(ctx, func(ctx context.Context, db *database.DB, tx database.Tx) error {
		_, err := tx.ExecContext(ctx, fmt.Sprintf(`DELETE FROM pim_requests WHERE id IN (SELECT id FROM pim_requests
			WHERE until < $1 AND (matters_until IS NULL OR matters_until < $1) AND state NOT IN ('pending', 'approved') LIMIT %d)`, purgePage),
			db.Time(now.Add(-keep)))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM pim_notices WHERE created < $1", db.Time(now.Add(-keepNotices)))
		return err
	})
}
