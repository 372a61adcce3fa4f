package authz_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/operation"
)

var update = flag.Bool("update", false, "rewrite docs/reasons.md")

const reasonsPage = "../docs/reasons.md"

// TestReasonsPage keeps the page for operators in step with the table.
func TestReasonsPage(t *testing.T) {
	t.Parallel()
	var page bytes.Buffer
	page.WriteString(`# Reasons

Every outcome of a decision. The code is what the audit trail, the metric label and the answer's ` + "`reason`" + ` hold. Rows are only ever added.

"MCP" is the HTTP status and JSON-RPC code of an answer to an MCP request, "tool" a tool result with ` + "`isError`" + `; where it is empty, MCP clients get the same problem details as REST clients.

| code | HTTP | MCP | meaning |
|---|---|---|---|
`)
	for _, r := range authz.Reasons() {
		mcp := ""
		if r.RPC != 0 {
			status := r.MCPStatus
			if status == 0 {
				status = r.Status
			}
			mcp = fmt.Sprintf("%d, %d", status, r.RPC)
			if r.MCP == authz.ToolError {
				mcp = fmt.Sprintf("%d, tool", status)
			}
		}
		fmt.Fprintf(&page, "| `%s` | %d | %s | %s |\n", r.Code, r.Status, mcp, r.Title)
	}
	if *update {
		if err := os.WriteFile(reasonsPage, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(reasonsPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page.String(), string(got)); diff != "" {
		t.Errorf("docs/reasons.md is not that of the table; run make generate: %s", diff)
	}
}

// TestEveryCauseHasARow: a cause without one would be answered as our mistake.
func TestEveryCauseHasARow(t *testing.T) {
	t.Parallel()
	rows := make(map[string]bool)
	for _, r := range authz.Reasons() {
		if rows[r.Code] {
			t.Errorf("%s is there twice", r.Code)
		}
		rows[r.Code] = true
		if !regexp.MustCompile(`^[a-z_]+\.[a-z_]+$|^allowed$`).MatchString(r.Code) || http.StatusText(r.Status) == "" || !strings.HasSuffix(r.Title, ".") {
			t.Errorf("%+v is not a proper row", r)
		}
		if r.RPC <= -32000 && r.RPC >= -32099 && r.RPC != -32020 && r.RPC != -32022 {
			t.Errorf("%s: code %d is not defined by MCP", r.Code, r.RPC)
		}
	}
	for _, cause := range operation.Causes() {
		if !rows["operation."+cause] {
			t.Errorf("operation.%s has no row", cause)
		}
	}
	for _, cause := range identityCauses(t) {
		if !rows["authentication."+cause] {
			t.Errorf("authentication.%s has no row", cause)
		}
	}
}

// identityCauses reads the constants, as a list by hand could miss one.
func identityCauses(t *testing.T) []string {
	t.Helper()
	source, err := os.ReadFile("identity/principal.go")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(source), "// The causes of a refusal.")
	var causes []string
	for _, m := range regexp.MustCompile(`(?m)^\t[A-Z]\w+ += "([a-z_]+)"`).FindAllStringSubmatch(block, -1) {
		causes = append(causes, m[1])
	}
	if len(causes) < 20 {
		t.Fatalf("only %d causes found", len(causes))
	}
	return causes
}
