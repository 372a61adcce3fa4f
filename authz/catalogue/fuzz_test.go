package catalogue

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"cel.dev/cel-go/common/types"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// maxFuzzBytes keeps the fuzzer away from what only takes long.
const maxFuzzBytes = 16 << 10

// seeds adds all files with the extension in the archives of problems.
func seeds(f *testing.F, extension string, more ...string) {
	archives, err := filepath.Glob("testdata/problems/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range archives {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if strings.HasSuffix(file.Name, extension) {
				f.Add(string(file.Data))
			}
		}
	}
	for _, text := range more {
		f.Add(text)
	}
}

// FuzzCatalogue reads any text as a catalogue. Every problem has its place, and
// what loads has no tool that is half configured.
func FuzzCatalogue(f *testing.F) {
	seeds(f, ".yaml", "version: 1\ntools: [{name: t, server: s, risk_level: write, input_schema: {type: object}}]\n")
	compiler, err := newConditionCompiler()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > maxFuzzBytes {
			return
		}
		l := loader{now: noon, compiler: compiler, catalogue: &Catalogue{byName: make(map[key]*Tool)}}
		l.readDefaults()
		l.readCatalogue("f", []byte(text))
		lines := strings.Count(text, "\n") + 1
		for _, p := range append(l.problems.list, l.catalogue.warnings...) {
			if p.File != "f" || p.Line < 0 || p.Line > lines+1 || p.Text == "" {
				t.Errorf("%d lines: problem %+v", lines, p)
			}
		}
		if len(l.problems.list) != 0 {
			return
		}
		for _, tool := range l.catalogue.tools {
			if tool.Risk == 0 || tool.Tier == 0 || tool.PIIPolicy == 0 || tool.Timeout <= 0 ||
				tool.Risk == Privileged && (!tool.RequiresElevation || !tool.Idempotency.Enabled) ||
				len(tool.Conditions) != len(tool.conditions) {
				t.Errorf("tool %+v", tool)
			}
		}
		if _, err := digest(l.catalogue.tools); err != nil {
			t.Error(err)
		}
	})
}

// FuzzSchema compiles any JSON text as a schema and validates arguments with it.
func FuzzSchema(f *testing.F) {
	seeds(f, ".json", `{"type": "object", "$id": "a", "$defs": {"a": {"$id": "b", "$anchor": "c"}}, "$ref": "#c"}`,
		`{"type": "object", "properties": {"a": {"$ref": "#/properties/b"}, "b": {"$ref": "#/properties/a"}}}`,
		`{"type": "object", "$schema": "http://json-schema.org/draft-04/schema#", "id": "x", "properties": {"a": {"exclusiveMinimum": true, "minimum": 1}}}`,
		`{"type": "object", "properties": {"a": {"multipleOf": 0.1, "format": "uuid", "contentMediaType": "application/json"}}}`,
		`{"type": "object", "$dynamicRef": "#a", "$dynamicAnchor": "a", "unevaluatedProperties": false, "dependentSchemas": {"a": {}}}`)
	args := []map[string]any{
		{}, {"a": "x", "b": json.Number("1")}, {"a": []any{nil, true, json.Number("1.5")}, "b": map[string]any{"a": map[string]any{}}},
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > maxFuzzBytes {
			return
		}
		document, err := parseJSON([]byte(text))
		if err != nil {
			return
		}
		s, found := newSchema(document)
		if s == nil {
			if len(found) == 0 {
				t.Error("no schema and no reason")
			}
			return
		}
		if again, err := parseJSON(s.text); err != nil || cmp.Diff(document, again) != "" {
			t.Errorf("canonical text %s: %v", s.text, err)
		}
		for _, a := range args {
			err := (&Tool{schema: s}).ValidateArguments(a)
			if err != nil && len(err.Error()) > 2_000 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
		}
	})
}

// FuzzNumber compares the numbers of conditions with what JSON means.
func FuzzNumber(f *testing.F) {
	for _, text := range []string{"0", "-0.0", "7e1", "1.5E+300", "9223372036854775808", "0.1234567890123456789", "1e-999", "1e99999999999999999999", "0e99999999999999999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var number json.Number
		if len(text) > 256 || text == "" || text[0] == '"' || text[0] == 'n' || json.Unmarshal([]byte(text), &number) != nil {
			return
		}
		want := exactly(string(number))
		if d := decimalOf(string(number), nil); want != nil && (d.isWhole() != want.IsInt() || d.compare(d) != 0 || d.sign() != want.Sign()) {
			t.Errorf("%s is %+v", text, d)
		}
		if _, isText := numberValue(string(number)).(types.String); isHeld(string(number)) == isText {
			t.Errorf("%s is held: %v", text, !isText)
		}
		switch v := numberValue(string(number)).(type) {
		case types.Int:
			if want == nil || !want.IsInt() || want.Num().Cmp(bigInt(int64(v))) != 0 {
				t.Errorf("%s is %v", text, v)
			}
		case types.Double:
			if want == nil || want.IsInt() && want.Num().IsInt64() {
				t.Errorf("%s is %v", text, v)
			}
			if nearest, _ := want.Float64(); nearest != float64(v) {
				t.Errorf("%s is %v, not %v", text, v, nearest)
			}
		case types.String:
			if string(v) != string(number) || want != nil && want.IsInt() && want.Num().IsInt64() {
				t.Errorf("%s is %q", text, v)
			}
		default:
			t.Errorf("%s is %v", text, v)
		}
	})
}

// FuzzProposal makes a proposal of any tool, and reads it back: the same tools must
// be there, and nothing else.
func FuzzProposal(f *testing.F) {
	f.Add("name", "text", `{"type": "object"}`)
	f.Add("a.b-c_d", "x\n- name: evil\n\x00\u2028\u202e", `{"type": "object", "properties": {"\u0000": {"pattern": "(?=x)", "format": "int32", "const": -1.5E+300}}}`)
	f.Add("a", "# x", `{"type": "object", "~": null, "y": true, "1": [[]], "<<": {"*a": "&b"}, "x": "!t", "z": ["", " ", "null", "2026-01-01"]}`)
	f.Fuzz(func(t *testing.T, name, description, schema string) {
		if len(name)+len(description)+len(schema) > maxFuzzBytes {
			return
		}
		document, err := parseJSON([]byte(schema))
		if err != nil {
			return
		}
		p := &Proposal{Server: "s"}
		p.add(&ProposedTool{Name: name, Description: description, Risk: Write, Reasons: []string{cleanText(description, 100)}}, document)
		p.note("a note of %s", quoteShort(description))
		reload(t, p)
	})
}

// FuzzOpenAPI proposes entries for any document.
func FuzzOpenAPI(f *testing.F) {
	archive, err := txtar.ParseFile("testdata/openapi/dealership.txtar")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(archive.Files[0].Data))
	f.Add(`{"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {"/a/{b}": {"put": {"requestBody": {"content": {"application/json": {"schema": true}}}}}}}`)
	f.Add(`{"openapi": "3.1.0", "paths": {"/": {"get": {"parameters": [{"name": "a", "in": "query", "schema": {"type": ["string", "null"], "$ref": "#/components/schemas/a"}}]}}}, "components": {"schemas": {"a": {"$ref": "#/components/schemas/a"}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > maxFuzzBytes {
			return
		}
		p, err := ProposeOpenAPI("s", []byte(text))
		if err != nil {
			return
		}
		reload(t, p)
		if _, err := p.Routes(); err != nil {
			t.Error(err)
		}
	})
}
