package main_test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/internal/devissuer"
	"github.com/sallyport/sallyport/internal/testenv"
)

// TestConformance runs the MCP conformance suite twice at the same time, against
// its own server and against the same behind Envoy and Sallyport: what comes out
// must not differ.
func TestConformance(t *testing.T) {
	for revision, least := range map[string]int{"2025-11-25": 80, "2026-07-28": 150} {
		t.Run(revision, func(t *testing.T) {
			t.Parallel()
			stateless := revision >= statelessSince
			server, err := testenv.StartEverythingServer(t.Context(), stateless, testenv.LogOnFailure(t, "server"))
			if err != nil {
				t.Fatal(err)
			}
			stopWithTest(t, server.Process)
			m := startMesh(t, meshOptions{later: true})
			m.fill(t, "sallyport.yaml", "conformance.yaml", map[string]string{
				"Dir": m.dir, "Ops": m.ops, "Issuer": m.issuer.URL(), "Authority": m.authority, "URL": m.url, "Upstream": server.Address(),
			})
			m.importTools(t, "http://"+server.Address()+"/")
			m.startSallyport(t)
			m.startEnvoy(t, m.signIn(t))

			var direct, through map[string]testenv.Checks
			var errs [2]error
			var both sync.WaitGroup
			both.Go(func() { direct, errs[0] = testenv.Conformance(t.Context(), "http://"+server.Address()+"/", revision) })
			both.Go(func() { through, errs[1] = testenv.Conformance(t.Context(), m.url+"/", revision) })
			both.Wait()
			for _, err := range errs {
				if err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(direct, through); diff != "" {
				t.Errorf("checks by scenario (-direct +through Envoy and Sallyport):\n%s", diff)
			}
			passed := 0
			for _, checks := range through {
				passed += checks.Passed
			}
			if passed < least {
				t.Errorf("only %d checks passed", passed)
			}
			m.wasUsed(t)
		})
	}
}

// importTools makes the catalogue of what the server lists. All of it is for
// reading: what protects writes is no part of this comparison.
func (m *mesh) importTools(t *testing.T, url string) {
	t.Helper()
	proposal, err := exec.CommandContext(t.Context(), m.binary, "catalogue", "import", "mcp", url, "--server", "everything").Output()
	if err != nil {
		t.Fatalf("catalogue import: %v", err)
	}
	const addedLater = "  - {name: __transient_tool_for_list_changed, server: everything, risk_level: read}\n" // by a call of another
	m.write(t, "everything.yaml", strings.ReplaceAll(string(proposal), "risk_level: write", "risk_level: read")+addedLater)
}

// signIn has Envoy add a token to each request before it does anything else,
// because the suite sends none.
func (m *mesh) signIn(t *testing.T) func([]byte) []byte {
	t.Helper()
	token := mint(t, m.issuer, devissuer.TokenOptions{Audience: []string{m.url}, Lifetime: time.Hour})
	return func(bootstrap []byte) []byte {
		var config map[string]any
		if err := json.Unmarshal(bootstrap, &config); err != nil {
			t.Fatal(err)
		}
		first := func(from any, names ...string) map[string]any {
			for _, name := range names {
				from = from.(map[string]any)[name]
				if list, ok := from.([]any); ok {
					from = list[0]
				}
			}
			return from.(map[string]any)
		}
		manager := first(config, "static_resources", "listeners", "filter_chains", "filters", "typed_config")
		manager["early_header_mutation_extensions"] = append(manager["early_header_mutation_extensions"].([]any), map[string]any{
			"name": "sign in",
			"typed_config": map[string]any{
				"@type": "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
				"mutations": []any{map[string]any{"append": map[string]any{
					"header":        map[string]any{"key": "authorization", "value": "Bearer " + token},
					"append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
				}}},
			},
		})
		changed, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		return changed
	}
}

// wasUsed makes sure that the suite didn't go around Sallyport, and that nothing
// it asked for was refused for a reason that a bare server wouldn't have.
func (m *mesh) wasUsed(t *testing.T) {
	t.Helper()
	counts := make(map[string]int)
	for _, d := range m.decisions(t) {
		counts[d.Reason]++
	}
	if counts["allowed"] < 50 {
		t.Errorf("only %d requests were allowed: %v", counts["allowed"], counts)
	}
	for reason := range counts {
		policy, _, _ := strings.Cut(reason, ".")
		if policy != "allowed" && policy != "operation" && policy != "schema" && policy != "route" {
			t.Errorf("%d requests were refused with %s", counts[reason], reason)
		}
	}
}
