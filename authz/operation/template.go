package operation

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of a REST path.
const (
	maxSegments   = 32
	maxSegmentLen = 1024
)

// template is one compiled Route.
type template struct {
	Route
	path       string   // prefix and template, as records and fingerprints show it
	segments   []string // below the prefix; empty where a parameter stands
	parameters []string // names, in the order of the path
}

// newTemplate compiles a route; problem says what is wrong with it.
func newTemplate(prefix string, route Route) (t *template, problem string) {
	t = &template{Route: route, path: prefix + route.Template}
	if !strings.HasPrefix(route.Template, "/") {
		return nil, `the template must start with "/"`
	}
	if route.Template == "/" {
		if prefix != "" {
			t.path = prefix
		}
		return t, ""
	}
	for segment := range strings.SplitSeq(route.Template[1:], "/") {
		name, isParameter := strings.CutPrefix(segment, "{")
		if isParameter {
			name, isParameter = strings.CutSuffix(name, "}")
		}
		switch {
		case isParameter && !validParameter(name):
			return nil, "parameter {" + name + "} is no name of letters, digits, _ and -"
		case isParameter && slices.ContainsFunc(t.parameters, func(other string) bool { return strings.EqualFold(other, name) }):
			return nil, "parameter {" + name + "} stands there twice"
		case isParameter:
			t.parameters = append(t.parameters, name)
			segment = ""
		case !validLiteral(segment):
			return nil, "segment " + quoted(segment) + " is empty, a dot segment, or neither {name} nor literal"
		}
		t.segments = append(t.segments, segment)
	}
	if len(t.segments) > maxSegments {
		return nil, "the template has too many segments"
	}
	return t, ""
}

func validParameter(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c != '-' && (c < '0' || c > '9')) {
			return false
		}
	}
	return name != ""
}

// ambiguous tells whether some path fits both templates without one of them
// being the more specific: /a/{x} is more specific than /{x}/{y}, but /a/{x} and
// /{x}/b are ambiguous. So are /a and /A, as some servers ignore letter case.
func ambiguous(a, b *template) bool {
	if len(a.segments) != len(b.segments) {
		return false
	}
	aMore, bMore, lookalike := false, false, false
	for i := range a.segments {
		la, lb := a.segments[i], b.segments[i]
		switch {
		case la != "" && lb != "" && !strings.EqualFold(la, lb):
			return false
		case la != "" && lb == "":
			aMore = true
		case la == "" && lb != "":
			bMore = true
		case la != lb:
			lookalike = true
		}
	}
	return lookalike || aMore == bMore
}

// segment is one part of a request's path: as it came, and decoded.
type segment struct{ raw, text string }

// splitPath splits the path below the prefix. Any part that two servers could
// understand differently makes it suspicious; why says which.
func splitPath(path string, room []segment) (segments []segment, why string) {
	segments = room[:0]
	if path == "" || path == "/" {
		return segments, ""
	}
	for raw := range strings.SplitSeq(path[1:], "/") {
		if len(segments) == maxSegments || len(raw) > maxSegmentLen {
			return nil, "it is too long"
		}
		text, why := decodeSegment(raw)
		if why != "" {
			return nil, why
		}
		segments = append(segments, segment{raw, text})
	}
	return segments, ""
}

func decodeSegment(raw string) (text, why string) {
	switch raw {
	case "":
		return "", "a segment is empty"
	case ".", "..":
		return "", "it has a dot segment"
	}
	escapes := false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '%' && !harmlessEscape(raw[i:]):
			return "", "an escape is broken or stands for a character that structures paths"
		case c == '%':
			escapes = true
			i += 2
		case !pathChar(c):
			return "", "the character " + quoted(string(rune(c))) + " must not stand in it"
		}
	}
	if !escapes {
		return raw, ""
	}
	text, _ = decodePercent(raw, false)
	if !utf8.ValidString(text) {
		return "", "an escape is not UTF-8"
	}
	return text, ""
}

// routeTree holds the templates by their segments.
type routeTree struct {
	literals  map[string]*routeTree
	parameter *routeTree
	routes    []*template // that end here, one for each method
}

func (n *routeTree) add(t *template) {
	for _, literal := range t.segments {
		next := n.parameter
		if literal != "" {
			next = n.literals[literal]
		}
		if next == nil {
			next = &routeTree{}
			switch {
			case literal == "":
				n.parameter = next
			case n.literals == nil:
				n.literals = map[string]*routeTree{literal: next}
			default:
				n.literals[literal] = next
			}
		}
		n = next
	}
	n.routes = append(n.routes, t)
}

// match is what was found for a path.
type match struct {
	route   *template
	methods []string // of all templates that fit, if none of them has the method
	// lookalike: a segment is no literal of the templates but becomes one when
	// it is decoded or its letter case is ignored, as some servers do; they
	// would serve another route than the one found here.
	lookalike bool
}

// find walks the tree, literals first, which leads to the most specific
// template, as New refuses ambiguous ones. No node is visited twice.
func (n *routeTree) find(path []segment, method string, m *match) {
	if len(path) == 0 {
		for _, t := range n.routes {
			if t.Method == method {
				m.route = t
				return
			}
			m.methods = append(m.methods, t.Method)
		}
		return
	}
	if next, ok := n.literals[path[0].raw]; ok {
		next.find(path[1:], method, m)
	} else {
		for literal := range n.literals {
			m.lookalike = m.lookalike || strings.EqualFold(literal, path[0].text)
		}
	}
	if m.route == nil && n.parameter != nil {
		n.parameter.find(path[1:], method, m)
	}
}
