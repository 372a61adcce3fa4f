package provider

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// checkTemplate is a compiled one.
type checkTemplate struct {
	call
	paging   paging
	items    []location
	when     []predicate
	until    timeLocation
	evidence location
}

func compileCheck(cfg *CheckTemplate, known []string) (c checkTemplate, err error) {
	if c.call, err = compileCall(&cfg.TemplateCall, known); err != nil {
		return c, err
	}
	if c.paging, err = compilePaging(&cfg.Paging); err != nil {
		return c, inField("paging", err)
	}
	for i, at := range cfg.Items {
		l, err := compileLocation(at)
		if err != nil || at == "" {
			return c, fmt.Errorf("items[%d]: %s isn't names with dots between them", i, clip(at))
		}
		c.items = append(c.items, l)
	}
	if len(cfg.When) == 0 {
		return c, fmt.Errorf("when: is missing: every item would elevate")
	}
	if c.when, err = compilePredicates(cfg.When, "when", known); err != nil {
		return c, err
	}
	if c.until, err = compileTimeLocation(cfg.Until); err != nil {
		return c, inField("until", err)
	}
	c.evidence, err = compileLocation(cfg.Evidence)
	return c, inField("evidence", err)
}

// look returns the first item of a page that elevates, and otherwise what is wrong with
// the first that can't be understood.
func (c *checkTemplate) look(items []any, v values, now time.Time) (Status, error) {
	var odd error
	for i, item := range items {
		status, err := c.status(item, v, now)
		switch {
		case err != nil && odd == nil:
			// What one has in the list isn't the provider's failure for everybody.
			odd = fmt.Errorf("%w: item %d: %w", ErrSubject, i, err)
		case status.Active:
			return status, nil
		}
	}
	return Status{}, odd
}

func (c *checkTemplate) list(answer any) ([]any, error) {
	if len(c.items) == 0 {
		if _, ok := answer.(map[string]any); !ok {
			return nil, fmt.Errorf("%w: it isn't a JSON object", ErrAnswer)
		}
		return []any{answer}, nil
	}
	var names []string
	for _, at := range c.items {
		switch list := at.in(answer).(type) {
		case []any:
			return list, nil
		case nil:
			names = append(names, at.String())
		default:
			return nil, fmt.Errorf("%w: %s isn't a list", ErrAnswer, at)
		}
	}
	return nil, fmt.Errorf("%w: there is no list at %s", ErrAnswer, strings.Join(names, ", "))
}

func (c *checkTemplate) status(item any, v values, now time.Time) (Status, error) {
	ok, err := allHold(c.when, item, v, now)
	if err != nil || !ok {
		return Status{}, err
	}
	until, err := c.until.in(item)
	if err != nil || !until.IsZero() && !now.Before(until) {
		return Status{}, err
	}
	status := Status{Active: true, Until: until}
	if len(c.evidence) != 0 {
		if status.Evidence, err = c.evidence.text(item); err != nil {
			return Status{}, err
		}
	}
	return status, nil
}

// filedTemplate is a compiled one.
type filedTemplate struct {
	call
	ref, page location
	until     timeLocation
	rules     []stateRule
	state     []location
	states    map[string]FiledState
}

type stateRule struct {
	state FiledState
	when  []predicate
}

func compileFiled(cfg *FiledTemplate, known []string) (*filedTemplate, error) {
	c := &filedTemplate{states: cfg.States}
	var err error
	if c.call, err = compileCall(&cfg.TemplateCall, known); err != nil {
		return nil, err
	}
	if c.ref, err = compileLocation(cfg.Ref); err != nil {
		return nil, inField("ref", err)
	}
	if c.page, err = compileLocation(cfg.Page); err != nil {
		return nil, inField("page", err)
	}
	if c.until, err = compileTimeLocation(cfg.Until); err != nil {
		return nil, inField("until", err)
	}
	return c, c.compileStates(cfg, known)
}

func (c *filedTemplate) compileStates(cfg *FiledTemplate, known []string) error {
	for i := range cfg.Rules {
		rule, field := &cfg.Rules[i], fmt.Sprintf("rules[%d]", i)
		if !rule.State.known() {
			return fmt.Errorf("%s.state: %s is no state", field, clip(string(rule.State)))
		}
		when, err := compilePredicates(rule.When, field+".when", known)
		if err != nil {
			return err
		}
		c.rules = append(c.rules, stateRule{rule.State, when})
	}
	for i, at := range cfg.State {
		l, err := compileLocation(at)
		if err != nil || at == "" {
			return fmt.Errorf("state[%d]: %s isn't names with dots between them", i, clip(at))
		}
		c.state = append(c.state, l)
	}
	for theirs, state := range cfg.States {
		if !state.known() {
			return fmt.Errorf("states.%s: %s is no state", theirs, clip(string(state)))
		}
	}
	switch {
	case (len(cfg.State) == 0) != (len(cfg.States) == 0):
		return fmt.Errorf("states: goes with state")
	case len(cfg.Rules) == 0 && len(cfg.States) == 0:
		return fmt.Errorf("state: is missing, and there are no rules")
	}
	return nil
}

// read makes our answer of theirs.
func (c *filedTemplate) read(answer any, v values, now time.Time) (filed Filed, err error) {
	if filed.State, err = c.stateOf(answer, v, now); err != nil {
		return Filed{}, err
	}
	if filed.Until, err = c.until.in(answer); err != nil {
		return Filed{}, err
	}
	if filed.State == FiledActive && !filed.Until.IsZero() && !now.Before(filed.Until) {
		filed.State = FiledExpired
	}
	if len(c.ref) != 0 {
		if filed.Ref, err = c.ref.text(answer); err != nil {
			return Filed{}, err
		}
	}
	if len(c.page) == 0 {
		return filed, nil
	}
	address, err := c.page.text(answer)
	filed.URL = webPage(address)
	return filed, err
}

func (c *filedTemplate) stateOf(answer any, v values, now time.Time) (FiledState, error) {
	for i := range c.rules {
		ok, err := allHold(c.rules[i].when, answer, v, now)
		if err != nil {
			return "", err
		}
		if ok {
			return c.rules[i].state, nil
		}
	}
	var theirs []string
	for _, at := range c.state {
		text, err := at.text(answer)
		if err != nil {
			return "", err
		}
		theirs = append(theirs, text)
	}
	state, ok := c.states[strings.Join(theirs, "/")]
	if !ok {
		return "", fmt.Errorf("%w: the state %s isn't known", ErrAnswer, clip(strings.Join(theirs, "/")))
	}
	return state, nil
}

// webPage is an address that people can be sent to; empty: it isn't one.
func webPage(address string) string {
	page, err := url.Parse(address)
	if err != nil || !slices.Contains([]string{"https", "http"}, page.Scheme) || page.Host == "" || page.User != nil {
		return ""
	}
	return page.String()
}
