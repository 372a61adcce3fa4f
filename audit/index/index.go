// Package index makes events searchable; it is never the evidence.
package index

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/sallyport/sallyport/internal/database"
)

// Errors that callers tell apart.
var (
	// ErrMismatch: under a log and sequence number there is another leaf. Either
	// the index or the batch that was to be added is not what was archived; a
	// retry changes nothing.
	ErrMismatch = errors.New("the index holds another event")
	// ErrNotFound: no such event.
	ErrNotFound = errors.New("no such event")
	// ErrQuery: the query asks for something that can't be searched for.
	ErrQuery = errors.New("bad query")
)

// Config says what is kept.
type Config struct {
	// Retention is how long rows are kept, at least 24h; 0: they are kept, until
	// somebody removes them. PostgreSQL removes whole months.
	Retention time.Duration
}

// Validate reports what is wrong.
func (c Config) Validate() error {
	if c.Retention != 0 && c.Retention < 24*time.Hour {
		return fmt.Errorf("retention: %v is less than 24h", c.Retention)
	}
	return nil
}

// Index is the index in a database. It is safe for concurrent use, also by
// several processes on one database.
type Index struct {
	db  *database.DB
	cfg Config

	mu   sync.Mutex        // guards ends
	ends map[string]uint64 // where Size last ended, by log
}

//go:embed migrations
var migrations embed.FS

// Open brings the schema up to date, or checks that it is (database.Config). It
// makes no partitions: see Maintain.
func Open(ctx context.Context, db *database.DB, cfg Config) (*Index, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("audit index: %w", err)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, database.Schema{Owner: "audit_index", Files: files}); err != nil {
		return nil, fmt.Errorf("audit index: %w", err)
	}
	return &Index{db: db, cfg: cfg, ends: make(map[string]uint64)}, nil
}
