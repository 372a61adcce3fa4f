package catalogue

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// ProposeOpenAPI proposes entries and routes for the operations of an OpenAPI 3
// document (JSON or YAML): GET and HEAD are read (RFC 9110 §9.2.1), all else is
// write. The tool is named by the operationId. References out of the document are
// an error, and never followed.
//
// A REST call's arguments are one flat object: the parameters of path and query,
// which are strings, and the members of the JSON body. The schemas follow that,
// and refuse what the document doesn't know.
func ProposeOpenAPI(server string, document []byte) (*Proposal, error) {
	if len(document) > maxFile {
		return nil, fmt.Errorf("the document has %d bytes, at most %d are allowed", len(document), maxFile)
	}
	doc, err := openapi3.NewLoader().LoadFromData(document) // external references are off by default
	if err != nil {
		return nil, fmt.Errorf("OpenAPI document: %s", cleanText(err.Error(), 512))
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.") {
		return nil, errors.New("the document is not OpenAPI 3")
	}
	p := &Proposal{Server: server}
	p.note("Arguments that the document doesn't name are refused, unless it says additionalProperties.")
	for _, s := range doc.Servers {
		if base, err := url.Parse(s.URL); err == nil && strings.Trim(base.Path, "/") != "" {
			p.note("the document's server has the path %s: the server's path in the configuration must be its beginning", quoteShort(base.Path))
		}
	}
	paths := doc.Paths.Map()
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		operations := paths[path].Operations()
		for _, method := range slices.Sorted(maps.Keys(operations)) {
			p.addOperation(doc, path, method, operations[method])
		}
	}
	p.sort()
	return p, nil
}

// addOperation proposes one operation, or notes why it can't be.
func (p *Proposal) addOperation(doc *openapi3.T, path, method string, op *openapi3.Operation) {
	what := method + " " + quoteShort(path)
	switch {
	case !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}, method):
		p.note("%s is left out: this method can't be a route", what)
		return
	case !routeTemplate.MatchString(path):
		p.note("%s is left out: only whole segments of a route's path can be parameters", what)
		return
	}
	t := &ProposedTool{Name: operationName(method, path, op), Method: method, Path: path, Risk: Write}
	t.Description = op.Description
	if t.Description == "" {
		t.Description = op.Summary
	}
	switch method {
	case "GET", "HEAD":
		t.Risk = Read
		t.Reasons = append(t.Reasons, "read: "+method+" must not change anything. Make sure that it doesn't, else say write.")
	case "DELETE":
		t.Reasons = append(t.Reasons, "write: DELETE. Consider privileged, or requires_approval.")
	default:
		t.Reasons = append(t.Reasons, "write: "+method)
	}
	if op.Deprecated {
		t.Reasons = append(t.Reasons, "deprecated by its owner: do you need it?")
	}
	a := argumentSchema{converter: converter{components: componentsOf(doc)}}
	document, err := a.build(method, doc.Paths.Value(path).Parameters, op)
	if err != nil {
		p.note("%s is left out: %s", what, cleanText(err.Error(), 512))
		return
	}
	t.Reasons = append(t.Reasons, a.reasons...)
	p.add(t, document)
}

func componentsOf(doc *openapi3.T) openapi3.Schemas {
	if doc.Components == nil {
		return nil
	}
	return doc.Components.Schemas
}

var (
	routeTemplate = regexp.MustCompile(`^(/|(/([^/{}]+|\{[A-Za-z_][A-Za-z0-9_-]*\}))+)$`)
	notToolName   = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)
)

// operationName is the operationId as far as it can name a tool, or made of
// method and path.
func operationName(method, path string, op *openapi3.Operation) string {
	name := op.OperationID
	if name == "" {
		name = strings.ToLower(method) + path
	}
	return strings.Trim(notToolName.ReplaceAllString(name, "_"), "_")
}
