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

// RevocationList says which tokens are refused although they are valid. It is
// empty until ReloadFile. Lookups take no lock and allocate nothing; it is safe
// for concurrent use.
type RevocationList struct {
	now     func() time.Time
	current atomic.Pointer[map[revoked]revocation]
}

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
	line         int       // of the file, from 1
	until        time.Time // zero: for good
	issuedBefore time.Time // zero: whenever the token was issued
}

// NewRevocationList returns an empty list.
func NewRevocationList(now func() time.Time) *RevocationList {
	return &RevocationList{now: now}
}

// Revoked reports whether the list covers the principal, and by what. A revoked
// subject may not act for another one either (RFC 8693 act.sub).
func (l *RevocationList) Revoked(p *Principal) (detail string, yes bool) {
	list := l.current.Load()
	if list == nil || len(*list) == 0 {
		return "", false
	}
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
		r, listed := (*list)[revoked{issuer: p.Issuer, kind: c.kind, value: c.value}]
		if listed && r.covers(p.IssuedAt, l.now()) {
			return c.detail, true
		}
	}
	return "", false
}

// Clear empties the list of the file.
func (l *RevocationList) Clear() { l.current.Store(nil) }

// Issuers lists the names of the issuers that the list speaks of, sorted. A name
// that isn't configured revokes nothing.
func (l *RevocationList) Issuers() []string {
	list := l.current.Load()
	if list == nil {
		return nil
	}
	names := make(map[string]bool)
	for r := range *list {
		names[r.issuer] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func (r *revocation) covers(issued, now time.Time) bool {
	return (r.until.IsZero() || now.Before(r.until)) &&
		(r.issuedBefore.IsZero() || issued.Before(r.issuedBefore))
}

// ReloadFile replaces the list by that of a file, in YAML or JSON:
//
//	version: 1
//	revocations:
//	  - issuer: corp                         # the issuer's configured name
//	    subject: 7d0e…                       # or token_id, client, session: exactly one
//	    issued_before: 2026-03-01T09:30:00Z  # optional: later tokens are good
//	    until: 2026-03-08T00:00:00Z          # optional: no longer revoked from then on
//
// Times are RFC 3339. A file that isn't exactly like that is refused with every
// mistake and its line, and the old list stays.
func (l *RevocationList) ReloadFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("revocations: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRevocationBytes+1))
	if err != nil {
		return fmt.Errorf("revocations: %w", err)
	}
	list, errs := parseRevocations(data)
	for i := range errs {
		errs[i] = fmt.Errorf("%s:%w", path, errs[i])
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	l.current.Store(&list)
	return nil
}
