package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/report"
)

func decoded(t *testing.T, text []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

func ocsf(w io.Writer, events iter.Seq2[*audit.Event, error]) (report.Counts, error) {
	return report.OCSF(w, "v0.5.0", events)
}

// formats are all formats of an export.
var formats = map[string]func(io.Writer, iter.Seq2[*audit.Event, error]) (report.Counts, error){
	"ndjson": report.NDJSON, "csv": report.CSV, "ocsf": ocsf,
}

// TestExports: each event is written or counted as left out.
func TestExports(t *testing.T) {
	t.Parallel()
	events := samples(t)
	for name, write := range formats {
		var text bytes.Buffer
		counts, err := write(&text, each(events, nil))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want := report.Counts{Written: len(events), LeftOut: map[string]int{}}
		if name == "ocsf" {
			want = report.Counts{Written: 9, LeftOut: map[string]int{"outcome": 1, "denials": 1, "log": 4}}
		}
		if diff := cmp.Diff(want, counts); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		lines := bytes.Count(text.Bytes(), []byte("\n"))
		if name == "csv" {
			lines-- // the header
		}
		if lines != want.Written {
			t.Errorf("%s: %d events are there, %d said", name, lines, want.Written)
		}
		golden(t, "export."+name, text.Bytes())
	}
}

// TestExportErrors: an export that ends early says so, whichever side failed.
func TestExportErrors(t *testing.T) {
	t.Parallel()
	events := samples(t)
	lost := errors.New("the archive is gone")
	for name, write := range formats {
		var text bytes.Buffer
		if counts, err := write(&text, each(events[:2], lost)); !errors.Is(err, lost) || counts.Written != 2 || text.Len() == 0 {
			t.Errorf("%s: events: %d written, %v", name, counts.Written, err)
		}
		for _, n := range []int{1, len(events)} { // few enough to be buffered, and more
			if _, err := write(&broken{n: 10}, each(events[:n], nil)); !errors.Is(err, errFull) {
				t.Errorf("%s: writer, %d events: %v", name, n, err)
			}
		}
	}
}

// TestNDJSON: the lines are the leaves.
func TestNDJSON(t *testing.T) {
	t.Parallel()
	var text, want bytes.Buffer
	for _, e := range samples(t) {
		fmt.Fprintf(&want, "%s\n", e.Raw)
	}
	if _, err := report.NDJSON(&text, each(samples(t), nil)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text.Bytes(), want.Bytes()) {
		t.Errorf("not the leaves:\n%s", text.String())
	}
}

// records reads an export as RFC 4180 has it, by column.
func records(t *testing.T, events ...*audit.Event) []map[string]string {
	t.Helper()
	var text bytes.Buffer
	if _, err := report.CSV(&text, each(events, nil)); err != nil {
		t.Fatal(err)
	}
	if strings.Count(text.String(), "\r\n") != len(events)+1 {
		t.Errorf("lines don't end with CRLF:\n%q", text.String())
	}
	rows, err := csv.NewReader(&text).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var list []map[string]string
	for _, row := range rows[1:] {
		record := make(map[string]string)
		for i, name := range rows[0] {
			record[name] = row[i]
		}
		list = append(list, record)
	}
	return list
}

func TestCSV(t *testing.T) {
	t.Parallel()
	e := sample(t, "decision-allow")
	record := records(t, e)[0]
	hash := sha256.Sum256(append([]byte{0}, e.Raw...))
	for name, want := range map[string]string{
		"event_id": e.EventID, "timestamp": "2026-03-20T09:30:00.000123Z", "status": "allow", "issuer": "corp",
		"actor": "pricing-agent", "seq": "41", "leaf_hash": hex.EncodeToString(hash[:]), "count": "", "latency_us": "245",
		"policies_evaluated": "route authentication revocation operation scopes schema conditions rate_limit step_up elevation approval idempotency",
	} {
		if record[name] != want {
			t.Errorf("%s is %q, want %q", name, record[name], want)
		}
	}
	if first := records(t, sample(t, "log-opened"))[0]; first["seq"] != "0" {
		t.Errorf("the first event of a log has seq %q", first["seq"])
	}
	line := parse(t, `{"event_id":"1","timestamp":"2026-03-20T09:30:00Z","event_type":"service","action":"start"}`)
	if waiting := records(t, line)[0]; waiting["seq"] != "" || waiting["leaf_hash"] != "" {
		t.Errorf("an event that isn't sealed has seq %q and leaf hash %q", waiting["seq"], waiting["leaf_hash"])
	}
}

// TestCSVFormulas: a spreadsheet that opens an export computes nothing.
func TestCSVFormulas(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		`=HYPERLINK(1)`: `'=HYPERLINK(1)`, "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)",
		`\t=1`: `'\u0009=1`, `\r=1`: `'\u000d=1`, `\n=1`: `'\u000a=1`,
		`a=1`: `a=1`, `"=1`: `"=1`, "1,2": "1,2", "": "",
	} {
		quoted := strings.ReplaceAll(value, `"`, `\"`)
		e := parse(t, `{"event_id":"1","timestamp":"2026-03-20T09:30:00Z","event_type":"decision","user_id":"`+quoted+`","metadata":{"target":"`+quoted+`"}}`)
		record := records(t, e)[0]
		if record["user_id"] != want || record["target"] != want {
			t.Errorf("%q became %q and %q, want %q", value, record["user_id"], record["target"], want)
		}
	}
	var text bytes.Buffer
	if _, err := report.CSV(&text, each([]*audit.Event{hostile(t)}, nil)); err != nil {
		t.Fatal(err)
	}
	harmless(t, "CSV", text.Bytes())
	text.Reset()
	if _, err := ocsf(&text, each([]*audit.Event{hostile(t)}, nil)); err != nil {
		t.Fatal(err)
	}
	harmless(t, "OCSF", text.Bytes())
}
