package main_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/devissuer"
	"github.com/sallyport/sallyport/internal/testenv"
)

// TestSallyportKilled takes the service away from under Envoy.
func TestSallyportKilled(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	token := m.token(t, "alice", "vehicles.read services.write")
	requests := map[string]request{
		"MCP read":    callTool(token, "search_vehicles", `{}`),
		"REST read":   rest(token, "GET", "/vehicles/V-1001", ""),
		"REST write":  rest(token, "POST", "/services", `{"vehicle_id":"V-1001","customer_id":"C-1","date":"2027-03-01"}`),
		"HTTP/2 read": withClient(callTool(token, "search_vehicles", `{}`), http2Client(t)),
	}
	send := func(what string, check func(t *testing.T, name string, r request)) {
		for name, r := range requests {
			t.Run(what+": "+name, func(t *testing.T) { check(t, name, r) })
		}
	}
	allowed := func(t *testing.T, name string, r request) {
		m.allowed(t, m.send(t, r), map[bool]string{true: "api", false: "dealership"}[name[0] == 'R'])
	}
	send("before", allowed)
	before := len(m.decisions(t))
	if err := m.sallyport.Kill(); err != nil {
		t.Fatal(err)
	}
	send("without", func(t *testing.T, _ string, r request) {
		m.undecided(t, m.send(t, r), http.StatusServiceUnavailable)
	})
	m.undecided(t, m.send(t, request{method: "GET", path: "/.well-known/oauth-protected-resource/mcp"}), http.StatusServiceUnavailable)
	if n := len(m.decisions(t)); n != before {
		t.Errorf("%d decisions of nobody", n-before)
	}
	m.startSallyport(t)
	eventually(t, 15*time.Second, "Envoy asks the new process", func() bool {
		return m.send(t, requests["MCP read"]).status == http.StatusOK
	})
	send("after", allowed)
	if n := len(m.decisions(t)); n <= before {
		t.Errorf("the log has %d decisions, before the restart it had %d", n, before)
	}
}

// TestSallyportEnds sends SIGTERM while a request is being decided: Redis, which it
// asks, takes its time.
func TestSallyportEnds(t *testing.T) {
	t.Parallel()
	redis := testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true})
	m := startMesh(t, meshOptions{later: true})
	m.write(t, "claims.key", strings.Repeat("0123456789abcdef", 4))
	m.write(t, "sallyport.yaml", m.read(t, "sallyport.yaml")+fmt.Sprintf("redis: {addresses: [%q], timeout: 1s}\ntransaction_safety: {key_files: [claims.key]}\n", "unix:"+redis.Address()))
	cmd := exec.Command(m.binary, "serve", "--config", m.config())
	process, err := testenv.StartProcess(cmd, m.log)
	if err != nil {
		t.Fatal(err)
	}
	stopWithTest(t, process)
	if err := process.AwaitReady(t.Context(), func(ctx context.Context) error { return ready(ctx, m.ops) }); err != nil {
		t.Fatal(err)
	}
	m.startEnvoy(t)
	get := func(nonce string) request { // the nonce is what Redis is asked for
		return rest(m.token(t, "alice", "vehicles.read", func(o *devissuer.TokenOptions) { o.Claims = map[string]any{"nonce": nonce} }), "GET", "/vehicles/V-1001", "")
	}
	if a := m.send(t, get("first")); a.status != http.StatusOK {
		t.Fatalf("status %d before", a.status)
	}
	call := get("second")
	if err := redis.Pause(); err != nil {
		t.Fatal(err)
	}

	type outcome struct {
		answer
		err error
	}
	running := make(chan outcome, 1)
	go func() {
		a, err := m.try(t.Context(), call)
		running <- outcome{a, err}
	}()
	eventually(t, 10*time.Second, "a decision is being made", func() bool {
		const active = "cluster.sallyport_grpc.upstream_rq_active"
		stats, err := m.envoy.Stats(t.Context(), active)
		return err == nil && stats[active] == 1
	})
	if err := syscall.Kill(process.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "it begins to end", func() bool { return !listening(m.ops) })
	late := m.send(t, call)
	if reached := m.arrivals(late.mark); late.status != http.StatusServiceUnavailable || len(reached) != 0 {
		t.Errorf("a request after SIGTERM: status %d, upstream %v", late.status, reached)
	}
	select {
	case <-process.Done():
		t.Fatal("it ended before its decision was made")
	default:
	}
	if err := redis.Resume(); err != nil {
		t.Fatal(err)
	}
	// A busy machine may have taken longer than redis.timeout; that is an answer, too.
	if a := <-running; a.err != nil || (a.status != http.StatusOK || len(m.arrivals(a.mark)) != 1) && refusalOf(a.answer) != "authentication.store_unavailable" {
		t.Errorf("the running request ended with %d %s, %v", a.status, a.body, a.err)
	}
	select {
	case <-process.Done():
	case <-time.After(9 * time.Second): // before listen.shutdown_grace is over
		t.Error("it doesn't end when its last decision is made")
		<-process.Done()
	}
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func ready(ctx context.Context, ops string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ops+"/readyz", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// TestIssuerAway starts while one issuer's keys can't be had.
func TestIssuerAway(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{later: true})
	m.issuer.SetDown(true)
	m.startSallyport(t)
	m.startEnvoy(t)
	call := func(token string) request { return callTool(token, "search_vehicles", `{}`) }
	good := call(m.token(t, "alice", "vehicles.read"))
	a := m.send(t, good)
	m.denied(t, a, http.StatusServiceUnavailable, "authentication.keys_unavailable")
	if challenge := a.header.Get("WWW-Authenticate"); challenge != "" || a.header.Get("Retry-After") == "" {
		t.Errorf("challenge %q, retry-after %q: it is no fault of the client", challenge, a.header.Get("Retry-After"))
	}
	m.allowed(t, m.send(t, call(mint(t, m.partner, m.tokenOptions("alice", "vehicles.read")))), "dealership")

	m.issuer.SetDown(false)
	eventually(t, 30*time.Second, "the keys are there", m.is(t, good, "allowed"))
	// It changes its key: the first token of the new one brings it along.
	if err := m.issuer.Rotate(); err != nil {
		t.Fatal(err)
	}
	fresh := call(m.token(t, "alice", "vehicles.read"))
	eventually(t, 10*time.Second, "the new key is accepted", m.is(t, fresh, "allowed"))
	m.allowed(t, m.send(t, good), "dealership")
	// Away again: what it has given is still good.
	m.issuer.SetDown(true)
	m.allowed(t, m.send(t, call(m.token(t, "bob", "vehicles.read"))), "dealership")
}
