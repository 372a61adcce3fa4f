package catalogue

import (
	"encoding/json"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// maxDoubleDigits is how many significant digits a number may have to be a double
// in a condition: the most that Go, Python or JavaScript write for a double.
const maxDoubleDigits = 17

// maxWrittenExponent is beyond all that is of use, and adds without overflow.
const maxWrittenExponent = 1_000_000

// numberAdapter shows JSON numbers to CEL as Condition says.
type numberAdapter struct{ types.Adapter }

// NativeToValue is part of types.Adapter.
func (a numberAdapter) NativeToValue(value any) ref.Val {
	switch v := value.(type) {
	case json.Number:
		return numberValue(string(v))
	case map[string]any:
		return types.NewStringInterfaceMap(a, v)
	case []any:
		return types.NewList(a, v)
	case []string:
		return types.NewStringList(a, v)
	}
	return a.Adapter.NativeToValue(value)
}

// numberValue never gives a types.Err for a number that it can't hold: in CEL a
// list of errors is equal to any other list of its length.
func numberValue(text string) ref.Val {
	if !strings.ContainsAny(text, ".eE") {
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return types.Int(i)
		}
	}
	digits, exponent := significant(text)
	if exponent >= 0 && len(digits)+exponent <= 19 {
		whole := digits + strings.Repeat("0", exponent)
		if text[0] == '-' {
			whole = "-" + whole
		}
		if i, err := strconv.ParseInt(whole, 10, 64); err == nil {
			return types.Int(i)
		}
	}
	if len(digits) <= maxDoubleDigits {
		// Zero isn't written with digits: a double that is zero is none of this number.
		if f, err := strconv.ParseFloat(text, 64); err == nil && f != 0 {
			return types.Double(f)
		}
	}
	return types.String(text)
}

// significant takes a JSON number apart: it is ±digits × 10^exponent, and the
// digits have no zero at either end. Zero is "0". An exponent that is written
// beyond maxWrittenExponent is cut down to it.
func significant(text string) (digits string, exponent int) {
	text = strings.TrimPrefix(text, "-")
	if e := strings.IndexAny(text, "eE"); e >= 0 {
		exponent, _ = strconv.Atoi(text[e+1:]) // out of range: Atoi gives the nearest int
		exponent = min(max(exponent, -maxWrittenExponent), maxWrittenExponent)
		text = text[:e]
	}
	whole, fraction, _ := strings.Cut(text, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return "0", 0
	}
	exponent -= len(fraction)
	trimmed := strings.TrimRight(digits, "0")
	return trimmed, exponent + len(digits) - len(trimmed)
}
