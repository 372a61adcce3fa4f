package report

import (
	"bytes"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/audit"
)

// ocsfVersion is the schema that OCSF writes, https://schema.ocsf.io/1.6.0. It is
// part of what an export promises: consumers map by it.
const ocsfVersion = "1.6.0"

// The classes that events become.
const (
	entityManagement     = 3004
	applicationLifecycle = 6002
	apiActivity          = 6003
)

// OCSF writes events in the Open Cybersecurity Schema Framework 1.6.0, one JSON
// object a line: a decision as API Activity (6003), an operator's act, a step of an
// elevation's or approval's life and a reload of the configuration as Entity Management (3004), start and stop of the
// service as Application Lifecycle (6002). It leaves out and counts what it has no
// certain place for: outcomes, counted denials and what a log says of itself.
// version is that of the program, for metadata.product.
func OCSF(w io.Writer, version string, events iter.Seq2[*audit.Event, error]) (Counts, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	return export(events, func(e *audit.Event) (bool, error) {
		o := ocsfEvent(e)
		if o == nil {
			return false, nil
		}
		o.Metadata.Product.Version = version
		text.Reset()
		if err := encoder.Encode(o); err != nil {
			return false, err
		}
		_, err := io.WriteString(w, jsonPrintable(strings.TrimSuffix(text.String(), "\n"))+"\n")
		return true, err
	})
}

// ocsfEvent is nil where the schema has no class that certainly fits.
func ocsfEvent(e *audit.Event) *ocsf {
	switch {
	case e.EventType == "decision":
		return decided(e)
	case e.EventType == "operator":
		return operated(e)
	case e.EventType == "elevation":
		return elevated(e)
	case e.EventType == "service" && e.Action == "reload":
		return reloaded(e)
	case e.EventType == "service" && e.Action == "start":
		return lived(e, activity{3, "Start"})
	case e.EventType == "service" && e.Action == "stop":
		return lived(e, activity{4, "Stop"})
	}
	return nil
}

// activity is an activity_id and its caption; that of 99 is ours to choose.
type activity struct {
	id   int
	name string
}

// What the schema says for all classes.
var (
	unknownActivity = activity{0, "Unknown"}
	created         = activity{1, "Create"}
	read            = activity{2, "Read"}
	updated         = activity{3, "Update"}
	deleted         = activity{4, "Delete"}
)

// newOCSF sets what all classes have.
func newOCSF(e *audit.Event, class int, what activity) *ocsf {
	o := &ocsf{
		CategoryUID: class / 1000, ClassUID: class, ActivityID: what.id, ActivityName: what.name,
		TypeUID: class*100 + what.id, SeverityID: 1, Severity: "Informational", Time: e.Timestamp.UnixMilli(),
		Metadata: ocsfMetadata{
			Version: ocsfVersion, UID: e.EventID, CorrelationUID: e.CorrelationID, EventCode: e.EventType,
			OriginalTime: e.Timestamp.Format(audit.TimeFormat), LogName: e.Log, TenantUID: principal(e).Tenant,
			LogProvider: productName, Product: ocsfProduct{Name: productName, VendorName: productName},
		},
		Unmapped: ocsfUnmapped{Audit: ocsfAudit{
			Action: e.Action, Fingerprint: e.Metadata.Fingerprint, KeyHash: e.Metadata.KeyHash,
			KeySource: e.Metadata.KeySource, Shadow: e.Metadata.Shadow, Actor: principal(e).Actor, LatencyUS: e.Metadata.LatencyUS,
		}},
	}
	switch class {
	case entityManagement:
		o.CategoryName, o.ClassName = "Identity & Access Management", "Entity Management"
	case applicationLifecycle:
		o.CategoryName, o.ClassName = "Application Activity", "Application Lifecycle"
	default:
		o.CategoryName, o.ClassName = "Application Activity", "API Activity"
	}
	o.TypeName = o.ClassName + ": " + what.name
	if what.id == 99 {
		o.TypeName = o.ClassName + ": Other"
	}
	if e.Log != "" {
		seq := e.Seq
		o.Unmapped.Audit.Origin, o.Unmapped.Audit.Seq, o.Unmapped.Audit.LeafHash = e.Log, &seq, leafHash(e)
	}
	return o
}

// decided is an API Activity with the profile security_control.
func decided(e *audit.Event) *ocsf {
	m := &e.Metadata
	o := newOCSF(e, apiActivity, decidedActivity(e))
	o.Metadata.Profiles = []string{"security_control"}
	o.Message, o.StatusCode, o.StatusDetail = e.Status+": "+m.Reason, m.Reason, m.Detail
	alert := false
	switch e.Status {
	case "allow":
		o.succeeded()
		o.ActionID, o.Action, o.DispositionID, o.Disposition = number32(1), "Allowed", number32(1), "Allowed"
	case "deny":
		o.failed()
		o.SeverityID, o.Severity = 2, "Low"
		if alert = m.Risk == "privileged"; alert {
			o.SeverityID, o.Severity = 3, "Medium"
		}
		o.ActionID, o.Action, o.DispositionID, o.Disposition = number32(2), "Denied", number32(2), "Blocked"
		o.Policy = &ocsfPolicy{Name: policyOf(m.Reason), UID: m.Reason}
	default:
		o.ActionID, o.Action, o.DispositionID, o.Disposition = number32(0), "Unknown", number32(0), "Unknown"
	}
	o.IsAlert = &alert
	o.Authorizations = authorizations(e)
	o.Actor = caller(e)
	o.Source = source(e)
	o.Destination = destination(e)
	o.API = &ocsfAPI{Operation: operation(e)}
	if m.Server != "" {
		o.API.Service = &ocsfNamed{Name: m.Server}
	}
	if httpMethod(e.Action) {
		o.Request = &ocsfRequest{Method: e.Action, UID: e.CorrelationID}
		if strings.HasPrefix(m.Target, "/") {
			o.Request.URL = &ocsfURL{Path: m.Target, Hostname: hostname(m.Authority)}
		}
	}
	if e.ToolName != "" {
		tool := ocsfNamed{Name: e.ToolName, Type: "tool"}
		if m.Risk != "" {
			tool.Labels = []string{"risk:" + m.Risk}
		}
		o.Resources = append(o.Resources, tool)
	}
	if m.Target != "" {
		o.Resources = append(o.Resources, ocsfNamed{Name: m.Target, Type: "target"})
	}
	return o
}

// decidedActivity is what the HTTP method of a REST route says, or the risk of a
// tool. A tool that writes may create, change or delete: the schema's word for
// that is Other.
func decidedActivity(e *audit.Event) activity {
	switch e.Action {
	case http.MethodPost:
		return created
	case http.MethodGet, http.MethodHead:
		return read
	case http.MethodPut, http.MethodPatch:
		return updated
	case http.MethodDelete:
		return deleted
	}
	switch e.Metadata.Risk {
	case "read":
		return read
	case "write":
		return activity{99, "Write"}
	case "privileged":
		return activity{99, "Privileged"}
	}
	switch _, verb, _ := strings.Cut(e.Action, "/"); {
	case verb == "list" || verb == "read" || verb == "get" || verb == "templates/list":
		return read
	case e.Action == "":
		return unknownActivity
	}
	return activity{99, e.Action}
}

func httpMethod(action string) bool {
	return slices.Contains([]string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
	}, action)
}

// operation names the tool rather than the method: all tools of a server are
// called by the same one.
func operation(e *audit.Event) string {
	switch {
	case e.ToolName != "":
		return e.ToolName
	case e.Action != "":
		return e.Action
	}
	return "unknown"
}

// authorizations has each policy that ran. One whose refusal was only recorded is
// not applied.
func authorizations(e *audit.Event) []ocsfAuthorization {
	var list []ocsfAuthorization
	for i, name := range e.Metadata.PoliciesEvaluated {
		decision, applied := "allowed", true
		if slices.ContainsFunc(e.Metadata.Shadow, func(code string) bool { return policyOf(code) == name }) {
			decision, applied = "denied", false
		}
		if e.Status == "deny" && i == len(e.Metadata.PoliciesEvaluated)-1 {
			decision, applied = "denied", true
		}
		list = append(list, ocsfAuthorization{Decision: decision, Policy: ocsfPolicy{Name: name, IsApplied: &applied}})
	}
	return list
}
