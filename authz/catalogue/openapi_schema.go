package catalogue

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// converter turns schemas of OpenAPI 3.0 and 3.1 into JSON Schema 2020-12. What
// they refer to becomes a member of defs.
type converter struct {
	components openapi3.Schemas
	defs       map[string]any
}

// value converts one schema; references in it stay references.
func (c *converter) value(s *openapi3.Schema) (any, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	if len(text) > maxSchema {
		return nil, fmt.Errorf("its schema has %d bytes, at most %d are allowed", len(text), maxSchema)
	}
	document, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	return c.schema(document)
}

const componentsPrefix = "#/components/schemas/"

// schema converts a schema in place.
func (c *converter) schema(value any) (any, error) {
	s, ok := value.(map[string]any)
	if !ok {
		return value, nil
	}
	if err := c.reference(s); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(s)) { // sorted: of several errors always the same
		v, err := s[name], error(nil)
		switch name {
		case "properties", "patternProperties", "dependentSchemas", "$defs":
			err = c.members(v)
		case "allOf", "anyOf", "oneOf", "prefixItems":
			err = c.items(v)
		case "not", "items", "additionalProperties", "contains", "propertyNames", "if", "then", "else",
			"unevaluatedItems", "unevaluatedProperties":
			s[name], err = c.schema(v)
		case "$dynamicRef", "$dynamicAnchor", "$id", "$anchor", "contentSchema":
			err = fmt.Errorf("its schema uses %s", name)
		case "$schema", "example", "xml", "discriminator", "externalDocs", "allowEmptyValue", "writeOnly":
			delete(s, name) // annotations that only OpenAPI knows
		default:
			if strings.HasPrefix(name, "x-") {
				delete(s, name)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	dropReadOnly(s)
	modernBound(s, "exclusiveMinimum", "minimum")
	modernBound(s, "exclusiveMaximum", "maximum")
	modernNull(s)
	return s, nil
}

// reference leads $ref into defs, and converts what is there once.
func (c *converter) reference(s map[string]any) error {
	ref, ok := s["$ref"].(string)
	if !ok {
		return nil
	}
	name, ok := strings.CutPrefix(ref, componentsPrefix)
	component := c.components[name]
	if !ok || component == nil || component.Value == nil {
		return fmt.Errorf("its schema refers to %s, which is none of components/schemas", quoteShort(ref))
	}
	s["$ref"] = "#/$defs/" + name
	if _, done := c.defs[name]; done {
		return nil
	}
	if c.defs == nil {
		c.defs = make(map[string]any)
	}
	c.defs[name] = true // so that recursion ends here
	var err error
	c.defs[name], err = c.value(component.Value)
	return err
}

func (c *converter) members(value any) error {
	members, _ := value.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		converted, err := c.schema(members[name])
		if err != nil {
			return err
		}
		members[name] = converted
	}
	return nil
}

func (c *converter) items(value any) error {
	items, _ := value.([]any)
	for i, item := range items {
		converted, err := c.schema(item)
		if err != nil {
			return err
		}
		items[i] = converted
	}
	return nil
}

// dropReadOnly removes members that only answers have: a request that sets them
// is what is called mass assignment.
func dropReadOnly(s map[string]any) {
	members, _ := s["properties"].(map[string]any)
	required, _ := s["required"].([]any)
	for name, member := range members {
		if m, ok := member.(map[string]any); ok && m["readOnly"] == true {
			delete(members, name)
			required = slices.DeleteFunc(required, func(r any) bool { return r == name })
		}
	}
	if len(required) == 0 {
		delete(s, "required")
	} else {
		s["required"] = required
	}
}

// modernBound rewrites OpenAPI 3.0's boolean exclusive bounds.
func modernBound(s map[string]any, exclusive, inclusive string) {
	if isExclusive, ok := s[exclusive].(bool); ok {
		delete(s, exclusive)
		if bound, ok := s[inclusive]; ok && isExclusive {
			s[exclusive] = bound
			delete(s, inclusive)
		}
	}
}

// modernNull rewrites OpenAPI 3.0's nullable, which widens the type.
func modernNull(s map[string]any) {
	nullable := s["nullable"] == true
	delete(s, "nullable")
	name, ok := s["type"].(string)
	if !nullable || !ok {
		return
	}
	s["type"] = []any{name, "null"}
	if values, ok := s["enum"].([]any); ok && !slices.Contains(values, nil) {
		s["enum"] = append(values, nil)
	}
}
