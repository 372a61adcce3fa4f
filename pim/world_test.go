package pim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/database"
	"github.com/sallyport/sallyport/internal/testenv"
)

// server is shared: each test has a database of its own.
var server *testenv.Postgres

func TestMain(m *testing.M) { os.Exit(testenv.RunWithPostgres(m, &server)) }

// world is a database with the replicas on it, and what they write to.
type world struct {
	*testing.T
	cfg      database.Config
	journal  *journal
	provider *fakeProvider

	mu   sync.Mutex // guards time
	time time.Time  // SQLite's; zero: the clock is real
}

// forEach runs a test on both databases.
func forEach(t *testing.T, test func(w *world)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(&world{
			T: t, journal: &journal{}, time: noon,
			cfg: database.Config{Driver: database.SQLite, File: filepath.Join(t.TempDir(), "pim.db")},
		})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		name, err := server.NewDatabase(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		test(&world{
			T: t, journal: &journal{},
			cfg: database.Config{Driver: database.Postgres, URL: server.URL(testenv.PostgresUser, testenv.PostgresPassword, name), MaxConns: 4},
		})
	})
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.time.IsZero() {
		return time.Now()
	}
	return w.time
}

// pass lets time pass at the database: SQLite's is ours, of PostgreSQL all that it has
// moves into the past.
func (w *world) pass(d time.Duration) {
	w.Helper()
	w.mu.Lock()
	if !w.time.IsZero() {
		w.time = w.time.Add(d)
		w.mu.Unlock()
		return
	}
	w.mu.Unlock()
	w.do("UPDATE pim_feed SET change = change + 100000")
	move := ""
	for _, column := range []string{"requested", "starts", "until", "decided", "ended", "spent", "matters_until", "ask_at"} {
		move += fmt.Sprintf(", %s = %s - make_interval(secs => %f)", column, column, d.Seconds())
	}
	w.do("UPDATE pim_requests SET change = change + 100000" + move)
	w.do(fmt.Sprintf("UPDATE pim_notices SET due = due - make_interval(secs => %f), created = created - make_interval(secs => %f)", d.Seconds(), d.Seconds()))
}

// do runs a statement.
func (w *world) do(statement string) {
	w.Helper()
	err := w.open().Change(w.Context(), func(ctx context.Context, tx database.Tx) error {
		_, err := tx.ExecContext(ctx, statement)
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) open() *database.DB {
	w.Helper()
	db, err := database.Open(w.Context(), w.cfg)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { db.Close() })
	return db
}

// replica is another process on the database; it knows all that is there.
func (w *world) replica(changes ...func(*Config)) *Service {
	w.Helper()
	cfg := Config{
		Open: func(ctx context.Context) (*database.DB, error) { return w.open(), nil }, Journal: w.journal, Now: w.now,
		Log: slog.New(slog.DiscardHandler),
	}
	if w.provider != nil {
		cfg.Provider = w.provider
	}
	for _, change := range changes {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		w.Fatal(err)
	}
	w.poll(s)
	return s
}

// poll lets replicas read everything, as after a start.
func (w *world) poll(all ...*Service) {
	w.Helper()
	for _, s := range all {
		if err := errors.Join(s.poll(w.Context()), s.reload(w.Context())); err != nil {
			w.Fatal(err)
		}
	}
}

var terms = Terms{
	RequireApproval: true, Longest: time.Hour, PendingFor: 30 * time.Minute, ApprovalFor: 10 * time.Minute,
	BreakGlass: true, BreakGlassFor: 15 * time.Minute, ReplayFor: 24 * time.Hour,
}

func elevation(who Party) Ask {
	return Ask{Kind: Elevation, Requester: who, Server: "cars", Tool: "scrap", Reason: "a wreck"}
}

func call(who Party, n byte) Ask {
	return Ask{Kind: Call, Requester: who, Server: "cars", Tool: "scrap", Fingerprint: [32]byte{n}, Call: `{"car":17}`, Reason: "a wreck"}
}

func holder(who Party) Holder { return Holder{who.PrincipalID, "cars", "scrap"} }

func (w *world) ask(s *Service, a Ask) Request {
	w.Helper()
	r, err := s.Request(w.Context(), a, terms)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// given asks, and has it approved by bob.
func (w *world) given(s *Service, a Ask) Request {
	w.Helper()
	r, err := s.Approve(w.Context(), w.ask(s, a).ID, bob, "fine")
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func (w *world) wantError(what string, err, want error) {
	w.Helper()
	if !errors.Is(err, want) {
		w.Errorf("%s: %v, want %v", what, err, want)
	}
}

// wantGrant wants a grant with this id in the view; empty: none.
func (w *world) wantGrant(s *Service, who Party, want string) {
	w.Helper()
	id, _, ok, err := s.View().Grant(holder(who), false, w.now())
	if id != want || ok != (want != "") || err != nil {
		w.Errorf("grant %q, %v, %v, want %q", id, ok, err, want)
	}
}

func (w *world) wantApproval(s *Service, who Party, n byte, want string) {
	w.Helper()
	if id, err := s.View().Approval(holder(who), [32]byte{n}, w.now()); id != want || err != nil {
		w.Errorf("approval %q, %v, want %q", id, err, want)
	}
}

func (w *world) wantState(s *Service, id string, want State) {
	w.Helper()
	if r, err := s.Get(w.Context(), id); err != nil || r.State != want {
		w.Errorf("%s: %s, %v, want %s", id, r.State, err, want)
	}
}

// journal remembers events, as an audit trail that refuses what it is told to.
type journal struct {
	mu     sync.Mutex // guards all below
	refuse func(audit.Class) bool
	events []event
}

type event struct {
	audit.Event
	class audit.Class
}

var errFull = errors.New("the journal is full")

func (j *journal) Append(lines []byte, class audit.Class) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.refuse != nil && j.refuse(class) {
		return errFull
	}
	for line := range bytes.Lines(lines) {
		parsed, err := audit.Parse(line)
		if err != nil || !json.Valid(line) {
			return errors.Join(errors.New("no event: "+string(line)), err)
		}
		j.events = append(j.events, event{Event: *parsed, class: class})
	}
	return nil
}

func (j *journal) refuses(refuse func(audit.Class) bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.refuse = refuse
}

// take returns the events since, and forgets them.
func (j *journal) take() []event {
	j.mu.Lock()
	defer j.mu.Unlock()
	events := j.events
	j.events = nil
	return events
}

// said are events in short.
func said(events []event) (all []string) {
	for _, e := range events {
		all = append(all, e.Action+" "+e.Status)
	}
	return all
}
