package catalogue

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite what the test data want")

// noon is the time at which catalogues are loaded in these tests.
var noon = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

// TestProblems loads the .yaml files of each archive and compares all problems,
// or if there are none all warnings, with "want". The file "config" has lines of
// a name and a value.
func TestProblems(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/problems/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal("no test data", err)
	}
	for _, path := range archives {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got, want := loadArchive(t, archive), &archive.Files[len(archive.Files)-1]
			if *update {
				want.Data = []byte(got)
				if err := os.WriteFile(path, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(want.Data), got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func loadArchive(t *testing.T, archive *txtar.Archive) string {
	dir := t.TempDir()
	var cfg Config
	for _, f := range archive.Files[:len(archive.Files)-1] {
		if f.Name == "config" {
			configure(t, &cfg, dir, string(f.Data))
			continue
		}
		name := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f.Name, ".yaml") {
			cfg.Files = append(cfg.Files, name)
		}
	}
	c, err := Load(cfg, noon)
	var lines []string
	switch {
	case err != nil:
		lines = append(lines, err.Error())
	default:
		for _, w := range c.Warnings() {
			lines = append(lines, "warning: "+w.Error())
		}
	}
	return strings.ReplaceAll(strings.Join(lines, "\n"), dir+string(filepath.Separator), "") + "\n"
}

func configure(t *testing.T, cfg *Config, dir, text string) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		var err error
		switch name {
		case "absent":
			cfg.Files = append(cfg.Files, filepath.Join(dir, value))
		case "servers":
			cfg.Servers = strings.Fields(value)
		case "risk":
			cfg.Defaults.RiskLevel = value
		case "tier":
			cfg.Defaults.RateLimitTier = value
		case "pii":
			cfg.Defaults.PIIPolicy = value
		case "concurrency":
			cfg.Defaults.MaxConcurrency, err = strconv.Atoi(value)
		case "ttl":
			cfg.Defaults.IdempotencyTTL, err = time.ParseDuration(value)
		default:
			err = errors.New("unknown configuration " + name)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoFiles(t *testing.T) {
	t.Parallel()
	if _, err := Load(Config{}, noon); err == nil || err.Error() != "no catalogue file is configured" {
		t.Errorf("got %v", err)
	}
}

// TestProblemLimit keeps a report readable, and its memory bounded.
func TestProblemLimit(t *testing.T) {
	t.Parallel()
	text := "version: 1\ntools:\n" + strings.Repeat("- 7\n", maxProblems+10)
	_, err := Load(Config{Files: []string{write(t, text)}}, noon)
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != maxProblems+1 || lines[maxProblems] != "and 10 more" {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
	var p *Problem
	if !errors.As(err, &p) || p.Line != 3 {
		t.Errorf("the first problem is %+v", p)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	entry := func(members string) string {
		return "version: 1\ntools:\n- name: t\n  server: s\n  risk_level: read\n  " + members + "\n"
	}
	wide := func(n int, item string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + "]"
	}
	for _, c := range []struct{ name, text, want string }{
		{"file", "#" + strings.Repeat("x", maxFile), "is larger than 8388608 bytes"},
		{"tools", "version: 1\ntools:\n" + strings.Repeat("- 7\n", maxTools+1), "tools has 10001 items, at most 10000 are allowed"},
		{"description", entry("description: " + strings.Repeat("x", maxDescription+1)), "description has 16385 bytes, at most 16384 are allowed"},
		{"scopes", entry("required_scopes: " + wide(maxScopes+1, "a")), "required_scopes has 65 items, at most 64 are allowed"},
		{"conditions", entry("conditions: " + wide(maxConditions+1, "{}")), "conditions has 33 items, at most 32 are allowed"},
		{"expression", entry("conditions: [{message: m, expression: " + strings.Repeat("x", maxExpression+1) + "}]"), "expression has 4097 bytes, at most 4096 are allowed"},
		{"nodes", entry("conditions: [{message: m, expression: \"[1" + strings.Repeat(",1", 2000) + "] == [1]\"}]"), "expression: expression node count exceeds limit: count 2005, limit 2000"},
		{"parentheses", entry("conditions: [{message: m, expression: " + strings.Repeat("(", 300) + "}]"), "expression: expression recursion limit exceeded: 250"},
		{"schema", entry("input_schema: {type: object, description: " + strings.Repeat("x", maxSchema) + "}"), "input_schema has 262178 bytes, at most 262144 are allowed"},
		{"schema depth", entry("input_schema: " + strings.Repeat("{not: ", maxSchemaDepth+1) + strings.Repeat("}", maxSchemaDepth+1)), "input_schema is nested in more than 64 levels"},
		{"YAML depth", "version: 1\ntools: " + strings.Repeat("[", 20_000), "is not valid YAML: exceeded max depth of 10000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := Load(Config{Files: []string{write(t, c.text)}}, noon)
			var p *Problem
			if !errors.As(err, &p) || !strings.HasSuffix(p.Text, c.want) {
				t.Errorf("got %.200v, want %s", err, c.want)
			}
		})
	}
}

// TestToolLimit counts the tools of all files.
func TestToolLimit(t *testing.T) {
	t.Parallel()
	var cfg Config
	for file := range 2 {
		var text strings.Builder
		text.WriteString("version: 1\ntools:\n")
		for i := range maxTools/2 + file {
			fmt.Fprintf(&text, "- {name: t%d, server: s%d, risk_level: read}\n", i, file)
		}
		cfg.Files = append(cfg.Files, write(t, text.String()))
	}
	_, err := Load(cfg, noon)
	var p *Problem
	if !errors.As(err, &p) || p.Line != maxTools/2+3 || p.Text != "tool t5000: more than 10000 tools" {
		t.Errorf("got %.200v", err)
	}
}

// write puts a catalogue into a file.
func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "catalogue.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// load loads catalogue text that has no problems.
func load(t testing.TB, text string) *Catalogue {
	t.Helper()
	c, err := Load(Config{Files: []string{write(t, text)}}, noon)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// tool loads a catalogue with one tool "t" of the server "s" and returns it.
func tool(t testing.TB, members string) *Tool {
	t.Helper()
	text := fmt.Sprintf("version: 1\ntools:\n- name: t\n  server: s\n%s", indent(members))
	found, ok := load(t, text).Tool("s", "t")
	if !ok {
		t.Fatal("the tool is not there")
	}
	return found
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.Trim(text, "\n")) {
		b.WriteString("  " + line)
	}
	return b.String()
}
