package xds_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/envoy/xds"
	"github.com/sallyport/sallyport/internal/testenv"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// full sets every field of a Config; its certificates are in dir.
func full(dir string) xds.Config {
	file := func(name string) string { return filepath.Join(dir, name) }
	peer := func(address string) xds.Endpoint {
		return xds.Endpoint{
			Address: address, TLS: true, CAFile: file("ca.pem"),
			CertFile: file("envoy.pem"), KeyFile: file("envoy.key"),
		}
	}
	cfg := xds.Config{
		Listen:            "0.0.0.0:0",
		TLS:               xds.ServerTLS{CertFile: file("envoy.pem"), KeyFile: file("envoy.key"), ClientCAFile: file("ca.pem")},
		Admin:             "127.0.0.1:0",
		GRPC:              peer("127.0.0.1:9001"),
		HTTP:              peer("127.0.0.1:9002"),
		MaxRequestBytes:   256 << 10,
		CheckTimeout:      2 * time.Second,
		RequestTimeout:    30 * time.Second,
		StreamIdleTimeout: 2 * time.Hour,
		XFFTrustedHops:    2,
		MaxConnections:    500,
		AccessLog:         true,
		Servers: []xds.Server{
			{
				Name: "dealership", Hosts: []string{"mcp.example.com", "mcp.example.com:8443"}, Path: "/mcp",
				Upstream: peer("10.0.0.8:8080"),
			},
			{
				Name: "stock", Hosts: []string{"mcp.example.com"}, Path: "/stock/", PathIsPrefix: true,
				Upstream: peer("localhost:443"), UpstreamHost: "stock.internal",
			},
			{
				Name: "any", Hosts: []string{"*"}, Path: "/", PathIsPrefix: true,
				Upstream: xds.Endpoint{Address: "unix:/run/any.sock", HTTP2: true},
			},
		},
	}
	cfg.GRPC.ServerName = "spiffe://mesh/sallyport"
	cfg.Servers[1].Upstream.ServerName, cfg.Servers[1].Upstream.HTTP2 = "stock.internal", true
	return cfg
}

// TestGolden shows a change of the generated configuration in review; -update
// rewrites the files.
func TestGolden(t *testing.T) {
	for name, cfg := range map[string]xds.Config{"smallest": smallest(), "full": full("/certs")} {
		got := render(t, cfg)
		golden := filepath.Join("testdata", name+".yaml")
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got; -update rewrites it):\n%s", golden, diff)
		}
	}
}

func render(t *testing.T, cfg xds.Config) []byte {
	t.Helper()
	bootstrap, err := xds.Bootstrap(cfg)
	if err != nil {
		t.Fatal(err)
	}
	text, err := xds.YAML(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestSameConfigSameBytes(t *testing.T) {
	first := render(t, full("/certs"))
	for range 20 {
		if !bytes.Equal(first, render(t, full("/certs"))) {
			t.Fatal("the same Config gave different bytes")
		}
	}
}

func TestJSONIsTheSameBootstrap(t *testing.T) {
	bootstrap, err := xds.Bootstrap(smallest())
	if err != nil {
		t.Fatal(err)
	}
	text, err := xds.JSON(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	if err := testenv.Validate(t.Context(), "", text); err != nil {
		t.Error(err)
	}
	var document map[string]any
	if err := json.Unmarshal(text, &document); err != nil || document["static_resources"] == nil {
		t.Errorf("not the JSON of a bootstrap, %v:\n%s", err, text)
	}
}

// TestEnvoyAcceptsBootstrap without a word: a deprecated field would be a
// warning.
func TestEnvoyAcceptsBootstrap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority, err := testenv.NewAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	issue(t, authority, "envoy", "localhost")
	for name, cfg := range map[string]xds.Config{"smallest": smallest(), "full": full(dir)} {
		t.Run(name, func(t *testing.T) {
			bootstrap, err := xds.Bootstrap(cfg)
			if err != nil {
				t.Fatal(err)
			}
			envoy, _ := startEnvoy(t, bootstrap)
			if said := envoy.Tail(); said != "" {
				t.Errorf("Envoy said:\n%s", said)
			}
		})
	}
}

// TestAccessLog also shows that Envoy keeps the metadata of a denial: the log
// takes the decision's id from there.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	m := start(t, settings{config: func(c *xds.Config) { c.AccessLog = true }})
	m.check.describe("decision_id", "D-1")
	m.post(t, "/mcp?access_token=secret", "Authorization", "Bearer secret", "User-Agent", "secret")
	m.check.deny(http.StatusForbidden, "")
	m.check.describe("decision_id", "D-2")
	m.post(t, "/mcp")
	m.check.server.Stop()
	m.post(t, "/mcp")
	if err := m.envoy.Stop(); err != nil { // which flushes the log
		t.Fatal(err)
	}

	type line struct {
		Method, Path, Details string
		Status                int
		Decision              string `json:"decision_id"`
		Attempt               int    `json:"upstream_attempt"`
	}
	var got []line
	for text := range strings.Lines(m.envoy.Tail()) {
		if strings.Contains(text, "secret") {
			t.Errorf("a secret is in the log: %s", text)
		}
		var l line
		if json.Unmarshal([]byte(text), &l) == nil {
			got = append(got, l)
		}
	}
	want := []line{
		{"POST", "/mcp", "via_upstream", 200, "D-1", 1},
		{"POST", "/mcp", "ext_authz_denied", 403, "D-2", 0},
		{"POST", "/mcp", "ext_authz_error", 503, "", 0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("access log (-want +got):\n%s\n%s", diff, m.envoy.Tail())
	}
}
