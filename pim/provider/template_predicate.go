package provider

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Predicate is what must hold for an item of an answer.
type Predicate struct {
	// Path is where the value is: names with dots between them, and numbers for places
	// in lists, such as AccountDetails.AccountID or targets.0.roleId. A time may be in
	// three places with commas between them: its date, time of the day and time zone.
	Path string `yaml:"path"`
	Op   Op     `yaml:"op"`
	// Value is compared, by eq and ne only. It may have placeholders.
	Value string `yaml:"value"`
	// FoldCase ignores case, for eq and ne.
	FoldCase bool `yaml:"fold_case"`
	// Missing says what a value that is missing or null means. By default the answer
	// can't be understood: it may be another than this was written for. It does nothing
	// with empty, filled and exists.
	Missing Missing `yaml:"missing"`
}

// Op is how a predicate looks at a value.
type Op string

// Operators. Times are RFC 3339 or Unix seconds.
const (
	OpEqual    Op = "eq"
	OpNotEqual Op = "ne"
	OpPast     Op = "le_now" // a time that is now or was
	OpFuture   Op = "gt_now" // a time that will be
	OpEmpty    Op = "empty"  // missing, null, "", [] or {}
	OpFilled   Op = "filled" // not empty
	OpExists   Op = "exists" // there and not null
)

// Missing is what a missing value means to a predicate.
type Missing string

// Meanings of a missing value.
const (
	MissingError Missing = ""      // the answer can't be understood
	MissingHolds Missing = "holds" // as if the predicate held
	MissingFails Missing = "fails" // as if it didn't
)

// predicate is a compiled one.
type predicate struct {
	Predicate
	at    location
	time  timeLocation
	value []piece
}

func compilePredicates(list []Predicate, field string, known []string) ([]predicate, error) {
	var compiled []predicate
	for i := range list {
		p, err := compilePredicate(&list[i], known)
		if err != nil {
			return nil, fmt.Errorf("%s[%d].%w", field, i, err)
		}
		compiled = append(compiled, p)
	}
	return compiled, nil
}

func compilePredicate(p *Predicate, known []string) (compiled predicate, err error) {
	compiled.Predicate = *p
	switch {
	case p.Path == "":
		return compiled, fmt.Errorf("path: is missing")
	case !slices.Contains([]Op{OpEqual, OpNotEqual, OpPast, OpFuture, OpEmpty, OpFilled, OpExists}, p.Op):
		return compiled, fmt.Errorf("op: %s is none of eq, ne, le_now, gt_now, empty, filled, exists", clip(string(p.Op)))
	case !slices.Contains([]Missing{MissingError, MissingHolds, MissingFails}, p.Missing):
		return compiled, fmt.Errorf("missing: %s is none of holds, fails", clip(string(p.Missing)))
	case !p.compares() && (p.Value != "" || p.FoldCase):
		return compiled, fmt.Errorf("value: does nothing with the op %s", p.Op)
	}
	if p.Op == OpPast || p.Op == OpFuture {
		compiled.time, err = compileTimeLocation(p.Path)
	} else {
		compiled.at, err = compileLocation(p.Path)
	}
	if err != nil {
		return compiled, fmt.Errorf("path: %w", err)
	}
	if compiled.value, err = split(p.Value, inText, known); err != nil {
		return compiled, fmt.Errorf("value: %w", err)
	}
	return compiled, nil
}

func (p *Predicate) compares() bool { return p.Op == OpEqual || p.Op == OpNotEqual }

// allHold reports whether all predicates hold for an item. The first that doesn't ends
// it: what comes after may be about other items.
func allHold(list []predicate, item any, v values, now time.Time) (bool, error) {
	for i := range list {
		ok, err := list[i].holds(item, v, now)
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

func (p *predicate) holds(item any, v values, now time.Time) (bool, error) {
	switch p.Op {
	case OpEqual, OpNotEqual:
		return p.equal(item, v)
	case OpPast, OpFuture:
		at, err := p.time.in(item)
		switch {
		case err != nil:
			return false, err
		case at.IsZero():
			return p.missing()
		}
		return now.Before(at) == (p.Op == OpFuture), nil
	case OpEmpty, OpFilled:
		return empty(p.at.in(item)) == (p.Op == OpEmpty), nil
	}
	return p.at.in(item) != nil, nil
}

func (p *predicate) equal(item any, v values) (bool, error) {
	if p.at.in(item) == nil {
		return p.missing()
	}
	is, err := p.at.text(item)
	if err != nil {
		return false, err
	}
	want, err := expand(p.value, v)
	if err != nil {
		return false, err
	}
	same := is == want || p.FoldCase && strings.EqualFold(is, want)
	return same == (p.Op == OpEqual), nil
}

func (p *predicate) missing() (bool, error) {
	if p.Missing == MissingError {
		return false, fmt.Errorf("%w: %s is missing", ErrAnswer, p.Path)
	}
	return p.Missing == MissingHolds, nil
}

func empty(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case string:
		return value == ""
	case []any:
		return len(value) == 0
	case map[string]any:
		return len(value) == 0
	case json.Number, bool:
		return false
	}
	return false
}
