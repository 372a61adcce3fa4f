package catalogue

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Problem is one thing that is wrong, or doubtful, in a catalogue file.
type Problem struct {
	File string
	Line int // from 1; 0: the file as a whole
	Text string
}

func (p *Problem) Error() string {
	switch {
	case p.File == "":
		return p.Text
	case p.Line == 0:
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// maxProblems bounds what one broken file can make us say.
const maxProblems = 200

// problems collects everything that is wrong, so that one look at the report is
// enough to repair a file.
type problems struct {
	list    []*Problem
	skipped int
}

func (p *problems) add(file string, line int, format string, args ...any) {
	if len(p.list) >= maxProblems {
		p.skipped++
		return
	}
	p.list = append(p.list, &Problem{File: file, Line: line, Text: fmt.Sprintf(format, args...)})
}

// err joins the problems in the order of the files and lines; nil if there are none.
func (p *problems) err(files []string) error {
	if len(p.list) == 0 {
		return nil
	}
	sortProblems(p.list, files)
	errs := make([]error, 0, len(p.list)+1)
	for _, problem := range p.list {
		errs = append(errs, problem)
	}
	if p.skipped > 0 {
		errs = append(errs, fmt.Errorf("and %d more", p.skipped))
	}
	return errors.Join(errs...)
}

func sortProblems(list []*Problem, files []string) {
	slices.SortStableFunc(list, func(a, b *Problem) int {
		return cmp.Or(
			cmp.Compare(slices.Index(files, a.File), slices.Index(files, b.File)),
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line))
	})
}
