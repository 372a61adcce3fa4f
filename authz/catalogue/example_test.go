package catalogue

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestExample loads the example as it is and with every key that is commented
// out, and finds every key of an entry in it.
func TestExample(t *testing.T) {
	t.Parallel()
	uncommented := regexp.MustCompile(`(?m)^( *)#([a-z_]+:)`).ReplaceAllString(string(Example), "$1$2")
	for _, text := range []string{string(Example), uncommented} {
		file := filepath.Join(t.TempDir(), "tools.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(Config{Files: []string{file}, Servers: []string{"dealership"}}, noon)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Warnings()) != 0 {
			t.Errorf("warnings: %v", c.Warnings())
		}
	}
	source, err := os.ReadFile("entry.go")
	if err != nil {
		t.Fatal(err)
	}
	keys := regexp.MustCompile(`(?m)^\t+"([a-z_]+)": +func\(n \*yaml.Node\)`).FindAllStringSubmatch(string(source), -1)
	if len(keys) < 20 {
		t.Fatalf("only %d keys found", len(keys))
	}
	for _, key := range keys {
		if !strings.Contains(string(Example), key[1]) {
			t.Errorf("%s is not in the example", key[1])
		}
	}
}
