package catalogue

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// accepts reports whether a value is valid. Without a report it stops at the
// first thing that is wrong, and doesn't allocate before; with one it goes on
// until the report has enough.
func (s *plainSchema) accepts(value any, r *report) bool {
	switch {
	case s.Types != nil && !s.allows(value):
		return r.add(&kind.Type{Got: strings.Join(typeOf(value).ToStrings(), ""), Want: s.Types.ToStrings()})
	case s.constant != nil && !s.constant.has(value):
		return r.add(&kind.Const{Want: *s.Const})
	case s.enum != nil && !s.enum.has(value):
		return r.add(&kind.Enum{Want: s.Enum.Values})
	case s.Format != nil && s.Format.Validate(value) != nil:
		return r.add(&kind.Format{Want: s.Format.Name})
	}
	switch v := value.(type) {
	case nil, bool:
		return true
	case json.Number:
		return s.acceptsNumber(string(v), r)
	case string:
		return s.acceptsString(v, r)
	case []any:
		return s.acceptsArray(v, r)
	case map[string]any:
		return s.acceptsObject(v, r)
	}
	return r.add(nil)
}

var (
	nullMask    = typeMask("null")
	booleanMask = typeMask("boolean")
	numberMask  = typeMask("number")
	integerMask = typeMask("integer")
	stringMask  = typeMask("string")
	arrayMask   = typeMask("array")
	objectMask  = typeMask("object")
)

// typeMask is the bit of a JSON Schema type's name.
func typeMask(name string) jsonschema.Types {
	var t jsonschema.Types
	t.Add(name)
	return t
}

// typeOf is the type of a value; 0 if it is none of JSON's.
func typeOf(value any) jsonschema.Types {
	switch value.(type) {
	case nil:
		return nullMask
	case bool:
		return booleanMask
	case json.Number:
		return numberMask
	case string:
		return stringMask
	case []any:
		return arrayMask
	case map[string]any:
		return objectMask
	}
	return 0
}

func (s *plainSchema) allows(value any) bool {
	t := typeOf(value)
	if *s.Types&t != 0 {
		return true
	}
	number, _ := value.(json.Number)
	return t == numberMask && *s.Types&integerMask != 0 && isWhole(string(number))
}

func isWhole(number string) bool {
	if !strings.ContainsAny(number, ".eE") {
		return true
	}
	var room [64]byte
	return decimalOf(number, room[:0]).isWhole()
}

func (s *plainSchema) acceptsNumber(text string, r *report) bool {
	if s.minimum == nil && s.maximum == nil && s.above == nil && s.below == nil {
		return true
	}
	var room [64]byte
	d, ok := decimalOf(text, room[:0]), true
	if s.minimum != nil && d.compare(*s.minimum) < 0 {
		ok = r.add(&kind.Minimum{Want: s.Minimum})
	}
	if s.maximum != nil && d.compare(*s.maximum) > 0 {
		ok = r.add(&kind.Maximum{Want: s.Maximum})
	}
	if s.above != nil && d.compare(*s.above) <= 0 {
		ok = r.add(&kind.ExclusiveMinimum{Want: s.ExclusiveMinimum})
	}
	if s.below != nil && d.compare(*s.below) >= 0 {
		ok = r.add(&kind.ExclusiveMaximum{Want: s.ExclusiveMaximum})
	}
	return ok
}

func (s *plainSchema) acceptsString(text string, r *report) bool {
	ok := true
	if s.MinLength != nil || s.MaxLength != nil {
		n := utf8.RuneCountInString(text)
		if s.MinLength != nil && n < *s.MinLength {
			ok = r.add(&kind.MinLength{Want: *s.MinLength})
		}
		if s.MaxLength != nil && n > *s.MaxLength {
			ok = r.add(&kind.MaxLength{Want: *s.MaxLength})
		}
	}
	if s.Pattern != nil && (ok || r != nil) && !s.Pattern.MatchString(text) {
		ok = r.add(&kind.Pattern{Want: s.Pattern.String()})
	}
	return ok
}

func (s *plainSchema) acceptsArray(list []any, r *report) bool {
	ok := true
	if s.MinItems != nil && len(list) < *s.MinItems {
		ok = r.add(&kind.MinItems{Want: *s.MinItems})
	}
	if s.MaxItems != nil && len(list) > *s.MaxItems {
		ok = r.add(&kind.MaxItems{Want: *s.MaxItems})
	}
	if s.items == nil || !ok && r.hasEnough() {
		return ok
	}
	for i := range list {
		r.enter(step{index: i})
		if !s.items.accepts(list[i], r) {
			ok = false
		}
		r.leave()
		if !ok && r.hasEnough() {
			return false
		}
	}
	return ok
}

func (s *plainSchema) acceptsObject(object map[string]any, r *report) bool {
	ok := true
	for _, name := range s.Required {
		if _, there := object[name]; there {
			continue
		}
		ok = false
		if r.addBelow(name, "is missing"); r.hasEnough() {
			return false
		}
	}
	if s.members == nil && s.rest == nil && s.folded == nil && !s.closed {
		return ok
	}
	for name, value := range object {
		member, declared := s.members[name]
		if !declared {
			if problem := s.undeclared(name); problem != "" {
				ok = false
				if r.addBelow(name, problem); r.hasEnough() {
					return false
				}
				continue
			}
			member = s.rest
		}
		if member == nil {
			continue
		}
		r.enter(step{-1, name})
		if !member.accepts(value, r) {
			ok = false
		}
		r.leave()
		if !ok && r.hasEnough() {
			return false
		}
	}
	return ok
}

// undeclared says what is wrong with a member that isn't a property.
func (s *plainSchema) undeclared(name string) string {
	if s.closed {
		return "is unknown"
	}
	problem := misspelling(s.folded, name)
	if problem != "" && slices.Contains(s.Required, name) { // both are declared
		return ""
	}
	return problem
}

// maxCounted is how many findings a report counts. It keeps small what arguments
// can make us say that are wrong in a hundred thousand places.
const maxCounted = 100

// report collects what is wrong with arguments, however many places there are,
// in little memory. nil is the report that nobody wants.
type report struct {
	path  []step
	first []finding // by path, at most maxFindings
	n     int
}

// step is an item's index, or a member's name if that is negative.
type step struct {
	index int
	name  string
}

func (r *report) enter(s step) {
	if r != nil {
		r.path = append(r.path, s)
	}
}

func (r *report) leave() {
	if r != nil {
		r.path = r.path[:len(r.path)-1]
	}
}

func (r *report) hasEnough() bool { return r == nil || r.n >= maxCounted }

// add adds what a keyword wants at the place that was entered. It returns false:
// the value is not valid.
func (r *report) add(k jsonschema.ErrorKind) bool {
	if r != nil && r.count() {
		r.insert(finding{r.place(), expected(k)})
	}
	return false
}

// addBelow adds what is wrong with a member there.
func (r *report) addBelow(name, text string) {
	if r == nil {
		return
	}
	r.enter(step{-1, name})
	if r.count() {
		r.insert(finding{r.place(), text})
	}
	r.leave()
}

// count counts a finding and reports whether it may be one of the first.
func (r *report) count() bool {
	r.n++
	return len(r.first) < maxFindings || slices.Compare(r.place(), r.first[maxFindings-1].path) <= 0
}

// place copies the path: it goes on changing.
func (r *report) place() []string {
	path := make([]string, len(r.path))
	for i, s := range r.path {
		if path[i] = s.name; s.index >= 0 {
			path[i] = strconv.Itoa(s.index)
		}
	}
	return path
}

func (r *report) insert(f finding) {
	i, _ := slices.BinarySearchFunc(r.first, f, compareFindings)
	r.first = slices.Insert(r.first, i, f)
	r.first = r.first[:min(len(r.first), maxFindings)]
}

func compareFindings(a, b finding) int {
	return cmp.Or(slices.Compare(a.path, b.path), cmp.Compare(a.text, b.text))
}

func (r *report) String() string {
	if r.n >= maxCounted {
		return describe(r.first, "; and more")
	}
	return describe(r.first, more(r.n-len(r.first)))
}
