package catalogue

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Bounds of the work that one call can make the library do. A small schema with
// references stands for a big one, and a recursive one in two places looks at
// values that are n levels deep in 2ⁿ ways. So a schema is unfolded when it is
// loaded, and each call is measured before it is checked.
//
// The unit is half a visit of one schema to one value: some 0.1 µs and 75 bytes, or
// twice that if the value is not valid, and four times if the library says why.
const (
	maxSubschemas    = 20_000  // of a schema with its references followed
	maxWork          = 100_000 // of a call
	maxExplainedWork = 10_000  // of a call whose errors the library collects
	maxValueDepth    = 64      // as package operation has it
	bytesPerValue    = 512     // of texts, which patterns and formats read
	digitsPerValue   = 64      // of numbers, which are compared exactly
)

// boundedWork returns the most work for one value by its depth: arguments are at
// depth 0. There is none for what is deeper than the result is long, except after
// more than maxWork.
func boundedWork(root *jsonschema.Schema) ([]int, error) {
	u := unfolding{open: make(map[*jsonschema.Schema]bool)}
	u.visit(root)
	if u.nodes > maxSubschemas {
		return nil, fmt.Errorf("stands for more than %d schemas when its references are followed", maxSubschemas)
	}
	w := workload{memo: make(map[valueWork]int)}
	var byDepth []int
	for depth := range maxValueDepth + 1 {
		n := w.of(root, depth)
		if w.endless {
			return nil, errors.New("has a $ref that leads back to itself before any member or item")
		}
		if byDepth = append(byDepth, n); n == 0 || n > maxWork {
			return byDepth, nil
		}
	}
	return append(byDepth, maxWork+1), nil
}

// unfolding counts the nodes of a schema with its references followed, up to
// where they lead back into what is open already.
type unfolding struct {
	nodes int
	open  map[*jsonschema.Schema]bool
}

func (u *unfolding) visit(s *jsonschema.Schema) {
	if u.nodes++; u.nodes > maxSubschemas || u.open[s] {
		return
	}
	u.open[s] = true
	for _, sub := range slices.Concat(inPlace(s), inside(s)) {
		u.visit(sub)
	}
	delete(u.open, s)
}

// workload computes the most work that a schema makes with one value at a depth
// below the value that it is applied to.
type workload struct {
	memo    map[valueWork]int
	endless bool
}

type valueWork struct {
	schema *jsonschema.Schema
	depth  int
}

const openWork = -1 // in memo: being computed

func (w *workload) of(s *jsonschema.Schema, depth int) int {
	if s == nil {
		return 0
	}
	k := valueWork{s, depth}
	if n, ok := w.memo[k]; ok {
		w.endless = w.endless || n == openWork
		return max(n, 0)
	}
	w.memo[k] = openWork
	n := 0
	switch {
	case depth == 0:
		n = visitWork(s)
	case !takesContainers(s):
		w.memo[k] = 0
		return 0
	default:
		n = w.below(s, depth)
	}
	for _, sub := range inPlace(s) {
		n = min(n+w.of(sub, depth), maxWork+1)
	}
	w.memo[k] = n
	return n
}

// below is the work of what s applies to members and items. Which of them leads
// to the value isn't known: it is the one that makes the most.
func (w *workload) below(s *jsonschema.Schema, depth int) int {
	list := func(value any) (most int) {
		switch v := value.(type) {
		case *jsonschema.Schema:
			return w.of(v, depth-1)
		case []*jsonschema.Schema:
			for _, item := range v {
				most = max(most, w.of(item, depth-1))
			}
		}
		return most
	}
	member := list(s.AdditionalProperties)
	for _, property := range s.Properties {
		member = max(member, w.of(property, depth-1))
	}
	member += w.of(s.UnevaluatedProperties, depth-1)
	for _, pattern := range s.PatternProperties {
		member = min(member+w.of(pattern, depth-1), maxWork+1)
	}
	item := max(list(s.Items), list(s.AdditionalItems), list(s.PrefixItems), w.of(s.Items2020, depth-1))
	item += w.of(s.Contains, depth-1) + w.of(s.UnevaluatedItems, depth-1)
	n := max(member, item)
	if s.UniqueItems {
		n += 2 // all that an item holds is hashed
	}
	if depth == 1 {
		n += 1 + len(s.PatternProperties)
		if s.PropertyNames != nil {
			n += 2 + w.of(s.PropertyNames, 0)
		}
	}
	return min(n, maxWork+1)
}

// visitWork is the work of s with a value, without what other schemas make.
func visitWork(s *jsonschema.Schema) int {
	n := 2 + (len(s.Required)+len(s.DependentRequired)+len(s.DependentSchemas)+len(s.Dependencies))/4
	for _, names := range s.DependentRequired {
		n += len(names) / 4
	}
	if s.Const != nil {
		n += comparison(*s.Const) / 32
	}
	if s.Enum != nil {
		sum := 0
		for _, value := range s.Enum.Values {
			sum += comparison(value)
		}
		n += sum / 32
	}
	if s.Minimum != nil || s.Maximum != nil || s.ExclusiveMinimum != nil || s.ExclusiveMaximum != nil || s.MultipleOf != nil {
		n += 2
	}
	return min(n, maxWork+1)
}

// comparison is how many times more work than a string it is to compare a value.
func comparison(value any) int {
	n := 1
	switch v := value.(type) {
	case json.Number:
		return 128 * (1 + numberLength(string(v)))
	case []any:
		for _, item := range v {
			n += comparison(item)
		}
	case map[string]any:
		for _, member := range v {
			n += comparison(member)
		}
	}
	return n
}

// numberLength is how often a number in the form that the library calculates with,
// without an exponent, has digitsPerValue digits.
func numberLength(text string) int {
	if len(text) <= maxDoubleDigits && !strings.ContainsAny(text, "eE") {
		return 0
	}
	var room [64]byte
	d := decimalOf(text, room[:0])
	return (len(d.digits) + max(d.exponent, -d.exponent)) / digitsPerValue
}

// takesContainers reports whether an object or array gets beyond the type of s.
func takesContainers(s *jsonschema.Schema) bool {
	container := func(v any) bool { return !isScalar(v) }
	return (s.Types == nil || *s.Types&(objectMask|arrayMask) != 0) &&
		(s.Const == nil || container(*s.Const)) &&
		(s.Enum == nil || slices.ContainsFunc(s.Enum.Values, container))
}

// inPlace are the schemas that s applies to the same value.
func inPlace(s *jsonschema.Schema) []*jsonschema.Schema {
	list := []*jsonschema.Schema{s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else}
	if s.DynamicRef != nil {
		list = append(list, s.DynamicRef.Ref)
	}
	list = slices.Concat(list, s.AllOf, s.AnyOf, s.OneOf)
	list = slices.AppendSeq(list, maps.Values(s.DependentSchemas))
	return schemasOf(list, slices.Collect(maps.Values(s.Dependencies))...)
}

// inside are the schemas that s applies to what a value holds. A test compares
// the two lists with the fields of the library's type.
func inside(s *jsonschema.Schema) []*jsonschema.Schema {
	list := []*jsonschema.Schema{
		s.PropertyNames, s.UnevaluatedProperties, s.Contains, s.Items2020, s.UnevaluatedItems, s.ContentSchema,
	}
	list = append(list, s.PrefixItems...)
	list = slices.AppendSeq(list, maps.Values(s.Properties))
	list = slices.AppendSeq(list, maps.Values(s.PatternProperties))
	return schemasOf(list, s.AdditionalProperties, s.Items, s.AdditionalItems)
}

// schemasOf adds the schemas in further values to a list, and drops what is nil.
func schemasOf(list []*jsonschema.Schema, more ...any) []*jsonschema.Schema {
	for _, value := range more {
		switch v := value.(type) {
		case *jsonschema.Schema:
			list = append(list, v)
		case []*jsonschema.Schema:
			list = append(list, v...)
		}
	}
	return slices.DeleteFunc(list, func(s *jsonschema.Schema) bool { return s == nil })
}

// work is the most work that a schema of such bounds makes with arguments, or
// something above maxWork.
func work(byDepth []int, args map[string]any) int {
	var t tally
	t.add(args, 0)
	total := 0
	for depth, n := range t {
		switch {
		case n == 0:
			return total
		case depth < len(byDepth):
			total = min(total+n*byDepth[depth], maxWork+1)
		case byDepth[len(byDepth)-1] != 0:
			return maxWork + 1
		}
	}
	return maxWork + 1 // too deep
}

// tally counts values by their depth; long texts and numbers count as several.
type tally [maxValueDepth + 1]int

func (t *tally) add(value any, depth int) {
	if depth > maxValueDepth {
		return
	}
	t[depth]++
	switch v := value.(type) {
	case string:
		t[depth] += len(v) / bytesPerValue
	case json.Number:
		t[depth] += numberLength(string(v))
	case []any:
		for _, item := range v {
			t.add(item, depth+1)
		}
	case map[string]any:
		for name, member := range v {
			t.add(member, depth+1)
			if depth < maxValueDepth {
				t[depth+1] += len(name) / bytesPerValue
			}
		}
	}
}
