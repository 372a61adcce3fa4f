package catalogue

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// treeSchema is recursive in two places, as filters often are.
const treeSchema = `{"type": "object", "properties": {"filter": {"$ref": "#/$defs/f"}}, "$defs": {"f": {"oneOf": [
	{"type": "object", "properties": {"op": {"const": "and"}, "args": {"type": "array", "items": {"$ref": "#/$defs/f"}}}, "required": ["op"]},
	{"type": "object", "properties": {"op": {"const": "or"}, "args": {"type": "array", "items": {"$ref": "#/$defs/f"}}}, "required": ["op"]},
	{"type": "object", "properties": {"op": {"const": "leaf"}}, "required": ["op"]}]}}}`

func zeros(n int) []any {
	return slices.Repeat([]any{json.Number("0")}, n)
}

// tree has a list of n values inside of so many levels of treeSchema.
func tree(levels int, leaves []any) map[string]any {
	v := leaves
	for range levels {
		v = []any{map[string]any{"op": "or", "args": v}}
	}
	return map[string]any{"filter": v[0]}
}

func manyMembers(n int) map[string]any {
	object := make(map[string]any, n)
	for i := range n {
		object[fmt.Sprint("k", i)] = json.Number("0")
	}
	return object
}

// heavyCalls are small requests that took long, or gigabytes.
func heavyCalls() []heavyCall {
	const list = `{"type": "object", "properties": {"l": {"type": "array", "items": %s}}, "additionalProperties": false}`
	items := func(schema string) string { return fmt.Sprintf(list, schema) }
	numbers := make([]string, 5_000)
	for i := range numbers {
		numbers[i] = fmt.Sprint(i + 1)
	}
	enum := `{"enum": [` + strings.Join(numbers, ",") + `]}`
	unevaluated := `{"type": "object", "unevaluatedProperties": {"type": "number"}, "allOf": [{"anyOf": [{"required": ["x"]}, {"required": ["k1"]}]}]}`
	return []heavyCall{
		{"strings, but zeros", items(`{"type": "string"}`), map[string]any{"l": zeros(120_000)}},
		{"the last is none", items(`{"type": "number", "minimum": -0.5, "maximum": 0.5}`), map[string]any{"l": append(zeros(120_000), nil)}},
		{"unknown members", items(`{}`), manyMembers(60_000)},
		{"members of an open object", object(`"a": {"type": "string"}`), manyMembers(60_000)},
		{"required members", items(`{"required": ["` + strings.Join(numbers, `","`) + `"]}`), map[string]any{"l": slices.Repeat([]any{map[string]any{}}, 100_000)}},
		{"an enum of numbers", items(enum), map[string]any{"l": zeros(120_000)}},
		{"an enum of numbers in a form", items(`{"anyOf": [` + enum + `]}`), map[string]any{"l": zeros(120_000)}},
		{"a wide tree", treeSchema, tree(1, zeros(120_000))},
		{"a tree", treeSchema, tree(6, zeros(40_000))},
		{"a tree of objects", treeSchema, tree(1, slices.Repeat([]any{map[string]any{"op": "x"}}, 60_000))},
		{"a tree below the bound", treeSchema, tree(1, zeros(4_000))},
		{"a tree that is explained", treeSchema, tree(1, zeros(350))},
		{"alternatives", items(`{"anyOf": [{"type": "string"}, {"type": "null"}]}`), map[string]any{"l": zeros(14_000)}},
		{"alternatives of bounds", items(`{"anyOf": [{"type": "string"}, {"minimum": 0.5}]}`), map[string]any{"l": zeros(10_500)}},
		{"valid alternatives", items(`{"anyOf": [{"type": "number"}, {"type": "null"}]}`), map[string]any{"l": zeros(14_000)}},
		{"unevaluated members", unevaluated, manyMembers(60_000)},
		{"unevaluated members below the bound", unevaluated, manyMembers(14_000)},
		{"long numbers", items(`{"anyOf": [{"type": "integer", "multipleOf": 0.7}, {"minimum": 1e300}]}`), map[string]any{"l": slices.Repeat([]any{json.Number("1e-400")}, 1_200)}},
		{"an enum of long numbers", items(`{"anyOf": [` + strings.ReplaceAll(enum, ",", "e60,") + `]}`), map[string]any{"l": zeros(3)}},
		{"an enum of numbers in a form, few values", items(`{"anyOf": [` + enum + `]}`), map[string]any{"l": zeros(3)}},
		{"equal long numbers", object(`"l": {"uniqueItems": true}`), map[string]any{"l": slices.Repeat([]any{[]any{json.Number("1e-400")}, []any{json.Number("1e400")}}, 4_000)}},
		{"long texts", items(`{"anyOf": [{"pattern": "^(a|aa)+$"}, {"pattern": "b$"}, {"format": "uri"}]}`), map[string]any{"l": slices.Repeat([]any{strings.Repeat("a", 2_000)}, 100)}},
		{"a long text", items(`{"type": "string", "pattern": "^(a|aa)+$", "maxLength": 2000000}`), map[string]any{"l": []any{strings.Repeat("a", 1_000_000)}}},
		{"items with one hash", object(`"l": {"uniqueItems": true}`), map[string]any{"l": alike(11)}},
	}
}

type heavyCall struct {
	name, schema string
	args         map[string]any
}

// TestUsefulCalls has large calls that are checked all the same.
func TestUsefulCalls(t *testing.T) {
	t.Parallel()
	row := map[string]any{}
	for i := range 10 {
		row[fmt.Sprint("f", i)] = strings.Repeat("x", 20)
	}
	const rows = `{"type": "object", "properties": {"rows": {"type": "array", "items": {"$ref": "#/$defs/row"}}}, "$defs": {"row": {"type": "object",
		"additionalProperties": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}}`
	for _, c := range []struct {
		name, schema string
		args         map[string]any
	}{
		{"1000 rows", rows, map[string]any{"rows": slices.Repeat([]any{row}, 1_000)}},
		{"a file", object(`"content": {"anyOf": [{"type": "string"}, {"type": "null"}]}`), map[string]any{"content": strings.Repeat("x", 1_000_000)}},
		{"a deep filter", treeSchema, tree(8, []any{map[string]any{"op": "leaf"}})},
		{"a broad filter", treeSchema, tree(2, slices.Repeat([]any{map[string]any{"op": "leaf"}}, 500))},
		{"a deep list", object(`"a": {"$ref": "#"}`), func() map[string]any {
			v := map[string]any{}
			for range 60 {
				v = map[string]any{"a": v}
			}
			return v
		}()},
		{"an embedding", object(`"v": {"type": "array", "items": {"type": "number", "minimum": -1, "maximum": 1}}`), map[string]any{"v": slices.Repeat([]any{json.Number("0.12345678901234561")}, 50_000)}},
	} {
		if err := toolWithSchema(t, c.schema).ValidateArguments(c.args); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestBoundedWork has schemas whose work for a value can be told by its depth, and
// those that are refused.
func TestBoundedWork(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		schema string
		want   []int // the first
		err    string
	}{
		{schema: `{"type": "object"}`, want: []int{2, 1, 0}},
		{schema: object(`"a": {"type": "string"}`), want: []int{2, 3, 0}},
		{schema: object(`"a": {"items": {"allOf": [{"type": "integer", "minimum": 1}]}}`), want: []int{2, 3, 7, 1, 0}},
		{schema: object(`"a": {"$ref": "#"}`), want: []int{2, 5, 6, 6, 6}},
		{schema: `{"type": "object", "anyOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"b": {"$ref": "#"}}}]}`, want: []int{6, 19, 40, 80, 160}},
		{schema: `{"type": "object", "anyOf": [{"additionalProperties": {"$ref": "#"}}, {"patternProperties": {"a": {"$ref": "#"}}}]}`, want: []int{6, 20, 42, 84, 168}},
		{schema: object(`"a": {"uniqueItems": true}`), want: []int{2, 3, 3, 2, 2, 2}},

		{schema: object(`"a": {"$ref": "#/properties/a"}`), err: "has a $ref that leads back to itself before any member or item"},
		{schema: `{"type": "object", "anyOf": [{"required": ["a"]}, {"$ref": "#"}]}`, err: "has a $ref that leads back to itself before any member or item"},
		{schema: `{"type": "object", "$recursiveRef": "#", "$schema": "https://json-schema.org/draft/2019-09/schema"}`, err: "has a $ref that leads back to itself before any member or item"},
		{
			schema: `{"type": "object", "properties": {"a": {"$dynamicRef": "#a"}}, "$defs": {"b": {"$id": "b", "$dynamicAnchor": "a"}, "c": {"$dynamicAnchor": "a"}}}`,
			err:    "has $dynamicRef or $recursiveRef beside a second $id, so where they lead is known only with the arguments",
		},
		{schema: object(`"a": {"$dynamicRef": "#a"}, "b": {"$dynamicAnchor": "a"}`), want: []int{2, 5, 2, 0}},
	} {
		document, err := parseJSON([]byte(c.schema))
		if err != nil {
			t.Fatal(err)
		}
		s, found := newSchema(document)
		if s == nil {
			if c.err == "" || found[0].text != c.err {
				t.Errorf("%s: %v", c.schema, found)
			}
			continue
		}
		if got := s.work[:min(len(s.work), len(c.want))]; !slices.Equal(got, c.want) {
			t.Errorf("%s: work %v, want %v", c.schema, s.work, c.want)
		}
	}
}

// alike are 2ⁿ different lists that the library's hash, which doesn't see where a
// text ends, takes for one.
func alike(n int) []any {
	list := make([]any, 0, 1<<n)
	for cuts := range 1 << n {
		text := "x"
		for bit := range n {
			if cuts>>bit&1 == 0 {
				text += "\x04y"
			} else {
				text += "\n\x04y"
			}
		}
		item := []any{}
		for _, part := range strings.Split(text, "\n\x04") {
			item = append(item, part)
		}
		list = append(list, item)
	}
	return list
}

// TestHeavyCalls bounds the memory and time of every call. It can't run beside
// others.
func TestHeavyCalls(t *testing.T) {
	const mostBytes, mostTime = 16 << 20, 5 * time.Second // the time is for slow machines and -race
	for _, c := range heavyCalls() {
		tool := toolWithSchema(t, c.schema)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		err := tool.ValidateArguments(c.args)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		bytes := after.TotalAlloc - before.TotalAlloc
		t.Logf("%-36s %6.2f MB %8v  %.100v", c.name, float64(bytes)/1e6, took.Round(10*time.Microsecond), err)
		if bytes > mostBytes || took > mostTime {
			t.Errorf("%s: %d bytes, %v", c.name, bytes, took)
		}
		if err != nil && len(err.Error()) > 500 {
			t.Errorf("%s: error of %d bytes", c.name, len(err.Error()))
		}
	}
}

func BenchmarkHeavyCalls(b *testing.B) {
	for _, c := range heavyCalls() {
		b.Run(c.name, func(b *testing.B) {
			tool := toolWithSchema(b, c.schema)
			b.ReportAllocs()
			for b.Loop() {
				_ = tool.ValidateArguments(c.args)
			}
		})
	}
}
