package catalogue

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Forms of names. MCP 2025-11-25 (server/tools, "Tool Names") has the tool's; a
// scope is RFC 6749 §3.3's scope-token; an acr value can't have spaces (OpenID
// Connect Core §3.1.2.1 separates them by spaces).
var (
	toolName     = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)
	serverName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	scopeToken   = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]+$`)
	argumentName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)
	roleName     = regexp.MustCompile(`^[^\x00-\x1f\x7f]{1,256}$`)
	acrValue     = regexp.MustCompile(`^[\x21-\x7E]+$`)
)

// entry is one tool as its file says it; nil and zero mean that it is silent.
type entry struct {
	line                      int
	name, server, description string
	risk                      Risk
	elevation, approval       *bool
	scopes                    []string
	tier                      Tier
	pii                       PIIPolicy
	concurrency, timeout      *int
	idempotency               *yaml.Node
	idempotent, keyRequired   *bool
	onUnknown                 OnUnknown
	ttl                       *int
	stepUp                    StepUp
	rule                      Elevation
	conditions                []*Condition
	programs                  []program
	shadow                    Shadow
	schema, schemaFile        *yaml.Node
	recorded                  []string
}

// readFile reads one file and adds its tools.
func (l *loader) readFile(path string) {
	f, err := os.Open(path)
	if err != nil {
		l.problems.add(path, 0, "%v", plainPathError(err))
		return
	}
	defer f.Close()
	data, err := readBounded(f, maxFile)
	if err != nil {
		l.problems.add(path, 0, "%v", plainPathError(err))
		return
	}
	l.readCatalogue(path, data)
}

// plainPathError drops the path, which stands before every problem anyway.
func plainPathError(err error) error {
	if pathError := (*fs.PathError)(nil); errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

func (l *loader) readCatalogue(path string, data []byte) {
	r := &reader{file: path, problems: &l.problems}
	root := r.document(data)
	if root == nil {
		return
	}
	versioned := false
	r.mapping(root, "the file", map[string]func(*yaml.Node){
		"version": func(n *yaml.Node) {
			versioned = true
			if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || n.Value != "1" {
				r.fail(n, "version must be 1")
			}
		},
		"tools": func(n *yaml.Node) {
			for i, item := range r.sequence(n, "tools", maxTools) {
				l.readTool(path, i, item)
			}
		},
	})
	if !versioned && root.Kind == yaml.MappingNode {
		r.fail(root, "version: 1 is missing")
	}
}

// readTool reads the entry and compiles it. Each half reports what it finds.
func (l *loader) readTool(path string, index int, n *yaml.Node) {
	r := &reader{file: path, problems: &l.problems, context: entryContext(index, n)}
	e := &entry{line: n.Line}
	r.mapping(n, "a tool", map[string]func(*yaml.Node){
		"name": func(n *yaml.Node) {
			if e.name = r.text(n, "name", 1<<10); e.name != "" && !toolName.MatchString(e.name) {
				r.fail(n, "name %s must be 1 to 128 letters, digits, '_', '-' and '.'", quoteShort(e.name))
			}
		},
		"server": func(n *yaml.Node) {
			e.server = r.text(n, "server", 1<<10)
			l.checkServer(r, n, e.server)
		},
		"description":        func(n *yaml.Node) { e.description = r.text(n, "description", maxDescription) },
		"risk_level":         func(n *yaml.Node) { e.risk = choice[Risk](r, n, "risk_level", riskNames()) },
		"requires_elevation": func(n *yaml.Node) { e.elevation = r.boolean(n, "requires_elevation") },
		"requires_approval":  func(n *yaml.Node) { e.approval = r.boolean(n, "requires_approval") },
		"required_scopes": func(n *yaml.Node) {
			e.scopes = r.texts(n, "required_scopes", maxScopes, scopeToken)
		},
		"rate_limit_tier": func(n *yaml.Node) { e.tier = choice[Tier](r, n, "rate_limit_tier", tierNames()) },
		"pii_policy":      func(n *yaml.Node) { e.pii = choice[PIIPolicy](r, n, "pii_policy", piiNames()) },
		"max_concurrency": func(n *yaml.Node) {
			e.concurrency = r.integer(n, "max_concurrency", 0, maxMaxConcurrency)
		},
		"timeout_seconds": func(n *yaml.Node) {
			e.timeout = r.integer(n, "timeout_seconds", 1, int(maxTimeout/time.Second))
		},
		"idempotency": func(n *yaml.Node) { e.idempotency = n; e.readIdempotency(r, n) },
		"record_arguments": func(n *yaml.Node) {
			e.recorded = r.texts(n, "record_arguments", maxRecorded, argumentName)
		},
		"step_up":           func(n *yaml.Node) { e.readStepUp(r, n) },
		"elevation":         func(n *yaml.Node) { e.readElevation(r, n) },
		"conditions":        func(n *yaml.Node) { e.readConditions(r, n, l.compiler) },
		"shadow":            func(n *yaml.Node) { l.readShadow(r, n, e) },
		"input_schema":      func(n *yaml.Node) { e.schema = n },
		"input_schema_file": func(n *yaml.Node) { e.schemaFile = n },
	})
	if n.Kind == yaml.MappingNode {
		l.compile(r, n, e)
	}
}

// entryContext names the entry that a problem is about.
func entryContext(index int, n *yaml.Node) string {
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if v := n.Content[i+1]; n.Content[i].Value == "name" && toolName.MatchString(v.Value) {
				return "tool " + v.Value + ": "
			}
		}
	}
	return fmt.Sprintf("tools[%d]: ", index)
}

func (l *loader) checkServer(r *reader, n *yaml.Node, name string) {
	switch {
	case name == "":
	case !serverName.MatchString(name):
		r.fail(n, "server %s is no name of a server", quoteShort(name))
	case len(l.cfg.Servers) != 0 && !slices.Contains(l.cfg.Servers, name):
		r.fail(n, "server %q is not configured (configured: %s)", name, strings.Join(l.cfg.Servers, ", "))
	}
}

func (e *entry) readIdempotency(r *reader, n *yaml.Node) {
	r.mapping(n, "idempotency", map[string]func(*yaml.Node){
		"enabled":    func(n *yaml.Node) { e.idempotent = r.boolean(n, "idempotency.enabled") },
		"required":   func(n *yaml.Node) { e.keyRequired = r.boolean(n, "idempotency.required") },
		"on_unknown": func(n *yaml.Node) { e.onUnknown = choice[OnUnknown](r, n, "idempotency.on_unknown", onUnknownNames()) },
		"ttl_seconds": func(n *yaml.Node) {
			e.ttl = r.integer(n, "idempotency.ttl_seconds", 1, int(maxTTL/time.Second))
		},
	})
}

func (e *entry) readStepUp(r *reader, n *yaml.Node) {
	r.mapping(n, "step_up", map[string]func(*yaml.Node){
		"acr_values": func(n *yaml.Node) {
			e.stepUp.ACRValues = r.texts(n, "step_up.acr_values", 16, acrValue)
			if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
				r.fail(n, "step_up.acr_values must not be empty")
			}
		},
		"max_age_seconds": func(n *yaml.Node) {
			if age := r.integer(n, "step_up.max_age_seconds", 1, int(maxStepUpAge/time.Second)); age != nil {
				e.stepUp.MaxAge = time.Duration(*age) * time.Second
			}
		},
	})
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		r.fail(n, "step_up needs acr_values, max_age_seconds or both")
	}
}

func (e *entry) readElevation(r *reader, n *yaml.Node) {
	r.mapping(n, "elevation", map[string]func(*yaml.Node){
		"max_duration_seconds": func(n *yaml.Node) {
			if longest := r.integer(n, "elevation.max_duration_seconds", 10, int(maxElevation/time.Second)); longest != nil {
				e.rule.Longest = time.Duration(*longest) * time.Second
			}
		},
		"provider_role": func(n *yaml.Node) { e.rule.ProviderRole = r.text(n, "elevation.provider_role", 256) },
		"approver_roles": func(n *yaml.Node) {
			e.rule.ApproverRoles = r.texts(n, "elevation.approver_roles", 16, roleName)
		},
	})
}

func (e *entry) readConditions(r *reader, n *yaml.Node, compiler *conditionCompiler) {
	for _, item := range r.sequence(n, "conditions", maxConditions) {
		condition, at := &Condition{}, item
		r.mapping(item, "a condition", map[string]func(*yaml.Node){
			"expression": func(n *yaml.Node) {
				condition.Expression, at = r.text(n, "expression", maxExpression), n
			},
			"message": func(n *yaml.Node) { condition.Message = r.text(n, "message", 1<<10) },
		})
		if condition.Expression == "" {
			r.fail(item, "a condition needs an expression")
			continue
		}
		if condition.Message == "" {
			r.fail(item, "a condition needs a message, which tells callers what to do")
		}
		compiled, faults := compiler.compile(condition.Expression)
		for _, fault := range faults {
			r.fail(at, "expression: %s", fault)
		}
		if len(faults) == 0 {
			e.conditions = append(e.conditions, condition)
			e.programs = append(e.programs, compiled)
		}
	}
}

func (l *loader) readShadow(r *reader, n *yaml.Node, e *entry) {
	r.mapping(n, "shadow", map[string]func(*yaml.Node){
		"policies": func(n *yaml.Node) {
			for _, item := range r.sequence(n, "shadow.policies", len(shadowPolicies())) {
				switch p := r.text(item, "each of shadow.policies", 256); {
				case p == "":
				case !slices.Contains(shadowPolicies(), p):
					r.fail(item, "policy %s can't be shadowed (only %s)", quoteShort(p), strings.Join(shadowPolicies(), ", "))
				case slices.Contains(e.shadow.Policies, p):
					r.fail(item, "shadow.policies: %q is there twice", p)
				default:
					e.shadow.Policies = append(e.shadow.Policies, p)
				}
			}
		},
		"until": func(n *yaml.Node) {
			e.shadow.Until = readDate(r, n)
			if !e.shadow.Until.IsZero() && !e.shadow.Until.After(l.now) {
				// No problem: a restart after that day must not fail.
				l.warn(r.file, n.Line, "%sshadow.until %s has passed, so everything is enforced: remove the shadow, or choose a new date", r.context, n.Value)
			}
		},
	})
	if n.Kind != yaml.MappingNode {
		return
	}
	if policies := valueAt(n, "policies"); len(policies.Content) == 0 || policies == n {
		r.fail(n, "shadow needs policies")
	}
	if !hasKey(n, "until") {
		r.fail(n, "shadow needs until, a date in the future")
	}
}

// readDate reads the end of a shadow mode: a moment (RFC 3339), or a date, which
// is shadowed to its end in UTC.
func readDate(r *reader, n *yaml.Node) time.Time {
	until, err := time.Parse(time.RFC3339, n.Value)
	if err != nil {
		if until, err = time.Parse(time.DateOnly, n.Value); err == nil {
			until = until.AddDate(0, 0, 1)
		}
	}
	if n.Kind != yaml.ScalarNode || err != nil {
		r.fail(n, "shadow.until must be a date (2006-01-02) or a time (RFC 3339)")
	}
	return until.UTC()
}

// openBeside opens a file that is named relative to a catalogue file. Symbolic
// links are followed within the folder only, as os.Root does.
func openBeside(catalogue, name string) (*os.File, error) {
	root, err := os.OpenRoot(filepath.Dir(catalogue))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Open(name)
}
