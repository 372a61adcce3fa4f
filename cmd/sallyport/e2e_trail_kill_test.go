package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// audit runs a command of the audit trail. It returns what it wrote and its exit
// code.
func (m *mesh) audit(t *testing.T, arguments ...string) (output string, code int) {
	t.Helper()
	command := exec.CommandContext(t.Context(), m.binary, append(append([]string{"audit"}, arguments...), "--config", m.config())...)
	text, err := command.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return string(text) + string(exit.Stderr), exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text), 0
}

// verified wants a trail in which nothing is found, with at least so many events.
func (m *mesh) verified(t *testing.T, events int) {
	t.Helper()
	output, code := m.audit(t, "verify", "--json")
	var report struct{ Events, Found int }
	if err := json.Unmarshal([]byte(output), &report); err != nil {
		t.Fatalf("verify: %v: %s", err, output)
	}
	if code != 0 || report.Found != 0 || report.Events < events {
		t.Errorf("verify: exit code %d, %d events, want %d: %s", code, report.Events, events, output)
	}
}

// toldIDs are the decisions that clients were told of.
type toldIDs struct {
	mu  sync.Mutex
	ids map[string]bool
}

func (a *toldIDs) add(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ids[id] = true
}

func (a *toldIDs) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.ids)
}

// load sends reads, writes, denials and calls of privileged tools until ctx ends.
// What isn't answered doesn't count.
func (m *mesh) load(ctx context.Context, t *testing.T, told *toldIDs) *sync.WaitGroup {
	token := m.token(t, "alice", "vehicles.read services.write payments.refund")
	requests := []func(n int) request{
		func(int) request { return rest(token, "GET", "/vehicles/V-1001", "") },
		func(int) request { return callTool(token, "search_vehicles", `{}`) },
		func(n int) request {
			return rest(token, "POST", "/services", `{"vehicle_id":"V-1001","customer_id":"C-1","date":"2027-03-01"}`).
				with("Idempotency-Key", fmt.Sprintf("load-%d-%d", n, rand.Uint64()))
		},
		func(int) request { return rest(token, "GET", "/nothing", "") },
	}
	var running sync.WaitGroup
	for worker := range 8 {
		running.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				a, err := m.try(ctx, requests[(worker+n)%len(requests)](worker))
				if id := a.header.Get("X-Sallyport-Decision-Id"); err == nil && id != "" {
					told.add(id)
				}
			}
		})
	}
	return &running
}

// TestNoAnswerWithoutRecord kills Sallyport thirty times at random moments under
// load. Every decision that a client was told of is in the trail, once, and the
// trail verifies.
func TestNoAnswerWithoutRecord(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{audit: "  batch_interval: 100ms\n  heartbeat_interval: 1s"})
	told := &toldIDs{ids: make(map[string]bool)}
	ctx, stop := context.WithCancel(t.Context())
	running := m.load(ctx, t, told)
	for range 30 {
		before := told.count()
		eventually(t, 30*time.Second, "requests are answered", func() bool { return told.count() > before+5 })
		linger(t.Context(), time.Duration(rand.IntN(150))*time.Millisecond)
		if err := m.sallyport.Kill(); err != nil {
			t.Fatal(err)
		}
		m.startSallyport(t)
	}
	stop()
	running.Wait()
	if err := m.sallyport.Stop(); err != nil {
		t.Fatal(err)
	}
	recorded := make(map[string]int)
	for _, d := range m.decisions(t) {
		recorded[d.ID]++
	}
	for id := range told.ids {
		if recorded[id] != 1 {
			t.Errorf("decision %s was told and is recorded %d times", id, recorded[id])
		}
	}
	t.Logf("%d decisions were told, %d are recorded", len(told.ids), len(recorded))
	m.verified(t, len(told.ids))
}
