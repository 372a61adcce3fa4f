package audit

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOutcome(t *testing.T) {
	t.Parallel()
	o := Outcome{
		DecisionID: "0190", Time: time.Date(2026, 3, 1, 12, 0, 0, 1000, time.UTC), Source: "access_log", Result: "",
		Status: 200, Details: "via\"upstream\n" + strings.Repeat("x", 500), Flags: "UF", BytesIn: 1, BytesOut: 2, Took: 3 * time.Millisecond,
	}
	line := o.Append([]byte("kept"))
	var got map[string]any
	if err := json.Unmarshal(line[len("kept"):], &got); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	if details, _ := got["details"].(string); !strings.HasPrefix(details, "via?upstream?xxx") || len(details) != maxName {
		t.Errorf("details %q", details)
	}
	delete(got, "details")
	want := map[string]any{
		"type": "outcome", "decision_id": "0190", "time": "2026-03-01T12:00:00.000001Z", "source": "access_log",
		"flags": "UF", "status": 200.0, "bytes_in": 1.0, "bytes_out": 2.0, "duration_us": 3000.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if line[len(line)-1] != '\n' {
		t.Error("no newline at the end")
	}
}
