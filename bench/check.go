package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/sallyport/sallyport/internal/devissuer"
	"github.com/sallyport/sallyport/internal/testenv"
)

const (
	authority = "dealer.example"
	resource  = "https://dealer.example/mcp"
	// inFlight is how many calls are under way at once: about what the workers
	// of one Envoy on two cores have open.
	inFlight = 16
)

// configuration of the measured Sallyport: one RS256 issuer, a tool with scopes
// and a schema, the decision log written to a file. It takes a folder, the issuer,
// the address for operations, and more sections.
const configuration = `
version: 1
profile: development
secrets_dir: %[1]s
listen: {grpc: "unix:%[1]s/grpc.sock", http: "unix:%[1]s/http.sock", ops: "%[3]s"}
audit: {dir: %[1]s/audit, dual_write: false, layout: batch}
database: {file: %[1]s/events.db}
log: {level: warn}
issuers: [{name: dev, issuer: "%[2]s"}]
servers:
  - name: dealer
    hosts: [dealer.example]
    path: /mcp
    resource: https://dealer.example/mcp
    required_scopes: [mcp]
    upstream: {address: "127.0.0.1:9"}
    mcp: {}
tools:
  catalogue: %[1]s/tools.yaml
  tiers: {permissive: {per_minute: 60000, burst: 60000}}
%[4]s
`

const catalogue = `
version: 1
tools:
  - name: search_vehicles
    server: dealer
    risk_level: read
    required_scopes: [vehicles.read]
    input_schema:
      type: object
      properties:
        model: {type: string, maxLength: 40}
        max_price: {type: integer, minimum: 1}
        limit: {type: integer, minimum: 1, maximum: 100}
      additionalProperties: false
  - name: note_payment
    server: dealer
    risk_level: write
    rate_limit_tier: permissive
    required_scopes: [vehicles.read]
    input_schema:
      type: object
      properties:
        payment_id: {type: string, maxLength: 40}
        amount: {type: integer, minimum: 1}
      additionalProperties: false
  - name: void_payment
    server: dealer
    risk_level: privileged
    rate_limit_tier: permissive
    required_scopes: [vehicles.read]
    input_schema:
      type: object
      properties:
        payment_id: {type: string, maxLength: 40}
        amount: {type: integer, minimum: 1}
      additionalProperties: false
`

const (
	readBody       = `{"jsonrpc":"2.0","id":42,"method":"tools/call","params":{"name":"search_vehicles","arguments":{"model":"Swift Dzire","max_price":900000,"limit":10}}}`
	writeBody      = `{"jsonrpc":"2.0","id":42,"method":"tools/call","params":{"name":"note_payment","arguments":{"payment_id":"P-1001","amount":900000}}}`
	privilegedBody = `{"jsonrpc":"2.0","id":42,"method":"tools/call","params":{"name":"void_payment","arguments":{"payment_id":"P-1001","amount":900000}}}`
)

// measure starts both servers and asks them by turns.
func measure(ctx context.Context, rounds, calls int, profile string) (r result, err error) {
	dir, err := os.MkdirTemp("", "sallyport-bench-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // nothing depends on it
	issuer, err := devissuer.Start(devissuer.Config{Lifetime: time.Hour})
	if err != nil {
		return r, err
	}
	defer issuer.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing depends on it
	// Many callers, so that no rate limit is met and every cache is in use.
	tokens, err := mintTokens(issuer, 200)
	if err != nil {
		return r, err
	}
	payloads, err := payloadsOf(tokens, readBody)
	if err != nil {
		return r, err
	}
	yes, err := startYes(dir)
	if err != nil {
		return r, err
	}
	defer yes.close()
	check, err := startSallyport(ctx, dir, issuer.URL())
	if err != nil {
		return r, err
	}
	defer check.close()

	var profiling errgroup.Group
	if profile != "" {
		profiling.Go(func() error { return saveProfile(ctx, "unix", filepath.Join(dir, "ops.sock"), profile) })
		defer func() { err = errors.Join(err, profiling.Wait()) }()
	}
	r.Rounds, r.Calls = rounds, calls
	var cpuYes, cpuCheck, ratios []float64
	for round := -2; round < rounds; round++ { // two to warm up
		first, err := yes.round(ctx, payloads, calls)
		if err != nil {
			return r, fmt.Errorf("yes-server: %w", err)
		}
		second, err := check.round(ctx, payloads, calls)
		if err != nil {
			return r, fmt.Errorf("sallyport: %w", err)
		}
		if round >= 0 {
			cpuYes, cpuCheck, ratios = append(cpuYes, first), append(cpuCheck, second), append(ratios, second/first)
		}
	}
	if err := measurePrivileged(ctx, &r, check, filepath.Join(dir, "http.sock"), tokens); err != nil {
		return r, err
	}
	r.CPUYes, r.CPUCheck, r.Ratio = quantile(cpuYes, 0.5), quantile(cpuCheck, 0.5), quantile(ratios, 0.5)
	r.RatioLow, r.RatioHigh = quantile(ratios, 0.25), quantile(ratios, 0.75)
	return r, nil
}

// saveProfile waits for Sallyport's operations listener and fetches a profile.
func saveProfile(ctx context.Context, network, address, file string) error {
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}}
	time.Sleep(time.Second) // it has started by then, or the bench fails anyway
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/debug/pprof/profile?seconds=10", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s", resp.Status)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}

func tokenOptions(subject string) devissuer.TokenOptions {
	return devissuer.TokenOptions{
		Subject: subject, Audience: []string{resource}, Scopes: []string{"mcp", "vehicles.read", "offline"},
		Claims: map[string]any{"name": "A caller of tools", "email": "caller@dealer.example", "groups": []string{"sales", "service"}},
	}
}

func mintTokens(issuer *devissuer.Issuer, n int) (tokens []string, err error) {
	tokens = make([]string, n)
	for i := range tokens {
		if tokens[i], err = issuer.Mint(tokenOptions(fmt.Sprintf("user-%d", i))); err != nil {
			return nil, err
		}
	}
	return tokens, nil
}

func payloadsOf(tokens []string, body string) (payloads []string, err error) {
	payloads = make([]string, len(tokens))
	for i, token := range tokens {
		if payloads[i], err = payload(token, body); err != nil {
			return nil, err
		}
	}
	return payloads, nil
}

// payload is an encoded CheckRequest as Envoy sends it for a tool call: raw
// headers, an RS256 token, a body of about 150 bytes.
func payload(token, body string) (string, error) {
	lines := [][2]string{
		{":authority", authority}, {":path", "/mcp"}, {":method", "POST"}, {":scheme", "https"},
		{"authorization", "Bearer " + token}, {"content-type", "application/json"},
		{"accept", "application/json, text/event-stream"}, {"mcp-protocol-version", "2025-11-25"},
		{"user-agent", "mcp-client/1.0"}, {"content-length", strconv.Itoa(len(body))},
		{"accept-encoding", "gzip"}, {"x-forwarded-for", "192.0.2.7"}, {"x-forwarded-proto", "https"},
		{"idempotency-key", "0c7a5cfa-3d6f-4ab4-9a2d-1d2a3f5f7f21"}, {"x-request-id", "0c7a5cfa-3d6f-4ab4-9a2d-1d2a3f5f7f21"}, {"traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
	}
	headers := &corev3.HeaderMap{}
	for _, line := range lines {
		headers.Headers = append(headers.Headers, &corev3.HeaderValue{Key: line[0], RawValue: []byte(line[1])})
	}
	address := func(ip string, port uint32) *corev3.Address {
		return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: ip, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
		}}}
	}
	data, err := proto.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source:      &authv3.AttributeContext_Peer{Address: address("192.0.2.7", 40404)},
		Destination: &authv3.AttributeContext_Peer{Address: address("192.0.2.1", 443)},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Id: "1234567890", Method: "POST", Path: "/mcp", Host: authority, Scheme: "https", Protocol: "HTTP/2",
			Size: int64(len(body)), RawBody: []byte(body), HeaderMap: headers,
		}},
		ContextExtensions: map[string]string{"sallyport.server": "dealer"},
	}})
	return string(data), err
}

// server is a process that is asked over a Unix socket.
type server struct {
	process *testenv.Process
	conn    *grpc.ClientConn
}

func startYes(dir string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "yes.sock")
	return start(exec.Command(self, "-yes", socket), socket) //nolint:noctx,gosec // ended by close; our own binary
}

func startSallyport(ctx context.Context, dir, issuer string) (*server, error) {
	binary, err := testenv.Build(ctx, "github.com/sallyport/sallyport/cmd/sallyport")
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "sallyport.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, configuration, dir, issuer, "unix:"+filepath.Join(dir, "ops.sock"), ""), 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "tools.yaml"), []byte(catalogue), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "serve", "--config", config) //nolint:noctx,gosec // ended by close; built above
	return start(cmd, filepath.Join(dir, "grpc.sock"))
}

func start(cmd *exec.Cmd, socket string) (*server, error) {
	process, err := testenv.StartProcess(cmd, os.Stderr)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &server{process: process, conn: conn}, nil
}

func (s *server) close() {
	_ = s.conn.Close()
	_ = s.process.Stop() // its work is done
}

// round makes the calls and returns the CPU that each cost the server, in µs.
func (s *server) round(ctx context.Context, payloads []string, calls int) (float64, error) {
	before, err := cpu(s.process.PID())
	if err != nil {
		return 0, err
	}
	group, ctx := errgroup.WithContext(ctx)
	for worker := range inFlight {
		group.Go(func() error {
			for i := worker; i < calls; i += inFlight {
				if err := s.ask(ctx, payloads[i%len(payloads)]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	after, err := cpu(s.process.PID())
	return float64((after - before).Microseconds()) / float64(calls), err
}

// ask wants a yes: a refusal would be measured as if it were the work.
func (s *server) ask(ctx context.Context, payload string) error {
	var response authv3.CheckResponse
	err := s.conn.Invoke(ctx, authv3.Authorization_Check_FullMethodName, payload, &response,
		grpc.ForceCodecV2(encoded{encoding.GetCodecV2("proto")}), grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	if response.GetOkResponse() == nil {
		return fmt.Errorf("refused: %s", response.GetDeniedResponse().GetBody())
	}
	return nil
}

// encoded sends messages that are encoded already.
type encoded struct{ encoding.CodecV2 }

func (c encoded) Marshal(v any) (mem.BufferSlice, error) {
	if text, ok := v.(string); ok {
		return mem.BufferSlice{mem.SliceBuffer(text)}, nil
	}
	return c.CodecV2.Marshal(v)
}

// cpu is the time that all threads of a process have run (Linux: the first
// number of each thread's schedstat is nanoseconds).
func cpu(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("no CPU times of process %d: %w", pid, err)
	}
	var total time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has just ended
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", file, err)
		}
		total += time.Duration(ns)
	}
	return total, nil
}
