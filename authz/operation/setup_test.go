package operation_test

import (
	"errors"
	"strconv"
	"testing"

	"github.com/sallyport/sallyport/authz/operation"
)

func mcpConfig() operation.Config {
	return operation.Config{
		Name: "dealership",
		MCP: &operation.MCPConfig{
			Path: "/mcp",
			Methods: []string{
				"initialize", "ping", "server/discover", "tools/list", "tools/call", "notifications/*", "logging/setLevel",
				"resources/read", "resources/subscribe", "resources/unsubscribe", "prompts/get", "completion/complete",
				"subscriptions/listen", "tasks/get", "vendor/*",
			},
			Resources: []string{"dealership://hours", "dealership://vehicles/*", "file:///pub/*"},
			Prompts:   []string{"recommend_vehicle", "greet_*"},
			Origins:   []string{"https://app.example"},
		},
	}
}

func restConfig() operation.Config {
	return operation.Config{
		Name: "inventory",
		REST: &operation.RESTConfig{
			Prefix: "/api",
			Routes: []operation.Route{
				{Method: "GET", Template: "/", Tool: "index"},
				{Method: "GET", Template: "/vehicles", Tool: "search_vehicles"},
				{Method: "GET", Template: "/vehicles/{id}", Tool: "get_vehicle"},
				{Method: "DELETE", Template: "/vehicles/{id}", Tool: "delete_vehicle"},
				{Method: "GET", Template: "/vehicles/newest", Tool: "newest_vehicle"},
				{Method: "POST", Template: "/vehicles/{id}/bookings", Tool: "book_service"},
				{Method: "PUT", Template: "/vehicles/{id}/photo", Tool: "set_photo", AnyBody: true},
				{Method: "POST", Template: "/vehicles/all/recount", Tool: "recount"},
			},
		},
	}
}

func mustNew(tb testing.TB, cfg operation.Config) *operation.Server {
	tb.Helper()
	s, err := operation.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// request makes a request; extra are names and values of headers.
func request(method, path, body string, extra ...string) *operation.Request {
	r := &operation.Request{Method: method, Scheme: "https", Authority: "dealer.example", Path: path, Body: body}
	r.Headers = operation.Headers{
		{Name: ":authority", Value: "dealer.example"},
		{Name: "user-agent", Value: "test"},
		{Name: "accept", Value: "application/json, text/event-stream"},
	}
	if body != "" {
		r.Headers = append(r.Headers, operation.Header{Name: "content-length", Value: strconv.Itoa(len(body))})
	}
	for i := 0; i+1 < len(extra); i += 2 {
		r.Headers = append(r.Headers, operation.Header{Name: extra[i], Value: extra[i+1]})
	}
	return r
}

// post sends a message to the MCP endpoint.
func post(body string, extra ...string) *operation.Request {
	return request("POST", "/mcp", body, append([]string{"content-type", "application/json"}, extra...)...)
}

// refusalOf is the refusal that Parse answers with; nil if it accepts.
func refusalOf(tb testing.TB, s *operation.Server, req *operation.Request) *operation.Refusal {
	tb.Helper()
	op, err := s.Parse(req)
	if err == nil {
		if op == nil {
			tb.Fatal("Parse returned neither an operation nor an error")
		}
		return nil
	}
	var refusal *operation.Refusal
	if !errors.As(err, &refusal) || op != nil {
		tb.Fatalf("Parse returned %v and %T, want nil and a *Refusal", op, err)
	}
	return refusal
}
