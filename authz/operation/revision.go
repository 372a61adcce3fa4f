package operation

import "slices"

// The revisions of MCP that have the streamable HTTP transport. They are dates,
// so that their order is the order of their text.
const (
	revision20250326 = "2025-03-26"
	revision20250618 = "2025-06-18"
	revision20251125 = "2025-11-25"
	revision20260728 = "2026-07-28"
)

// revisions lists what is known here, the newest first.
func revisions() []string {
	return []string{revision20260728, revision20251125, revision20250618, revision20250326}
}

const maxVersionLen = 64

// stateless tells whether a revision is of the kind that has no handshake and
// no sessions: 2026-07-28 and later.
func stateless(revision string) bool { return revision >= revision20260728 }

// Stateless tells whether the request is one of MCP 2026-07-28 or later, where
// every request stands for itself.
func (o *Operation) Stateless() bool { return o.Kind == MCP && stateless(o.ProtocolVersion) }

// OpensSession tells whether the response may open a session: an initialize of the
// revisions that have them. It names none, whatever its header says.
func (o *Operation) OpensSession() bool { return o.Method == "initialize" && !o.Stateless() }

// Stateless is as Operation's, for what could be read of a refused request.
func (r *Refusal) Stateless() bool { return r.Kind == MCP && stateless(r.ProtocolVersion) }

// findRevision finds the revision that governs a message. The header and the
// version in params._meta must agree (2026-07-28, basic/transports/streamable-http,
// "Protocol Version Header"): a server that trusts the one must not see another
// message than a server that trusts the other. Without either it is 2025-03-26,
// as the revisions since 2025-06-18 say, or an initialize that offers one.
func (s *mcpServer) findRevision(f *fields, m *message, op *Operation) *Refusal {
	header, claim := &f.version, ""
	if m.meta.version != 0 {
		if m.nodes[m.meta.version].kind != stringNode {
			return refuse(CauseBadMeta, "params._meta: %q must be a string", metaVersion)
		}
		claim = m.text(m.meta.version)
	}
	switch {
	case header.lines > 1:
		return refuse(CauseHeaderMismatch, "header mcp-protocol-version: came %d times", header.lines)
	case header.lines == 0 && m.meta.version != 0:
		return refuse(CauseHeaderMismatch, "header mcp-protocol-version: is required, because params._meta says %s", quoted(claim))
	case m.meta.version != 0 && header.value != claim:
		return refuse(CauseHeaderMismatch, "header mcp-protocol-version: says %s, params._meta says %s", quoted(header.value), quoted(claim))
	}
	if r := s.acceptHeader(f, op); r != nil {
		return r
	}
	if op.Method == "initialize" && !op.Stateless() {
		return s.acceptOffer(m, op)
	}
	if !op.Stateless() || !m.isRequest() {
		return nil
	}
	if m.meta.version == 0 {
		return refuse(CauseBadMeta, "params._meta: %q is required", metaVersion)
	}
	if m.meta.capabilities == 0 || m.nodes[m.meta.capabilities].kind != objectNode {
		return refuse(CauseBadMeta, "params._meta: %q is required and an object", metaCapabilities)
	}
	return nil
}

// acceptHeader takes the revision from the header or from its absence.
func (s *mcpServer) acceptHeader(f *fields, op *Operation) *Refusal {
	revision := f.version.value
	if f.version.lines == 0 {
		if s.newestLegacy == "" && op.Method != "initialize" {
			return refuse(CauseHeaderMismatch, "header mcp-protocol-version: is required")
		}
		if op.Method == "initialize" {
			return nil
		}
		revision = revision20250326
	}
	if !slices.Contains(s.versions, revision) {
		return s.unsupported(revision)
	}
	op.ProtocolVersion = revision
	return nil
}

// acceptOffer reads the revision that an initialize offers. One that isn't
// accepted here is no error: the server answers with another (2025-11-25,
// basic/lifecycle, "Version Negotiation"), and each later request names the one
// that was agreed on.
func (s *mcpServer) acceptOffer(m *message, op *Operation) *Refusal {
	offer, ok := m.textOf(m.par.protocolVersion, maxVersionLen)
	if !ok || !asciiVisible(offer) {
		return refuse(CauseBadParams, "params: protocolVersion must be a string of 1 to %d visible ASCII characters", maxVersionLen)
	}
	switch {
	case s.newestLegacy == "":
		return s.unsupported(offer)
	case slices.Contains(s.versions, offer) && !stateless(offer):
		op.ProtocolVersion = offer
	default:
		op.ProtocolVersion = s.newestLegacy
	}
	return nil
}

func (s *mcpServer) unsupported(requested string) *Refusal {
	if len(requested) > maxVersionLen || !asciiVisible(requested) {
		requested = ""
	}
	r := refuse(CauseUnsupportedVersion, "protocol version %s is not supported", quoted(requested))
	r.Supported, r.Requested = s.versions, requested
	return r
}

// removed tells whether a method went with the handshake and the sessions
// (2026-07-28, changelog), so that a request of a newer revision can't mean it.
func removed(method string) bool {
	switch method {
	case "initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe":
		return true
	}
	return false
}
