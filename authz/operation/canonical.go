package operation

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Canonical JSON is RFC 8785 except for numbers: members sorted by the UTF-16
// code units of their names, no space, the shortest escapes. A number keeps
// every digit, because RFC 8785 rounds to a double and two account numbers
// beyond 2^53 must not become one. Its normal form is the layout of RFC 8785
// §3.2.2.3 (ECMAScript's Number::toString) on the exact decimal value: without
// leading and trailing zeros, plain from 1e-6 to below 1e21, with an exponent
// outside. So 1, 1.0, 10e-1 and 1e0 are one number, -0 is 0, and 1e400 stays
// short; a number that a double holds exactly by its shortest digits looks
// as in RFC 8785.

// member is a name and its value's node, for sorting.
type member struct {
	name  string
	value uint32
}

// CanonicalJSON appends the canonical form of the JSON text src to dst. The
// error says why src is no acceptable JSON; the bounds of the request parser
// hold here too.
func CanonicalJSON(dst, src []byte) ([]byte, error) {
	var t tape
	if err := t.read(string(src)); err != nil {
		return dst, fmt.Errorf("canonical JSON: %s", err.what)
	}
	if t.hasDuplicate {
		return dst, fmt.Errorf("canonical JSON: member %s twice", quoted(t.duplicate))
	}
	return t.appendCanonical(dst, 0), nil
}

// appendCanonical appends the canonical form of node i. The members named in
// without are left out of i itself, not of what is inside it.
func (t *tape) appendCanonical(dst []byte, i uint32, without ...string) []byte {
	switch n := &t.nodes[i]; n.kind {
	case objectNode:
		return t.appendObject(dst, i, without)
	case arrayNode:
		dst = append(dst, '[')
		for e := i + 1; e < n.next; e = t.nodes[e].next {
			if e > i+1 {
				dst = append(dst, ',')
			}
			dst = t.appendCanonical(dst, e)
		}
		return append(dst, ']')
	case stringNode:
		if n.escaped {
			return appendString(dst, t.text(i))
		}
		return append(dst, t.raw(i)...) // without a backslash it holds nothing to escape
	case numberNode:
		return appendNumber(dst, t.raw(i))
	default:
		return append(dst, t.raw(i)...)
	}
}

func (t *tape) appendObject(dst []byte, i uint32, without []string) []byte {
	base := len(t.members)
	t.members = slices.Grow(t.members, t.size(i))
	for name, ok := t.first(i); ok; name, ok = t.after(i, name) {
		if s := t.text(name); !slices.Contains(without, s) {
			t.members = append(t.members, member{s, name + 1})
		}
	}
	slices.SortFunc(t.members[base:], func(a, b member) int { return compareUTF16(a.name, b.name) })
	dst = append(dst, '{')
	for k := base; k < len(t.members); k++ { // the slice may move while members are written
		if k > base {
			dst = append(dst, ',')
		}
		m := t.members[k]
		dst = append(appendString(dst, m.name), ':')
		end := len(t.members)
		dst = t.appendCanonical(dst, m.value)
		t.members = t.members[:end]
	}
	t.members = t.members[:base]
	return append(dst, '}')
}

// compareUTF16 orders two strings as their UTF-16 code units are ordered
// (RFC 8785 §3.2.3). It differs from the order of UTF-8 only where a character
// beyond the basic plane, two surrogates, meets one of U+E000 to U+FFFF.
func compareUTF16(a, b string) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	if i == len(a) || i == len(b) {
		return len(a) - len(b)
	}
	if a[i] < 0xEE || b[i] < 0xEE { // neither or one of them can be at the swap: U+E000 starts with 0xEE
		return strings.Compare(a[i:], b[i:])
	}
	// 0xEE and 0xEF lead U+E000 to U+FFFF, 0xF0 and up lead surrogate pairs,
	// which come first.
	beyondA, beyondB := a[i] >= 0xF0, b[i] >= 0xF0
	switch {
	case beyondA && !beyondB:
		return -1
	case beyondB && !beyondA:
		return 1
	}
	return strings.Compare(a[i:], b[i:])
}

// appendString appends a JSON string as RFC 8785 §3.2.2.2 escapes it.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	done := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[done:i]...)
		done = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, `\b`...)
		case '\t':
			dst = append(dst, `\t`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\r':
			dst = append(dst, `\r`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(dst, s[done:]...), '"')
}

// appendNumber appends the normal form of a number that numberLen accepted.
func appendNumber(dst []byte, s string) []byte {
	if len(s) <= 16 && s[0] >= '1' && digits(s) == len(s) {
		return append(dst, s...) // most numbers
	}
	var room [maxNumberLen]byte
	d := decimalOf(s, room[:0])
	n := len(d.digits)
	if n == 0 {
		return append(dst, '0')
	}
	if d.negative {
		dst = append(dst, '-')
	}
	switch point := d.point; {
	case point > 21 || point <= -6:
		dst = append(dst, d.digits[0])
		if n > 1 {
			dst = append(append(dst, '.'), d.digits[1:]...)
		}
		dst = append(dst, 'e')
		if point > 0 {
			dst = append(dst, '+')
		}
		return strconv.AppendInt(dst, int64(point-1), 10)
	case point <= 0:
		dst = append(dst, "0."...)
		dst = append(dst, "00000"[:-point]...)
		return append(dst, d.digits...)
	case n <= point:
		dst = append(dst, d.digits...)
		return append(dst, "00000000000000000000"[:point-n]...)
	default:
		dst = append(append(dst, d.digits[:point]...), '.')
		return append(dst, d.digits[point:]...)
	}
}

// asciiVisible tells whether s is only characters from ! to ~.
func asciiVisible(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= utf8.RuneSelf-1 {
			return false
		}
	}
	return true
}
