package operation

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// findTarget finds the tool, resource or prompt that a method names, and holds
// the latter two to their allow-lists. arguments is the node of what goes into
// the fingerprint: a tool's arguments, of other methods params; 0 if absent.
func (s *mcpServer) findTarget(m *message, op *Operation) (arguments uint32, r *Refusal) {
	switch op.Method {
	case "tools/call":
		return m.par.arguments, s.findTool(m, op)
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		r = s.findResource(m, m.par.uri, "params.uri", op)
	case "prompts/get":
		r = s.findPrompt(m, m.par.name, "params.name", op)
	case "completion/complete":
		r = s.findReference(m, op)
	case "subscriptions/listen":
		r = s.checkSubscriptions(m)
	}
	return m.params, r
}

// findTool reads a tools/call. A member of params that no revision defines is
// refused: a server that acts on it would do what no policy has seen.
func (s *mcpServer) findTool(m *message, op *Operation) *Refusal {
	tool, ok := m.textOf(m.par.name, maxNameLen)
	if !ok {
		return refuse(CauseMissingTool, "params.name: must be the tool's name, 1 to %d bytes long", maxNameLen)
	}
	op.Tool = tool
	if m.beyond != 0 {
		op.Beyond = m.text(m.beyond)
	}
	if m.par.unknown != 0 {
		return refuse(CauseBadParams, "params: tools/call has no member %s", quoted(m.text(m.par.unknown)))
	}
	if m.par.arguments == 0 {
		op.Arguments = map[string]any{}
		return nil
	}
	if m.nodes[m.par.arguments].kind != objectNode {
		return refuse(CauseBadArguments, "params.arguments: must be an object")
	}
	if name, clash := m.caseClash(m.par.arguments); clash {
		return refuse(CauseDuplicateMember, "params.arguments: %s differs from another member only in letter case", quoted(name))
	}
	op.Arguments = m.toMap(m.par.arguments)
	return nil
}

func (s *mcpServer) findResource(m *message, node uint32, place string, op *Operation) *Refusal {
	uri, ok := m.textOf(node, maxURILen)
	if !ok {
		return refuse(CauseBadParams, "%s: must be a URI, 1 to %d bytes long", place, maxURILen)
	}
	op.Target = uri
	if !s.resources.has(uri) {
		return refuse(CauseResourceNotListed, "%s: unknown resource %s", place, quoted(uri))
	}
	return nil
}

func (s *mcpServer) findPrompt(m *message, node uint32, place string, op *Operation) *Refusal {
	name, ok := m.textOf(node, maxNameLen)
	if !ok {
		return refuse(CauseBadParams, "%s: must be the prompt's name, 1 to %d bytes long", place, maxNameLen)
	}
	op.Target = name
	if !s.prompts.has(name) {
		return refuse(CausePromptNotListed, "%s: unknown prompt %s", place, quoted(name))
	}
	return nil
}

// findReference reads params.ref of completion/complete, a prompt or a resource
// (or its URI template): what completes a name tells what there is.
func (s *mcpServer) findReference(m *message, op *Operation) *Refusal {
	if m.par.ref == 0 || m.nodes[m.par.ref].kind != objectNode {
		return refuse(CauseBadParams, "params.ref: must be an object")
	}
	var kind, name, uri uint32
	for i, ok := m.first(m.par.ref); ok; i, ok = m.after(m.par.ref, i) {
		switch member := m.text(i); member {
		case "type":
			kind = i + 1
		case "name":
			name = i + 1
		case "uri":
			uri = i + 1
		default:
			if known := miscased(member, "type", "name", "uri"); known != "" {
				return refuse(CauseMemberCase, "params.ref: member %s must be written %q", quoted(member), known)
			}
		}
	}
	switch text, _ := m.textOf(kind, maxNameLen); text {
	case "ref/prompt":
		return s.findPrompt(m, name, "params.ref.name", op)
	case "ref/resource":
		return s.findResource(m, uri, "params.ref.uri", op)
	}
	return refuse(CauseBadParams, `params.ref.type: must be "ref/prompt" or "ref/resource"`)
}

// checkSubscriptions reads the filter of subscriptions/listen (2026-07-28): each
// resource that it asks to hear of must be on the list.
func (s *mcpServer) checkSubscriptions(m *message) *Refusal {
	filter := m.par.notifications
	if filter == 0 || m.nodes[filter].kind != objectNode {
		return refuse(CauseBadParams, "params.notifications: must be an object")
	}
	const member = "resourceSubscriptions"
	for i, ok := m.first(filter); ok; i, ok = m.after(filter, i) {
		name := m.text(i)
		if name != member {
			if strings.EqualFold(name, member) {
				return refuse(CauseMemberCase, "params.notifications: member %s must be written %q", quoted(name), member)
			}
			continue
		}
		list := i + 1
		if m.nodes[list].kind != arrayNode {
			return refuse(CauseBadParams, "params.notifications.%s: must be an array", member)
		}
		for e := list + 1; e < m.nodes[list].next; e = m.nodes[e].next {
			uri, ok := m.textOf(e, maxURILen)
			if !ok {
				return refuse(CauseBadParams, "params.notifications.%s: must hold URIs, 1 to %d bytes long", member, maxURILen)
			}
			if !s.resources.has(uri) {
				return refuse(CauseResourceNotListed, "params.notifications.%s: unknown resource %s", member, quoted(uri))
			}
		}
	}
	return nil
}

// resourceList is an allow-list of URIs.
type resourceList struct{ allowlist }

// has tells whether a URI is listed. What an entry's * stands for must stay
// below that entry's beginning for every server, however it normalises; an exact
// entry is what it is.
func (l *resourceList) has(uri string) bool {
	if _, ok := l.exact[uri]; ok {
		return true
	}
	for _, prefix := range l.prefixes {
		if strings.HasPrefix(uri, prefix) && (prefix == "" || staysBelow(uri, prefix)) {
			return true
		}
	}
	return false
}

// staysBelow tells whether a URI that begins with a prefix can't lead out of it.
//
// Beyond the prefix there must be nothing at which a server may end the path and
// start something else: ? # ; or, if the prefix reaches into a query, &. Nor may
// there be backslashes, spaces, controls, or characters beyond ASCII other than
// letters and digits, as some are spaces, dots or slashes to lenient servers. An
// escape must stand for none of these but a space, and for no slash, dot or
// escape. No segment may be empty or only dots and spaces; the one that the
// prefix ends in is looked at whole.
func staysBelow(uri, prefix string) bool {
	rest, forbidden := uri[len(prefix):], `?#;\`
	if strings.Contains(prefix, "?") {
		forbidden = `?#;\&`
	}
	for i := range len(rest) {
		if c := rest[i]; c <= ' ' || c == 0x7f || c == '%' && !harmlessEscape(rest[i:]) {
			return false
		}
	}
	decoded, _ := decodePercent(rest, false)
	if !utf8.ValidString(decoded) || strings.ContainsAny(decoded, forbidden) || strings.ContainsFunc(decoded, isOdd) {
		return false
	}
	path, ok := decodePercent(uri[strings.LastIndexByte(prefix, '/')+1:], false)
	if !ok {
		return false
	}
	if strings.HasSuffix(prefix, "://") {
		path = strings.TrimPrefix(path, "/") // file:///… has no authority
	}
	for segment := range strings.SplitSeq(path, "/") {
		if !strings.ContainsFunc(segment, func(c rune) bool { return c != '.' && c != ' ' && !unicode.Is(unicode.M, c) }) {
			return false
		}
	}
	return true
}

// isOdd tells the characters beyond ASCII that are neither letters, with their
// marks, nor digits.
func isOdd(c rune) bool {
	return c >= utf8.RuneSelf && !unicode.In(c, unicode.L, unicode.M, unicode.Nd)
}
