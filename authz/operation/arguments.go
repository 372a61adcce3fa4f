package operation

import (
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"
)

// toMap converts an object to what JSON Schema and CEL work on.
func (t *tape) toMap(object uint32) map[string]any {
	m := make(map[string]any, t.size(object))
	for name, ok := t.first(object); ok; name, ok = t.after(object, name) {
		m[t.text(name)] = t.toValue(name + 1)
	}
	return m
}

// toValue converts a value; numbers keep their text and so every digit.
func (t *tape) toValue(i uint32) any {
	switch n := &t.nodes[i]; n.kind {
	case objectNode:
		return t.toMap(i)
	case arrayNode:
		list := make([]any, 0, t.size(i))
		for e := i + 1; e < n.next; e = t.nodes[e].next {
			list = append(list, t.toValue(e))
		}
		return list
	case stringNode:
		return t.text(i)
	case numberNode:
		return json.Number(t.raw(i))
	case trueNode:
		return true
	case falseNode:
		return false
	default:
		return nil
	}
}

// foldedNames are names of which no two may differ in letter case only, as
// lenient decoders would take the one for the other.
type foldedNames struct {
	few    [8]string
	n      int
	expect int                 // how many there will be, as far as that is known
	seen   map[string]struct{} // folded; in use once few is full
}

// add returns false if an equal name, but for its letter case, is there already.
func (f *foldedNames) add(name string) bool {
	if f.n < len(f.few) {
		for _, other := range f.few[:f.n] {
			if strings.EqualFold(other, name) {
				return false
			}
		}
		f.few[f.n] = name
		f.n++
		return true
	}
	if f.seen == nil {
		f.seen = make(map[string]struct{}, f.expect)
		for _, other := range f.few {
			f.seen[folded(other)] = struct{}{}
		}
	}
	key := folded(name)
	if _, twice := f.seen[key]; twice {
		return false
	}
	f.seen[key] = struct{}{}
	return true
}

// folded maps all strings that strings.EqualFold holds equal to one string: each
// rune becomes the least of its folding orbit.
func folded(s string) string {
	var room [64]byte
	b := room[:0]
	for i, r := range s {
		switch {
		case 'a' <= r && r <= 'z':
			b = append(b, s[i]-'a'+'A')
		case r < utf8.RuneSelf:
			b = append(b, s[i])
		default:
			least := r
			for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
				least = min(least, f)
			}
			b = utf8.AppendRune(b, least)
		}
	}
	return string(b)
}
