package strictyaml

import (
	"bytes"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		line       int
		message    string // empty: it is a document
	}{
		{"a document", "a: 1\n", 1, ""},
		{"JSON", `{"a": [1, 2]}`, 1, ""},
		{"behind a comment", "# x\n\na: 1\n", 3, ""},
		{"a mark at the start", "---\na: 1\n", 2, ""},
		{"in the first line", "a: [\n", 2, "is not valid YAML"},
		{"a tab", "a: 1\n\tb: 2\n", 2, "found a tab character that violates indentation"},
		{"a colon too many", "a: 1\nb: 2\nc: d: e\n", 3, "mapping values are not allowed in this context"},
		{"an odd indent", "a:\n  b: 1\n c: 2\n", 3, "did not find expected key"},
		{"an unknown anchor", "a: 1\nb: *nobody\n", 2, "unknown anchor 'nobody' referenced"},
		{"a second document", "a: 1\n---\nb: 2\n", 2, "a second document begins here"},
		{"a broken second document", "a: 1\n---\nb: [\n", 4, "is not valid YAML"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root, line, err := Parse([]byte(tt.text))
			if line != tt.line {
				t.Errorf("line %d, want %d (%v)", line, tt.line, err)
			}
			if tt.message == "" && (err != nil || root == nil) {
				t.Errorf("not a document: %v", err)
			}
			if tt.message != "" && (err == nil || !strings.Contains(err.Error(), tt.message) || root != nil) {
				t.Errorf("%v, want %q", err, tt.message)
			}
		})
	}
	for _, empty := range []string{"", "# a comment\n"} {
		if root, line, err := Parse([]byte(empty)); root != nil || line != 0 || err != nil {
			t.Errorf("%q: %v, %d, %v", empty, root, line, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"a: 1", "a: &x [*x]", "%YAML 1.1\n---\n", "? [a]\n: b", "\xff", "a: !!binary x", "- - - -", "a: |\n  x\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		root, line, err := Parse(data)
		if err != nil && root != nil {
			t.Error("a root beside an error")
		}
		if line < 0 || line > 2+bytes.Count(data, []byte("\n"))+bytes.Count(data, []byte("\r")) {
			t.Errorf("line %d of %q", line, data)
		}
	})
}
