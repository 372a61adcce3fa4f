package main_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMessages sends MCP messages that a policy could read otherwise than the
// server behind, and what isn't on the server's lists.
func TestMessages(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	token := m.token(t, "alice", "vehicles.read services.write")
	search := callTool(token, "search_vehicles", `{}`)
	changed := func(old, fresh string) request {
		r := search
		if r.body = strings.Replace(r.body, old, fresh, 1); r.body == search.body {
			t.Fatalf("%q is not in %s", old, search.body)
		}
		return r
	}
	body := func(text string) request { r := search; r.body = text; return r }
	header := func(name, value string) request {
		r := search
		r.header = append([]string(nil), r.header...)
		for i := 0; i < len(r.header); i += 2 {
			if r.header[i] == name {
				r.header[i+1] = value
			}
		}
		return r
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = zip.Write([]byte(search.body))
	_ = zip.Close()
	read := func(uri string) request {
		return modern(token, "resources/read", uri, fmt.Sprintf(`{"uri":%q}`, uri))
	}
	old := func(method, params string) request {
		return legacy(token, fmt.Sprintf(`{"jsonrpc":"2.0","id":7,"method":%q,"params":%s}`, method, params))
	}
	for name, c := range map[string]struct {
		request request
		status  int
		reason  string
		code    int // of the JSON-RPC error
	}{
		"batch":                     {body("[" + search.body + "]"), 400, "operation.batch", -32600},
		"batch of two":              {body("[" + search.body + "," + search.body + "]"), 400, "operation.batch", -32600},
		"empty batch":               {body("[]"), 400, "operation.batch", -32600},
		"method twice":              {changed(`"method"`, `"method":"ping","method"`), 400, "operation.duplicate_member", -32600},
		"name twice":                {changed(`"name"`, `"name":"delete_customer","name"`), 400, "operation.duplicate_member", -32600},
		"escaped name twice":        {changed(`"name"`, `"n\u0061me":"delete_customer","name"`), 400, "operation.duplicate_member", -32600},
		"argument twice":            {changed(`"arguments":{`, `"arguments":{"limit":1,"limit":2`), 400, "operation.duplicate_member", -32600},
		"argument in another case":  {changed(`"arguments":{`, `"arguments":{"limit":1,"LIMIT":2`), 400, "operation.duplicate_member", -32600},
		"member in another case":    {changed(`"params"`, `"Params":{"name":"delete_customer"},"params"`), 400, "operation.member_case", -32600},
		"member nobody knows":       {changed(`"params"`, `"x":1,"params"`), 400, "operation.not_jsonrpc", -32600},
		"parameter nobody knows":    {changed(`"params":{`, `"params":{"tool":"delete_customer",`), 400, "operation.bad_params", -32602},
		"byte order mark":           {body("\ufeff" + search.body), 400, "operation.invalid_json", -32700},
		"UTF-16":                    {body("\xff\xfe{\x00}\x00"), 400, "operation.invalid_json", -32700},
		"something behind":          {body(search.body + "{}"), 400, "operation.invalid_json", -32700},
		"two lines":                 {body(search.body + "\n" + search.body), 400, "operation.invalid_json", -32700},
		"null character":            {body(search.body + "\x00"), 400, "operation.invalid_json", -32700},
		"no body":                   {body(""), 400, "operation.invalid_json", -32700},
		"nested deeply":             {changed(`"arguments":{}`, `"arguments":{"a":`+strings.Repeat("[", 5000)+strings.Repeat("]", 5000)+"}"), 400, "operation.too_complex", -32600},
		"gzip":                      {body(packed.String()).with("Content-Encoding", "gzip"), 415, "operation.content_encoding", -32600},
		"gzip, not declared":        {body(packed.String()), 400, "operation.invalid_json", -32700},
		"declared gzip":             {search.with("Content-Encoding", "gzip"), 415, "operation.content_encoding", -32600},
		"text":                      {header("Content-Type", "text/plain"), 415, "operation.content_type", -32600},
		"another charset":           {header("Content-Type", "application/json; charset=utf-16"), 415, "operation.content_type", -32600},
		"form":                      {header("Content-Type", "application/x-www-form-urlencoded"), 415, "operation.content_type", -32600},
		"two types":                 {search.with("Content-Type", "text/plain"), 415, "operation.content_type", -32600},
		"PUT":                       {withMethod(search, "PUT"), 405, "operation.method_not_allowed", -32600},
		"method in the header":      {header("Mcp-Method", "ping"), 400, "operation.header_mismatch", -32020},
		"tool in the header":        {header("Mcp-Name", "delete_customer"), 400, "operation.header_mismatch", -32020},
		"tool not in the header":    {modern(token, "tools/call", "", `{"name":"search_vehicles","arguments":{}}`), 400, "operation.header_mismatch", -32020},
		"version in the header":     {header("MCP-Protocol-Version", "2025-11-25"), 400, "operation.header_mismatch", -32020},
		"version nobody knows":      {spoken(search, "2029-01-01"), 400, "operation.unsupported_version", -32022},
		"version of another time":   {legacy(token, search.body), 400, "operation.header_mismatch", -32020},
		"version twice":             {search.with("MCP-Protocol-Version", "2026-07-28"), 400, "operation.header_mismatch", -32020},
		"method not listed":         {modern(token, "resources/templates/list", "", "{}"), 404, "operation.unknown_method", -32601},
		"method not listed, before": {old("resources/templates/list", "{}"), 200, "operation.unknown_method", -32601},
		"subscription":              {old("resources/subscribe", `{"uri":"dealership://hours"}`), 200, "operation.unknown_method", -32601},
		"completion":                {old("completion/complete", `{"ref":{"type":"ref/prompt","name":"recommend_vehicle"},"argument":{"name":"budget","value":"1"}}`), 200, "operation.unknown_method", -32601},
		"tool not listed":           {callTool(token, "cancel_service", `{"booking_id":"B-1"}`), 200, "operation.unknown_tool", -32602},
		"tool of another server":    {callTool(token, "get_vehicle", `{"id":"V-1001"}`), 200, "operation.unknown_tool", -32602},
		"resource not listed":       {read("dealership://internal/price-list"), 200, "operation.resource_not_listed", -32602},
		"resource by a way around":  {read("dealership://vehicles/../internal/price-list"), 200, "operation.resource_not_listed", -32602},
		"the same, escaped":         {read("dealership://vehicles/%2e%2e/internal/price-list"), 200, "operation.resource_not_listed", -32602},
		"resource, before":          {old("resources/read", `{"uri":"dealership://internal/price-list"}`), 200, "operation.resource_not_listed", -32602},
		"file":                      {read("file:///etc/passwd"), 200, "operation.resource_not_listed", -32602},
		"prompt not listed":         {modern(token, "prompts/get", "other", `{"name":"other"}`), 200, "operation.prompt_not_listed", -32602},
		"arguments":                 {callTool(token, "search_vehicles", `{"fuel":"steam"}`), 200, "schema.arguments", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := m.send(t, c.request)
			d := m.denied(t, a, c.status, c.reason)
			if d.Server != "dealership" {
				t.Errorf("the record's server is %q", d.Server)
			}
			if _, code := a.refusal(t); code != c.code {
				t.Errorf("JSON-RPC error %d, want %d: %s", code, c.code, a.body)
			}
		})
	}
	for name, r := range map[string]request{
		"tool":             search,
		"charset":          header("Content-Type", "Application/JSON; charset=UTF-8"),
		"identity":         search.with("Content-Encoding", "identity"),
		"listed resource":  read("dealership://hours"),
		"one of a pattern": read("dealership://vehicles/V-1001"),
		"listed prompt":    modern(token, "prompts/get", "recommend_vehicle", `{"name":"recommend_vehicle","arguments":{"budget":"1000000"}}`),
		"discovery":        modern(token, "server/discover", "", "{}"),
		"list of tools":    modern(token, "tools/list", "", "{}"),
	} {
		t.Run("passes: "+name, func(t *testing.T) {
			t.Parallel()
			a := m.send(t, r)
			m.allowed(t, a, "dealership")
			var message struct {
				ID     int             `json:"id"`
				Result json.RawMessage `json:"result"`
			}
			if err := json.Unmarshal([]byte(a.json()), &message); err != nil || message.ID != 7 || message.Result == nil {
				t.Errorf("the answer is %s (%v)", a.body, err)
			}
		})
	}
}

// spoken is a modern request in another revision.
func spoken(r request, revision string) request {
	r.body = strings.ReplaceAll(r.body, "2026-07-28", revision)
	r.header = strings.Split(strings.ReplaceAll(strings.Join(r.header, "\n"), "2026-07-28", revision), "\n")
	return r
}

func withMethod(r request, method string) request {
	r.method = method
	return r
}

// TestCallersID holds refusals to the id of the request they answer.
func TestCallersID(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	token := m.token(t, "alice", "")
	for _, id := range []string{`7`, `"a"`, `"\u00e9"`, `9007199254740993`} {
		r := callTool(token, "search_vehicles", `{}`) // without its scope
		r.body = strings.Replace(r.body, `"id":7`, `"id":`+id, 1)
		a := m.send(t, r)
		m.denied(t, a, 403, "scopes.insufficient")
		var message struct {
			ID json.RawMessage `json:"id"`
		}
		if err := json.Unmarshal([]byte(a.body), &message); err != nil || string(message.ID) != id {
			t.Errorf("the answer to %s has the id %s (%v)", id, message.ID, err)
		}
	}
}

func TestBodySize(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	token := m.token(t, "alice", "vehicles.read")
	const limit = 65536 // envoy.max_request_bytes
	sized := func(size int) request {
		r := callTool(token, "search_vehicles", `{}`)
		r.body += strings.Repeat(" ", size-len(r.body))
		return r
	}
	for name, client := range map[string]*http.Client{"HTTP/1.1": nil, "HTTP/2": http2Client(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m.allowed(t, m.send(t, withClient(sized(limit), client)), "dealership")
			for _, size := range []int{limit + 1, 4 * limit} {
				a := m.send(t, withClient(sized(size), client))
				m.undecided(t, a, http.StatusRequestEntityTooLarge)
			}
			rest := rest(token, "POST", "/services", `{"vehicle_id":"`+strings.Repeat("x", limit)+`"}`)
			m.undecided(t, m.send(t, withClient(rest, client)), http.StatusRequestEntityTooLarge)
		})
	}
	t.Run("in chunks", func(t *testing.T) {
		t.Parallel()
		r := sized(limit)
		head := "POST /mcp HTTP/1.1\r\nHost: " + m.authority + "\r\nAuthorization: Bearer " + token + "\r\nTransfer-Encoding: chunked\r\n"
		for i := 0; i < len(r.header); i += 2 {
			head += r.header[i] + ": " + r.header[i+1] + "\r\n"
		}
		whole := fmt.Sprintf("%x\r\n%s\r\n", len(r.body), r.body)
		m.allowed(t, m.sendRaw(t, head+"\r\n"+whole+"0\r\n\r\n"), "dealership")
		m.undecided(t, m.sendRaw(t, head+"\r\n"+whole+"1\r\n \r\n0\r\n\r\n"), http.StatusRequestEntityTooLarge)
		// What two servers could cut in two ways.
		m.undecided(t, m.sendRaw(t, head+"Content-Length: 4\r\n\r\n"+whole+"0\r\n\r\n"), http.StatusBadRequest)
	})
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	token := m.token(t, "alice", "vehicles.read")
	search := callTool(token, "search_vehicles", `{}`)
	m.allowed(t, m.send(t, search.with("Origin", "https://app.example")), "dealership")
	for _, origin := range []string{"https://evil.example", "null", "", "http://app.example", "https://app.example.evil.example", "https://app.example:8443", m.url} {
		a := m.send(t, search.with("Origin", origin))
		m.denied(t, a, http.StatusForbidden, "operation.origin")
		if strings.Contains(a.body, `"id":7`) {
			t.Errorf("origin %q: the answer has the request's id: %s", origin, a.body)
		}
	}
	m.denied(t, m.send(t, search.with("Origin", "https://app.example", "Origin", "https://evil.example")), http.StatusForbidden, "operation.origin")
	stream := request{method: "GET", token: token, header: []string{"Accept", "text/event-stream", "Mcp-Session-Id", "x", "Origin", "https://evil.example"}}
	m.denied(t, m.send(t, stream), http.StatusForbidden, "operation.origin")
}

// TestProtocols has the same request decided the same way over both versions of
// HTTP, many at a time on one connection.
func TestProtocols(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	for proto, client := range map[string]*http.Client{"HTTP/1.1": clientOf(t, &http.Transport{MaxConnsPerHost: 1}), "HTTP/2.0": http2Client(t)} {
		t.Run(proto, func(t *testing.T) {
			subjects := []string{"alice", "bob", "carol", "dave"}
			for i := range 40 {
				subject, scopes := subjects[i%len(subjects)], ""
				if i%3 > 0 {
					scopes = "vehicles.read"
				}
				token := m.token(t, subject, scopes)
				t.Run(fmt.Sprint(i), func(t *testing.T) {
					t.Parallel()
					a := m.send(t, withClient(callTool(token, "search_vehicles", `{"limit":1}`), client))
					if a.proto != proto {
						t.Errorf("the answer came by %s", a.proto)
					}
					if scopes == "" {
						d := m.denied(t, a, http.StatusForbidden, "scopes.insufficient")
						if d.Principal.Subject != subject {
							t.Errorf("recorded as a call of %s, want %s", d.Principal.Subject, subject)
						}
						return
					}
					upstream := m.allowed(t, a, "dealership")
					if diff := cmp.Diff([]string{subject}, upstream.Header["X-Sallyport-User-Id"]); diff != "" {
						t.Errorf("user upstream (-want +got):\n%s", diff)
					}
				})
			}
		})
	}
}
