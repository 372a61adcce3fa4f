package catalogue

import (
	"fmt"
	"testing"
)

// TestAccepts has verdicts about plain schemas; FuzzAccepts compares others with
// the library's.
func TestAccepts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		schema, args string
		plain, yes   bool
	}{
		{`{"type": "object"}`, `{}`, true, true},
		{`{"type": "object", "additionalProperties": false, "required": ["a"], "properties": {"a": {"type": "integer", "minimum": 1, "maximum": 9}}}`, `{"a": 9}`, true, true},
		{object(`"a": {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 3}`), `{"a": 2}`, true, true},
		{object(`"a": {"type": "string", "pattern": "^a", "minLength": 2, "maxLength": 2, "format": "hostname"}`), `{"a": "aä"}`, true, false},
		{object(`"a": {"type": "string", "pattern": "^a", "minLength": 2, "maxLength": 2}`), `{"a": "aä"}`, true, true},
		{object(`"a": {"type": ["null", "array"], "items": {"enum": ["x", true, null, 5]}, "maxItems": 4}`), `{"a": ["x", true, null, 5]}`, true, true},
		{object(`"a": {"const": "x"}, "b": {}`), `{"a": "x", "b": {}}`, true, true},
		{object(`"a": {"type": "number"}`), `{"a": 1.5}`, true, true},
		{`{"type": "object", "additionalProperties": {"type": "boolean"}}`, `{"a": true}`, true, true},
		{`{"type": "object", "$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"items": {"type": "null"}}}}`, `{"a": [null]}`, true, true},

		// What is not valid.
		{object(`"a": {"minimum": 2}`), `{"a": 1}`, true, false},
		{object(`"a": {"maximum": 2}`), `{"a": 3}`, true, false},
		{object(`"a": {"exclusiveMinimum": 2}`), `{"a": 2}`, true, false},
		{object(`"a": {"exclusiveMaximum": 2}`), `{"a": 2}`, true, false},
		{object(`"a": {"minLength": 2}`), `{"a": "ä"}`, true, false},
		{object(`"a": {"maxLength": 2}`), `{"a": "abc"}`, true, false},
		{object(`"a": {"pattern": "^b"}`), `{"a": "ab"}`, true, false},
		{object(`"a": {"minItems": 1}`), `{"a": []}`, true, false},
		{object(`"a": {"maxItems": 1}`), `{"a": [1, 2]}`, true, false},
		{object(`"a": {"items": {"type": "null"}}`), `{"a": [null, 1]}`, true, false},
		{object(`"a": {"enum": ["x"]}`), `{"a": "y"}`, true, false},
		{object(`"a": {"const": true}`), `{"a": false}`, true, false},
		{object(`"a": {"type": "null"}`), `{"a": false}`, true, false},
		{object(`"a": {"type": "integer"}`), `{"a": "1"}`, true, false},
		{`{"type": "object", "additionalProperties": {"type": "null"}}`, `{"a": 1}`, true, false},
		{`{"type": "object", "additionalProperties": false}`, `{"a": 1}`, true, false},
		{`{"type": "object", "required": ["b"]}`, `{"a": 1}`, true, false},

		// Numbers are exact, however they are written.
		{object(`"a": {"const": 1}`), `{"a": 1.0}`, true, true},
		{object(`"a": {"enum": [1e2, -0.5]}`), `{"a": 100.0}`, true, true},
		{object(`"a": {"enum": [1e2, -0.5]}`), `{"a": -5e-1}`, true, true},
		{object(`"a": {"enum": [1e2, -0.5]}`), `{"a": 0.5}`, true, false},
		{object(`"a": {"type": "integer"}`), `{"a": 10e-1}`, true, true},
		{object(`"a": {"type": "integer"}`), `{"a": 1e-1}`, true, false},
		{object(`"a": {"type": "number", "minimum": 1}`), `{"a": 1.5}`, true, true},
		{object(`"a": {"maximum": 1.5}`), `{"a": 1.50}`, true, true},
		{object(`"a": {"exclusiveMaximum": 1.5}`), `{"a": 1.50}`, true, false},
		{object(`"a": {"exclusiveMaximum": 100}`), `{"a": 99.99999999999999999999}`, true, true},
		{object(`"a": {"minimum": -0.1}`), `{"a": -0.10000000000000000001}`, true, false},
		{object(`"a": {"minimum": 0}`), `{"a": -0.0}`, true, true},
		{object(`"a": {"maximum": 1e-300}`), `{"a": 1e300}`, true, false},

		// Not plain.
		{object(`"a": {"allOf": []}`), `{}`, false, false},
		{object(`"a": {"anyOf": [{}]}`), `{}`, false, false},
		{object(`"a": {"const": [1]}`), `{}`, false, false},
		{object(`"a": {"enum": [1, {}]}`), `{}`, false, false},
		{object(`"a": {"x-unknown": 1}`), `{}`, false, false},
		{object(`"a": {"$schema": "http://json-schema.org/draft-07/schema#"}`), `{}`, false, false},
		{object(`"a": true`), `{}`, false, false},
		{`{"type": "object", "$ref": "#/$defs/a", "$defs": {"a": {}}}`, `{}`, false, false},
	} {
		document, err := parseJSON([]byte(c.schema))
		if err != nil {
			t.Fatal(err)
		}
		if plain := isPlain(document, true); plain != c.plain {
			t.Errorf("%s is plain: %v", c.schema, plain)
		} else if plain {
			if yes := toolWithSchema(t, c.schema).schema.plain.accepts(arguments(t, c.args), nil); yes != c.yes {
				t.Errorf("%s accepts %s: %v", c.schema, c.args, yes)
			}
		}
	}
}

// TestManyFindings names the first places of many, in any order of a map.
func TestManyFindings(t *testing.T) {
	t.Parallel()
	list := object(`"l": {"items": {"type": "string"}}`)
	for _, c := range []struct {
		n    int
		want string
	}{
		{3, `argument "l/0" must be string, not number; argument "l/1" must be string, not number; argument "l/2" must be string, not number`},
		{99, `argument "l/0" must be string, not number; argument "l/1" must be string, not number; argument "l/10" must be string, not number; and 96 more`},
		{maxCounted, `argument "l/0" must be string, not number; argument "l/1" must be string, not number; argument "l/10" must be string, not number; and more`},
		{100_000, `argument "l/0" must be string, not number; argument "l/1" must be string, not number; argument "l/10" must be string, not number; and more`},
	} {
		err := toolWithSchema(t, list).ValidateArguments(map[string]any{"l": zeros(c.n)})
		if err == nil || err.Error() != c.want {
			t.Errorf("%d: %v", c.n, err)
		}
	}
	unknown := make(map[string]any)
	for i := range maxCounted - 1 {
		unknown[fmt.Sprint("k", i)] = nil
	}
	want := `argument "k0" is unknown; argument "k1" is unknown; argument "k10" is unknown; and 96 more`
	if err := toolWithSchema(t, `{"type": "object", "additionalProperties": false}`).ValidateArguments(unknown); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}
