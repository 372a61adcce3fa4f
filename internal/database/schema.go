package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"regexp"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// ErrSchema says that the schema isn't what the program needs and that it may not
// change it.
var ErrSchema = errors.New("the schema is not up to date: let its owner apply the migrations")

// Schema is what one package keeps in the database. Packages share a database
// without knowing of each other: each has its own folder of migrations, and a
// table that says which of them were applied.
type Schema struct {
	// Owner is the package's name for it: lower-case letters and "_". Its tables
	// begin with it, and so does the one of its versions: Owner + "_version".
	Owner string
	// Files has the folders "postgres" and "sqlite" with NNNNN_name.sql files, as
	// goose reads them. What was released is never changed, and each step leaves
	// a schema that the release before can still work on.
	Files fs.FS
}

var ownerName = regexp.MustCompile(`^[a-z][a-z_]{0,40}$`)

// Migrate applies the migrations that are missing, or with Config.Migrations
// "check" returns ErrSchema if some are. Replicas that start together apply each
// once; the others wait.
func (db *DB) Migrate(ctx context.Context, schema Schema) error {
	if err := db.migrate(ctx, schema); err != nil {
		return fmt.Errorf("schema %s: %w", schema.Owner, err)
	}
	return nil
}

func (db *DB) migrate(ctx context.Context, schema Schema) error {
	if !ownerName.MatchString(schema.Owner) {
		return errors.New("the owner's name is no name")
	}
	files, err := fs.Sub(schema.Files, string(db.dialect))
	if err != nil {
		return err
	}
	pool, err := db.migrations()
	if err != nil {
		return err
	}
	defer pool.Close() //nolint:errcheck // all work is committed
	provider, err := db.provider(pool, files, schema.Owner+"_version")
	if err != nil {
		return err
	}
	if db.check {
		return db.upToDate(ctx, provider, schema.Owner+"_version")
	}
	// SQLite has no lock for this: the loser of a race finds what the winner has
	// done, and may find nothing left to do.
	const tries = 3
	for try := 1; ; try++ {
		_, err := provider.Up(ctx)
		if err == nil || db.dialect == Postgres || try == tries || ctx.Err() != nil {
			return err
		}
	}
}

func (db *DB) provider(pool *sql.DB, files fs.FS, table string) (*goose.Provider, error) {
	options := []goose.ProviderOption{goose.WithTableName(table), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger())}
	if db.dialect == SQLite {
		return goose.NewProvider(goose.DialectSQLite3, pool, files, options...)
	}
	const everySecond, fiveMinutes = 1, 300
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(everySecond, fiveMinutes))
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, pool, files, append(options, goose.WithSessionLocker(locker))...)
}

// upToDate needs the right to read the table of versions and no other.
func (db *DB) upToDate(ctx context.Context, provider *goose.Provider, table string) error {
	var current, want int64
	for _, source := range provider.ListSources() {
		want = max(want, source.Version)
	}
	err := db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&current) },
		"SELECT coalesce(max(version_id), 0) FROM "+table+" WHERE is_applied")
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrSchema, err)
	}
	if current < want {
		return fmt.Errorf("%w: it has version %d of %d", ErrSchema, current, want)
	}
	return nil
}
