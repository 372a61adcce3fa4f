package operation

import (
	"strings"
	"unicode/utf8"
)

const maxQueryParameters = 128

// readQuery reads the query as forms write it (WHATWG URL,
// application/x-www-form-urlencoded) and hands each parameter to add. What
// servers read differently is refused: an empty or valueless name, a semicolon,
// a broken escape, a byte that should have been escaped.
func readQuery(query string, add func(name, value string) *Refusal) *Refusal {
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c >= 0x7f || c == ';' || c == '#' || c == '\\' {
			return refuse(CauseQuery, "query: the character %s must not stand in it", quoted(string(rune(c))))
		}
	}
	n := 0
	for pair := range strings.SplitSeq(query, "&") {
		if n++; n > maxQueryParameters {
			return refuse(CauseQuery, "query: more than %d parameters", maxQueryParameters)
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, okName := decodePercent(rawName, true)
		value, okValue := decodePercent(rawValue, true)
		switch {
		case !okName || !okValue || !utf8.ValidString(name) || !utf8.ValidString(value):
			return refuse(CauseQuery, "query: parameter %s has a broken escape", quoted(rawName))
		case name == "":
			return refuse(CauseQuery, "query: a parameter has no name")
		case strings.Contains(name, "\x00") || strings.Contains(value, "\x00"):
			return refuse(CauseQuery, "query: parameter %s holds a null character", quoted(rawName))
		}
		if r := add(name, value); r != nil {
			return r
		}
	}
	return nil
}

// decodePercent resolves escapes; plus also makes + a space.
func decodePercent(s string, plus bool) (string, bool) {
	if !strings.Contains(s, "%") && (!plus || !strings.Contains(s, "+")) {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '%':
			c, ok := unescapePercent(s[i:])
			if !ok {
				return "", false
			}
			b = append(b, c)
			i += 2
		case s[i] == '+' && plus:
			b = append(b, ' ')
		default:
			b = append(b, s[i])
		}
	}
	return string(b), true
}
