package pim

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/database"
	"github.com/sallyport/sallyport/internal/testenv"
)

// TestRoles does everything as a user with the rights of roles.sql, and tries what
// such a user may not.
func TestRoles(t *testing.T) {
	t.Parallel()
	own := testenv.PostgresFor(t, testenv.PostgresOptions{UnixSocket: true}) // roles belong to the server
	w := &world{T: t, journal: &journal{}, provider: &fakeProvider{}}
	as := func(user, migrations string) database.Config {
		return database.Config{Driver: database.Postgres, URL: own.URL(user, testenv.PostgresPassword, "postgres"), Migrations: migrations, MaxConns: 4}
	}
	w.cfg = as(testenv.PostgresUser, "")
	w.replica()
	script, err := os.ReadFile("roles.sql")
	if err != nil {
		t.Fatal(err)
	}
	if err := own.Do(t.Context(), "postgres", string(script), "CREATE ROLE gateway LOGIN PASSWORD '"+testenv.PostgresPassword+"' IN ROLE sallyport_pim"); err != nil {
		t.Fatal(err)
	}
	w.cfg = as("gateway", database.Check)
	s := w.replica(func(c *Config) {
		c.Notify = func(Request) ([]Notice, error) { return []Notice{{Endpoint: "desk", Body: []byte("{}")}}, nil }
	})
	granted := w.given(s, call(alice, 1))
	if err := s.Spend(t.Context(), granted.ID, alice.PrincipalID, [32]byte{1}, "d"); err != nil {
		t.Error(err)
	}
	due, err := s.Notices().Due(t.Context(), 10, noticeLease)
	if err != nil || len(due) != 3 {
		t.Fatalf("%d notices, %v", len(due), err)
	}
	for _, err := range []error{
		s.Notices().Forget(t.Context(), due[0].ID), s.Notices().Retry(t.Context(), due[1].ID, time.Now()),
		s.lapse(t.Context()), s.askProvider(t.Context()), s.store.purge(t.Context(), time.Hour),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	db := w.open()
	for _, statement := range []string{"DELETE FROM pim_feed", "INSERT INTO pim_version SELECT * FROM pim_version", "DROP TABLE pim_requests", "TRUNCATE pim_requests"} {
		err := db.Change(t.Context(), func(ctx context.Context, tx database.Tx) error {
			_, err := tx.ExecContext(ctx, statement)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "42501") && !strings.Contains(err.Error(), "must be owner") {
			t.Errorf("%s: %v", statement, err)
		}
	}
}
