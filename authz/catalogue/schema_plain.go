package catalogue

import (
	"encoding/json"
	"math/big"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The library allocates several times per argument, and an error for each that is
// wrong: a small request with many would take a hundred times its size. Most
// schemas are plain: an object with typed, bounded members. These are checked by a
// plainSchema, whose work grows with the arguments alone. A fuzz test holds it to
// the library: the same verdict and the same words, but for misspelt members.

// plainSchema is a compiled schema with only keywords that isPlain knows. What
// the library has in a form that is slow to look up is here in another.
type plainSchema struct {
	*jsonschema.Schema
	enum, constant                 *scalars
	minimum, maximum, above, below *decimal // the latter two are exclusive
	items, rest                    *plainSchema
	members                        map[string]*plainSchema
	folded                         map[string]string // what is declared, by its folded name; see spelling
	closed                         bool              // no members but those in members
}

// isPlain reports whether a schema uses only keywords that plainSchema knows.
func isPlain(value any, root bool) bool {
	keywords, ok := value.(map[string]any)
	if !ok {
		return false
	}
	for name, v := range keywords {
		switch name {
		case "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment",
			"type", "format", "required",
			"minLength", "maxLength", "pattern", "minItems", "maxItems",
			"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum":
		case "$schema":
			if !root {
				return false
			}
		case "const":
			if !isScalar(v) {
				return false
			}
		case "enum":
			for _, item := range v.([]any) { // or the schema would not compile
				if !isScalar(item) {
					return false
				}
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
			for _, member := range v.(map[string]any) { // as above
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

func isScalar(value any) bool {
	switch value.(type) {
	case []any, map[string]any:
		return false
	}
	return true
}

// newPlainSchema makes one of a compiled schema that is plain.
func newPlainSchema(s *jsonschema.Schema) *plainSchema {
	p := &plainSchema{
		Schema:  s,
		minimum: exactDecimal(s.Minimum), maximum: exactDecimal(s.Maximum),
		above: exactDecimal(s.ExclusiveMinimum), below: exactDecimal(s.ExclusiveMaximum),
	}
	if s.Enum != nil {
		p.enum = newScalars(s.Enum.Values...)
	}
	if s.Const != nil {
		p.constant = newScalars(*s.Const)
	}
	items := s.Items2020
	if items == nil { // of drafts before 2020-12
		items, _ = s.Items.(*jsonschema.Schema)
	}
	if items != nil {
		p.items = newPlainSchema(items)
	}
	if len(s.Properties) != 0 {
		p.members = make(map[string]*plainSchema, len(s.Properties))
		for name, member := range s.Properties {
			p.members[name] = newPlainSchema(member)
		}
	}
	switch additional := s.AdditionalProperties.(type) {
	case bool:
		p.closed = !additional
	case *jsonschema.Schema:
		p.rest = newPlainSchema(additional)
	}
	if names := declares(s); !p.closed && len(names) != 0 {
		p.folded = make(map[string]string, len(names))
		for _, name := range names {
			p.folded[string(appendFolded(nil, name))] = name
		}
	}
	return p
}

// exactDecimal is a bound of a schema, which is a decimal number.
func exactDecimal(r *big.Rat) *decimal {
	if r == nil {
		return nil
	}
	digits, _ := r.FloatPrec()
	d := decimalOf(r.FloatString(digits), nil)
	return &d
}

// scalars is a set of values that are no objects or arrays. However many there
// are, to look one up takes the same time.
type scalars struct {
	others  map[any]struct{}    // strings, booleans and null
	numbers map[string]struct{} // by decimal.appendKey
}

func newScalars(values ...any) *scalars {
	s := &scalars{others: make(map[any]struct{}), numbers: make(map[string]struct{})}
	for _, v := range values {
		if number, ok := v.(json.Number); ok {
			s.numbers[string(decimalOf(string(number), nil).appendKey(nil))] = struct{}{}
		} else {
			s.others[v] = struct{}{}
		}
	}
	return s
}

func (s *scalars) has(value any) bool {
	switch v := value.(type) {
	case json.Number:
		if len(s.numbers) == 0 {
			return false
		}
		var digits, key [64]byte
		_, ok := s.numbers[string(decimalOf(string(v), digits[:0]).appendKey(key[:0]))]
		return ok
	case []any, map[string]any:
		return false
	}
	_, ok := s.others[value]
	return ok
}
