package catalogue

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// byRisk holds what a silent entry gets.
type byRisk struct {
	risk        Risk // 0: an entry must have one
	tier        Tier // 0: by risk, as below
	pii         PIIPolicy
	concurrency int
	keyRequired bool
	ttl         time.Duration
}

// readDefaults checks the configured defaults. They come from the main
// configuration, so the problems have no file of ours.
func (l *loader) readDefaults() {
	d, out := l.cfg.Defaults, &l.defaults
	out.risk = defaultChoice[Risk](l, "default_risk_level", d.RiskLevel, riskNames())
	if out.risk == Read {
		l.problems.add("", 0, "default_risk_level: read would open every tool that nobody tagged; leave it empty, or say write or privileged")
	}
	out.tier = defaultChoice[Tier](l, "default_rate_limit_tier", d.RateLimitTier, tierNames())
	out.pii = defaultChoice[PIIPolicy](l, "default_pii_policy", d.PIIPolicy, piiNames())
	if out.concurrency = d.MaxConcurrency; d.MaxConcurrency < 0 || d.MaxConcurrency > maxMaxConcurrency {
		l.problems.add("", 0, "default_max_concurrency: %d is not within [0, %d]", d.MaxConcurrency, maxMaxConcurrency)
	}
	out.keyRequired = !d.IdempotencyOptional
	out.ttl = d.IdempotencyTTL
	if out.ttl == 0 {
		out.ttl = defaultTTL
	}
	if out.ttl < time.Second || out.ttl > maxTTL {
		l.problems.add("", 0, "idempotency_ttl: %v is not within [1s, %v]", out.ttl, maxTTL)
	}
}

func defaultChoice[T ~uint8](l *loader, what, name string, names []string) T {
	value := valueOf[T](names, name)
	if value == 0 && name != "" {
		l.problems.add("", 0, "%s: %s is none of %s", what, quoteShort(name), strings.Join(names, ", "))
	}
	return value
}

// compile completes an entry with the defaults, checks what only the whole can
// show, and adds the tool.
func (l *loader) compile(r *reader, n *yaml.Node, e *entry) {
	if !hasKey(n, "name") {
		r.fail(n, "name is missing")
	}
	if !hasKey(n, "server") {
		r.fail(n, "server is missing")
	}
	if e.risk == 0 && !hasKey(n, "risk_level") {
		if e.risk = l.defaults.risk; e.risk == 0 {
			r.fail(n, "risk_level is missing (read, write or privileged)")
		}
	}
	t := &Tool{
		Name: e.name, Server: e.server, Description: e.description,
		Source: fmt.Sprintf("%s:%d", r.file, e.line),
		Risk:   e.risk, RequiredScopes: e.scopes,
		RequiresApproval: e.approval != nil && *e.approval,
		StepUp:           e.stepUp, Elevation: e.rule, Shadow: e.shadow, RecordArguments: e.recorded,
		Conditions: e.conditions, conditions: e.programs,
	}
	l.applyDefaults(t, e)
	l.applyIdempotency(r, n, t, e)
	if t.RequiresElevation = t.Risk == Privileged || e.elevation != nil && *e.elevation; t.Risk == Privileged {
		if e.elevation != nil && !*e.elevation {
			r.fail(valueAt(n, "requires_elevation"), "a privileged tool always requires elevation")
		}
	}
	if hasKey(n, "elevation") && !t.RequiresElevation && !t.RequiresApproval {
		r.fail(valueAt(n, "elevation"), "elevation is for tools with requires_elevation or requires_approval")
	}
	if t.schema = l.compileSchema(r, n, e); t.schema != nil && t.Risk != Read {
		l.warnIfOpen(r, cmp.Or(e.schema, e.schemaFile), t.schema)
	}
	l.add(r, n, t, e)
}

// applyDefaults fills in what the risk level implies: a read streams through
// unread and unlimited, anything else is masked and limited.
func (l *loader) applyDefaults(t *Tool, e *entry) {
	tier, pii, concurrency := Permissive, PIINone, 0
	switch e.risk {
	case Write:
		tier, pii, concurrency = Standard, PIIMask, defaultConcurrency
	case Privileged:
		tier, pii, concurrency = Strict, PIIMask, defaultConcurrency
	}
	d := &l.defaults
	t.Tier = firstSet(e.tier, d.tier, tier)
	t.PIIPolicy = firstSet(e.pii, d.pii, pii)
	t.MaxConcurrency = firstSet(d.concurrency, concurrency)
	if e.concurrency != nil {
		t.MaxConcurrency = *e.concurrency // an explicit 0 is no limit
	}
	t.Timeout = defaultTimeout
	if e.timeout != nil {
		t.Timeout = time.Duration(*e.timeout) * time.Second
	}
}

func firstSet[T comparable](values ...T) T {
	var zero T
	for _, v := range values {
		if v != zero {
			return v
		}
	}
	return zero
}

// applyIdempotency switches it on for everything that isn't a plain read. An
// approval is spent once with the call's key, so it can't do without.
func (l *loader) applyIdempotency(r *reader, n *yaml.Node, t *Tool, e *entry) {
	enabled := t.Risk != Read || t.RequiresApproval
	if e.idempotent != nil {
		enabled = *e.idempotent
	}
	at := n
	if e.idempotency != nil {
		at = e.idempotency
	}
	if !enabled {
		switch {
		case t.Risk == Privileged:
			r.fail(at, "a privileged tool always has idempotency")
		case t.RequiresApproval:
			r.fail(at, "requires_approval needs idempotency: an approval is spent with the key of its call")
		}
		if e.keyRequired != nil && *e.keyRequired {
			r.fail(at, "idempotency.required needs idempotency.enabled")
		}
		return
	}
	t.Idempotency = Idempotency{
		Enabled:   true,
		Required:  l.defaults.keyRequired,
		OnUnknown: firstSet(e.onUnknown, OnUnknownRefuse),
		TTL:       l.defaults.ttl,
	}
	if e.keyRequired != nil {
		t.Idempotency.Required = *e.keyRequired
	}
	if e.ttl != nil {
		t.Idempotency.TTL = time.Duration(*e.ttl) * time.Second
	}
}

// compileSchema reads the schema of the arguments, from the entry or its file.
func (l *loader) compileSchema(r *reader, n *yaml.Node, e *entry) *schema {
	switch {
	case e.schema != nil && e.schemaFile != nil:
		r.fail(e.schemaFile, "input_schema and input_schema_file exclude each other")
		return nil
	case e.schema != nil:
		document, ok := jsonValue(r, e.schema)
		if !ok {
			return nil
		}
		return l.compileDocument(r, document, func(pointer []string) *yaml.Node { return locate(e.schema, pointer) })
	case e.schemaFile != nil:
		return l.compileSchemaFile(r, e)
	}
	l.warn(r.file, n.Line, "%sno input_schema: its arguments are not checked", r.context)
	return nil
}

// warnIfOpen is for tools that change something: what a schema doesn't declare
// reaches the server unchecked.
func (l *loader) warnIfOpen(r *reader, at *yaml.Node, s *schema) {
	if len(s.open) == 0 {
		return
	}
	const most = 3
	var places []string
	for _, place := range s.open[:min(len(s.open), most)] {
		if place == "" {
			places = append(places, "the arguments")
		} else {
			places = append(places, quoteShort(place))
		}
	}
	if hidden := len(s.open) - most; hidden > 0 {
		places = append(places, fmt.Sprintf("%d more places", hidden))
	}
	l.warn(r.file, at.Line, "%sinput_schema is open: members that it doesn't declare pass unchecked in %s; close it with additionalProperties: false",
		r.context, strings.Join(places, ", "))
}

func (l *loader) compileSchemaFile(r *reader, e *entry) *schema {
	at := e.schemaFile
	name := r.text(at, "input_schema_file", 1<<10)
	if name == "" {
		return nil
	}
	if !filepath.IsLocal(name) {
		r.fail(at, "input_schema_file %s must be a path below the folder of this file", quoteShort(name))
		return nil
	}
	f, err := openBeside(r.file, name)
	if err != nil {
		r.fail(at, "input_schema_file %s: %v", quoteShort(name), plainPathError(err))
		return nil
	}
	defer f.Close()
	data, err := readBounded(f, maxSchema)
	if err != nil {
		r.fail(at, "input_schema_file %s: %v", quoteShort(name), plainPathError(err))
		return nil
	}
	document, err := parseJSON(data)
	if err != nil {
		r.fail(at, "input_schema_file %s: %v", quoteShort(name), err)
		return nil
	}
	return l.compileDocument(r, document, func([]string) *yaml.Node { return at })
}

// add puts the tool into the catalogue, unless its name is taken.
func (l *loader) add(r *reader, n *yaml.Node, t *Tool, e *entry) {
	if e.name == "" || e.server == "" {
		return
	}
	k := key{e.server, e.name}
	if other, taken := l.catalogue.byName[k]; taken {
		r.fail(valueAt(n, "name"), "server %q already has this tool at %s", e.server, other.Source)
		return
	}
	if len(l.catalogue.tools) >= maxTools {
		r.fail(n, "more than %d tools", maxTools)
		return
	}
	l.catalogue.byName[k] = t
	l.catalogue.tools = append(l.catalogue.tools, t)
}

func hasKey(n *yaml.Node, name string) bool { return valueAt(n, name) != n }

// valueAt returns the value of a key of a mapping, or the mapping itself: the
// next best place to report a problem at.
func valueAt(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return n
}
