package catalogue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// YAML is the proposal as a catalogue file, which Load accepts, with its notes and
// reasons as comments.
func (p *Proposal) YAML() ([]byte, error) {
	head := []string{
		"Proposed for the server " + quoteShort(p.Server) + " from what it says of itself. Review every entry:",
		"hints are only hints, and nothing here is privileged, needs scopes or an approval yet.",
	}
	tools := &yaml.Node{Kind: yaml.SequenceNode}
	for _, t := range p.Tools {
		entry, err := t.entry(p.Server)
		if err != nil {
			return nil, err
		}
		tools.Content = append(tools.Content, entry)
	}
	version := &yaml.Node{Kind: yaml.ScalarNode, Value: "1"}
	text, err := encodeYAML(append(head, p.Notes...), mappingNode("version", version, "tools", tools))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("the proposal has %d bytes, a catalogue file at most %d", len(text), maxFile)
	}
	return text, err
}

// Routes is the "rest" section of the server's configuration, in YAML. Nil for an
// MCP server.
func (p *Proposal) Routes() ([]byte, error) {
	routes := &yaml.Node{Kind: yaml.SequenceNode}
	for _, t := range p.Tools {
		if t.Method != "" {
			route := mappingNode("method", stringNode(t.Method), "path", stringNode(t.Path), "tool", stringNode(t.Name))
			route.Style = yaml.FlowStyle
			routes.Content = append(routes.Content, route)
		}
	}
	if len(routes.Content) == 0 {
		return nil, nil
	}
	return encodeYAML(nil, mappingNode("rest", mappingNode("routes", routes)))
}

func (t *ProposedTool) entry(server string) (*yaml.Node, error) {
	document, err := parseJSON(t.schema.text)
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", t.Name, err)
	}
	n := mappingNode("name", stringNode(t.Name), "server", stringNode(server))
	if t.Description != "" {
		n.Content = append(n.Content, stringNode("description"), stringNode(t.Description))
	}
	n.Content = append(n.Content,
		stringNode("risk_level"), stringNode(t.Risk.String()),
		stringNode("input_schema"), valueNode(document))
	n.HeadComment = comment(t.Reasons)
	return n, nil
}

func encodeYAML(head []string, n *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	for _, line := range head {
		out.WriteString(comment([]string{line}) + "\n")
	}
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(n), encoder.Close()); err != nil {
		return nil, fmt.Errorf("encode YAML: %w", err)
	}
	return escapeInvisible(out.Bytes()), nil
}

// comment makes comment lines of visible ASCII, so that no text can end one.
func comment(lines []string) string {
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString("# ")
		for _, r := range line {
			if r < ' ' || r > '~' {
				r = '?'
			}
			b.WriteRune(r)
		}
	}
	return b.String()
}

// plainString is text that needs no quotes in YAML, unless it is a word that has a
// meaning: oldBoolean has it in YAML 1.1, the others are quoted by the encoder.
var (
	plainString = regexp.MustCompile(`^[A-Za-z$][A-Za-z0-9_./$-]*$`)
	oldBoolean  = regexp.MustCompile(`(?i)^(y|n|yes|no|on|off)$`)
)

func stringNode(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if !plainString.MatchString(s) || oldBoolean.MatchString(s) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// escapeInvisible escapes what a reviewer could not see. All that is not ASCII
// stands in double quotes, see stringNode and comment.
func escapeInvisible(text []byte) []byte {
	var out bytes.Buffer
	for _, r := range string(text) {
		switch {
		case r < 0x80 || unicode.IsPrint(r):
			out.WriteRune(r)
		case r > 0xFFFF:
			fmt.Fprintf(&out, `\U%08x`, r)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.Bytes()
}

// mappingNode takes keys and values in turn.
func mappingNode(pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, p := range pairs {
		switch p := p.(type) {
		case string:
			n.Content = append(n.Content, stringNode(p))
		case *yaml.Node:
			n.Content = append(n.Content, p)
		}
	}
	return n
}

// valueNode is the inverse of jsonValue.
func valueNode(value any) *yaml.Node {
	switch v := value.(type) {
	case map[string]any:
		n := mappingNode()
		for _, name := range slices.Sorted(maps.Keys(v)) {
			n.Content = append(n.Content, stringNode(name), valueNode(v[name]))
		}
		return n
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range v {
			n.Content = append(n.Content, valueNode(item))
		}
		return n
	case string:
		return stringNode(v)
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: v.String()}
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v)}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: "null"}
}
