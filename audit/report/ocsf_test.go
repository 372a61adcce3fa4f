package report_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/audit"
)

// What OCSF 1.6.0 wants of the objects that are written, from the files of that
// version: attributes that are required, sets of which one must be there, and the
// type of nested objects. "event" is the base event with what the profile
// security_control recommends.
var ocsfObjects = map[string]struct {
	required []string
	oneOf    []string
	nested   map[string]string
	all      []string // every attribute that is written, and is in the schema
}{
	"event": {
		required: []string{"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"},
		nested:   map[string]string{"metadata": "metadata"},
		all: []string{
			"activity_name", "category_name", "class_name", "message", "severity", "status", "status_code", "status_detail",
			"status_id", "type_name", "unmapped",
		},
	},
	"6003": {
		required: []string{"actor", "api", "src_endpoint", "action_id", "disposition_id", "is_alert"},
		nested: map[string]string{
			"actor": "actor", "api": "api", "src_endpoint": "network_endpoint", "dst_endpoint": "network_endpoint",
			"http_request": "http_request", "resources": "resource_details", "policy": "policy", "authorizations": "authorization",
		},
		all: []string{"action", "disposition"},
	},
	"3004":             {required: []string{"entity", "actor"}, nested: map[string]string{"actor": "actor", "entity": "managed_entity"}, all: []string{"comment"}},
	"6002":             {required: []string{"app"}, nested: map[string]string{"app": "product"}},
	"metadata":         {required: []string{"product", "version"}, nested: map[string]string{"product": "product"}, all: []string{"uid", "correlation_uid", "event_code", "original_time", "log_name", "log_provider", "tenant_uid", "profiles"}},
	"product":          {oneOf: []string{"name", "uid"}, all: []string{"vendor_name", "version"}},
	"actor":            {oneOf: []string{"process", "user", "invoked_by", "session", "app_name", "app_uid"}, nested: map[string]string{"user": "user", "idp": "idp"}},
	"user":             {oneOf: []string{"account", "name", "uid"}, nested: map[string]string{"org": "organization"}, all: []string{"type_id", "type", "credential_uid"}},
	"idp":              {oneOf: []string{"name", "uid"}},
	"organization":     {oneOf: []string{"name", "uid"}},
	"api":              {required: []string{"operation"}, nested: map[string]string{"service": "service"}},
	"service":          {oneOf: []string{"name", "uid"}},
	"network_endpoint": {oneOf: []string{"ip", "uid", "name", "hostname", "svc_name", "instance_uid", "interface_uid", "interface_name", "domain"}, all: []string{"port", "subnet_uid"}},
	"http_request":     {nested: map[string]string{"url": "url"}, all: []string{"http_method", "uid"}},
	"url":              {oneOf: []string{"url_string", "path"}, all: []string{"hostname"}},
	"resource_details": {oneOf: []string{"name", "uid"}, all: []string{"type", "labels"}},
	"policy":           {oneOf: []string{"name", "type", "uid"}, all: []string{"is_applied"}},
	"authorization":    {required: []string{"decision"}, nested: map[string]string{"policy": "policy"}},
	"managed_entity":   {oneOf: []string{"name", "uid", "device", "group", "org", "policy", "user"}, all: []string{"type", "data", "version"}},
}

// ocsfEnums are the captions of the numbers that are written.
var ocsfEnums = map[string]map[string]string{
	"6003 activity_id": {"0": "Unknown", "1": "Create", "2": "Read", "3": "Update", "4": "Delete", "99": ""},
	"3004 activity_id": {"1": "Create", "3": "Update", "4": "Delete", "99": ""},
	"6002 activity_id": {"3": "Start", "4": "Stop"},
	"severity_id":      {"1": "Informational", "2": "Low", "3": "Medium"},
	"status_id":        {"1": "Success", "2": "Failure", "99": ""},
	"action_id":        {"0": "Unknown", "1": "Allowed", "2": "Denied"},
	"disposition_id":   {"0": "Unknown", "1": "Allowed", "2": "Blocked"},
	"type_id":          {"0": "Unknown", "1": "User", "2": "Admin", "4": "Service"},
}

// conforms reports what an object lacks, has besides, or says of itself that isn't
// so.
func conforms(types []string, object map[string]any) (problems []string) {
	known := make(map[string]bool)
	for _, name := range types {
		is, ok := ocsfObjects[name]
		if !ok {
			return []string{"no object " + name}
		}
		for _, attribute := range is.required {
			known[attribute] = true
			if object[attribute] == nil {
				problems = append(problems, name+" lacks "+attribute)
			}
		}
		if len(is.oneOf) > 0 && !slices.ContainsFunc(is.oneOf, func(a string) bool { return object[a] != nil }) {
			problems = append(problems, fmt.Sprintf("%s has none of %v", name, is.oneOf))
		}
		for _, attribute := range slices.Concat(is.oneOf, is.all) {
			known[attribute] = true
		}
		for attribute, of := range is.nested {
			known[attribute] = true
			items, isList := object[attribute].([]any)
			if !isList && object[attribute] != nil {
				items = []any{object[attribute]}
			}
			for _, item := range items {
				nested, _ := item.(map[string]any)
				problems = append(problems, conforms([]string{of}, nested)...)
			}
		}
	}
	for attribute, value := range object {
		if !known[attribute] {
			problems = append(problems, fmt.Sprintf("%v has no attribute %s", types, attribute))
		}
		problems = append(problems, enumerated(types, object, attribute, fmt.Sprint(value))...)
	}
	return problems
}

// enumerated compares a number with its caption beside it.
func enumerated(types []string, object map[string]any, attribute, value string) []string {
	captions, ok := ocsfEnums[attribute]
	if attribute == "activity_id" {
		captions, ok = ocsfEnums[types[len(types)-1]+" activity_id"]
	}
	if !ok {
		return nil
	}
	beside := strings.TrimSuffix(attribute, "_id")
	if attribute == "activity_id" {
		beside = "activity_name"
	}
	caption, ok := captions[value]
	if !ok || caption != "" && object[beside] != caption || caption == "" && object[beside] == nil {
		return []string{fmt.Sprintf("%s %s is called %v", attribute, value, object[beside])}
	}
	return nil
}

// exported is one event in OCSF.
func exported(t *testing.T, e *audit.Event) map[string]any {
	t.Helper()
	var text bytes.Buffer
	if counts, err := ocsf(&text, each([]*audit.Event{e}, nil)); err != nil || counts.Written != 1 {
		t.Fatalf("%s: %+v, %v", e.EventID, counts, err)
	}
	object, _ := decoded(t, text.Bytes()).(map[string]any)
	return object
}

// TestOCSF holds all samples, and the least that an event can be, to the schema.
func TestOCSF(t *testing.T) {
	t.Parallel()
	const head = `{"event_id":"1","timestamp":"2026-03-20T09:30:00.123456Z","event_type":`
	events := []*audit.Event{
		parse(t, head+`"decision"}`),
		parse(t, head+`"decision","status":"deny","metadata":{"reason":"internal.starting","policies_evaluated":[]}}`),
		parse(t, head+`"decision","action":"GET","status":"allow","metadata":{"reason":"allowed","principal":{"id":"p"},"target":"/x","client_address":"","authority":"[::1]:8443"}}`),
		parse(t, head+`"operator"}`),
		parse(t, head+`"operator","action":"settings.change","status":"begun","metadata":{"subject":null}}`),
		parse(t, head+`"operator","action":"token.lift","status":"begun","metadata":{"subject":"x"}}`),
		parse(t, head+`"service","action":"reload"}`),
		parse(t, head+`"service","action":"stop"}`),
		hostile(t),
	}
	for _, e := range samples(t) {
		if e.EventType != "outcome" && e.EventType != "denials" && e.EventType != "log" {
			events = append(events, e)
		}
	}
	for _, e := range events {
		object := exported(t, e)
		class := fmt.Sprint(object["class_uid"])
		for _, problem := range conforms([]string{"event", class}, object) {
			t.Errorf("%s: %s", e.Raw, problem)
		}
		if got, want := fmt.Sprint(object["type_uid"]), class+fmt.Sprintf("%02v", object["activity_id"]); got != want {
			t.Errorf("type_uid %s, want %s", got, want)
		}
		name, other := fmt.Sprint(object["class_name"], ": ", object["activity_name"]), fmt.Sprint(object["class_name"], ": Other")
		if got := object["type_name"]; got != name && got != other || (got == other) != (fmt.Sprint(object["activity_id"]) == "99") {
			t.Errorf("type_name %v", got)
		}
		if fmt.Sprint(object["category_uid"]) != class[:1] || fmt.Sprint(object["time"]) != fmt.Sprint(e.Timestamp.UnixMilli()) {
			t.Errorf("category %v, time %v", object["category_uid"], object["time"])
		}
		metadata, _ := object["metadata"].(map[string]any)
		if metadata["version"] != "1.6.0" || metadata["uid"] != e.EventID {
			t.Errorf("metadata %v", metadata)
		}
	}
}

// TestOCSFPlace: by what is unmapped an event can be found in its log and proven.
func TestOCSFPlace(t *testing.T) {
	t.Parallel()
	e := sample(t, "log-opened")
	e.EventType = "decision" // the first of its log, so that 0 is not taken for nothing
	object := exported(t, e)
	unmapped, _ := object["unmapped"].(map[string]any)
	place, _ := unmapped["audit"].(map[string]any)
	if place["origin"] != e.Log || fmt.Sprint(place["seq"]) != "0" || place["leaf_hash"] != fmt.Sprintf("%x", e.LeafHash()) {
		t.Errorf("place %v", place)
	}
}

func TestOCSFActivity(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ action, risk, want string }{
		{"POST", "read", "1 Create"}, {"GET", "", "2 Read"}, {"HEAD", "", "2 Read"}, {"PUT", "write", "3 Update"},
		{"PATCH", "write", "3 Update"}, {"DELETE", "privileged", "4 Delete"}, {"tools/call", "read", "2 Read"},
		{"tools/call", "write", "99 Write"}, {"tools/call", "privileged", "99 Privileged"}, {"tools/call", "", "99 tools/call"},
		{"tools/list", "", "2 Read"}, {"resources/read", "", "2 Read"}, {"resources/templates/list", "", "2 Read"},
		{"prompts/get", "", "2 Read"}, {"initialize", "", "99 initialize"}, {"", "", "0 Unknown"},
	} {
		object := exported(t, parse(t, `{"event_id":"1","timestamp":"2026-03-20T09:30:00Z","event_type":"decision","action":"`+c.action+`","metadata":{"risk":"`+c.risk+`"}}`))
		if got := fmt.Sprint(object["activity_id"], " ", object["activity_name"]); got != c.want {
			t.Errorf("%s of risk %q is %s, want %s", c.action, c.risk, got, c.want)
		}
	}
}
