package database

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"modernc.org/sqlite"
)

func (db *DB) openSQLite(cfg Config) error {
	name, err := filepath.Abs(cfg.File)
	if err != nil {
		return err
	}
	// SQLite would let the group and others read it, and the files beside it.
	// A file that is there isn't opened: closing it would end all locks that this
	// process has on it.
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = file.Close()
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	options := url.Values{
		// synchronous FULL: what was committed survives the machine's crash.
		// secure_delete: what is deleted is overwritten, for it may be a key.
		// cache_size: 64 MiB for the one connection that writes, so that indexes in no
		// order of time needn't be read again for each row.
		"_pragma":       {"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "secure_delete(1)", "cache_size(-65536)", "wal_autocheckpoint(8192)"},
		"_busy_timeout": {strconv.FormatInt(db.timeout.Milliseconds(), 10)},
		// A transaction that reads first and then writes could not wait for its turn.
		"_txlock": {"immediate"},
	}
	if db.writes, err = openFile(name, options, 1); err != nil {
		return err
	}
	db.migrations = func() (*sql.DB, error) { return openFile(name, options, 1) }
	readOnly := url.Values{"_query_only": {"1"}, "_txlock": {"deferred"}, "_busy_timeout": options["_busy_timeout"]}
	db.reads, err = openFile(name, readOnly, cmp.Or(cfg.MaxConns, defaultConns))
	return err
}

func openFile(name string, options url.Values, size int) (*sql.DB, error) {
	address := url.URL{Scheme: "file", Path: name, RawQuery: options.Encode()}
	connector, err := sqlite.NewConnector(address.String())
	if err != nil {
		return nil, fmt.Errorf("options of the database: %w", err)
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	return pool, nil
}
