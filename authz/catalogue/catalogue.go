// Package catalogue knows the tools: what each may do, what its callers need, and
// which arguments it takes.
//
// A catalogue is loaded from YAML files (see docs of Load), compiled once and then
// only read. What it doesn't list doesn't exist. The package also proposes
// catalogues, from a live MCP server or an OpenAPI document.
package catalogue

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// maxFile bounds one catalogue file.
const maxFile = 8 << 20

// Config says what a catalogue is loaded from.
type Config struct {
	// Files are paths of YAML files; at least one.
	Files []string
	// Defaults apply where an entry is silent.
	Defaults Defaults
	// Servers are the names that an entry may use; empty: any name.
	Servers []string
}

// Catalogue is the immutable set of all tools. Its methods may be called by any
// number of goroutines.
type Catalogue struct {
	byName   map[key]*Tool
	tools    []*Tool
	warnings []*Problem
	digest   string
}

type key struct{ server, name string }

// Tool finds a tool of a server; both names are compared exactly. It doesn't
// allocate.
func (c *Catalogue) Tool(server, name string) (*Tool, bool) {
	t, ok := c.byName[key{server, name}]
	return t, ok
}

// Tools lists all tools by server and name.
func (c *Catalogue) Tools() []*Tool { return slices.Clone(c.tools) }

// Warnings lists what loads but deserves a look, by file and line.
func (c *Catalogue) Warnings() []*Problem { return slices.Clone(c.warnings) }

// Digest is the SHA-256, in hex, of everything that the catalogue enforces.
// Comments, order and the division into files don't change it.
func (c *Catalogue) Digest() string { return c.digest }

// Load reads and compiles the files. The error holds every problem of every file
// (errors.Join of *Problem), and there is a catalogue only without any. The
// time is compared with the end dates of shadow modes: one that has passed is a
// warning, and everything is enforced, as when it passes while the catalogue is loaded.
//
// A file is a mapping of "version: 1" and "tools", a list of entries. Unknown
// keys, keys that come twice, anchors and further documents are problems.
// Relative paths of schemas are relative to their file and can't leave its folder.
func Load(cfg Config, now time.Time) (*Catalogue, error) {
	l := loader{cfg: cfg, now: now, catalogue: &Catalogue{byName: make(map[key]*Tool)}}
	var err error
	if l.compiler, err = newConditionCompiler(); err != nil {
		return nil, err
	}
	l.readDefaults()
	if len(cfg.Files) == 0 {
		l.problems.add("", 0, "no catalogue file is configured")
	}
	for _, file := range cfg.Files {
		l.readFile(file)
	}
	if err := l.problems.err(cfg.Files); err != nil {
		return nil, err
	}
	c := l.catalogue
	slices.SortFunc(c.tools, func(a, b *Tool) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.Name, b.Name))
	})
	sortProblems(c.warnings, cfg.Files)
	if c.digest, err = digest(c.tools); err != nil {
		return nil, err
	}
	return c, nil
}

// digest hashes the tools in their order. Tool's exported fields and the text of
// its schema are all that is enforced.
func digest(tools []*Tool) (string, error) {
	h := sha256.New()
	encoder := json.NewEncoder(h)
	for _, t := range tools {
		enforced := *t
		enforced.Source = ""
		var text []byte
		if t.schema != nil {
			text = t.schema.text
		}
		if err := encoder.Encode([]any{enforced, json.RawMessage(text)}); err != nil {
			return "", fmt.Errorf("digest of %s: %w", t.Name, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// loader is the state of one Load.
type loader struct {
	cfg       Config
	now       time.Time
	defaults  byRisk
	compiler  *conditionCompiler
	problems  problems
	catalogue *Catalogue
}

func (l *loader) warn(file string, line int, format string, args ...any) {
	l.catalogue.warnings = append(l.catalogue.warnings,
		&Problem{File: file, Line: line, Text: fmt.Sprintf(format, args...)})
}

// readBounded reads at most limit bytes of a file, more are an error.
func readBounded(f *os.File, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("is larger than %d bytes", limit)
	}
	return data, err
}
