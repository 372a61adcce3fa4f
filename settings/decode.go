package settings

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sallyport/sallyport/internal/strictyaml"
)

// Limits of a file. Aliases count as what they stand for, so that a small file
// can't become a large one. Depth needs no limit: a Config has none to offer.
const (
	maxBytes = 1 << 20
	maxNodes = 50_000
)

// decoder fills a Config from a YAML tree. It goes on after a problem, so that
// one run finds them all.
type decoder struct {
	*report
	nodes int
}

// field is what a struct field's tag says about its key.
type field struct {
	key   string
	one   bool // a list may be written as one value
	comma bool // a list may be written with commas
	index int
	file  string
	env   string
}

func fieldsOf(t reflect.Type) []field {
	fields := make([]field, 0, t.NumField())
	for i := range t.NumField() {
		sf := t.Field(i)
		key, options, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		fields = append(fields, field{
			key: key, index: i, one: options == "one", comma: options == "comma",
			file: sf.Tag.Get("file"), env: sf.Tag.Get("env"),
		})
	}
	return fields
}

// isSection reports whether a value of the type has keys of its own.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != reflect.TypeFor[time.Time]()
}

// decode reads one value into out. A null is as if the key weren't there.
func (d *decoder) decode(n *yaml.Node, path string, f field, out reflect.Value) {
	n, ok := d.enter(n, path)
	if !ok || isNull(n) {
		return
	}
	switch t := out.Type(); {
	case t.Kind() == reflect.Pointer:
		fresh := newWithDefaults(t.Elem())
		d.decode(n, path, f, fresh.Elem())
		out.Set(fresh)
	case isSection(t):
		d.section(n, path, out)
	case t.Kind() == reflect.Slice:
		d.list(n, path, f, out)
	case n.Kind != yaml.ScalarNode:
		d.broke(path, n.Line, "must be %s, not %s", describe(t), kindName(n))
	default:
		d.scalar(n, path, f, out)
	}
}

// enter follows an alias and counts the node against the limits.
func (d *decoder) enter(n *yaml.Node, path string) (*yaml.Node, bool) {
	d.nodes++
	if d.nodes == maxNodes {
		d.broke("", n.Line, "the file has more than %d values, aliases counted as what they stand for: shorten it", maxNodes)
	}
	if d.nodes >= maxNodes {
		return nil, false
	}
	if n.Kind == yaml.AliasNode { // an alias can't name an alias
		n = n.Alias
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.broke(path, n.Line, "has the tag %s: remove it, tags are not used here", clip(n.Tag))
		return nil, false
	}
	return n, true
}

// section reads a mapping. Keys that are unknown, doubled or not plain words
// are problems.
func (d *decoder) section(n *yaml.Node, path string, out reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.broke(path, n.Line, "must be a mapping (key: value), not %s", kindName(n))
		return
	}
	fields := fieldsOf(out.Type())
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		if name.Kind != yaml.ScalarNode || name.Value == "<<" {
			d.broke(path, name.Line, "a key must be a plain word: merge keys and composed keys are not used here")
			continue
		}
		key := join(path, clip(name.Value))
		if first, twice := seen[name.Value]; twice {
			d.broke(key, name.Line, "is already set in line %d: remove one", first)
			continue
		}
		seen[name.Value] = name.Line
		at := -1
		for j := range fields {
			if fields[j].key == name.Value {
				at = j
			}
		}
		if at < 0 {
			d.unknown(key, path, name, fields)
			continue
		}
		d.origins[key] = Origin{Layer: File, Line: name.Line}
		if isNullItem(value) { // the default stays, and problems with it stand here
			d.origins[key] = Origin{Layer: Default, Line: name.Line}
		}
		d.decode(value, key, fields[at], out.Field(fields[at].index))
	}
}

func (d *decoder) unknown(key, path string, name *yaml.Node, fields []field) {
	if hint, ok := plannedKey(key); ok {
		d.broke(key, name.Line, "is not available in this version: remove it%s", hint)
		return
	}
	keys := make([]string, len(fields))
	for i := range fields {
		keys[i] = fields[i].key
	}
	if near := nearest(name.Value, keys); near != "" {
		d.broke(key, name.Line, "is not a known key: did you mean %s?", near)
		return
	}
	d.broke(key, name.Line, "is not a known key: %s has %s", orFile(path), strings.Join(keys, ", "))
}

// list reads a sequence, of sections or of strings. It replaces a default.
func (d *decoder) list(n *yaml.Node, path string, f field, out reflect.Value) {
	if n.Kind == yaml.ScalarNode && (f.one || f.comma) {
		d.scalar(n, path, f, out)
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.broke(path, n.Line, "must be a list, not %s", kindName(n))
		return
	}
	element := out.Type().Elem()
	list := reflect.MakeSlice(out.Type(), 0, min(len(n.Content), 64))
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.origins[at] = Origin{Layer: File, Line: item.Line}
		value := newWithDefaults(element).Elem()
		if isNullItem(item) {
			d.broke(at, item.Line, "is empty: write a value or remove the entry")
		}
		d.decode(item, at, field{key: f.key}, value)
		list = reflect.Append(list, value)
	}
	out.Set(list)
}

// scalar reads one value. Only a string may have quotes, and only a string may
// go without a type of YAML's: `plaintext: true` is a mistake.
func (d *decoder) scalar(n *yaml.Node, path string, f field, out reflect.Value) {
	quoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	tag := n.ShortTag()
	var err error
	switch t := out.Type(); {
	case (t.Kind() == reflect.String || t.Kind() == reflect.Slice) && tag != "!!str" && tag != "!!timestamp":
		err = fmt.Errorf("must be text: put %s in quotes", clip(n.Value))
	case (t.Kind() == reflect.Bool || t == reflect.TypeFor[int]()) && quoted:
		err = fmt.Errorf("must be %s without quotes", describe(t))
	case t.Kind() == reflect.Bool && tag != "!!bool":
		err = fmt.Errorf("must be true or false, not %q", clip(n.Value))
	default:
		err = setText(out, n.Value, f)
	}
	if err != nil {
		d.broke(path, n.Line, "%v", err)
	}
}

// newWithDefaults returns a pointer to a new value with its defaults.
func newWithDefaults(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if d, ok := v.Interface().(interface{ setDefaults() }); ok {
		d.setDefaults()
	}
	return v
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// isNullItem is isNull for a value that enter hasn't seen.
func isNullItem(n *yaml.Node) bool {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return isNull(n)
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		return fmt.Sprintf("the value %q", clip(n.Value))
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func orFile(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

// readTree parses the bytes into the root of one document. Nil without a
// problem: the file is empty.
func readTree(data []byte) (root *yaml.Node, line int, err error) {
	if len(data) > maxBytes {
		return nil, 0, fmt.Errorf("is larger than %d bytes: shorten it", maxBytes)
	}
	if line, what := strangeCharacter(data); line > 0 {
		return nil, line, fmt.Errorf("holds %s: remove it", what)
	}
	return strictyaml.Parse(data)
}
