package catalogue

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// maxDoubleDigits is how many significant digits a number may have to be a double
// in a condition: the most that Go, Python or JavaScript write for a double.
// Package operation refuses other numbers with a fraction in arguments.
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

// numberValue gives a string for a number that CEL can't hold. It must not be
// compared: see uses. A types.Err in its place would not do, as in CEL a list of
// errors is equal to any other list of its length.
func numberValue(text string) ref.Val {
	if !strings.ContainsAny(text, ".eE") {
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return types.Int(i)
		}
	}
	var room [64]byte
	d := decimalOf(text, room[:0])
	if d.exponent >= 0 && len(d.digits)+d.exponent <= 19 {
		whole := string(d.digits) + strings.Repeat("0", max(d.exponent, 1-len(d.digits)))
		if d.negative {
			whole = "-" + whole
		}
		if i, err := strconv.ParseInt(whole, 10, 64); err == nil {
			return types.Int(i)
		}
	}
	if len(d.digits) <= maxDoubleDigits {
		// Zero was an int above: a double that is zero is none of this number.
		if f, err := strconv.ParseFloat(text, 64); err == nil && f != 0 {
			return types.Double(f)
		}
	}
	return types.String(text)
}

// isHeld reports whether CEL can hold a JSON number.
func isHeld(text string) bool {
	if len(text) <= maxDoubleDigits && !strings.ContainsAny(text, "eE") {
		return true
	}
	_, isText := numberValue(text).(types.String)
	return !isText
}

// decimal is the exact value of a JSON number: ±digits × 10^exponent. The digits
// have no zero at either end; those of zero are none.
type decimal struct {
	digits   []byte
	exponent int
	negative bool
}

// decimalOf takes a JSON number apart. The digits are put into room if they fit.
// An exponent that is written beyond maxWrittenExponent is cut down to it.
func decimalOf(text string, room []byte) decimal {
	var d decimal
	text, d.negative = strings.CutPrefix(text, "-")
	if e := strings.IndexAny(text, "eE"); e >= 0 {
		d.exponent, _ = strconv.Atoi(text[e+1:]) // out of range: Atoi gives the nearest int
		d.exponent = min(max(d.exponent, -maxWrittenExponent), maxWrittenExponent)
		text = text[:e]
	}
	whole, fraction, _ := strings.Cut(text, ".")
	d.digits = bytes.TrimLeft(append(append(room, whole...), fraction...), "0")
	d.exponent -= len(fraction)
	trimmed := bytes.TrimRight(d.digits, "0")
	d.exponent += len(d.digits) - len(trimmed)
	if d.digits = trimmed; len(trimmed) == 0 {
		return decimal{}
	}
	return d
}

func (d decimal) isWhole() bool { return d.exponent >= 0 }

// compare is negative, zero or positive as d is less than, equal to or more than e.
func (d decimal) compare(e decimal) int {
	if d.sign() != e.sign() || d.sign() == 0 {
		return d.sign() - e.sign()
	}
	return d.sign() * cmp.Or(
		cmp.Compare(len(d.digits)+d.exponent, len(e.digits)+e.exponent),
		bytes.Compare(d.digits, e.digits))
}

func (d decimal) sign() int {
	switch {
	case len(d.digits) == 0:
		return 0
	case d.negative:
		return -1
	}
	return 1
}

// appendKey appends a text that equal numbers have in common.
func (d decimal) appendKey(b []byte) []byte {
	if d.negative {
		b = append(b, '-')
	}
	return strconv.AppendInt(append(append(b, d.digits...), 'e'), int64(d.exponent), 10)
}
