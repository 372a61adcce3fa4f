package operation

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of the JSON that is read. They keep recursion, big-number arithmetic
// in JSON Schema and CEL, and exponents such as 1e999999999 harmless.
const (
	maxDepth        = 64      // objects and arrays inside each other
	maxNodes        = 1 << 17 // values and member names; each takes more memory than its text
	maxNumberLen    = 256     // bytes of a number's text
	maxNumberDigits = 100     // digits of a number without leading and trailing zeros
	maxExponent     = 400     // magnitude of a number's exponent, as written and in scientific form; see numberProblem for fractions
)

type kind uint8

const (
	objectNode kind = iota + 1
	arrayNode
	stringNode
	numberNode
	trueNode
	falseNode
	nullNode
)

// node is one value, or one member's name, of a JSON text. The nodes of an
// object are name, value, name, value …; those of an array its elements.
type node struct {
	start, end uint32 // its text; of a string with both quotes
	next       uint32 // the node after all that is inside this one
	kind       kind
	escaped    bool // a string with a backslash in it
}

// tape is a JSON text with its nodes in the order of the text. It is read in
// one pass, refuses what RFC 8259 leaves open (duplicate members, invalid
// UTF-8, lone surrogates), and builds no values.
type tape struct {
	src   string
	nodes []node

	// duplicate is the first member name that came twice in one object. The
	// reading goes on, so that the request's id can still be found.
	duplicate    string
	hasDuplicate bool

	pos     int
	members []member // scratch of appendCanonical
}

// syntax is where and why a text is no acceptable JSON.
type syntax struct {
	cause string
	what  string
}

// read reads src, which must be one JSON text and nothing else.
func (t *tape) read(src string) *syntax {
	t.src, t.nodes, t.pos = src, t.nodes[:0], 0
	t.duplicate, t.hasDuplicate = "", false
	if len(src) > mostMaxBody {
		return &syntax{CauseTooComplex, "too long"}
	}
	if strings.HasPrefix(src, "\ufeff") {
		return &syntax{CauseInvalidJSON, "byte order mark"}
	}
	if !utf8.ValidString(src) {
		return &syntax{CauseInvalidJSON, "invalid UTF-8"}
	}
	t.reserve()
	t.space()
	if err := t.value(0); err != nil {
		return err
	}
	t.space()
	if t.pos != len(src) {
		return &syntax{CauseInvalidJSON, "data after the JSON text"}
	}
	return nil
}

// reserve makes room for the nodes of a long text at once: to double it again and
// again would take several times of that. Each node but the first comes after one
// of these characters.
func (t *tape) reserve() {
	const short = 4 << 10
	if len(t.src) <= short {
		return
	}
	most := 1
	for _, before := range [...]string{",", ":", "[", "{"} {
		most += strings.Count(t.src, before)
	}
	t.nodes = slices.Grow(t.nodes, min(most, maxNodes))
}

func (t *tape) space() {
	for t.pos < len(t.src) {
		switch t.src[t.pos] {
		case ' ', '\t', '\n', '\r':
			t.pos++
		default:
			return
		}
	}
}

func (t *tape) value(depth int) *syntax {
	if t.pos >= len(t.src) {
		return &syntax{CauseInvalidJSON, "unexpected end"}
	}
	if len(t.nodes) >= maxNodes {
		return &syntax{CauseTooComplex, "too many values"}
	}
	switch c := t.src[t.pos]; {
	case c == '{':
		return t.object(depth + 1)
	case c == '[':
		return t.array(depth + 1)
	case c == '"':
		return t.string()
	case c == '-' || c >= '0' && c <= '9':
		return t.number()
	case c == 't':
		return t.word("true", trueNode)
	case c == 'f':
		return t.word("false", falseNode)
	case c == 'n':
		return t.word("null", nullNode)
	}
	return &syntax{CauseInvalidJSON, "unexpected character"}
}

// open appends a node that starts here; close completes it.
func (t *tape) open(k kind) int {
	t.nodes = append(t.nodes, node{start: uint32(t.pos), kind: k}) //nolint:gosec // read has looked at the length
	return len(t.nodes) - 1
}

func (t *tape) close(i int) {
	t.nodes[i].end, t.nodes[i].next = uint32(t.pos), uint32(len(t.nodes)) //nolint:gosec // as above
}

func (t *tape) word(word string, k kind) *syntax {
	if !strings.HasPrefix(t.src[t.pos:], word) {
		return &syntax{CauseInvalidJSON, "unexpected character"}
	}
	i := t.open(k)
	t.pos += len(word)
	t.close(i)
	return nil
}

func (t *tape) object(depth int) *syntax {
	if depth > maxDepth {
		return &syntax{CauseTooComplex, "nested too deeply"}
	}
	i, n := t.open(objectNode), 0
	for t.pos++; ; t.pos++ {
		t.space()
		if n == 0 && t.at('}') {
			break
		}
		if !t.at('"') {
			return &syntax{CauseInvalidJSON, "member name expected"}
		}
		if err := t.string(); err != nil {
			return err
		}
		if t.space(); !t.at(':') {
			return &syntax{CauseInvalidJSON, "colon expected"}
		}
		t.pos++
		t.space()
		if err := t.value(depth); err != nil {
			return err
		}
		n++
		if t.space(); t.at('}') {
			break
		}
		if !t.at(',') {
			return &syntax{CauseInvalidJSON, "comma or brace expected"}
		}
	}
	t.pos++
	t.close(i)
	t.unique(uint32(i), n) //nolint:gosec // a node is shorter than its text
	return nil
}

func (t *tape) array(depth int) *syntax {
	if depth > maxDepth {
		return &syntax{CauseTooComplex, "nested too deeply"}
	}
	i := t.open(arrayNode)
	for first := true; ; first = false {
		t.pos++
		t.space()
		if first && t.at(']') {
			break
		}
		if err := t.value(depth); err != nil {
			return err
		}
		if t.space(); t.at(']') {
			break
		}
		if !t.at(',') {
			return &syntax{CauseInvalidJSON, "comma or bracket expected"}
		}
	}
	t.pos++
	t.close(i)
	return nil
}

func (t *tape) at(c byte) bool { return t.pos < len(t.src) && t.src[t.pos] == c }

func (t *tape) string() *syntax {
	i := t.open(stringNode)
	for t.pos++; t.pos < len(t.src); {
		switch c := t.src[t.pos]; {
		case c == '"':
			t.pos++
			t.close(i)
			return nil
		case c < 0x20:
			return &syntax{CauseInvalidJSON, "control character in a string"}
		case c == '\\':
			t.nodes[i].escaped = true
			n := escapeLen(t.src[t.pos:])
			if n == 0 {
				return &syntax{CauseInvalidJSON, "invalid escape in a string"}
			}
			t.pos += n
		default:
			t.pos++
		}
	}
	return &syntax{CauseInvalidJSON, "unexpected end"}
}

func (t *tape) number() *syntax {
	i := t.open(numberNode)
	length := numberLen(t.src[t.pos:])
	if length == 0 {
		return &syntax{CauseInvalidJSON, "invalid number"}
	}
	if problem := numberProblem(t.src[t.pos : t.pos+length]); problem != "" {
		return &syntax{CauseTooComplex, problem}
	}
	t.pos += length
	t.close(i)
	return nil
}

// unique notes the first name that the object has twice. Names are compared
// after their escapes are resolved: "a" and "\u0061" are one name.
func (t *tape) unique(object uint32, n int) {
	if n < 2 || t.hasDuplicate {
		return
	}
	const few = 16
	if n <= few {
		var names [few]string
		seen := names[:0]
		for name, rest := t.first(object); rest; name, rest = t.after(object, name) {
			s := t.text(name)
			for _, other := range seen {
				if other == s {
					t.duplicate, t.hasDuplicate = s, true
					return
				}
			}
			seen = append(seen, s)
		}
		return
	}
	seen := make(map[string]struct{}, n)
	for name, rest := t.first(object); rest; name, rest = t.after(object, name) {
		s := t.text(name)
		if _, twice := seen[s]; twice {
			t.duplicate, t.hasDuplicate = s, true
			return
		}
		seen[s] = struct{}{}
	}
}

// first and after walk the member names of an object; the value of the name at
// i is the node at i+1.
func (t *tape) first(object uint32) (name uint32, ok bool) {
	return object + 1, object+1 < t.nodes[object].next
}

func (t *tape) after(object, name uint32) (next uint32, ok bool) {
	next = t.nodes[name+1].next
	return next, next < t.nodes[object].next
}

// size is the number of an object's members or an array's elements.
func (t *tape) size(i uint32) int {
	n := 0
	if t.nodes[i].kind == objectNode {
		for name, ok := t.first(i); ok; name, ok = t.after(i, name) {
			n++
		}
		return n
	}
	for e := i + 1; e < t.nodes[i].next; e = t.nodes[e].next {
		n++
	}
	return n
}

// raw is the text of a node as it stands in the source.
func (t *tape) raw(i uint32) string { return t.src[t.nodes[i].start:t.nodes[i].end] }

// text is the value of a string node.
func (t *tape) text(i uint32) string {
	n := &t.nodes[i]
	s := t.src[n.start+1 : n.end-1]
	if n.escaped {
		return unescape(s)
	}
	return s
}

// caseClash finds two members of one object, this one or any inside it, whose
// names differ only in letter case.
func (t *tape) caseClash(root uint32) (string, bool) {
	for object := root; object < t.nodes[root].next; object++ {
		if t.nodes[object].kind != objectNode {
			continue
		}
		names := foldedNames{expect: t.size(object)}
		for name, rest := t.first(object); rest; name, rest = t.after(object, name) {
			if s := t.text(name); !names.add(s) {
				return s, true
			}
		}
	}
	return "", false
}
