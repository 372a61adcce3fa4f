// Package operation reads, strictly, what an HTTP request asks of a server: an
// MCP method over streamable HTTP, or a REST route that stands for a tool.
package operation

import "fmt"

// Kind tells how the operation was asked for, and so in which dialect a
// refusal is answered.
type Kind uint8

// The kinds of an operation.
const (
	MCP  Kind = iota + 1 // JSON-RPC over streamable HTTP
	REST                 // a method and a path template
)

// Operation is what one request asks for. It is computed once per request and
// then only read.
type Operation struct {
	Kind   Kind
	Method string // MCP: "tools/call", "initialize" …, "response" (an answer of the client), or "GET" (stream) and "DELETE" (end of session); REST: the HTTP method
	Tool   string // name of the tool in the catalogue; empty if no tool is called
	Target string // resources/*: the URI; prompts/get: the name; completion/complete: what is completed; REST: the route's prefix and template

	// RPCID is the exact JSON text of the JSON-RPC id: `7`, `"a"`; empty for
	// notifications, responses and REST.
	RPCID string
	// ProtocolVersion is the MCP revision that governs this request; empty for REST.
	ProtocolVersion string
	// SessionID is the Mcp-Session-Id header of revisions before 2026-07-28.
	// From 2026-07-28 on the header means nothing and SessionID is empty, so
	// whoever passes such a request on must remove the header.
	SessionID string
	// IdempotencyKey is the client's key from params._meta; the header is not
	// read here. See KeyMember.
	IdempotencyKey string

	// Arguments are the tool's arguments as JSON Schema and CEL want them:
	// map[string]any, []any, string, bool, nil and json.Number, so that no
	// digit is lost; a number with a fraction compares as its double does, and no
	// two members of an object differ only in letter case. REST: path and query
	// parameters, as strings, and the JSON body's members in one map. Not nil when
	// a tool is called.
	Arguments map[string]any
	// Beyond names something that the call of a tool carries beside its arguments, which
	// the server may act on and the fingerprint doesn't cover: inputResponses,
	// requestState, task, or a member of _meta that is neither the protocol's nor
	// KeyMember. Empty: nothing.
	Beyond string
	// Fingerprint is the SHA-256 of the canonical call; see fingerprint.go.
	Fingerprint [32]byte
}

// Refusal says why a request is not one that the server may be asked. Cause is
// one of the Cause constants and names a row of the table of reasons; Detail is
// for the caller and never holds secrets.
type Refusal struct {
	Cause  string
	Detail string
	Kind   Kind
	// RPCID is the exact JSON text of the request's JSON-RPC id where it could
	// be read. MCP 2026-07-28 clients want it echoed in every error.
	RPCID string

	// Method and ProtocolVersion are what was known when the request was
	// refused, for the answer's dialect and the record; either may be empty.
	Method          string
	ProtocolVersion string

	// Supported and Requested are the data of UnsupportedProtocolVersionError
	// (MCP 2026-07-28, versioning); set for CauseUnsupportedVersion only.
	Supported []string
	Requested string
	// Allow is the Allow header of a 405 answer (RFC 9110 §15.5.6); set for
	// CauseMethodNotAllowed only.
	Allow string
}

func (r *Refusal) Error() string { return fmt.Sprintf("operation: %s: %s", r.Cause, r.Detail) }
