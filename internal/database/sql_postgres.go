package database

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	maxPassword = 64 << 10 // tokens that serve as passwords are long
	// maxConnLife lets connections find a server that took over, or a new password.
	maxConnLife = 30 * time.Minute
)

func (db *DB) openPostgres(cfg Config) error {
	parsed, err := cfg.postgres()
	if err != nil {
		return err
	}
	parsed.ConnectTimeout = cmp.Or(parsed.ConnectTimeout, db.timeout)
	db.migrations = func() (*sql.DB, error) { return openPool(parsed.Copy(), cfg.PasswordFile, 2), nil }

	bounded := parsed.Copy()
	// The server itself ends what nobody waits for any more.
	milliseconds := strconv.FormatInt(db.timeout.Milliseconds()+1, 10)
	bounded.RuntimeParams["statement_timeout"] = milliseconds
	bounded.RuntimeParams["idle_in_transaction_session_timeout"] = milliseconds
	db.reads = openPool(bounded, cfg.PasswordFile, cmp.Or(cfg.MaxConns, defaultConns))
	db.writes = db.reads
	return nil
}

func openPool(parsed *pgx.ConnConfig, passwordFile string, size int) *sql.DB {
	parsed.RuntimeParams["application_name"] = cmp.Or(parsed.RuntimeParams["application_name"], "sallyport")
	parsed.RuntimeParams["timezone"] = "UTC"
	pool := stdlib.OpenDB(*parsed, stdlib.OptionBeforeConnect(func(_ context.Context, c *pgx.ConnConfig) error {
		if passwordFile == "" {
			return nil
		}
		var err error
		c.Password, err = readPassword(passwordFile)
		return err
	}))
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	pool.SetConnMaxLifetime(maxConnLife)
	return pool
}

// readPassword returns what is in the file, without the line's end.
func readPassword(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("password file: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxPassword+1))
	if err != nil {
		return "", fmt.Errorf("password file: %w", err)
	}
	text = bytes.TrimRight(text, "\r\n")
	if len(text) == 0 || len(text) > maxPassword {
		return "", errors.New("password file: it is empty or too long")
	}
	return string(text), nil
}
