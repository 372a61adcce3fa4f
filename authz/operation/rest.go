package operation

import (
	"slices"
	"strings"
)

// restServer is an API and its routes. Immutable.
type restServer struct {
	name    string
	prefix  string // without the slash at the end
	maxBody int
	tree    routeTree
}

func newRESTServer(cfg *Config, fail func(format string, args ...any)) *restServer {
	c := cfg.REST
	s := &restServer{name: cfg.Name, prefix: strings.TrimSuffix(c.Prefix, "/"), maxBody: cfg.MaxBodyBytes}
	if s.prefix != "" && !validPath(s.prefix) {
		fail("prefix: %q is not an absolute path without query, escapes, dot or empty segments", c.Prefix)
	}
	if len(c.Routes) == 0 {
		fail("routes: at least one is required")
	}
	var templates []*template
	for i, route := range c.Routes {
		if !slices.Contains(restMethods(), route.Method) {
			fail("routes[%d]: method %q is not one of %s", i, route.Method, strings.Join(restMethods(), ", "))
		}
		if route.Tool == "" {
			fail("routes[%d]: tool is required", i)
		}
		t, problem := newTemplate(s.prefix, route)
		if problem != "" {
			fail("routes[%d]: %s %s: %s", i, route.Method, route.Template, problem)
			continue
		}
		for _, other := range templates {
			if other.Method == t.Method && ambiguous(other, t) {
				fail("routes[%d]: %s %s is ambiguous with %s: neither is more specific", i, t.Method, t.Template, other.Template)
			}
		}
		templates = append(templates, t)
		s.tree.add(t)
	}
	return s
}

func restMethods() []string { return []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} }

// parse is the story of one request to the API: its route, then its arguments
// from path, query and body.
func (s *restServer) parse(req *Request, op *Operation, memory *scratch) *Refusal {
	var f fields
	f.read(req.Headers)
	if r := f.checkOverride(); r != nil {
		return r
	}
	path, query, hasQuery := strings.Cut(req.Path, "?")
	var room [maxSegments]segment
	segments, r := s.split(path, room[:])
	if r != nil {
		return r
	}
	route, r := s.find(segments, req.Method)
	if r != nil {
		return r
	}
	op.Method, op.Tool, op.Target = route.Method, route.Tool, route.path
	args := arguments{all: make(map[string]any)}
	op.Arguments = args.all
	i := 0
	for at, literal := range route.segments {
		if literal == "" {
			args.all[route.parameters[i]] = segments[at].text // New has compared the names
			args.names.add(route.parameters[i])
			i++
		}
	}
	if hasQuery {
		if r := args.readQuery(query, route.parameters); r != nil {
			return r
		}
	}
	if r := s.readBody(req, &f, route, &memory.tape, &args); r != nil {
		return r
	}
	memory.fingerprintREST(s.name, op, path, query, f.contentType.value, req.Body)
	return nil
}

func (s *restServer) split(path string, room []segment) ([]segment, *Refusal) {
	below, ok := strings.CutPrefix(path, s.prefix)
	if !ok || below != "" && below[0] != '/' || path == "" {
		return nil, refuse(CauseRouteUnknown, "no route is at this path")
	}
	segments, why := splitPath(below, room)
	if why != "" {
		return nil, refuse(CausePathSuspicious, "path: %s", why)
	}
	return segments, nil
}

func (s *restServer) find(path []segment, method string) (*template, *Refusal) {
	var m match
	s.tree.find(path, method, &m)
	switch {
	case m.lookalike:
		return nil, refuse(CausePathSuspicious, "path: a segment is another spelling of a route's")
	case m.route != nil:
		return m.route, nil
	case len(m.methods) == 0:
		return nil, refuse(CauseRouteUnknown, "no route is at this path")
	}
	r := refuse(CauseMethodNotAllowed, "method %s is not allowed here", quoted(method))
	slices.Sort(m.methods)
	r.Allow = strings.Join(slices.Compact(m.methods), ", ")
	return nil, r
}

// readBody reads a JSON body's members as arguments. Another body is refused,
// unless the route takes any, because what it holds would escape the schema.
func (s *restServer) readBody(req *Request, f *fields, route *template, t *tape, args *arguments) *Refusal {
	if len(req.Body) > s.maxBody {
		return refuse(CauseBodyTooLarge, "the body has %d bytes, at most %d are accepted", len(req.Body), s.maxBody)
	}
	if r := f.checkLength(req.Body); r != nil {
		return r
	}
	if req.Body == "" {
		return nil
	}
	if route.Method == "GET" || route.Method == "HEAD" {
		return refuse(CauseUnexpectedBody, "%s takes no body", route.Method)
	}
	if r := f.checkEncoding(); r != nil {
		return r
	}
	if r := f.checkJSON(); r != nil {
		if route.AnyBody && f.contentType.lines == 1 {
			return nil
		}
		return r
	}
	if syntax := t.read(req.Body); syntax != nil {
		return refuse(syntax.cause, "body, byte %d: %s", t.pos, syntax.what)
	}
	if t.hasDuplicate {
		return refuse(CauseDuplicateMember, "body: an object has the member %s twice", quoted(t.duplicate))
	}
	if t.nodes[0].kind != objectNode {
		return refuse(CauseBadArguments, "body: a JSON object is required")
	}
	if name, clash := t.caseClash(0); clash {
		return refuse(CauseDuplicateMember, "body: %s differs from another member only in letter case", quoted(name))
	}
	for name, ok := t.first(0); ok; name, ok = t.after(0, name) {
		if r := args.add(t.text(name), t.toValue(name+1), "body"); r != nil {
			return r
		}
	}
	return nil
}

// arguments collects the arguments of a REST call from its three places.
type arguments struct {
	all   map[string]any
	names foldedNames
}

// methodArgument is the parameter by which web frameworks let a form choose
// another method.
const methodArgument = "_method"

func (a *arguments) add(name string, value any, place string) *Refusal {
	if strings.EqualFold(name, methodArgument) {
		return refuse(CauseOverrideHeader, "%s: %s is not accepted", place, quoted(name))
	}
	if _, twice := a.all[name]; twice {
		return refuse(CauseBadArguments, "%s: %s comes from another place too", place, quoted(name))
	}
	if !a.names.add(name) {
		return refuse(CauseDuplicateMember, "%s: %s differs from another argument only in letter case", place, quoted(name))
	}
	a.all[name] = value
	return nil
}

func (a *arguments) readQuery(query string, pathParameters []string) *Refusal {
	return readQuery(query, func(name, value string) *Refusal {
		if _, twice := a.all[name]; twice && !slices.Contains(pathParameters, name) {
			return refuse(CauseQuery, "query: parameter %s came twice", quoted(name))
		}
		return a.add(name, value, "query")
	})
}
