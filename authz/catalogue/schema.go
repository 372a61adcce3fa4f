package catalogue

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// maxSchema bounds the text of one schema, maxSchemaDepth its nesting.
const (
	maxSchema      = 256 << 10
	maxSchemaDepth = 64
)

// schemaURL stands for the one document that references may lead into.
const schemaURL = "schema:///input"

// schema constrains a tool's arguments.
//
// It is JSON Schema 2020-12, or the older draft that its $schema names. Formats
// are asserted: what a reader takes for a rule must be one. Regular expressions
// are those of Go (RE2), which take linear time.
type schema struct {
	compiled *jsonschema.Schema
	text     []byte   // of the document, canonical
	open     []string // places where undeclared members pass

	// plain decides alone. Without it the library does.
	plain    *plainSchema
	refutes  *jsonschema.Schema // valid if compiled is not; what it doesn't want to know costs less
	work     []int              // by depth; see boundedWork
	spelling *spelling          // nil: nothing can be misspelt
}

// ValidateArguments checks the arguments against the tool's schema; without one
// everything is valid. Arguments are what operation.Operation has: numbers are
// json.Number of bounded length and exponent. The error is made for the caller:
// it names at most three arguments with what is expected, and holds no values.
//
// A member that isn't declared where it stands, and differs from one that is
// only in letter case, is refused also by a schema that is open: a lenient server
// would take it for the declared one, whose rules nobody checked. Arguments are
// refused, too, that a schema with references or alternatives can't be checked
// for with bounded work.
func (t *Tool) ValidateArguments(args map[string]any) error {
	s := t.schema
	if s == nil {
		return nil
	}
	if s.plain == nil {
		return s.ask(args)
	}
	if s.plain.accepts(args, nil) {
		return nil
	}
	var r report
	s.plain.accepts(args, &r)
	return errors.New(r.String())
}

// ask asks the library.
func (s *schema) ask(args map[string]any) error {
	if wrong := s.spelling.check(args); wrong != nil {
		return errors.New(describe([]finding{*wrong}, ""))
	}
	switch effort := work(s.work, args); {
	case effort > maxWork:
		return errors.New("the arguments are too many, or nested too deeply, to be checked with this tool's schema: send fewer at once")
	case effort > maxExplainedWork && s.refutes.Validate(args) == nil:
		return errors.New("the arguments don't match the tool's schema; they are too many to say where")
	case effort > maxExplainedWork:
		return nil
	}
	err := s.compiled.Validate(args)
	if err == nil {
		return nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return errors.New("the arguments don't match the tool's schema")
	}
	found := findings(invalid)
	return errors.New(describe(found[:min(len(found), maxFindings)], more(len(found)-maxFindings)))
}

// newSchema compiles a document of JSON values; see jsonValue and parseJSON.
func newSchema(document any) (*schema, []finding) {
	root, ok := document.(map[string]any)
	if !ok || root["type"] != "object" {
		return nil, []finding{{nil, "must have type: object, as arguments are an object"}}
	}
	text, err := json.Marshal(document)
	if err != nil {
		return nil, []finding{{nil, err.Error()}}
	}
	if len(text) > maxSchema {
		return nil, []finding{{nil, fmt.Sprintf("has %d bytes, at most %d are allowed", len(text), maxSchema)}}
	}
	compiler, loaded := newSchemaCompiler()
	defer loaded()
	if err := compiler.AddResource(schemaURL, document); err != nil {
		return nil, schemaFindings(err)
	}
	s := &schema{text: text}
	if s.compiled, err = compiler.Compile(schemaURL); err != nil {
		return nil, schemaFindings(err)
	}
	if s.work, err = boundedWork(s.compiled); err != nil {
		return nil, []finding{{nil, err.Error()}}
	}
	if s.spelling, s.open, err = newSpelling(s.compiled); err != nil {
		return nil, []finding{{nil, err.Error()}}
	}
	if isPlain(root, true) {
		s.plain, s.spelling = newPlainSchema(s.compiled), nil
		return s, nil
	}
	if movesReferences(document) {
		return nil, []finding{{nil, "has $dynamicRef or $recursiveRef beside a second $id, so where they lead is known only with the arguments"}}
	}
	if s.refutes, err = compileRefuting(compiler); err != nil {
		return nil, schemaFindings(err)
	}
	return s, nil
}

// newSchemaCompiler returns a compiler, and what to call when all is compiled.
func newSchemaCompiler() (compiler *jsonschema.Compiler, loaded func()) {
	compiler = jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	compiler.UseLoader(noLoader{})
	loading := true
	compiler.UseRegexpEngine(func(text string) (jsonschema.Regexp, error) {
		if loading {
			return regexp.Compile(text)
		}
		return nil, nil // for an argument of the format regex: see assertedFormats
	})
	return compiler, func() { loading = false }
}

// compileRefuting compiles the opposite of what the compiler has. The library
// collects no errors inside of "not".
func compileRefuting(compiler *jsonschema.Compiler) (*jsonschema.Schema, error) {
	const url = "schema:///refuting"
	if err := compiler.AddResource(url, map[string]any{"not": map[string]any{"$ref": schemaURL}}); err != nil {
		return nil, err
	}
	return compiler.Compile(url)
}

// noLoader refuses every reference out of the document: loading a catalogue
// fetches nothing.
type noLoader struct{}

var errExternal = errors.New("is outside of this schema, and nothing is fetched")

func (noLoader) Load(string) (any, error) { return nil, errExternal }

// schemaFindings says what is wrong with a schema, and where in it.
func schemaFindings(err error) []finding {
	var (
		invalid  *jsonschema.SchemaValidationError
		meta     *jsonschema.ValidationError
		load     *jsonschema.LoadURLError
		notFound *jsonschema.JSONPointerNotFoundError
		anchor   *jsonschema.AnchorNotFoundError
	)
	switch {
	case errors.As(err, &invalid) && errors.As(invalid.Err, &meta):
		found := findings(meta)
		for i := range found {
			found[i].path = append(pointerOf(invalid.URL), found[i].path...)
		}
		return found
	case errors.As(err, &load):
		return []finding{{nil, fmt.Sprintf("%s %v", quoteShort(load.URL), load.Err)}}
	case errors.As(err, &notFound):
		return []finding{{nil, "$ref leads nowhere: " + quoteShort(strings.TrimPrefix(notFound.URL, schemaURL))}}
	case errors.As(err, &anchor):
		return []finding{{nil, "$ref leads nowhere: " + quoteShort(strings.TrimPrefix(anchor.Reference, schemaURL))}}
	}
	return []finding{{nil, err.Error()}}
}

// movesReferences reports whether a document has references that lead to another
// place for each way that leads to them: dynamic ones in a document of several
// resources.
func movesReferences(document any) bool {
	var dynamic, resources bool
	var look func(value any, root bool)
	look = func(value any, root bool) {
		switch v := value.(type) {
		case map[string]any:
			for name, member := range v {
				if _, isText := member.(string); isText {
					dynamic = dynamic || name == "$dynamicRef" || name == "$recursiveRef"
					resources = resources || name == "$id" && !root
				}
				look(member, false)
			}
		case []any:
			for _, item := range v {
				look(item, false)
			}
		}
	}
	look(document, true)
	return dynamic && resources
}

// pointerOf returns the tokens of the JSON pointer in a URL's fragment.
func pointerOf(location string) []string {
	_, fragment, _ := strings.Cut(location, "#")
	if pointer, err := url.PathUnescape(fragment); err == nil && strings.HasPrefix(pointer, "/") {
		tokens := strings.Split(pointer[1:], "/")
		for i, t := range tokens {
			tokens[i] = strings.ReplaceAll(strings.ReplaceAll(t, "~1", "/"), "~0", "~")
		}
		return tokens
	}
	return nil
}

// compileDocument compiles a schema and reports its problems at the nodes that
// locate finds. nil after a problem.
func (l *loader) compileDocument(r *reader, document any, locate func(pointer []string) *yaml.Node) *schema {
	s, found := newSchema(document)
	for _, f := range found {
		r.fail(locate(f.path), "input_schema%s %s", slashed(f.path), f.text)
	}
	if s != nil {
		for _, f := range unknownFormats(document, nil) {
			l.warn(r.file, locate(f.path).Line, "%sinput_schema%s %s", r.context, slashed(f.path), f.text)
		}
	}
	return s
}

// assertedFormats are the formats that values are checked for. regex is none: to
// compile what a stranger sends can take a thousand times its size, and few
// servers have just the syntax of Go.
func assertedFormats() []string {
	return []string{
		"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "iri", "iri-reference", "json-pointer",
		"period", "relative-json-pointer", "semver", "time", "uri", "uri-reference", "uri-template", "uuid",
	}
}

// unknownFormats finds formats that look like rules and are none.
func unknownFormats(value any, path []string) []finding {
	var found []finding
	switch v := value.(type) {
	case map[string]any:
		// A string can't be the schema of a property with this name.
		if format, ok := v["format"].(string); ok && !slices.Contains(assertedFormats(), format) {
			found = append(found, finding{child(path, "format"), quoteShort(format) + " is no known format and so not checked"})
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			found = append(found, unknownFormats(v[name], child(path, name))...)
		}
	case []any:
		for i, item := range v {
			found = append(found, unknownFormats(item, child(path, strconv.Itoa(i)))...)
		}
	}
	return found
}

// child is a copy: paths are kept, and siblings must not share an array.
func child(path []string, name string) []string { return append(slices.Clone(path), name) }
