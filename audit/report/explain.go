package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/audit"
)

// Explain tells a reviewer why a decision fell as it did: who asked for what, the
// verdict, each policy in the order in which they ran, and what became of the
// request. reasons has one sentence for each reason code. related are other
// events that may belong to the request; what doesn't is left out.
func Explain(w io.Writer, reasons map[string]string, decision *audit.Event, related []*audit.Event) error {
	if decision.EventType != "decision" {
		return fmt.Errorf("event %s is no decision: its type is %q", decision.EventID, decision.EventType)
	}
	p := page{reasons: reasons}
	p.verdict(decision)
	p.request(decision)
	p.policies(decision)
	p.obligations(decision)
	if err := p.aftermath(decision, related); err != nil {
		return err
	}
	_, err := io.WriteString(w, p.text.String())
	return err
}

// page is text for a reviewer.
type page struct {
	text    strings.Builder
	reasons map[string]string
}

// line adds a line. Its strings are made printable: only what is written here
// gives the page its form.
func (p *page) line(format string, args ...any) {
	for i, arg := range args {
		if s, ok := arg.(string); ok {
			args[i] = printable(s)
		}
	}
	fmt.Fprintf(&p.text, format+"\n", args...)
}

// field adds a line of a table, unless it has no value.
func (p *page) field(name, value string) {
	if value != "" {
		p.line("  %-10s %s", name, value)
	}
}

func (p *page) meaning(code string) string {
	if text, ok := p.reasons[code]; ok {
		return text
	}
	return "What this reason means is not known to this version."
}

func (p *page) verdict(e *audit.Event) {
	switch {
	case e.Status == "allow" && len(e.Metadata.Shadow) > 0:
		p.line("ALLOWED: Policies in shadow mode would have refused it; all others passed.")
	case e.Status == "allow":
		p.line("ALLOWED: %s", p.meaning(e.Metadata.Reason))
	case e.Status == "deny":
		p.line("DENIED: %s", p.meaning(e.Metadata.Reason))
	default:
		p.line("%s: %s", strings.ToUpper(e.Status), p.meaning(e.Metadata.Reason))
	}
	p.field("reason", e.Metadata.Reason)
	p.field("told", e.Metadata.Detail)
	p.field("decision", e.EventID)
	if e.Log != "" {
		p.field("sealed as", fmt.Sprintf("event %d of log %s", e.Seq, e.Log))
	}
}

func (p *page) request(e *audit.Event) {
	p.line("\nThe request")
	p.field("who", who(e))
	p.field("asked", what(e))
	for _, name := range slices.Sorted(maps.Keys(e.Metadata.Arguments)) {
		p.field("argument", name+" = "+string(e.Metadata.Arguments[name]))
	}
	p.field("when", e.Timestamp.Format("2006-01-02 15:04:05.000000 UTC"))
	p.field("from", from(e))
	p.field("to", e.Metadata.Authority)
	p.field("request id", e.CorrelationID)
	p.field("decided in", microseconds(e.Metadata.LatencyUS))
}

func (p *page) policies(e *audit.Event) {
	ran := e.Metadata.PoliciesEvaluated
	if len(ran) == 0 {
		p.line("\nNo policy ran.")
	} else {
		p.line("\nThe policies, in the order in which they ran")
	}
	for i, name := range ran {
		p.policy(e, policyNamed(name), i == len(ran)-1)
	}
	var rest []string
	for i := range policies {
		if !slices.Contains(ran, policies[i].name) {
			rest = append(rest, policies[i].name)
		}
	}
	switch {
	case len(rest) == 0:
	case e.Status == "deny":
		p.line("Not run, because the first refusal decides: %s", strings.Join(rest, ", "))
	default:
		p.line("Not recorded as run, by a version that may not have had them: %s", strings.Join(rest, ", "))
	}
}

// policy says how one policy that ran has ended.
func (p *page) policy(e *audit.Event, step *policy, last bool) {
	m := &e.Metadata
	shadowed := slices.IndexFunc(m.Shadow, func(code string) bool { return policyOf(code) == step.name })
	denied := last && e.Status == "deny"
	switch {
	case denied && policyOf(m.Reason) == step.name:
		p.step("REFUSED", step)
		p.line("%12s because: %s (%s)", "", p.meaning(m.Reason), m.Reason)
		switch {
		case m.Detail != "":
			p.line("%12s in particular: %s", "", m.Detail)
		case step.quotes:
			p.line("%12s what the caller was told besides quotes the request and is not recorded", "")
		}
	case denied && policyOf(m.Reason) == "internal":
		p.step("failed", step)
		p.line("%12s because: %s (%s)", "", p.meaning(m.Reason), m.Reason)
		return
	case shadowed >= 0:
		p.step("shadow", step)
		p.line("%12s would have refused: %s (%s)", "", p.meaning(m.Shadow[shadowed]), m.Shadow[shadowed])
		p.line("%12s but its shadow mode only records that", "")
	default:
		p.step("passed", step)
	}
	switch {
	case step.ofTools && m.Risk == "":
		p.line("%12s nothing to check: no tool is called", "")
	case step.fact != nil:
		if fact := step.fact(e); fact != "" {
			p.line("%12s here: %s", "", fact)
		}
	}
}

func (p *page) step(result string, step *policy) {
	p.line("  %-8s %s: %s", result, step.name, step.checks)
}

// obligations are what an allowed request has to keep to.
func (p *page) obligations(e *audit.Event) {
	m := &e.Metadata
	if e.Status != "allow" || m.KeyHash == "" && m.Risk != "privileged" && m.Elevation == nil {
		return
	}
	p.line("\nAllowed on these terms")
	if m.KeyHash != "" {
		p.line("  It is executed at most once for its idempotency key, which %s.", keySource(m.KeySource))
		p.line("  Hash of the key: %s", m.KeyHash)
	}
	switch by := elevatedBy(e); {
	case by != "":
		p.line("  The caller was elevated by %s.", by)
	case m.Risk == "privileged":
		p.line("  It is privileged. What elevated the caller is not recorded.")
	}
	if m.ApprovalID != "" {
		p.line("  It was approved by request %s, which the exchange spends once: a further call, with another key, needs another.", m.ApprovalID)
	}
}

// who is the caller.
func who(e *audit.Event) string {
	m, caller := &e.Metadata, principal(e)
	switch {
	case m.Principal == nil:
		return "somebody who was not authenticated"
	case caller.Pseudonym != "":
		return "pseudonym " + caller.Pseudonym + " (the name is encrypted)"
	}
	return listed(
		join("subject ", caller.Subject), join("client ", caller.Client), join("of issuer ", caller.Issuer),
		join("tenant ", caller.Tenant), join("acted for by ", caller.Actor), join("token ", caller.TokenID),
	)
}

// what is what was asked for.
func what(e *audit.Event) string {
	tool := join("tool ", e.ToolName)
	if tool != "" {
		tool += join(" (", e.Metadata.Risk, ")")
	}
	if e.ToolName == "" && e.Action == "" {
		tool = "what is not known"
	}
	return listed(tool, join("by ", e.Action), join("target ", e.Metadata.Target), join("on server ", e.Metadata.Server))
}

// from is where the request came from.
func from(e *audit.Event) string {
	if e.Metadata.ClientAddress == "" && e.Metadata.Personal != "" {
		return "an address that is encrypted"
	}
	return e.Metadata.ClientAddress
}

// listed puts the parts that aren't empty into one line.
func listed(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

func microseconds(us int64) string {
	if us == 0 {
		return ""
	}
	return (time.Duration(us) * time.Microsecond).String()
}
