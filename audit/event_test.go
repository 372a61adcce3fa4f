package audit_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sallyport/sallyport/audit"
	auditv1 "github.com/sallyport/sallyport/protos/sallyport/audit/v1"
)

// samples are one event of each kind, as they are sealed, by file name.
func samples(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 15 {
		t.Fatalf("samples: %d, %v", len(files), err)
	}
	leaves := make(map[string][]byte, len(files))
	for _, file := range files {
		leaf, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		leaves[strings.TrimSuffix(filepath.Base(file), ".json")] = leaf
	}
	return leaves
}

// conforms fails the test if an event has a member that the public schema
// doesn't describe, or describes otherwise.
func conforms(t testing.TB, line []byte) *auditv1.Event {
	t.Helper()
	var e auditv1.Event
	if err := (protojson.UnmarshalOptions{}).Unmarshal(line, &e); err != nil {
		t.Errorf("not an event of the public schema: %v\n%s", err, line)
	}
	return &e
}

// TestSchema: what Parse reads is what a reader with nothing but the schema does.
func TestSchema(t *testing.T) {
	t.Parallel()
	types := make(map[string]bool)
	for name, leaf := range samples(t) {
		e, err := audit.Parse(leaf)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		types[e.EventType] = true
		m := conforms(t, leaf)
		got := []any{e.EventID, e.Timestamp, e.EventType, e.UserID, e.ToolName, e.Action, e.Status, e.Metadata.Reason, e.Log, e.Seq}
		want := []any{
			m.GetEventId(), m.GetTimestamp().AsTime(), m.GetEventType(), m.GetUserId(), m.GetToolName(), m.GetAction(),
			m.GetStatus(), m.GetMetadata().GetReason(), m.GetLog(), m.GetSeq(),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-schema +Parse):\n%s", name, diff)
		}
	}
	if len(types) != 6 {
		t.Errorf("there are samples of %v", types)
	}
}

// TestSchemaNames: the schema's names in JSON are the members' own, and it has all
// that Event has.
func TestSchemaNames(t *testing.T) {
	t.Parallel()
	for message, read := range map[protoreflect.ProtoMessage]reflect.Type{
		new(auditv1.Event):     reflect.TypeFor[audit.Event](),
		new(auditv1.Metadata):  reflect.TypeFor[audit.Metadata](),
		new(auditv1.Principal): reflect.TypeFor[audit.Principal](),
	} {
		described := message.ProtoReflect().Descriptor()
		for i := range described.Fields().Len() {
			if f := described.Fields().Get(i); f.JSONName() != string(f.Name()) {
				t.Errorf("%s is %s in JSON", f.FullName(), f.JSONName())
			}
		}
		for i := range read.NumField() {
			name := read.Field(i).Tag.Get("json")
			if name != "-" && described.Fields().ByJSONName(name) == nil {
				t.Errorf("%s has no member %s", described.FullName(), name)
			}
		}
	}
}

// TestWriters: what this package writes is in the schema.
func TestWriters(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 20, 9, 30, 0, 0, time.UTC)
	outcome := audit.Outcome{DecisionID: "1", Time: now, Source: "ext_proc", Result: "executed", Status: 200, Details: "d", Flags: "UF", Digest: "00"}
	entry := audit.Entry{Type: "service", Action: "start", UserID: "u", Tool: "t", Status: "s", Metadata: map[string]any{"version": "v1"}}
	line, err := entry.Line(now)
	if err != nil {
		t.Fatal(err)
	}
	strangers := audit.NewStrangers(0)
	for range 2 {
		strangers.Counted("192.0.2.1", "authentication.missing", now)
	}
	for _, line := range [][]byte{line, outcome.Append(nil), strangers.Flush(now)} {
		if _, err := audit.Parse(line); err != nil {
			t.Errorf("%v: %s", err, line)
		}
		conforms(t, line)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	leaf := samples(t)["decision-allow"]
	e, err := audit.Parse(append(bytes.Clone(leaf), '\n'))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(e.Raw, leaf) {
		t.Errorf("Raw is not the leaf: %s", e.Raw)
	}
	if e.Log != "audit.example.com/gw-0-1f2e3d4c" || e.Seq != 41 {
		t.Errorf("log %q, seq %d", e.Log, e.Seq)
	}
	want := &audit.Principal{
		ID: "corp/Zq3mXw", Issuer: "corp", Subject: "alice", Client: "showroom-app", Tenant: "north",
		Actor: "pricing-agent", TokenID: "at-1001",
	}
	if diff := cmp.Diff(want, e.Metadata.Principal); diff != "" {
		t.Error(diff)
	}
	if got := string(e.Metadata.Arguments["price"]); got != "18250.50" {
		t.Errorf("the price became %s", got)
	}
	if !e.Timestamp.Equal(time.Date(2026, 3, 20, 9, 30, 0, 123000, time.UTC)) {
		t.Errorf("timestamp %v", e.Timestamp)
	}
}

// TestLeafHash holds it to a digest that was made with another program.
func TestLeafHash(t *testing.T) {
	t.Parallel()
	e, err := audit.Parse(samples(t)["log-opened"])
	if err != nil {
		t.Fatal(err)
	}
	hash := e.LeafHash()
	if got := hex.EncodeToString(hash[:]); got != "218159b4f066f7e3b5c3cddf46ca8b7b6061c3aa657bd9de11722cba689e61fe" {
		t.Errorf("leaf hash %s", got)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const head = `{"event_id":"1","timestamp":"2026-03-20T09:30:00Z","event_type":"decision"`
	for name, c := range map[string]struct{ line, want string }{
		"nothing":                {"", "unexpected end"},
		"null":                   {"null", "not an object"},
		"an array":               {"[]", "cannot unmarshal"},
		"a second event":         {head + `}` + head + `}`, "after top-level value"},
		"two newlines":           {head + "}\n\n{}", "after top-level value"},
		"too long":               {head + `,"x":"` + strings.Repeat("x", audit.MaxEvent) + `"}`, "more than 67584 bytes"},
		"not UTF-8":              {head + ",\"x\":\"\xff\"}", "not UTF-8"},
		"no id":                  {`{"timestamp":"2026-03-20T09:30:00Z","event_type":"decision"}`, "lacks event_id"},
		"no time":                {`{"event_id":"1","event_type":"decision"}`, "lacks event_id"},
		"no type":                {`{"event_id":"1","timestamp":"2026-03-20T09:30:00Z"}`, "lacks event_id"},
		"a time that is none":    {`{"event_id":"1","timestamp":"yesterday","event_type":"decision"}`, "parsing time"},
		"twice":                  {head + `,"status":"deny","status":"allow"}`, `"status" is there twice`},
		"twice, escaped":         {head + `,"status":"deny","\u0073tatus":"allow"}`, `"status" is there twice`},
		"twice within":           {head + `,"metadata":{"arguments":{"a":[{"b":1,"b":2}]}}}`, `"b" is there twice`},
		"twice where unknown":    {head + `,"later":{"b":1,"b":2}}`, `"b" is there twice`},
		"another letter case":    {head + `,"Status":"allow"}`, `"Status" is none of an event`},
		"a sign that folds":      {head + `,"ſtatus":"allow"}`, `none of an event`},
		"in metadata":            {head + `,"metadata":{"Reason":"allowed"}}`, `"Reason" is none of an event`},
		"in the principal":       {head + `,"metadata":{"principal":{"Subject":"root"}}}`, `"Subject" is none of an event`},
		"a log without number":   {head + `,"log":"a"}`, "belong together"},
		"a number without log":   {head + `,"seq":1}`, "belong together"},
		"a log that is null":     {head + `,"log":null,"seq":1}`, "belong together"},
		"a negative number":      {head + `,"log":"a","seq":-1}`, "cannot unmarshal"},
		"a user that is none":    {head + `,"user_id":7}`, "cannot unmarshal"},
		"policies that are none": {head + `,"metadata":{"policies_evaluated":"all"}}`, "cannot unmarshal"},
		"nested without end":     {head + `,"x":` + strings.Repeat("[", 60000) + `}`, "exceeded max depth"},
	} {
		if _, err := audit.Parse([]byte(c.line)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestParseUnknown: what a later version adds is no error, and not lost.
func TestParseUnknown(t *testing.T) {
	t.Parallel()
	line := `{"event_id":"1","timestamp":"2026-03-20T09:30:00+05:30","event_type":"verdict","later":1,` +
		`"metadata":{"arguments":{"Brand":"a","brand":"b"},"later":{"A":1,"a":2}}}`
	e, err := audit.Parse([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	if string(e.Raw) != line || e.EventType != "verdict" || len(e.Metadata.Arguments) != 2 {
		t.Errorf("%+v", e)
	}
	if got := e.Timestamp.Format(time.RFC3339); got != "2026-03-20T04:00:00Z" {
		t.Errorf("timestamp %s", got)
	}
}

// FuzzParse: whatever is read has its bytes kept, and reading them again gives the
// same.
func FuzzParse(f *testing.F) {
	for _, leaf := range samples(f) {
		f.Add(leaf)
	}
	f.Add([]byte(`{"event_id":"1","timestamp":"2026-03-20T09:30:00Z","event_type":"x","metadata":{"principal":null}}` + "\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := audit.Parse(line)
		if err != nil {
			return
		}
		if !bytes.Equal(e.Raw, bytes.TrimSuffix(line, []byte("\n"))) || e.EventID == "" || e.Timestamp.Location() != time.UTC {
			t.Fatalf("%+v", e)
		}
		again, err := audit.Parse(e.Raw)
		if err != nil {
			t.Fatalf("again: %v", err)
		}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
