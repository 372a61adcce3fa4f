package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TemplateConfig describes a provider's API. Placeholders are {user}, {role}, {now}
// and {now_unix} everywhere, {ref} in Poll, and in File {reason}, {tool},
// {duration_seconds}, {from} and {to} (Unix seconds), {from_time}, {to_time} (RFC
// 3339), {from_date}, {from_clock}, {to_date}, {to_clock} (such as 2026-09-30 and
// 09:00) and {timezone}, and the names in Values and RoleParts.
type TemplateConfig struct {
	Name     string `yaml:"-"` // in errors and in the audit trail
	Endpoint string `yaml:"-"` // base URL
	CAFile   string `yaml:"-"` // PEM, the only roots that are trusted; empty: the system's
	// Credential is what the provider knows us by.
	Credential CredentialConfig `yaml:"-"`
	// Values are further placeholders.
	Values map[string]string `yaml:"values"`
	// RoleParts name the parts of a role, which has a | between them; each is a
	// placeholder.
	RoleParts []string `yaml:"role_parts"`
	// TimeZone is that of dates and times of the day in File. Default UTC.
	TimeZone string `yaml:"time_zone"`
	// SameDay ends a request at 23:59 of its day, for providers that have no other.
	SameDay bool `yaml:"same_day"`
	// OnlyUser is the only user who can be asked about and for whom requests can be
	// filed, at a provider that knows but the caller's; empty: all.
	OnlyUser string `yaml:"only_user"`
	// NotUsers are ids that mean something else to the provider, such as the caller.
	NotUsers []string `yaml:"not_users"`

	Check CheckTemplate  `yaml:"check"`
	File  *FiledTemplate `yaml:"file"` // nil: no requests can be filed
	Poll  *FiledTemplate `yaml:"poll"`
}

// CheckTemplate says who is elevated: who has an item for which all of When hold.
type CheckTemplate struct {
	TemplateCall `yaml:",inline"`
	Paging       Paging `yaml:"paging"`
	// Items are places where the list may be, the first that is there counts. None: the
	// answer itself is the only item.
	Items    []string    `yaml:"items"`
	When     []Predicate `yaml:"when"`
	Until    string      `yaml:"until"`    // where the end is; one in the past ends the item
	Evidence string      `yaml:"evidence"` // where the id is
}

// FiledTemplate says how a request fares.
type FiledTemplate struct {
	TemplateCall `yaml:",inline"`
	Ref          string `yaml:"ref"`   // where the id is; required in File
	Page         string `yaml:"page"`  // where the URL for people is
	Until        string `yaml:"until"` // where the end is
	// Rules are looked at in order, the first whose predicates all hold counts.
	Rules []StateRule `yaml:"rules"`
	// State is where the states are that States translates, with / between them if there
	// are several. A state that neither Rules nor States know is an error.
	State  []string              `yaml:"state"`
	States map[string]FiledState `yaml:"states"`
}

// StateRule is a state for which all of When hold.
type StateRule struct {
	State FiledState  `yaml:"state"`
	When  []Predicate `yaml:"when"`
}

// Template is a provider that is described by its configuration.
type Template struct {
	name, endpoint, onlyUser string
	notUsers                 []string
	client                   *client
	credential               credential
	now                      func() time.Time
	values                   values
	roleParts                []string
	zone                     *time.Location
	sameDay                  bool
	check                    checkTemplate
	file, poll               *filedTemplate
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

// NewTemplate makes the provider that a configuration describes. It reports everything
// that is wrong with it, each with the name of its field.
func NewTemplate(cfg *TemplateConfig, now func() time.Time) (*Template, error) {
	t := &Template{
		name: cfg.Name, onlyUser: cfg.OnlyUser, notUsers: cfg.NotUsers, now: now, values: values{},
		roleParts: cfg.RoleParts, sameDay: cfg.SameDay,
	}
	maps.Copy(t.values, cfg.Values)
	errs := []error{t.compileNames(cfg), t.compileCalls(cfg)}
	var err error
	t.endpoint, err = baseURL(cfg.Endpoint)
	errs = append(errs, inField("endpoint", err))
	t.client, err = newClient(cfg.CAFile, now)
	errs = append(errs, inField("ca_file", err))
	t.credential, err = newCredential(&cfg.Credential, t.endpoint, t.client, now)
	errs = append(errs, inField("credential", err))
	t.zone, err = loadZone(cmp.Or(cfg.TimeZone, "UTC"))
	errs = append(errs, inField("time_zone", err))
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("template of provider %s: %w", clip(cfg.Name), err)
	}
	return t, nil
}

func inField(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

func (t *Template) compileNames(cfg *TemplateConfig) error {
	var errs []error
	if cfg.Name == "" {
		errs = append(errs, errors.New("name: is missing"))
	}
	seen := fileNames()
	for i, name := range slices.Concat(cfg.RoleParts, slices.Sorted(maps.Keys(cfg.Values))) {
		field := "values." + name
		if i < len(cfg.RoleParts) {
			field = fmt.Sprintf("role_parts[%d]", i)
		}
		switch {
		case !namePattern.MatchString(name):
			errs = append(errs, fmt.Errorf("%s: %s isn't a name of small letters, digits and _", field, clip(name)))
		case slices.Contains(seen, name) || name == "ref":
			errs = append(errs, fmt.Errorf("%s: {%s} has another meaning already", field, name))
		}
		seen = append(seen, name)
	}
	return errors.Join(errs...)
}

func checkNames() []string { return []string{"user", "role", "now", "now_unix"} }

func fileNames() []string {
	return append(checkNames(), "reason", "tool", "duration_seconds", "from", "to", "from_time", "to_time",
		"from_date", "from_clock", "to_date", "to_clock", "timezone")
}

func (t *Template) compileCalls(cfg *TemplateConfig) error {
	own := slices.Concat(cfg.RoleParts, slices.Sorted(maps.Keys(cfg.Values)))
	var errs []error
	var err error
	t.check, err = compileCheck(&cfg.Check, append(checkNames(), own...))
	errs = append(errs, inField("check", err))
	switch {
	case (cfg.File == nil) != (cfg.Poll == nil):
		errs = append(errs, errors.New("poll: goes with file"))
	case cfg.File != nil:
		t.file, err = compileFiled(cfg.File, append(fileNames(), own...))
		errs = append(errs, inField("file", err))
		if err == nil && len(t.file.ref) == 0 {
			errs = append(errs, errors.New("file.ref: is missing: poll needs it"))
		}
		t.poll, err = compileFiled(cfg.Poll, slices.Concat(checkNames(), []string{"ref"}, own))
		errs = append(errs, inField("poll", err))
	}
	return errors.Join(errs...)
}

// Name is the configured one.
func (t *Template) Name() string { return t.name }

// Check looks through the provider's list for an item that elevates.
func (t *Template) Check(ctx context.Context, who Subject) (Status, error) {
	now := t.now()
	v, err := t.about(who, now)
	if err != nil {
		return Status{}, err
	}
	target, err := t.check.target(v)
	if err != nil {
		return Status{}, err
	}
	body, err := t.check.payload(v)
	if err != nil {
		return Status{}, err
	}
	return t.leaf(ctx, t.endpoint+target, body, v, now)
}

// leaf turns the pages of a list. An item that can't be understood is an error, unless
// another elevates.
func (t *Template) leaf(ctx context.Context, first string, body any, v values, now time.Time) (Status, error) {
	var odd error
	address, sofar := first, 0
	for range maxPages {
		answer, err := t.send(ctx, t.check.method, address, body)
		if err != nil {
			return Status{}, err
		}
		items, err := t.check.list(answer)
		if err != nil {
			return Status{}, err
		}
		status, err := t.check.look(items, v, now)
		if status.Active {
			return status, nil
		}
		if odd == nil {
			odd = err
		}
		sofar += len(items)
		address, err = t.check.paging.next(first, t.endpoint, answer, len(items), sofar)
		if err != nil || address == "" {
			return Status{}, errors.Join(err, odd)
		}
	}
	return Status{}, fmt.Errorf("%w: the list goes on after %d pages", ErrAnswer, maxPages)
}

// about are the placeholders that every call has.
func (t *Template) about(who Subject, now time.Time) (values, error) {
	switch {
	case who.User == "":
		return nil, fmt.Errorf("%w: the user is empty", ErrSubject)
	case t.onlyUser != "" && !strings.EqualFold(t.onlyUser, who.User):
		return nil, fmt.Errorf("%w: it shows us requests of %s only", ErrSubject, clip(t.onlyUser))
	case slices.ContainsFunc(t.notUsers, func(id string) bool { return strings.EqualFold(id, who.User) }):
		return nil, fmt.Errorf("%w: %s isn't a user there", ErrSubject, clip(who.User))
	}
	v := values{
		"user": who.User, "role": who.Role,
		"now": now.UTC().Format(time.RFC3339), "now_unix": strconv.FormatInt(now.Unix(), 10),
	}
	maps.Copy(v, t.values)
	return v, t.readRole(who.Role, v)
}

// CheckRole implements RoleChecker.
func (t *Template) CheckRole(role string) error { return t.readRole(role, values{}) }

// readRole makes placeholders of the parts of a role.
func (t *Template) readRole(role string, into values) error {
	if len(t.roleParts) == 0 {
		return nil
	}
	parts := strings.Split(role, "|")
	if len(parts) != len(t.roleParts) {
		return fmt.Errorf("%w: the role has %d parts with | between them, not %d: %s", ErrSubject, len(parts), len(t.roleParts), strings.Join(t.roleParts, "|"))
	}
	for i, name := range t.roleParts {
		if parts[i] == "" {
			return fmt.Errorf("%w: the role has an empty %s", ErrSubject, name)
		}
		into[name] = parts[i]
	}
	return nil
}

// File files a request, where the provider takes any from us for this user.
func (t *Template) File(ctx context.Context, what Filing) (Filed, error) {
	if t.file == nil {
		return Filed{}, ErrUnsupported
	}
	if t.onlyUser != "" && !strings.EqualFold(t.onlyUser, what.User) {
		return Filed{}, fmt.Errorf("%w: it takes requests from us for %s only", ErrUnsupported, clip(t.onlyUser))
	}
	now := t.now()
	v, err := t.about(what.Subject, now)
	if err != nil {
		return Filed{}, err
	}
	if err := t.filing(v, &what, now); err != nil {
		return Filed{}, err
	}
	answer, err := t.ask(ctx, &t.file.call, v)
	if err != nil {
		return Filed{}, err
	}
	filed, err := t.file.read(answer, v, now)
	if err == nil && filed.Ref == "" {
		return Filed{}, fmt.Errorf("%w: %s is missing", ErrAnswer, t.file.ref)
	}
	return filed, err
}

// filing adds the placeholders of a request.
func (t *Template) filing(v values, what *Filing, now time.Time) error {
	from := now.In(t.zone).Truncate(time.Second)
	to := from.Add(what.Duration.Truncate(time.Second))
	if year, month, day := from.Date(); t.sameDay {
		if last := time.Date(year, month, day, 23, 59, 0, 0, t.zone); to.After(last) {
			to = last
		}
	}
	if to.Sub(from) < time.Second {
		return fmt.Errorf("%w: no time is left between %v and %v", ErrUnsupported, from, to)
	}
	maps.Copy(v, values{
		"reason": what.Reason, "tool": what.Tool, "timezone": t.zone.String(),
		"duration_seconds": strconv.FormatInt(int64(to.Sub(from)/time.Second), 10),
		"from":             strconv.FormatInt(from.Unix(), 10), "to": strconv.FormatInt(to.Unix(), 10),
		"from_time": from.Format(time.RFC3339), "to_time": to.Format(time.RFC3339),
		"from_date": from.Format(time.DateOnly), "to_date": to.Format(time.DateOnly),
		"from_clock": from.Format("15:04"), "to_clock": to.Format("15:04"),
	})
	return nil
}

// Poll asks how a request fares. One that the provider doesn't know any more has failed.
func (t *Template) Poll(ctx context.Context, ref string, who Subject) (Filed, error) {
	if t.poll == nil {
		return Filed{}, ErrUnsupported
	}
	now := t.now()
	v, err := t.about(who, now)
	if err != nil {
		return Filed{}, err
	}
	v["ref"] = ref
	answer, err := t.ask(ctx, &t.poll.call, v)
	if isStatus(err, http.StatusNotFound) || isStatus(err, http.StatusGone) {
		return Filed{Ref: ref, State: FiledFailed}, nil
	}
	if err != nil {
		return Filed{}, err
	}
	filed, err := t.poll.read(answer, v, now)
	switch {
	case err != nil:
		return Filed{}, err
	case filed.Ref != "" && filed.Ref != ref:
		return Filed{}, fmt.Errorf("%w: it is about another request: %s", ErrAnswer, clip(filed.Ref))
	}
	filed.Ref = ref
	return filed, nil
}
