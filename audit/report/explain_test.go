package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/report"
	"github.com/sallyport/sallyport/authz"
)

func explain(t *testing.T, decision *audit.Event, related ...*audit.Event) string {
	t.Helper()
	var text bytes.Buffer
	if err := report.Explain(&text, reasons(), decision, related); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestExplain(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"decision-allow", "decision-deny", "decision-hidden", "decision-shadow", "decision-stranger"} {
		golden(t, "explain-"+name+".txt", []byte(explain(t, sample(t, name), samples(t)...)))
	}
}

// TestExplainOnlyDecisions: an outcome explains nothing.
func TestExplainOnlyDecisions(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	err := report.Explain(&text, reasons(), sample(t, "outcome"), nil)
	if err == nil || !strings.Contains(err.Error(), `"outcome"`) || text.Len() != 0 {
		t.Errorf("%v, %s", err, text.String())
	}
}

// policyNames are the policies in their order, as the codes of the table of
// reasons have it, without what is refused outside of the policies.
func policyNames(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, r := range authz.Reasons() {
		name, _, isRefusal := strings.Cut(r.Code, ".")
		if isRefusal && !slices.Contains([]string{"concurrency", "audit", "internal"}, name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// decisionOf is a denial with a reason, or an allow, after the policies.
func decisionOf(t *testing.T, status, reason string, ran []string) *audit.Event {
	t.Helper()
	names, err := json.Marshal(ran)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, `{"event_id":"1","timestamp":"2026-03-20T09:30:00Z","event_type":"decision","status":"`+status+`",`+
		`"metadata":{"reason":"`+reason+`","policies_evaluated":`+string(names)+`}}`)
}

// TestExplainEveryPolicy: each policy that decides has a sentence here, and they are
// in its order.
func TestExplainEveryPolicy(t *testing.T) {
	t.Parallel()
	names := policyNames(t)
	if len(names) < 12 {
		t.Fatalf("policies %v", names)
	}
	for i, name := range names {
		text := explain(t, decisionOf(t, "allow", "allowed", names[:i+1]))
		if strings.Contains(text, "not known to this version") {
			t.Errorf("%s has no sentence:\n%s", name, text)
		}
		if !strings.Contains(text, "passed   "+name+": ") {
			t.Errorf("%s didn't pass:\n%s", name, text)
		}
		_, rest, found := strings.Cut(text, "Not recorded as run, by a version that may not have had them: ")
		rest, _, _ = strings.Cut(rest, "\n")
		var want string
		if i+1 < len(names) {
			want = strings.Join(names[i+1:], ", ")
		}
		if found != (want != "") || rest != want {
			t.Errorf("after %s: %q, want %q", name, rest, want)
		}
	}
	if text := explain(t, decisionOf(t, "allow", "allowed", []string{"astrology"})); !strings.Contains(text, "astrology: What this policy checks is not known") {
		t.Error(text)
	}
}

// TestExplainEveryReason: each row of the table is told, at the policy that it is
// of, or as what the exchange said after the decision.
func TestExplainEveryReason(t *testing.T) {
	t.Parallel()
	names := policyNames(t)
	for _, r := range authz.Reasons()[1:] {
		of, _, _ := strings.Cut(r.Code, ".")
		last := max(0, slices.Index(names, of))
		text := explain(t, decisionOf(t, "deny", r.Code, names[:last+1]))
		want := "REFUSED  " + of + ": "
		switch of {
		case "internal":
			want = "failed   route: "
		case "concurrency", "audit":
			want = "passed   route: " // no policy's: it comes after them
		}
		if !strings.HasPrefix(text, "DENIED: "+r.Title+"\n") || !strings.Contains(text, want) {
			t.Errorf("%s: no %q in\n%s", r.Code, want, text)
		}
		if of != "concurrency" && of != "audit" && !strings.Contains(text, "because: "+r.Title+" ("+r.Code+")") {
			t.Errorf("%s is not told:\n%s", r.Code, text)
		}
		refused := parse(t, `{"event_id":"2","timestamp":"2026-03-20T09:30:00Z","event_type":"outcome","status":"`+r.Code+`","metadata":{"decision_id":"1"}}`)
		text = explain(t, decisionOf(t, "allow", "allowed", names), refused)
		if !strings.Contains(text, "refused after the decision: "+r.Title) {
			t.Errorf("%s as an outcome:\n%s", r.Code, text)
		}
	}
}

// TestExplainRelated: what belongs to other requests is left out.
func TestExplainRelated(t *testing.T) {
	t.Parallel()
	decision := sample(t, "decision-allow")
	other := parse(t, `{"event_id":"of-another","timestamp":"2026-03-20T09:30:00Z","event_type":"outcome","status":"failed","metadata":{"decision_id":"x"}}`)
	same := parse(t, `{"event_id":"of-the-same","timestamp":"2026-03-20T09:30:00Z","event_type":"decision","correlation_id":"`+decision.CorrelationID+`","status":"deny"}`)
	text := explain(t, decision, decision, other, same)
	if strings.Contains(text, "of-another") || !strings.Contains(text, "of-the-same") || strings.Count(text, decision.EventID) != 1 {
		t.Error(text)
	}
	if !strings.Contains(text, "No outcome is among the events at hand") {
		t.Error(text)
	}
	// Requests without an id have nothing in common.
	lone := decisionOf(t, "allow", "allowed", nil)
	if text := explain(t, lone, other); strings.Contains(text, "Other events") || !strings.Contains(text, "No policy ran.") {
		t.Error(text)
	}
}

// TestExplainPrivileged: what is said about an elevation is no more than the event
// proves.
func TestExplainPrivileged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ more, want string }{
		{"", "What elevated the caller is not recorded"},
		{`"elevation":{"source":"claim","id":"at-7","until":"2026-03-20T10:00:00Z"},`, "The caller was elevated by the claim of token at-7 until 2026-03-20 10:00:00 UTC."},
		{`"elevation":{"source":"provider"},`, "elevated by the external provider."},
		{`"elevation":{"source":"break_glass","id":"r-1"},`, "break-glass grant r-1, while the external provider failed"},
		{`"elevation":{"source":"grant","id":"r-1"},"approval_id":"r-2",`, "approved by request r-2, which the exchange spends once"},
	} {
		text := explain(t, parse(t, `{"event_id":"1","timestamp":"2026-03-20T09:30:00Z","event_type":"decision","status":"allow",`+
			`"metadata":{"reason":"allowed","risk":"privileged",`+c.more+`"policies_evaluated":["elevation","approval"]}}`))
		if !strings.Contains(text, c.want) {
			t.Errorf("no %q in\n%s", c.want, text)
		}
	}
}

// TestExplainHonest: the verdict of a shadow mode is no clean one, and what isn't
// recorded is said.
func TestExplainHonest(t *testing.T) {
	t.Parallel()
	if text := explain(t, sample(t, "decision-shadow")); strings.Contains(text, "All policies passed") {
		t.Error(text)
	}
	names := policyNames(t)
	for reason, want := range map[string]bool{"operation.query": true, "schema.arguments": true, "scopes.insufficient": false} {
		text := explain(t, decisionOf(t, "deny", reason, names[:1+slices.Index(names, strings.Split(reason, ".")[0])]))
		if strings.Contains(text, "quotes the request and is not recorded") != want {
			t.Errorf("%s:\n%s", reason, text)
		}
	}
	noTool := explain(t, decisionOf(t, "allow", "allowed", names))
	if n := strings.Count(noTool, "nothing to check: no tool is called"); n != 6 {
		t.Errorf("%d policies had nothing to check:\n%s", n, noTool)
	}
	if tool := explain(t, sample(t, "decision-allow")); strings.Contains(tool, "nothing to check") {
		t.Error(tool)
	}
}

func TestExplainHostile(t *testing.T) {
	t.Parallel()
	harmless(t, "Explain", []byte(explain(t, hostile(t))))
}

// broken refuses to write after n bytes.
type broken struct{ n int }

var errFull = errors.New("no space left")

func (b *broken) Write(p []byte) (int, error) {
	if b.n -= len(p); b.n < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriteErrors(t *testing.T) {
	t.Parallel()
	e := sample(t, "decision-allow")
	got := map[string]error{
		"Explain": report.Explain(&broken{}, reasons(), e, nil),
		"Human":   report.Human(&broken{}, e),
		"Heading": report.Heading(&broken{}),
		"Show":    report.Show(&broken{}, e),
	}
	for name, err := range got {
		if !errors.Is(err, errFull) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHuman(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	if err := report.Heading(&text); err != nil {
		t.Fatal(err)
	}
	// One call for each event: a tail has them one after the other.
	for _, e := range samples(t) {
		if err := report.Human(&text, e); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "human.txt", text.Bytes())

	var evil bytes.Buffer
	if err := report.Human(&evil, hostile(t)); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(evil.Bytes(), []byte("\n")); n != 1 {
		t.Errorf("one event has %d lines: %s", n, evil.String())
	}
	harmless(t, "Human", evil.Bytes())
}

func TestShow(t *testing.T) {
	t.Parallel()
	var text, evil bytes.Buffer
	if err := report.Show(&text, sample(t, "decision-allow")); err != nil {
		t.Fatal(err)
	}
	golden(t, "show.json", text.Bytes())

	e := hostile(t)
	if err := report.Show(&evil, e); err != nil {
		t.Fatal(err)
	}
	harmless(t, "Show", evil.Bytes())
	// Escapes or not, it is the same JSON, with what this version doesn't know.
	if diff := cmp.Diff(decoded(t, e.Raw), decoded(t, evil.Bytes())); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(evil.String(), `"later"`) {
		t.Error("the unknown member is gone")
	}
}
