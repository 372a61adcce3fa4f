package catalogue

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func yes() *bool { v := true; return &v }
func no() *bool  { v := false; return &v }

// reload writes a proposal and loads it again. The tools must be the same.
func reload(t testing.TB, p *Proposal) (*Catalogue, string) {
	t.Helper()
	text, err := p.YAML()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load(Config{Files: []string{write(t, string(text))}}, noon)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if got, want := len(c.Tools()), len(p.Tools); got != want {
		t.Fatalf("%d of %d tools\n%s", got, want, text)
	}
	for _, proposed := range p.Tools {
		found, ok := c.Tool(p.Server, proposed.Name)
		if !ok {
			t.Fatalf("%s is not there\n%s", proposed.Name, text)
		}
		if found.Description != proposed.Description || found.Risk != proposed.Risk || string(found.schema.text) != string(proposed.schema.text) {
			t.Errorf("%+v\nbecame\n%+v\n%s", proposed, found, text)
		}
	}
	if changes := p.Compare(c); len(changes.New)+len(changes.Removed)+len(changes.Changed) != 0 {
		t.Errorf("it differs from itself: %+v", changes)
	}
	return c, string(text)
}

func TestProposeTools(t *testing.T) {
	t.Parallel()
	schema := map[string]any{"type": "object", "properties": map[string]any{"a": map[string]any{"type": "string"}}}
	p := proposeTools("s", []*mcp.Tool{
		{Name: "write_none", InputSchema: schema},
		{Name: "read", InputSchema: schema, Description: "Reads.", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true, DestructiveHint: yes()}},
		{Name: "write_false", InputSchema: schema, Annotations: &mcp.ToolAnnotations{DestructiveHint: no(), IdempotentHint: true}},
		{Name: "write_destroys", InputSchema: schema, Annotations: &mcp.ToolAnnotations{DestructiveHint: yes()}},
		{Name: "write_silent", InputSchema: schema, Annotations: &mcp.ToolAnnotations{Title: "x"}},
		{Name: "read", InputSchema: schema},
		{Name: "bad name\n", InputSchema: schema},
		{Name: "no_schema"},
		{Name: "string_schema", InputSchema: "x"},
		{Name: "remote", InputSchema: map[string]any{"type": "object", "$ref": "http://169.254.169.254/"}},
		{Name: "lookahead", InputSchema: map[string]any{
			"type": "object", "$schema": "http://json-schema.org/draft-07/schema#",
			"properties": map[string]any{"mail": map[string]any{"type": "string", "format": "email", "pattern": "^(?!\\.)x", "minLength": 3}, "n": map[string]any{"format": "int64", "anyOf": []any{map[string]any{"pattern": "(?=x)", "format": "x"}, map[string]any{"type": "null"}}}},
		}},
		{Name: "huge", InputSchema: map[string]any{"type": "object", "description": strings.Repeat("x", maxSchema)}},
	})
	_, got := reload(t, p)
	want := `# Proposed for the server "s" from what it says of itself. Review every entry:
# hints are only hints, and nothing here is privileged, needs scopes or an approval yet.
# tool "read" is left out: another has the same name
# tool "bad name\n" is left out: its name must be 1 to 128 letters, digits, '_', '-' and '.'
# tool "no_schema" is left out: its schema must have type: object, as arguments are an object
# tool "string_schema" is left out: its schema must have type: object, as arguments are an object
# tool "remote" is left out: its schema "http://169.254.169.254/" is outside of this schema, and nothing is fetched
# tool "huge" is left out: its schema: has 262178 bytes, at most 262144 are allowed
version: 1
tools:
  # write: the server gives no hints
  # input_schema/properties/mail/pattern was "^(?!\\.)x", which Go can't run: check the argument in another way
  # input_schema/properties/n/anyOf/0/pattern was "(?=x)", which Go can't run: check the argument in another way
  - name: lookahead
    server: s
    risk_level: write
    input_schema:
      $schema: "http://json-schema.org/draft-07/schema#"
      properties:
        mail:
          format: email
          minLength: 3
          type: string
        "n":
          anyOf:
            - {}
            - type: "null"
      type: object
  # read: the server hints readOnlyHint. Make sure that it changes nothing, else say write.
  - name: read
    server: s
    description: Reads.
    risk_level: read
    input_schema:
      properties:
        a:
          type: string
      type: object
`
	if got = got[:min(len(got), len(want))]; got != want {
		t.Errorf("-want +got:\n%s", cmp.Diff(want, got))
	}
	risks := map[string]string{}
	for _, tool := range p.Tools {
		risks[tool.Name] = tool.Risk.String() + " | " + strings.Join(tool.Reasons, " | ")
	}
	delete(risks, "lookahead")
	if diff := cmp.Diff(map[string]string{
		"read":           "read | read: the server hints readOnlyHint. Make sure that it changes nothing, else say write.",
		"write_none":     "write | write: the server gives no hints",
		"write_false":    "write | write: the server hints that it only adds (destructiveHint: false)",
		"write_destroys": "write | write: the server hints destructiveHint. Consider privileged, or requires_approval.",
		"write_silent":   "write | write: the server doesn't hint readOnlyHint",
	}, risks); diff != "" {
		t.Errorf("risks (-want +got):\n%s", diff)
	}
}

// TestProposalInjection has a server that tries to write the catalogue itself.
func TestProposalInjection(t *testing.T) {
	t.Parallel()
	evil := []string{
		"x\n  risk_level: read\n- name: evil\n  server: s", "*alias", "&anchor", "!tag", "<<", "---", "...", "- a", "? a", "a: b", "a #b", "# c",
		"yes", "NULL", "~", "0x10", "1e3", ".inf", "2026-01-01", "'", `"`, "\\", "{", "}", "[", "%", "@", "`", "|", ">", ",", " ", "", "\t",
		"\x00", "\x1b[31m", "\u0085", "\u2028", "\u202e", "\ufeff", "\U000e0041", "\U0001F600", "é", "हिन्दी", "\u007f", "\r\n",
	}
	properties := map[string]any{}
	for _, text := range evil {
		properties[text] = map[string]any{"title": text, "enum": []any{text, "b"}, "default": map[string]any{text: []any{text}}}
	}
	var tools []*mcp.Tool
	for i, text := range evil {
		tools = append(tools, &mcp.Tool{
			Name:        "t" + string(rune('a'+i/26)) + string(rune('a'+i%26)),
			Description: text + "a" + text,
			InputSchema: map[string]any{"type": "object", "description": text, "properties": properties, "x-" + text: json.Number("-1.50e+10")},
		}, &mcp.Tool{Name: text, InputSchema: map[string]any{"type": "object", "$ref": "http://x/" + text}})
	}
	p := proposeTools("s", tools)
	if len(p.Tools) != len(evil) {
		t.Errorf("%d of %d tools: %q", len(p.Tools), len(evil), p.Notes)
	}
	_, text := reload(t, p)
	for i, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("%q is not visible: %q", r, text[max(0, i-40):i+10])
		}
	}
}

func TestComment(t *testing.T) {
	t.Parallel()
	if got, want := comment([]string{"a\n- b: \u2028é\r", "c"}), "# a?- b: ???\n# c"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	c := load(t, `
version: 1
tools:
- {name: same, server: s, risk_level: privileged, description: "two   spaces", input_schema: {type: object}}
- {name: read_no_more, server: s, risk_level: read, input_schema: {type: object}}
- {name: schema, server: s, risk_level: read, input_schema: {type: object, maxProperties: 1}}
- {name: unchecked, server: s, risk_level: write, description: old}
- {name: gone, server: s, risk_level: read}
- {name: gone, server: other, risk_level: read}
`)
	read := &mcp.ToolAnnotations{ReadOnlyHint: true}
	object := map[string]any{"type": "object"}
	p := proposeTools("s", []*mcp.Tool{
		{Name: "same", Description: "two spaces", InputSchema: object, Annotations: read},
		{Name: "read_no_more", InputSchema: object},
		{Name: "schema", InputSchema: object, Annotations: read},
		{Name: "unchecked", Description: "new", InputSchema: object},
		{Name: "added", InputSchema: object},
	})
	got := p.Compare(c)
	want := Changes{
		New: []string{"added"}, Removed: []string{"gone"},
		Changed: []Change{
			{"read_no_more", []string{"risk_level is read, but the proposal is write"}},
			{"schema", []string{"input_schema differs"}},
			{"unchecked", []string{"input_schema differs", "description differs"}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if only := p.Only(got.New); len(only.Tools) != 1 || only.Tools[0].Name != "added" || only.Server != "s" {
		t.Errorf("only the new: %+v", only)
	}
}

func TestCleanText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                      "",
		"  a\n\tb\r\n":          "a b",
		"a\u202eb\x00c\x1b[1m":  "a b c [1m",
		"\xff":                  "\uFFFD",
		"ääää":                  "ääää",
		"ääääääääää":            "äääää…",
		strings.Repeat("x", 14): "xxxxxxxxxx…",
	} {
		if got := cleanText(text, 13); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
