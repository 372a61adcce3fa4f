package catalogue

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSpelling has members that a server which ignores letter case would take for
// those that the schema declares.
func TestSpelling(t *testing.T) {
	t.Parallel()
	const (
		nested = `{"type": "object", "additionalProperties": false, "properties": {"nested": {"properties": {"admin": {"const": false}}}}}`
		form   = `{"type": "object", "properties": {"f": {"$ref": "#/$defs/f"}}, "$defs": {"f": {"oneOf": [
			{"properties": {"op": {"const": "not"}, "arg": {"$ref": "#/$defs/f"}}, "required": ["op"]},
			{"properties": {"op": {"const": "and"}, "args": {"type": "array", "items": {"$ref": "#/$defs/f"}}}, "required": ["op"]}]}}}`
	)
	for _, c := range []struct{ schema, args, want string }{
		{object(`"amount": {"maximum": 100}`), `{"Amount": 100000}`, `argument "Amount" must be written "amount"`},
		{object(`"amount": {"maximum": 100}`), `{"amount": 100, "other": 1}`, ""},
		{object(`"AMOUNT": {"maximum": 100}`), `{"amount": 1}`, `argument "amount" must be written "AMOUNT"`},
		{object(`"ok": {}`), `{"o\u212a": 1}`, `argument "o\u212a" must be written "ok"`},
		{object(`"s\u017f": {}, "\u00e9": {}`), `{"\u00c9": 1}`, `argument "\u00c9" must be written "\u00e9"`},
		{object(`"a": {}, "A": {}`), `{"a": 1, "A": 2}`, ""}, // declared, and package operation refuses it
		{nested, `{"nested": {"admin": false, "Admin": true}}`, `argument "nested/Admin" must be written "admin"`},
		{nested, `{"nested": {"admin": false, "administrator": true}}`, ""},
		{nested, `{"Nested": {}}`, `argument "Nested" is unknown`}, // closed: the schema's own words
		{nested, `{"nested": ["Admin"]}`, ""},
		{object(`"l": {"items": {"properties": {"id": {}}}}`), `{"l": [{"id": 1}, {"iD": 1}]}`, `argument "l/1/iD" must be written "id"`},
		{object(`"l": {"prefixItems": [{"properties": {"id": {}}}], "contains": {"required": ["no"]}}`), `{"l": [{"Id": 1, "no": 1}]}`, `argument "l/0/Id" must be written "id"`},
		{object(`"a": {}`)[:len(object(`"a": {}`))-1] + `, "additionalProperties": {"properties": {"b": {}}}}`, `{"x": {"B": 1}}`, `argument "x/B" must be written "b"`},
		{`{"type": "object", "patternProperties": {"^x": {"properties": {"b": {}}}}}`, `{"x": {"B": 1}}`, `argument "x/B" must be written "b"`},

		// Through references and alternatives, whichever applies.
		{form, `{"f": {"op": "not", "arg": {"op": "and", "args": [{"op": "not", "Arg": 1}]}}}`, `argument "f/arg/args/0/Arg" must be written "arg"`},
		{form, `{"f": {"op": "not", "arg": {"op": "and", "args": [{"op": "not", "arg": {"op": "and"}}]}}}`, ""},
		{`{"type": "object", "not": {"required": ["admin"]}}`, `{"Admin": true}`, `argument "Admin" must be written "admin"`},
		{`{"type": "object", "if": {"properties": {"a": {"const": 1}}}, "then": {"dependentRequired": {"b": ["c"]}}}`, `{"C": 1}`, `argument "C" must be written "c"`},
		{`{"type": "object", "dependentSchemas": {"a": {"properties": {"b": {}}}}}`, `{"B": 1}`, `argument "B" must be written "b"`},
		{`{"type": "object", "$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": ["b"], "c": {"required": ["d"]}}}`, `{"D": 1}`, `argument "D" must be written "d"`},
		{`{"type": "object", "allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": false}`, `{"A": 1}`, `argument "A" is not allowed`},
		{`{"type": "object", "allOf": [{"properties": {"a": {}}}, {"additionalProperties": {}}], "unevaluatedProperties": false}`, `{"A": 1}`, `argument "A" must be written "a"`},
		{`{"type": "object", "properties": {"a": {}}, "patternProperties": {"^[a-zA-Z]+$": {}}, "additionalProperties": false}`, `{"A": 1}`, `argument "A" must be written "a"`},
	} {
		err := toolWithSchema(t, c.schema).ValidateArguments(arguments(t, c.args))
		var got string
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s\n%s\n got %s\nwant %s", c.schema, c.args, got, c.want)
		}
	}
}

// TestFolded compares with strings.EqualFold.
func TestFolded(t *testing.T) {
	t.Parallel()
	words := []string{"", "a", "A", "ab", "aB", "k", "K", "\u212a", "s", "S", "\u017f", "é", "É", "e\u0301", "ß", "ẞ", "ss", "Σ", "σ", "ς", "i", "I", "ı", "İ", "1", "_"}
	for _, a := range words {
		for _, b := range words {
			if got := string(appendFolded(nil, a)) == string(appendFolded(nil, b)); got != strings.EqualFold(a, b) {
				t.Errorf("%q and %q: %v", a, b, got)
			}
		}
	}
}

// TestOpenPlaces has the places at which members pass that nobody declared.
func TestOpenPlaces(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		schema string
		want   []string
	}{
		{`{"type": "object"}`, []string{""}},
		{`{"type": "object", "additionalProperties": true}`, []string{""}},
		{`{"type": "object", "additionalProperties": {}}`, []string{""}},
		{`{"type": "object", "additionalProperties": false}`, nil},
		{`{"type": "object", "unevaluatedProperties": false}`, nil},
		{`{"type": "object", "additionalProperties": {"type": "string"}}`, nil},
		{`{"type": "object", "additionalProperties": false, "patternProperties": {"^x-": {}}}`, nil},
		{`{"type": "object", "allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": false}`, nil},
		{`{"type": "object", "allOf": [{"additionalProperties": true}], "unevaluatedProperties": false}`, []string{""}},
		{`{"type": "object", "$ref": "#/$defs/a", "$defs": {"a": {"additionalProperties": false}}}`, nil},
		{`{"type": "object", "oneOf": [{"additionalProperties": false}, {"type": "null"}, {"const": 1}]}`, nil},
		{`{"type": "object", "oneOf": [{"additionalProperties": false}, {"required": ["a"]}]}`, []string{""}},
		{`{"type": "object", "if": {"required": ["a"]}, "then": {"additionalProperties": false}, "else": {"additionalProperties": false}}`, nil},
		{`{"type": "object", "if": {"required": ["a"]}, "then": {"additionalProperties": false}}`, []string{""}},
		{`{"type": "object", "additionalProperties": false, "properties": {"free": {}, "map": {"type": "object"}, "n": {"type": ["object", "null"], "properties": {"x": {}}}, "l": {"items": {"required": ["x"]}}}}`, []string{"l/*", "map", "n"}},
		{`{"type": "object", "additionalProperties": false, "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"properties": {"a": {"$ref": "#/$defs/a"}}}}}`, []string{"a"}},
	} {
		if diff := cmp.Diff(c.want, toolWithSchema(t, c.schema).schema.open); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.schema, diff)
		}
	}
}

// TestManyPlaces refuses a schema whose alternatives can be combined in too many
// ways: here of the names a and b, of which each form knows another order.
func TestManyPlaces(t *testing.T) {
	t.Parallel()
	// After each member one of 18 is forgotten or not: 2¹⁸ sets of schemas.
	var forms, defs []string
	for i := range 18 {
		name := string(rune('a' + i))
		forms = append(forms, `{"$ref": "#/$defs/`+name+`"}`)
		defs = append(defs, `"`+name+`": {"type": "object", "additionalProperties": {"$ref": "#/$defs/`+name+`"}, "properties": {"`+name+`": true}}`)
	}
	document, err := parseJSON([]byte(`{"type": "object", "allOf": [` + strings.Join(forms, ",") + `], "$defs": {` + strings.Join(defs, ",") + `}}`))
	if err != nil {
		t.Fatal(err)
	}
	s, found := newSchema(document)
	if s != nil || len(found) != 1 || found[0].text != "describes too many places in the arguments" {
		t.Errorf("got %v", found)
	}
}
