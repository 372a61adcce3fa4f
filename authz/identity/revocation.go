package identity

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

// RevocationList says which tokens are refused although they are valid: what a
// file lists (ReloadFile) and what a feed does (RedisRevocations.Follow), where
// there is one. It is empty at first. Lookups take no lock and allocate nothing;
// it is safe for concurrent use.
type RevocationList struct {
	now     func() time.Time
	current atomic.Pointer[map[revoked]revocation] // of the file
	feed    atomic.Pointer[revocationFeed]         // nil: none is followed
}

// revocationFeed is what a feed said when it was last read. It is immutable.
type revocationFeed struct {
	list map[revoked]revocation
	read time.Time // when it was asked; zero: it never answered
}

// feedStale is how old the answer of a feed may not be.
const feedStale = 2 * time.Second

// The causes of Revoked. Each names a row of the table of reasons.
const (
	TokenRevoked     = "revoked"
	RevocationsStale = "unavailable" // what the feed says now is not known: 503
)

// revoked is what a revocation names: one claim's value at one issuer.
type revoked struct {
	issuer string // configured name
	kind   string // one of the kinds
	value  string
}

// The kinds of revocations, as the file names them.
const (
	revokedTokenID = "token_id"
	revokedSubject = "subject"
	revokedClient  = "client"
	revokedSession = "session"
)

// revocation says for which tokens and how long.
type revocation struct {
	line         int       // of the file, from 1; 0 in a feed
	until        time.Time // zero: for good
	issuedBefore time.Time // zero: whenever the token was issued
}

// NewRevocationList returns an empty list.
func NewRevocationList(now func() time.Time) *RevocationList {
	return &RevocationList{now: now}
}

// Revoked reports why the principal is refused; the cause is empty if it isn't.
// A revoked subject may not act for another one either (RFC 8693 act.sub). With
// a feed that wasn't read for two seconds, everybody is refused.
func (l *RevocationList) Revoked(p *Principal) (cause, detail string) {
	if list := l.current.Load(); list != nil && len(*list) > 0 {
		if detail := covering(*list, p, l.now()); detail != "" {
			return TokenRevoked, detail
		}
	}
	feed := l.feed.Load()
	if feed == nil {
		return "", ""
	}
	now := l.now()
	if len(feed.list) > 0 {
		if detail := covering(feed.list, p, now); detail != "" {
			return TokenRevoked, detail
		}
	}
	if now.Sub(feed.read) >= feedStale {
		return RevocationsStale, "Try again in a moment."
	}
	return "", ""
}

// covering says by what a list covers the principal.
func covering(list map[revoked]revocation, p *Principal, now time.Time) (detail string) {
	for _, c := range [...]struct{ kind, value, detail string }{
		{revokedTokenID, p.TokenID, "The token itself is revoked."},
		{revokedSubject, p.Subject, "The token's subject is revoked."},
		{revokedSubject, p.Actor, "The token's actor is revoked."},
		{revokedClient, p.Client, "The token's client is revoked."},
		{revokedSession, p.SessionID, "The token's session is revoked."},
	} {
		if c.value == "" {
			continue
		}
		r, listed := list[revoked{issuer: p.Issuer, kind: c.kind, value: c.value}]
		if listed && r.covers(p.IssuedAt, now) {
			return c.detail
		}
	}
	return ""
}

// Use replaces what the file said; nil empties it.
func (l *RevocationList) Use(file *RevocationFile) {
	if file == nil {
		l.current.Store(nil)
		return
	}
	l.current.Store(&file.list)
}

// RevocationFile is a file that was read and is right.
type RevocationFile struct{ list map[revoked]revocation }

// Issuers lists the names of the issuers that the file speaks of, sorted. A name
// that isn't configured revokes nothing.
func (f *RevocationFile) Issuers() []string {
	names := make(map[string]bool)
	for r := range f.list {
		names[r.issuer] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func (r *revocation) covers(issued, now time.Time) bool {
	return (r.until.IsZero() || now.Before(r.until)) &&
		(r.issuedBefore.IsZero() || issued.Before(r.issuedBefore))
}

// ReadRevocations reads a file in YAML or JSON:
//
//	version: 1
//	revocations:
//	  - issuer: corp                         # the issuer's configured name
//	    subject: 7d0e…                       # or token_id, client, session: exactly one
//	    issued_before: 2026-03-01T09:30:00Z  # optional: later tokens are good
//	    until: 2026-03-08T00:00:00Z          # optional: no longer revoked from then on
//
// Times are RFC 3339. A file that isn't exactly like that is refused with every
// mistake and its line.
func ReadRevocations(path string) (*RevocationFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("revocations: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRevocationBytes+1))
	if err != nil {
		return nil, fmt.Errorf("revocations: %w", err)
	}
	list, errs := parseRevocations(data)
	for i := range errs {
		errs[i] = fmt.Errorf("%s:%w", path, errs[i])
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &RevocationFile{list}, nil
}

// ReloadFile replaces what the file said by what it says now. On an error the old
// list stays.
func (l *RevocationList) ReloadFile(path string) error {
	file, err := ReadRevocations(path)
	if err == nil {
		l.Use(file)
	}
	return err
}
