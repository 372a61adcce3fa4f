// Package main_test sees the product from outside: the built binary behind a
// real Envoy, clients in front, and upstreams that record what reached them.
package main_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/sallyport/sallyport/internal/dealership"
	"github.com/sallyport/sallyport/internal/devissuer"
	"github.com/sallyport/sallyport/internal/testenv"
)

// mesh is testdata/e2e/sallyport.yaml, running.
type mesh struct {
	dir       string // of the configuration and everything beside it
	binary    string // of Sallyport
	authority string // of Envoy's listener
	url       string // of the same
	issuer    *devissuer.Issuer
	partner   *devissuer.Issuer
	upstreams map[string]*dealership.Server // by the name of the server in the configuration
	ops       string                        // address of Sallyport's operations listener
	log       *testenv.LogBuffer            // of Sallyport
	sallyport *testenv.Sallyport
	envoy     *testenv.Envoy

	callers int    // of some
	cut     string // the one that ballast has made larger
	cutSize int64
}

// meshOptions are what a test has different.
type meshOptions struct {
	scheme        string // of what clients see; default http
	grpc, http    string // listeners; default: Unix sockets
	audit         string // more lines for this section; default: nothing is archived before the end
	database      string
	listen, envoy string           // more lines for these sections
	office        http.Handler     // upstream of the office; default: a dealership
	files         func(dir string) // makes more files in the mesh's folder, before anything starts
	later         bool             // the test starts Sallyport and Envoy

	config, tools string            // templates of testdata/e2e; default: sallyport.yaml and tools.yaml
	values        map[string]string // more for the template of the configuration
	issuersOf     *mesh             // another mesh, whose issuers are this one's too
}

// startMesh starts everything, and ends it with the test.
func startMesh(t *testing.T, o meshOptions) *mesh {
	t.Helper()
	m := &mesh{dir: shortTempDir(t), upstreams: make(map[string]*dealership.Server), log: testenv.LogOnFailure(t, "Sallyport")}
	var err error
	if m.binary, err = testenv.Build(t.Context(), "github.com/sallyport/sallyport/cmd/sallyport"); err != nil {
		t.Fatal(err)
	}
	ports, err := testenv.FreePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	m.authority, m.ops = fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	m.url = or(o.scheme, "http") + "://" + m.authority
	if o.issuersOf != nil {
		m.issuer, m.partner = o.issuersOf.issuer, o.issuersOf.partner
	} else {
		m.issuer, m.partner = startIssuer(t), startIssuer(t)
	}
	if o.files != nil {
		o.files(m.dir)
	}
	values := map[string]string{
		"Dir": m.dir, "Authority": m.authority, "URL": m.url, "Issuer": m.issuer.URL(), "Partner": m.partner.URL(),
		"GRPC": or(o.grpc, "unix:"+m.dir+"/grpc.sock"), "HTTP": or(o.http, "unix:"+m.dir+"/http.sock"), "Ops": m.ops,
		"Audit": or(o.audit, "  batch_interval: 1m\n  layout: batch\n  unauthenticated_per_second: 1000"), "Database": o.database, "Listen": o.listen, "Envoy": o.envoy,
		"Dealership": m.startDealership(t, "dealership", "/mcp"), "API": m.startDealership(t, "api", "/mcp"),
		"Office": m.startOffice(t, o.office),
	}
	maps.Copy(values, o.values)
	m.fill(t, "sallyport.yaml", or(o.config, "sallyport.yaml"), values)
	m.fill(t, "tools.yaml", or(o.tools, "tools.yaml"), nil)
	m.write(t, "revocations.yaml", "version: 1\nrevocations: []\n")
	if !o.later {
		m.startSallyport(t)
		m.startEnvoy(t)
	}
	return m
}

// shortTempDir is a folder for Unix sockets, whose paths have 107 bytes at most.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

func startIssuer(t *testing.T) *devissuer.Issuer {
	t.Helper()
	issuer, err := devissuer.Start(devissuer.Config{Lifetime: 30 * time.Minute}) // parallel tests wait for their turn
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := issuer.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return issuer
}

// startDealership returns the address of the dealership that is the upstream of
// one server.
func (m *mesh) startDealership(t *testing.T, server, path string) string {
	t.Helper()
	upstream, err := dealership.New(dealership.Config{Path: path, Record: 4096})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := upstream.Close(); err != nil {
			t.Error(err)
		}
	})
	m.upstreams[server] = upstream
	return serve(t, upstream.Handler())
}

func (m *mesh) startOffice(t *testing.T, handler http.Handler) string {
	t.Helper()
	if handler == nil {
		return m.startDealership(t, "office", "/office")
	}
	return serve(t, handler)
}

func serve(t *testing.T, handler http.Handler) (address string) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections() // streams have no end of their own
		server.Close()
	})
	return server.Listener.Addr().String()
}

// fill writes a template of testdata/e2e, filled in, to a file of the mesh's folder.
func (m *mesh) fill(t *testing.T, name, from string, values map[string]string) {
	t.Helper()
	files, err := template.New("").Option("missingkey=error").ParseGlob("testdata/e2e/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := files.ExecuteTemplate(&text, from, values); err != nil {
		t.Fatal(err)
	}
	m.write(t, name, text.String())
}

// write replaces a file of the mesh's folder in one step, as editors do.
func (m *mesh) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.WriteFile(path+"~", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
}

// edit replaces one text in a file of the mesh's folder.
func (m *mesh) edit(t *testing.T, name, old, fresh string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(m.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), old) != 1 {
		t.Fatalf("%s: %q is there %d times, want once", name, old, strings.Count(string(text), old))
	}
	m.write(t, name, strings.Replace(string(text), old, fresh, 1))
}

func (m *mesh) config() string { return filepath.Join(m.dir, "sallyport.yaml") }

func (m *mesh) startSallyport(t *testing.T) {
	t.Helper()
	var err error
	m.sallyport, err = testenv.StartSallyport(t.Context(), testenv.SallyportOptions{
		Binary: m.binary, Config: m.config(), Ops: m.ops, Log: m.log,
	})
	if err != nil {
		t.Fatal(err)
	}
	stopWithTest(t, m.sallyport.Process)
}

// startEnvoy starts Envoy with what the binary writes for it.
func (m *mesh) startEnvoy(t *testing.T, changes ...func(bootstrap []byte) []byte) {
	t.Helper()
	bootstrap, err := exec.CommandContext(t.Context(), m.binary, "envoy", "bootstrap", "--config", m.config(), "--format", "json").Output()
	if err != nil {
		t.Fatalf("envoy bootstrap: %v", err)
	}
	for _, change := range changes {
		bootstrap = change(bootstrap)
	}
	m.envoy, err = testenv.StartEnvoy(t.Context(), testenv.EnvoyOptions{Config: bootstrap, Log: testenv.LogOnFailure(t, "Envoy")})
	if err != nil {
		t.Fatal(err)
	}
	stopWithTest(t, m.envoy.Process)
}

func stopWithTest(t *testing.T, process *testenv.Process) {
	t.Cleanup(func() {
		if err := process.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// token mints an access token for all servers of the mesh.
func (m *mesh) token(t *testing.T, subject, scopes string, changes ...func(*devissuer.TokenOptions)) string {
	t.Helper()
	return mint(t, m.issuer, m.tokenOptions(subject, scopes, changes...))
}

func (m *mesh) tokenOptions(subject, scopes string, changes ...func(*devissuer.TokenOptions)) devissuer.TokenOptions {
	o := devissuer.TokenOptions{
		Subject: subject, Scopes: strings.Fields(scopes),
		Audience: []string{m.url + "/mcp", m.url + "/office", m.url},
	}
	for _, change := range changes {
		change(&o)
	}
	return o
}

func mint(t *testing.T, issuer *devissuer.Issuer, o devissuer.TokenOptions) string {
	t.Helper()
	token, err := issuer.Mint(o)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// eventually waits until ok says so.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %v", what, within)
		}
	}
}

// listening tells whether something accepts connections there.
func listening(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// http2Client speaks HTTP/2 by prior knowledge.
func http2Client(t *testing.T) *http.Client {
	t.Helper()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	return clientOf(t, &http.Transport{Protocols: &protocols})
}

func clientOf(t *testing.T, transport *http.Transport) *http.Client {
	t.Helper()
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: dontFollow}
}
