package operation

import "encoding/json"

// ToolCall is the operation that a tools/call with these arguments, one JSON object
// or empty, is going to be, in any revision: an approval is asked for before its
// call is made, and both must have one fingerprint. The error is always a *Refusal.
func (s *Server) ToolCall(tool, arguments string) (*Operation, error) {
	if s.mcp == nil {
		return nil, refuse(CauseUnknownMethod, "the server is no MCP server")
	}
	op := &Operation{Kind: MCP, Method: "tools/call"}
	memory := s.scratches.Get().(*scratch)
	refusal := s.mcp.toolCall(tool, arguments, op, memory)
	if memory.reset() {
		s.scratches.Put(memory)
	}
	if refusal != nil {
		return nil, refusal
	}
	return op, nil
}

func (s *mcpServer) toolCall(tool, arguments string, op *Operation, memory *scratch) *Refusal {
	if arguments != "" && !json.Valid([]byte(arguments)) { // it must not end what it is put into
		return refuse(CauseInvalidJSON, "arguments: not one JSON text")
	}
	name, err := json.Marshal(tool)
	if err != nil {
		return refuse(CauseMissingTool, "the tool's name is no text")
	}
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":` + string(name)
	if arguments != "" {
		body += `,"arguments":` + arguments
	}
	body += "}}"
	m := &memory.message
	switch {
	case len(body) > s.maxBody:
		return refuse(CauseBodyTooLarge, "the call has %d bytes, at most %d are accepted", len(body), s.maxBody)
	case !s.methods.has("tools/call"):
		return refuse(CauseUnknownMethod, "the server takes no tools/call")
	}
	if r := m.read(body); r != nil {
		return r
	}
	node, r := s.findTarget(m, op)
	if r == nil {
		memory.fingerprintMCP(s.name, op, node)
	}
	return r
}
