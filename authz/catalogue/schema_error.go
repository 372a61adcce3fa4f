package catalogue

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// finding is one thing that a value does not have as its schema wants it. The
// text says what is expected, and never what is there.
type finding struct {
	path []string // from the root of the value
	text string
}

// maxFindings is how many findings one refusal names.
const maxFindings = 3

// describe makes the text of a refusal; rest says what is not in it.
func describe(found []finding, rest string) string {
	var b strings.Builder
	for i, f := range found {
		if i > 0 {
			b.WriteString("; ")
		}
		if len(f.path) == 0 {
			b.WriteString("the arguments " + f.text)
		} else {
			b.WriteString("argument " + quoteShort(slashed(f.path)[1:]) + " " + f.text)
		}
	}
	return b.String() + rest
}

// more says that there are n more findings.
func more(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf("; and %d more", n)
}

// slashed is a path as a JSON pointer (RFC 6901).
func slashed(path []string) string {
	var b strings.Builder
	for _, token := range path {
		b.WriteString("/" + strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1"))
	}
	return b.String()
}

// findings lists the leaves of an error by path, without repetition: the library
// finds them in the random order of maps.
func findings(err *jsonschema.ValidationError) []finding {
	found := leaves(err)
	slices.SortFunc(found, compareFindings)
	return slices.CompactFunc(found, func(a, b finding) bool {
		return slices.Equal(a.path, b.path) && a.text == b.text
	})
}

func leaves(err *jsonschema.ValidationError) []finding {
	at := slices.Clone(err.InstanceLocation)
	one := func(format string, args ...any) []finding { return []finding{{at, fmt.Sprintf(format, args...)}} }
	each := func(names []string, format string, args ...any) []finding {
		var found []finding
		for _, name := range names {
			found = append(found, finding{child(at, name), fmt.Sprintf(format, args...)})
		}
		return found
	}
	switch k := err.ErrorKind.(type) {
	case *kind.AnyOf:
		return alternatives(err)
	case *kind.OneOf:
		if len(k.Subschemas) != 0 {
			return one("must have only one of the forms that are allowed here")
		}
		return alternatives(err)
	case *kind.PropertyNames:
		var why []string
		for _, cause := range err.Causes {
			for _, f := range leaves(cause) {
				why = append(why, f.text)
			}
		}
		// Without a path: the library may have overwritten this one's.
		return []finding{{nil, fmt.Sprintf("must not have a member named %s: a name %s", quoteShort(k.Property), strings.Join(why, " and "))}}
	case *kind.Required:
		return each(k.Missing, "is missing")
	case *kind.DependentRequired:
		return each(k.Missing, "is missing, as %s is there", quoteShort(k.Prop))
	case *kind.Dependency:
		return each(k.Missing, "is missing, as %s is there", quoteShort(k.Prop))
	case *kind.AdditionalProperties:
		return each(k.Properties, "is unknown")
	case *kind.FalseSchema:
		return one("is not allowed")
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		var found []finding
		for _, cause := range err.Causes {
			found = append(found, leaves(cause)...)
		}
		return found
	}
	return one("%s", expected(err.ErrorKind))
}

// alternatives explains why none of several forms fits: by the one that is of
// the right type, if there is one, or by the types of all.
func alternatives(err *jsonschema.ValidationError) []finding {
	var types []string
	var others []*jsonschema.ValidationError
	for _, cause := range err.Causes {
		t, ok := cause.ErrorKind.(*kind.Type)
		if ok && slices.Equal(cause.InstanceLocation, err.InstanceLocation) {
			types = append(types, t.Want...)
		} else {
			others = append(others, cause)
		}
	}
	switch len(others) {
	case 0:
		return []finding{{slices.Clone(err.InstanceLocation), "must be " + oneOf(types)}}
	case 1:
		return leaves(others[0])
	}
	return []finding{{slices.Clone(err.InstanceLocation), "must have one of the forms that are allowed here"}}
}

// expected says what a keyword wants.
func expected(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return "must be " + oneOf(k.Want) + ", not " + k.Got
	case *kind.Const:
		return "must be " + display(k.Want)
	case *kind.Enum:
		values := make([]string, len(k.Want))
		for i, v := range k.Want {
			values[i] = display(v)
		}
		return "must be " + oneOf(values)
	case *kind.Format:
		if k.Want == "regex" { // of a schema's own patterns
			return "must be a regular expression of RE2, so without look-around and back-references"
		}
		return "must be of the format " + quoteShort(k.Want)
	case *kind.Pattern:
		return "must match the pattern " + quoteShort(k.Want)
	case *kind.MinLength:
		return fmt.Sprintf("must have at least %d characters", k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("must have at most %d characters", k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("must have at least %d items", k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %d items", k.Want)
	case *kind.MinProperties:
		return fmt.Sprintf("must have at least %d members", k.Want)
	case *kind.MaxProperties:
		return fmt.Sprintf("must have at most %d members", k.Want)
	case *kind.Minimum:
		return "must be at least " + displayNumber(k.Want)
	case *kind.Maximum:
		return "must be at most " + displayNumber(k.Want)
	case *kind.ExclusiveMinimum:
		return "must be more than " + displayNumber(k.Want)
	case *kind.ExclusiveMaximum:
		return "must be less than " + displayNumber(k.Want)
	case *kind.MultipleOf:
		return "must be a multiple of " + displayNumber(k.Want)
	case *kind.Not:
		return "must not have the form that is excluded here"
	case *kind.UniqueItems:
		return "must not have equal items"
	}
	if k == nil || len(k.KeywordPath()) == 0 { // a reference that leads to itself
		return "can't be checked with this schema"
	}
	return "must fit the schema's " + quoteShort(strings.Join(k.KeywordPath(), "/"))
}

// oneOf lists what a schema allows, as far as that is short.
func oneOf(values []string) string {
	const longest = 160
	values = slices.Compact(slices.Clone(values))
	text := strings.Join(values, ", ")
	if len(text) > longest {
		return fmt.Sprintf("one of %d values", len(values))
	}
	if last := len(values) - 1; last > 0 {
		return strings.Join(values[:last], ", ") + " or " + values[last]
	}
	return text
}

// display shows a value of the schema.
func display(value any) string {
	switch v := value.(type) {
	case string:
		return quoteShort(v)
	case nil:
		return "null"
	case bool, json.Number:
		return fmt.Sprint(v)
	}
	return "the value in the schema"
}

func displayNumber(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}
