package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/sallyport/sallyport/internal/database"
	"github.com/sallyport/sallyport/settings"
)

// sharedDatabase is what the audit index, the subjects, and elevations are kept in.
// It is opened when it is first needed and tried again until that succeeds.
type sharedDatabase struct {
	cfg *settings.Config

	mu sync.Mutex // guards db
	db *database.DB
}

// newSharedDatabase refuses at once what no waiting would make right.
func newSharedDatabase(cfg *settings.Config) (*sharedDatabase, error) {
	if err := databaseConfig(cfg).Validate(); err != nil {
		return nil, invalid(fmt.Errorf("database: %w", err))
	}
	return &sharedDatabase{cfg: cfg}, nil
}

func (s *sharedDatabase) open(ctx context.Context) (*database.DB, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db != nil {
		return s.db, nil
	}
	db, err := database.Open(ctx, databaseConfig(s.cfg))
	if err == nil {
		s.db = db
	}
	return db, err
}

func (s *sharedDatabase) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return nil
	}
	return s.db.Close()
}

func databaseConfig(cfg *settings.Config) database.Config {
	d := &cfg.Database
	c := database.Config{Driver: database.Dialect(d.Driver), MaxConns: d.MaxConnections}
	if c.Driver == database.Postgres {
		c.URL, c.PasswordFile, c.Migrations = d.URL, d.PasswordFile, d.Migrations
	} else {
		c.File = d.File
	}
	return c
}
