package authz

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"
)

// Sessions knows who opened the MCP sessions of the revisions that have them. A
// session id is no credential, but an upstream may take it for one (MCP, Security
// Best Practices, "Session Hijacking"). Its methods may be called by many
// goroutines.
type Sessions interface {
	// Owner is the PrincipalID of who opened the session; empty if nobody did.
	Owner(ctx context.Context, server, session string) (string, error)
	// Bind makes a new session the principal's. One that is another principal's
	// already is an error: an upstream that gives out a session twice must not
	// give it away.
	Bind(ctx context.Context, server, session, principal string) error
}

// sessionIdle is how long an unused session stays its opener's. Afterwards it is
// unknown, and its client has to open a new one.
const sessionIdle = 24 * time.Hour

// MemorySessions are the sessions of one process. A restart forgets them. When
// there is no room for another, the ones that were used least are forgotten.
type MemorySessions struct {
	owners *otter.Cache[[2]string, string]
}

// NewMemorySessions returns room for this many sessions.
func NewMemorySessions(sessions int) (*MemorySessions, error) {
	owners, err := otter.New(&otter.Options[[2]string, string]{
		MaximumSize:      sessions,
		ExpiryCalculator: otter.ExpiryAccessing[[2]string, string](sessionIdle),
	})
	if err != nil {
		return nil, fmt.Errorf("create sessions: %w", err)
	}
	return &MemorySessions{owners: owners}, nil
}

// Owner implements Sessions; it never fails.
func (m *MemorySessions) Owner(_ context.Context, server, session string) (string, error) {
	owner, _ := m.owners.GetIfPresent([2]string{server, session})
	return owner, nil
}

// Bind implements Sessions.
func (m *MemorySessions) Bind(_ context.Context, server, session, principal string) error {
	if owner, fresh := m.owners.SetIfAbsent([2]string{server, session}, principal); !fresh && owner != principal {
		return errSessionTaken
	}
	return nil
}

var errSessionTaken = errors.New("the session is another principal's")
