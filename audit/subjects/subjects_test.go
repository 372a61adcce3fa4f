package subjects_test

import (
	"bytes"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/audit/subjects"
	"github.com/sallyport/sallyport/internal/database"
	"github.com/sallyport/sallyport/internal/testenv"
)

// server is shared: each test has a database of its own.
var server *testenv.Postgres

func TestMain(m *testing.M) { os.Exit(testenv.RunWithPostgres(m, &server)) }

// world is a database and the replicas on it.
type world struct {
	*testing.T
	cfg  database.Config
	mu   sync.Mutex // guards time
	time time.Time
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.time
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.time = w.time.Add(d)
}

// keyFile writes a new key.
func keyFile(t *testing.T, encode func([]byte) []byte) string {
	t.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	name := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(name, encode(key), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func inBase64(key []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(key) + "\n") }

func load(t *testing.T, files ...string) *subjects.Keys {
	t.Helper()
	keys, err := subjects.LoadKeys(files...)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// replica is one more instance on the database.
func (w *world) replica(keys *subjects.Keys) *subjects.Subjects {
	w.Helper()
	s, err := subjects.Open(w.Context(), w.database(), keys, w.now)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

func (w *world) database() *database.DB {
	w.Helper()
	db, err := database.Open(w.Context(), w.cfg)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { db.Close() })
	return db
}

func (w *world) hide(s *subjects.Subjects, who subjects.Subject, text string) (string, []byte) {
	w.Helper()
	pseudonym, sealed, err := s.Hide(w.Context(), who, []byte(text), []byte("here"))
	if err != nil {
		w.Fatal(err)
	}
	return pseudonym, sealed
}

func (w *world) reveals(s *subjects.Subjects, pseudonym string, sealed []byte, want string) {
	w.Helper()
	got, err := s.Reveal(w.Context(), pseudonym, sealed, []byte("here"))
	if string(got) != want || err != nil {
		w.Errorf("reveals %q, %v, want %q", got, err, want)
	}
}

func (w *world) refuses(s *subjects.Subjects, pseudonym string, sealed []byte, want error) {
	w.Helper()
	if _, err := s.Reveal(w.Context(), pseudonym, sealed, []byte("here")); !errors.Is(err, want) {
		w.Errorf("reveal: %v, want %v", err, want)
	}
}

var ada = subjects.Subject{Issuer: "https://login.example", Subject: "ada.lovelace@acme.example"}

func TestSubjects(t *testing.T) {
	t.Parallel()
	tests := map[string]func(w *world){
		"hide and reveal":               hideAndReveal,
		"replicas agree":                replicasAgree,
		"erase":                         erase,
		"another replica forgets":       otherReplica,
		"changing keys":                 changeKeys,
		"only with the key":             onlyWithTheKey,
		"what is in the database":       nothingInClear,
		"moved or changed is no secret": damaged,
	}
	for name, test := range tests {
		t.Run("sqlite/"+name, func(t *testing.T) {
			t.Parallel()
			test(&world{T: t, time: time.Unix(1_795_000_000, 0), cfg: database.Config{
				Driver: database.SQLite, File: filepath.Join(t.TempDir(), "subjects.db"),
			}})
		})
		t.Run("postgres/"+name, func(t *testing.T) {
			t.Parallel()
			database1, err := server.NewDatabase(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			test(&world{T: t, time: time.Unix(1_795_000_000, 0), cfg: database.Config{
				Driver: database.Postgres, URL: server.URL(testenv.PostgresUser, testenv.PostgresPassword, database1), MaxConns: 3,
			}})
		})
	}
}

func hideAndReveal(w *world) {
	s := w.replica(load(w.T, keyFile(w.T, inBase64)))
	if _, err := s.Find(w.Context(), ada); !errors.Is(err, subjects.ErrUnknown) {
		w.Errorf("find nobody: %v", err)
	}
	pseudonym, sealed := w.hide(s, ada, "ada")
	again, other := w.hide(s, ada, "ada")
	if again != pseudonym || bytes.Equal(sealed, other) {
		w.Errorf("pseudonyms %s, %s; the same bytes: %v", pseudonym, again, bytes.Equal(sealed, other))
	}
	w.reveals(s, pseudonym, sealed, "ada")
	if found, err := s.Find(w.Context(), ada); found != pseudonym || err != nil {
		w.Errorf("find: %s, %v", found, err)
	}
	// Where issuer and name meet must not matter.
	one, _ := w.hide(s, subjects.Subject{Issuer: "ab", Subject: "c"}, "")
	two, _ := w.hide(s, subjects.Subject{Issuer: "a", Subject: "bc"}, "")
	if one == two {
		w.Error("two subjects share a pseudonym")
	}
	w.refuses(s, "p-"+strings.Repeat("0", 32), sealed, subjects.ErrUnknown)
	w.refuses(s, "nobody", sealed, subjects.ErrUnknown)
	if _, _, err := s.Hide(w.Context(), subjects.Subject{Issuer: "a"}, nil, nil); err == nil {
		w.Error("a subject without a name is hidden")
	}
}

// replicasAgree enters the same subjects from four replicas at once, which open
// the empty database at once too.
func replicasAgree(w *world) {
	keys := load(w.T, keyFile(w.T, inBase64))
	const replicas, names = 4, 10
	var seen [replicas][names]string
	var wait sync.WaitGroup
	for r := range replicas {
		wait.Go(func() {
			db, err := database.Open(w.Context(), w.cfg)
			if err != nil {
				w.Error(err)
				return
			}
			defer db.Close()
			s, err := subjects.Open(w.Context(), db, keys, w.now)
			if err != nil {
				w.Error(err)
				return
			}
			for n := range names {
				if seen[r][n], _, err = s.Hide(w.Context(), subjects.Subject{Issuer: "a", Subject: fmt.Sprint(n)}, nil, nil); err != nil {
					w.Error(err)
				}
			}
		})
	}
	wait.Wait()
	for r := range replicas {
		if diff := cmp.Diff(seen[0], seen[r]); diff != "" {
			w.Errorf("replica %d:\n%s", r, diff)
		}
	}
}

func erase(w *world) {
	s := w.replica(load(w.T, keyFile(w.T, inBase64)))
	pseudonym, sealed := w.hide(s, ada, "ada")
	bob, bobs := w.hide(s, subjects.Subject{Issuer: "a", Subject: "bob"}, "bob")
	w.reveals(s, pseudonym, sealed, "ada")
	want := subjects.Erased{Pseudonym: pseudonym, At: w.now().UTC()}
	if got, err := s.Erase(w.Context(), ada); got != want || err != nil {
		w.Errorf("erased %+v, %v, want %+v", got, err, want)
	}
	w.refuses(s, pseudonym, sealed, subjects.ErrErased)
	w.reveals(s, bob, bobs, "bob")
	if got, err := s.Erase(w.Context(), ada); got != (subjects.Erased{}) || err != nil {
		w.Errorf("erased again: %+v, %v", got, err)
	}
	if _, err := s.Find(w.Context(), ada); !errors.Is(err, subjects.ErrUnknown) {
		w.Errorf("find: %v", err)
	}
	if again, _ := w.hide(s, ada, "ada"); again == pseudonym {
		w.Error("who comes back has the old pseudonym")
	}
	w.refuses(s, pseudonym, sealed, subjects.ErrErased)
}

func otherReplica(w *world) {
	keys := load(w.T, keyFile(w.T, inBase64))
	here, there := w.replica(keys), w.replica(keys)
	pseudonym, sealed := w.hide(here, ada, "ada")
	if same, _ := w.hide(there, ada, "ada"); same != pseudonym {
		w.Errorf("pseudonyms %s, %s", pseudonym, same)
	}
	w.reveals(there, pseudonym, sealed, "ada")
	if _, err := here.Erase(w.Context(), ada); err != nil {
		w.Fatal(err)
	}
	w.refuses(here, pseudonym, sealed, subjects.ErrErased)
	w.advance(subjects.CacheTime)
	w.refuses(there, pseudonym, sealed, subjects.ErrErased)
	fresh, _ := w.hide(there, ada, "ada")
	if same, _ := w.hide(here, ada, "ada"); fresh == pseudonym || same != fresh {
		w.Errorf("after the erasure of %s: %s and %s", pseudonym, fresh, same)
	}
}

func changeKeys(w *world) {
	oldFile, newFile := keyFile(w.T, inBase64), keyFile(w.T, func(key []byte) []byte { return key })
	before := w.replica(load(w.T, oldFile))
	pseudonym, sealed := w.hide(before, ada, "ada")
	both := w.replica(load(w.T, newFile, oldFile))
	if same, _ := w.hide(both, ada, "ada"); same != pseudonym {
		w.Errorf("with the new key in front: %s, was %s", same, pseudonym)
	}
	if n, err := both.Rewrap(w.Context()); n != 1 || err != nil {
		w.Errorf("rewrapped %d, %v", n, err)
	}
	if n, err := both.Rewrap(w.Context()); n != 0 || err != nil {
		w.Errorf("rewrapped again: %d, %v", n, err)
	}
	after := w.replica(load(w.T, newFile))
	w.reveals(after, pseudonym, sealed, "ada")
	if _, err := subjects.Open(w.Context(), w.database(), load(w.T, oldFile), w.now); !errors.Is(err, subjects.ErrKeyMissing) {
		w.Errorf("opened with the old key alone: %v", err)
	}
}

// onlyWithTheKey tries to find a known user in a copy of the table: by hashes of
// all that is known, and by another key.
func onlyWithTheKey(w *world) {
	pseudonym, _ := w.hide(w.replica(load(w.T, keyFile(w.T, inBase64))), ada, "ada")
	if _, err := subjects.Open(w.Context(), w.database(), load(w.T, keyFile(w.T, inBase64)), w.now); !errors.Is(err, subjects.ErrKeyMissing) {
		w.Errorf("another key opens it: %v", err)
	}
	var row []byte
	err := w.database().Query(w.Context(), func(rows *sql.Rows) error { return rows.Scan(&row) },
		"SELECT lookup FROM audit_subjects WHERE pseudonym = $1", pseudonym)
	if err != nil {
		w.Fatal(err)
	}
	for name, guess := range guesses(ada) {
		if bytes.Equal(row, guess) {
			w.Errorf("%s finds the subject", name)
		}
	}
}

// nothingInClear reads every byte of the database's files.
func nothingInClear(w *world) {
	s := w.replica(load(w.T, keyFile(w.T, inBase64)))
	pseudonym, _ := w.hide(s, ada, "a secret of ada")
	var wrapped, name []byte
	err := w.database().Query(w.Context(), func(rows *sql.Rows) error { return rows.Scan(&wrapped, &name) },
		"SELECT wrapped, lookup FROM audit_subjects WHERE pseudonym = $1", pseudonym)
	if err != nil {
		w.Fatal(err)
	}
	if w.cfg.Driver == database.SQLite && !inFiles(w, wrapped) {
		w.Error("the wrapped key isn't found before it is erased: the search is wrong")
	}
	if _, err := s.Erase(w.Context(), ada); err != nil {
		w.Fatal(err)
	}
	secrets := map[string][]byte{"issuer": []byte(ada.Issuer), "subject": []byte(ada.Subject), "data": []byte("a secret of ada")}
	if w.cfg.Driver == database.SQLite { // PostgreSQL's WAL has them until it is recycled
		secrets["erased key"], secrets["erased lookup"] = wrapped, name
	}
	for what, secret := range secrets {
		if inFiles(w, secret) {
			w.Errorf("%s is in the database's files", what)
		}
	}
}

func inFiles(w *world, text []byte) bool {
	w.Helper()
	if w.cfg.Driver == database.Postgres {
		var found bool
		hexText := hex.EncodeToString(text)
		err := w.database().Query(w.Context(), func(rows *sql.Rows) error { return rows.Scan(&found) },
			"SELECT count(*) > 0 FROM audit_subjects s WHERE position($1 IN encode(convert_to(s::text, 'UTF8'), 'hex')) > 0 OR position($1 IN s::text) > 0", hexText)
		if err != nil {
			w.Fatal(err)
		}
		return found
	}
	files, err := filepath.Glob(w.cfg.File + "*")
	if err != nil || len(files) == 0 {
		w.Fatal(files, err)
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			w.Fatal(err)
		}
		if bytes.Contains(content, text) {
			return true
		}
	}
	return false
}

func damaged(w *world) {
	s := w.replica(load(w.T, keyFile(w.T, inBase64)))
	pseudonym, sealed := w.hide(s, ada, "ada")
	other, _ := w.hide(s, subjects.Subject{Issuer: "a", Subject: "bob"}, "bob")
	w.refuses(s, other, sealed, subjects.ErrDamaged)
	if _, err := s.Reveal(w.Context(), pseudonym, sealed, []byte("there")); !errors.Is(err, subjects.ErrDamaged) {
		w.Errorf("elsewhere: %v", err)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		w.refuses(s, pseudonym, changed, subjects.ErrDamaged)
		w.refuses(s, pseudonym, sealed[:i], subjects.ErrDamaged)
	}
	w.reveals(s, pseudonym, sealed, "ada")
	if _, _, err := s.Hide(w.Context(), ada, make([]byte, subjects.MaxPlaintext+1), nil); err == nil {
		w.Error("too much is hidden")
	}
}
