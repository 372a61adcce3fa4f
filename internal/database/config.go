package database

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Dialect is the kind of database.
type Dialect string

// The kinds that there are.
const (
	SQLite   Dialect = "sqlite"
	Postgres Dialect = "postgres"
)

// What Config.Migrations may say.
const (
	Apply = "apply"
	Check = "check"
)

// Config says which database to open.
type Config struct {
	// Driver is "sqlite" or "postgres".
	Driver Dialect
	// File is SQLite's file, on a local disk; it is created for its owner alone.
	File string
	// URL is where PostgreSQL is, such as
	// "postgres://user@host/name?sslmode=verify-full". Libpq's environment
	// variables and its key=value form work too. Over a network it must not be
	// left to the server whether there is TLS: sslmode allow and prefer (libpq's
	// default) are refused.
	URL string
	// PasswordFile holds the password of PostgreSQL's user; URL then has none. It
	// is read for each connection, so it may change.
	PasswordFile string
	// MaxConns is how many connections may be open, at most 1000; 0: 8. SQLite
	// has one more, for writing.
	MaxConns int
	// Migrations is "apply" (the default), or "check" for a user of PostgreSQL
	// who may not change the schema: one that isn't up to date is then an error.
	Migrations string
}

const (
	defaultConns, mostConns = 8, 1000
	// defaultTimeout bounds one statement or transaction. Migrations may take longer.
	defaultTimeout = 10 * time.Second
)

// Validate reports everything that is wrong. Errors never hold a password.
func (c Config) Validate() error {
	var errs []error
	add := func(wrong bool, format string, arguments ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, arguments...))
		}
	}
	switch c.Driver {
	case SQLite:
		add(c.File == "", "file: is empty")
		add(strings.HasPrefix(filepath.Base(c.File), ":memory:"), "file: a database in memory can't be shared by connections")
		add(c.URL != "" || c.PasswordFile != "", "url, password_file: are PostgreSQL's")
		add(c.Migrations == Check, "migrations: SQLite has no users who may not apply them")
	case Postgres:
		add(c.File != "", "file: is SQLite's")
		if _, err := c.postgres(); err != nil {
			errs = append(errs, err)
		}
	default:
		add(true, "driver: %q is neither %q nor %q", c.Driver, SQLite, Postgres)
	}
	add(c.MaxConns < 0 || c.MaxConns > mostConns, "max_conns: %d is not within [0, %d]", c.MaxConns, mostConns)
	add(c.Migrations != "" && c.Migrations != Apply && c.Migrations != Check, "migrations: %q is neither %q nor %q", c.Migrations, Apply, Check)
	return errors.Join(errs...)
}

// postgres is what the driver makes of the URL.
func (c Config) postgres() (*pgx.ConnConfig, error) {
	if c.URL == "" {
		return nil, errors.New("url: is empty")
	}
	parsed, err := pgx.ParseConfig(c.URL)
	if err != nil {
		// The driver masks the password where it finds one, which it can't in
		// what it doesn't understand.
		return nil, errors.New("url: want postgres://user@host:port/name?sslmode=verify-full, or key=value pairs")
	}
	if parsed.Password != "" && c.PasswordFile != "" {
		return nil, errors.New("url, password_file: both hold a password")
	}
	plain, encrypted := !local(parsed.Host) && parsed.TLSConfig == nil, parsed.TLSConfig != nil
	for _, other := range parsed.Fallbacks {
		plain = plain || !local(other.Host) && other.TLSConfig == nil
		encrypted = encrypted || other.TLSConfig != nil
	}
	if plain && encrypted {
		return nil, errors.New("url: whether there is TLS is left to the server: say sslmode=verify-full (or disable, if nobody else is on this network)")
	}
	return parsed, nil
}

// local reports whether connections to a host can't leave the machine.
func local(host string) bool {
	address, err := netip.ParseAddr(host)
	return strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || host == "localhost" || err == nil && address.IsLoopback()
}
