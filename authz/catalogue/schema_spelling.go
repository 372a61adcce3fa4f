package catalogue

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// spelling knows which members are declared at one place in the arguments: by all
// schemas that can apply to the value there, whatever else they depend on. A name
// is declared if it is a property, is required, or others depend on it.
//
// Where nothing can be misspelt it is nil, so that the check of usual arguments
// looks at few of them.
type spelling struct {
	members map[string]*spelling // declared
	folded  map[string]string    // what is declared, by its folded name
	rest    *spelling            // of members that aren't declared
	items   *spelling
	isOpen  openness
	object  bool // what is here is meant to be an object
}

// openness is what happens to a member that isn't declared.
type openness uint8

const (
	closed    openness = iota + 1 // it is refused
	described                     // it is checked
	open                          // it passes
)

// misspelling says how a member must be written of whose folded name another is
// declared; empty if there is none.
func misspelling(folded map[string]string, name string) string {
	var room [64]byte
	if want, ok := folded[string(appendFolded(room[:0], name))]; ok && want != name {
		return "must be written " + quoteShort(want)
	}
	return ""
}

// check finds a misspelt member in a value.
func (s *spelling) check(value any) *finding {
	if s == nil {
		return nil
	}
	switch v := value.(type) {
	case []any:
		if s.items == nil {
			return nil
		}
		for i, item := range v {
			if wrong := s.items.check(item); wrong != nil {
				return wrong.below(strconv.Itoa(i))
			}
		}
	case map[string]any:
		if s.isOpen != closed {
			return s.checkMembers(v)
		}
		for name, below := range s.members {
			if wrong := below.check(v[name]); wrong != nil {
				return wrong.below(name)
			}
		}
	}
	return nil
}

func (s *spelling) checkMembers(object map[string]any) *finding {
	for name, value := range object {
		below, declared := s.members[name]
		if !declared {
			if problem := misspelling(s.folded, name); problem != "" {
				return &finding{[]string{name}, problem}
			}
			below = s.rest
		}
		if wrong := below.check(value); wrong != nil {
			return wrong.below(name)
		}
	}
	return nil
}

// below puts a token before the path of a finding.
func (f *finding) below(token string) *finding {
	f.path = slices.Insert(f.path, 0, token)
	return f
}

// appendFolded appends a form that all strings have in common that
// strings.EqualFold holds equal: each rune becomes the least of its folding orbit.
func appendFolded(b []byte, s string) []byte {
	for i, r := range s {
		switch {
		case 'a' <= r && r <= 'z':
			b = append(b, s[i]-'a'+'A')
		case r < utf8.RuneSelf:
			b = append(b, s[i])
		default:
			least := r
			for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
				least = min(least, f)
			}
			b = utf8.AppendRune(b, least)
		}
	}
	return b
}

// speller makes the places of a schema. Places where the same schemas apply are one.
type speller struct {
	ids    map[*jsonschema.Schema]uint32
	places map[string]*spelling
	order  []*spelling
	known  map[*jsonschema.Schema]openness
	err    error
}

// newSpelling returns the spelling of arguments, nil if nothing can be spelled
// wrong, and the places at which members that aren't declared pass.
func newSpelling(root *jsonschema.Schema) (s *spelling, openPlaces []string, err error) {
	b := speller{
		ids:    make(map[*jsonschema.Schema]uint32),
		places: make(map[string]*spelling),
		known:  make(map[*jsonschema.Schema]openness),
	}
	s = b.place([]*jsonschema.Schema{root})
	if b.err != nil {
		return nil, nil, b.err
	}
	openPlaces = s.openPlaces(nil, make(map[*spelling]bool))
	needed := b.needed()
	for _, p := range b.order {
		p.prune(needed)
	}
	if !needed[s] {
		s = nil
	}
	return s, openPlaces, nil
}

// place returns the spelling where these schemas apply; nil if there are none.
func (b *speller) place(apply []*jsonschema.Schema) *spelling {
	all := b.closure(apply)
	if len(all) == 0 || b.err != nil {
		return nil
	}
	isOpen := b.most(apply)
	key := append(make([]byte, 0, 4*len(all)+1), byte(isOpen))
	for _, s := range all {
		key = binary.BigEndian.AppendUint32(key, b.ids[s])
	}
	if p, ok := b.places[string(key)]; ok {
		return p
	}
	if len(b.places) == maxSubschemas {
		b.err = errors.New("describes too many places in the arguments")
		return nil
	}
	p := &spelling{members: make(map[string]*spelling), folded: make(map[string]string), isOpen: isOpen}
	b.places[string(key)] = p
	b.order = append(b.order, p)
	var rest, items []*jsonschema.Schema
	for _, s := range all {
		p.object = p.object || s.Types != nil && *s.Types == objectMask
		for _, name := range declares(s) {
			p.members[name] = nil
		}
		rest = slices.AppendSeq(rest, maps.Values(s.PatternProperties))
		rest = schemasOf(rest, s.AdditionalProperties, s.UnevaluatedProperties)
		items = schemasOf(items, s.PrefixItems, s.Items2020, s.Items, s.AdditionalItems, s.Contains, s.UnevaluatedItems)
	}
	for _, name := range slices.Sorted(maps.Keys(p.members)) {
		p.folded[string(appendFolded(nil, name))] = name
		p.members[name] = b.place(member(all, name))
	}
	p.rest, p.items = b.place(rest), b.place(items)
	return p
}

// closure is the schemas and all that they apply to the same value, once and in
// a stable order.
func (b *speller) closure(apply []*jsonschema.Schema) []*jsonschema.Schema {
	seen := make(map[*jsonschema.Schema]bool)
	var add func(list []*jsonschema.Schema)
	add = func(list []*jsonschema.Schema) {
		for _, s := range list {
			if seen[s] || s.Bool != nil || !takesContainers(s) {
				continue
			}
			if seen[s] = true; b.ids[s] == 0 {
				b.ids[s] = uint32(len(b.ids) + 1) //nolint:gosec // there are at most maxSubschemas
			}
			add(inPlace(s))
		}
	}
	add(apply)
	maps.DeleteFunc(seen, func(s *jsonschema.Schema, _ bool) bool { return isReference(s) })
	return slices.SortedFunc(maps.Keys(seen), func(x, y *jsonschema.Schema) int { return int(b.ids[x]) - int(b.ids[y]) })
}

// isReference tells a schema that stands for another.
func isReference(s *jsonschema.Schema) bool {
	return s.Ref != nil && len(inPlace(s)) == 1 && len(inside(s)) == 0 && len(declares(s)) == 0 &&
		s.Types == nil && s.AdditionalProperties == nil
}

// declares are the names of members that a schema knows.
func declares(s *jsonschema.Schema) []string {
	names := slices.AppendSeq(slices.Clone(s.Required), maps.Keys(s.Properties))
	names = slices.AppendSeq(names, maps.Keys(s.DependentSchemas))
	for name, more := range s.DependentRequired {
		names = append(append(names, name), more...)
	}
	for name, more := range s.Dependencies {
		list, _ := more.([]string)
		names = append(append(names, name), list...)
	}
	return names
}

// member are the schemas that these apply to their member of this name.
func member(all []*jsonschema.Schema, name string) []*jsonschema.Schema {
	var list []*jsonschema.Schema
	for _, s := range all {
		property, evaluated := s.Properties[name]
		if evaluated {
			list = append(list, property)
		}
		for pattern, sub := range s.PatternProperties {
			if pattern.MatchString(name) {
				list, evaluated = append(list, sub), true
			}
		}
		if !evaluated {
			list = schemasOf(list, s.AdditionalProperties)
		}
		list = schemasOf(list, s.UnevaluatedProperties)
	}
	return list
}

// openness is how open a schema is, with all that it applies in place.
func (b *speller) openness(s *jsonschema.Schema) openness {
	if least, ok := b.known[s]; ok {
		return least
	}
	if s.Bool != nil && !*s.Bool || s.Types != nil && *s.Types&objectMask == 0 || !takesContainers(s) {
		return closed // to objects
	}
	b.known[s] = open // while it is looked at
	least := min(additional(s), b.unevaluated(s))
	for _, sub := range schemasOf(slices.Clone(s.AllOf), s.Ref, s.RecursiveRef) {
		least = min(least, b.openness(sub))
	}
	if len(s.AnyOf) != 0 {
		least = min(least, b.most(s.AnyOf))
	}
	if len(s.OneOf) != 0 {
		least = min(least, b.most(s.OneOf))
	}
	if s.Then != nil && s.Else != nil {
		least = min(least, b.most([]*jsonschema.Schema{s.Then, s.Else}))
	}
	b.known[s] = least
	return least
}

// most is how open the most open of several forms is.
func (b *speller) most(forms []*jsonschema.Schema) openness {
	most := closed
	for _, s := range forms {
		most = max(most, b.openness(s))
	}
	return most
}

func additional(s *jsonschema.Schema) openness {
	switch v := s.AdditionalProperties.(type) {
	case bool:
		if !v && len(s.PatternProperties) == 0 {
			return closed
		}
		if v {
			return open
		}
		return described
	case *jsonschema.Schema:
		return describes(v)
	}
	return open
}

// describes tells a schema from one that any value fits.
func describes(s *jsonschema.Schema) openness {
	switch {
	case s.Bool != nil && !*s.Bool:
		return closed
	case s.Types == nil && s.Const == nil && s.Enum == nil && len(inPlace(s)) == 0 && len(inside(s)) == 0:
		return open
	}
	return described
}

// unevaluated is how open s is by its unevaluatedProperties, which is for what no
// schema in place has accepted.
func (b *speller) unevaluated(s *jsonschema.Schema) openness {
	if s.UnevaluatedProperties == nil {
		return open
	}
	least := describes(s.UnevaluatedProperties)
	for _, sub := range b.closure([]*jsonschema.Schema{s}) {
		if sub.AdditionalProperties != nil {
			least = max(least, additional(sub))
		}
		if len(sub.PatternProperties) != 0 || sub != s && sub.UnevaluatedProperties != nil {
			least = max(least, described)
		}
	}
	return least
}

// needed are the places where, or below which, something can be misspelt.
func (b *speller) needed() map[*spelling]bool {
	needed := make(map[*spelling]bool)
	for changed := true; changed; {
		changed = false
		for _, p := range slices.Backward(b.order) { // what is below comes later
			if needed[p] {
				continue
			}
			if p.isOpen != closed && len(p.folded) != 0 || needed[p.rest] || needed[p.items] ||
				slices.ContainsFunc(slices.Collect(maps.Values(p.members)), func(m *spelling) bool { return needed[m] }) {
				needed[p], changed = true, true
			}
		}
	}
	return needed
}

// prune leaves of a place what the check has to look at.
func (s *spelling) prune(needed map[*spelling]bool) {
	for name, below := range s.members {
		switch {
		case needed[below]:
		case s.isOpen == closed:
			delete(s.members, name)
		default:
			s.members[name] = nil
		}
	}
	if !needed[s.rest] {
		s.rest = nil
	}
	if !needed[s.items] {
		s.items = nil
	}
}

// openPlaces are the places below which members pass that aren't declared, as
// JSON pointers in which * is any item or member.
func (s *spelling) openPlaces(path []string, seen map[*spelling]bool) []string {
	if s == nil || seen[s] {
		return nil
	}
	seen[s] = true
	var list []string
	if s.isOpen == open && (s.object || len(s.members) != 0) {
		list = append(list, strings.TrimPrefix(slashed(path), "/"))
	}
	for _, name := range slices.Sorted(maps.Keys(s.members)) {
		list = append(list, s.members[name].openPlaces(child(path, name), seen)...)
	}
	list = append(list, s.rest.openPlaces(child(path, "*"), seen)...)
	return append(list, s.items.openPlaces(child(path, "*"), seen)...)
}
