package index_test

import (
	"context"
	"database/sql"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/audit/index"
	"github.com/sallyport/sallyport/internal/database"
	"github.com/sallyport/sallyport/internal/testenv"
)

// TestRoles runs roles.sql and tries what a writer and a reader may do.
func TestRoles(t *testing.T) {
	t.Parallel()
	own := testenv.PostgresFor(t, testenv.PostgresOptions{UnixSocket: true}) // roles belong to the server
	as := func(user, migrations string) (*index.Index, *database.DB) {
		return open(t, database.Config{
			Driver: database.Postgres, URL: own.URL(user, testenv.PostgresPassword, "postgres"), Migrations: migrations, MaxConns: 2,
		}, index.Config{})
	}
	owner, _ := as(testenv.PostgresUser, "")
	if err := owner.Maintain(t.Context(), epoch); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("roles.sql")
	if err != nil {
		t.Fatal(err)
	}
	err = own.Do(t.Context(), "postgres", string(script),
		"CREATE ROLE gateway LOGIN PASSWORD '"+testenv.PostgresPassword+"' IN ROLE sallyport_audit_writer",
		"CREATE ROLE auditor LOGIN PASSWORD '"+testenv.PostgresPassword+"' IN ROLE sallyport_audit_reader")
	if err != nil {
		t.Fatal(err)
	}

	writer, writerDB := as("gateway", database.Check)
	all := rows(t, logA, 0, 3)
	add(t, writer, all...)
	add(t, writer, append(all, rows(t, logA, 5, 6)...)...)
	expectSize(t, writer, logA, 3)
	expectGaps(t, writer, index.Range{From: 3, To: 5})
	if _, err := writer.Logs(t.Context()); err != nil {
		t.Errorf("the writer can't see its logs: %v", err)
	}
	reader, readerDB := as("auditor", database.Check)
	if got, err := reader.Get(t.Context(), all[1].EventID); err != nil || got.UserID != all[1].UserID {
		t.Errorf("the reader gets %+v, %v", got, err)
	}

	partition := "audit_index_events_y2026m11"
	for _, test := range []struct {
		who       *database.DB
		statement string
	}{
		{writerDB, "SELECT payload FROM audit_index_events"}, {writerDB, "SELECT user_id FROM audit_index_events"},
		{writerDB, "SELECT count(*) FROM audit_index_events WHERE user_id = 'user-1'"}, {writerDB, "SELECT * FROM " + partition},
		{writerDB, "UPDATE audit_index_events SET status = 'allow'"}, {writerDB, "DELETE FROM audit_index_events"},
		{writerDB, "INSERT INTO audit_index_events SELECT * FROM audit_index_events ON CONFLICT (log, seq, time) DO UPDATE SET status = 'x'"},
		{writerDB, "TRUNCATE audit_index_events"}, {writerDB, "DROP TABLE " + partition}, {writerDB, "DELETE FROM " + partition},
		{writerDB, "INSERT INTO audit_index_expired VALUES ('a', 0, 9)"}, {writerDB, "DELETE FROM audit_index_version"},
		{readerDB, "INSERT INTO audit_index_expired VALUES ('a', 0, 9)"}, {readerDB, "DELETE FROM audit_index_events"},
		{readerDB, "UPDATE audit_index_events SET status = 'allow'"},
	} {
		err := test.who.Change(t.Context(), func(ctx context.Context, tx database.Tx) error {
			_, err := tx.ExecContext(ctx, test.statement)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "42501") && !strings.Contains(err.Error(), "must be owner") { // insufficient_privilege
			t.Errorf("%s: %v", test.statement, err)
		}
	}
	for name, err := range map[string]error{"reset": writer.Reset(t.Context(), logA), "maintain": writer.Maintain(t.Context(), epoch.AddDate(1, 0, 0))} {
		if err == nil {
			t.Errorf("the writer may %s", name)
		}
	}
}

// TestKilledWhileAdding kills PostgreSQL in the middle of batches. After the
// retries everything is there once.
func TestKilledWhileAdding(t *testing.T) {
	t.Parallel()
	own := testenv.PostgresFor(t, testenv.PostgresOptions{})
	x, db := open(t, database.Config{
		Driver: database.Postgres, URL: own.URL(testenv.PostgresUser, testenv.PostgresPassword, "postgres"), MaxConns: 2,
	}, index.Config{})
	const batch, batches, kills = 200, 60, 3
	progress := make(chan int) // batches that were added
	failures := make(chan int, 1)
	var down sync.RWMutex // held for writing while the server is away
	go func() {
		defer close(progress)
		failed := 0
		for n := range batches {
			all := rows(t, logA, uint64(n*batch), uint64((n+1)*batch))
			for x.Add(t.Context(), all) != nil {
				failed++
				if t.Context().Err() != nil {
					return
				}
				down.RLock()   // await its return
				down.RUnlock() //nolint:staticcheck // nothing else is to be done
			}
			progress <- n
		}
		failures <- failed
	}()
	killed := 0
	for n := range progress {
		if n%15 == 10 && killed < kills {
			killed++
			down.Lock()
			if err := own.Kill(); err != nil { // while the next batch is on its way
				down.Unlock()
				t.Fatal(err)
			}
			err := own.Restart(t.Context())
			down.Unlock()
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if failed := <-failures; failed == 0 || killed != kills {
		t.Errorf("%d kills, %d calls failed: nothing was interrupted", killed, failed)
	}
	expectSize(t, x, logA, batch*batches)
	expectGaps(t, x)
	var all, distinct int
	err := db.Query(t.Context(), func(r *sql.Rows) error { return r.Scan(&all, &distinct) },
		"SELECT count(*), count(DISTINCT leaf_hash) FROM audit_index_events")
	if all != batch*batches || distinct != all || err != nil {
		t.Errorf("%d rows, %d different, %v, want %d", all, distinct, err, batch*batches)
	}
}

// TestPartitions sees rows move out of the default partition, and old months go.
func TestPartitions(t *testing.T) {
	t.Parallel()
	x, db := open(t, postgresConfig(t), index.Config{})
	add(t, x, rows(t, logA, 0, 3)...)
	partitions := func() map[string]int {
		t.Helper()
		found := make(map[string]int)
		err := db.Query(t.Context(), func(r *sql.Rows) error {
			var name string
			var n int
			err := r.Scan(&name, &n)
			found[strings.TrimPrefix(name, "audit_index_events_")] = n
			return err
		}, "SELECT tableoid::regclass::text, count(*) FROM audit_index_events GROUP BY 1")
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if diff := cmp.Diff(map[string]int{"default": 3}, partitions()); diff != "" {
		t.Errorf("before (-want +got):\n%s", diff)
	}
	if err := x.Maintain(t.Context(), epoch); err != nil {
		t.Fatal(err)
	}
	add(t, x, rows(t, logA, 3, 4)...)
	if diff := cmp.Diff(map[string]int{"y2026m11": 4}, partitions()); diff != "" {
		t.Errorf("after (-want +got):\n%s", diff)
	}
	expectSize(t, x, logA, 4)
}
