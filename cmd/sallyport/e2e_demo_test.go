package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/testenv"
)

// demo is the demo in a temporary folder of its own.
func demo(t *testing.T, arguments ...string) (cmd *exec.Cmd, tmp string) {
	t.Helper()
	binary, err := testenv.Build(t.Context(), "github.com/sallyport/sallyport/cmd/sallyport")
	if err != nil {
		t.Fatal(err)
	}
	envoy, err := testenv.EnvoyBinary()
	if err != nil {
		t.Fatal(err)
	}
	tmp = shortTempDir(t)
	cmd = exec.Command(binary, append([]string{"demo"}, arguments...)...)
	cmd.Dir = tmp
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "SALLYPORT_ENVOY="+envoy)
	return cmd, tmp
}

// nothingLeft checks that the demo has cleaned up behind itself.
func nothingLeft(t *testing.T, tmp string) {
	t.Helper()
	left, err := os.ReadDir(tmp)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		t.Errorf("%s is left behind", entry.Name())
	}
	environments, err := filepath.Glob("/proc/[0-9]*/environ") // on Linux
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range environments {
		// A process that has ended meanwhile, or isn't ours, can't be read.
		if environment, _ := os.ReadFile(name); bytes.Contains(environment, []byte("TMPDIR="+tmp+"\x00")) {
			t.Errorf("process %s still runs", filepath.Base(filepath.Dir(name)))
		}
	}
}

func TestDemoOnce(t *testing.T) {
	t.Parallel()
	cmd, tmp := demo(t, "--once")
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v:\n%s", err, output)
	}
	if !bytes.Contains(output, []byte("what took effect")) || bytes.Contains(output, []byte("differs")) {
		t.Errorf("the tour is not as expected:\n%s", output)
	}
	nothingLeft(t, tmp)
}

// TestDemoStays tries by hand what the demo says, and ends it by Ctrl-C.
func TestDemoStays(t *testing.T) {
	t.Parallel()
	cmd, tmp := demo(t)
	log := testenv.LogOnFailure(t, "demo")
	process, err := testenv.StartProcess(cmd, log)
	if err != nil {
		t.Fatal(err)
	}
	stopWithTest(t, process)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stays := func(context.Context) error {
		if !strings.Contains(log.String(), "A token, and a call with it:") {
			return fmt.Errorf("the tour isn't over")
		}
		return nil
	}
	if err := process.AwaitReady(ctx, stays); err != nil {
		t.Fatal(err)
	}
	find := func(pattern string) string {
		found := regexp.MustCompile(pattern).FindStringSubmatch(log.String())
		if found == nil {
			t.Fatalf("nothing like %s in:\n%s", pattern, log)
		}
		return found[1]
	}
	vehicle, resource := find(`(?m)^  REST +(\S+)`), find(`token demo (\S+)\)`)
	endpoint, password := find(`resource=\$2 (\S+)`), find(`-u \$1:(\S+)`)
	token := func(client, resource string) string {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint,
			strings.NewReader(url.Values{"grant_type": {"client_credentials"}, "resource": {resource}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(client, password)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		var granted struct {
			Token string `json:"access_token"`
		}
		if status := do(t, req, &granted); status != http.StatusOK || granted.Token == "" {
			t.Fatalf("the token endpoint answers %d", status)
		}
		return granted.Token
	}
	elevate := func(who string, arguments ...string) string {
		run := exec.CommandContext(ctx, cmd.Path, append([]string{"elevate", "--token-file", "-", "--url", find(`SALLYPORT_URL=(\S+)`)}, arguments...)...)
		run.Stdin = strings.NewReader(token(who, resource+"/mcp"))
		text, err := run.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v: %s", arguments, err, text)
		}
		return string(text)
	}
	asked := elevate("dana", "request", "refund_payment", "--reason", "charged twice", "--duration", "1m", "-o", "json")
	if approved := elevate("bob", "approve", stringMember(asked, "request_id"), "--yes"); !strings.Contains(approved, "is approved") {
		t.Errorf("bob's approval: %s", approved)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, vehicle, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token("demo", resource))
	var got struct{ ID string }
	if status := do(t, req, &got); status != http.StatusOK || got.ID != "V-1001" {
		t.Errorf("%s answers %d %+v", vehicle, status, got)
	}
	if err := syscall.Kill(process.PID(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-process.Done()
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	nothingLeft(t, tmp)
}

func do(t *testing.T, req *http.Request, into any) (status int) {
	t.Helper()
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		t.Errorf("%s: %v", req.URL, err)
	}
	return response.StatusCode
}

// TestBootstrapIsAccepted has Envoy check what is written for it.
func TestBootstrapIsAccepted(t *testing.T) {
	t.Parallel()
	const mcp = `
  - name: dealership
    hosts: ["*"]
    path: /mcp
    resource: https://mcp.example.com/mcp
    upstream: {address: "127.0.0.1:8080"}
    mcp: {}
`
	for name, c := range map[string]struct{ servers, more string }{
		"smallest":     {mcp, ""},
		"Unix sockets": {mcp, "listen: {grpc: unix:/run/sallyport/grpc.sock, http: unix:/run/sallyport/http.sock}\nenvoy: {admin: unix:/run/envoy/admin.sock}"},
		"clients with certificates": {mcp, "envoy: {listen: 0.0.0.0:443, xff_trusted_hops: 2, max_request_bytes: 16777216, check_timeout: 30s, request_timeout: 1h, " +
			"tls: {cert_file: tls/envoy.pem, key_file: tls/envoy.key, client_ca_file: tls/ca.pem}}"},
		"mutual TLS": {mcp, "listen: {grpc: 0.0.0.0:9001, http: 0.0.0.0:9002, tls: {cert_file: tls/envoy.pem, key_file: tls/envoy.key, client_ca_file: tls/ca.pem}}\n" +
			"envoy: {admin: 127.0.0.1:9901, service_tls: {ca_file: tls/ca.pem, cert_file: tls/envoy.pem, key_file: tls/envoy.key, server_name: spiffe://mesh.test/sallyport}}"},
		"many servers": {mcp + `
  - name: by-name
    hosts: [mcp.example.com, "mcp.example.com:8443", "[2001:db8::1]"]
    path: /deep/mcp
    resource: https://mcp.example.com/deep/mcp
    upstream: {address: "mcp.internal:8443", tls: true, ca_file: tls/ca.pem, http2: true}
    mcp: {}
  - name: api
    hosts: [mcp.example.com]
    path: /api/
    resource: https://mcp.example.com/api
    upstream: {address: "192.0.2.1:443", tls: true, ca_file: tls/ca.pem, sni: api.internal}
    rest: {routes: [{method: GET, path: "/vehicles/{id}", tool: get_vehicle}]}
  - name: everything-else
    hosts: [other.example.com]
    path: /
    resource: https://other.example.com
    upstream: {address: "[2001:db8::2]:80"}
    rest: {routes: [{method: DELETE, path: "/", tool: delete_all}]}
`, "envoy: {listen: '[::]:10000', plaintext: i-know}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			issue(t, newAuthority(t, filepath.Join(dir, "tls")), "envoy", "envoy.test")
			config := filepath.Join(dir, "sallyport.yaml")
			text := "version: 1\nsecrets_dir: tls\nauthentication: {oidc_issuer: https://login.example.com}\ntools: {catalogue: tools.yaml}\nservers:" + c.servers + c.more + "\n"
			tools := "version: 1\ntools:\n  - {name: get_vehicle, server: api, risk_level: read}\n  - {name: delete_all, server: everything-else, risk_level: privileged}\n"
			if !strings.Contains(c.servers, "api") {
				tools = "version: 1\ntools: []\n"
			}
			for name, text := range map[string]string{config: text, filepath.Join(dir, "tools.yaml"): tools} {
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			binary, err := testenv.Build(t.Context(), "github.com/sallyport/sallyport/cmd/sallyport")
			if err != nil {
				t.Fatal(err)
			}
			for _, format := range []string{"yaml", "json"} {
				var complaints bytes.Buffer
				cmd := exec.CommandContext(t.Context(), binary, "envoy", "bootstrap", "--config", config, "--format", format)
				cmd.Stderr = &complaints
				bootstrap, err := cmd.Output()
				if err != nil {
					t.Fatalf("%v:\n%s", err, &complaints)
				}
				if err := testenv.Validate(t.Context(), "", bootstrap); err != nil {
					t.Errorf("%s: %v", format, err)
				}
			}
		})
	}
}
