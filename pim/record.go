package pim

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"

	"github.com/sallyport/sallyport/audit"
)

// action is what somebody does to a request, for the journal.
type action struct {
	name    string
	by      Party // empty: the service itself, or a provider
	request Request
	status  string
	failure error
	quick   bool // it isn't awaited on the disk
}

// What becomes of an action.
const (
	begun   = "begun"
	done    = "done"
	failed  = "failed"
	refused = "refused"
)

func (a action) of(r Request) action {
	a.request = r
	return a
}

func (a action) done() action {
	a.status = done
	return a
}

func (a action) refused(err error) action {
	a.status, a.failure = refused, err
	return a
}

// failed says so of a change; one that the state of the request has overtaken was
// refused.
func (a action) failed(err error) action {
	if a.status, a.failure = failed, err; answered(err) {
		a.status = refused
	}
	return a
}

// takesAway reports whether nobody can do more after it, so that it may use what the
// journal has in reserve.
func (a *action) takesAway() bool { return a.name != "request" && a.name != "approve" }

func (a *action) class() audit.Class {
	class := audit.Synced | audit.Single
	if a.quick {
		class = 0
	}
	if a.status != begun || a.takesAway() {
		class |= audit.Reserve
	}
	return class
}

// line is the action's event.
func (s *Service) line(a *action) ([]byte, error) {
	r := &a.request
	metadata := map[string]any{
		"request_id": r.ID, "kind": r.Kind, "server": r.Server,
		"duration_seconds": int64(r.Duration.Seconds()), "break_glass": r.BreakGlass,
	}
	set := func(name string, value string) {
		if value != "" {
			metadata[name] = value
		}
	}
	if a.by.PrincipalID != "" {
		metadata["principal"] = map[string]string{
			"id": a.by.PrincipalID, "issuer": cmp.Or(a.by.IssuerName, a.by.Issuer), "subject": a.by.Subject, "client": a.by.Client, "tenant": a.by.Tenant, "actor": a.by.Actor,
		}
	}
	if r.Kind == Call {
		metadata["fingerprint"] = hex.EncodeToString(r.Fingerprint[:])
	}
	if !r.Until.IsZero() {
		metadata["until"] = r.Until.UTC().Format(audit.TimeFormat)
	}
	switch a.name {
	case "request":
		set("why", r.Reason)
	case "revoke":
		set("why", r.Why)
	case "revoke_holder": // there is no request whose event would say whose it was
		set("why", r.Why)
		set("holder_id", r.Requester.PrincipalID)
	case "approve", "deny":
		set("comment", r.Comment)
	}
	set("provider", r.Provider)
	set("provider_ref", r.ProviderRef)
	set("decision_id", r.SpentBy)
	if a.status == done {
		set("state", string(r.State))
	}
	if a.failure != nil {
		set("failed", a.failure.Error())
	}
	entry := audit.Entry{Type: "elevation", UserID: a.by.Name(), Tool: r.Tool, Action: a.name, Status: a.status, Metadata: metadata}
	return entry.Line(s.cfg.Now())
}

// begin records the intents of actions; ErrUnrecorded: they must not take place.
func (s *Service) begin(all ...action) error {
	var lines []byte
	for i := range all {
		all[i].status = begun
		line, err := s.line(&all[i])
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnrecorded, err)
		}
		lines = append(lines, line...)
	}
	if err := s.cfg.Journal.Append(lines, all[0].class()); err != nil {
		return fmt.Errorf("%w: %w", ErrUnrecorded, err)
	}
	return nil
}

// record records how an action went. It can't be undone for want of a record, so a
// journal that doesn't take it is counted and logged.
func (s *Service) record(ctx context.Context, a action) {
	line, err := s.line(&a)
	if err == nil {
		err = s.cfg.Journal.Append(line, a.class())
	}
	if err != nil {
		s.unrecorded.Add(1)
		s.cfg.Log.ErrorContext(ctx, "outcome not recorded", "request", a.request.ID, "action", a.name, "status", a.status, "error", err)
	}
}
