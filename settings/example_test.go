package settings

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestExampleLoads takes the example as it is, with the one file that it names.
func TestExampleLoads(t *testing.T) {
	t.Parallel()
	file := writeFiles(t, map[string]string{"sallyport.yaml": string(Example), "tools.yaml": "version: 1\n"})
	loaded, err := Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded.Warnings) > 0 {
		t.Errorf("warnings:\n%v", loaded.Warnings)
	}
}

// uncommented is the example with every key that is commented out. Prose has a
// space after its #.
func uncommented() []byte {
	return regexp.MustCompile(`(?m)^( *)#([^ \n])`).ReplaceAll(Example, []byte("$1$2"))
}

// TestExampleIsComplete finds every key, and its variable if that has a name of
// its own, in the example; what is shown for a key with a default is the default.
func TestExampleIsComplete(t *testing.T) {
	t.Parallel()
	shown, r := defaults(), newReport("example.yaml")
	root, _, err := readTree(uncommented())
	if err != nil {
		t.Fatal(err)
	}
	d := decoder{report: r}
	d.decode(root, "", field{}, reflect.ValueOf(&shown).Elem())
	if len(r.problems) > 0 {
		t.Fatal(r.problems)
	}

	index := regexp.MustCompile(`\[[0-9]+\]`)
	keys := make(map[string]bool)
	for path := range r.origins {
		keys[index.ReplaceAllString(path, "[]")] = true
	}
	leaves(reflect.ValueOf(everything()).Elem(), "", func(l leaf) {
		if !keys[index.ReplaceAllString(l.path, "[]")] {
			t.Errorf("%s is not in the example", l.path)
		}
		if l.field.env != "" && !l.fileOnly() && !strings.Contains(string(Example), l.field.env) {
			t.Errorf("%s: its variable %s is not in the example", l.path, l.field.env)
		}
	})

	// The lists' entries have defaults, too.
	want := defaults()
	issuer, mcp := Issuer{}, MCP{}
	issuer.setDefaults()
	mcp.setDefaults()
	want.Issuers, want.Servers = []Issuer{issuer}, []Server{{MCP: &mcp}}
	got := make(map[string]any)
	leaves(reflect.ValueOf(&shown).Elem(), "", func(l leaf) { got[l.path] = l.value.Interface() })
	leaves(reflect.ValueOf(&want).Elem(), "", func(l leaf) {
		if !l.value.IsZero() {
			if diff := cmp.Diff(l.value.Interface(), got[l.path]); diff != "" {
				t.Errorf("%s: the example shows another default (-default +example):\n%s", l.path, diff)
			}
		}
	})
}

// TestExampleHasNoOtherComments keeps uncommented honest: a comment is prose,
// with a space, or a key.
func TestExampleHasNoOtherComments(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^ *(#|# .*|#[a-z_0-9]+:.*|[^#]*)$`)
	for i, line := range strings.Split(string(Example), "\n") {
		if !form.MatchString(line) || len(line) > 100 {
			t.Errorf("line %d: %s", i+1, line)
		}
	}
}

// writeFiles fills a new folder and returns the path of sallyport.yaml in it.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(folder, "sallyport.yaml")
}
