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
	metadata, ok := got["metadata"].(map[string]any)
	if !ok {
		t.Fatalf("no metadata: %s", line)
	}
	if details, _ := metadata["details"].(string); !strings.HasPrefix(details, "via?upstream?xxx") || len(details) != maxName {
		t.Errorf("details %q", details)
	}
	delete(metadata, "details")
	delete(got, "event_id")
	want := map[string]any{
		"timestamp": "2026-03-01T12:00:00.000001Z", "event_type": "outcome", "status": "succeeded",
		"metadata": map[string]any{
			"decision_id": "0190", "source": "access_log",
			"flags": "UF", "http_status": 200.0, "bytes_in": 1.0, "bytes_out": 2.0, "duration_us": 3000.0,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if line[len(line)-1] != '\n' {
		t.Error("no newline at the end")
	}
}
