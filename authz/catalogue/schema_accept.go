package catalogue

import (
	"encoding/json"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The library allocates about ten times per argument. Most schemas are plain: an
// object with typed, bounded members. For these, accepts walks the library's own
// compiled schema without allocating. It only ever says yes; whatever it can't
// say yes to at once, the library decides. A fuzz test holds it to that.

// isPlain reports whether a schema uses only keywords that accepts knows.
func isPlain(value any, root bool) bool {
	keywords, ok := value.(map[string]any)
	if !ok {
		return false
	}
	for name, v := range keywords {
		switch name {
		case "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment",
			"type", "enum", "const", "format", "required",
			"minLength", "maxLength", "pattern", "minItems", "maxItems",
			"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum":
		case "$schema":
			if !root {
				return false
			}
		case "items":
			if !isPlain(v, false) {
				return false
			}
		case "additionalProperties":
			if _, isBool := v.(bool); !isBool && !isPlain(v, false) {
				return false
			}
		case "properties":
			members, ok := v.(map[string]any)
			if !ok {
				return false
			}
			for _, member := range members {
				if !isPlain(member, false) {
					return false
				}
			}
		default:
			return false
		}
	}
	return true
}

// typeMask is the bit of a JSON Schema type's name.
func typeMask(name string) jsonschema.Types {
	var t jsonschema.Types
	t.Add(name)
	return t
}

var (
	nullMask    = typeMask("null")
	booleanMask = typeMask("boolean")
	numberMask  = typeMask("number")
	integerMask = typeMask("integer")
	stringMask  = typeMask("string")
	arrayMask   = typeMask("array")
	objectMask  = typeMask("object")
)

// accepts reports whether a value is valid for a plain schema; false means that
// it may be. It doesn't allocate.
func accepts(s *jsonschema.Schema, value any) bool {
	if s.Bool != nil {
		return *s.Bool
	}
	if s.Enum != nil && !slices.ContainsFunc(s.Enum.Values, func(v any) bool { return sameScalar(v, value) }) {
		return false
	}
	if s.Const != nil && !sameScalar(*s.Const, value) {
		return false
	}
	if s.Format != nil && s.Format.Validate(value) != nil {
		return false
	}
	switch v := value.(type) {
	case nil:
		return allows(s, nullMask)
	case bool:
		return allows(s, booleanMask)
	case json.Number:
		return acceptsNumber(s, string(v))
	case string:
		return allows(s, stringMask) && acceptsString(s, v)
	case []any:
		return allows(s, arrayMask) && acceptsArray(s, v)
	case map[string]any:
		return allows(s, objectMask) && acceptsObject(s, v)
	}
	return false
}

func allows(s *jsonschema.Schema, mask jsonschema.Types) bool {
	return s.Types == nil || *s.Types&mask != 0
}

func sameScalar(a, b any) bool {
	switch a := a.(type) {
	case nil:
		return b == nil
	case bool:
		b, ok := b.(bool)
		return ok && a == b
	case string:
		b, ok := b.(string)
		return ok && a == b
	case json.Number: // 1 and 1.0 are equal too, which the library knows
		b, ok := b.(json.Number)
		return ok && a == b
	}
	return false
}

func acceptsNumber(s *jsonschema.Schema, text string) bool {
	whole := !strings.ContainsAny(text, ".eE")
	if !allows(s, numberMask) && !(whole && allows(s, integerMask)) {
		return false
	}
	if s.Minimum == nil && s.Maximum == nil && s.ExclusiveMinimum == nil && s.ExclusiveMaximum == nil {
		return true
	}
	if !whole {
		return false
	}
	i, err := strconv.ParseInt(text, 10, 64)
	return err == nil &&
		(s.Minimum == nil || above(i, s.Minimum, 0)) &&
		(s.ExclusiveMinimum == nil || above(i, s.ExclusiveMinimum, 1)) &&
		(s.Maximum == nil || below(i, s.Maximum, 0)) &&
		(s.ExclusiveMaximum == nil || below(i, s.ExclusiveMaximum, 1))
}

// above reports whether i ≥ bound + gap, where the bound is a small whole number.
func above(i int64, bound *big.Rat, gap int64) bool {
	b, ok := smallWhole(bound)
	return ok && i >= b+gap
}

func below(i int64, bound *big.Rat, gap int64) bool {
	b, ok := smallWhole(bound)
	return ok && i <= b-gap
}

// smallWhole returns a number that can take a gap without overflow.
func smallWhole(r *big.Rat) (int64, bool) {
	if !r.IsInt() || !r.Num().IsInt64() {
		return 0, false
	}
	i := r.Num().Int64()
	return i, -1<<62 < i && i < 1<<62
}

func acceptsString(s *jsonschema.Schema, text string) bool {
	if s.MinLength != nil || s.MaxLength != nil {
		n := utf8.RuneCountInString(text)
		if s.MinLength != nil && n < *s.MinLength || s.MaxLength != nil && n > *s.MaxLength {
			return false
		}
	}
	return s.Pattern == nil || s.Pattern.MatchString(text)
}

func acceptsArray(s *jsonschema.Schema, list []any) bool {
	if s.MinItems != nil && len(list) < *s.MinItems || s.MaxItems != nil && len(list) > *s.MaxItems {
		return false
	}
	items := s.Items2020
	if s.Items != nil { // of drafts before 2020-12
		items, _ = s.Items.(*jsonschema.Schema)
	}
	for i := range list {
		if items != nil && !accepts(items, list[i]) {
			return false
		}
	}
	return true
}

func acceptsObject(s *jsonschema.Schema, object map[string]any) bool {
	for _, name := range s.Required {
		if _, ok := object[name]; !ok {
			return false
		}
	}
	if s.Properties == nil && s.AdditionalProperties == nil {
		return true
	}
	for name, value := range object {
		if member, ok := s.Properties[name]; ok {
			if !accepts(member, value) {
				return false
			}
			continue
		}
		switch additional := s.AdditionalProperties.(type) {
		case bool:
			if !additional {
				return false
			}
		case *jsonschema.Schema:
			if !accepts(additional, value) {
				return false
			}
		}
	}
	return true
}
