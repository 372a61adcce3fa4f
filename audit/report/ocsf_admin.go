package report

import (
	"strings"

	"github.com/sallyport/sallyport/audit"
)

// operated is what an operator did, as Entity Management. It is recorded before
// it is done; a second event says that it failed.
func operated(e *audit.Event) *ocsf {
	m := &e.Metadata
	what := activity{99, e.Action}
	kind, _, _ := strings.Cut(e.Action, ".")
	switch e.Action {
	case "token.revoke":
		what, kind = created, "revocation"
	case "token.lift":
		what, kind = deleted, "revocation"
	case "idempotency.clear":
		what, kind = deleted, "idempotency claim"
	}
	o := newOCSF(e, entityManagement, what)
	o.Message, o.Comment = e.Action, m.Why
	o.Actor = &ocsfActor{User: &ocsfUser{Name: named(e.UserID), TypeID: 2, Type: "Admin"}}
	o.Entity = &ocsfEntity{Name: named(kind), Type: kind, Data: m.Subject}
	o.ended(e)
	return o
}

// elevated is a step in the life of an elevation or approval.
func elevated(e *audit.Event) *ocsf {
	m := &e.Metadata
	what := updated
	if e.Action == "request" {
		what = created
	}
	o := newOCSF(e, entityManagement, what)
	o.Message, o.Comment = e.Action+" "+m.Kind, strings.TrimSpace(m.Why+" "+m.Comment)
	if o.Actor = caller(e); m.Principal == nil {
		o.Actor = &ocsfActor{AppName: productName}
	}
	o.Entity = &ocsfEntity{Name: named(m.RequestID), Type: named(m.Kind), UID: m.RequestID}
	if o.ended(e); e.Status == "refused" {
		o.failed()
	}
	return o
}

// reloaded is a change of the configuration in use.
func reloaded(e *audit.Event) *ocsf {
	o := newOCSF(e, entityManagement, updated)
	o.Message, o.Comment = e.Action, e.Metadata.Cause
	o.Actor = &ocsfActor{AppName: productName}
	o.Entity = &ocsfEntity{Name: "configuration", Type: "configuration", UID: e.Metadata.Files, Version: e.Metadata.Catalogue}
	o.ended(e)
	return o
}

// lived is a start or stop of the service.
func lived(e *audit.Event, what activity) *ocsf {
	o := newOCSF(e, applicationLifecycle, what)
	o.Message = "service " + e.Action
	o.App = &ocsfProduct{Name: productName, VendorName: productName, Version: e.Metadata.Version}
	o.ended(e)
	return o
}

// ended says how an act went, as far as the event knows.
func (o *ocsf) ended(e *audit.Event) {
	switch {
	case e.Metadata.Failed != "":
		o.failed()
		o.StatusDetail = e.Metadata.Failed
	case e.Status == "begun":
		o.StatusID, o.Status = number32(99), e.Status
	default:
		o.succeeded()
	}
}

func (o *ocsf) succeeded() { o.StatusID, o.Status = number32(1), "Success" }
func (o *ocsf) failed()    { o.StatusID, o.Status = number32(2), "Failure" }

func number32(n int) *int { return &n }

// named is a name where the schema wants one.
func named(name string) string {
	if name == "" {
		return "unknown"
	}
	return name
}
