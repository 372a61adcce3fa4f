package operation_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/authz/operation"
)

// An approval is for the call that comes later, in any revision and spelling.
func TestToolCallIsTheCall(t *testing.T) {
	t.Parallel()
	server := newMCP(t)
	const arguments = `{"amount": 12.50, "payment_id": "P-1", "note": "\u00e4"}`
	asked, err := server.ToolCall("refund_payment", arguments)
	if err != nil {
		t.Fatal(err)
	}
	for _, params := range []string{
		`{"name":"refund_payment","arguments":{"payment_id":"P-1","note":"ä","amount":12.50}}`,
		`{"arguments":{"amount": 12.50, "payment_id": "P-1", "note": "\u00e4"},"name":"refund_payment","_meta":{"progressToken":1}}`,
	} {
		called, err := server.Parse(toolRequest(params))
		if err != nil {
			t.Fatal(err)
		}
		if called.Fingerprint != asked.Fingerprint || called.Tool != asked.Tool || asked.Arguments["payment_id"] != "P-1" {
			t.Errorf("%s is not the call that was asked for", params)
		}
	}
	for _, other := range []string{`{"amount": 12.51, "payment_id": "P-1", "note": "ä"}`, `{}`, ""} {
		if op, err := server.ToolCall("refund_payment", other); err != nil || op.Fingerprint == asked.Fingerprint {
			t.Errorf("%q: the same fingerprint, or %v", other, err)
		}
	}
	other, err := server.ToolCall("delete_customer", arguments)
	if err != nil || other.Fingerprint == asked.Fingerprint {
		t.Errorf("another tool: the same fingerprint, or %v", err)
	}
}

func toolRequest(params string) *operation.Request {
	return &operation.Request{
		Method: "POST", Scheme: "https", Authority: "dealer.example", Path: "/mcp",
		Headers: operation.Headers{
			{Name: "content-type", Value: "application/json"},
			{Name: "accept", Value: "application/json, text/event-stream"},
			{Name: "mcp-protocol-version", Value: "2025-11-25"},
		},
		Body: fmt.Sprintf(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":%s}`, params),
	}
}

// Arguments can't leave their place, and what a call couldn't say can't be asked for.
func TestToolCallRefuses(t *testing.T) {
	t.Parallel()
	server := newMCP(t)
	for _, c := range []struct{ arguments, cause string }{
		{`{}},"x":{"y":{}`, operation.CauseInvalidJSON},
		{`{},"name":"other"`, operation.CauseInvalidJSON},
		{`{"a":1,"a":2}`, operation.CauseDuplicateMember},
		{`{"a":1,"A":2}`, operation.CauseDuplicateMember},
		{`[1]`, operation.CauseBadArguments},
		{`"` + strings.Repeat("x", 70_000) + `"`, operation.CauseBodyTooLarge},
	} {
		_, err := server.ToolCall("refund_payment", c.arguments)
		refusal, ok := err.(*operation.Refusal) //nolint:errorlint // the contract is the type itself
		if !ok || refusal.Cause != c.cause {
			t.Errorf("%.40s: %v, want %s", c.arguments, err, c.cause)
		}
	}
	if _, err := server.ToolCall("", "{}"); err == nil {
		t.Error("a call of no tool")
	}
}

func newMCP(t *testing.T) *operation.Server {
	t.Helper()
	server, err := operation.New(operation.Config{Name: "dealer", MaxBodyBytes: 65_536, MCP: &operation.MCPConfig{Path: "/mcp", Methods: []string{"tools/call"}}})
	if err != nil {
		t.Fatal(err)
	}
	return server
}
