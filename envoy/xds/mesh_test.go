package xds_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/sallyport/sallyport/envoy/xds"
	"github.com/sallyport/sallyport/internal/testenv"
)

// mesh is a real Envoy with what it talks to: a Check that answers as told, one
// upstream for every server, and a stand-in for Sallyport's HTTP listener.
type mesh struct {
	check    *checker
	upstream *recorder
	api      *recorder
	envoy    *testenv.Envoy
	address  string // of the listener
}

// settings give each test what differs from the smallest configuration.
type settings struct {
	config    func(*xds.Config)
	bootstrap func(*bootstrapv3.Bootstrap)
}

func start(t *testing.T, s settings) *mesh {
	t.Helper()
	m := &mesh{check: startChecker(t, nil), upstream: startRecorder(t), api: startRecorder(t)}
	cfg := smallest()
	cfg.GRPC.Address = m.check.address
	cfg.HTTP.Address = m.api.address
	cfg.Servers[0].Upstream.Address = m.upstream.address
	if s.config != nil {
		s.config(&cfg)
	}
	bootstrap, err := xds.Bootstrap(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if s.bootstrap != nil {
		s.bootstrap(bootstrap)
	}
	m.envoy, m.address = startEnvoy(t, bootstrap)
	return m
}

func startEnvoy(t *testing.T, bootstrap *bootstrapv3.Bootstrap) (envoy *testenv.Envoy, address string) {
	t.Helper()
	config, err := xds.YAML(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	log := testenv.LogOnFailure(t, "Envoy")
	envoy, err = testenv.StartEnvoy(t.Context(), testenv.EnvoyOptions{Config: config, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := envoy.Stop(); err != nil {
			t.Error(err)
		}
	})
	address, err = envoy.Listener(t.Context(), xds.ListenerName)
	if err != nil {
		t.Fatal(err)
	}
	return envoy, address
}

// smallest is the least that a Config must have.
func smallest() xds.Config {
	return xds.Config{
		Listen: "127.0.0.1:0",
		Admin:  "127.0.0.1:0",
		GRPC:   xds.Endpoint{Address: "127.0.0.1:9001"},
		HTTP:   xds.Endpoint{Address: "127.0.0.1:9002"},
		Servers: []xds.Server{{
			Name: "dealership", Hosts: []string{"*"}, Path: "/mcp",
			Upstream: xds.Endpoint{Address: "127.0.0.1:8080"},
		}},
	}
}

// restServer is a REST API over the same upstream as the MCP server.
func restServer(cfg *xds.Config, path string) {
	cfg.Servers = append(cfg.Servers, xds.Server{
		Name: "rest", Hosts: []string{"*"}, Path: path, PathIsPrefix: true,
		Upstream: cfg.Servers[0].Upstream,
	})
}

// answer is what a client got.
type answer struct {
	status int
	proto  string
	header http.Header
	body   string
}

// post sends an empty JSON object; header has names and values in turn.
func (m *mesh) post(t *testing.T, path string, header ...string) answer {
	t.Helper()
	return m.postAs(t, http.DefaultClient, "http://"+m.address+path, `{}`, header...)
}

func (m *mesh) postAs(t *testing.T, client *http.Client, url, body string, header ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			request.Host = header[i+1]
		}
		request.Header.Add(header[i], header[i+1])
	}
	if request.Header.Get("Authorization") == "" {
		request.Header.Set("Authorization", "Bearer token") // without it no server is reached
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, response)
}

// known are header lines of a request that reaches a server: with a token.
const known = "Host: a\r\nAuthorization: Bearer token\r\n"

// raw sends these bytes over HTTP/1.1, for what a client library would correct.
func (m *mesh) raw(t *testing.T, request string) answer {
	t.Helper()
	conn, err := net.Dial("tcp", m.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	return read(t, response)
}

func read(t *testing.T, response *http.Response) answer {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{status: response.StatusCode, proto: response.Proto, header: response.Header, body: string(body)}
}

// http2Client speaks HTTP/2 only: with TLS, or without by prior knowledge.
func http2Client(t *testing.T, config *tls.Config) *http.Client {
	t.Helper()
	var protocols http.Protocols
	protocols.SetHTTP2(config != nil)
	protocols.SetUnencryptedHTTP2(config == nil)
	return client(t, &http.Transport{Protocols: &protocols, TLSClientConfig: config})
}

func client(t *testing.T, transport *http.Transport) *http.Client {
	t.Helper()
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// checker is Envoy's authorization service: it records what it is asked and
// answers by a function that a test may replace.
type checker struct {
	authv3.UnimplementedAuthorizationServer

	address string
	server  *grpc.Server

	mu     sync.Mutex // guards the fields below
	seen   []*authv3.AttributeContext
	answer func(context.Context) (*authv3.CheckResponse, error)
}

// startChecker serves until the test ends; listener nil means a free port.
func startChecker(t *testing.T, listener net.Listener, options ...grpc.ServerOption) *checker {
	t.Helper()
	if listener == nil {
		listener = listen(t)
	}
	options = append(options, grpc.MaxRecvMsgSize(8<<20))
	c := &checker{address: listener.Addr().String(), server: grpc.NewServer(options...)}
	c.allow()
	authv3.RegisterAuthorizationServer(c.server, c)
	served := make(chan error, 1)
	go func() { served <- c.server.Serve(listener) }()
	t.Cleanup(func() {
		c.server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return c
}

func (c *checker) Check(ctx context.Context, request *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	c.mu.Lock()
	c.seen = append(c.seen, request.GetAttributes())
	answer := c.answer
	c.mu.Unlock()
	return answer(ctx)
}

// asked returns what was asked since the last call.
func (c *checker) asked() []*authv3.AttributeContext {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.seen
	c.seen = nil
	return seen
}

func (c *checker) answers(with func(context.Context) (*authv3.CheckResponse, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = with
}

// allow sets these request headers, names and values in turn.
func (c *checker) allow(header ...string) {
	c.answers(func(context.Context) (*authv3.CheckResponse, error) {
		return &authv3.CheckResponse{
			Status: &status.Status{Code: int32(codes.OK)},
			HttpResponse: &authv3.CheckResponse_OkResponse{
				OkResponse: &authv3.OkHttpResponse{Headers: options(header)},
			},
			DynamicMetadata: pass(),
		}, nil
	})
}

// deny refuses with this status, body and headers.
func (c *checker) deny(code int, body string, header ...string) {
	c.answers(func(context.Context) (*authv3.CheckResponse, error) {
		return &authv3.CheckResponse{
			Status: &status.Status{Code: int32(codes.PermissionDenied)},
			HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
				Status: &typev3.HttpStatus{Code: typev3.StatusCode(code)}, Headers: options(header), Body: body,
			}},
			DynamicMetadata: pass(),
		}, nil
	})
}

// pass is the metadata of an answer that needs no exchange; there is nobody here
// for exchanges.
func pass() *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{"exchange": structpb.NewStringValue("pass")}}
}

func options(header []string) []*corev3.HeaderValueOption {
	var all []*corev3.HeaderValueOption
	for i := 0; i < len(header); i += 2 {
		all = append(all, &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: header[i], Value: header[i+1]},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})
	}
	return all
}

// headers are the request's headers as Check got them, duplicates kept.
func headers(a *authv3.AttributeContext) http.Header {
	all := make(http.Header)
	for _, h := range a.GetRequest().GetHttp().GetHeaderMap().GetHeaders() {
		all.Add(h.GetKey(), h.GetValue()+string(h.GetRawValue()))
	}
	return all
}

// arrived is a request as the recorder got it.
type arrived struct {
	method, uri, host, proto, body string
	header, trailer                http.Header
}

// recorder is an HTTP server that records what arrives, and answers 200 with a
// small JSON body unless a test says otherwise.
type recorder struct {
	address string

	mu     sync.Mutex // guards the fields below
	seen   []arrived
	answer http.HandlerFunc
}

func startRecorder(t *testing.T) *recorder {
	t.Helper()
	r := &recorder{}
	server := httptest.NewServer(r)
	r.address = server.Listener.Addr().String()
	t.Cleanup(server.Close)
	return r
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return // the client is gone
	}
	r.mu.Lock()
	r.seen = append(r.seen, arrived{
		method: request.Method, uri: request.RequestURI, host: request.Host, proto: request.Proto,
		body: string(body), header: request.Header.Clone(), trailer: request.Trailer.Clone(),
	})
	answer := r.answer
	r.mu.Unlock()
	if answer != nil {
		answer(w, request)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"ok":true}`)
}

// requests returns what arrived since the last call.
func (r *recorder) requests() []arrived {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

func (r *recorder) answers(with http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = with
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}
