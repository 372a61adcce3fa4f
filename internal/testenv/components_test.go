package testenv_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/internal/testenv"
)

// hello is a bootstrap whose one listener answers by itself.
const hello = `
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /}
                direct_response: {status: 200, body: {inline_string: hello}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
`

func TestEnvoy(t *testing.T) {
	t.Parallel()
	if err := testenv.Validate(t.Context(), "", []byte(hello)); err != nil {
		t.Fatal(err)
	}
	envoy, err := testenv.StartEnvoy(t.Context(), testenv.EnvoyOptions{Config: []byte(hello), Concurrency: 2, Log: testenv.LogOnFailure(t, "Envoy")})
	if err != nil {
		t.Fatal(err)
	}
	address, err := envoy.Listener(t.Context(), "front")
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if string(body) != "hello" || err != nil {
		t.Errorf("Envoy answers %q, %v", body, err)
	}
	stats, err := envoy.Stats(t.Context(), "http.front.downstream_rq_2xx")
	if diff := cmp.Diff(map[string]uint64{"http.front.downstream_rq_2xx": 1}, stats); diff != "" || err != nil {
		t.Errorf("stats (-want +got), %v:\n%s", err, diff)
	}
	if _, err := envoy.Listener(t.Context(), "back"); err == nil || !strings.Contains(err.Error(), "front") {
		t.Errorf("got %v, want the listeners that there are", err)
	}
	if err := envoy.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("the listener outlives Stop")
	}
}

func TestEnvoyRefusesBadConfig(t *testing.T) {
	t.Parallel()
	bad := []byte(strings.Replace(hello, "stat_prefix", "stat_prefixes", 1))
	if err := testenv.Validate(t.Context(), "", bad); err == nil || !strings.Contains(err.Error(), "stat_prefixes") {
		t.Errorf("Validate: got %v, want Envoy's reason", err)
	}
	if _, err := testenv.StartEnvoy(t.Context(), testenv.EnvoyOptions{Config: bad}); err == nil || !strings.Contains(err.Error(), "stat_prefixes") {
		t.Errorf("StartEnvoy: got %v, want Envoy's reason", err)
	}
	// Without an admin interface nobody can tell whether it is ready.
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := testenv.StartEnvoy(ctx, testenv.EnvoyOptions{Config: []byte("static_resources: {}")}); err == nil || !strings.Contains(err.Error(), "admin") {
		t.Errorf("no admin: got %v", err)
	}
}

func TestMissingComponentsNameTheirCommand(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("PATH", "")
	t.Setenv("SALLYPORT_ENVOY", "")
	if _, err := testenv.EnvoyBinary(); err == nil || !strings.Contains(err.Error(), "make tools") {
		t.Errorf("Envoy: got %v", err)
	}
	if _, _, err := testenv.Node(); err == nil || !strings.Contains(err.Error(), "make tools") {
		t.Errorf("Node: got %v", err)
	}
	t.Setenv("SALLYPORT_ENVOY", "/nonexistent/envoy")
	if _, err := testenv.EnvoyBinary(); err == nil || !strings.Contains(err.Error(), "/nonexistent/envoy") {
		t.Errorf("SALLYPORT_ENVOY: got %v", err)
	}
}

func TestNodeIsRecent(t *testing.T) {
	t.Parallel()
	node, _, err := testenv.Node()
	if err != nil {
		t.Fatal(err)
	}
	output, err := exec.CommandContext(t.Context(), node, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(string(output), "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < 22 {
		t.Errorf("Node is %s, the conformance suite needs 22", output)
	}
}

func TestFreePortsDiffer(t *testing.T) {
	t.Parallel()
	ports, err := testenv.FreePorts(50)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[int]bool)
	for _, port := range ports {
		if port == 0 || seen[port] {
			t.Errorf("port %d is no port, or there twice", port)
		}
		seen[port] = true
	}
}

// TestConformanceOfTheGoSDK is the yardstick for the same suite through Envoy.
func TestConformanceOfTheGoSDK(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		stateless     bool
		want          testenv.Checks
		unimplemented string // scenarios that may fail start with this
	}{
		"2025-11-25": {false, testenv.Checks{Passed: 82}, ""},
		"2026-07-28": {true, testenv.Checks{Passed: 165, Failed: 30}, "tasks-"},
	}
	for revision, test := range tests {
		t.Run(revision, func(t *testing.T) {
			server, err := testenv.StartEverythingServer(t.Context(), test.stateless, testenv.LogOnFailure(t, "server"))
			if err != nil {
				t.Fatal(err)
			}
			outcomes, err := testenv.Conformance(t.Context(), "http://"+server.Address()+"/", revision)
			if err != nil {
				t.Fatal(err)
			}
			var total testenv.Checks
			for scenario, checks := range outcomes {
				total.Passed += checks.Passed
				total.Failed += checks.Failed
				if checks.Failed > 0 && (test.unimplemented == "" || !strings.HasPrefix(scenario, test.unimplemented)) {
					t.Errorf("%s: %+v", scenario, checks)
				}
			}
			if total != test.want {
				t.Errorf("%+v in total, want %+v", total, test.want)
			}
			if err := server.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
}
