package pim

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/database"
)

//go:embed migrations
var migrations embed.FS

// store keeps requests in a database that may be away, also at the start.
type store struct {
	open   func(context.Context) (*database.DB, error)
	now    func() time.Time
	notify func(Request) ([]Notice, error)

	ready  atomic.Pointer[database.DB]
	turn   chan struct{} // held by who opens; guards opened
	opened *database.DB  // its schema may not be up to date yet

	changing chan struct{} // held by each change
}

// mostChanges is how many changes of one process wait for their turn at the database.
// There they take place one after the other, so more would only take the connections
// that the view is kept fresh through.
const mostChanges = 2

func newStore(open func(context.Context) (*database.DB, error), now func() time.Time, notify func(Request) ([]Notice, error)) *store {
	return &store{open: open, now: now, notify: notify, turn: make(chan struct{}, 1), changing: make(chan struct{}, mostChanges)}
}

// database returns the database, once it could be opened and its schema is up to date.
func (s *store) database(ctx context.Context) (*database.DB, error) {
	if db := s.ready.Load(); db != nil {
		return db, nil
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, unavailable(ctx.Err())
	}
	if db := s.ready.Load(); db != nil {
		return db, nil
	}
	if err := s.prepare(ctx); err != nil {
		return nil, unavailable(err)
	}
	s.ready.Store(s.opened)
	return s.opened, nil
}

func (s *store) prepare(ctx context.Context) error {
	if s.opened == nil {
		db, err := s.open(ctx)
		if err != nil {
			return err
		}
		s.opened = db
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	return s.opened.Migrate(ctx, database.Schema{Owner: "pim", Files: files})
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }

// query is database.DB.Query; an error is an ErrUnavailable.
func (s *store) query(ctx context.Context, scan func(*sql.Rows) error, statement string, arguments ...any) error {
	db, err := s.database(ctx)
	if err != nil {
		return err
	}
	if err := db.Query(ctx, scan, statement, arguments...); err != nil {
		return unavailable(err)
	}
	return nil
}

// clock is the database's time.
func (s *store) clock(ctx context.Context) (now time.Time, err error) {
	db, err := s.database(ctx)
	if err != nil || db.Dialect() == database.SQLite {
		return s.now(), err
	}
	err = s.query(ctx, func(rows *sql.Rows) error { return rows.Scan(database.ScanTime(&now)) }, "SELECT clock_timestamp()")
	return now, err
}

// answered reports whether an error is an answer, not a failure.
func answered(err error) bool {
	if same := (*duplicateError)(nil); errors.As(err, &same) {
		return true
	}
	for _, answer := range [...]error{ErrUnknown, ErrState, ErrSelf, ErrPersonUnknown, ErrDelegated, ErrNotRequester, ErrElsewhere, ErrAsk, ErrTooMany} {
		if errors.Is(err, answer) {
			return true
		}
	}
	return false
}

// change runs one transaction and returns what it has changed. After an error that
// isn't an answer it runs once more: the first may have been committed without our
// hearing of it, so do must bear that.
func (s *store) change(ctx context.Context, do func(context.Context, *batch) error) ([]Request, error) {
	db, err := s.database(ctx)
	if err != nil {
		return nil, err
	}
	select {
	case s.changing <- struct{}{}:
		defer func() { <-s.changing }()
	case <-ctx.Done():
		return nil, unavailable(ctx.Err())
	}
	for try := 1; ; try++ {
		changed, err := s.tryChange(ctx, db, do)
		switch {
		case err == nil || answered(err):
			return changed, err
		case try == 2 || ctx.Err() != nil:
			return nil, unavailable(err)
		}
	}
}

// errUnchanged rolls a transaction back that has nothing to commit.
var errUnchanged = errors.New("nothing to change")

func (s *store) tryChange(ctx context.Context, db *database.DB, do func(context.Context, *batch) error) (changed []Request, err error) {
	err = db.Change(ctx, func(ctx context.Context, tx database.Tx) error {
		b := &batch{tx: tx, db: db, notify: s.notify}
		if err := b.begin(ctx, s.now); err != nil {
			return fmt.Errorf("take turn: %w", err)
		}
		if err := do(ctx, b); err != nil {
			return err
		}
		if len(b.changed) == 0 {
			return errUnchanged
		}
		changed = b.changed
		return b.end(ctx)
	})
	if errors.Is(err, errUnchanged) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return changed, nil
}
