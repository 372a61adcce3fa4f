package testenv_test

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sallyport/sallyport/internal/testenv"
)

// TestPostgresKeepsWhatItWrote crashes and stops a server while a client is
// connected.
func TestPostgresKeepsWhatItWrote(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]testenv.PostgresOptions{"port": {}, "socket": {UnixSocket: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testenv.PostgresFor(t, options)
			database, err := server.NewDatabase(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := server.Do(t.Context(), database, "CREATE TABLE a (n int)"); err != nil {
				t.Fatal(err)
			}
			address := server.URL(testenv.PostgresUser, testenv.PostgresPassword, database)
			for want, end := range []string{"kill", "stop", "kill"} {
				connection, err := pgx.Connect(t.Context(), address)
				if err != nil {
					t.Fatal(err)
				}
				defer connection.Close(t.Context())
				if _, err := connection.Exec(t.Context(), "INSERT INTO a VALUES (1)"); err != nil {
					t.Fatal(err)
				}
				if end == "kill" {
					err = server.Kill()
				} else {
					err = server.Stop()
				}
				if err != nil {
					t.Fatal(err)
				}
				if err := connection.Ping(t.Context()); err == nil {
					t.Error("an ended server answers")
				}
				if err := server.Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
				connection, err = pgx.Connect(t.Context(), address)
				if err != nil {
					t.Fatal(err)
				}
				defer connection.Close(t.Context())
				var n int
				if err := connection.QueryRow(t.Context(), "SELECT count(*) FROM a").Scan(&n); err != nil || n != want+1 {
					t.Errorf("after restart %d: %d rows, %v, want %d", want, n, err, want+1)
				}
			}
		})
	}
}

func TestPostgresWantsThePassword(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresFor(t, testenv.PostgresOptions{UnixSocket: true})
	connection, err := pgx.Connect(t.Context(), server.URL(testenv.PostgresUser, "guess", "postgres"))
	if err == nil {
		connection.Close(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), "28P01") { // invalid_password
		t.Errorf("wrong password: %v", err)
	}
}

func TestPostgresReportsWhatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := testenv.StartPostgres(t.Context(), testenv.PostgresOptions{Settings: []string{"no_such_setting = 1"}})
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("got %v, want what PostgreSQL said", err)
	}
}

func TestPostgresIsGoneAfterRemove(t *testing.T) {
	t.Parallel()
	server, err := testenv.StartPostgres(t.Context(), testenv.PostgresOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config, err := pgx.ParseConfig(server.URL("a", "b", "c"))
	if err != nil {
		t.Fatal(err)
	}
	var folder string
	connection, err := pgx.Connect(t.Context(), server.URL(testenv.PostgresUser, testenv.PostgresPassword, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	if err := connection.QueryRow(t.Context(), "SHOW data_directory").Scan(&folder); err != nil {
		t.Fatal(err)
	}
	if err := server.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))); err == nil {
		t.Error("it still listens")
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("its data is still there: %v", err)
	}
}

func TestMissingPostgresNamesItsCommand(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("SALLYPORT_POSTGRES", "/nonexistent/bin")
	if _, err := testenv.PostgresBin(); err == nil || !strings.Contains(err.Error(), "/nonexistent/bin") {
		t.Errorf("SALLYPORT_POSTGRES: got %v", err)
	}
}
