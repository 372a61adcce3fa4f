package settings

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

const variablePrefix = "SALLYPORT_"

// toolVariables are ours, and not settings: they are read by the command line
// and by the tests.
func toolVariables() []string {
	return []string{"SALLYPORT_CONFIG", "SALLYPORT_ENVOY", "SALLYPORT_TOKEN", "SALLYPORT_URL"}
}

// serviceVariable are the variables that Kubernetes sets in every pod beside a
// Service named sallyport or sallyport-something.
var serviceVariable = regexp.MustCompile(`^SALLYPORT_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// variable is the name of a value's environment variable.
func (l leaf) variable() string {
	if l.field.env != "" && !l.fileOnly() {
		return l.field.env
	}
	return l.pathVariable()
}

func (l leaf) pathVariable() string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(l.path, ".", "_"))
}

// fileOnly reports whether the value can't be set by the environment.
func (l leaf) fileOnly() bool { return l.field.env == "-" }

// applyEnvironment sets what the environment says over what is there. Values in
// lists of sections have no variables. An empty variable counts as unset: a
// template that leaves one open must not empty a list of required scopes.
func (r *report) applyEnvironment(cfg *Config, environ []string) {
	set := make(map[string]string)
	for _, entry := range environ {
		name, text, _ := strings.Cut(entry, "=")
		if _, again := set[name]; !again && strings.Trim(text, " ,") != "" { // "," would empty a list as silently
			set[name] = text
		}
	}
	var known []string
	leaves(reflect.ValueOf(cfg).Elem(), "", func(l leaf) {
		if strings.Contains(l.path, "[") {
			return
		}
		name := l.variable()
		if !l.fileOnly() {
			known = append(known, name)
		}
		if text, ok := set[name]; ok {
			delete(set, name)
			r.applyVariable(l, name, text)
		}
		if other := l.pathVariable(); set[other] != "" {
			delete(set, other)
			r.add(Problem{File: environmentPrefix + other, Path: l.path, Message: "is not a known variable: this key's is " + name})
		}
	})
	for _, name := range slices.Sorted(maps.Keys(set)) {
		r.checkVariable(name, known)
	}
}

func (r *report) applyVariable(l leaf, name, text string) {
	if l.fileOnly() {
		r.add(Problem{File: environmentPrefix + name, Path: l.path, Message: "can be set in the file only: unset the variable"})
		return
	}
	for path := range r.origins { // of a list that the file has
		if strings.HasPrefix(path, l.path+"[") {
			delete(r.origins, path)
		}
	}
	r.origins[l.path] = Origin{Layer: Environment, Variable: name}
	l.field.comma = true
	if err := setText(l.value, text, l.field); err != nil {
		r.refuse(l.path, "%v", err)
		r.unread[l.path] = true
	}
}

// checkVariable looks at a variable that sets nothing. Under our prefix that is
// a mistake. A name like one of the plan's is worth a warning only: it may be
// another program's.
func (r *report) checkVariable(name string, known []string) {
	file := environmentPrefix + clip(name)
	near := nearest(name, known)
	switch {
	case slices.Contains(toolVariables(), name) || serviceVariable.MatchString(name):
	case slices.Contains(plannedVariables(), name):
		r.add(Problem{File: file, Message: "is not available in this version: unset it"})
	case !strings.HasPrefix(name, variablePrefix):
		if near != "" && !strings.HasPrefix(near, variablePrefix) {
			r.warnings = append(r.warnings, Problem{File: file, Message: "sets nothing: did you mean " + near + "?"})
		}
	case near != "":
		r.add(Problem{File: file, Message: "is not a known variable: did you mean " + near + "?"})
	case strings.HasPrefix(name, "SALLYPORT_ISSUERS"), strings.HasPrefix(name, "SALLYPORT_SERVERS"):
		r.add(Problem{File: file, Message: "is not a known variable: issuers and servers are set in the file"})
	case strings.HasPrefix(name, "SALLYPORT_PIM_APPROVERS"), strings.HasPrefix(name, "SALLYPORT_PIM_USERS"), strings.HasPrefix(name, "SALLYPORT_PIM_WEBHOOKS"):
		r.add(Problem{File: file, Message: "is not a known variable: approvers, users and webhooks are set in the file"})
	default:
		r.add(Problem{File: file, Message: "is not a known variable: unset it, or see `sallyport example` for the names"})
	}
}
