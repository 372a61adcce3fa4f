package operation

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// escapeLen is the length of the escape at the start of s, of a surrogate pair
// both halves; 0 if it is none. A lone surrogate is none (RFC 7493 §2.1).
func escapeLen(s string) int {
	if len(s) < 2 {
		return 0
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		_, n := escapedRune(s)
		return n
	}
	return 0
}

// escapedRune reads \uXXXX or a pair of them at the start of s.
func escapedRune(s string) (r rune, length int) {
	r, ok := hex4(s)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	low, ok := hex4(s[6:])
	if !ok {
		return 0, 0
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}

func hex4(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	var r rune
	for i := 2; i < 6; i++ {
		d, ok := hexDigit(s[i])
		if !ok {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	return r, true
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// unescape resolves the escapes of a string's inner text that was read before.
func unescape(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		plain := strings.IndexByte(s, '\\')
		if plain < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:plain])
		s = s[plain:]
		n := 2
		switch s[1] {
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'u':
			var r rune
			r, n = escapedRune(s)
			b.WriteRune(r)
		default:
			b.WriteByte(s[1])
		}
		s = s[n:]
	}
	return b.String()
}

// numberLen is the length of the number at the start of s as RFC 8259 §6 has
// it, 0 if there is none.
func numberLen(s string) int {
	i := 0
	if i < len(s) && s[i] == '-' {
		i++
	}
	start := i
	i += digits(s[i:])
	if i == start || s[start] == '0' && i > start+1 {
		return 0
	}
	if i < len(s) && s[i] == '.' {
		n := digits(s[i+1:])
		if n == 0 {
			return 0
		}
		i += 1 + n
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		n := digits(s[i:])
		if n == 0 {
			return 0
		}
		i += n
	}
	return i
}

func digits(s string) int {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}

// decimal is a number's exact value: 0.DIGITS × 10^point, negative or not,
// without zeros at either end of the digits; no digits is zero.
type decimal struct {
	digits   []byte
	point    int
	written  int // the exponent as written, held within ±1e6
	negative bool
}

// decimalOf takes apart a number that numberLen accepted. The digits are put
// into room if they fit.
func decimalOf(s string, room []byte) decimal {
	var d decimal
	if s[0] == '-' {
		d.negative = true
		s = s[1:]
	}
	if e := strings.IndexAny(s, "eE"); e >= 0 {
		d.written = smallInt(s[e+1:])
		s = s[:e]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	d.digits = append(append(room, whole...), fraction...)
	d.point = len(whole) + d.written
	for len(d.digits) > 0 && d.digits[0] == '0' {
		d.digits = d.digits[1:]
		d.point--
	}
	for len(d.digits) > 0 && d.digits[len(d.digits)-1] == '0' {
		d.digits = d.digits[:len(d.digits)-1]
	}
	return d
}

// smallInt reads decimal digits with an optional sign and stops counting at a
// million.
func smallInt(s string) int {
	negative := s[0] == '-'
	if negative || s[0] == '+' {
		s = s[1:]
	}
	n := 0
	for i := 0; i < len(s) && n < 1_000_000; i++ {
		n = n*10 + int(s[i]-'0')
	}
	if n = min(n, 1_000_000); negative {
		return -n
	}
	return n
}

// numberProblem says why a number is not accepted: it is out of bounds, or with a
// fraction that is read differently by servers that keep all digits and by those
// that round to a double, which most do. 99.99999999999999999 is below 100 and is
// 100.
//
// Whole numbers are kept: they are often identifiers. Of the others, two with at
// most 15 digits never become one double, and so compare as they do here. One with
// 16 or 17 is accepted if its double is no number with fewer.
func numberProblem(s string) string {
	if len(s) <= 16 && !strings.ContainsAny(s, "eE") {
		return ""
	}
	if len(s) > maxNumberLen {
		return outOfBounds
	}
	var room [maxNumberLen]byte
	d := decimalOf(s, room[:0])
	scientific := d.point - 1
	if len(d.digits) == 0 {
		scientific = 0
	}
	switch {
	case len(d.digits) > maxNumberDigits,
		d.written < -maxExponent, d.written > maxExponent,
		scientific < -maxExponent, scientific > maxExponent:
		return outOfBounds
	case len(d.digits) <= d.point || len(d.digits) == 0:
		return "" // whole
	case scientific >= leastExponent && len(d.digits) <= safeDoubleDigits || isOwnDouble(s, d.digits, scientific):
		return ""
	}
	return "a number with a fraction has more digits than a double keeps, or is nearly zero"
}

const (
	outOfBounds = "number out of bounds"

	safeDoubleDigits = 15   // any number with so many digits has its own double
	mostDoubleDigits = 17   // any double has its own number with so many digits
	leastExponent    = -307 // of doubles with all their digits
)

// isOwnDouble tells whether a number with a fraction is read as the same by those
// who round to a double: it is not whole, and none with at most safeDoubleDigits.
// Nearly zero, where a double has fewer digits, it must be just those.
func isOwnDouble(s string, digits []byte, scientific int) bool {
	f, err := strconv.ParseFloat(strings.TrimPrefix(s, "-"), 64)
	if err != nil || f == math.Trunc(f) || len(digits) > mostDoubleDigits {
		return false
	}
	var room [maxNumberLen]byte
	if scientific < leastExponent {
		shortest := decimalOf(string(strconv.AppendFloat(room[:0], f, 'e', -1, 64)), nil)
		return string(shortest.digits) == string(digits)
	}
	fewer, err := strconv.ParseFloat(string(strconv.AppendFloat(room[:0], f, 'e', safeDoubleDigits-1, 64)), 64)
	return err == nil && fewer != f
}
