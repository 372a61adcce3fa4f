package settings

import (
	"fmt"
	"strings"
)

// Layer is where a value comes from. A higher one wins.
type Layer uint8

// The layers, lowest first.
const (
	Default Layer = iota
	File
	Environment
)

func (l Layer) String() string {
	switch l {
	case File:
		return "file"
	case Environment:
		return "environment"
	default:
		return "default"
	}
}

// Origin says where one value comes from. The zero Origin is a default.
type Origin struct {
	Layer    Layer
	Line     int    // in the file, from 1; 0: not in the file
	Variable string // name of the environment variable, if that is the layer
}

// maxProblems bounds what one broken file can make us say.
const maxProblems = 200

// report collects problems and warnings. It knows where every value stands, so
// that a check of the merged values can name the place.
type report struct {
	file     string
	origins  map[string]Origin // by path, such as servers[0].upstream; "" is the file's root
	unread   map[string]bool   // paths whose value could not be read, or not all of it
	problems Problems
	warnings Problems
	skipped  int
}

func newReport(file string) *report {
	return &report{file: file, origins: map[string]Origin{"": {Line: 1}}, unread: make(map[string]bool)}
}

// broke adds a problem in a line of the file, for what could not be read.
func (r *report) broke(path string, line int, format string, args ...any) {
	r.unread[path] = true
	r.add(Problem{File: r.file, Line: line, Path: path, Message: fmt.Sprintf(format, args...)})
}

// refuse adds a problem with the value at a path, wherever it came from. Nothing
// is said about a value that could not be read: it holds a default.
func (r *report) refuse(path, format string, args ...any) {
	for place := path; ; place = parent(place) {
		if r.unread[place] {
			return
		}
		if place == "" {
			break
		}
	}
	r.add(r.at(path, fmt.Sprintf(format, args...)))
}

// warn adds a warning about the value at a path.
func (r *report) warn(path, format string, args ...any) {
	r.warnings = append(r.warnings, r.at(path, fmt.Sprintf(format, args...)))
}

func (r *report) add(p Problem) {
	if len(r.problems) >= maxProblems {
		r.skipped++
		return
	}
	r.problems = append(r.problems, p)
}

// at builds a problem where the value stands. One that is nowhere, because it is
// missing or a default, belongs where its section begins.
func (r *report) at(path, message string) Problem {
	for place := path; ; place = parent(place) {
		if o, ok := r.origins[place]; ok {
			if o.Layer == Environment {
				return Problem{File: environmentPrefix + o.Variable, Path: path, Message: message}
			}
			return Problem{File: r.file, Line: o.Line, Path: path, Message: message}
		}
	}
}

// parent is the path of the section or list that a value stands in.
func parent(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }

// err returns all problems in order, nil if there are none.
func (r *report) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	r.problems.sort()
	if r.skipped > 0 {
		r.problems = append(r.problems, Problem{File: r.file, Message: fmt.Sprintf("and %d more: correct these first", r.skipped)})
	}
	return r.problems
}
