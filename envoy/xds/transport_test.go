package xds_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/sallyport/sallyport/envoy/xds"
	"github.com/sallyport/sallyport/internal/testenv"
)

func TestClientProtocols(t *testing.T) {
	t.Parallel()
	authority := newAuthority(t)
	certFile, keyFile := issue(t, authority, "envoy", "127.0.0.1")
	plain := start(t, settings{})
	secure := start(t, settings{config: func(c *xds.Config) { c.TLS = xds.ServerTLS{CertFile: certFile, KeyFile: keyFile} }})
	trust := &tls.Config{RootCAs: pool(t, authority.CAFile)}

	tests := map[string]struct {
		mesh   *mesh
		scheme string
		client *http.Client
		proto  string
	}{
		"HTTP/1.1":      {plain, "http", http.DefaultClient, "HTTP/1.1"},
		"HTTP/2":        {plain, "http", http2Client(t, nil), "HTTP/2.0"},
		"TLS, HTTP/1.1": {secure, "https", client(t, &http.Transport{TLSClientConfig: trust}), "HTTP/1.1"},
		"TLS, HTTP/2":   {secure, "https", http2Client(t, trust.Clone()), "HTTP/2.0"},
	}
	for name, test := range tests {
		got := test.mesh.postAs(t, test.client, test.scheme+"://"+test.mesh.address+"/mcp", `{"a":1}`)
		if got.status != http.StatusOK || got.proto != test.proto {
			t.Errorf("%s: status %d over %s", name, got.status, got.proto)
		}
		asked := test.mesh.check.asked()[0].GetRequest().GetHttp()
		if asked.GetScheme() != test.scheme || string(asked.GetRawBody()) != `{"a":1}` {
			t.Errorf("%s: Check got scheme %s, body %s", name, asked.GetScheme(), asked.GetRawBody())
		}
		if arrived := test.mesh.upstream.requests()[0]; arrived.body != `{"a":1}` || arrived.header.Get("X-Forwarded-Proto") != test.scheme {
			t.Errorf("%s: the upstream got %+v", name, arrived)
		}
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	authority := newAuthority(t)
	certFile, keyFile := issue(t, authority, "envoy", "127.0.0.1")
	m := start(t, settings{config: func(c *xds.Config) { c.TLS = xds.ServerTLS{CertFile: certFile, KeyFile: keyFile} }})
	conn, err := tls.Dial("tcp", m.address, &tls.Config{RootCAs: pool(t, authority.CAFile), MaxVersion: tls.VersionTLS12})
	if err == nil {
		conn.Close()
		t.Error("TLS 1.2 was accepted")
	}
}

// TestClientCertificate: Check learns of a certificate from the TLS session and
// from nowhere else.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	authority, stranger := newAuthority(t), newAuthority(t)
	certFile, keyFile := issue(t, authority, "envoy", "127.0.0.1")
	m := start(t, settings{config: func(c *xds.Config) {
		c.TLS = xds.ServerTLS{CertFile: certFile, KeyFile: keyFile, ClientCAFile: authority.CAFile}
	}})
	dial := func(certificates ...tls.Certificate) *http.Client {
		return client(t, &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool(t, authority.CAFile), Certificates: certificates}})
	}
	agentFile, agentKey := issue(t, authority, "agent", "spiffe://mesh/agent")
	otherFile, otherKey := issue(t, stranger, "agent", "spiffe://mesh/agent")

	got := m.postAs(t, dial(keyPair(t, agentFile, agentKey)), "https://"+m.address+"/mcp", `{}`,
		"X-Forwarded-Client-Cert", "Hash=spoofed")
	if got.status != http.StatusOK {
		t.Fatalf("status %d", got.status)
	}
	want, err := os.ReadFile(agentFile)
	if err != nil {
		t.Fatal(err)
	}
	source := m.check.asked()[0].GetSource()
	if certificate, err := url.QueryUnescape(source.GetCertificate()); err != nil || certificate != string(want) {
		t.Errorf("Check got certificate %q, %v", certificate, err)
	}
	if source.GetPrincipal() != "spiffe://mesh/agent" {
		t.Errorf("Check got principal %q", source.GetPrincipal())
	}
	if xfcc := m.upstream.requests()[0].header.Get("X-Forwarded-Client-Cert"); xfcc != "" {
		t.Errorf("the upstream got X-Forwarded-Client-Cert %q", xfcc)
	}

	for name, client := range map[string]*http.Client{
		"no certificate":      dial(),
		"another authority's": dial(keyPair(t, otherFile, otherKey)),
	} {
		response, err := client.Post("https://"+m.address+"/mcp", "application/json", strings.NewReader(`{}`))
		if err == nil {
			response.Body.Close()
			t.Errorf("%s: status %d, want no connection", name, response.StatusCode)
		}
	}
	if n := len(m.check.asked()); n != 0 {
		t.Errorf("%d checks of clients without a valid certificate", n)
	}
}

// TestPeersAreVerified: Envoy shows its certificate to Check and to the upstream,
// and speaks to nobody whose name or authority is wrong.
func TestPeersAreVerified(t *testing.T) {
	t.Parallel()
	authority, stranger := newAuthority(t), newAuthority(t)
	certFile, keyFile := issue(t, authority, "sallyport", "127.0.0.1", "spiffe://mesh/sallyport", "localhost")
	server := &tls.Config{
		Certificates: []tls.Certificate{keyPair(t, certFile, keyFile)},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool(t, authority.CAFile),
		MinVersion: tls.VersionTLS13,
	}
	check := startChecker(t, nil, grpc.Creds(credentials.NewTLS(server.Clone())))
	upstream := &recorder{}
	web := httptest.NewUnstartedServer(upstream)
	web.TLS, web.EnableHTTP2 = server.Clone(), true
	web.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are expected
	web.StartTLS()
	t.Cleanup(web.Close)
	_, port, err := net.SplitHostPort(web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	envoyCert, envoyKey := issue(t, authority, "envoy", "spiffe://mesh/envoy")

	right := func(address string) xds.Endpoint {
		return xds.Endpoint{Address: address, TLS: true, CAFile: authority.CAFile, CertFile: envoyCert, KeyFile: envoyKey}
	}
	tests := map[string]struct {
		change func(check, upstream *xds.Endpoint)
		want   int
		proto  string
	}{
		"addresses": {func(_, _ *xds.Endpoint) {}, 200, "HTTP/1.1"},
		"DNS name":  {func(_, u *xds.Endpoint) { u.Address = "localhost:" + port }, 200, "HTTP/1.1"},
		"SPIFFE IDs": {func(c, u *xds.Endpoint) {
			c.ServerName, u.ServerName = "spiffe://mesh/sallyport", "spiffe://mesh/sallyport"
		}, 200, "HTTP/1.1"},
		"HTTP/2 upstream":          {func(_, u *xds.Endpoint) { u.HTTP2 = true }, 200, "HTTP/2.0"},
		"upstream's name":          {func(_, u *xds.Endpoint) { u.ServerName = "other.example" }, 503, ""},
		"upstream's authority":     {func(_, u *xds.Endpoint) { u.CAFile = stranger.CAFile }, 503, ""},
		"no certificate of ours":   {func(_, u *xds.Endpoint) { u.CertFile, u.KeyFile = "", "" }, 503, ""},
		"Check's name":             {func(c, _ *xds.Endpoint) { c.ServerName = "spiffe://mesh/other" }, 503, ""},
		"Check's authority":        {func(c, _ *xds.Endpoint) { c.CAFile = stranger.CAFile }, 503, ""},
		"plain to an upstream TLS": {func(_, u *xds.Endpoint) { *u = xds.Endpoint{Address: u.Address} }, 400, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := start(t, settings{config: func(c *xds.Config) {
				c.GRPC, c.Servers[0].Upstream = right(check.address), right(web.Listener.Addr().String())
				test.change(&c.GRPC, &c.Servers[0].Upstream)
			}})
			if got := m.post(t, "/mcp"); got.status != test.want {
				t.Errorf("status %d, want %d: %s", got.status, test.want, got.body)
			}
			arrived := upstream.requests()
			if test.want == http.StatusOK && (len(arrived) != 1 || arrived[0].proto != test.proto) {
				t.Errorf("the upstream got %+v", arrived)
			}
			if test.want != http.StatusOK && len(arrived) != 0 {
				t.Errorf("%d requests reached the upstream", len(arrived))
			}
		})
	}
}

func TestUnixSockets(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "sallyport-") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := func(name string) string { return filepath.Join(dir, name) }
	serve := func(name string) *recorder {
		r := &recorder{}
		server := httptest.NewUnstartedServer(r)
		server.Listener = listenUnix(t, path(name))
		server.Start()
		t.Cleanup(server.Close)
		return r
	}
	check, upstream, api := startChecker(t, listenUnix(t, path("grpc"))), serve("upstream"), serve("api")
	m := start(t, settings{config: func(c *xds.Config) {
		c.Admin = path("admin")
		c.GRPC.Address, c.HTTP.Address, c.Servers[0].Upstream.Address = "unix:"+path("grpc"), "unix:"+path("api"), "unix:"+path("upstream")
	}})
	if got := m.post(t, "/mcp"); got.status != http.StatusOK || len(check.asked()) != 1 || len(upstream.requests()) != 1 {
		t.Errorf("status %d; Check or the upstream wasn't reached", got.status)
	}
	if got := m.post(t, "/api/auth/elevate"); got.status != http.StatusOK || len(api.requests()) != 1 {
		t.Errorf("status %d; the API wasn't reached", got.status)
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	t.Parallel()
	m := start(t, settings{config: func(c *xds.Config) { c.MaxConnections = 1 }})
	first := client(t, &http.Transport{})
	m.postAs(t, first, "http://"+m.address+"/mcp", `{}`) // and stays connected
	conn, err := net.Dial("tcp", m.address)
	if err != nil {
		return // refused at once is just as well
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST /mcp HTTP/1.1\r\n"+known+"Content-Length: 0\r\n\r\n") // it may be closed already
	if answer, _ := io.ReadAll(conn); len(answer) != 0 {
		t.Errorf("a second connection got %q", answer)
	}
}

func newAuthority(t *testing.T) *testenv.Authority {
	t.Helper()
	authority, err := testenv.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func issue(t *testing.T, authority *testenv.Authority, name string, identities ...string) (certFile, keyFile string) {
	t.Helper()
	certFile, keyFile, err := authority.Issue(name, identities...)
	if err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

func keyPair(t *testing.T, certFile, keyFile string) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func pool(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return pool
}

func listenUnix(t *testing.T, path string) net.Listener {
	t.Helper()
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return listener
}
