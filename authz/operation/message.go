package operation

import "strings"

// Bounds of what a JSON-RPC message names.
const (
	maxIDLen      = 256  // JSON text of an id that is a string
	maxIntegerLen = 20   // of one that is an integer
	maxMethodLen  = 128  // of a method
	maxNameLen    = 256  // of a tool or prompt
	maxURILen     = 4096 // of a resource
)

// message is one JSON-RPC message with the nodes of what it says; 0, which is
// the message itself, stands for a member that isn't there.
type message struct {
	tape
	version, id, method, params, result, err uint32
	unknown                                  uint32 // name of a member that JSON-RPC doesn't have
	idTwice                                  bool

	meta metaMembers
	par  paramMembers
	// beyond is the name of a member that isn't part of the canonical call and may
	// change what it does.
	beyond uint32
}

// paramMembers are the members of params that mean something here.
type paramMembers struct {
	name, arguments, uri, ref, meta, notifications, protocolVersion, taskID uint32
	unknown                                                                 uint32 // name of any other member
}

// metaMembers are the members of params._meta that mean something here.
type metaMembers struct {
	version, capabilities, key, plainKey uint32
}

// Members of _meta that revision 2026-07-28 requires of every request
// (basic/index, "Per-request protocol fields").
const (
	metaVersion      = "io.modelcontextprotocol/protocolVersion"
	metaCapabilities = "io.modelcontextprotocol/clientCapabilities"
)

// read reads the body. The id is found even in a message that is refused, if
// it was read before the place of the error.
func (m *message) read(body string) *Refusal {
	syntax := m.tape.read(body)
	if len(m.nodes) > 0 && m.nodes[0].kind == objectNode {
		m.findMembers()
	}
	if syntax != nil {
		return refuse(syntax.cause, "body, byte %d: %s", m.pos, syntax.what)
	}
	switch m.nodes[0].kind {
	case objectNode:
	case arrayNode:
		return refuse(CauseBatch, "body: a batch of messages is not accepted, send them one by one")
	default:
		return refuse(CauseNotJSONRPC, "body: a JSON object is required")
	}
	if m.hasDuplicate {
		return refuse(CauseDuplicateMember, "body: an object has the member %s twice", quoted(m.duplicate))
	}
	if r := m.checkMembers(); r != nil {
		return r
	}
	return m.readParams()
}

// findMembers finds the members of the message, also in a tape that ends at an
// error: a node that wasn't completed has no successor.
func (m *message) findMembers() {
	for i := uint32(1); int(i)+1 < len(m.nodes) && m.nodes[i+1].next != 0; i = m.nodes[i+1].next {
		switch m.text(i) {
		case "jsonrpc":
			m.version = i + 1
		case "id":
			m.idTwice = m.id != 0
			m.id = i + 1
		case "method":
			m.method = i + 1
		case "params":
			m.params = i + 1
		case "result":
			m.result = i + 1
		case "error":
			m.err = i + 1
		default:
			m.unknown = i
		}
		if m.idTwice {
			return
		}
	}
}

// isRequest tells a request from a notification and a response.
func (m *message) isRequest() bool { return m.method != 0 && m.id != 0 }

// requestID is the JSON text of the id if it is one that an answer can carry:
// of a request, a string or an integer, and short.
func (m *message) requestID() string {
	if m.id == 0 || m.idTwice || m.result != 0 || m.err != 0 || !m.idIsUsable() {
		return ""
	}
	return m.raw(m.id)
}

func (m *message) idIsUsable() bool {
	id := m.raw(m.id)
	if m.nodes[m.id].kind == stringNode {
		return len(id) <= maxIDLen
	}
	whole := strings.TrimPrefix(id, "-")
	return m.nodes[m.id].kind == numberNode && len(id) <= maxIntegerLen && digits(whole) == len(whole)
}

// checkMembers holds the message to JSON-RPC 2.0 as MCP narrows it: the id is a
// string or an integer and never null, and only notifications go without.
func (m *message) checkMembers() *Refusal {
	if m.unknown != 0 {
		name := m.text(m.unknown)
		if known := miscased(name, "jsonrpc", "id", "method", "params", "result", "error"); known != "" {
			return refuse(CauseMemberCase, "body: member %s must be written %q", quoted(name), known)
		}
		return refuse(CauseNotJSONRPC, "body: JSON-RPC has no member %s", quoted(name))
	}
	switch {
	case m.version == 0 || m.raw(m.version) != `"2.0"`:
		return refuse(CauseNotJSONRPC, `body: member jsonrpc must be "2.0"`)
	case m.id != 0 && !m.idIsUsable():
		return refuse(CauseNotJSONRPC, "body: member id must be an integer or a string, at most %d bytes long", maxIDLen)
	case m.method == 0:
		return m.checkResponse()
	case m.result != 0 || m.err != 0:
		return refuse(CauseNotJSONRPC, "body: member method excludes result and error")
	case m.nodes[m.method].kind != stringNode:
		return refuse(CauseNotJSONRPC, "body: member method must be a string")
	}
	return nil
}

func (m *message) checkResponse() *Refusal {
	outcome := max(m.result, m.err)
	switch {
	case outcome == 0:
		return refuse(CauseNotJSONRPC, "body: member method is required")
	case m.result != 0 && m.err != 0:
		return refuse(CauseNotJSONRPC, "body: a response has result or error, not both")
	case m.id == 0 || m.params != 0 || m.nodes[outcome].kind != objectNode:
		return refuse(CauseNotJSONRPC, "body: a response has an id and an object as result or error")
	}
	return nil
}

// readParams finds the members of params and of params._meta.
func (m *message) readParams() *Refusal {
	if m.params == 0 {
		return nil
	}
	if m.nodes[m.params].kind != objectNode {
		return refuse(CauseBadParams, "params: must be an object")
	}
	for i, ok := m.first(m.params); ok; i, ok = m.after(m.params, i) {
		if name := m.text(i); !m.par.set(name, i+1) {
			if known := miscased(name, "name", "arguments", "uri", "ref", "_meta", "notifications", "protocolVersion", "taskId",
				"task", "inputResponses", "requestState"); known != "" {
				return refuse(CauseMemberCase, "params: member %s must be written %q", quoted(name), known)
			}
			m.par.unknown = i
		} else if name == "task" || name == "inputResponses" || name == "requestState" {
			m.beyond = i
		}
	}
	if m.par.meta == 0 {
		return nil
	}
	if m.nodes[m.par.meta].kind != objectNode {
		return refuse(CauseBadMeta, "params._meta: must be an object")
	}
	for i, ok := m.first(m.par.meta); ok; i, ok = m.after(m.par.meta, i) {
		if name := m.text(i); !m.meta.set(name, i+1) {
			if known := miscased(name, metaVersion, metaCapabilities, KeyMember, plainKeyMember); known != "" {
				return refuse(CauseMemberCase, "params._meta: member %s must be written %q", quoted(name), known)
			}
			if !protocolsOwn(name) {
				m.beyond = i
			}
		}
	}
	return nil
}

// protocolsOwn reports whether a member of _meta is about the exchange and not about
// the call: those of MCP itself, and of W3C's trace context.
func protocolsOwn(name string) bool {
	switch name {
	case "progressToken", "traceparent", "tracestate", "baggage":
		return true
	}
	return strings.HasPrefix(name, "io.modelcontextprotocol/")
}

// set notes where a known member's value is.
func (p *paramMembers) set(name string, value uint32) bool {
	switch name {
	case "name":
		p.name = value
	case "arguments":
		p.arguments = value
	case "uri":
		p.uri = value
	case "ref":
		p.ref = value
	case "_meta":
		p.meta = value
	case "notifications":
		p.notifications = value
	case "protocolVersion":
		p.protocolVersion = value
	case "taskId":
		p.taskID = value
	case "task", "inputResponses", "requestState":
	default:
		return false
	}
	return true
}

func (m *metaMembers) set(name string, value uint32) bool {
	switch name {
	case metaVersion:
		m.version = value
	case metaCapabilities:
		m.capabilities = value
	case KeyMember:
		m.key = value
	case plainKeyMember:
		m.plainKey = value
	default:
		return false
	}
	return true
}

// miscased finds the known name that differs from this one in letter case only.
func miscased(name string, known ...string) string {
	for _, k := range known {
		if strings.EqualFold(k, name) {
			return k
		}
	}
	return ""
}

// textOf is the text of a string node of at most most bytes that is not empty.
func (m *message) textOf(node uint32, most int) (string, bool) {
	if node == 0 || m.nodes[node].kind != stringNode {
		return "", false
	}
	s := m.text(node)
	return s, s != "" && len(s) <= most
}
