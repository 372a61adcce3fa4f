package xds_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
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
		ReceiveTimeout:    5 * time.Second,
		RequestTimeout:    30 * time.Second,
		StreamIdleTimeout: 2 * time.Hour,
		MaxStreamDuration: 4 * time.Hour,
		XFFTrustedHops:    2,
		MaxConnections:    500,
		MaxHeapBytes:      256 << 20,
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
