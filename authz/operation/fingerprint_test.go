package operation_test

import (
	"encoding/hex"
	"testing"

	"github.com/sallyport/sallyport/authz/operation"
)

func fingerprint(tb testing.TB, s *operation.Server, req *operation.Request) string {
	tb.Helper()
	op, err := s.Parse(req)
	if err != nil {
		tb.Fatal(err)
	}
	return hex.EncodeToString(op.Fingerprint[:])
}

// Fingerprints are stored with idempotency keys and approvals, so these values
// never change: a new encoding needs a new version. They were computed from the
// words in fingerprint.go, not by this code.
func TestFingerprintGolden(t *testing.T) {
	t.Parallel()
	mcp, rest := mustNew(t, mcpConfig()), mustNew(t, restConfig())
	for _, tc := range []struct {
		name   string
		server *operation.Server
		req    *operation.Request
		want   string
	}{
		{"tool", mcp, call(legacyCall), "9c7e7ffac0a558afc0488444b635d5b13d65c9a8acc6405f2820a2527e538856"},
		{"tool without arguments", mcp, call(params("tools/call", `"name":"book_service"`)), "a266cdd6e38a4947348f9565b225dc495e5c5e5469299b02d96b6b8e0847cce9"},
		{"resource", mcp, call(params("resources/read", `"uri":"dealership://hours"`)), "d358b5e5b22b7feffe9d7087e41912a49df96b135c2d5b1452918886937f1682"},
		{"list", mcp, call(params("tools/list", `"cursor":"x","_meta":{"progressToken":1}`)), "a306c571161ca3d13079d9552748d861cde87179a17fe5ca058cff03b7ea827b"},
		{"list without params", mcp, call(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`), "b1e9734029514b2b422f7825c9329023e6ef36914dd157b594f4cb781860fe8b"},
		{"stream", mcp, request("GET", "/mcp", ""), "431c0150cd191956cbafbd073543cb809dbad555e2a9770652dced01a1810a94"},
		{"response", mcp, call(`{"jsonrpc":"2.0","id":5,"result":{"roots":[],"_meta":{}}}`), "a185b1b353610eaedefb1d76a99bf83f2a12a572b2172dc73c5c6ca444083b98"},
		{"route", rest, request("GET", "/api/vehicles/V-1?fields=price", ""), "aacee61f6bc66734fcbff1c03f2bd047da2d6731571266e0b8a5ad1b7baefa0c"},
		{
			"route with a body", rest, request("POST", "/api/vehicles/V-1/bookings", `{"date": "2026-11-24"}`, "content-type", " application/json"),
			"a733adcd3940cd3effad7448635a1a05e18d00f31ae1bf2afef1b9e3efcbc515",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := fingerprint(t, tc.server, tc.req); got != tc.want {
				t.Errorf("fingerprint %s, want %s", got, tc.want)
			}
		})
	}
}

// What makes no other call makes no other fingerprint.
func TestFingerprintSame(t *testing.T) {
	t.Parallel()
	server := mustNew(t, mcpConfig())
	want := fingerprint(t, server, call(legacyCall))
	for name, req := range map[string]*operation.Request{
		"another revision": modern(modernCall, "mcp-method", "tools/call", "mcp-name", "book_service"),
		"another id, order, spelling and space": call(`{ "params" : {"arguments":{"slot":30e-1,"date":"2026\u002d11-24", "vehicle_id":"V-1002"},
			"name":"book\u005fservice"},"method":"tools/call","id":"x","jsonrpc":"2.0"}`),
		"with _meta, an idempotency key and a task": call(params("tools/call",
			`"name":"book_service","arguments":{"vehicle_id":"V-1002","date":"2026-11-24","slot":3.0},"_meta":{"idempotencyKey":"k"},"task":{"ttl":1}`)),
		"the second leg of a round trip": call(params("tools/call",
			`"name":"book_service","arguments":{"vehicle_id":"V-1002","date":"2026-11-24","slot":3},"inputResponses":{"a":{}},"requestState":"s"`)),
	} {
		if got := fingerprint(t, server, req); got != want {
			t.Errorf("%s: another fingerprint", name)
		}
	}
}

// What makes another call makes another fingerprint.
func TestFingerprintDiffers(t *testing.T) {
	t.Parallel()
	mcp, rest := mustNew(t, mcpConfig()), mustNew(t, restConfig())
	other := mcpConfig()
	other.Name = "dealership2"
	book := func(path, body string, extra ...string) *operation.Request {
		return request("POST", path, body, append([]string{"content-type", "application/json"}, extra...)...)
	}
	transfer := func(account string) *operation.Request {
		return call(params("tools/call", `"name":"transfer","arguments":{"account":`+account+`}`))
	}
	seen := map[string]string{}
	for _, tc := range []struct {
		name   string
		server *operation.Server
		req    *operation.Request
	}{
		{"a call", mcp, transfer("9007199254740992")},
		{"another last digit", mcp, transfer("9007199254740993")},
		{"a string", mcp, transfer(`"9007199254740992"`)},
		{"null", mcp, transfer("null")},
		{"nothing", mcp, call(params("tools/call", `"name":"transfer","arguments":{}`))},
		{"another tool", mcp, call(params("tools/call", `"name":"transfer2","arguments":{}`))},
		{"an argument called _meta", mcp, call(params("tools/call", `"name":"transfer","arguments":{"_meta":1}`))},
		{"another server", mustNew(t, other), transfer("9007199254740992")},
		{"a stream", mcp, request("GET", "/mcp", "")},
		{"end of a session", mcp, request("DELETE", "/mcp", "", "mcp-session-id", "s")},
		{"a subscription", mcp, call(params("resources/subscribe", `"uri":"dealership://hours"`))},
		{"the end of one", mcp, call(params("resources/unsubscribe", `"uri":"dealership://hours"`))},
		{"a request to a route", rest, book("/api/vehicles/V-1/bookings", `{"a":1}`)},
		{"another path", rest, book("/api/vehicles/V-2/bookings", `{"a":1}`)},
		{"a query", rest, book("/api/vehicles/V-1/bookings?b=1", `{"a":1}`)},
		{"another query", rest, book("/api/vehicles/V-1/bookings?b=2", `{"a":1}`)},
		{"another body", rest, book("/api/vehicles/V-1/bookings", `{"a":2}`)},
		{"another content type", rest, request("POST", "/api/vehicles/V-1/bookings", `{"a":1}`, "content-type", "application/json;charset=utf-8")},
		{"another method", rest, request("DELETE", "/api/vehicles/V-1", "")},
		{"any body", rest, request("PUT", "/api/vehicles/V-1/photo", "\xff", "content-type", "image/jpeg")},
		{"any other body", rest, request("PUT", "/api/vehicles/V-1/photo", "\xfe", "content-type", "image/jpeg")},
	} {
		got := fingerprint(t, tc.server, tc.req)
		if before, twice := seen[got]; twice {
			t.Errorf("%s has the fingerprint of %s", tc.name, before)
		}
		seen[got] = tc.name
	}
}

// The memory of one request never shows in another's result.
func TestParseKeepsNothing(t *testing.T) {
	t.Parallel()
	server := mustNew(t, mcpConfig())
	first, err := server.Parse(call(legacyCall))
	if err != nil {
		t.Fatal(err)
	}
	want := fingerprint(t, server, call(legacyCall))
	if r := refusalOf(t, server, call(params("tools/call", `"name":"other_service","arguments":{"vehicle_id":"X","date":`+nested()+`}`))); r == nil {
		t.Fatal("a deep argument was accepted")
	}
	if _, err := server.Parse(call(params("ping", `"_meta":{"idempotencyKey":"k"}`))); err != nil {
		t.Fatal(err)
	}
	if got := fingerprint(t, server, call(legacyCall)); got != want || hex.EncodeToString(first.Fingerprint[:]) != want {
		t.Errorf("the same call has the fingerprints %s and %s", want, got)
	}
	if first.Tool != "book_service" || first.Arguments["vehicle_id"] != "V-1002" || first.RPCID != "17" || first.IdempotencyKey != "" {
		t.Errorf("a later request changed the first operation: %+v", first)
	}
}
