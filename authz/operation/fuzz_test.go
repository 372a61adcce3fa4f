package operation_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/authz/operation"
)

// lenient is how many servers read a message: letter case doesn't matter, the
// last of two members wins.
type lenient struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name      json.RawMessage `json:"name"` // of any type where it means nothing
		URI       json.RawMessage `json:"uri"`
		Arguments json.RawMessage `json:"arguments"`
		Meta      struct {
			Key      string `json:"io.github.sallyport/idempotencyKey"`
			PlainKey string `json:"idempotencyKey"`
		} `json:"_meta"`
	} `json:"params"`
}

// checkAnswer holds what Parse returns to its contract.
func checkAnswer(t *testing.T, op *operation.Operation, err error) {
	t.Helper()
	if err == nil {
		if op == nil {
			t.Fatal("neither operation nor error")
		}
		return
	}
	var refusal *operation.Refusal
	if !errors.As(err, &refusal) || op != nil {
		t.Fatalf("operation %v with error %v", op, err)
	}
	if !slices.Contains(operation.Causes(), refusal.Cause) || refusal.Detail == "" {
		t.Fatalf("refusal %+v has an unknown cause or no detail", refusal)
	}
	if refusal.RPCID != "" && !json.Valid([]byte(refusal.RPCID)) {
		t.Fatalf("the id %q is no JSON", refusal.RPCID)
	}
}

// What is accepted is what a lenient server reads too, and other spellings of
// the same call have the same fingerprint.
func FuzzParseMCP(f *testing.F) {
	for _, group := range [][]refused{mcpRefusals(), revisionRefusals(), targetRefusals()} {
		for _, tc := range group {
			if len(tc.req.Body) < 1<<12 {
				version, _ := tc.req.Headers.Get("mcp-protocol-version")
				method, _ := tc.req.Headers.Get("mcp-method")
				name, _ := tc.req.Headers.Get("mcp-name")
				f.Add(tc.req.Body, version, method, name)
			}
		}
	}
	f.Add(legacyCall, "2025-11-25", "", "")
	f.Add(params("tools/call", `"name":"book","arguments":{"nested":[{"admin":false,"administrator":{"a":1.50}}]}`), "2025-11-25", "", "")
	f.Add(modernCall, "2026-07-28", "tools/call", "book_service")
	server := mustNew(f, mcpConfig())
	f.Fuzz(func(t *testing.T, body, version, method, name string) {
		if len(body) > 1<<14 {
			t.Skip("too long")
		}
		var extra []string
		for header, value := range map[string]string{"mcp-protocol-version": version, "mcp-method": method, "mcp-name": name} {
			if value != "" {
				extra = append(extra, header, value)
			}
		}
		op, err := server.Parse(post(body, extra...))
		checkAnswer(t, op, err)
		if err != nil || op.Method == "response" {
			return
		}
		var read lenient
		if err := json.Unmarshal([]byte(body), &read); err != nil {
			t.Fatalf("encoding/json can't read %q: %v", body, err)
		}
		if read.Method != op.Method || string(read.ID) != op.RPCID {
			t.Fatalf("a lenient server reads method %q and id %s, not %q and %s", read.Method, read.ID, op.Method, op.RPCID)
		}
		if key := op.IdempotencyKey; key != "" && key != read.Params.Meta.Key && key != read.Params.Meta.PlainKey {
			t.Fatalf("a lenient server reads the keys %+v, not %q", read.Params.Meta, key)
		}
		if op.Method == "resources/read" && decodeJSON(t, string(read.Params.URI)) != op.Target {
			t.Fatalf("a lenient server reads the URI %s, not %q", read.Params.URI, op.Target)
		}
		if op.Method == "tools/call" {
			checkArguments(t, op, string(read.Params.Name), string(read.Params.Arguments))
		}
		respelt, err := json.Marshal(decodeJSON(t, body))
		if err != nil {
			t.Fatal(err)
		}
		again, err := server.Parse(post(string(respelt), extra...))
		if err != nil {
			t.Fatalf("%q is accepted, %q is not: %v", body, respelt, err)
		}
		if again.Fingerprint != op.Fingerprint {
			t.Fatalf("%q and %q have two fingerprints", body, respelt)
		}
	})
}

func checkArguments(t *testing.T, op *operation.Operation, name, arguments string) {
	t.Helper()
	if decodeJSON(t, name) != op.Tool {
		t.Fatalf("a lenient server reads the tool %s, not %q", name, op.Tool)
	}
	want := any(map[string]any{})
	if arguments != "" {
		want = decodeJSON(t, arguments)
	}
	if diff := cmp.Diff(want, any(op.Arguments)); diff != "" {
		t.Fatalf("a lenient server reads other arguments (-want +got):\n%s", diff)
	}
	checkCase(t, op.Arguments)
}

// checkCase finds members of which a server that ignores letter case sees one.
func checkCase(t *testing.T, value any) {
	t.Helper()
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			checkCase(t, item)
		}
	case map[string]any:
		for name, member := range v {
			for other := range v {
				if name != other && strings.EqualFold(name, other) {
					t.Fatalf("the members %q and %q are one for a lenient server", name, other)
				}
			}
			checkCase(t, member)
		}
	}
}

// What is accepted is what net/url and encoding/json read too, and its path is
// clean however often it is decoded.
func FuzzParseREST(f *testing.F) {
	for _, tc := range restRefusals() {
		if len(tc.req.Body) < 1<<12 {
			contentType, _ := tc.req.Headers.Get("content-type")
			f.Add(tc.req.Method, tc.req.Path, contentType, tc.req.Body)
		}
	}
	f.Add("POST", "/api/vehicles/V-1/bookings?dry=1", "application/json", `{"date":"2026-11-24"}`)
	f.Add("GET", "/api/vehicles/V%201%C3%BC?a=b+c", "", "")
	server := mustNew(f, restConfig())
	f.Fuzz(func(t *testing.T, method, target, contentType, body string) {
		if len(body) > 1<<14 || len(target) > 1<<12 {
			t.Skip("too long")
		}
		var extra []string
		if contentType != "" {
			extra = []string{"content-type", contentType}
		}
		op, err := server.Parse(request(method, target, body, extra...))
		checkAnswer(t, op, err)
		if err != nil {
			return
		}
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatalf("net/url can't read %q: %v", target, err)
		}
		if clean := path.Clean(u.Path); clean != u.Path && clean+"/" != u.Path {
			t.Fatalf("%q is not clean: %q", u.Path, clean)
		}
		if twice, err := url.PathUnescape(u.Path); err == nil && twice != u.Path {
			t.Fatalf("%q can be decoded twice: %q", target, twice)
		}
		if strings.Count(u.Path, "/") != strings.Count(strings.Split(target, "?")[0], "/") {
			t.Fatalf("%q has other segments than %q", u.Path, target)
		}
		query, err := url.ParseQuery(u.RawQuery)
		if err != nil {
			t.Fatalf("net/url can't read the query of %q: %v", target, err)
		}
		want := map[string]any{}
		for name, values := range query {
			if len(values) != 1 {
				t.Fatalf("%q has %q %d times", target, name, len(values))
			}
			want[name] = values[0]
		}
		takesAny := op.Tool == "set_photo" && !strings.EqualFold(strings.Trim(contentType, " \t"), "application/json")
		if body != "" && !takesAny {
			for name, value := range decodeJSON(t, body).(map[string]any) {
				want[name] = value
			}
		}
		if strings.Contains(op.Target, "{id}") {
			want["id"] = strings.Split(u.Path, "/")[3]
		}
		if diff := cmp.Diff(want, op.Arguments); diff != "" {
			t.Fatalf("others read other arguments (-want +got):\n%s", diff)
		}
		checkCase(t, op.Arguments)
	})
}
