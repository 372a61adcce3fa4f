package operation

// Escapes in paths and URIs (RFC 3986 §2.1). Servers differ in when they decode
// and how often, so an escape that could change where a segment ends or what it
// is has no place in a request that is decided by its path.

// unescapePercent reads the escape at the start of s.
func unescapePercent(s string) (c byte, ok bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	high, okHigh := hexDigit(s[1])
	low, okLow := hexDigit(s[2])
	return high<<4 | low, okHigh && okLow
}

// harmlessEscape tells whether the escape at the start of s is well formed and
// stands for nothing that structures a path: not / \ . ; nor a control, nor %,
// which would be decoded twice.
func harmlessEscape(s string) bool {
	c, ok := unescapePercent(s)
	return ok && c >= ' ' && c != 0x7f && c != '/' && c != '\\' && c != '.' && c != ';' && c != '%'
}

// pathChar tells whether c may stand in a path segment as it is: pchar of RFC
// 3986 §3.3 without the semicolon, after which some servers see parameters.
func pathChar(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	switch c {
	case '-', '.', '_', '~', '!', '$', '&', '\'', '(', ')', '*', '+', ',', '=', ':', '@':
		return true
	}
	return false
}
