package catalogue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// jsonValue turns a node into the JSON value that it stands for: map[string]any,
// []any, string, json.Number, bool or nil. What JSON doesn't have, or would read
// as something else, is a problem; then ok is false.
func jsonValue(r *reader, n *yaml.Node) (value any, ok bool) { return jsonValueAt(r, n, 1) }

func jsonValueAt(r *reader, n *yaml.Node, depth int) (value any, ok bool) {
	if depth > maxSchemaDepth {
		r.fail(n, "input_schema is nested in more than %d levels", maxSchemaDepth)
		return nil, false
	}
	switch n.Kind {
	case yaml.MappingNode:
		return jsonObject(r, n, depth)
	case yaml.SequenceNode:
		list, ok := make([]any, 0, len(n.Content)), true
		for _, item := range n.Content {
			v, fine := jsonValueAt(r, item, depth+1)
			list, ok = append(list, v), ok && fine
		}
		return list, ok
	case yaml.ScalarNode:
		return jsonScalar(r, n)
	}
	r.fail(n, "input_schema: not a value of JSON%s", r.isAlias(n))
	return nil, false
}

func jsonObject(r *reader, n *yaml.Node, depth int) (value any, ok bool) {
	object, ok := make(map[string]any, len(n.Content)/2), true
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" {
			r.fail(key, "input_schema: the key %s must be a string: quote it", quoteShort(key.Value))
			ok = false
			continue
		}
		if _, twice := object[key.Value]; twice {
			r.fail(key, "input_schema: key %s is there twice", quoteShort(key.Value))
			ok = false
		}
		v, fine := jsonValueAt(r, n.Content[i+1], depth+1)
		object[key.Value], ok = v, ok && fine
	}
	return object, ok
}

func jsonScalar(r *reader, n *yaml.Node) (value any, ok bool) {
	switch n.ShortTag() {
	case "!!str":
		return n.Value, true
	case "!!null":
		return nil, true
	case "!!bool":
		return strings.EqualFold(n.Value, "true"), true
	case "!!int", "!!float":
		if number, ok := jsonNumber(n.Value); ok {
			return number, true
		}
		r.fail(n, "input_schema: the number %s must be written as in JSON, and not be huge or tiny", quoteShort(n.Value))
		return nil, false
	}
	r.fail(n, "input_schema: %s is no value of JSON: quote it if it is a string", quoteShort(n.Value))
	return nil, false
}

// jsonNumber accepts what JSON does, as long as exact arithmetic with it is cheap
// and it is within the range of a double, beyond which YAML has no numbers.
func jsonNumber(text string) (json.Number, bool) {
	const maxLength, minExponent = 256, -400
	if len(text) > maxLength || !json.Valid([]byte(text)) {
		return "", false
	}
	_, err := strconv.ParseFloat(text, 64)
	return json.Number(text), err == nil && decimalOf(text, nil).exponent >= minExponent
}

// locate returns the node that a JSON pointer leads to, or the last one on the
// way to it that exists.
func locate(n *yaml.Node, pointer []string) *yaml.Node {
	for _, token := range pointer {
		next := n
		switch i, err := strconv.Atoi(token); {
		case n.Kind == yaml.MappingNode:
			next = valueAt(n, token)
		case n.Kind == yaml.SequenceNode && err == nil && i >= 0 && i < len(n.Content):
			next = n.Content[i]
		}
		if next == n {
			return n
		}
		n = next
	}
	return n
}

// parseJSON reads the JSON text of a schema as jsonValue would.
func parseJSON(data []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	p := jsonParser{decoder}
	value, err := p.value(1)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("data after the JSON text")
		}
	}
	if err != nil {
		line := 1 + bytes.Count(data[:min(int(decoder.InputOffset()), len(data))], []byte("\n"))
		return nil, fmt.Errorf("line %d: %w", line, err)
	}
	return value, nil
}

// jsonParser reads tokens, as Decode would let the last of equal members win.
type jsonParser struct{ tokens *json.Decoder }

func (p jsonParser) value(depth int) (any, error) {
	token, err := p.tokens.Token()
	if err != nil {
		return nil, plainJSONError(err)
	}
	if depth > maxSchemaDepth {
		return nil, fmt.Errorf("nested in more than %d levels", maxSchemaDepth)
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '{' {
			return p.object(depth)
		}
		return p.list(depth)
	case json.Number:
		if number, ok := jsonNumber(string(t)); ok {
			return number, nil
		}
		return nil, fmt.Errorf("the number %s is too long, huge or tiny", quoteShort(string(t)))
	}
	return token, nil
}

func (p jsonParser) object(depth int) (any, error) {
	object := make(map[string]any)
	for p.tokens.More() {
		token, err := p.tokens.Token()
		if err != nil {
			return nil, plainJSONError(err)
		}
		name, _ := token.(string)
		if _, twice := object[name]; twice {
			return nil, fmt.Errorf("key %s is there twice", quoteShort(name))
		}
		if object[name], err = p.value(depth + 1); err != nil {
			return nil, err
		}
	}
	_, err := p.tokens.Token()
	return object, plainJSONError(err)
}

func (p jsonParser) list(depth int) (any, error) {
	list := []any{}
	for p.tokens.More() {
		item, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	_, err := p.tokens.Token()
	return list, plainJSONError(err)
}

func plainJSONError(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("unexpected end of the JSON text")
	}
	return err
}
