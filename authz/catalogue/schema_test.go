package catalogue

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// toolWithSchema is a tool whose schema is JSON text.
func toolWithSchema(t testing.TB, text string) *Tool {
	t.Helper()
	document, err := parseJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s, found := newSchema(document)
	if s == nil {
		t.Fatalf("%s: %v", text, found)
	}
	return &Tool{schema: s}
}

// object is the schema of an object with these properties.
func object(properties string) string {
	return `{"type": "object", "properties": {` + properties + `}}`
}

func TestValidateArguments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ schema, args, want string }{
		{`{"type": "object"}`, `{"anything": [1, {"a": null}]}`, ""},
		{object(`"a": {"type": "string"}`), `{"a": "x", "b": 1}`, ""},
		{object(`"a": {"type": "string"}`), `{"a": 7}`, `argument "a" must be string, not number`},
		{object(`"a": {"type": ["string", "null", "boolean"]}`), `{"a": {}}`, `argument "a" must be null, boolean or string, not object`},
		{`{"type": "object", "required": ["b", "a"]}`, `{}`, `argument "a" is missing; argument "b" is missing`},
		{`{"type": "object", "required": ["a", "b", "c", "d", "e"]}`, `{}`, `argument "a" is missing; argument "b" is missing; argument "c" is missing; and 2 more`},
		{`{"type": "object", "additionalProperties": false}`, `{"x": "secret"}`, `argument "x" is unknown`},
		{`{"type": "object", "unevaluatedProperties": false}`, `{"x": "secret"}`, `argument "x" is not allowed`},
		{`{"type": "object", "propertyNames": {"pattern": "^a"}}`, `{"x": "secret"}`, `the arguments must not have a member named "x": a name must match the pattern "^a"`},
		{`{"type": "object", "minProperties": 1}`, `{}`, `the arguments must have at least 1 members`},
		{`{"type": "object", "maxProperties": 1}`, `{"a": 1, "b": 2}`, `the arguments must have at most 1 members`},
		{`{"type": "object", "dependentRequired": {"a": ["b"]}}`, `{"a": 1}`, `argument "b" is missing, as "a" is there`},
		{object(`"a": {"type": "object", "required": ["b"]}`), `{"a": {}}`, `argument "a/b" is missing`},
		{object(`"a": {"items": {"properties": {"b": {"type": "integer"}}}}`), `{"a": [{"b": 1}, {"b": "secret"}]}`, `argument "a/1/b" must be integer, not string`},
		{object(`"a": {"minimum": 5}`), `{"a": 4}`, `argument "a" must be at least 5`},
		{object(`"a": {"maximum": 0.5}`), `{"a": 0.75}`, `argument "a" must be at most 0.5`},
		{object(`"a": {"exclusiveMinimum": 5}`), `{"a": 5.0}`, `argument "a" must be more than 5`},
		{object(`"a": {"exclusiveMaximum": 5}`), `{"a": 5}`, `argument "a" must be less than 5`},
		{object(`"a": {"multipleOf": 0.01}`), `{"a": 1.005}`, `argument "a" must be a multiple of 0.01`},
		{object(`"a": {"multipleOf": 0.01}`), `{"a": 1.10}`, ""},
		{object(`"a": {"minLength": 3}`), `{"a": "ää"}`, `argument "a" must have at least 3 characters`},
		{object(`"a": {"maxLength": 2}`), `{"a": "ää"}`, ""},
		{object(`"a": {"maxLength": 2}`), `{"a": "secret"}`, `argument "a" must have at most 2 characters`},
		{object(`"a": {"minItems": 1}`), `{"a": []}`, `argument "a" must have at least 1 items`},
		{object(`"a": {"maxItems": 1}`), `{"a": [1, 2]}`, `argument "a" must have at most 1 items`},
		{object(`"a": {"uniqueItems": true}`), `{"a": [1, 1.0]}`, `argument "a" must not have equal items`},
		{object(`"a": {"contains": {"const": 1}}`), `{"a": [2]}`, `argument "a" must fit the schema's "contains"`},
		{object(`"a": {"pattern": "^V-[0-9]+$"}`), `{"a": "secret"}`, `argument "a" must match the pattern "^V-[0-9]+$"`},
		{object(`"a": {"const": "x"}`), `{"a": "secret"}`, `argument "a" must be "x"`},
		{object(`"a": {"const": {"b": 1}}`), `{"a": 1}`, `argument "a" must be the value in the schema`},
		{object(`"a": {"enum": ["x", 1, null, true]}`), `{"a": "secret"}`, `argument "a" must be "x", 1, null or true`},
		{object(`"a": {"not": {"const": 1}}`), `{"a": 1}`, `argument "a" must not have the form that is excluded here`},
		{object(`"a": false`), `{"a": 1}`, `argument "a" is not allowed`},
		{object(`"a": {"format": "email"}`), `{"a": "secret"}`, `argument "a" must be of the format "email"`},
		{object(`"a": {"format": "regex"}`), `{"a": "("}`, ""},
		{object(`"a": {"allOf": [{"minLength": 9}, {"pattern": "^x"}]}`), `{"a": "secret"}`, `argument "a" must have at least 9 characters; argument "a" must match the pattern "^x"`},
		{object(`"a": {"anyOf": [{"type": "string", "minLength": 9}, {"type": "null"}]}`), `{"a": "secret"}`, `argument "a" must have at least 9 characters`},
		{object(`"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}`), `{"a": 1}`, `argument "a" must be string or null`},
		{object(`"a": {"anyOf": [{"minLength": 9}, {"pattern": "^x"}]}`), `{"a": "secret"}`, `argument "a" must have one of the forms that are allowed here`},
		{object(`"a": {"oneOf": [{"minLength": 1}, {"pattern": "s"}]}`), `{"a": "secret"}`, `argument "a" must have only one of the forms that are allowed here`},
		{object(`"a": {"if": {"const": 1}, "else": {"const": 2}}`), `{"a": 3}`, `argument "a" must be 2`},
		{`{"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "string"}}}`, `{"a": 1}`, `argument "a" must be string, not number`},
		{object(`"a/b~c": {"type": "string"}`), `{"a/b~c": 1}`, `argument "a~1b~0c" must be string, not number`},
		{`{"type": "object", "additionalProperties": false}`, `{"` + strings.Repeat("x", 100) + `": 1}`, `argument "` + strings.Repeat("x", 64) + `"… is unknown`},
		{`{"type": "object", "additionalProperties": false}`, `{"\u001b[31m": 1}`, `argument "\x1b[31m" is unknown`},
		{`{"type": "object", "dependencies": {"a": ["b"]}, "$schema": "http://json-schema.org/draft-07/schema#"}`, `{"a": 1}`, `argument "b" is missing, as "a" is there`},

		// Numbers are exact.
		{object(`"a": {"maximum": 9007199254740992}`), `{"a": 9007199254740993}`, `argument "a" must be at most 9007199254740992`},
		{object(`"a": {"const": 9007199254740993}`), `{"a": 9007199254740992}`, `argument "a" must be 9007199254740993`},
		{object(`"a": {"type": "integer", "maximum": 1e30}`), `{"a": 1000000000000000000000000000001}`, `argument "a" must be at most 1000000000000000000000000000000`},
		{object(`"a": {"type": "integer"}`), `{"a": 1.0}`, ""},
		{object(`"a": {"type": "integer"}`), `{"a": 15e-1}`, `argument "a" must be integer, not number`},
	} {
		err := toolWithSchema(t, c.schema).ValidateArguments(arguments(t, c.args))
		var got string
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s\n%s\n got %s\nwant %s", c.schema, c.args, got, c.want)
		}
		if strings.Contains(got, "secret") {
			t.Errorf("%s shows a value: %s", c.schema, got)
		}
	}
	if err := (&Tool{}).ValidateArguments(map[string]any{"a": 1}); err != nil {
		t.Errorf("without a schema: %v", err)
	}
}

func TestLongEnum(t *testing.T) {
	t.Parallel()
	var values []string
	for i := range 60 {
		values = append(values, fmt.Sprintf("%q", fmt.Sprint("value", i)))
	}
	tool := toolWithSchema(t, object(`"a": {"enum": [`+strings.Join(values, ",")+`]}`))
	err := tool.ValidateArguments(map[string]any{"a": "secret"})
	if want := `argument "a" must be one of 60 values`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestAssertedFormats holds the list to what the library does.
func TestAssertedFormats(t *testing.T) {
	t.Parallel()
	wrong := map[string]string{"iri-reference": "%zz", "uri-reference": "%zz", "json-pointer": "a", "uri-template": "{"}
	for _, format := range append(assertedFormats(), "colour") {
		tool := toolWithSchema(t, object(`"a": {"format": "`+format+`"}`))
		value, ok := wrong[format]
		if !ok {
			value = "\x00 no value of any format"
		}
		err := tool.ValidateArguments(map[string]any{"a": value})
		if (err != nil) != slices.Contains(assertedFormats(), format) {
			t.Errorf("%s: %v", format, err)
		}
	}
}

// TestSubschemas finds fields of the library's type that inPlace and inside don't know:
// through them a schema could hide its size.
func TestSubschemas(t *testing.T) {
	t.Parallel()
	known := []string{
		"Ref", "RecursiveRef", "DynamicRef", "Not", "AllOf", "AnyOf", "OneOf", "If", "Then", "Else", "PropertyNames", "Properties",
		"PatternProperties", "AdditionalProperties", "Dependencies", "DependentSchemas", "UnevaluatedProperties", "Contains", "Items",
		"AdditionalItems", "PrefixItems", "Items2020", "UnevaluatedItems", "ContentSchema",
		"Const", "Default", "Examples", "Extensions", // hold no schemas
	}
	schemaType := reflect.TypeFor[jsonschema.Schema]()
	for i := range schemaType.NumField() {
		f := schemaType.Field(i)
		name := f.Type.String()
		if f.IsExported() && (strings.Contains(name, "Schema") || strings.Contains(name, "interface") || strings.Contains(name, "DynamicRef")) && !slices.Contains(known, f.Name) {
			t.Errorf("field %s %s", f.Name, name)
		}
	}
	s := toolWithSchema(t, `{"type": "object", "properties": {"a": {}}, "patternProperties": {"a": {}}, "additionalProperties": {},
		"dependentSchemas": {"a": {}}, "propertyNames": {}, "unevaluatedProperties": {}, "allOf": [{}], "anyOf": [{}, {}], "oneOf": [{}],
		"not": {}, "if": {}, "then": {}, "else": {}, "items": {}, "prefixItems": [{}], "contains": {}, "unevaluatedItems": {},
		"$ref": "#/$defs/a", "$dynamicRef": "#a", "$defs": {"a": {"$dynamicAnchor": "a"}}}`).schema.compiled
	if n, m := len(inPlace(s)), len(inside(s)); n != 11 || m != 9 {
		t.Errorf("%d subschemas for the same value, %d for others", n, m)
	}
}

func TestParseJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want any
		err  string
	}{
		{text: `{"a": [1, "x", true, null, -2.50e3]}`, want: map[string]any{"a": []any{json.Number("1"), "x", true, nil, json.Number("-2.50e3")}}},
		{text: `[]`, want: []any{}},
		{text: "\n\n7\n", want: json.Number("7")},
		{text: ``, err: "line 1: unexpected end of the JSON text"},
		{text: "{\n\"a\": 1,\n\"a\": 2}", err: `line 3: key "a" is there twice`},
		{text: `{"a": 1e500}`, err: `line 1: the number "1e500" is too long, huge or tiny`},
		{text: `[` + strings.Repeat("1", 257) + `]`, err: `line 1: the number "` + strings.Repeat("1", 64) + `"… is too long, huge or tiny`},
		{text: `{} {}`, err: "line 1: data after the JSON text"},
		{text: `{"a" 1}`, err: "line 1: invalid character '1' after object key"},
		{text: `[1 2]`, err: "line 1: invalid character '2' after array element"},
		{text: `[1,`, err: "line 1: unexpected end of the JSON text"},
		{text: `]`, err: "line 1: invalid character ']' looking for beginning of value"},
		{text: `{]`, err: "line 1: invalid character ']'"},
		{text: strings.Repeat("[", 65), err: "line 1: nested in more than 64 levels"},
	} {
		got, err := parseJSON([]byte(c.text))
		var gotErr string
		if err != nil {
			gotErr = err.Error()
		}
		if diff := cmp.Diff(c.want, got); gotErr != c.err || c.err == "" && diff != "" {
			t.Errorf("%.80s: %s, want %s\n%s", c.text, gotErr, c.err, diff)
		}
	}
}
