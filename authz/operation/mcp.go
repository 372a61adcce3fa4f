package operation

import (
	"slices"
	"strings"
)

// mcpServer is an MCP endpoint with its allow-lists. Immutable.
type mcpServer struct {
	name         string
	path         string
	maxBody      int
	methods      allowlist
	resources    resourceList
	prompts      allowlist
	origins      []string
	versions     []string // accepted revisions, the newest first
	newestLegacy string   // the newest that has the handshake; empty: none is accepted
}

// parse is the story of one request to the endpoint: what HTTP says of it, then
// the message, then what it asks for.
func (s *mcpServer) parse(req *Request, op *Operation, memory *scratch) *Refusal {
	var f fields
	f.read(req.Headers)
	if r := s.checkOrigin(&f.origin); r != nil {
		return r // without the id: a foreign page learns nothing
	}
	if f.version.lines == 1 && slices.Contains(s.versions, f.version.value) {
		op.ProtocolVersion = f.version.value // for refusals; what governs is found below
	}
	if req.Method != "POST" {
		if r := s.checkTarget(req, &f); r != nil {
			return r
		}
		if r := s.parseSession(req, &f, op); r != nil {
			return r
		}
		memory.fingerprintMCP(s.name, op, 0)
		return nil
	}
	m := &memory.message
	var unread *Refusal
	if len(req.Body) <= s.maxBody {
		unread = m.read(req.Body)
		op.RPCID = m.requestID()
	}
	if r := s.checkTarget(req, &f); r != nil {
		return r
	}
	if r := s.checkBody(req, &f); r != nil {
		return r
	}
	if unread != nil {
		return unread
	}
	arguments, r := s.parseMessage(req, &f, m, op)
	if r == nil {
		memory.fingerprintMCP(s.name, op, arguments)
	}
	return r
}

// checkOrigin guards against DNS rebinding (all revisions, "Security Warning").
func (s *mcpServer) checkOrigin(origin *field) *Refusal {
	if origin.lines == 0 || origin.lines == 1 && slices.Contains(s.origins, origin.value) {
		return nil
	}
	return refuse(CauseOrigin, "header origin: %s is not accepted", quoted(origin.value))
}

// checkTarget wants the endpoint itself.
func (s *mcpServer) checkTarget(req *Request, f *fields) *Refusal {
	if req.Path != s.path {
		if strings.HasPrefix(req.Path, s.path+"?") {
			return refuse(CauseQuery, "the MCP endpoint takes no query")
		}
		return refuse(CauseRouteUnknown, "this path is not the MCP endpoint")
	}
	return f.checkOverride()
}

func (s *mcpServer) checkBody(req *Request, f *fields) *Refusal {
	if len(req.Body) > s.maxBody {
		return refuse(CauseBodyTooLarge, "the body has %d bytes, at most %d are accepted", len(req.Body), s.maxBody)
	}
	if r := f.checkEncoding(); r != nil {
		return r
	}
	if r := f.checkJSON(); r != nil {
		return r
	}
	return f.checkLength(req.Body)
}

// parseSession reads what the revisions before 2026-07-28 do without a body: GET
// opens a stream, DELETE ends a session.
func (s *mcpServer) parseSession(req *Request, f *fields, op *Operation) *Refusal {
	if req.Method != "GET" && req.Method != "DELETE" || s.newestLegacy == "" {
		return s.notAllowed(req.Method)
	}
	op.Method = req.Method
	if f.version.lines > 1 {
		return refuse(CauseHeaderMismatch, "header mcp-protocol-version: came %d times", f.version.lines)
	}
	if r := s.acceptHeader(f, op); r != nil {
		return r
	}
	if op.Stateless() {
		return s.notAllowed(req.Method)
	}
	if r := f.checkLength(req.Body); r != nil {
		return r
	}
	if req.Body != "" {
		return refuse(CauseUnexpectedBody, "%s takes no body", req.Method)
	}
	if r := readSession(f, op); r != nil {
		return r
	}
	if req.Method == "DELETE" && op.SessionID == "" {
		return refuse(CauseSessionHeader, "header mcp-session-id: is required to end a session")
	}
	return nil
}

func (s *mcpServer) notAllowed(method string) *Refusal {
	r := refuse(CauseMethodNotAllowed, "method %s is not allowed here", quoted(method))
	r.Allow = "POST"
	if s.newestLegacy != "" {
		r.Allow = "GET, POST, DELETE"
	}
	return r
}

// parseMessage decides what a well-formed message asks for. arguments is the
// node of what goes into the fingerprint; 0 if there is none.
func (s *mcpServer) parseMessage(req *Request, f *fields, m *message, op *Operation) (arguments uint32, r *Refusal) {
	if m.method != 0 {
		method, ok := m.textOf(m.method, maxMethodLen)
		if !ok || !asciiVisible(method) {
			return 0, refuse(CauseUnknownMethod, "unknown method %s", quoted(m.text(m.method)))
		}
		if op.Method = method; strings.HasPrefix(method, "notifications/") != (m.id == 0) {
			return 0, refuse(CauseNotJSONRPC, "body: notifications, and only they, have no id")
		}
	}
	if r := s.findRevision(f, m, op); r != nil {
		return 0, r
	}
	if r := checkMirrored(req.Headers, f, m, op); r != nil {
		return 0, r
	}
	if r := readSession(f, op); r != nil {
		return 0, r
	}
	if m.method == 0 {
		if op.Method = "response"; op.Stateless() {
			return 0, refuse(CauseNotJSONRPC, "body: a client sends no responses in revision %s", op.ProtocolVersion)
		}
		return max(m.result, m.err), nil
	}
	if !s.methods.has(op.Method) || op.Stateless() && removed(op.Method) {
		return 0, refuse(CauseUnknownMethod, "unknown method %s", quoted(op.Method))
	}
	if op.IdempotencyKey, r = m.idempotencyKey(); r != nil {
		return 0, r
	}
	return s.findTarget(m, op)
}

const maxSessionIDLen = 2048 // the revisions allow a JWT

// readSession reads Mcp-Session-Id, which nothing after 2025-11-25 knows.
func readSession(f *fields, op *Operation) *Refusal {
	if f.session.lines == 0 || op.Stateless() {
		return nil
	}
	id := f.session.value
	if f.session.lines > 1 || id == "" || len(id) > maxSessionIDLen || !asciiVisible(id) {
		return refuse(CauseSessionHeader, "header mcp-session-id: must be one line of 1 to %d visible ASCII characters", maxSessionIDLen)
	}
	op.SessionID = id
	return nil
}
