package catalogue

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sallyport/sallyport/internal/strictyaml"
)

// reader turns the nodes of one YAML file into Go values and reports whatever is
// not exactly as it should be. After a problem the zero value is returned and
// reading goes on.
type reader struct {
	file     string
	context  string // put before each problem: which entry it is about
	problems *problems
}

func (r *reader) fail(n *yaml.Node, format string, args ...any) {
	r.problems.add(r.file, n.Line, "%s", r.context+fmt.Sprintf(format, args...))
}

// document parses a file with exactly one YAML document; nil after a problem.
func (r *reader) document(data []byte) *yaml.Node {
	root, line, err := strictyaml.Parse(data)
	switch {
	case err != nil:
		r.problems.add(r.file, line, "%v", err)
	case root == nil:
		r.problems.add(r.file, 0, "is empty")
	}
	return root
}

// mapping hands each value of a mapping to the function of its key. A key
// without one, or one that comes twice, is a problem.
func (r *reader) mapping(n *yaml.Node, what string, keys map[string]func(*yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, "%s must be a mapping%s", what, r.isAlias(n))
		return
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, known := keys[key.Value]
		switch first, twice := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode || !known:
			r.fail(key, "unknown key %s in %s (known: %s)", quoteShort(key.Value), what,
				strings.Join(slices.Sorted(maps.Keys(keys)), ", "))
		case twice:
			r.fail(key, "key %q is already set in line %d", key.Value, first)
		default:
			seen[key.Value] = key.Line
			read(value)
		}
	}
}

// isAlias explains the most likely reason for a value of the wrong kind.
func (r *reader) isAlias(n *yaml.Node) string {
	if n.Kind == yaml.AliasNode {
		return " (anchors and aliases are not allowed)"
	}
	return ""
}

// sequence returns the items of a list that has at most limit of them.
func (r *reader) sequence(n *yaml.Node, what string, limit int) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		r.fail(n, "%s must be a list%s", what, r.isAlias(n))
		return nil
	}
	if len(n.Content) > limit {
		r.fail(n, "%s has %d items, at most %d are allowed", what, len(n.Content), limit)
		return nil
	}
	return n.Content
}

// text reads a string that is not empty and has at most limit bytes.
func (r *reader) text(n *yaml.Node, what string, limit int) string {
	switch {
	case n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str":
		r.fail(n, "%s must be a string%s", what, r.isAlias(n))
	case n.Value == "":
		r.fail(n, "%s must not be empty", what)
	case len(n.Value) > limit:
		r.fail(n, "%s has %d bytes, at most %d are allowed", what, len(n.Value), limit)
	default:
		return n.Value
	}
	return ""
}

// texts reads a list of strings, each of the given form and no two alike.
func (r *reader) texts(n *yaml.Node, what string, limit int, form *regexp.Regexp) []string {
	var list []string
	for _, item := range r.sequence(n, what, limit) {
		s := r.text(item, "each of "+what, 256)
		switch {
		case s == "":
		case !form.MatchString(s):
			r.fail(item, "%s: %s has characters that are not allowed", what, quoteShort(s))
		case slices.Contains(list, s):
			r.fail(item, "%s: %q is there twice", what, s)
		default:
			list = append(list, s)
		}
	}
	return list
}

func (r *reader) boolean(n *yaml.Node, what string) *bool {
	// YAML 1.1's yes and on are strings to this parser, and so refused here.
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!bool" {
		value := strings.EqualFold(n.Value, "true")
		return &value
	}
	r.fail(n, "%s must be true or false%s", what, r.isAlias(n))
	return nil
}

func (r *reader) integer(n *yaml.Node, what string, least, most int) *int {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" {
		value, err := strconv.Atoi(n.Value)
		if err == nil && value >= least && value <= most {
			return &value
		}
	}
	r.fail(n, "%s must be a whole number from %d to %d%s", what, least, most, r.isAlias(n))
	return nil
}

// choice reads one of the names; 0 after a problem.
func choice[T ~uint8](r *reader, n *yaml.Node, what string, names []string) T {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		if value := valueOf[T](names, n.Value); value != 0 {
			return value
		}
	}
	r.fail(n, "%s must be one of %s", what, strings.Join(names, ", "))
	return 0
}

// quoteShort quotes text of unknown origin and length.
func quoteShort(s string) string {
	const limit = 64
	if len(s) > limit {
		return strconv.QuoteToASCII(s[:limit]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
