package main_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/sallyport/sallyport/internal/testenv"
)

// TestMutualTLS has Envoy and Sallyport prove to each other who they are.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	ports, err := testenv.FreePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	check, api := fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	var authority *testenv.Authority
	var envoy identity
	m := startMesh(t, meshOptions{
		grpc: check, http: api,
		listen: "  tls: {cert_file: tls/sallyport.pem, key_file: tls/sallyport.key, client_ca_file: tls/ca.pem}",
		envoy:  "  service_tls: {ca_file: tls/ca.pem, cert_file: tls/envoy.pem, key_file: tls/envoy.key, server_name: spiffe://mesh.test/sallyport}",
		files: func(dir string) {
			authority = newAuthority(t, filepath.Join(dir, "tls"))
			issue(t, authority, "sallyport", "spiffe://mesh.test/sallyport", "127.0.0.1")
			envoy = issue(t, authority, "envoy", "spiffe://mesh.test/envoy")
		},
	})
	call := callTool(m.token(t, "alice", "vehicles.read"), "search_vehicles", `{}`)
	m.allowed(t, m.send(t, call), "dealership")
	m.undecided(t, m.send(t, request{method: "GET", path: "/.well-known/oauth-protected-resource/mcp"}), http.StatusOK)

	roots := trusting(t, authority.CAFile)
	foreign := issue(t, newAuthority(t, filepath.Join(m.dir, "foreign")), "envoy", "spiffe://mesh.test/envoy")
	for name, c := range map[string]struct {
		config *tls.Config // nil: no TLS
		good   bool
	}{
		"Envoy's certificate":   {&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{envoy.certificate}}, true},
		"no certificate":        {&tls.Config{RootCAs: roots}, false},
		"another authority's":   {&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{foreign.certificate}}, false},
		"an old version of TLS": {&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{envoy.certificate}, MaxVersion: tls.VersionTLS12}, false},
		"plaintext":             {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			creds, scheme := insecure.NewCredentials(), "http"
			if c.config != nil {
				creds, scheme = credentials.NewTLS(c.config), "https"
			}
			conn, err := grpc.NewClient(check, grpc.WithTransportCredentials(creds))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			health, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
			if serving := err == nil && health.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING; serving != c.good {
				t.Errorf("the gRPC port answers %v, %v", health, err)
			}
			response, err := clientOf(t, &http.Transport{TLSClientConfig: c.config}).Get(scheme + "://" + api + "/.well-known/oauth-protected-resource/mcp")
			if err == nil {
				response.Body.Close()
			}
			// Go's server tells a client without TLS so, with a 400.
			if got := err == nil && response.StatusCode != http.StatusBadRequest; got != c.good {
				t.Errorf("the HTTP port answers %v, %v", response, err)
			}
		})
	}
	t.Run("Sallyport by another name", func(t *testing.T) {
		if err := m.envoy.Stop(); err != nil {
			t.Fatal(err)
		}
		m.startEnvoy(t, func(bootstrap []byte) []byte {
			return bytes.ReplaceAll(bootstrap, []byte("spiffe://mesh.test/sallyport"), []byte("spiffe://mesh.test/impostor"))
		})
		m.undecided(t, m.send(t, call), http.StatusServiceUnavailable)
		m.undecided(t, m.send(t, request{method: "GET", path: "/.well-known/oauth-protected-resource/mcp"}), http.StatusServiceUnavailable)
	})
}
