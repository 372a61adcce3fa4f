package main_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport/sallyport/internal/testenv"
)

// TestPostgresAway: no request waits for the database, and the index catches up
// with what it has missed.
func TestPostgresAway(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresFor(t, testenv.PostgresOptions{})
	m := startMesh(t, meshOptions{
		later: true, audit: "  batch_interval: 200ms",
		database: fmt.Sprintf("  driver: postgres\n  url: %s\n  password_file: database-password", server.URL(testenv.PostgresUser, "", "postgres")),
	})
	m.write(t, "sallyport.yaml", strings.Replace(m.read(t, "sallyport.yaml"), "  file: "+m.dir+"/events.db\n", "", 1))
	m.write(t, "database-password", testenv.PostgresPassword)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	m.startSallyport(t)
	m.startEnvoy(t)
	m.some(t, 10)
	eventually(t, 30*time.Second, "the index is known to fail", func() bool { return m.metric(t, `sallyport_audit_failing{part="index"}`) == "1" })
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.indexed(t)
	m.some(t, 5)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	m.some(t, 5)
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	last := m.some(t, 1).header.Get("X-Sallyport-Decision-Id")
	m.indexed(t)
	if output, code := m.audit(t, "show", last); code != 0 || !strings.Contains(output, last) {
		t.Errorf("show: exit code %d: %s", code, output)
	}
	m.verified(t, 42)
}

// indexed waits until everything that was recorded so far can be searched.
func (m *mesh) indexed(t *testing.T) {
	t.Helper()
	eventually(t, 60*time.Second, "everything is indexed", func() bool {
		return m.metric(t, `sallyport_audit_events{stage="indexed"}`) == m.metric(t, `sallyport_audit_events{stage="recorded"}`)
	})
}

// TestDiskFull: no file of the process may grow beyond a size that ends the
// preparation of segments. Requests are refused before the last one is full, and
// allowed again by themselves when there is room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{audit: "  batch_interval: 1m"})
	token := m.token(t, "alice", "vehicles.read")
	read := rest(token, "GET", "/vehicles/V-1001", "")
	client := http2Client(t)
	read.client = client
	m.allowed(t, m.send(t, read), "api")
	limit := func(bytes uint64) {
		t.Helper()
		if err := unix.Prlimit(m.sallyport.PID(), unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil); err != nil {
			t.Fatal(err)
		}
	}
	limit(1 << 20)
	refused := func() bool {
		for range 100 {
			a, err := m.try(t.Context(), read)
			if err != nil && !errors.Is(err, http.ErrServerClosed) {
				t.Fatal(err)
			}
			if a.status == http.StatusServiceUnavailable && refusalOf(a) == "audit.unavailable" {
				return true
			}
		}
		return false
	}
	eventually(t, 90*time.Second, "requests are refused", refused)
	eventually(t, 15*time.Second, "a request that is within its rate limit is refused, and reaches nobody", func() bool {
		a := m.send(t, read)
		if len(m.arrivals(a.mark)) != 0 {
			t.Errorf("without room for its record it reached the upstream: %d %s", a.status, a.body)
		}
		return refusalOf(a) == "audit.unavailable"
	})
	limit(unix.RLIM_INFINITY)
	eventually(t, 15*time.Second, "requests are allowed again", func() bool { return m.send(t, read).status == http.StatusOK })
	if err := m.sallyport.Stop(); err != nil {
		t.Fatal(err)
	}
	m.verified(t, 100)
}
