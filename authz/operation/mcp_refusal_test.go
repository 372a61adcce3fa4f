package operation_test

import (
	"strings"
	"testing"

	"github.com/sallyport/sallyport/authz/operation"
)

// refused is a request and why it is refused.
type refused struct {
	name  string
	req   *operation.Request
	cause string
	id    string // of the request, for the answer
}

func call(body string) *operation.Request { return post(body, "mcp-protocol-version", "2025-11-25") }

// modern is a 2026-07-28 request with these headers besides the version.
func modern(body string, extra ...string) *operation.Request {
	return post(body, append([]string{"mcp-protocol-version", "2026-07-28"}, extra...)...)
}

// params makes a request with id 1 of a method and the members of its params.
func params(method, members string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` + members + `}}`
}

// nested is nested more deeply than is accepted.
func nested() string { return strings.Repeat("[", 80) + strings.Repeat("]", 80) }

func mcpRefusals() []refused {
	const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	withType := func(values ...string) *operation.Request {
		r := request("POST", "/mcp", ping)
		for _, v := range values {
			r.Headers = append(r.Headers, operation.Header{Name: "content-type", Value: v})
		}
		return r
	}
	return []refused{
		// HTTP
		{"another path", request("POST", "/mcp/", ping), operation.CauseRouteUnknown, "1"},
		{"encoded path", request("POST", "/%6dcp", ping), operation.CauseRouteUnknown, "1"},
		{"a query", request("POST", "/mcp?x=1", ping), operation.CauseQuery, "1"},
		{"an empty query", request("POST", "/mcp?", ping), operation.CauseQuery, "1"},
		{"override of the method", post(ping, "x-http-method-override", "DELETE"), operation.CauseOverrideHeader, "1"},
		{"override of the path", post(ping, "x-original-url", "/admin"), operation.CauseOverrideHeader, "1"},
		{"an upgrade", post(ping, "upgrade", "websocket"), operation.CauseOverrideHeader, "1"},
		{"an override of a stream", request("GET", "/mcp", "", "x-rewrite-url", "/x"), operation.CauseOverrideHeader, ""},
		{"a foreign origin", post(ping, "origin", "https://evil.example"), operation.CauseOrigin, ""},
		{"an origin in another case", post(ping, "origin", "https://App.example"), operation.CauseOrigin, ""},
		{"an empty origin", post(ping, "origin", ""), operation.CauseOrigin, ""},
		{"two origins", post(ping, "origin", "https://app.example", "origin", "https://app.example"), operation.CauseOrigin, ""},
		{"a foreign origin at a stream", request("GET", "/mcp", "", "origin", "null"), operation.CauseOrigin, ""},
		{"PATCH", request("PATCH", "/mcp", ping), operation.CauseMethodNotAllowed, ""},
		{"a stream of 2026-07-28", request("GET", "/mcp", "", "mcp-protocol-version", "2026-07-28"), operation.CauseMethodNotAllowed, ""},
		{"end of a session of 2026-07-28", request("DELETE", "/mcp", "", "mcp-protocol-version", "2026-07-28", "mcp-session-id", "s"), operation.CauseMethodNotAllowed, ""},
		{"end of no session", request("DELETE", "/mcp", ""), operation.CauseSessionHeader, ""},
		{"a stream with a body", request("GET", "/mcp", ping), operation.CauseUnexpectedBody, ""},
		{"a stream with a body in chunks", &operation.Request{Method: "GET", Path: "/mcp", Body: "x"}, operation.CauseUnexpectedBody, ""},
		{"a stream whose body was held back", request("GET", "/mcp", "", "content-length", "5"), operation.CauseBodyIncomplete, ""},
		{"a stream of an unknown revision", request("GET", "/mcp", "", "mcp-protocol-version", "2024-11-05"), operation.CauseUnsupportedVersion, ""},
		{"a stream of two revisions", request("GET", "/mcp", "", "mcp-protocol-version", "2025-11-25", "mcp-protocol-version", "2025-11-25"), operation.CauseHeaderMismatch, ""},

		// The body as HTTP describes it
		{"no content type", withType(), operation.CauseContentType, "1"},
		{"JSON-RPC's own content type", withType("application/json-rpc"), operation.CauseContentType, "1"},
		{"text", withType("text/json"), operation.CauseContentType, "1"},
		{"another charset", withType("application/json; charset=utf-16"), operation.CauseContentType, "1"},
		{"a parameter", withType("application/json; v=1"), operation.CauseContentType, "1"},
		{"a parameter that only looks like a charset", withType("application/json; x=utf-8"), operation.CauseContentType, "1"},
		{"two parameters", withType("application/json; charset=utf-8; charset=utf-7"), operation.CauseContentType, "1"},
		{"a list of types", withType("application/json, text/plain"), operation.CauseContentType, "1"},
		{"two content types", withType("application/json", "application/json"), operation.CauseContentType, "1"},
		{"gzip", post("\x1f\x8b\x08\x00", "content-encoding", "gzip"), operation.CauseContentEncoding, ""},
		{"a claim of gzip", post(ping, "content-encoding", "gzip"), operation.CauseContentEncoding, "1"},
		{"a list of encodings", post(ping, "content-encoding", "identity, identity"), operation.CauseContentEncoding, "1"},
		{"two encodings", post(ping, "content-encoding", "identity", "content-encoding", "br"), operation.CauseContentEncoding, "1"},
		{"too large", post(`{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"` + strings.Repeat("x", 1<<20) + `"}}`), operation.CauseBodyTooLarge, ""},
		{"longer than declared", &operation.Request{Method: "POST", Path: "/mcp", Body: ping, Headers: operation.Headers{
			{Name: "content-type", Value: "application/json"}, {Name: "content-length", Value: "3"},
		}}, operation.CauseBodyIncomplete, "1"},
		{"two lengths", post(ping, "content-length", "40"), operation.CauseBodyIncomplete, "1"},
		{"a length that is none", &operation.Request{Method: "POST", Path: "/mcp", Body: ping, Headers: operation.Headers{
			{Name: "content-type", Value: "application/json"}, {Name: "content-length", Value: "+40"},
		}}, operation.CauseBodyIncomplete, "1"},
		{"a length beyond all", &operation.Request{Method: "POST", Path: "/mcp", Body: ping, Headers: operation.Headers{
			{Name: "content-type", Value: "application/json"}, {Name: "content-length", Value: "18446744073709551656"},
		}}, operation.CauseBodyIncomplete, "1"},

		// JSON
		{"no body", post(""), operation.CauseInvalidJSON, ""},
		{"a byte order mark", post("\ufeff" + ping), operation.CauseInvalidJSON, ""},
		{"UTF-16", post("{\x00}\x00"), operation.CauseInvalidJSON, ""},
		{"invalid UTF-8", post("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}"), operation.CauseInvalidJSON, ""},
		{"a lone surrogate", call(`{"jsonrpc":"2.0","id":1,"method":"\ud800"}`), operation.CauseInvalidJSON, "1"},
		{"a comma too many", call(`{"jsonrpc":"2.0","id":1,"method":"ping",}`), operation.CauseInvalidJSON, "1"},
		{"a comment", call(`{"jsonrpc":"2.0","id":1/**/,"method":"ping"}`), operation.CauseInvalidJSON, "1"},
		{"two messages", call(ping + ping), operation.CauseInvalidJSON, "1"},
		{"a null character after it", call(ping + "\x00"), operation.CauseInvalidJSON, "1"},
		{"a leading zero", call(`{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":01}}`), operation.CauseInvalidJSON, "1"},
		{"a part", call(`{"jsonrpc":"2.0","id":1,"meth`), operation.CauseInvalidJSON, "1"},
		{"nested too deeply", call(params("tools/call", `"name":"book","arguments":{"x":`+nested()+`}`)), operation.CauseTooComplex, "1"},
		{"nested too deeply before the id", call(`{"params":` + nested() + `,"id":1}`), operation.CauseTooComplex, ""},
		{"a huge exponent", call(params("tools/call", `"name":"book","arguments":{"x":1e999999999}`)), operation.CauseTooComplex, "1"},
		{"a long number", call(params("tools/call", `"name":"book","arguments":{"x":`+strings.Repeat("9", 300)+`}`)), operation.CauseTooComplex, "1"},
		{"a fraction that is rounded away", call(params("tools/call", `"name":"book","arguments":{"x":7.00000000000000000001}`)), operation.CauseTooComplex, "1"},
		{"a fraction of 17 digits that is rounded away", call(params("tools/call", `"name":"book","arguments":{"x":[99.999999999999999]}`)), operation.CauseTooComplex, "1"},
		{"too many values", call(params("tools/call", `"name":"book","arguments":{"x":[0`+strings.Repeat(",0", 1<<17)+`]}`)), operation.CauseTooComplex, "1"},
		{"a member twice", call(`{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}`), operation.CauseDuplicateMember, "1"},
		{"a member twice, one escaped", call(`{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/call"}`), operation.CauseDuplicateMember, "1"},
		{"two ids", call(`{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}`), operation.CauseDuplicateMember, ""},
		{"an argument twice, deep inside", call(params("tools/call", `"name":"book","arguments":{"x":[{"a":1,"a":2}]}`)), operation.CauseDuplicateMember, "1"},
		{"a member of many twice", call(params("tools/call", `"name":"book","arguments":{"a":0,"b":0,"c":0,"d":0,"e":0,"f":0,"g":0,"h":0,"i":0,"j":0,"k":0,"l":0,"m":0,"n":0,"o":0,"p":0,"q":0,"a":0}`)), operation.CauseDuplicateMember, "1"},
		{"arguments that differ in case", call(params("tools/call", `"name":"book","arguments":{"amount":1,"Amount":2}`)), operation.CauseDuplicateMember, "1"},
		{"arguments that differ in case, many", call(params("tools/call", `"name":"book","arguments":{"a":0,"b":0,"c":0,"d":0,"e":0,"f":0,"g":0,"h":0,"i":0,"k":0,"\u212a":0}`)), operation.CauseDuplicateMember, "1"},
		{"members that differ in case", call(params("tools/call", `"name":"book","arguments":{"nested":{"admin":false,"Admin":true}}`)), operation.CauseDuplicateMember, "1"},
		{"members that differ in case, deep inside", call(params("tools/call", `"name":"book","arguments":{"x":[[{"a":{"\u017f":0,"b":1,"S":2}}]]}`)), operation.CauseDuplicateMember, "1"},

		// JSON-RPC
		{"a batch", call("[" + ping + "]"), operation.CauseBatch, ""},
		{"a batch of 2025-03-26", post("[" + ping + "," + ping + "]"), operation.CauseBatch, ""},
		{"an empty batch", call("[]"), operation.CauseBatch, ""},
		{"a string", call(`"ping"`), operation.CauseNotJSONRPC, ""},
		{"an empty object", call(`{}`), operation.CauseNotJSONRPC, ""},
		{"no version", call(`{"id":1,"method":"ping"}`), operation.CauseNotJSONRPC, "1"},
		{"JSON-RPC 1.0", call(`{"jsonrpc":"1.0","id":1,"method":"ping"}`), operation.CauseNotJSONRPC, "1"},
		{"a version that is a number", call(`{"jsonrpc":2.0,"id":1,"method":"ping"}`), operation.CauseNotJSONRPC, "1"},
		{"id null", call(`{"jsonrpc":"2.0","id":null,"method":"ping"}`), operation.CauseNotJSONRPC, ""},
		{"id true", call(`{"jsonrpc":"2.0","id":true,"method":"ping"}`), operation.CauseNotJSONRPC, ""},
		{"id with a fraction", call(`{"jsonrpc":"2.0","id":1.5,"method":"ping"}`), operation.CauseNotJSONRPC, ""},
		{"id with an exponent", call(`{"jsonrpc":"2.0","id":1e3,"method":"ping"}`), operation.CauseNotJSONRPC, ""},
		{"a long id", call(`{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 300) + `","method":"ping"}`), operation.CauseNotJSONRPC, ""},
		{"a huge id", call(`{"jsonrpc":"2.0","id":123456789012345678901,"method":"ping"}`), operation.CauseNotJSONRPC, ""},
		{"no method", call(`{"jsonrpc":"2.0","id":1}`), operation.CauseNotJSONRPC, "1"},
		{"a method that is a number", call(`{"jsonrpc":"2.0","id":1,"method":1}`), operation.CauseNotJSONRPC, "1"},
		{"a method with a result", call(`{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}`), operation.CauseNotJSONRPC, ""},
		{"result and error", call(`{"jsonrpc":"2.0","id":1,"result":{},"error":{}}`), operation.CauseNotJSONRPC, ""},
		{"a result that is a string", call(`{"jsonrpc":"2.0","id":1,"result":"x"}`), operation.CauseNotJSONRPC, ""},
		{"a response without id", call(`{"jsonrpc":"2.0","result":{}}`), operation.CauseNotJSONRPC, ""},
		{"a response of 2026-07-28", modern(`{"jsonrpc":"2.0","id":1,"result":{}}`), operation.CauseNotJSONRPC, ""},
		{"a response with a mirrored method", post(`{"jsonrpc":"2.0","id":1,"result":{}}`, "mcp-method", "tools/call"), operation.CauseHeaderMismatch, ""},
		{"an unknown member", call(`{"jsonrpc":"2.0","id":1,"method":"ping","params.name":"book"}`), operation.CauseNotJSONRPC, "1"},
		{"a member without a name", call(`{"jsonrpc":"2.0","id":1,"method":"ping","":"book"}`), operation.CauseNotJSONRPC, "1"},
		{"a request without id", call(`{"jsonrpc":"2.0","method":"tools/call","params":{"name":"book"}}`), operation.CauseNotJSONRPC, ""},
		{"a notification with id", call(`{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}`), operation.CauseNotJSONRPC, "1"},
		{"method in another case", call(`{"jsonrpc":"2.0","id":1,"Method":"ping"}`), operation.CauseMemberCase, "1"},
		{"method twice in two cases", call(`{"jsonrpc":"2.0","id":1,"method":"ping","METHOD":"tools/call"}`), operation.CauseMemberCase, "1"},
		{"params with a long s", call(`{"jsonrpc":"2.0","id":1,"method":"ping","param\u017f":{}}`), operation.CauseMemberCase, "1"},
		{"name in another case", call(params("tools/call", `"name":"book","Name":"refund"`)), operation.CauseMemberCase, "1"},
		{"arguments in another case", call(params("tools/call", `"name":"book","argumentS":{}`)), operation.CauseMemberCase, "1"},
		{"_meta in another case", call(params("tools/call", `"name":"book","_META":{}`)), operation.CauseMemberCase, "1"},
		{"a member of _meta in another case", call(params("ping", `"_meta":{"IdempotencyKey":"k"}`)), operation.CauseMemberCase, "1"},
		{"a member of ref in another case", call(params("completion/complete", `"ref":{"type":"ref/prompt","name":"recommend_vehicle","Name":"secret"}`)), operation.CauseMemberCase, "1"},
		{"a member of the filter in another case", call(params("subscriptions/listen", `"notifications":{"ResourceSubscriptions":["x"]}`)), operation.CauseMemberCase, "1"},
	}
}

func revisionRefusals() []refused {
	const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	toolCall := params("tools/call", meta+`,"name":"book"`)
	tool := []string{"mcp-method", "tools/call", "mcp-name", "book"}
	withTool := func(extra ...string) []string { return append(append([]string{}, tool...), extra...) }
	const version, capabilities = `"io.modelcontextprotocol/protocolVersion":"2026-07-28"`, `"io.modelcontextprotocol/clientCapabilities":{}`
	return []refused{
		{"an unknown revision", post(ping, "mcp-protocol-version", "2024-11-05"), operation.CauseUnsupportedVersion, "1"},
		{"an empty revision", post(ping, "mcp-protocol-version", ""), operation.CauseUnsupportedVersion, "1"},
		{"an unknown revision in both places", post(strings.ReplaceAll(toolCall, "2026-07-28", "v999"), "mcp-protocol-version", "v999"), operation.CauseUnsupportedVersion, "1"},
		{"an initialize with an unknown header", post(params("initialize", `"protocolVersion":"2025-11-25"`), "mcp-protocol-version", "2024-11-05"), operation.CauseUnsupportedVersion, "1"},
		{"an initialize without an offer", call(params("initialize", ``)), operation.CauseBadParams, "1"},
		{"an initialize that offers a number", call(params("initialize", `"protocolVersion":20251125`)), operation.CauseBadParams, "1"},
		{"an initialize that offers a space", call(params("initialize", `"protocolVersion":"2025 11 25"`)), operation.CauseBadParams, "1"},
		{"two revisions", post(ping, "mcp-protocol-version", "2025-11-25", "mcp-protocol-version", "2025-11-25"), operation.CauseHeaderMismatch, "1"},
		{"header and body of two revisions", call(toolCall), operation.CauseHeaderMismatch, "1"},
		{"header newer than the body", modern(strings.Replace(toolCall, "2026-07-28", "2025-11-25", 1), tool...), operation.CauseHeaderMismatch, "1"},
		{"a revision in the body only", post(toolCall, tool...), operation.CauseHeaderMismatch, "1"},
		{"an empty revision in the body only", post(params("ping", `"_meta":{"io.modelcontextprotocol/protocolVersion":""}`)), operation.CauseHeaderMismatch, "1"},
		{"a revision in the body that is a number", call(params("ping", `"_meta":{"io.modelcontextprotocol/protocolVersion":1}`)), operation.CauseBadMeta, "1"},

		{"no params", modern(ping, "mcp-method", "ping"), operation.CauseBadMeta, "1"},
		{"no _meta", modern(params("tools/list", ``), "mcp-method", "tools/list"), operation.CauseBadMeta, "1"},
		{"_meta is a string", modern(params("tools/list", `"_meta":"x"`), "mcp-method", "tools/list"), operation.CauseBadMeta, "1"},
		{"no revision in _meta", modern(params("tools/list", `"_meta":{`+capabilities+`}`), "mcp-method", "tools/list"), operation.CauseBadMeta, "1"},
		{"no capabilities in _meta", modern(params("tools/list", `"_meta":{`+version+`}`), "mcp-method", "tools/list"), operation.CauseBadMeta, "1"},
		{"capabilities are a list", modern(params("tools/list", `"_meta":{`+version+`,"io.modelcontextprotocol/clientCapabilities":[]}`), "mcp-method", "tools/list"), operation.CauseBadMeta, "1"},

		{"no Mcp-Method", modern(toolCall, "mcp-name", "book"), operation.CauseHeaderMismatch, "1"},
		{"another Mcp-Method", modern(toolCall, "mcp-method", "tools/list", "mcp-name", "book"), operation.CauseHeaderMismatch, "1"},
		{"Mcp-Method in another case", modern(toolCall, "mcp-method", "Tools/Call", "mcp-name", "book"), operation.CauseHeaderMismatch, "1"},
		{"Mcp-Method in Base64", modern(toolCall, "mcp-method", "=?base64?dG9vbHMvY2FsbA==?=", "mcp-name", "book"), operation.CauseHeaderMismatch, "1"},
		{"two Mcp-Method", modern(toolCall, withTool("mcp-method", "tools/call")...), operation.CauseHeaderMismatch, "1"},
		{"no Mcp-Name", modern(toolCall, "mcp-method", "tools/call"), operation.CauseHeaderMismatch, "1"},
		{"an empty Mcp-Name", modern(toolCall, "mcp-method", "tools/call", "mcp-name", ""), operation.CauseHeaderMismatch, "1"},
		{"another Mcp-Name", modern(toolCall, "mcp-method", "tools/call", "mcp-name", "refund"), operation.CauseHeaderMismatch, "1"},
		{"Mcp-Name with the marks of Base64 in another case", modern(toolCall, "mcp-method", "tools/call", "mcp-name", "=?BASE64?Ym9vaw==?="), operation.CauseHeaderMismatch, "1"},
		{"Mcp-Name in broken Base64", modern(toolCall, "mcp-method", "tools/call", "mcp-name", "=?base64?Ym9vaw?="), operation.CauseHeaderMismatch, "1"},
		{"Mcp-Name in Base64 with stray bits", modern(toolCall, "mcp-method", "tools/call", "mcp-name", "=?base64?Ym9vax==?="), operation.CauseHeaderMismatch, "1"},
		{"Mcp-Name in raw UTF-8", modern(params("tools/call", meta+`,"name":"büro"`), "mcp-method", "tools/call", "mcp-name", "büro"), operation.CauseHeaderMismatch, "1"},
		{"Mcp-Name of a resource", modern(params("resources/read", meta+`,"uri":"dealership://hours"`), "mcp-method", "resources/read", "mcp-name", "dealership://other"), operation.CauseHeaderMismatch, "1"},
		{"no Mcp-Name of a prompt", modern(params("prompts/get", meta+`,"name":"greet_x"`), "mcp-method", "prompts/get"), operation.CauseHeaderMismatch, "1"},
		{"Mcp-Name of another task", modern(params("tasks/get", meta+`,"taskId":"a"`), "mcp-method", "tasks/get", "mcp-name", "b"), operation.CauseHeaderMismatch, "1"},
		{"an undecodable Mcp-Name where none belongs", modern(params("tools/list", meta), "mcp-method", "tools/list", "mcp-name", "\x01"), operation.CauseHeaderMismatch, "1"},
		{"Mcp-Name of an older revision that says another tool", post(params("tools/call", `"name":"book"`), "mcp-protocol-version", "2025-06-18", "mcp-name", "refund"), operation.CauseHeaderMismatch, "1"},
		{"Mcp-Method of an older revision that says another method", post(ping, "mcp-method", "tools/call"), operation.CauseHeaderMismatch, "1"},
		{"a notification of 2026-07-28 with another Mcp-Method", modern(`{"jsonrpc":"2.0","method":"notifications/x"}`, "mcp-method", "tools/call"), operation.CauseHeaderMismatch, ""},
		{"Mcp-Param in broken Base64", modern(toolCall, withTool("mcp-param-x", "=?base64?SGVs!!!bG8=?=")...), operation.CauseHeaderMismatch, "1"},
		{"Mcp-Param twice", modern(toolCall, withTool("mcp-param-x", "a", "mcp-param-x", "a")...), operation.CauseHeaderMismatch, "1"},
		{"Mcp-Param in raw UTF-8", modern(toolCall, withTool("mcp-param-x", "ü")...), operation.CauseHeaderMismatch, "1"},

		{"a session that is empty", post(ping, "mcp-session-id", ""), operation.CauseSessionHeader, "1"},
		{"a session with a space", post(ping, "mcp-session-id", "a b"), operation.CauseSessionHeader, "1"},
		{"a long session", post(ping, "mcp-session-id", strings.Repeat("x", 2049)), operation.CauseSessionHeader, "1"},
		{"two sessions", post(ping, "mcp-session-id", "a", "mcp-session-id", "b"), operation.CauseSessionHeader, "1"},

		{"a key that is empty", call(params("ping", `"_meta":{"idempotencyKey":""}`)), operation.CauseIdempotencyKey, "1"},
		{"a key that is a number", call(params("ping", `"_meta":{"idempotencyKey":1}`)), operation.CauseIdempotencyKey, "1"},
		{"a key with a space", call(params("ping", `"_meta":{"idempotencyKey":"a b"}`)), operation.CauseIdempotencyKey, "1"},
		{"a long key", call(params("ping", `"_meta":{"idempotencyKey":"`+strings.Repeat("x", 256)+`"}`)), operation.CauseIdempotencyKey, "1"},
		{"two keys", call(params("ping", `"_meta":{"idempotencyKey":"a","`+operation.KeyMember+`":"b"}`)), operation.CauseIdempotencyKey, "1"},

		{"a method that is not listed", call(params("sampling/createMessage", ``)), operation.CauseUnknownMethod, "1"},
		{"a method whose beginning is listed", call(params("tools/callx", ``)), operation.CauseUnknownMethod, "1"},
		{"a pattern's own name", call(params("vendor", ``)), operation.CauseUnknownMethod, "1"},
		{"a method in another case", call(params("Tools/call", `"name":"book"`)), operation.CauseUnknownMethod, "1"},
		{"an empty method", call(params("", ``)), operation.CauseUnknownMethod, "1"},
		{"a method with a space", call(params("ping ", ``)), operation.CauseUnknownMethod, "1"},
		{"a long method", call(params("vendor/"+strings.Repeat("x", 200), ``)), operation.CauseUnknownMethod, "1"},
		{"initialize of 2026-07-28", modern(params("initialize", meta+`,"protocolVersion":"2026-07-28"`), "mcp-method", "initialize"), operation.CauseUnknownMethod, "1"},
		{"ping of 2026-07-28", modern(params("ping", meta), "mcp-method", "ping"), operation.CauseUnknownMethod, "1"},
		{"logging/setLevel of 2026-07-28", modern(params("logging/setLevel", meta), "mcp-method", "logging/setLevel"), operation.CauseUnknownMethod, "1"},
		{"resources/subscribe of 2026-07-28", modern(params("resources/subscribe", meta+`,"uri":"dealership://hours"`), "mcp-method", "resources/subscribe"), operation.CauseUnknownMethod, "1"},
	}
}

func targetRefusals() []refused {
	read := func(uri string) *operation.Request { return call(params("resources/read", `"uri":"`+uri+`"`)) }
	return []refused{
		{"params is a list", call(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["book"]}`), operation.CauseBadParams, "1"},
		{"params is null", call(`{"jsonrpc":"2.0","id":1,"method":"ping","params":null}`), operation.CauseBadParams, "1"},
		{"a tool without params", call(`{"jsonrpc":"2.0","id":1,"method":"tools/call"}`), operation.CauseMissingTool, "1"},
		{"a tool without name", call(params("tools/call", `"arguments":{}`)), operation.CauseMissingTool, "1"},
		{"an empty name", call(params("tools/call", `"name":""`)), operation.CauseMissingTool, "1"},
		{"a name that is a list", call(params("tools/call", `"name":["book"]`)), operation.CauseMissingTool, "1"},
		{"a long name", call(params("tools/call", `"name":"`+strings.Repeat("x", 257)+`"`)), operation.CauseMissingTool, "1"},
		{"a member beside the arguments", call(params("tools/call", `"name":"book","dryRun":false`)), operation.CauseBadParams, "1"},
		{"a dotted member", call(params("tools/call", `"name":"book","arguments.amount":1`)), operation.CauseBadParams, "1"},
		{"arguments are null", call(params("tools/call", `"name":"book","arguments":null`)), operation.CauseBadArguments, "1"},
		{"arguments are a list", call(params("tools/call", `"name":"book","arguments":[1]`)), operation.CauseBadArguments, "1"},
		{"arguments are a string of JSON", call(params("tools/call", `"name":"book","arguments":"{}"`)), operation.CauseBadArguments, "1"},

		{"a resource without URI", call(params("resources/read", ``)), operation.CauseBadParams, "1"},
		{"a URI that is an object", call(params("resources/read", `"uri":{}`)), operation.CauseBadParams, "1"},
		{"a long URI", read("dealership://vehicles/" + strings.Repeat("x", 4096)), operation.CauseBadParams, "1"},
		{"a resource that is not listed", read("dealership://internal/price-list"), operation.CauseResourceNotListed, "1"},
		{"a longer URI than an exact one", read("dealership://hours/x"), operation.CauseResourceNotListed, "1"},
		{"a listed one in another case", read("dealership://Hours"), operation.CauseResourceNotListed, "1"},
		{"the beginning alone", read("dealership://vehicles/"), operation.CauseResourceNotListed, "1"},
		{"dot segments", read("file:///pub/../etc/passwd"), operation.CauseResourceNotListed, "1"},
		{"a dot segment at the end", read("file:///pub/a/.."), operation.CauseResourceNotListed, "1"},
		{"encoded dots", read("file:///pub/%2e%2E/etc/passwd"), operation.CauseResourceNotListed, "1"},
		{"an encoded slash", read("file:///pub/..%2fetc"), operation.CauseResourceNotListed, "1"},
		{"a double escape", read("file:///pub/%252e%252e/etc"), operation.CauseResourceNotListed, "1"},
		{"a backslash", read(`file:///pub/..\\etc`), operation.CauseResourceNotListed, "1"},
		{"an empty segment", read("file:///pub//etc/passwd"), operation.CauseResourceNotListed, "1"},
		{"a null character", read(`file:///pub/a\u0000`), operation.CauseResourceNotListed, "1"},
		{"a query", read("dealership://vehicles/..?x"), operation.CauseResourceNotListed, "1"},
		{"a fragment", read("dealership://vehicles/..#x"), operation.CauseResourceNotListed, "1"},
		{"a parameter of a segment", read("dealership://vehicles/..;/secret"), operation.CauseResourceNotListed, "1"},
		{"a space at the end", read("dealership://vehicles/.. "), operation.CauseResourceNotListed, "1"},
		{"a broken escape", read("file:///pub/%zz"), operation.CauseResourceNotListed, "1"},
		{"subscribes to an unlisted resource", call(params("resources/subscribe", `"uri":"file:///etc/passwd"`)), operation.CauseResourceNotListed, "1"},
		{"unsubscribes from an unlisted resource", call(params("resources/unsubscribe", `"uri":"file:///etc/passwd"`)), operation.CauseResourceNotListed, "1"},
		{"a prompt that is not listed", call(params("prompts/get", `"name":"secret"`)), operation.CausePromptNotListed, "1"},
		{"a prompt without name", call(params("prompts/get", ``)), operation.CauseBadParams, "1"},

		{"completion without ref", call(params("completion/complete", ``)), operation.CauseBadParams, "1"},
		{"completion of a string", call(params("completion/complete", `"ref":"ref/prompt"`)), operation.CauseBadParams, "1"},
		{"completion of an unknown kind", call(params("completion/complete", `"ref":{"type":"ref/tool","name":"book"}`)), operation.CauseBadParams, "1"},
		{"completion of nothing", call(params("completion/complete", `"ref":{"type":"ref/prompt"}`)), operation.CauseBadParams, "1"},
		{"completion of an unlisted prompt", call(params("completion/complete", `"ref":{"type":"ref/prompt","name":"secret"}`)), operation.CausePromptNotListed, "1"},
		{"completion of an unlisted resource", call(params("completion/complete", `"ref":{"type":"ref/resource","uri":"file:///{path}"}`)), operation.CauseResourceNotListed, "1"},
		{"completion whose kind and name disagree", call(params("completion/complete", `"ref":{"type":"ref/resource","name":"greet_x"}`)), operation.CauseBadParams, "1"},

		{"listens without a filter", call(params("subscriptions/listen", ``)), operation.CauseBadParams, "1"},
		{"listens to a string", call(params("subscriptions/listen", `"notifications":{"resourceSubscriptions":"dealership://hours"}`)), operation.CauseBadParams, "1"},
		{"listens to a number", call(params("subscriptions/listen", `"notifications":{"resourceSubscriptions":[1]}`)), operation.CauseBadParams, "1"},
		{"listens to an unlisted resource", call(params("subscriptions/listen", `"notifications":{"resourceSubscriptions":["dealership://hours","file:///etc/passwd"]}`)), operation.CauseResourceNotListed, "1"},
	}
}

func TestParseMCPRefusals(t *testing.T) {
	t.Parallel()
	server := mustNew(t, mcpConfig())
	for _, group := range [][]refused{mcpRefusals(), revisionRefusals(), targetRefusals()} {
		for _, tc := range group {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel()
				checkRefusal(t, server, &tc, operation.MCP)
			})
		}
	}
}

func checkRefusal(t *testing.T, server *operation.Server, tc *refused, kind operation.Kind) {
	t.Helper()
	got := refusalOf(t, server, tc.req)
	switch {
	case got == nil:
		t.Fatalf("was accepted, want %s", tc.cause)
	case got.Cause != tc.cause:
		t.Errorf("cause %s (%s), want %s", got.Cause, got.Detail, tc.cause)
	case got.RPCID != tc.id:
		t.Errorf("id %q, want %q", got.RPCID, tc.id)
	case got.Kind != kind || got.Detail == "" || len(got.Detail) > 400:
		t.Errorf("kind %d, detail %q", got.Kind, got.Detail)
	}
}

// Each cause that Parse can give is given by one of the tables.
func TestEveryCauseIsTested(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{operation.CauseBodyTruncated: true} // the caller's
	for _, group := range [][]refused{mcpRefusals(), revisionRefusals(), targetRefusals(), restRefusals()} {
		for _, tc := range group {
			seen[tc.cause] = true
		}
	}
	for _, cause := range operation.Causes() {
		if !seen[cause] {
			t.Errorf("no test has the cause %s", cause)
		}
		delete(seen, cause)
	}
	for cause := range seen {
		t.Errorf("Causes lacks %s", cause)
	}
}

// What is known of a refused request is kept for its answer.
func TestRefusalKeepsWhatIsKnown(t *testing.T) {
	t.Parallel()
	r := refusalOf(t, mustNew(t, mcpConfig()), modern(params("unknown/method", meta), "mcp-method", "unknown/method"))
	if r == nil || r.Method != "unknown/method" || r.ProtocolVersion != "2026-07-28" || r.RPCID != "1" {
		t.Errorf("refusal %+v lacks method, revision or id", r)
	}
	if !r.Stateless() {
		t.Error("a refused request of 2026-07-28 is not stateless")
	}
	r = refusalOf(t, mustNew(t, mcpConfig()), request("POST", "/mcp", "[]", "content-type", "text/plain", "mcp-protocol-version", "2026-07-28"))
	if r == nil || !r.Stateless() {
		t.Errorf("refusal %+v of an unread message lacks the revision", r)
	}
	r = refusalOf(t, mustNew(t, mcpConfig()), call(params("unknown/method", "")))
	if r == nil || r.Stateless() {
		t.Fatalf("refusal %+v of 2025-11-25 is stateless", r)
	}
	if want := `operation: unknown_method: unknown method "unknown/method"`; r.Error() != want {
		t.Errorf("Error() = %q, want %q", r.Error(), want)
	}
}
