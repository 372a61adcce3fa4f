package extauthz_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/test/bufconn"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/catalogue"
	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/authz/operation"
	"github.com/sallyport/sallyport/envoy/extauthz"
	"github.com/sallyport/sallyport/envoy/wire"
	decisionv1 "github.com/sallyport/sallyport/protos/sallyport/decision/v1"
)

// decider answers with a prepared decision and keeps what it was asked.
type decider struct {
	decision *authz.Decision
	asked    *authz.Request
}

func (d *decider) Decide(_ context.Context, req *authz.Request) *authz.Decision {
	d.asked = req
	return d.decision
}

func (d *decider) Refuse(cause string) *authz.Decision {
	return &authz.Decision{ID: "id", Reason: reason("internal." + cause)}
}

// expected takes every note.
type expected struct{}

func (expected) Expect(time.Time) {}

func reason(code string) *authz.Reason {
	for _, r := range authz.Reasons() {
		if r.Code == code {
			return r
		}
	}
	panic("no reason " + code)
}

// dial serves a decider as Envoy would find it.
func dial(t testing.TB, d extauthz.Decider) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(grpc.ForceServerCodecV2(wire.NewCodec()))
	extauthz.NewServer(d, expected{}, extauthz.NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler)).Register(server)
	healthv1.RegisterHealthServer(server, health.NewServer())
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient("passthrough:///bufconn",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// check is a CheckRequest as Envoy sends it with encode_raw_headers and
// pack_as_bytes.
func check() *authv3.CheckRequest {
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{
			Address:     &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: "192.0.2.7", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 4711}}}},
			Certificate: "PEM",
		},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Id: "r-1", Method: "POST", Path: "/mcp?x=1", Host: "dealer.example", Scheme: "https", Size: 4, RawBody: []byte("body"),
			HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
				{Key: "authorization", RawValue: []byte("Bearer a")},
				{Key: "authorization", RawValue: []byte("Bearer b")},
				{Key: "x-sallyport-user-id", RawValue: []byte("spoofed")},
				{Key: "x-sallyport-other", RawValue: []byte("spoofed")},
				{Key: "x-sallyport-tenant-id", RawValue: []byte("spoofed")}, // the token has none
				{Key: "dpop", RawValue: []byte("proof")},
				{Key: "x-odd", RawValue: []byte{0xff}},
			}},
		}},
		ContextExtensions: map[string]string{extauthz.ServerExtension: "dealer", "other": "x"},
	}}
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func allowed() *authz.Decision {
	return &authz.Decision{
		ID: "0190-id", Time: noon, Allow: true, Reason: reason("allowed"),
		Server: mcpServer(), RPCID: `"a\"b"`,
		Principal: &identity.Principal{
			ID: "p", IssuerID: "https://issuer.example", Subject: "Zoë 100%", Client: "cli",
			Scopes: []string{"a", "b c"}, Expires: noon.Add(90 * time.Second),
		},
		Operation: &operation.Operation{Kind: operation.MCP, Method: "tools/list", RPCID: `"a\"b"`},
	}
}

func mcpServer() *authz.Server {
	operations, err := operation.New(operation.Config{Name: "dealer", MCP: &operation.MCPConfig{Path: "/mcp", Methods: []string{"tools/call"}}})
	if err != nil {
		panic(err)
	}
	return &authz.Server{Name: "dealer", Resource: "https://dealer.example/mcp", RequiredScopes: []string{"mcp"}, Operations: operations}
}

func TestCheckHandsOverTheRequest(t *testing.T) {
	t.Parallel()
	d := &decider{decision: allowed()}
	if _, err := authv3.NewAuthorizationClient(dial(t, d)).Check(t.Context(), check()); err != nil {
		t.Fatal(err)
	}
	want := &authz.Request{
		ID: "r-1", Route: "dealer", ClientAddress: "192.0.2.7", ClientCertificate: "PEM",
		Request: operation.Request{
			Method: "POST", Scheme: "https", Authority: "dealer.example", Path: "/mcp?x=1",
			Headers: operation.Headers{
				{Name: "authorization", Value: "Bearer a"}, {Name: "authorization", Value: "Bearer b"},
				{Name: "x-sallyport-user-id", Value: "spoofed"}, {Name: "x-sallyport-other", Value: "spoofed"},
				{Name: "x-sallyport-tenant-id", Value: "spoofed"}, {Name: "dpop", Value: "proof"},
				{Name: "x-odd", Value: "\xff"},
			},
			Body: "body",
		},
	}
	if diff := cmp.Diff(want, d.asked); diff != "" {
		t.Error(diff)
	}
	if d.asked.Body != "body" {
		t.Errorf("body %q", d.asked.Body)
	}
}

func TestAllow(t *testing.T) {
	t.Parallel()
	got, err := authv3.NewAuthorizationClient(dial(t, &decider{decision: allowed()})).Check(t.Context(), check())
	if err != nil {
		t.Fatal(err)
	}
	if got.GetStatus().GetCode() != 0 || got.GetOkResponse() == nil {
		t.Fatalf("not allowed: %v", got)
	}
	want := map[string]string{
		"x-sallyport-decision-id": "0190-id", "x-sallyport-principal-id": "p",
		"x-sallyport-issuer":  "https://issuer.example",
		"x-sallyport-user-id": "Zo%C3%AB 100%25", "x-sallyport-client-id": "cli",
		"x-sallyport-scopes": "a b%20c", "x-envoy-upstream-rq-timeout-ms": "90000",
	}
	if diff := cmp.Diff(want, headers(got.GetOkResponse().GetHeaders())); diff != "" {
		t.Error(diff)
	}
	remove := []string{"authorization", "dpop", "x-sallyport-other", "x-sallyport-tenant-id"}
	removed := slices.Compact(slices.Sorted(slices.Values(got.GetOkResponse().GetHeadersToRemove())))
	if diff := cmp.Diff(remove, removed); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"x-sallyport-decision-id": "0190-id"}, headers(got.GetOkResponse().GetResponseHeadersToAdd())); diff != "" {
		t.Error(diff)
	}
}

func headers(options []*corev3.HeaderValueOption) map[string]string {
	m := make(map[string]string)
	for _, o := range options {
		m[o.GetHeader().GetKey()] = o.GetHeader().GetValue()
	}
	return m
}

// TestMetadataHasTheSchema holds the metadata to protos/sallyport/decision/v1:
// only its fields, all strings, and few for what skips the exchange.
func TestMetadataHasTheSchema(t *testing.T) {
	t.Parallel()
	pass, run := allowed(), allowed()
	run.Claim, run.Lease = &authz.Claim{Source: "client", TTL: time.Hour}, time.Minute
	run.Tool = &catalogue.Tool{
		Name: "book", Risk: catalogue.Write, PIIPolicy: catalogue.PIINone, MaxConcurrency: 2,
		Idempotency: catalogue.Idempotency{OnUnknown: catalogue.OnUnknownRefuse},
	}
	schema := (&decisionv1.Metadata{}).ProtoReflect().Descriptor().Fields()
	for _, c := range []struct {
		decision *authz.Decision
		want     map[string]any
	}{
		{pass, map[string]any{"v": "1", "decision_id": "0190-id", "exchange": "pass"}},
		{run, map[string]any{
			"v": "1", "decision_id": "0190-id", "exchange": "run", "principal_id": "p", "server": "dealer", "rpc_id_json": `"a\"b"`,
			"tool": "book", "risk": "write", "pii_policy": "none", "slot_limit": "2", "on_unknown": "refuse", "lease_ms": "60000",
			"key_source": "client", "key_ttl_ms": "3600000", "key_hash": strings.Repeat("0", 64), "fingerprint": strings.Repeat("0", 64),
		}},
	} {
		got, err := authv3.NewAuthorizationClient(dial(t, &decider{decision: c.decision})).Check(t.Context(), check())
		if err != nil {
			t.Fatal(err)
		}
		fields := got.GetDynamicMetadata().AsMap()
		if diff := cmp.Diff(c.want, fields); diff != "" {
			t.Error(diff)
		}
		for name := range fields {
			if schema.ByName(protoName(name)) == nil {
				t.Errorf("%s is not in the schema", name)
			}
		}
	}
}

// TestGarbageIsADenial: a message that can't be read is answered with a denial,
// never with a gRPC error, which failure_mode_allow could open.
func TestGarbageIsADenial(t *testing.T) {
	t.Parallel()
	conn := dial(t, &decider{})
	for _, garbage := range []string{"", "\xff\xff\xff", "\x0a\x05abc", "\x0a\x04\x22\x02\x12\x05"} {
		var got authv3.CheckResponse
		err := conn.Invoke(t.Context(), authv3.Authorization_Check_FullMethodName, garbage, &got, grpc.ForceCodecV2(rawCodec{encoding.GetCodecV2("proto")}))
		if err != nil {
			t.Fatalf("%q: %v", garbage, err)
		}
		if got.GetDeniedResponse().GetStatus().GetCode() != 500 || got.GetStatus().GetCode() == 0 {
			t.Errorf("%q: %v", garbage, &got)
		}
	}
}

// rawCodec sends a string as the encoded message.
type rawCodec struct{ encoding.CodecV2 }

func (c rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	if s, ok := v.(string); ok {
		return mem.BufferSlice{mem.SliceBuffer(s)}, nil
	}
	return c.CodecV2.Marshal(v)
}

func TestOtherServicesStillWork(t *testing.T) {
	t.Parallel()
	got, err := healthv1.NewHealthClient(dial(t, &decider{})).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || got.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", got, err)
	}
}

// TestEveryRefusal sends every row of the table to an MCP client and to a REST
// client and checks what must hold for each.
func TestEveryRefusal(t *testing.T) {
	t.Parallel()
	for _, row := range authz.Reasons() {
		if row.Code == "allowed" {
			continue
		}
		for _, server := range []*authz.Server{nil, mcpServer(), restServer()} {
			name := "no server"
			if server != nil {
				name = server.Name
			}
			t.Run(row.Code+" "+name, func(t *testing.T) {
				t.Parallel()
				d := refused(row, server)
				got, err := authv3.NewAuthorizationClient(dial(t, &decider{decision: d})).Check(t.Context(), check())
				if err != nil {
					t.Fatal(err)
				}
				checkRefusal(t, row, d, got)
			})
		}
	}
}

func checkRefusal(t *testing.T, row *authz.Reason, d *authz.Decision, got *authv3.CheckResponse) {
	t.Helper()
	denied := got.GetDeniedResponse()
	if denied == nil || got.GetStatus().GetCode() == 0 {
		t.Fatalf("not denied: %v", got)
	}
	h := headers(denied.GetHeaders())
	var body map[string]any
	if err := json.Unmarshal([]byte(denied.GetBody()), &body); err != nil {
		t.Fatalf("body is not JSON: %v", err)
	}
	if mcp := d.Server != nil && d.Server.Name == "dealer" && row.RPC != 0; mcp {
		if string(mustJSON(t, body["id"])) != "7" || body["jsonrpc"] != "2.0" || h["content-type"] != "application/json" {
			t.Errorf("not an answer to the caller's request: %s", denied.GetBody())
		}
		if _, isError := body["error"]; isError == (body["result"] != nil) {
			t.Errorf("neither or both of result and error: %s", denied.GetBody())
		}
	} else {
		if int(denied.GetStatus().GetCode()) != row.Status || body["status"] != float64(row.Status) {
			t.Errorf("status %d, body %s, want %d", denied.GetStatus().GetCode(), denied.GetBody(), row.Status)
		}
		if body["type"] != "urn:sallyport:problem:"+row.Code || h["content-type"] != "application/problem+json" {
			t.Errorf("not the problem: %s", denied.GetBody())
		}
	}
	if !strings.Contains(denied.GetBody(), `"reason":"`+row.Code+`"`) || !strings.Contains(denied.GetBody(), `"decision_id":"0190-id"`) {
		t.Errorf("reason or decision id is missing: %s", denied.GetBody())
	}
	if status := denied.GetStatus().GetCode(); (status == 401) != (h["www-authenticate"] != "" && row.Challenge != authz.InsufficientScope && row.Challenge != authz.InvalidRequest) {
		t.Errorf("status %d with challenge %q", status, h["www-authenticate"])
	}
	if (h["retry-after"] != "") != row.Transient {
		t.Errorf("retry-after is %q", h["retry-after"])
	}
	if h["cache-control"] != "no-store" {
		t.Error("a refusal can be cached")
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
