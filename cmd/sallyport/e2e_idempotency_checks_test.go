package main_test

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/authz/refusal"
)

// outcome is a record of what became of a decision.
type outcome struct {
	DecisionID string `json:"decision_id"`
	Source     string `json:"source"`
	Result     string `json:"status"`
	Details    string `json:"details"`
	Flags      string `json:"flags"`
	Status     int    `json:"http_status"`
	BytesIn    int    `json:"bytes_in"`
	BytesOut   int    `json:"bytes_out"`
	Duration   int    `json:"duration_us"`
}

// outcomes are the records of a decision's outcome so far.
func (x *exchanges) outcomes(t *testing.T, id string) (found []outcome) {
	t.Helper()
	x.records(t, "outcome", func(line []byte) {
		var o outcome
		if err := json.Unmarshal(line, &o); err != nil {
			t.Fatalf("audit trail: %v in %s", err, line)
		}
		if o.DecisionID == id {
			found = append(found, o)
		}
	})
	return found
}

// outcome waits for the one record of a decision's outcome.
func (x *exchanges) outcome(t *testing.T, id string) outcome {
	t.Helper()
	var found []outcome
	eventually(t, 10*time.Second, "the outcome of decision "+id+" is recorded", func() bool {
		found = x.outcomes(t, id)
		return len(found) > 0
	})
	if len(found) > 1 {
		t.Errorf("several outcomes of one decision: %+v", found)
	}
	return found[0]
}

// ended checks the record of an exchange's outcome.
func (x *exchanges) ended(t *testing.T, id, result string) outcome {
	t.Helper()
	o := x.outcome(t, id)
	if o.Source != "ext_proc" || o.Result != result {
		t.Errorf("the recorded outcome is %+v, want %s", o, result)
	}
	return o
}

func decisionID(a answer) string { return a.header.Get("X-Sallyport-Decision-Id") }

// answered checks the status of an answer of the upstream's.
func (x *exchanges) answered(t *testing.T, a answer, status int, result string) {
	t.Helper()
	if a.status != status || a.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("status %d, replayed %q, want %d of the upstream's; body: %s", a.status, a.header.Get("Idempotent-Replayed"), status, a.body)
	}
	if d := x.decision(t, a); d.Effect != "allow" {
		t.Errorf("decided as %+v", d)
	}
	if o := x.ended(t, decisionID(a), result); o.Status != status {
		t.Errorf("recorded with status %d, want %d", o.Status, status)
	}
}

// refused checks an answer of the exchange itself: allowed by Check, and refused
// afterwards for this reason.
func (x *exchanges) refused(t *testing.T, a answer, status int, reason string) {
	t.Helper()
	if a.status != status || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("status %d, cache-control %q, want %d (%s); body: %s", a.status, a.header.Get("Cache-Control"), status, reason, a.body)
	}
	facts, _ := a.refusal(t)
	if facts.Reason != reason || facts.DecisionID != decisionID(a) {
		t.Errorf("refused for %s with decision %q, want %s and %q", facts.Reason, facts.DecisionID, reason, decisionID(a))
	}
	if d := x.decision(t, a); d.Effect != "allow" {
		t.Errorf("decided as %+v", d)
	}
	x.ended(t, decisionID(a), reason)
}

// replayed checks an answer that repeats another one.
func (x *exchanges) replayed(t *testing.T, a, of answer) {
	t.Helper()
	if a.status != of.status || a.header.Get("Idempotent-Replayed") != "true" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("status %d, %v; want a replay of %d; body: %s", a.status, a.header, of.status, a.body)
	}
	if decisionID(a) == decisionID(of) || x.decision(t, a).Effect != "allow" {
		t.Errorf("the replay has decision %s, its original %s", decisionID(a), decisionID(of))
	}
	if o := x.ended(t, decisionID(a), "replayed"); o.Status != a.status || o.Details != "idempotent_replay" {
		t.Errorf("recorded as %+v", o)
	}
}

// retried checks what a retry of an MCP or REST call got: executed, replayed or
// refused, for a reason.
func (x *exchanges) retried(t *testing.T, a, of answer, want string) {
	t.Helper()
	switch want {
	case "executed":
		x.answered(t, a, a.status, "executed")
	case "replayed":
		x.replayed(t, a, of)
	default:
		status := http.StatusConflict
		if strings.HasPrefix(a.body, `{"jsonrpc"`) {
			status = http.StatusOK
		}
		x.refused(t, a, status, want)
	}
}

// refusalOf is the reason of a refusal; empty if the answer is none.
func refusalOf(a answer) string {
	var body struct {
		facts
		Error  struct{ Data facts }
		Result struct {
			Meta map[string]facts `json:"_meta"`
		}
	}
	if json.Unmarshal([]byte(a.body), &body) != nil {
		return ""
	}
	return cmp.Or(body.Reason, body.Error.Data.Reason, body.Result.Meta[refusal.FactsKey].Reason)
}

// reloads are the times at which a configuration was loaded again, from the log.
func (x *exchanges) reloads() []string {
	return strings.Split(x.log.String(), `"msg":"configuration reloaded"`)[1:]
}
