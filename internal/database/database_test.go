package database_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sallyport/sallyport/internal/database"
	"github.com/sallyport/sallyport/internal/testenv"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

// schema has n migrations; the second one would fail if it were applied twice.
func schema(owner string, n int) database.Schema {
	files := fstest.MapFS{}
	for _, dialect := range []string{"sqlite", "postgres"} {
		files[dialect+"/00001_a.sql"] = file("-- +goose Up\nCREATE TABLE " + owner + "_a (n bigint, at " + map[string]string{"sqlite": "integer", "postgres": "timestamptz"}[dialect] + ");\n")
		if n > 1 {
			files[dialect+"/00002_b.sql"] = file("-- +goose Up\nALTER TABLE " + owner + "_a ADD COLUMN m bigint;\n")
		}
	}
	return database.Schema{Owner: owner, Files: files}
}

func open(t *testing.T, cfg database.Config) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func count(t *testing.T, db *database.DB, statement string) (n int) {
	t.Helper()
	if err := db.Query(t.Context(), func(rows *sql.Rows) error { return rows.Scan(&n) }, statement); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDatabase(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresFor(t, testenv.PostgresOptions{})
	passwordFile := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(passwordFile, []byte(testenv.PostgresPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	configs := map[string]func() database.Config{
		"sqlite": func() database.Config {
			return database.Config{Driver: database.SQLite, File: filepath.Join(t.TempDir(), "a ?%.db")}
		},
		"postgres": func() database.Config {
			name, err := server.NewDatabase(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return database.Config{Driver: database.Postgres, URL: server.URL(testenv.PostgresUser, "", name), PasswordFile: passwordFile, MaxConns: 3}
		},
	}
	tests := map[string]func(t *testing.T, cfg database.Config){
		"migrations of two owners": twoOwners, "replicas migrate once": replicas, "changes": changes, "deadline": deadline, "times": times,
	}
	for kind, config := range configs {
		for name, test := range tests {
			t.Run(kind+"/"+name, func(t *testing.T) { test(t, config()) })
		}
	}
	t.Run("check", func(t *testing.T) { check(t, configs["postgres"]()) })
	t.Run("wrong password", func(t *testing.T) {
		cfg := configs["postgres"]()
		cfg.PasswordFile = filepath.Join(t.TempDir(), "guess")
		if err := os.WriteFile(cfg.PasswordFile, []byte("hunter2"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := database.Open(t.Context(), cfg); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want an error without the password", err)
		}
	})
}

func twoOwners(t *testing.T, cfg database.Config) {
	db := open(t, cfg)
	for _, s := range []database.Schema{schema("one", 1), schema("two", 2), schema("one", 2), schema("one", 2)} {
		if err := db.Migrate(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, db, "SELECT count(m) FROM one_a") + count(t, db, "SELECT count(m) FROM two_a"); n != 0 {
		t.Errorf("%d rows", n)
	}
	// An older release on a newer schema works on.
	if err := db.Migrate(t.Context(), schema("one", 1)); err != nil {
		t.Errorf("older release: %v", err)
	}
	if err := db.Migrate(t.Context(), database.Schema{Owner: "a; DROP TABLE b", Files: schema("one", 1).Files}); err == nil {
		t.Error("a name that is none is accepted")
	}
}

func replicas(t *testing.T, cfg database.Config) {
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			db, err := database.Open(t.Context(), cfg)
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			if err := db.Migrate(t.Context(), schema("one", 2)); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if n := count(t, open(t, cfg), "SELECT count(*) FROM one_version WHERE version_id > 0"); n != 2 {
		t.Errorf("%d migrations were applied, want 2", n)
	}
}

func changes(t *testing.T, cfg database.Config) {
	db := open(t, cfg)
	if err := db.Migrate(t.Context(), schema("one", 1)); err != nil {
		t.Fatal(err)
	}
	insert := func(answer error) error {
		return db.Change(t.Context(), func(ctx context.Context, tx database.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO one_a (n) VALUES ($1)", 1)
			return errors.Join(err, answer)
		})
	}
	refused := errors.New("no")
	if err := insert(refused); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
	if n := count(t, db, "SELECT count(*) FROM one_a"); n != 0 {
		t.Errorf("%d rows of a change that failed", n)
	}
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if err := insert(nil); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if n := count(t, db, "SELECT count(*) FROM one_a"); n != 20 {
		t.Errorf("%d rows, want 20", n)
	}
}

// deadline runs what would take forever.
func deadline(t *testing.T, cfg database.Config) {
	db, err := database.OpenWithin(t.Context(), cfg, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Query(t.Context(), func(*sql.Rows) error { return nil },
		"WITH RECURSIVE forever(n) AS (SELECT 1 UNION ALL SELECT 1 FROM forever) SELECT count(*) FROM forever")
	if err == nil {
		t.Error("it ended")
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func times(t *testing.T, cfg database.Config) {
	db := open(t, cfg)
	if err := db.Migrate(t.Context(), schema("one", 1)); err != nil {
		t.Fatal(err)
	}
	for n, want := range []time.Time{
		time.Date(2026, 11, 3, 12, 0, 0, 123_456_789, time.FixedZone("x", 3600)), time.Unix(0, 0), time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
	} {
		err := db.Change(t.Context(), func(ctx context.Context, tx database.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO one_a (n, at) VALUES ($1, $2)", n, db.Time(want))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var got time.Time
		err = db.Query(t.Context(), func(rows *sql.Rows) error { return rows.Scan(database.ScanTime(&got)) }, fmt.Sprint("SELECT at FROM one_a WHERE n = ", n))
		if err != nil || got != want.UTC().Truncate(time.Microsecond) {
			t.Errorf("%v came back as %v, %v", want, got, err)
		}
	}
}

func check(t *testing.T, cfg database.Config) {
	applying, checking := open(t, cfg), cfg
	checking.Migrations = database.Check
	for n := range 3 {
		err := open(t, checking).Migrate(t.Context(), schema("one", 2))
		if current := n == 2; errors.Is(err, database.ErrSchema) == current || (err == nil) != current {
			t.Errorf("after %d of 2 migrations: %v", n, err)
		}
		if err := applying.Migrate(t.Context(), schema("one", n+1)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSQLiteFileIsItsOwners(t *testing.T) {
	t.Parallel()
	cfg := database.Config{Driver: database.SQLite, File: filepath.Join(t.TempDir(), "a.db")}
	db := open(t, cfg)
	if err := db.Migrate(t.Context(), schema("one", 1)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(cfg.File + "*")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", filepath.Base(name), info.Mode(), err)
		}
	}
	err = db.Query(t.Context(), func(*sql.Rows) error { return nil }, "INSERT INTO one_a (n) VALUES (1) RETURNING n")
	if err == nil {
		t.Error("a query may write")
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	postgres := func(url string) database.Config { return database.Config{Driver: database.Postgres, URL: url} }
	good := map[string]database.Config{
		"sqlite": {Driver: database.SQLite, File: "a.db"}, "verify-full": postgres("postgres://u@db.example/n?sslmode=verify-full"),
		"disable": postgres("postgres://u@db.example/n?sslmode=disable"), "loopback": postgres("postgres://u@127.0.0.1/n"), "socket": postgres("host=/run/postgresql user=u"),
	}
	for name, cfg := range good {
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := map[string]database.Config{
		"driver": {Driver: "mysql"}, "empty": {}, "no file": {Driver: database.SQLite}, "memory": {Driver: database.SQLite, File: ":memory:"},
		"both": {Driver: database.SQLite, File: "a", URL: "b"}, "sqlite check": {Driver: database.SQLite, File: "a", Migrations: database.Check},
		"no url": postgres(""), "bad url": postgres("postgres://u:hunter2@h:port/n"), "prefer": postgres("postgres://u@db.example/n"),
		"allow": postgres("postgres://u@db.example/n?sslmode=allow"), "second host": postgres("postgres://u@localhost,db.example/n?sslmode=prefer"),
		"two passwords": {Driver: database.Postgres, URL: "postgres://u:hunter2@localhost/n", PasswordFile: "f"},
		"conns":         {Driver: database.SQLite, File: "a", MaxConns: -1},
		"migrations":    {Driver: database.Postgres, URL: "postgres://u@localhost/n", Migrations: "never"},
	}
	for name, cfg := range bad {
		if err := cfg.Validate(); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want an error without the password", name, err)
		}
	}
}
