package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/testenv"
)

// meshWithRedis keeps everything in a Redis of its own. The test starts it.
func meshWithRedis(t *testing.T, o meshOptions) *mesh {
	t.Helper()
	redis := testenv.RedisFor(t, testenv.RedisOptions{AOF: "everysec"})
	o.later = true
	m := startMesh(t, o)
	m.write(t, "claims.key", strings.Repeat("0123456789abcdef", 4))
	m.write(t, "sallyport.yaml", m.read(t, "sallyport.yaml")+fmt.Sprintf("redis: {addresses: [%q]}\ntransaction_safety: {key_files: [claims.key]}\n", redis.Address()))
	return m
}

// command runs the binary with the mesh's configuration.
func (m *mesh) command(t *testing.T, arguments ...string) (output string, ok bool) {
	t.Helper()
	text, err := exec.CommandContext(t.Context(), m.binary, append(arguments, "--config", m.config())...).CombinedOutput()
	return string(text), err == nil
}

// TestOperator is about a claim whose outcome is unknown, and about a revocation.
func TestOperator(t *testing.T) {
	t.Parallel()
	var effects atomic.Int32
	m := meshWithRedis(t, meshOptions{office: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if effects.Add(1) == 1 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"jsonrpc":"2.0","id":7,"result":{"content":[],"resultType":"complete"}}`)
	})})
	m.edit(t, "tools.yaml", "  - name: refund_payment\n    server: office\n    risk_level: privileged\n", "  - name: refund_payment\n    server: office\n    risk_level: write\n")
	call := callTool(m.token(t, "alice", ""), "refund_payment", `{}`).with("Idempotency-Key", "refund-of-order-1234")
	call.path = "/office"
	m.startSallyport(t)
	m.startEnvoy(t)
	if a := m.send(t, call); a.status != http.StatusInternalServerError {
		t.Fatalf("first call: %d %s", a.status, a.body)
	}
	var refused struct {
		KeyHash   string `json:"key_hash"`
		Principal struct{ ID string }
	}
	a := m.send(t, call)
	if facts, _ := a.refusal(t); facts.Reason != "idempotency.outcome_unknown" || effects.Load() != 1 {
		t.Fatalf("after a 500: %s, %d effects", a.body, effects.Load())
	}
	id := a.header.Get("X-Sallyport-Decision-Id")
	m.records(t, "decision", func(line []byte) {
		if strings.Contains(string(line), id) {
			if err := json.Unmarshal(line, &refused); err != nil {
				t.Fatal(err)
			}
		}
	})

	says := func(ok bool, want string, arguments ...string) {
		t.Helper()
		output, gotOK := m.command(t, arguments...)
		if gotOK != ok || !strings.Contains(output, want) {
			t.Errorf("%q: ok %v, want %v and %q:\n%s", arguments, gotOK, ok, want, output)
		}
	}
	says(true, "unknown", "idempotency", "show", refused.KeyHash)
	says(true, `"state":"unknown"`, "idempotency", "show", "--json", "--principal", refused.Principal.ID, "refund-of-order-1234")
	says(false, "nothing is known", "idempotency", "show", "--principal", "nobody", "refund-of-order-1234")
	says(false, "64 hex digits", "idempotency", "show", "refund-of-order-1234")
	says(false, `required flag(s) "why"`, "idempotency", "clear", refused.KeyHash)
	says(true, "would be cleared", "idempotency", "clear", refused.KeyHash, "--why", "not in the ledger", "--dry-run")
	says(true, "unknown", "idempotency", "show", refused.KeyHash)
	says(true, "will be executed", "idempotency", "clear", refused.KeyHash, "--why", "not in the ledger")
	if a = m.send(t, call); a.status != http.StatusOK || effects.Load() != 2 {
		t.Errorf("after the claim was cleared: %d %s, %d effects", a.status, a.body, effects.Load())
	}
	says(false, "a second time", "idempotency", "clear", refused.KeyHash, "--why", "try it")
	m.recorded(t, "idempotency.clear", "not in the ledger", refused.KeyHash)

	says(false, "--until", "token", "revoke", "--issuer", "dev", "--subject", "alice", "--why", "left", "--until", "tomorrow")
	says(false, "not configured", "token", "revoke", "--issuer", "none", "--subject", "alice", "--why", "left")
	says(false, "none of the others can be", "token", "revoke", "--issuer", "dev", "--subject", "alice", "--client", "x", "--why", "left")
	says(true, "Would be revoked: subject alice of dev", "token", "revoke", "--issuer", "dev", "--subject", "alice", "--why", "left", "--dry-run")
	if a = m.send(t, call); a.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("a dry run revoked: %d %s", a.status, a.body)
	}
	says(true, "Revoked", "token", "revoke", "--issuer", "dev", "--subject", "alice", "--why", "left")
	eventually(t, time.Second, "alice is refused", m.is(t, call, "revocation.revoked"))
	m.recorded(t, "token.revoke", "left", "alice")
	says(true, "Taken back", "token", "revoke", "--issuer", "dev", "--subject", "alice", "--why", "back", "--lift")
	m.recorded(t, "token.lift", "back", "alice")
	eventually(t, time.Second, "alice is let in again", m.is(t, call, "allowed"))
}

// recorded checks that the audit trail says who did what, and why.
func (m *mesh) recorded(t *testing.T, action, why, subject string) {
	t.Helper()
	found := false
	m.records(t, "operator", func(line []byte) {
		var r struct {
			UserID                      string `json:"user_id"`
			Action, Why, Status, Failed string
		}
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if r.Action == action && r.Why == why {
			found = true
			if r.UserID == "" || r.Status != "begun" || r.Failed != "" || !strings.Contains(string(line), subject) {
				t.Errorf("record %s", line)
			}
		}
	})
	if !found {
		t.Errorf("%s is not in the audit trail", action)
	}
}

// TestOperatorNeedsRedis: what one process keeps in memory another can't change.
func TestOperatorNeedsRedis(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{later: true})
	for _, arguments := range [][]string{
		{"idempotency", "show", strings.Repeat("0", 64)},
		{"token", "revoke", "--issuer", "dev", "--subject", "alice", "--why", "left"},
	} {
		if output, ok := m.command(t, arguments...); ok || !strings.Contains(output, "redis.addresses is empty") {
			t.Errorf("%q: ok %v: %s", arguments, ok, output)
		}
	}
	if _, err := os.Stat(m.dir + "/audit"); err == nil {
		t.Error("something was recorded")
	}
}
