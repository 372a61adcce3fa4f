package authz

import (
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/authz/catalogue"
)

// TestRecordedArguments: of arguments there is only what the catalogue names, and
// nothing that may tell who somebody is where the tool's policy says so.
func TestRecordedArguments(t *testing.T) {
	t.Parallel()
	tool := &catalogue.Tool{RecordArguments: []string{"vehicle_id", "mail", "phone", "note", "absent"}, PIIPolicy: catalogue.PIIMask}
	arguments := map[string]any{"vehicle_id": "V-1001", "mail": "a@example.com", "phone": "+91 98765 43210", "note": strings.Repeat("x", 300), "secret": "s"}
	got := string(appendArguments(nil, tool, arguments))
	want := `,"arguments":{"mail":"[masked]","note":"[too long]","phone":"[masked]","vehicle_id":"V-1001"}`
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	tool.PIIPolicy = catalogue.PIINone
	if got := string(appendArguments(nil, tool, arguments)); !strings.Contains(got, `"mail":"a@example.com"`) || strings.Contains(got, "secret") {
		t.Errorf("without a policy: %s", got)
	}
}

// TestClassOf: what may change something is on the disk before its answer leaves.
func TestClassOf(t *testing.T) {
	t.Parallel()
	const act, denial = audit.Synced | audit.Single, audit.Single | audit.Reserve
	for _, test := range []struct {
		name  string
		allow bool
		risk  catalogue.Risk
		want  audit.Class
	}{
		{"read", true, catalogue.Read, 0},
		{"write", true, catalogue.Write, act},
		{"privileged", true, catalogue.Privileged, act},
		{"denied read", false, catalogue.Read, denial},
		{"denied write", false, catalogue.Write, denial},
		{"denied privileged", false, catalogue.Privileged, denial | audit.Synced},
	} {
		d := &Decision{Time: time.Now(), Allow: test.allow, Tool: &catalogue.Tool{Risk: test.risk}}
		if got := classOf(d); got != test.want {
			t.Errorf("%s: class %b, want %b", test.name, got, test.want)
		}
	}
	if got := classOf(&Decision{}); got != denial {
		t.Errorf("a denial without a tool: class %b", got)
	}
}
