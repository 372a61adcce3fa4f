package operation_test

import (
	"testing"

	"github.com/sallyport/sallyport/authz/operation"
)

// The calls are those of the demo: about 150 bytes of body.
const (
	legacyCall = `{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{"name":"book_service","arguments":{"vehicle_id":"V-1002","date":"2026-11-24","slot":3}}}`
	modernCall = `{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}},"name":"book_service","arguments":{"vehicle_id":"V-1002","date":"2026-11-24","slot":3}}}`
)

func BenchmarkParse(b *testing.B) {
	mcp := mustNew(b, mcpConfig())
	rest := mustNew(b, restConfig())
	legacy := post(legacyCall, "mcp-protocol-version", "2025-11-25", "mcp-session-id", "5f1d7c2e")
	modern := post(modernCall, "mcp-protocol-version", "2026-07-28", "mcp-method", "tools/call", "mcp-name", "book_service")
	for _, bm := range []struct {
		name   string
		server *operation.Server
		req    *operation.Request
	}{
		{"mcp-2025-11-25", mcp, legacy},
		{"mcp-2026-07-28", mcp, modern},
		{"rest-get", rest, request("GET", "/api/vehicles/V-1002?fields=price", "")},
		{"rest-post", rest, request("POST", "/api/vehicles/V-1002/bookings", `{"date":"2026-11-24","slot":3}`, "content-type", "application/json")},
	} {
		b.Run(bm.name, func(b *testing.B) {
			if _, err := bm.server.Parse(bm.req); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				_, _ = bm.server.Parse(bm.req)
			}
		})
	}
}
