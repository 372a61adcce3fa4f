package settings

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong, or worth a warning, and where it stands.
type Problem struct {
	File    string `json:"file"`           // as it was given; "environment NAME" for a variable
	Line    int    `json:"line,omitempty"` // from 1; 0 where there is none
	Path    string `json:"path,omitempty"` // such as servers[0].upstream.address; empty: the whole file
	Message string `json:"message"`        // says what to do
}

// String is "file:line: path: message" without the parts that are empty.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems are all that was found, in the order of the file; what stands in
// the environment comes last.
type Problems []Problem

// Error has one problem per line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// sort orders by line. Variables have no line, and stand behind the file.
func (p Problems) sort() {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(b2i(isVariable(a)), b2i(isVariable(b))),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Path, b.Path),
		)
	})
}

const environmentPrefix = "environment "

func isVariable(p Problem) bool { return strings.HasPrefix(p.File, environmentPrefix) }

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
