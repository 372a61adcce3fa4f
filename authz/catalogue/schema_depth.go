package catalogue

import (
	"fmt"
	"maps"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Bounds of the work that one schema can make. References let a small document
// stand for a huge one: as a tree of all that they lead to it has at most
// maxSubschemas nodes. Recursion multiplies with each level of the arguments:
// what is recursive in two places visits 2ⁿ schemas for arguments n levels deep.
const (
	maxSubschemas = 20_000
	maxPaths      = 20_000
)

// boundedDepth returns how deep arguments may be nested so that at most maxPaths
// ways through a recursive schema lead to one value; 0 if any depth will do.
func boundedDepth(root *jsonschema.Schema) (int, error) {
	u := unfolding{open: make(map[*jsonschema.Schema]bool), targets: make(map[*jsonschema.Schema]bool)}
	u.visit(root)
	if u.nodes > maxSubschemas {
		return 0, fmt.Errorf("stands for more than %d schemas when its references are followed", maxSubschemas)
	}
	if u.recursions < 2 {
		return 0, nil
	}
	// On each level a way may recurse once through every target.
	depth := 0
	for paths := 1; ; depth++ {
		for range u.targets {
			if paths *= u.recursions; paths > maxPaths {
				return max(depth, 1), nil
			}
		}
	}
}

// unfolding counts the nodes of a schema with its references followed, up to
// where they lead back into what is open already.
type unfolding struct {
	nodes, recursions int
	open, targets     map[*jsonschema.Schema]bool
}

func (u *unfolding) visit(s *jsonschema.Schema) {
	if s == nil || u.nodes > maxSubschemas {
		return
	}
	u.nodes++
	if u.open[s] {
		u.recursions++
		u.targets[s] = true
		return
	}
	u.open[s] = true
	for _, sub := range subschemas(s) {
		u.visit(sub)
	}
	delete(u.open, s)
}

// subschemas are all that a value, or a part of it, is checked against with s.
// A test compares the list with the fields of the library's type.
func subschemas(s *jsonschema.Schema) []*jsonschema.Schema {
	list := []*jsonschema.Schema{
		s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else, s.PropertyNames, s.UnevaluatedProperties,
		s.Contains, s.Items2020, s.UnevaluatedItems, s.ContentSchema,
	}
	if s.DynamicRef != nil {
		list = append(list, s.DynamicRef.Ref)
	}
	list = slices.Concat(list, s.AllOf, s.AnyOf, s.OneOf, s.PrefixItems)
	list = slices.AppendSeq(list, maps.Values(s.Properties))
	list = slices.AppendSeq(list, maps.Values(s.PatternProperties))
	list = slices.AppendSeq(list, maps.Values(s.DependentSchemas))
	for _, any := range append(slices.Collect(maps.Values(s.Dependencies)), s.AdditionalProperties, s.Items, s.AdditionalItems) {
		switch v := any.(type) {
		case *jsonschema.Schema:
			list = append(list, v)
		case []*jsonschema.Schema:
			list = append(list, v...)
		}
	}
	return list
}

// depth is the number of objects and arrays inside each other.
func depth(value any) int {
	deepest := 0
	switch v := value.(type) {
	case map[string]any:
		for _, member := range v {
			deepest = max(deepest, depth(member))
		}
	case []any:
		for _, item := range v {
			deepest = max(deepest, depth(item))
		}
	default:
		return 0
	}
	return deepest + 1
}
