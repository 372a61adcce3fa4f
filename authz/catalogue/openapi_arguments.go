package catalogue

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// argumentSchema makes the schema of one operation's arguments.
type argumentSchema struct {
	converter
	properties map[string]any
	required   []any
	reasons    []string
}

// build merges parameters and body as package operation does.
func (a *argumentSchema) build(method string, shared openapi3.Parameters, op *openapi3.Operation) (any, error) {
	a.properties = make(map[string]any)
	for _, ref := range mergeParameters(shared, op.Parameters) {
		if err := a.parameter(ref.Value); err != nil {
			return nil, err
		}
	}
	document := map[string]any{"type": "object", "additionalProperties": false}
	if op.RequestBody != nil && op.RequestBody.Value != nil && method != "GET" && method != "HEAD" {
		if err := a.body(op.RequestBody.Value, document); err != nil {
			return nil, err
		}
	}
	if len(a.properties) != 0 {
		document["properties"] = a.properties
	}
	if len(a.required) != 0 {
		document["required"] = a.required
	}
	if len(a.defs) != 0 {
		document["$defs"] = a.defs
	}
	return document, nil
}

// mergeParameters lets an operation's parameters replace those of its path.
func mergeParameters(shared, own openapi3.Parameters) openapi3.Parameters {
	merged := slices.Clone(own)
	for _, s := range shared {
		replaced := slices.ContainsFunc(own, func(o *openapi3.ParameterRef) bool {
			return o.Value != nil && s.Value != nil && o.Value.Name == s.Value.Name && o.Value.In == s.Value.In
		})
		if !replaced {
			merged = append(merged, s)
		}
	}
	return slices.DeleteFunc(merged, func(p *openapi3.ParameterRef) bool { return p == nil || p.Value == nil })
}

// property adds a member of the arguments. Two names that differ in letter case
// only are refused in every call, so they can't be proposed.
func (a *argumentSchema) property(name string, schema any) error {
	for other := range a.properties {
		if strings.EqualFold(other, name) {
			return fmt.Errorf("the argument %s comes from two places", quoteShort(name))
		}
	}
	a.properties[name] = schema
	return nil
}

func (a *argumentSchema) parameter(p *openapi3.Parameter) error {
	if p.In != openapi3.ParameterInPath && p.In != openapi3.ParameterInQuery {
		return nil // headers and cookies are no arguments
	}
	schema := map[string]any{"type": "string"}
	if p.Schema != nil && p.Schema.Value != nil {
		value, err := a.value(p.Schema.Value)
		if err != nil {
			return fmt.Errorf("parameter %s: %w", quoteShort(p.Name), err)
		}
		var exact bool
		if schema, exact = textSchema(value); !exact {
			a.reasons = append(a.reasons, "the "+p.In+" parameter "+quoteShort(p.Name)+" arrives as text: only what fits text is left of its schema")
		}
	}
	if p.Description != "" {
		schema["description"] = cleanText(p.Description, maxDescription)
	}
	if p.Required || p.In == openapi3.ParameterInPath {
		a.required = append(a.required, p.Name)
	}
	return a.property(p.Name, schema)
}

// textSchema says of a string what a schema says of the value that it stands for.
// exact is false if something of it is lost.
func textSchema(value any) (schema map[string]any, exact bool) {
	keywords, ok := value.(map[string]any)
	if !ok {
		return map[string]any{"type": "string"}, false
	}
	schema = map[string]any{"type": "string"}
	bounded := slices.ContainsFunc([]string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
		func(k string) bool { return keywords[k] != nil })
	if values, ok := keywords["enum"].([]any); ok {
		texts := make([]any, len(values))
		for i, v := range values {
			texts[i] = fmt.Sprint(v)
		}
		schema["enum"] = texts
		return schema, keywords["type"] != nil
	}
	switch keywords["type"] {
	case "string":
		return keywords, true
	case "integer":
		schema["pattern"] = `^-?[0-9]+$`
		return schema, !bounded
	case "number":
		schema["pattern"] = `^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$`
		return schema, !bounded
	case "boolean":
		schema["enum"] = []any{"true", "false"}
		return schema, true
	}
	return schema, false
}

// body merges the members of a JSON body, or makes the whole body a condition on
// the arguments where its schema is more than a list of members.
func (a *argumentSchema) body(body *openapi3.RequestBody, document map[string]any) error {
	media := body.Content.Get("application/json")
	if media == nil {
		return errors.New("its body is not application/json, so its arguments can't be checked")
	}
	if media.Schema == nil || media.Schema.Value == nil {
		a.openBody(document)
		return nil
	}
	value, err := a.value(media.Schema.Value)
	if err != nil {
		return fmt.Errorf("body: %w", err)
	}
	keywords, ok := value.(map[string]any)
	if !ok {
		return errors.New("its body has a boolean schema")
	}
	if t := keywords["type"]; t != nil && t != "object" {
		return errors.New("its body is not an object, so it can't be arguments")
	}
	if !isMemberList(keywords) {
		delete(document, "additionalProperties")
		document["allOf"], document["unevaluatedProperties"] = []any{keywords}, false
		if !body.Required {
			a.reasons = append(a.reasons, "a call without the optional body must fit the schema of the body, too")
		}
		if len(a.properties) != 0 {
			a.reasons = append(a.reasons, "if the schema of the body refuses unknown members, it refuses the parameters too: then merge them by hand")
		}
		return nil
	}
	members, _ := keywords["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if err := a.property(name, members[name]); err != nil {
			return err
		}
	}
	if required, ok := keywords["required"].([]any); ok && body.Required {
		a.required = append(a.required, required...)
	}
	if additional, ok := keywords["additionalProperties"]; ok {
		document["additionalProperties"] = additional
	} else if members == nil {
		a.openBody(document)
	}
	return nil
}

func (a *argumentSchema) openBody(document map[string]any) {
	delete(document, "additionalProperties")
	a.reasons = append(a.reasons, "the document names no members of the body: any are accepted")
}

// isMemberList reports whether a schema only lists the members of an object.
func isMemberList(keywords map[string]any) bool {
	for name := range keywords {
		switch name {
		case "type", "properties", "required", "additionalProperties", "title", "description", "default", "examples", "deprecated", "$comment":
		default:
			return false
		}
	}
	return true
}
