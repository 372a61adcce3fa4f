package catalogue

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Proposal is a catalogue of one server that nobody has reviewed yet: what the
// server, or the document of its API, says of itself. Its text is a stranger's:
// it is cleaned, and what can't be enforced is not proposed, and so refused.
type Proposal struct {
	Server string
	Tools  []*ProposedTool // by name
	Notes  []string        // what is not proposed and why, and what to do
}

// ProposedTool is one entry of a proposal.
type ProposedTool struct {
	Name, Description string
	// Risk is Read or Write. What is privileged only its owner knows.
	Risk Risk
	// Reasons say why this risk is proposed, and what was changed. Each is one line.
	Reasons []string
	// Method and Path are the route of a REST API, else empty.
	Method, Path string

	schema *schema
}

func (p *Proposal) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// add completes a tool with its schema and adds it, or notes why it can't be.
func (p *Proposal) add(t *ProposedTool, document any) {
	what := "tool " + quoteShort(t.Name)
	if t.Method != "" {
		what += " (" + t.Method + " " + quoteShort(t.Path) + ")"
	}
	switch {
	case !toolName.MatchString(t.Name):
		p.note("%s is left out: its name must be 1 to 128 letters, digits, '_', '-' and '.'", what)
		return
	case slices.ContainsFunc(p.Tools, func(other *ProposedTool) bool { return other.Name == t.Name }):
		p.note("%s is left out: another has the same name", what)
		return
	case len(p.Tools) == maxTools:
		p.note("%s is left out: there are more than %d tools", what, maxTools)
		return
	}
	t.Description = cleanText(t.Description, maxDescription)
	s, dropped, err := usableSchema(document)
	if err != nil {
		p.note("%s is left out: %v", what, err)
		return
	}
	t.schema = s
	t.Reasons = append(t.Reasons, dropped...)
	p.Tools = append(p.Tools, t)
}

func (p *Proposal) sort() {
	slices.SortFunc(p.Tools, func(a, b *ProposedTool) int { return cmp.Compare(a.Name, b.Name) })
}

// maxDroppedPatterns is how many patterns one schema may lose.
const maxDroppedPatterns = 32

// usableSchema compiles a stranger's schema. A pattern that Go can't run, as one
// with a look-ahead, is dropped and named; anything else that is wrong is an error.
func usableSchema(document any) (*schema, []string, error) {
	dropUnknownFormats(document)
	var dropped []string
	for {
		s, found := newSchema(document)
		if s != nil {
			return s, dropped, nil
		}
		f := found[0]
		pattern, ok := dropPattern(document, f.path)
		if !ok || len(dropped) == maxDroppedPatterns {
			return nil, nil, fmt.Errorf("its schema%s %s", cleanText(slashed(f.path), 256), cleanText(f.text, 256))
		}
		dropped = append(dropped, fmt.Sprintf("input_schema%s was %s, which Go can't run: check the argument in another way",
			cleanText(slashed(f.path), 256), quoteShort(pattern)))
	}
}

// dropPattern removes the keyword "pattern" at the path, if that is what is there.
func dropPattern(document any, path []string) (pattern string, ok bool) {
	if len(path) == 0 || path[len(path)-1] != "pattern" {
		return "", false
	}
	parent, ok := valueAtPath(document, path[:len(path)-1]).(map[string]any)
	if !ok {
		return "", false
	}
	if pattern, ok = parent["pattern"].(string); ok {
		delete(parent, "pattern")
	}
	return pattern, ok
}

func valueAtPath(value any, path []string) any {
	for _, token := range path {
		switch v := value.(type) {
		case map[string]any:
			value = v[token]
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) {
				return nil
			}
			value = v[i]
		default:
			return nil
		}
	}
	return value
}

// dropUnknownFormats removes what would not be checked anyway.
func dropUnknownFormats(document any) {
	for _, f := range unknownFormats(document, nil) {
		if parent, ok := valueAtPath(document, f.path[:len(f.path)-1]).(map[string]any); ok {
			delete(parent, "format")
		}
	}
}

// cleanText makes one line of visible characters out of a stranger's text: no
// control characters, and none that change the direction of what is around them.
func cleanText(s string, limit int) string {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	clean = strings.Join(strings.Fields(clean), " ")
	if len(clean) > limit {
		cut := limit - len("…")
		for !utf8.RuneStart(clean[cut]) {
			cut--
		}
		clean = clean[:cut] + "…"
	}
	return clean
}

// Changes are the differences between a proposal and a catalogue that is in use.
type Changes struct {
	New     []string // tools that the catalogue doesn't have
	Removed []string // tools that the server no longer has
	Changed []Change
}

// Change is a tool that the server describes in another way than the catalogue.
type Change struct {
	Tool string
	What []string // one line each
}

// Compare finds what has changed since the catalogue was written. It looks at the
// entries of the proposal's server only.
func (p *Proposal) Compare(c *Catalogue) Changes {
	var changes Changes
	for _, proposed := range p.Tools {
		current, ok := c.Tool(p.Server, proposed.Name)
		if !ok {
			changes.New = append(changes.New, proposed.Name)
			continue
		}
		if what := proposed.compare(current); len(what) != 0 {
			changes.Changed = append(changes.Changed, Change{proposed.Name, what})
		}
	}
	for _, t := range c.tools {
		known := slices.ContainsFunc(p.Tools, func(other *ProposedTool) bool { return other.Name == t.Name })
		if t.Server == p.Server && !known {
			changes.Removed = append(changes.Removed, t.Name)
		}
	}
	return changes
}

func (t *ProposedTool) compare(current *Tool) []string {
	var what []string
	if t.Risk != Read && current.Risk == Read {
		what = append(what, "risk_level is read, but the proposal is write")
	}
	if current.schema == nil || !bytes.Equal(t.schema.text, current.schema.text) {
		what = append(what, "input_schema differs")
	}
	if t.Description != cleanText(current.Description, maxDescription) {
		what = append(what, "description differs")
	}
	return what
}

// Only is the proposal with no other tools than these.
func (p *Proposal) Only(names []string) *Proposal {
	only := &Proposal{Server: p.Server, Notes: p.Notes}
	for _, t := range p.Tools {
		if slices.Contains(names, t.Name) {
			only.Tools = append(only.Tools, t)
		}
	}
	return only
}
