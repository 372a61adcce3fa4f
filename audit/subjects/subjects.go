// Package subjects gives users pseudonyms and forgets them.
//
// Each subject has a random pseudonym and a random key, in a table that can be
// changed, unlike the archive. What is recorded about the subject is encrypted
// under that key before it is hashed, so that its destruction leaves every proof
// whole. Copies live as long as they live: backups of the table must expire
// (within 30 days), and who was given the plaintext has it.
package subjects

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/sallyport/sallyport/internal/database"
)

// Errors that callers tell apart.
var (
	// ErrErased: the key was destroyed; what it sealed is gone.
	ErrErased = errors.New("erased")
	// ErrUnknown: there is no such subject or pseudonym.
	ErrUnknown = errors.New("unknown subject")
	// ErrDamaged: the data isn't what was sealed, or was sealed for another place.
	ErrDamaged = errors.New("can't be decrypted")
	// ErrKeyMissing: no key file has the key that a subject's key is wrapped under.
	ErrKeyMissing = errors.New("no key file holds key")
)

// CacheTime is how long another instance may go on with a subject's key after it
// was erased.
const CacheTime = 60 * time.Second

const (
	cached          = 10_000 // subjects
	pseudonymPrefix = "p-"
	lookupUse       = "lookup"
)

// Subject is whom a token is about.
type Subject struct{ Issuer, Subject string }

// Erased is the proof of an erasure, without a trace of whose it was.
type Erased struct {
	Pseudonym string
	At        time.Time
}

// Subjects is the table of subjects in a database. It is safe for concurrent use,
// also by several processes on one database.
type Subjects struct {
	db        *database.DB
	keys      *Keys
	now       func() time.Time
	lookupKey []byte
	byName    *otter.Cache[string, *subject] // by lookup
	byAlias   *otter.Cache[string, *subject] // by pseudonym
}

// subject is one that isn't erased. It doesn't change.
type subject struct {
	pseudonym string
	key       []byte
	until     time.Time // to be asked for again then
}

//go:embed migrations
var migrations embed.FS

// Open brings the schema up to date, or checks that it is (database.Config). It
// refuses keys that don't belong to the table.
func Open(ctx context.Context, db *database.DB, keys *Keys, now func() time.Time) (*Subjects, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, database.Schema{Owner: "audit_subjects", Files: files}); err != nil {
		return nil, err
	}
	s := &Subjects{db: db, keys: keys, now: now}
	if s.byName, err = otter.New(&otter.Options[string, *subject]{MaximumSize: cached}); err != nil {
		return nil, err
	}
	if s.byAlias, err = otter.New(&otter.Options[string, *subject]{MaximumSize: cached}); err != nil {
		return nil, err
	}
	if s.lookupKey, err = s.loadLookupKey(ctx); err != nil {
		return nil, fmt.Errorf("open subjects: %w", err)
	}
	return s, nil
}

// loadLookupKey makes the key on first use. It stays when key files change, so
// that replicas find the same subjects while they don't agree on the first file.
func (s *Subjects) loadLookupKey(ctx context.Context) ([]byte, error) {
	wrapped, err := s.one(ctx, "SELECT wrapped FROM audit_subjects_lookup WHERE id = 1")
	if errors.Is(err, ErrUnknown) {
		key := newKey()
		err = s.exec(ctx, "INSERT INTO audit_subjects_lookup (id, wrapped) VALUES (1, $1) ON CONFLICT DO NOTHING", s.keys.wrap(key, lookupUse))
		if err == nil { // another replica may have been quicker
			wrapped, err = s.one(ctx, "SELECT wrapped FROM audit_subjects_lookup WHERE id = 1")
		}
	}
	if err != nil {
		return nil, err
	}
	return s.keys.unwrap(wrapped, lookupUse)
}

func newKey() []byte {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // it never fails
	return key
}

// one is a statement's only value; ErrUnknown if there is no row.
func (s *Subjects) one(ctx context.Context, statement string, arguments ...any) (value []byte, err error) {
	found := false
	err = s.db.Query(ctx, func(rows *sql.Rows) error {
		found = true
		return rows.Scan(&value)
	}, statement, arguments...)
	if err == nil && !found {
		err = ErrUnknown
	}
	return value, err
}

func (s *Subjects) exec(ctx context.Context, statement string, arguments ...any) error {
	return s.db.Change(ctx, func(ctx context.Context, tx database.Tx) error {
		_, err := tx.ExecContext(ctx, statement, arguments...)
		return err
	})
}

// Hide encrypts plaintext for the subject, who is entered when new, also by
// several replicas at once. aad says where the result belongs: Reveal needs the
// same. Once in CacheTime for each subject it asks the database; without an
// answer nothing is sealed, and the caller records nothing instead of plaintext.
func (s *Subjects) Hide(ctx context.Context, who Subject, plaintext, aad []byte) (pseudonym string, sealed []byte, err error) {
	found, err := s.enter(ctx, who)
	if err == nil {
		sealed, err = found.seal(plaintext, aad)
	}
	if err != nil {
		return "", nil, fmt.Errorf("hide: %w", err)
	}
	return found.pseudonym, sealed, nil
}

// enter returns the subject, and makes it if there is none.
func (s *Subjects) enter(ctx context.Context, who Subject) (*subject, error) {
	name, err := lookup(s.lookupKey, who)
	if err != nil {
		return nil, err
	}
	if found, ok := s.byName.GetIfPresent(string(name)); ok && s.now().Before(found.until) {
		return found, nil
	}
	const tries = 3 // each but the first because somebody erased it in between
	for try := 1; ; try++ {
		found, err := s.find(ctx, name)
		if !errors.Is(err, ErrUnknown) || try == tries {
			return found, err
		}
		pseudonym := newPseudonym()
		err = s.exec(ctx, "INSERT INTO audit_subjects (pseudonym, lookup, wrapped) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
			pseudonym, name, s.keys.wrap(newKey(), pseudonym))
		if err != nil {
			return nil, err
		}
	}
}

func newPseudonym() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails
	return pseudonymPrefix + hex.EncodeToString(id[:])
}

// find reads a subject from the database by its lookup.
func (s *Subjects) find(ctx context.Context, name []byte) (*subject, error) {
	until := s.now().Add(CacheTime) // from before it is read
	var pseudonym string
	var wrapped []byte
	err := s.db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&pseudonym, &wrapped) },
		"SELECT pseudonym, wrapped FROM audit_subjects WHERE lookup = $1", name)
	if err != nil {
		return nil, err
	}
	if pseudonym == "" {
		return nil, ErrUnknown
	}
	key, err := s.keys.unwrap(wrapped, pseudonym)
	if err != nil {
		return nil, err
	}
	found := &subject{pseudonym: pseudonym, key: key, until: until}
	s.byName.Set(string(name), found)
	return found, nil
}

// Reveal decrypts what Hide made, given the same aad. ErrErased if the subject was
// erased, here at once and elsewhere within CacheTime; ErrUnknown if there is no
// such pseudonym; ErrDamaged if it is not what was sealed there.
func (s *Subjects) Reveal(ctx context.Context, pseudonym string, sealed, aad []byte) ([]byte, error) {
	found, err := s.byPseudonym(ctx, pseudonym)
	if err != nil {
		return nil, fmt.Errorf("reveal: %w", err)
	}
	plaintext, err := found.open(sealed, aad)
	if err != nil {
		return nil, fmt.Errorf("reveal: %w", err)
	}
	return plaintext, nil
}

func (s *Subjects) byPseudonym(ctx context.Context, pseudonym string) (*subject, error) {
	if len(pseudonym) != len(pseudonymPrefix)+32 {
		return nil, ErrUnknown
	}
	if found, ok := s.byAlias.GetIfPresent(pseudonym); ok && s.now().Before(found.until) {
		return found, nil
	}
	until := s.now().Add(CacheTime)
	wrapped, err := s.one(ctx, "SELECT wrapped FROM audit_subjects WHERE pseudonym = $1", pseudonym)
	if err != nil {
		return nil, err
	}
	if wrapped == nil {
		return nil, ErrErased
	}
	key, err := s.keys.unwrap(wrapped, pseudonym)
	if err != nil {
		return nil, err
	}
	found := &subject{pseudonym: pseudonym, key: key, until: until}
	s.byAlias.Set(pseudonym, found)
	return found, nil
}

// Find returns the pseudonym of a subject; ErrUnknown if it has none, or none any
// more.
func (s *Subjects) Find(ctx context.Context, who Subject) (string, error) {
	name, err := lookup(s.lookupKey, who)
	if err != nil {
		return "", fmt.Errorf("find subject: %w", err)
	}
	pseudonym, err := s.one(ctx, "SELECT pseudonym FROM audit_subjects WHERE lookup = $1", name)
	if err != nil {
		return "", fmt.Errorf("find subject: %w", err)
	}
	return string(pseudonym), nil
}
