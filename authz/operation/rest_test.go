package operation_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sallyport/sallyport/authz/operation"
)

func TestParseREST(t *testing.T) {
	t.Parallel()
	server := mustNew(t, restConfig())
	none := map[string]any{}
	for _, tc := range []struct {
		name string
		req  *operation.Request
		want operation.Operation
	}{
		{"the prefix", request("GET", "/api", ""), operation.Operation{Method: "GET", Tool: "index", Target: "/api", Arguments: none}},
		{"the prefix with a slash", request("GET", "/api/", ""), operation.Operation{Method: "GET", Tool: "index", Target: "/api", Arguments: none}},
		{
			"a query", request("GET", "/api/vehicles?q=two+words&max=10&flag&e=%C3%BC%2B%26%3D", ""),
			operation.Operation{
				Method: "GET", Tool: "search_vehicles", Target: "/api/vehicles",
				Arguments: map[string]any{"q": "two words", "max": "10", "flag": "", "e": "ü+&="},
			},
		},
		{
			"a path parameter with escapes", request("GET", "/api/vehicles/V%201%C3%BC:2", ""),
			operation.Operation{
				Method: "GET", Tool: "get_vehicle", Target: "/api/vehicles/{id}",
				Arguments: map[string]any{"id": "V 1ü:2"},
			},
		},
		{"the more specific template", request("GET", "/api/vehicles/newest", ""), operation.Operation{
			Method: "GET", Tool: "newest_vehicle", Target: "/api/vehicles/newest", Arguments: none,
		}},
		{"the less specific template, as only it has the method", request("DELETE", "/api/vehicles/newest", ""), operation.Operation{
			Method: "DELETE", Tool: "delete_vehicle", Target: "/api/vehicles/{id}", Arguments: map[string]any{"id": "newest"},
		}},
		{"the less specific template, as the other ends elsewhere", request("POST", "/api/vehicles/all/bookings", ""), operation.Operation{
			Method: "POST", Tool: "book_service", Target: "/api/vehicles/{id}/bookings", Arguments: map[string]any{"id": "all"},
		}},
		{
			"path, query and body", request("POST", "/api/vehicles/V-1/bookings?dry=1", `{"date":"2026-11-24","slot":{"n":3.0}}`, "content-type", "application/json; charset=utf-8"),
			operation.Operation{
				Method: "POST", Tool: "book_service", Target: "/api/vehicles/{id}/bookings",
				Arguments: map[string]any{"id": "V-1", "dry": "1", "date": "2026-11-24", "slot": map[string]any{"n": json.Number("3.0")}},
			},
		},
		{
			"any body where the route takes it", request("PUT", "/api/vehicles/V-1/photo", "\xff\xd8", "content-type", "image/jpeg"),
			operation.Operation{Method: "PUT", Tool: "set_photo", Target: "/api/vehicles/{id}/photo", Arguments: map[string]any{"id": "V-1"}},
		},
		{
			"a JSON body where the route takes any", request("PUT", "/api/vehicles/V-1/photo", `{"url":"x"}`, "content-type", "application/json"),
			operation.Operation{Method: "PUT", Tool: "set_photo", Target: "/api/vehicles/{id}/photo", Arguments: map[string]any{"id": "V-1", "url": "x"}},
		},
		{
			"a DELETE with a body", request("DELETE", "/api/vehicles/V-1", `{"reason":"sold"}`, "content-type", "application/json"),
			operation.Operation{Method: "DELETE", Tool: "delete_vehicle", Target: "/api/vehicles/{id}", Arguments: map[string]any{"id": "V-1", "reason": "sold"}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := server.Parse(tc.req)
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Kind = operation.REST
			if diff := cmp.Diff(&tc.want, got, cmpopts.IgnoreFields(operation.Operation{}, "Fingerprint")); diff != "" {
				t.Errorf("operation (-want +got):\n%s", diff)
			}
			if got.Stateless() {
				t.Error("a REST operation is stateless")
			}
		})
	}
}

func restRefusals() []refused {
	get := func(path string) *operation.Request { return request("GET", path, "") }
	book := func(body string, extra ...string) *operation.Request {
		return request("POST", "/api/vehicles/V-1/bookings", body, append([]string{"content-type", "application/json"}, extra...)...)
	}
	list := []refused{
		{"outside of the prefix", get("/other"), operation.CauseRouteUnknown, ""},
		{"beside the prefix", get("/apis/vehicles"), operation.CauseRouteUnknown, ""},
		{"an empty segment before the prefix", get("//api/vehicles/V-1"), operation.CauseRouteUnknown, ""},
		{"no path", get(""), operation.CauseRouteUnknown, ""},
		{"a path without slash", get("*"), operation.CauseRouteUnknown, ""},
		{"an unknown path", get("/api/dealers"), operation.CauseRouteUnknown, ""},
		{"below a route", get("/api/vehicles/1/2/3"), operation.CauseRouteUnknown, ""},
		{"a method that no template has", request("PATCH", "/api/vehicles/V-1", ""), operation.CauseMethodNotAllowed, ""},
		{"HEAD for a GET", request("HEAD", "/api/vehicles", ""), operation.CauseMethodNotAllowed, ""},
		{"a method in another case", request("Get", "/api/vehicles", ""), operation.CauseMethodNotAllowed, ""},
		{"CONNECT", request("CONNECT", "/api/vehicles", ""), operation.CauseMethodNotAllowed, ""},
		{"override of the method", request("POST", "/api/vehicles/V-1/bookings", "", "x-http-method-override", "DELETE"), operation.CauseOverrideHeader, ""},
		{"override by the query", request("POST", "/api/vehicles/V-1/bookings?_method=DELETE", ""), operation.CauseOverrideHeader, ""},
		{"override by the body", book(`{"_Method":"DELETE"}`), operation.CauseOverrideHeader, ""},

		{"a GET with a body", request("GET", "/api/vehicles", "{}", "content-type", "application/json"), operation.CauseUnexpectedBody, ""},
		{"a body that was held back", request("GET", "/api/vehicles", "", "content-length", "2"), operation.CauseBodyIncomplete, ""},
		{"too large", book(`{"x":"` + strings.Repeat("x", 1<<20) + `"}`), operation.CauseBodyTooLarge, ""},
		{"compressed", book("{}", "content-encoding", "gzip"), operation.CauseContentEncoding, ""},
		{"a form", request("POST", "/api/vehicles/V-1/bookings", "date=x", "content-type", "application/x-www-form-urlencoded"), operation.CauseContentType, ""},
		{"no content type", request("POST", "/api/vehicles/V-1/bookings", "{}"), operation.CauseContentType, ""},
		{"a patch of JSON", request("POST", "/api/vehicles/V-1/bookings", "{}", "content-type", "application/merge-patch+json"), operation.CauseContentType, ""},
		{"two content types where any body is taken", request("PUT", "/api/vehicles/V-1/photo", "{}", "content-type", "image/jpeg", "content-type", "application/json"), operation.CauseContentType, ""},
		{"broken JSON", book(`{"date":}`), operation.CauseInvalidJSON, ""},
		{"a byte order mark", book("\ufeff{}"), operation.CauseInvalidJSON, ""},
		{"nested too deeply", book(`{"x":` + nested() + `}`), operation.CauseTooComplex, ""},
		{"a list", book(`[{"date":"x"}]`), operation.CauseBadArguments, ""},
		{"a member twice", book(`{"date":"x","date":"y"}`), operation.CauseDuplicateMember, ""},
		{"members that differ in case", book(`{"date":"x","Date":"y"}`), operation.CauseDuplicateMember, ""},
		{"members that differ in case, deep inside", book(`{"date":[{"day":1,"DAY":2}]}`), operation.CauseDuplicateMember, ""},
		{"a fraction that is rounded away", book(`{"price":99.99999999999999999999}`), operation.CauseTooComplex, ""},
		{"a path parameter again in the body", book(`{"id":"V-2"}`), operation.CauseBadArguments, ""},
		{"a path parameter again in the query", get("/api/vehicles/V-1?id=V-2"), operation.CauseBadArguments, ""},
		{"a path parameter again, in another case", get("/api/vehicles/V-1?ID=V-2"), operation.CauseDuplicateMember, ""},
		{"a query parameter again in the body", request("POST", "/api/vehicles/V-1/bookings?date=x", `{"date":"y"}`, "content-type", "application/json"), operation.CauseBadArguments, ""},

		{"a query parameter twice", get("/api/vehicles?a=1&a=2"), operation.CauseQuery, ""},
		{"a query parameter twice, one escaped", get("/api/vehicles?a=1&%61=2"), operation.CauseQuery, ""},
		{"query parameters that differ in case", get("/api/vehicles?a=1&A=2"), operation.CauseDuplicateMember, ""},
		{"an empty query", get("/api/vehicles?"), operation.CauseQuery, ""},
		{"an empty pair", get("/api/vehicles?a=1&&b=2"), operation.CauseQuery, ""},
		{"a pair without name", get("/api/vehicles?=1"), operation.CauseQuery, ""},
		{"a semicolon", get("/api/vehicles?a=1;b=2"), operation.CauseQuery, ""},
		{"a broken escape", get("/api/vehicles?a=%4"), operation.CauseQuery, ""},
		{"a broken escape in a name", get("/api/vehicles?%zz=1"), operation.CauseQuery, ""},
		{"an escape that is no UTF-8", get("/api/vehicles?a=%ff"), operation.CauseQuery, ""},
		{"a null character", get("/api/vehicles?a=%00"), operation.CauseQuery, ""},
		{"a raw space", get("/api/vehicles?a=b c"), operation.CauseQuery, ""},
		{"raw UTF-8", get("/api/vehicles?a=ü"), operation.CauseQuery, ""},
		{"a fragment in the query", get("/api/vehicles?a=1#b"), operation.CauseQuery, ""},
		{"too many parameters", get("/api/vehicles?a" + manyParameters(129)), operation.CauseQuery, ""},
	}
	for name, path := range map[string]string{
		"an empty segment":               "/api//vehicles",
		"a slash at the end":             "/api/vehicles/",
		"a dot segment":                  "/api/./vehicles",
		"a double dot segment":           "/api/vehicles/..",
		"an encoded dot segment":         "/api/vehicles/%2e%2e",
		"an encoded dot":                 "/api/vehicles/a%2Eb",
		"an encoded slash":               "/api/vehicles/a%2fb",
		"an encoded backslash":           "/api/vehicles/a%5Cb",
		"a backslash":                    `/api/vehicles/a\b`,
		"a double escape":                "/api/vehicles/%252e%252e",
		"a broken escape in the path":    "/api/vehicles/%",
		"a broken escape, not hex":       "/api/vehicles/%2g",
		"an escape of IIS":               "/api/vehicles/%u002e",
		"parameters of a segment":        "/api/vehicles/V-1;admin=1",
		"parameters of a literal":        "/api/vehicles;x/V-1",
		"an encoded semicolon":           "/api/vehicles/V-1%3bx",
		"a control":                      "/api/vehicles/a\x01",
		"an encoded control":             "/api/vehicles/a%0a",
		"an encoded null character":      "/api/vehicles/a%00",
		"an encoded delete":              "/api/vehicles/a%7f",
		"a space":                        "/api/vehicles/a b",
		"a fragment":                     "/api/vehicles/a#b",
		"raw UTF-8 in the path":          "/api/vehicles/ü",
		"an escape that is not UTF-8":    "/api/vehicles/%c0%ae",
		"a literal in another case":      "/api/vehicles/Newest",
		"a literal with a needless code": "/api/vehicles/%6eewest",
		"a prefix literal in a code":     "/api/%76ehicles",
		"many segments":                  "/api" + strings.Repeat("/a", 33),
		"a long segment":                 "/api/vehicles/" + strings.Repeat("a", 1025),
	} {
		list = append(list, refused{name, get(path), operation.CausePathSuspicious, ""})
	}
	return list
}

func manyParameters(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("&p" + strconv.Itoa(i) + "=1")
	}
	return b.String()
}

func TestParseRESTRefusals(t *testing.T) {
	t.Parallel()
	cfg := restConfig()
	cfg.REST.Prefix = "/api/" // the same as without the slash
	server := mustNew(t, cfg)
	for _, tc := range restRefusals() {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			checkRefusal(t, server, &tc, operation.REST)
		})
	}
}

func TestParseRESTAllow(t *testing.T) {
	t.Parallel()
	r := refusalOf(t, mustNew(t, restConfig()), request("PATCH", "/api/vehicles/newest", ""))
	if r == nil || r.Allow != "DELETE, GET" {
		t.Errorf("refusal %+v, want Allow with the methods of all templates that fit", r)
	}
}
