// Package database opens PostgreSQL or SQLite through database/sql and keeps the
// schema up to date.
package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// DB is an open database. It is safe for concurrent use.
type DB struct {
	dialect Dialect
	timeout time.Duration
	check   bool // the schema may not be changed
	reads   *sql.DB
	writes  *sql.DB // of SQLite one connection, of PostgreSQL the same as reads
	// migrations opens a pool without deadlines.
	migrations func() (*sql.DB, error)
}

// Open opens a database that must be there and answer; SQLite's file is created.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	return open(ctx, cfg, defaultTimeout)
}

func open(ctx context.Context, cfg Config, timeout time.Duration) (*DB, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	db := &DB{dialect: cfg.Driver, timeout: timeout, check: cfg.Migrations == Check}
	connect := db.openPostgres
	if cfg.Driver == SQLite {
		connect = db.openSQLite
	}
	if err := connect(cfg); err != nil {
		return nil, fmt.Errorf("open %s: %w", cfg.Driver, err)
	}
	if err := db.Ping(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Dialect says which kind of database it is.
func (db *DB) Dialect() Dialect { return db.dialect }

// Ping returns nil if the database answers and can be used.
func (db *DB) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, db.timeout)
	defer cancel()
	for _, pool := range []*sql.DB{db.writes, db.reads} { // SQLite's writer first: it makes the file
		if err := pool.PingContext(ctx); err != nil {
			return fmt.Errorf("ping %s: %w", db.dialect, err)
		}
	}
	return nil
}

// Query runs a statement that changes nothing and calls scan for each row. It
// ends after ten seconds.
func (db *DB) Query(ctx context.Context, scan func(*sql.Rows) error, statement string, arguments ...any) error {
	ctx, cancel := context.WithTimeout(ctx, db.timeout)
	defer cancel()
	return query(ctx, db.reads, scan, statement, arguments...)
}

// querier is a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func query(ctx context.Context, from querier, scan func(*sql.Rows) error, statement string, arguments ...any) error {
	rows, err := from.QueryContext(ctx, statement, arguments...)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // Err says what went wrong
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Tx is a transaction.
type Tx struct{ *sql.Tx }

// Query is DB.Query within the transaction.
func (tx Tx) Query(ctx context.Context, scan func(*sql.Rows) error, statement string, arguments ...any) error {
	return query(ctx, tx, scan, statement, arguments...)
}

// Change runs do in one transaction, with the configured deadline: all of it
// takes effect if the answer is nil. After another answer nothing has, unless
// the connection broke while it was committed: then nobody knows, so do must
// bear to be repeated. SQLite runs one at a time.
func (db *DB) Change(ctx context.Context, do func(ctx context.Context, tx Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, db.timeout)
	defer cancel()
	return change(ctx, db.writes, do)
}

func change(ctx context.Context, pool *sql.DB, do func(ctx context.Context, tx Tx) error) error {
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := do(ctx, Tx{tx}); err != nil {
		return errors.Join(err, ignore(tx.Rollback(), sql.ErrTxDone)) // it is done when ctx has ended
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

func ignore(err, harmless error) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}

// Close closes all connections.
func (db *DB) Close() error {
	if db.reads == db.writes {
		return db.reads.Close()
	}
	return errors.Join(db.reads.Close(), db.writes.Close()) // the writer last: it checkpoints the WAL
}

// Scrub removes from the database's own files what was deleted from a table or
// changed in it. Backups, replicas and PostgreSQL's WAL have it until they expire.
func (db *DB) Scrub(ctx context.Context, table string) error {
	if db.dialect == Postgres {
		_, err := db.writes.ExecContext(ctx, "VACUUM "+table) // a name of ours
		return err
	}
	// The table itself was overwritten (secure_delete); the write-ahead log still
	// has it.
	var busy, pages, moved int
	ctx, cancel := context.WithTimeout(ctx, db.timeout)
	defer cancel()
	if err := db.writes.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &moved); err != nil {
		return err
	}
	if busy != 0 {
		return errors.New("somebody reads from the write-ahead log")
	}
	return nil
}

// ChangeSlowly is Change for an owner's chores: it ends with ctx only.
func (db *DB) ChangeSlowly(ctx context.Context, do func(ctx context.Context, tx Tx) error) error {
	pool, err := db.migrations()
	if err != nil {
		return err
	}
	defer pool.Close() //nolint:errcheck // all work is committed
	return change(ctx, pool, do)
}
