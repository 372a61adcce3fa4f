// Package xds turns Sallyport's settings into the configuration of the Envoy in
// front of it.
//
// Bootstrap is a pure function: the same Config gives the same bytes, and
// nothing is read but the Config (certificates are named by path and read by
// Envoy).
package xds

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"strings"
	"time"
)

// Defaults of the fields whose zero value means "the default".
const (
	DefaultMaxRequestBytes   = 1 << 20
	DefaultCheckTimeout      = 6 * time.Second
	DefaultReceiveTimeout    = 15 * time.Second
	DefaultRequestTimeout    = 60 * time.Second
	DefaultStreamIdleTimeout = time.Hour
	DefaultMaxStreamDuration = 2 * time.Hour
	DefaultMaxConnections    = 10_000
	DefaultMaxHeapBytes      = 1 << 30
)

// Config says what Envoy listens on, whom it asks and where it sends requests.
type Config struct {
	// Listen is the host:port for clients; the host is an IP address. Port 0
	// lets the system choose.
	Listen string
	// Plaintext is the explicit word that clients may be served without TLS on
	// an address that isn't loopback.
	Plaintext bool
	// TLS is what clients see. Without a certificate the listener is plain, which
	// is refused unless Listen is loopback or Plaintext is set.
	TLS ServerTLS
	// Admin is Envoy's own interface: a loopback IP:port, or the absolute path of
	// a Unix socket. Empty: none.
	Admin string

	// GRPC answers Check: Sallyport's gRPC listener.
	GRPC Endpoint
	// HTTP serves the well-known documents and /api/auth/: Sallyport's HTTP listener.
	HTTP Endpoint

	// Servers are what Sallyport protects.
	Servers []Server

	// MaxRequestBytes is the largest request body; above it Envoy answers 413
	// and Check is not asked. Default 1 MiB, at most 64 MiB.
	MaxRequestBytes uint32
	// CheckTimeout bounds one Check. It must hold a call to a provider of
	// elevations. Default 6s, at most 60s.
	CheckTimeout time.Duration
	// ReceiveTimeout bounds receiving a request, whose body takes memory before
	// anybody knows whose it is. Default 15s: a body of MaxRequestBytes by default
	// needs 560 kbit/s, and larger ones need more time. At most 10m.
	ReceiveTimeout time.Duration
	// RequestTimeout bounds the whole answer of Sallyport's own API and of REST
	// servers; a tool's timeout replaces it there. Default 60s, at most 1h.
	RequestTimeout time.Duration
	// StreamIdleTimeout ends an exchange with a server in which nothing moved for
	// so long: event streams may be silent for a while. It must be no less than the
	// longest timeout of a tool. Default 1h, at most 24h.
	StreamIdleTimeout time.Duration
	// MaxStreamDuration ends every exchange, however busy, for a stream is allowed
	// once and a caller's rights end. Check may set a shorter time for a request
	// (x-envoy-upstream-rq-timeout-ms); this bound holds without it. It must be no
	// less than the longest timeout of a tool. Default 2h, at most 24h.
	MaxStreamDuration time.Duration
	// XFFTrustedHops is how many proxies in front of this Envoy are trusted to
	// have appended to X-Forwarded-For; at most 16. Default 0: the client's address
	// is the connection's. Check and upstreams find that address in
	// x-envoy-external-address: the source in CheckRequest is always the
	// connection's.
	XFFTrustedHops uint32
	// MaxConnections bounds the clients' open connections, each of which may have
	// 32 requests at a time in HTTP/2. Default 10000.
	MaxConnections uint32
	// MaxHeapBytes is how large Envoy's heap may grow. Requests being received
	// belong to strangers and could take 32 × MaxConnections × MaxRequestBytes. So
	// from 75 % on the largest are reset (HTTP/2), at 90 % new ones get 503, and at
	// 99 % connections that send more are closed. Under attack the process was seen
	// to take a third more and 80 MB. Default 1 GiB, within [64 MiB, 64 GiB], no
	// less than 8 × MaxRequestBytes.
	MaxHeapBytes uint64
}

// ServerTLS is the server side of a TLS listener: TLS 1.3, HTTP/2 and HTTP/1.1.
type ServerTLS struct {
	CertFile string // PEM chain; with KeyFile
	KeyFile  string // PEM
	// ClientCAFile makes a client certificate from this CA mandatory. Certificate-
	// bound tokens (RFC 8705) need it.
	ClientCAFile string
}

func (t ServerTLS) enabled() bool { return t != ServerTLS{} }

// Endpoint is a server that Envoy connects to.
type Endpoint struct {
	// Address is host:port, or unix: and the absolute path of a socket. A host
	// name is resolved again and again as its DNS record expires.
	Address string
	// TLS verifies the peer: its chain by CAFile, its name by ServerName.
	TLS bool
	// CAFile is the PEM bundle that TLS trusts. There is no default: naming the
	// system's own bundle is a decision.
	CAFile string
	// ServerName is what the peer's certificate must carry: a DNS name (also sent
	// as SNI), an IP address, or a spiffe:// URI. Default: the host of Address.
	ServerName string
	// CertFile and KeyFile are Envoy's own certificate towards the peer.
	CertFile, KeyFile string
	// HTTP2 speaks HTTP/2 without negotiation. GRPC endpoints always do.
	HTTP2 bool
}

// Server is one MCP server or REST API.
type Server struct {
	// Name is unique: lower-case letters, digits, '-' and '_'.
	Name string
	// Hosts are the authorities that lead here: "host" (with any port),
	// "host:port" (that port only) or "*" (those that no server names).
	Hosts []string
	// Path is the exact path of an MCP endpoint; with PathIsPrefix it is the
	// prefix, in whole segments, of a REST API.
	Path         string
	PathIsPrefix bool
	// Upstream is where allowed requests go.
	Upstream Endpoint
	// UpstreamHost replaces the authority towards the upstream. Empty: it sees
	// the client's.
	UpstreamHost string
}

// withDefaults fills in every field whose zero value means a default.
func (c Config) withDefaults() Config {
	orUint := func(field *uint32, value uint32) {
		if *field == 0 {
			*field = value
		}
	}
	orDuration := func(field *time.Duration, value time.Duration) {
		if *field == 0 {
			*field = value
		}
	}
	orUint(&c.MaxRequestBytes, DefaultMaxRequestBytes)
	orUint(&c.MaxConnections, DefaultMaxConnections)
	orDuration(&c.CheckTimeout, DefaultCheckTimeout)
	orDuration(&c.ReceiveTimeout, DefaultReceiveTimeout)
	orDuration(&c.RequestTimeout, DefaultRequestTimeout)
	orDuration(&c.StreamIdleTimeout, DefaultStreamIdleTimeout)
	orDuration(&c.MaxStreamDuration, DefaultMaxStreamDuration)
	if c.MaxHeapBytes == 0 {
		c.MaxHeapBytes = DefaultMaxHeapBytes
	}
	return c
}

// Validate reports every problem at once. Zero values stand for their defaults.
func (c Config) Validate() error {
	c = c.withDefaults()
	errs := []error{
		c.validateListen(),
		c.validateAdmin(),
		validateServerTLS(c.TLS),
		validateEndpoint("grpc", c.GRPC),
		validateEndpoint("http", c.HTTP),
		validateRange("check_timeout", c.CheckTimeout, time.Millisecond, time.Minute),
		validateRange("receive_timeout", c.ReceiveTimeout, time.Millisecond, 10*time.Minute),
		validateRange("request_timeout", c.RequestTimeout, time.Millisecond, time.Hour),
		validateRange("stream_idle_timeout", c.StreamIdleTimeout, time.Second, 24*time.Hour),
		validateRange("max_stream_duration", c.MaxStreamDuration, time.Second, 24*time.Hour),
		c.validateServers(),
	}
	if c.MaxRequestBytes > 64<<20 {
		errs = append(errs, fmt.Errorf("max_request_bytes: %d is more than 64 MiB", c.MaxRequestBytes))
	}
	if c.MaxHeapBytes < 64<<20 || c.MaxHeapBytes > 64<<30 {
		errs = append(errs, fmt.Errorf("max_heap_bytes: %d is not within [64 MiB, 64 GiB]", c.MaxHeapBytes))
	}
	if c.MaxHeapBytes < 8*uint64(c.MaxRequestBytes) {
		errs = append(errs, fmt.Errorf("max_heap_bytes: %d is less than 8 × max_request_bytes", c.MaxHeapBytes))
	}
	if c.XFFTrustedHops > 16 {
		errs = append(errs, fmt.Errorf("xff_trusted_hops: %d is more than 16", c.XFFTrustedHops))
	}
	return errors.Join(errs...)
}

func validateRange(name string, got, low, high time.Duration) error {
	if got < low || got > high {
		return fmt.Errorf("%s: %v is not within [%v, %v]", name, got, low, high)
	}
	return nil
}

func (c Config) validateListen() error {
	address, err := netip.ParseAddrPort(c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %q is not IP:port", c.Listen)
	}
	if !address.Addr().IsLoopback() && !c.TLS.enabled() && !c.Plaintext {
		return fmt.Errorf("listen: %s isn't loopback: it needs tls, or the explicit word for plaintext", c.Listen)
	}
	return nil
}

// validateAdmin refuses what others can reach: the interface has no
// authentication, can end the proxy and shows its configuration.
func (c Config) validateAdmin() error {
	if c.Admin == "" || path.IsAbs(c.Admin) {
		return nil
	}
	address, err := netip.ParseAddrPort(c.Admin)
	if err != nil {
		return fmt.Errorf("admin: %q is neither IP:port nor an absolute path", c.Admin)
	}
	if !address.Addr().IsLoopback() {
		return fmt.Errorf("admin: %s isn't loopback", c.Admin)
	}
	return nil
}

func validateServerTLS(t ServerTLS) error {
	if t.enabled() && (t.CertFile == "" || t.KeyFile == "") {
		return errors.New("tls: cert_file and key_file are both needed")
	}
	return nil
}

func validateEndpoint(name string, e Endpoint) error {
	var errs []error
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{name}, args...)...))
	}
	if socket, isUnix := strings.CutPrefix(e.Address, unixScheme); isUnix {
		if !path.IsAbs(socket) {
			fail("address: %q needs an absolute path", e.Address)
		}
		if e.TLS && e.ServerName == "" {
			fail("server_name: needed for TLS over a Unix socket")
		}
	} else if host, port, err := net.SplitHostPort(e.Address); err != nil || host == "" || !isPort(port) {
		fail("address: %q is neither host:port nor unix:/path", e.Address)
	}
	if e.TLS && e.CAFile == "" {
		fail("ca_file: needed for TLS (for a public certificate, the system's bundle)")
	}
	if !e.TLS && (e.CAFile != "" || e.ServerName != "" || e.CertFile != "" || e.KeyFile != "") {
		fail("tls: off, but certificates or a server name are set")
	}
	if (e.CertFile == "") != (e.KeyFile == "") {
		fail("cert_file, key_file: both or neither")
	}
	return errors.Join(errs...)
}
