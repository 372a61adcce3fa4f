package catalogue

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Bounds of what a server may make an import do.
const (
	importTimeout  = time.Minute
	maxImportPages = 1_000
	maxImportBytes = 32 << 20 // of all its answers
)

// ProposeMCP asks a live MCP server for its tools, over streamable HTTP, and
// proposes entries for them. The client adds what the server needs to accept us,
// such as a token; redirects are not followed, which might take it elsewhere. It
// takes at most a minute and 32 MiB.
//
// Hints become risks only in the direction that is safe: a server that says
// readOnlyHint proposes read; all else is write (MCP, ToolAnnotations: clients
// must not trust hints of a server that they don't trust).
func ProposeMCP(ctx context.Context, server, endpoint string, client *http.Client) (*Proposal, error) {
	ctx, cancel := context.WithTimeout(ctx, importTimeout)
	defer cancel()
	transport := &boundedTransport{next: cmp.Or(client.Transport, http.DefaultTransport)}
	transport.left.Store(maxImportBytes)
	bounded := *client
	bounded.Transport = transport
	bounded.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	session, err := mcp.NewClient(&mcp.Implementation{Name: "sallyport", Version: "1"}, &mcp.ClientOptions{
		Capabilities: &mcp.ClientCapabilities{},
	}).Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: endpoint, HTTPClient: &bounded, MaxRetries: -1, DisableStandaloneSSE: true,
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", endpoint, err)
	}
	tools, err := listTools(ctx, session)
	_ = session.Close() // some servers refuse to end a session, and all is said already
	if err != nil {
		return nil, fmt.Errorf("list the tools of %s: %w", endpoint, err)
	}
	return proposeTools(server, tools), nil
}

func listTools(ctx context.Context, session *mcp.ClientSession) ([]*mcp.Tool, error) {
	var tools []*mcp.Tool
	params := &mcp.ListToolsParams{}
	for range maxImportPages {
		page, err := session.ListTools(ctx, params)
		if err != nil {
			return nil, err
		}
		tools = append(tools, page.Tools...)
		if page.NextCursor == "" {
			return tools, nil
		}
		params = &mcp.ListToolsParams{Cursor: page.NextCursor}
	}
	return nil, fmt.Errorf("more than %d pages", maxImportPages)
}

// proposeTools makes the proposal; tools are what a server sent.
func proposeTools(server string, tools []*mcp.Tool) *Proposal {
	p := &Proposal{Server: server}
	for _, t := range tools {
		risk, reasons := riskOfHints(t.Annotations)
		document, err := documentOf(t.InputSchema)
		if err != nil {
			p.note("tool %s is left out: its schema: %v", quoteShort(t.Name), err)
			continue
		}
		p.add(&ProposedTool{Name: t.Name, Description: t.Description, Risk: risk, Reasons: reasons}, document)
	}
	p.sort()
	return p
}

// documentOf reads what the client library made of a schema.
func documentOf(schema any) (any, error) {
	text, err := json.Marshal(schema)
	if err != nil {
		return nil, err
	}
	if len(text) > maxSchema {
		return nil, fmt.Errorf("has %d bytes, at most %d are allowed", len(text), maxSchema)
	}
	return parseJSON(text)
}

func riskOfHints(hints *mcp.ToolAnnotations) (Risk, []string) {
	switch {
	case hints == nil:
		return Write, []string{"write: the server gives no hints"}
	case hints.ReadOnlyHint:
		return Read, []string{"read: the server hints readOnlyHint. Make sure that it changes nothing, else say write."}
	case hints.DestructiveHint != nil && *hints.DestructiveHint:
		return Write, []string{"write: the server hints destructiveHint. Consider privileged, or requires_approval."}
	case hints.DestructiveHint != nil:
		return Write, []string{"write: the server hints that it only adds (destructiveHint: false)"}
	}
	return Write, []string{"write: the server doesn't hint readOnlyHint"}
}

// boundedTransport ends the answers of a server that sends too much.
type boundedTransport struct {
	next http.RoundTripper
	left atomic.Int64 // requests may run at the same time
}

// RoundTrip is part of http.RoundTripper.
func (t *boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(r)
	if err == nil {
		response.Body = &boundedBody{response.Body, &t.left}
	}
	return response, err
}

type boundedBody struct {
	io.ReadCloser
	left *atomic.Int64
}

var errTooMuch = fmt.Errorf("the server sent more than %d bytes", maxImportBytes)

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left.Add(-int64(n)) < 0 {
		return 0, errTooMuch
	}
	return n, err
}
