package report_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/report"
	"github.com/sallyport/sallyport/authz"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", file, diff)
	}
}

// samples are the events that the schema is tested with, by event type and order
// of their ids.
func samples(t *testing.T) []*audit.Event {
	t.Helper()
	files, err := filepath.Glob("../testdata/*.json")
	if err != nil || len(files) < 15 {
		t.Fatalf("samples: %d, %v", len(files), err)
	}
	var events []*audit.Event
	for _, file := range files {
		events = append(events, sample(t, strings.TrimSuffix(filepath.Base(file), ".json")))
	}
	slices.SortFunc(events, func(a, b *audit.Event) int { return strings.Compare(a.EventID, b.EventID) })
	return events
}

func sample(t *testing.T, name string) *audit.Event {
	t.Helper()
	leaf, err := os.ReadFile(filepath.Join("../testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(leaf))
}

func parse(t *testing.T, line string) *audit.Event {
	t.Helper()
	e, err := audit.Parse([]byte(line))
	if err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return e
}

// each is a sequence of events that ends with an error unless it is nil.
func each(events []*audit.Event, end error) iter.Seq2[*audit.Event, error] {
	return func(yield func(*audit.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
		if end != nil {
			yield(nil, end)
		}
	}
}

// reasons are the sentences of the table of reasons.
func reasons() map[string]string {
	sentences := make(map[string]string)
	for _, r := range authz.Reasons() {
		sentences[r.Code] = r.Title
	}
	return sentences
}

// hostile has, wherever a caller chooses the text, what would move the cursor,
// forge a line or turn the direction of text: ESC, a line end, CSI in one
// character, U+202E, a tag beyond the basic plane.
func hostile(t *testing.T) *audit.Event {
	t.Helper()
	const evil = `a\u001b[2J\u000aALLOWED: forged` + "\u009b1m\u202e\U000e0041"
	return parse(t, `{"event_id":"019d0b1e-4c00-7a00-8000-000000000099","timestamp":"2026-03-20T09:30:00Z","event_type":"decision",`+
		`"correlation_id":"`+evil+`","user_id":"`+evil+`","tool_name":"`+evil+`","action":"`+evil+`","status":"deny",`+
		`"metadata":{"reason":"conditions.failed","detail":"`+evil+`","principal":{"id":"i","subject":"`+evil+`","client":"`+evil+`"},`+
		`"server":"s","target":"`+evil+`","risk":"write","policies_evaluated":["conditions"],"shadow":["`+evil+`"],`+
		`"client_address":"`+evil+`","authority":"`+evil+`","arguments":{"`+evil+`":"`+evil+`"},"later":"`+evil+`"}}`)
}

// FuzzReports: whatever was read can be told, in lines of printable text.
func FuzzReports(f *testing.F) {
	files, err := filepath.Glob("../testdata/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		leaf, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(leaf)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := audit.Parse(line)
		if err != nil {
			return
		}
		var text bytes.Buffer
		related := parse(t, `{"event_id":"2","timestamp":"2026-03-20T09:30:00Z","event_type":"outcome","status":"executed"}`)
		related.Metadata.DecisionID = e.EventID
		errs := []error{report.Human(&text, e), report.Show(&text, e)}
		if e.EventType == "decision" {
			errs = append(errs, report.Explain(&text, reasons(), e, []*audit.Event{related}))
		}
		for _, write := range []func(io.Writer, iter.Seq2[*audit.Event, error]) (report.Counts, error){report.CSV, ocsf} {
			_, err := write(&text, each([]*audit.Event{e}, nil))
			errs = append(errs, err)
		}
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		printed := strings.ReplaceAll(text.String(), "\r\n", "\n")
		if i := strings.IndexFunc(printed, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
			t.Fatalf("not printable: %q", printed[i:min(i+8, len(printed))])
		}
	})
}

// harmless fails the test if a text has anything but printable characters and line
// ends, or a line that begins as evil wants it to.
func harmless(t *testing.T, what string, text []byte) {
	t.Helper()
	if i := bytes.IndexFunc(text, func(r rune) bool {
		return r != '\n' && r != '\r' && (r < ' ' || r > '~' && r != '…')
	}); i >= 0 {
		t.Errorf("%s: %q is in it", what, text[i:min(i+8, len(text))])
	}
	if bytes.Contains(text, []byte("\nALLOWED")) {
		t.Errorf("%s has a forged line:\n%s", what, text)
	}
	if !bytes.Contains(text, []byte("forged")) {
		t.Errorf("%s doesn't have the text at all", what)
	}
}
