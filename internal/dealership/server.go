// Package dealership is the vehicle dealership that the demo and the tests put
// behind Sallyport: an MCP server with tools of every risk level, beside it a
// small REST API over the same stock.
//
// It checks no caller: whatever reaches it takes effect, so that a test can
// count what a gateway let through. It is no example of a safe server.
package dealership

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Version is what the server says of itself in its MCP implementation info.
const Version = "1.0.0"

// stateless is the first MCP revision without sessions. Revisions are dates,
// so later ones compare greater as strings.
const stateless = "2026-07-28"

// sessionIdle is how long an MCP session without requests is kept.
const sessionIdle = 10 * time.Minute

// Config describes one dealership. The zero value is a complete one.
type Config struct {
	// Path is the exact path of the MCP endpoint, default "/mcp".
	Path string
	// Versions narrows the MCP revisions that are served; empty: all that the
	// SDK knows.
	Versions []string
	// JSONResponse answers MCP calls with application/json rather than with an
	// event stream.
	JSONResponse bool
	// Record is how many of the last requests are kept for Requests, default
	// 256, at most 65536.
	Record int
	// Logger receives what the MCP server has to say; nil: nothing.
	Logger *slog.Logger
}

// Validate reports everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Path != "" && (!strings.HasPrefix(c.Path, "/") || strings.ContainsAny(c.Path, "{} ")) {
		errs = append(errs, fmt.Errorf("path: %q is no absolute path without patterns", c.Path))
	}
	for _, v := range c.Versions {
		if !slices.Contains(mcp.SupportedProtocolVersions(), v) {
			errs = append(errs, fmt.Errorf("versions: %q is none of %v", v, mcp.SupportedProtocolVersions()))
		}
	}
	if c.Record < 0 || c.Record > 65536 {
		errs = append(errs, fmt.Errorf("record: %d is not within [0, 65536]", c.Record))
	}
	return errors.Join(errs...)
}

// Server is a dealership. Its methods may be called at any time by several
// goroutines.
type Server struct {
	stock   *stock
	journal *journal
	faults  *faults
	mcp     *mcp.Server
	handler http.Handler
}

// New opens a dealership with its initial stock, the same every time.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("dealership: %w", err)
	}
	if cfg.Path == "" {
		cfg.Path = "/mcp"
	}
	if cfg.Record == 0 {
		cfg.Record = 256
	}
	s := &Server{stock: newStock(), journal: newJournal(cfg.Record), faults: &faults{}}
	s.mcp = mcp.NewServer(
		&mcp.Implementation{Name: "dealership", Title: "Vehicle dealership", Version: Version},
		&mcp.ServerOptions{
			Instructions:              "Search vehicles, look up dealers, book services; refunds and deletions need elevated rights.",
			Logger:                    cfg.Logger,
			SupportedProtocolVersions: cfg.Versions,
		})
	if err := addTools(s.mcp, s.stock); err != nil {
		return nil, fmt.Errorf("dealership: %w", err)
	}
	addContent(s.mcp, s.stock)

	mux := http.NewServeMux()
	mux.Handle(cfg.Path, endpoint(s.mcp, cfg))
	addREST(mux, s.stock)
	s.handler = s.journal.record(s.faults.inject(mux))
	return s, nil
}

// endpoint serves both families of revisions at one path. The SDK serves a
// session-keeping endpoint or a stateless one; the header that every request of
// a stateless revision must carry (MCP 2026-07-28, streamable HTTP) says which
// one a request is for.
func endpoint(server *mcp.Server, cfg Config) http.Handler {
	get := func(*http.Request) *mcp.Server { return server }
	options := mcp.StreamableHTTPOptions{
		JSONResponse:   cfg.JSONResponse,
		Logger:         cfg.Logger,
		SessionTimeout: sessionIdle,
		// A gateway passes the public host name on to this loopback listener,
		// which the SDK would take for DNS rebinding.
		DisableLocalhostProtection: true,
	}
	sessions := mcp.NewStreamableHTTPHandler(get, &options)
	options.Stateless = true
	options.PropagateRequestCancellation = true
	single := mcp.NewStreamableHTTPHandler(get, &options)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Protocol-Version") >= stateless {
			single.ServeHTTP(w, r)
			return
		}
		sessions.ServeHTTP(w, r)
	})
}

// Handler serves the MCP endpoint at the configured path, with the REST API
// beside it: GET /vehicles, GET /vehicles/{id}, POST /services,
// DELETE /services/{id}.
func (s *Server) Handler() http.Handler { return s.handler }

// Effects returns how often each operation changed something, by tool name.
// REST writes count under the tool that does the same. Reads change nothing.
func (s *Server) Effects() map[string]int { return s.stock.counts() }

// Requests returns the last requests that arrived, oldest first.
func (s *Server) Requests() []Request { return s.journal.last() }

// Arrived returns how many requests arrived since the start or the last Forget.
func (s *Server) Arrived() int { return s.journal.total() }

// Forget empties the record of requests. Stock and effects stay.
func (s *Server) Forget() { s.journal.clear() }

// Close ends all MCP sessions. The handler must not be used afterwards.
func (s *Server) Close() error {
	var errs []error
	for session := range s.mcp.Sessions() {
		errs = append(errs, session.Close())
	}
	return errors.Join(errs...)
}
