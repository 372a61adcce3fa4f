// Package provider asks privileged access systems who is elevated.
package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Subject is who may be elevated, and to what, in the provider's own words.
type Subject struct {
	User string // the configured claim of the token
	Role string // of the tool at the provider
}

// Status is what a provider says about a subject.
type Status struct {
	Active   bool
	Until    time.Time // zero: not said
	Evidence string    // id there of what makes it active
}

// Filing is a request for an elevation.
type Filing struct {
	Subject
	Reason   string
	Duration time.Duration
	Tool     string
}

// FiledState is how far a filed request has come.
type FiledState string

// States of a filed request.
const (
	FiledPending   FiledState = "pending"
	FiledActive    FiledState = "active"
	FiledDenied    FiledState = "denied"
	FiledExpired   FiledState = "expired"
	FiledCancelled FiledState = "cancelled"
	FiledFailed    FiledState = "failed"
)

func (s FiledState) known() bool {
	switch s {
	case FiledPending, FiledActive, FiledDenied, FiledExpired, FiledCancelled, FiledFailed:
		return true
	}
	return false
}

// Filed is a request that a provider has taken.
type Filed struct {
	Ref   string // id of the request there; Poll takes it
	URL   string // where people see it; empty: not said
	State FiledState
	Until time.Time // of an active one; zero: not said
}

// Provider decides outside who is elevated. A user who isn't elevated is an answer;
// an error means that the provider gave none. Methods may be called at the same time
// and keep to the context's deadline.
type Provider interface {
	Name() string
	Check(ctx context.Context, who Subject) (Status, error)
	// File isn't repeatable: after an error the request may have been taken or not.
	// ErrUnsupported: no requests can be filed there from here.
	File(ctx context.Context, what Filing) (Filed, error)
	Poll(ctx context.Context, ref string, who Subject) (Filed, error)
}

// RoleChecker is a provider that knows whether it could be asked about a role at all.
type RoleChecker interface {
	// CheckRole returns what is wrong with a role, an ErrSubject.
	CheckRole(role string) error
}

var (
	// ErrUnsupported means that this provider can't do it, now or later.
	ErrUnsupported = errors.New("the provider doesn't support it")
	// ErrAnswer means that the answer can't be understood. It is never taken for "no".
	ErrAnswer = errors.New("the provider's answer can't be understood")
	// ErrSubject means that the provider can't be asked about this user or role. It says
	// nothing about the provider.
	ErrSubject = errors.New("the provider can't be asked about this user or role")
	// ErrBusy means that too many questions wait for the provider already.
	ErrBusy = errors.New("too many questions wait for the provider")
	// ErrOpen means that the provider failed a moment ago and isn't asked for a while.
	ErrOpen = errors.New("the provider failed a moment ago")
)

// Error is a provider's answer that is none: a status other than 2xx.
type Error struct {
	Status  int           // HTTP status
	RetryIn time.Duration // from Retry-After; zero: not said
	Code    string        // the provider's own; may be empty
	Message string        // the provider's own, cut short; may be empty
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the provider answered with status %d", e.Status)
	if e.Code != "" {
		fmt.Fprintf(&b, ", code %q", e.Code)
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": %q", e.Message)
	}
	return b.String()
}
