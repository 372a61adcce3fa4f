package main_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/testenv"
)

// startReplicas starts two replicas, each behind an Envoy of its own, on one
// PostgreSQL.
func startReplicas(t *testing.T, pim ...string) (a, b *elevations, server *testenv.Postgres) {
	t.Helper()
	server = testenv.PostgresFor(t, testenv.PostgresOptions{})
	o := elevationOptions{
		pim:      pim,
		database: fmt.Sprintf("driver: postgres\nurl: %s\npassword_file: database-password", server.URL(testenv.PostgresUser, "", "postgres")),
		files: func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, "database-password"), []byte(testenv.PostgresPassword), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	}
	a = startElevations(t, o)
	o.replicaOf = a
	return a, startElevations(t, o), server
}

// What is decided at one replica counts at the other within a second.
func TestElevationAtEveryReplica(t *testing.T) {
	t.Parallel()
	a, b, _ := startReplicas(t)
	alice, bob := a.caller(t, "alice"), a.caller(t, "bob", roles("approver"))
	refund := func() request { return b.scene(nil).of(callTool(alice, "refund", "{}")) }
	asked := a.requested(t, elevate(alice, `"tool":"refund","reason":"x"`), http.StatusAccepted)
	b.comes(t, refund, "elevation.required")
	a.requested(t, approve(bob, asked.ID), http.StatusOK)
	b.comes(t, refund, "200")
	b.requested(t, ask(bob, http.MethodDelete, "elevations/"+asked.ID+"?why=x", ""), http.StatusOK)
	a.comes(t, func() request { return a.scene(nil).of(callTool(alice, "refund", "{}")) }, "elevation.revoked")

	desk := a.scene(nil)
	paid := a.requested(t, elevate(alice, `"tool":"pay","reason":"x","arguments":{"to":"acme"}`), http.StatusAccepted)
	a.requested(t, approve(bob, paid.ID), http.StatusOK)
	b.comes(t, func() request { // it has come, and an unfit key spends nothing
		return callTool(alice, "pay", `{"to":"acme"}`).with("Idempotency-Key", "")
	}, "idempotency.key_malformed")
	counts, at := make(map[string]int), []*elevations{a, b}
	results := make(chan map[string]int, 2)
	for _, replica := range at {
		var calls []request
		for range 32 {
			calls = append(calls, callTool(alice, "pay", `{"to":"acme"}`).with(sceneHeader, desk.name, "Idempotency-Key", rand.Text()))
		}
		go func() { results <- replica.together(t, calls) }()
	}
	for range at {
		for reason, n := range <-results {
			counts[reason] += n
		}
	}
	if counts["200"] != 1 || counts["approval.spent"] != 63 {
		t.Errorf("of 64 uses at two replicas: %v", counts)
	}
	desk.executed(t, 1)
}

// Grants survive a restart. While their database is away nobody is let in by them, and
// whoever needs none notices nothing.
func TestElevationDatabaseAway(t *testing.T) {
	t.Parallel()
	a, _, server := startReplicas(t)
	alice, bob := a.caller(t, "alice"), a.caller(t, "bob", roles("approver"))
	refund := func() request { return a.scene(nil).of(callTool(alice, "refund", "{}")) }
	asked := a.requested(t, elevate(alice, `"tool":"refund","reason":"x"`), http.StatusAccepted)
	a.requested(t, approve(bob, asked.ID), http.StatusOK)
	paid := a.requested(t, elevate(alice, `"tool":"pay","reason":"x","arguments":{"to":"acme"}`), http.StatusAccepted)
	a.requested(t, approve(bob, paid.ID), http.StatusOK)
	a.comes(t, refund, "200")
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	pay := func() request { return a.scene(nil).of(callTool(alice, "pay", `{"to":"acme"}`)) }
	eventually(t, 10*time.Second, "grants are not known", func() bool { return a.ends(t, refund()) == "elevation.unavailable" })
	eventually(t, 10*time.Second, "approvals are not known", func() bool { return a.ends(t, pay()) == "approval.unavailable" })
	if got := a.ends(t, a.scene(nil).of(callTool(alice, "search", "{}"))); got != "200" {
		t.Errorf("a read: %s", got)
	}
	a.refused(t, elevate(alice, `"tool":"close_books","reason":"x"`), 503, "elevation.unavailable")
	if err := a.sallyport.Stop(); err != nil {
		t.Fatal(err)
	}
	a.startSallyport(t)
	if got := a.ends(t, refund()); got != "elevation.unavailable" {
		t.Errorf("started without the database: %s", got)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the grant is back", func() bool { return a.ends(t, refund()) == "200" })
	if got := a.ends(t, pay()); got != "200" {
		t.Errorf("the approval that nobody could spend: %s", got)
	}
}
