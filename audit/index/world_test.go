package index_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/index"
	"github.com/sallyport/sallyport/internal/database"
	"github.com/sallyport/sallyport/internal/testenv"
)

// server is shared: each test has a database of its own.
var server *testenv.Postgres

func TestMain(m *testing.M) { os.Exit(testenv.RunWithPostgres(m, &server)) }

func sqliteConfig(t *testing.T) database.Config {
	return database.Config{Driver: database.SQLite, File: filepath.Join(t.TempDir(), "index.db")}
}

func postgresConfig(t *testing.T) database.Config {
	t.Helper()
	name, err := server.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	url := server.URL(testenv.PostgresUser, testenv.PostgresPassword, name)
	return database.Config{Driver: database.Postgres, URL: url, MaxConns: 4}
}

func open(t *testing.T, cfg database.Config, with index.Config) (*index.Index, *database.DB) {
	t.Helper()
	db, err := database.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	x, err := index.Open(t.Context(), db, with)
	if err != nil {
		t.Fatal(err)
	}
	return x, db
}

// epoch is when the tests' first event is.
var epoch = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

const logA, logB = "acme.example/audit/a-00000001", "acme.example/audit/b-00000002"

// row is event seq of a log, a second after the one before; change may change
// the event.
func row(t *testing.T, log string, seq uint64, change func(event map[string]any)) index.Row {
	t.Helper()
	at := epoch.Add(time.Duration(seq) * time.Second)
	event := map[string]any{
		"event_id": audit.NewID(at), "timestamp": at.Format(time.RFC3339Nano), "event_type": "decision",
		"correlation_id": fmt.Sprint("request-", seq), "user_id": fmt.Sprint("user-", seq%3), "tool_name": "orders.create",
		"action": "call", "status": "allow", "metadata": map[string]any{"reason": "allowed", "n": seq},
		"log": log, "seq": seq,
	}
	if change != nil {
		change(event)
	}
	leaf, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	r, err := index.RowOf(leaf, fmt.Sprintf("audit-logs/batch-%s", log))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func rows(t *testing.T, log string, from, to uint64) (all []index.Row) {
	t.Helper()
	for seq := from; seq < to; seq++ {
		all = append(all, row(t, log, seq, nil))
	}
	return all
}

func add(t *testing.T, x *index.Index, rows ...index.Row) {
	t.Helper()
	if err := x.Add(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
}
