package xds_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/envoy/xds"
)

func TestValidate(t *testing.T) {
	server := func(change func(*xds.Server)) func(*xds.Config) {
		return func(c *xds.Config) { change(&c.Servers[0]) }
	}
	tests := map[string]struct {
		change func(*xds.Config)
		want   []string // parts of the error; none: valid
	}{
		"smallest": {func(*xds.Config) {}, nil},
		"full":     {func(c *xds.Config) { *c = full("/certs") }, nil},

		"no listen":                 {func(c *xds.Config) { c.Listen = "" }, []string{`listen: "" is not IP:port`}},
		"listen by name":            {func(c *xds.Config) { c.Listen = "localhost:80" }, []string{"is not IP:port"}},
		"listen beyond":             {func(c *xds.Config) { c.Listen = "0.0.0.0:80" }, []string{"listen: 0.0.0.0:80 isn't loopback"}},
		"listen IPv6":               {func(c *xds.Config) { c.Listen = "[::1]:80" }, nil},
		"listen beyond, on purpose": {func(c *xds.Config) { c.Listen, c.Plaintext = "0.0.0.0:80", true }, nil},
		"half a certificate":        {func(c *xds.Config) { c.TLS.CertFile = "/x" }, []string{"tls: cert_file and key_file"}},
		"only a client CA":          {func(c *xds.Config) { c.TLS.ClientCAFile = "/x" }, []string{"tls: cert_file and key_file"}},

		"no admin":        {func(c *xds.Config) { c.Admin = "" }, nil},
		"admin beyond":    {func(c *xds.Config) { c.Admin = "192.0.2.1:9901" }, []string{"admin: 192.0.2.1:9901 isn't loopback"}},
		"admin by name":   {func(c *xds.Config) { c.Admin = "localhost:9901" }, []string{"admin: ", "neither"}},
		"admin socket":    {func(c *xds.Config) { c.Admin = "/run/admin.sock" }, nil},
		"admin, relative": {func(c *xds.Config) { c.Admin = "admin.sock" }, []string{"admin: ", "neither"}},

		"no grpc":             {func(c *xds.Config) { c.GRPC = xds.Endpoint{} }, []string{"grpc: address: "}},
		"grpc without port":   {func(c *xds.Config) { c.GRPC.Address = "sallyport" }, []string{"grpc: address: "}},
		"grpc with port 0":    {func(c *xds.Config) { c.GRPC.Address = "sallyport:0" }, []string{"grpc: address: "}},
		"grpc without host":   {func(c *xds.Config) { c.GRPC.Address = ":9001" }, []string{"grpc: address: "}},
		"relative socket":     {func(c *xds.Config) { c.HTTP.Address = "unix:http.sock" }, []string{"http: address: ", "absolute"}},
		"TLS without CA":      {func(c *xds.Config) { c.HTTP.TLS = true }, []string{"http: ca_file: needed"}},
		"CA without TLS":      {func(c *xds.Config) { c.HTTP.CAFile = "/ca" }, []string{"http: tls: off"}},
		"name without TLS":    {func(c *xds.Config) { c.HTTP.ServerName = "x" }, []string{"http: tls: off"}},
		"key without cert":    {func(c *xds.Config) { c.HTTP = xds.Endpoint{Address: "h:1", TLS: true, CAFile: "/ca", KeyFile: "/k"} }, []string{"http: cert_file, key_file: both"}},
		"socket without name": {func(c *xds.Config) { c.HTTP = xds.Endpoint{Address: "unix:/s", TLS: true, CAFile: "/ca"} }, []string{"http: server_name: needed"}},

		"too large a body": {func(c *xds.Config) { c.MaxRequestBytes = 65 << 20 }, []string{"max_request_bytes: "}},
		"too slow a check": {func(c *xds.Config) { c.CheckTimeout = 2 * time.Minute }, []string{"check_timeout: 2m0s is not within"}},
		"negative timeout": {func(c *xds.Config) { c.RequestTimeout = -1 }, []string{"request_timeout: "}},
		"short streams":    {func(c *xds.Config) { c.StreamIdleTimeout = time.Millisecond }, []string{"stream_idle_timeout: "}},
		"slow upload":      {func(c *xds.Config) { c.ReceiveTimeout = time.Hour }, []string{"receive_timeout: 1h0m0s is not within"}},
		"endless streams":  {func(c *xds.Config) { c.MaxStreamDuration = 25 * time.Hour }, []string{"max_stream_duration: 25h0m0s is not within"}},
		"small heap":       {func(c *xds.Config) { c.MaxHeapBytes = 64<<20 - 1 }, []string{"max_heap_bytes: 67108863 is not within"}},
		"large heap":       {func(c *xds.Config) { c.MaxHeapBytes = 64<<30 + 1 }, []string{"max_heap_bytes: 68719476737 is not within"}},
		"heap for bodies":  {func(c *xds.Config) { c.MaxRequestBytes, c.MaxHeapBytes = 16<<20, 127<<20 }, []string{"max_heap_bytes: 133169152 is less than 8"}},
		"just enough heap": {func(c *xds.Config) { c.MaxRequestBytes, c.MaxHeapBytes = 16<<20, 128<<20 }, nil},
		"many hops":        {func(c *xds.Config) { c.XFFTrustedHops = 17 }, []string{"xff_trusted_hops: 17"}},

		"no servers":      {func(c *xds.Config) { c.Servers = nil }, []string{"servers: none"}},
		"no name":         {server(func(s *xds.Server) { s.Name = "" }), []string{`servers[0] "": name: `}},
		"bad name":        {server(func(s *xds.Server) { s.Name = "A%d" }), []string{`servers[0] "A%d": name: must match`}},
		"no hosts":        {server(func(s *xds.Server) { s.Hosts = nil }), []string{"hosts: none"}},
		"bad host":        {server(func(s *xds.Server) { s.Hosts = []string{"a.example/", "*.example", "a:b", ""} }), []string{`"a.example/"`, `"*.example"`, `"a:b"`, `hosts: ""`}},
		"good hosts":      {server(func(s *xds.Server) { s.Hosts = []string{"a", "A.example:80", "[::1]", "[::1]:80", "192.0.2.1"} }), nil},
		"relative path":   {server(func(s *xds.Server) { s.Path = "mcp" }), []string{`path: "mcp"`}},
		"path with query": {server(func(s *xds.Server) { s.Path = "/mcp?x" }), []string{"path: "}},
		"encoded path":    {server(func(s *xds.Server) { s.Path = "/m%63p" }), []string{"path: "}},
		"double slash":    {server(func(s *xds.Server) { s.Path = "/a//b" }), []string{"path: "}},
		"dots":            {server(func(s *xds.Server) { s.Path = "/a/../b" }), []string{"path: "}},
		"our API":         {server(func(s *xds.Server) { s.Path = "/api/auth" }), []string{"path: /api/auth belongs"}},
		"below our API":   {server(func(s *xds.Server) { s.Path = "/api/auth/x" }), []string{"belongs"}},
		"our metadata":    {server(func(s *xds.Server) { s.Path, s.PathIsPrefix = "/.well-known/oauth-protected-resource/", true }), []string{"belongs"}},
		"above our API":   {server(func(s *xds.Server) { s.Path, s.PathIsPrefix = "/api", true }), nil},
		"upstream":        {server(func(s *xds.Server) { s.Upstream.Address = "x" }), []string{`servers[0] "dealership": upstream: address: `}},
		"upstream's host": {server(func(s *xds.Server) { s.UpstreamHost = "*" }), []string{"upstream_host: "}},

		"name twice": {func(c *xds.Config) {
			c.Servers = append(c.Servers, c.Servers[0])
			c.Servers[1].Path = "/other"
		}, []string{`servers[1] "dealership": name is taken`}},
		"route twice": {func(c *xds.Config) {
			c.Servers[0].Hosts = []string{"A.example"}
			c.Servers = append(c.Servers, c.Servers[0])
			c.Servers[1].Name, c.Servers[1].Hosts = "other", []string{"b.example", "a.example"}
		}, []string{`servers[1] "other": path /mcp at a.example already leads to "dealership"`}},
		"prefix twice": {func(c *xds.Config) {
			c.Servers = append(c.Servers, c.Servers[0])
			c.Servers[1].Name, c.Servers[1].Path, c.Servers[1].PathIsPrefix = "other", "/mcp/", true
		}, []string{"already leads to"}},
		"everything at once": {func(c *xds.Config) {
			c.Listen, c.Admin, c.GRPC.Address, c.Servers[0].Path = "x", "y", "z", "w"
		}, []string{"listen: ", "admin: ", "grpc: ", "path: "}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := smallest()
			test.change(&cfg)
			_, err := xds.Bootstrap(cfg)
			if (err != nil) != (len(test.want) > 0) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("no %q in: %v", part, err)
				}
			}
			if validated := cfg.Validate(); (validated == nil) != (err == nil) {
				t.Errorf("Validate says %v", validated)
			}
		})
	}
}
