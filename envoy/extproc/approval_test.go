package extproc_test

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport/sallyport/envoy/extproc"
	"github.com/sallyport/sallyport/idempotency"
)

// memoryApprovals spends each approval once, for the call that it is for. It fails
// in two ways: not spent, and spent but not known.
type memoryApprovals struct {
	mu      sync.Mutex // guards what follows
	open    map[string]bool
	before  error
	after   error
	spent   []extproc.Approval
	refused int
}

func (m *memoryApprovals) Spend(_ context.Context, a extproc.Approval) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.before != nil {
		return m.before
	}
	if !m.open[a.ID] || a.Fingerprint != testDigest {
		m.refused++
		return extproc.ErrNotApproved
	}
	m.open[a.ID] = false
	m.spent = append(m.spent, a)
	return m.after
}

// An approval is spent by the call that is executed, and by nothing else: not by what
// is refused before, and not by a retry, which is a replay.
func TestApprovalIsSpentOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.approvals.open["a-1"] = true
	other := idempotency.KeyOf("alice", "k-2")
	approved := func(id string, changes ...string) map[string]any {
		return decision(id, append([]string{"approval_id", "a-1"}, changes...)...)
	}
	w.claims.fail(errors.New("away"), nil)
	e := w.open(t)
	if got := reasonOf(t, e.request(approved("d-1"))); got != "idempotency.unavailable" || len(w.approvals.spent) != 0 {
		t.Errorf("%s, spent %v", got, w.approvals.spent)
	}
	e.end()
	w.claims.fail(nil, nil)
	w.slots.err = errors.New("away")
	e = w.open(t)
	if got := reasonOf(t, e.request(approved("d-2", "slot_limit", "1"))); got != "concurrency.unavailable" || len(w.approvals.spent) != 0 {
		t.Errorf("%s, spent %v", got, w.approvals.spent)
	}
	e.end()
	w.slots.err = nil

	e = w.open(t)
	if refused := e.request(approved("d-3")); refused != nil {
		t.Fatalf("refused: %s", refused.GetBody())
	}
	if len(w.approvals.spent) != 1 || w.approvals.spent[0].DecisionID != "d-3" || w.approvals.spent[0].PrincipalID == "" {
		t.Fatalf("spent %+v", w.approvals.spent)
	}
	e.headers("200", "application/json", "via_upstream", false)
	e.body(rpcResult, true)
	e.end()
	w.awaitOutcome(t, "d-3")

	e = w.open(t)
	if answer := e.request(approved("d-4")); answer == nil || answer.GetDetails() != "idempotent_replay" {
		t.Errorf("the retry got %v", answer)
	}
	e.end()
	e = w.open(t)
	defer e.end()
	answer := e.request(approved("d-5", "key_hash", hex.EncodeToString(other[:]), "elevation_url", "https://dealer.example/elevate", "stateless", "true"))
	for _, want := range []string{`"isError":true`, `"resultType":"complete"`, `"reason":"approval.spent"`, `"elevation_url":"https://dealer.example/elevate"`} {
		if !strings.Contains(string(answer.GetBody()), want) {
			t.Errorf("a second use: no %s in %s", want, answer.GetBody())
		}
	}
	if _, known, err := w.claims.Show(t.Context(), other); known || err != nil {
		t.Errorf("the claim of what wasn't executed is still there: %v, %v", known, err)
	}
}

// Where nobody knows whether the approval was spent, nothing is executed.
func TestApprovalStoreAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.approvals.open["a-1"] = true
	for i, fail := range []func(){
		func() { w.approvals.before = errors.New("away") },
		func() { w.approvals.before, w.approvals.after = nil, errors.New("the answer was lost") },
	} {
		fail()
		e := w.open(t)
		if got := reasonOf(t, e.request(decision("d", "approval_id", "a-1"))); got != "approval.unavailable" {
			t.Errorf("%d: %s", i, got)
		}
		e.end()
		if _, known, err := w.claims.Show(t.Context(), testKey); known || err != nil {
			t.Errorf("%d: the claim is still there: %v, %v", i, known, err)
		}
	}
}
