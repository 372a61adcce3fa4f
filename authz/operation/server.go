package operation

import (
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Config says what may be asked of one server. Exactly one of MCP and REST is
// set.
type Config struct {
	// Name is the server's name in the catalogue; it is part of every
	// fingerprint.
	Name string
	// MaxBodyBytes is the largest body that is read, within [1024, 67108864].
	// 0: 1048576. It should be what the proxy buffers.
	MaxBodyBytes int

	MCP  *MCPConfig
	REST *RESTConfig
}

// MCPConfig is an MCP server's endpoint and its allow-lists. An empty list
// allows nothing, except for Versions.
type MCPConfig struct {
	// Path is the endpoint's exact path.
	Path string
	// Methods are method names, or a name and "/*": "tools/call",
	// "notifications/*". Answers of the client, the stream (GET) and the end of
	// a session (DELETE) need no entry: the revisions before 2026-07-28 have them.
	Methods []string
	// Resources are exact URIs, or a beginning and "*". What * stands for can't lead
	// out of the beginning, so it has no query, fragment or parameters (? # ;), no
	// dot segments, and of spaces only escaped ones. A URI with a query must be
	// listed exactly, or with a beginning that reaches into the query; * is then the
	// rest of that one parameter.
	Resources []string
	// Prompts are exact names, or a beginning and "*".
	Prompts []string
	// Origins are the accepted values of the Origin header, as browsers write
	// them: "https://app.example". Requests without the header are accepted.
	Origins []string
	// Versions are the accepted revisions. Empty: all that are known here.
	Versions []string
}

// RESTConfig maps the routes of an API to tools.
type RESTConfig struct {
	// Prefix is the path below which the API is; "/" or empty for all.
	Prefix string
	// Routes are what may be asked; everything else is refused.
	Routes []Route
}

// Route is one method and path template.
type Route struct {
	// Method is GET, HEAD, POST, PUT, PATCH or DELETE.
	Method string
	// Template is a path below the prefix whose segments are literal or {name}:
	// "/vehicles/{id}". A literal is preferred to a {name}.
	Template string
	// Tool is the catalogue's name of what the route does.
	Tool string
	// AnyBody also accepts bodies that are not JSON. Their content is no
	// argument, so neither schema nor conditions see it; only its digest is in
	// the fingerprint.
	AnyBody bool
}

const (
	defaultMaxBody = 1 << 20
	leastMaxBody   = 1 << 10
	mostMaxBody    = 64 << 20
)

// Server reads the requests to one server. It never changes and can be used by
// many goroutines.
type Server struct {
	mcp  *mcpServer
	rest *restServer

	scratches sync.Pool // of *scratch
}

// scratch is the memory that reading a request takes. It goes from request to
// request, so nothing of an operation may lie in it.
type scratch struct {
	message
	canonical []byte
}

// Scratches above these sizes are left to the garbage collector.
const (
	keptNodes = 1 << 10
	keptBytes = 16 << 10
)

// reset forgets the request and keeps the memory.
func (s *scratch) reset() (keep bool) {
	clear(s.members[:cap(s.members)])
	s.message = message{tape: tape{nodes: s.nodes[:0], members: s.members[:0]}}
	return cap(s.nodes) <= keptNodes && cap(s.members) <= keptNodes && cap(s.canonical) <= keptBytes
}

// New compiles a configuration. The error joins everything that is wrong with it.
func New(cfg Config) (*Server, error) {
	var problems []error
	fail := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if cfg.Name == "" {
		fail("name: is required")
	}
	switch {
	case cfg.MaxBodyBytes == 0:
		cfg.MaxBodyBytes = defaultMaxBody
	case cfg.MaxBodyBytes < leastMaxBody || cfg.MaxBodyBytes > mostMaxBody:
		fail("max body bytes: %d is not within [%d, %d]", cfg.MaxBodyBytes, leastMaxBody, mostMaxBody)
	}
	s := &Server{}
	s.scratches.New = func() any { return &scratch{} }
	switch {
	case (cfg.MCP == nil) == (cfg.REST == nil):
		fail("exactly one of mcp and rest is required")
	case cfg.MCP != nil:
		s.mcp = newMCPServer(&cfg, fail)
	default:
		s.rest = newRESTServer(&cfg, fail)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return s, nil
}

// Kind is the dialect that the server speaks.
func (s *Server) Kind() Kind {
	if s.mcp != nil {
		return MCP
	}
	return REST
}

// Parse reads what a request asks for. The error is always a *Refusal. Parse
// never panics and keeps no state; the operation's strings are parts of the
// request's.
func (s *Server) Parse(req *Request) (*Operation, error) {
	op := &Operation{Kind: s.Kind()}
	memory := s.scratches.Get().(*scratch)
	var refusal *Refusal
	if s.mcp != nil {
		refusal = s.mcp.parse(req, op, memory)
	} else {
		refusal = s.rest.parse(req, op, memory)
	}
	if memory.reset() {
		s.scratches.Put(memory)
	}
	if refusal == nil {
		return op, nil
	}
	refusal.Kind, refusal.RPCID = op.Kind, op.RPCID
	refusal.Method, refusal.ProtocolVersion = op.Method, op.ProtocolVersion
	return nil, refusal
}

// allowlist is a set of names and of beginnings of names.
type allowlist struct {
	exact    map[string]struct{}
	prefixes []string
}

func newAllowlist(entries []string) allowlist {
	l := allowlist{exact: make(map[string]struct{}, len(entries))}
	for _, entry := range entries {
		if prefix, ok := strings.CutSuffix(entry, "*"); ok {
			l.prefixes = append(l.prefixes, prefix)
		} else {
			l.exact[entry] = struct{}{}
		}
	}
	return l
}

func (l *allowlist) has(name string) bool {
	if _, ok := l.exact[name]; ok {
		return true
	}
	for _, prefix := range l.prefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
