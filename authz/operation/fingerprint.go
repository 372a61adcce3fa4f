package operation

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// The canonical call is what two requests must share to be the same call: it
// tells a retry from another call with the same idempotency key, and it is what
// an approval is for. It is the SHA-256 over these fields, each behind its
// length in four bytes, big endian:
//
//	MCP:  "1", server, method, tool or target, canonical arguments
//	REST: "1", server, method, route, path, query, content type, SHA-256 of the body
//
// The arguments of tools/call are params.arguments; of any other method params;
// of a response its result or error; {} if absent. The JSON-RPC id, _meta and
// what belongs to a round trip and not to the call (inputResponses,
// requestState, task) are left out. Path, query and content type are as the client wrote
// them. Stored fingerprints outlive a release: any change is a new version.
const fingerprintVersion = "1"

// fingerprintMCP sets the fingerprint of a message. arguments is the node that
// parseMessage returned.
func (s *scratch) fingerprintMCP(server string, op *Operation, arguments uint32) {
	b := appendField(s.canonical[:0], fingerprintVersion)
	b = appendField(b, server)
	b = appendField(b, op.Method)
	if op.Tool != "" {
		b = appendField(b, op.Tool)
	} else {
		b = appendField(b, op.Target)
	}
	start := len(b)
	b = append(b, 0, 0, 0, 0) // the length, known later
	switch {
	case arguments == 0:
		b = append(b, "{}"...)
	case op.Tool != "":
		b = slices.Grow(b, len(s.raw(arguments)))
		b = s.appendCanonical(b, arguments)
	default:
		b = s.appendCanonical(b, arguments, "_meta", "inputResponses", "requestState", "task")
	}
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4)) //nolint:gosec // what is read has at most mostMaxBody bytes
	op.Fingerprint = sha256.Sum256(b)
	s.canonical = b
}

// fingerprintREST sets the fingerprint of a request to a route.
func (s *scratch) fingerprintREST(server string, op *Operation, path, query, contentType, body string) {
	b := append(s.canonical[:0], body...)
	digest := sha256.Sum256(b)
	b = appendField(b[:0], fingerprintVersion)
	for _, field := range [...]string{server, op.Method, op.Target, path, query, contentType} {
		b = appendField(b, field)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(digest)))
	b = append(b, digest[:]...)
	op.Fingerprint = sha256.Sum256(b)
	s.canonical = b
}

func appendField(b []byte, field string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(field))) //nolint:gosec // as above
	return append(b, field...)
}
