package settings

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	toolPattern      = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)
	parameterPattern = regexp.MustCompile(`^\{[A-Za-z_][A-Za-z0-9_-]*\}$`)
)

// parsedRoute is a route whose template could be read.
type parsedRoute struct {
	at       string // its place in the configuration
	method   string
	segments []string // empty where a parameter stands
}

func (r *report) checkREST(path string, rest *REST) {
	if len(rest.Routes) == 0 {
		r.refuse(path+".routes", "is missing: list the routes; one that isn't listed is refused")
	}
	var others []parsedRoute
	for i, route := range rest.Routes {
		at := fmt.Sprintf("%s.routes[%d]", path, i)
		r.oneOf(at+".method", route.Method, "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
		if r.required(at+".tool", route.Tool, "the name of the tool that the route stands for") && !toolPattern.MatchString(route.Tool) {
			r.refuse(at+".tool", "must be the name of a tool: letters, digits, _, - and ., at most 128, not %q", clip(route.Tool))
		}
		segments, ok := r.template(at+".path", route.Path)
		if !ok {
			continue
		}
		parsed := parsedRoute{at, route.Method, segments}
		for _, other := range others {
			if other.method == parsed.method && ambiguous(other.segments, parsed.segments) {
				r.refuse(at+".path", "matches requests that %s matches, and neither is more specific: change one of them", other.at)
				break
			}
		}
		others = append(others, parsed)
	}
}

// template reads a path with {parameters}.
func (r *report) template(path, text string) (segments []string, ok bool) {
	segments = strings.Split(text, "/")
	plain := slices.Clone(segments)
	var names []string
	for i, segment := range segments {
		if !parameterPattern.MatchString(segment) {
			continue
		}
		name := strings.ToLower(segment)
		if slices.Contains(names, name) {
			r.refuse(path, "has %s twice, whatever its case: each name can be there once", clip(segment))
			return nil, false
		}
		names = append(names, name)
		segments[i], plain[i] = "", "name"
	}
	if !isPlainPath(strings.Join(plain, "/")) || len(text) > 1 && strings.HasSuffix(text, "/") {
		r.refuse(path, "must be a path such as /vehicles/{id}, in which a {name} stands for a whole segment, without a final slash, not %q", clip(text))
		return nil, false
	}
	return segments[1:], true
}

// ambiguous reports whether a path can match both, and neither is the more
// specific: /a/{x} is more specific than /{x}/{y}, but /a/{x} and /{x}/b are
// ambiguous. So are /a and /A, because some servers ignore case.
func ambiguous(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	aMore, bMore, lookalike := false, false, false
	for i := range a {
		switch {
		case a[i] != "" && b[i] != "" && !strings.EqualFold(a[i], b[i]):
			return false
		case a[i] != "" && b[i] == "":
			aMore = true
		case a[i] == "" && b[i] != "":
			bMore = true
		case a[i] != b[i]:
			lookalike = true
		}
	}
	return lookalike || aMore == bMore
}
