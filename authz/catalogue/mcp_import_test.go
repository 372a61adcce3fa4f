package catalogue

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestProposeMCP lists the tools of a real server, in pages.
func TestProposeMCP(t *testing.T) {
	t.Parallel()
	type input struct {
		VIN   string `json:"vin" jsonschema:"vehicle identification number"`
		Limit int    `json:"limit,omitempty"`
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ServerOptions{PageSize: 2})
	for i := range 5 {
		mcp.AddTool(server, &mcp.Tool{
			Name: fmt.Sprint("tool", i), Description: "Does it.", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: i%2 == 0},
		}, func(context.Context, *mcp.CallToolRequest, input) (*mcp.CallToolResult, any, error) {
			return nil, nil, nil
		})
	}
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	defer web.Close()
	if _, err := ProposeMCP(t.Context(), "s", web.URL, web.Client()); err == nil {
		t.Error("no token, no error")
	}
	p, err := ProposeMCP(t.Context(), "s", web.URL, &http.Client{Transport: bearer{"token", http.DefaultTransport}})
	if err != nil {
		t.Fatal(err)
	}
	c, _ := reload(t, p)
	var got []string
	for _, tool := range c.Tools() {
		got = append(got, tool.Name+" "+tool.Risk.String())
	}
	if diff := cmp.Diff([]string{"tool0 read", "tool1 write", "tool2 read", "tool3 write", "tool4 read"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	tool, _ := c.Tool("s", "tool1")
	if err := tool.ValidateArguments(map[string]any{"limit": json.Number("1"), "x": 1}); err == nil ||
		err.Error() != `argument "vin" is missing; argument "x" is unknown` {
		t.Errorf("got %v", err)
	}
}

type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// hostile is an MCP server whose answers to tools/list are written by hand.
func hostile(t *testing.T, list func(w io.Writer, id json.RawMessage)) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Params struct {
				Version string `json:"protocolVersion"`
			} `json:"params"`
		}
		if r.Method != http.MethodPost || json.NewDecoder(r.Body).Decode(&request) != nil {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		switch request.Method {
		case "initialize":
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"h","version":"1"}}}`, request.ID)
		case "tools/list":
			list(w, request.ID)
		case "notifications/initialized":
			w.WriteHeader(http.StatusAccepted)
		default:
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}`, request.ID)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func TestProposeMCPHostile(t *testing.T) {
	t.Parallel()
	var pages atomic.Int32
	for _, c := range []struct {
		name string
		list func(w io.Writer, id json.RawMessage)
		want string
	}{
		{"endless pages", func(w io.Writer, id json.RawMessage) {
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"tools":[],"nextCursor":"c%d"}}`, id, pages.Add(1))
		}, "more than 1000 pages"},
		{"endless page", func(w io.Writer, id json.RawMessage) {
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"tools":[`, id)
			chunk := strings.Repeat(" ", 1<<20)
			for range 64 {
				if _, err := io.WriteString(w, chunk); err != nil {
					return
				}
			}
		}, "the server sent more than 33554432 bytes"},
		{"error", func(w io.Writer, id json.RawMessage) {
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32000,"message":"go away"}}`, id)
		}, "go away"},
		{"wrong types", func(w io.Writer, id json.RawMessage) {
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":7}]}}`, id)
		}, "list the tools of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := hostile(t, c.list)
			if _, err := ProposeMCP(t.Context(), "s", server.URL, server.Client()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// TestProposeMCPOddTools has tools that must not keep others from being proposed.
func TestProposeMCPOddTools(t *testing.T) {
	t.Parallel()
	server := hostile(t, func(w io.Writer, id json.RawMessage) {
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"tools":[null, {"name":"a"}, {"name":"b","inputSchema":null}, {"name":"c","inputSchema":{"type":"object","minProperties":-1}},
			{"name":"\u0000","inputSchema":{"type":"object"}}, {"name":"good","inputSchema":{"type":"object"}}]}}`, id)
	})
	p, err := ProposeMCP(t.Context(), "s", server.URL, server.Client())
	if err != nil {
		t.Fatal(err)
	}
	if c, _ := reload(t, p); len(c.Tools()) != 1 || len(p.Notes) != 4 {
		t.Errorf("tools %v, notes %q", c.Tools(), p.Notes)
	}
}

// TestProposeMCPRedirect makes sure that a token stays where it was meant to go.
func TestProposeMCPRedirect(t *testing.T) {
	t.Parallel()
	var reached atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	if _, err := ProposeMCP(t.Context(), "s", server.URL, server.Client()); err == nil || reached.Load() {
		t.Errorf("error %v, reached the other server: %v", err, reached.Load())
	}
}

func TestProposeMCPCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := hostile(t, func(io.Writer, json.RawMessage) { cancel() })
	if _, err := ProposeMCP(ctx, "s", server.URL, server.Client()); err == nil {
		t.Error("no error")
	}
}
