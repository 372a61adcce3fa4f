package catalogue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// FuzzAccepts holds what decides for plain schemas to the library: it has the same
// verdict and the same words.
func FuzzAccepts(f *testing.F) {
	const properties = `{"type": "object", "required": ["a"], "additionalProperties": {"type": "integer"}, "properties": {
		"a": {"type": ["string", "null"], "minLength": 1, "maxLength": 3, "pattern": "^a", "format": "hostname", "enum": ["a", "ab", null]},
		"b": {"type": "integer", "minimum": -1, "maximum": 5, "exclusiveMinimum": -1, "exclusiveMaximum": 5},
		"c": {"type": ["array", "boolean", "number"], "items": {"const": 1}, "minItems": 1, "maxItems": 2}}}`
	f.Add(properties, `{"a": "ab", "b": 0, "c": [1], "d": 5}`)
	f.Add(properties, `{"a": null, "b": 5.0, "c": 1e1, "d": "x"}`)
	f.Add(properties, `{"a": "zzzz", "b": 1.5, "c": [1.0, 2, {}], "d": 0.5, "": 1}`)
	f.Add(object(`"a": {"enum": [1, 1e2, -0.50, "x", null, true]}, "b": {"minimum": 0.1, "maximum": 1e30}`), `{"a": 100, "b": 0.09999999999999999999, "c": [[]]}`)
	f.Add(object(`"a": {"items": {"items": {"type": "string"}}}`), `{"a": [["x", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [1], "x"]}`)
	f.Add(object(`"a": {"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 5}`), `{"a": 9223372036854775807}`)
	f.Add(`{"type": "object", "$schema": "http://json-schema.org/draft-04/schema#", "properties": {"a": {"minimum": 1, "exclusiveMinimum": true, "const": 5, "items": [{}]}}}`, `{"a": 1}`)
	f.Add(`{"type": "object", "$schema": "http://json-schema.org/draft-04/schema#", "properties": {"a": {"type": "integer", "enum": []}}}`, `{"a": 1.0}`)
	f.Add(`{"type": "object", "$schema": "https://json-schema.org/draft/2019-09/schema", "properties": {"a": {"items": {"type": "null"}, "additionalItems": false}}}`, `{"a": [null]}`)
	f.Fuzz(func(t *testing.T, schemaText, argsText string) {
		if s, args := fuzzedSchema(schemaText, argsText); s != nil {
			checkPlain(t, s, args)
		}
	})
}

func checkPlain(t *testing.T, s *schema, args map[string]any) {
	t.Helper()
	if s.plain == nil {
		return
	}
	fast, err := s.plain.accepts(args, nil), s.compiled.Validate(args)
	if places, _, _ := newSpelling(s.compiled); places.check(args) != nil {
		if fast {
			t.Fatalf("%s accepts %v with a misspelt member", s.text, args)
		}
		return
	}
	if fast != (err == nil) {
		t.Fatalf("%s accepts %v: %v, but: %v", s.text, args, fast, err)
	}
	if fast {
		return
	}
	var r report
	if s.plain.accepts(args, &r) || r.n == 0 {
		t.Fatalf("%s refuses %v and doesn't say why", s.text, args)
	}
	var invalid *jsonschema.ValidationError
	if r.n >= maxCounted || !errors.As(err, &invalid) {
		return
	}
	found := findings(invalid)
	if want := describe(found[:min(len(found), maxFindings)], more(len(found)-maxFindings)); r.String() != want {
		t.Errorf("%s, %v\n got %s\nwant %s", s.text, args, &r, want)
	}
}

// fuzzedSchema compiles a schema and reads arguments; nil if either is none.
func fuzzedSchema(schemaText, argsText string) (*schema, map[string]any) {
	if len(schemaText)+len(argsText) > maxFuzzBytes {
		return nil, nil
	}
	document, err := parseJSON([]byte(schemaText))
	if err != nil {
		return nil, nil
	}
	value, err := parseJSON([]byte(argsText))
	args, ok := value.(map[string]any)
	if err != nil || !ok {
		return nil, nil
	}
	s, _ := newSchema(document)
	return s, args
}

// FuzzRefutes holds the two ways to ask the library to each other.
func FuzzRefutes(f *testing.F) {
	f.Add(treeSchema, `{"filter": {"op": "or", "args": [{"op": "leaf"}, {"op": "and", "args": [0, 0]}]}}`)
	f.Add(object(`"a": {"anyOf": [{"type": "string"}, {"not": {"type": "integer"}}], "unevaluatedItems": false}`), `{"a": [1]}`)
	f.Add(object(`"a": {"items": {"enum": [1, 2, {"b": 3}]}, "uniqueItems": true, "contains": {"const": 1}}`), `{"a": [1, 2, 1.0]}`)
	f.Add(`{"type": "object", "$ref": "#/$defs/a", "$defs": {"a": {"if": {"required": ["b"]}, "then": {"properties": {"c": {"$ref": "#"}}}, "else": false}}}`, `{"b": 1, "c": {"b": {}}}`)
	f.Add(`{"type": "object", "$schema": "http://json-schema.org/draft-04/schema#", "properties": {"a": {"$ref": "#/definitions/b"}}, "definitions": {"b": {"type": "integer", "allOf": [{"minimum": 3}]}}}`, `{"a": 1}`)
	f.Fuzz(func(t *testing.T, schemaText, argsText string) {
		if s, args := fuzzedSchema(schemaText, argsText); s != nil {
			checkRefuting(t, s, args)
		}
	})
}

func checkRefuting(t *testing.T, s *schema, args map[string]any) {
	t.Helper()
	if s.plain != nil || work(s.work, args) > maxWork {
		return
	}
	err := s.compiled.Validate(args)
	if refuted := s.refutes.Validate(args) == nil; refuted != (err != nil) {
		t.Errorf("%s refutes %v: %v, but: %v", s.text, args, refuted, err)
	}
}

// FuzzSpelling writes one member of arguments that are refused in another letter
// case: they stay refused.
func FuzzSpelling(f *testing.F) {
	f.Add(object(`"amount": {"maximum": 100}`), `{"amount": 100000}`)
	f.Add(object(`"nested": {"properties": {"admin": {"not": {}}}}`), `{"nested": {"admin": true}}`)
	f.Add(object(`"l": {"items": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}}`), `{"l": [{"l": [null, {"l": [7]}]}]}`)
	f.Add(`{"type": "object", "not": {"required": ["kelvin"]}, "additionalProperties": {"properties": {"a": false}}}`, `{"kelvin": 1, "xx": {"a": 1}}`)
	f.Add(`{"type": "object", "unevaluatedProperties": false, "allOf": [{"properties": {"a": {"type": "string"}}}, {"additionalProperties": {}}]}`, `{"a": 1}`)
	f.Add(`{"type": "object", "if": {"required": ["a"]}, "then": {"additionalProperties": false, "properties": {"a": {"type": "null"}}}, "else": {"dependentSchemas": {"b": {"required": ["c"]}}}}`, `{"a": 1, "b": 2}`)
	f.Fuzz(func(t *testing.T, schemaText, argsText string) {
		if s, args := fuzzedSchema(schemaText, argsText); s != nil {
			checkSpelling(t, s, args)
		}
	})
}

func checkSpelling(t *testing.T, s *schema, args map[string]any) {
	t.Helper()
	if work(s.work, args) > maxWork || s.compiled.Validate(args) == nil {
		return
	}
	for _, keyword := range []string{"patternProperties", "propertyNames", "const", "enum", "uniqueItems"} {
		if bytes.Contains(s.text, []byte(`"`+keyword+`"`)) {
			return // these see names that the schema doesn't declare
		}
	}
	before := fmt.Sprint(args)
	eachRespelling(args, func(name string) {
		if !bytes.Contains(s.text, []byte(name)) && (&Tool{schema: s}).ValidateArguments(args) == nil {
			t.Errorf("%s refuses %s, but not %v", s.text, before, args)
		}
	})
}

// eachRespelling writes one member after the other with a capital, calls check,
// and restores it.
func eachRespelling(value any, check func(name string)) {
	var each func(value any)
	each = func(value any) {
		switch v := value.(type) {
		case []any:
			for _, item := range v {
				each(item)
			}
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(v)) {
				member := v[name]
				each(member)
				respelt := strings.ToUpper(name)
				if _, there := v[respelt]; there || respelt == name || strings.ToLower(name) != name || !isLetters(name) {
					continue
				}
				delete(v, name)
				v[respelt] = member
				check(respelt)
				delete(v, respelt)
				v[name] = member
			}
		}
	}
	each(value)
}

func isLetters(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < 'a' || r > 'z' })
}

// FuzzGenerated makes schemas and arguments that a fuzzer of texts hardly finds.
func FuzzGenerated(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		data := make([]byte, 200)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<10 {
			return
		}
		g := &generator{data: data}
		g.plain = g.pick(2) == 0
		document := g.schema(3)
		document["type"] = "object"
		if !g.plain {
			document["$defs"] = map[string]any{"d": g.schema(2), "e": g.schema(1)}
		}
		s, _ := newSchema(document)
		if s == nil {
			return
		}
		for range 4 {
			args, ok := g.value(4).(map[string]any)
			if !ok {
				args = map[string]any{"a": g.value(4), "b": g.value(3)}
			}
			checkPlain(t, s, args)
			checkRefuting(t, s, args)
			checkSpelling(t, s, args)
		}
	})
}

// generator makes choices of bytes; after the last the choice is always 0.
type generator struct {
	data  []byte
	plain bool
}

func (g *generator) pick(n int) int {
	if len(g.data) == 0 {
		return 0
	}
	b := g.data[0]
	g.data = g.data[1:]
	return int(b) % n
}

func (g *generator) of(values ...any) any { return values[g.pick(len(values))] }

func (g *generator) name() string { return g.of("a", "b", "c", "b", "c", "A").(string) }

func (g *generator) number() any {
	return g.of(json.Number("0"), json.Number("1"), json.Number("1.0"), json.Number("0.5"), json.Number("-3"), json.Number("20e-1"), json.Number("1e30"))
}

func (g *generator) value(depth int) any {
	choice := g.pick(8)
	if depth == 0 {
		choice %= 5
	}
	switch choice {
	case 0:
		return nil
	case 1:
		return true
	case 2:
		return g.of("", "a", "bc", "äöü")
	case 3, 4:
		return g.number()
	case 5:
		list := []any{}
		for range g.pick(4) {
			list = append(list, g.value(depth-1))
		}
		return list
	}
	object := map[string]any{}
	for range g.pick(4) {
		object[g.name()] = g.value(depth - 1)
	}
	return object
}

func (g *generator) schema(depth int) map[string]any {
	s := map[string]any{}
	for range g.pick(4) {
		keyword := g.of("type", "properties", "items", "additionalProperties", "required",
			"minimum", "exclusiveMaximum", "minLength", "maxItems", "enum", "const").(string)
		if !g.plain && g.pick(2) == 0 {
			keyword = g.of("$ref", "anyOf", "oneOf", "allOf", "not", "if", "then", "else", "unevaluatedProperties", "dependentSchemas",
				"dependentRequired", "patternProperties", "contains", "uniqueItems", "prefixItems").(string)
		}
		s[keyword] = g.keyword(keyword, depth)
	}
	return s
}

func (g *generator) keyword(keyword string, depth int) any {
	sub := func() any {
		if choice := g.pick(6); !g.plain && choice < 2 || depth == 0 {
			return choice != 0
		}
		return g.schema(depth - 1)
	}
	switch keyword {
	case "type":
		return g.of("object", "object", "array", "string", "integer", "number", []any{"null", "object"}, []any{"boolean", "array"})
	case "required":
		return g.of([]any{"a"}, []any{"b", "c"}, []any{})
	case "minimum", "exclusiveMaximum", "const":
		return g.number()
	case "minLength", "maxItems":
		return g.of(json.Number("1"), json.Number("2"))
	case "uniqueItems":
		return true
	case "enum":
		return []any{g.number(), g.value(g.pick(2))}
	case "$ref":
		return g.of("#/$defs/d", "#/$defs/e", "#")
	case "properties", "dependentSchemas":
		return map[string]any{g.name(): sub(), g.name(): sub()}
	case "dependentRequired":
		return map[string]any{g.name(): []any{g.name()}}
	case "patternProperties":
		return map[string]any{"^[a-b]$": sub()}
	case "anyOf", "oneOf", "allOf", "prefixItems":
		return []any{sub(), sub()}
	}
	return sub()
}
