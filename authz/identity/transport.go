package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// Bounds of one fetch of a document from an identity provider.
const (
	maxDocumentBytes    = 1 << 20         // of the body; the largest real key sets are below 100 KiB
	maxResponseHeader   = 64 << 10        // of all response headers together
	documentTimeout     = 5 * time.Second // from dialling to the last byte
	documentDialTimeout = 3 * time.Second
)

// documentFetcher gets JSON documents of an identity provider. What it refuses
// it refuses because the URL, the name server and the answer may all be in the
// hands of somebody else: other schemes than https, redirects, proxies from the
// environment, compressed or large bodies, and addresses inside our own network
// (checked after the name is resolved, so that a name which changes its mind
// between check and use gains nothing).
//
// It is safe for concurrent use.
type documentFetcher struct {
	client    *http.Client
	allowHTTP bool
}

// newDocumentFetcher builds a fetcher. roots nil means the system's roots.
// allowHTTP allows http to loopback addresses; allowPrivate allows https to
// loopback and private addresses.
func newDocumentFetcher(roots *x509.CertPool, allowHTTP, allowPrivate bool) *documentFetcher {
	secure := &net.Dialer{Timeout: documentDialTimeout, Control: addressControl(func(a netip.Addr) error {
		return checkFetchAddress(a, allowPrivate)
	})}
	plain := &net.Dialer{Timeout: documentDialTimeout, Control: addressControl(func(a netip.Addr) error {
		if !a.IsLoopback() {
			return fmt.Errorf("http to %s: only loopback addresses are fetched without TLS", a)
		}
		return nil
	})}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	transport := &http.Transport{
		Proxy:       nil, // the address check would see the proxy's address only
		DialContext: plain.DialContext,
		DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			d := tls.Dialer{NetDialer: secure, Config: tlsConfig}
			return d.DialContext(ctx, network, addr)
		},
		DisableKeepAlives:      true, // a connection an hour; an idle one would only be a stale one
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxResponseHeader,
	}
	return &documentFetcher{
		client: &http.Client{
			Transport: transport,
			// A redirect would leave the host that the operator (or the
			// discovery document) named.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		allowHTTP: allowHTTP,
	}
}

// statusError is an answer whose status isn't 200.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d instead of 200", int(e)) }

// get fetches one document, at most maxDocumentBytes within documentTimeout.
func (f *documentFetcher) get(ctx context.Context, address string) ([]byte, error) {
	if err := checkFetchURL(address, f.allowHTTP); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, documentTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "sallyport")
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch %s: %w", address, statusError(resp.StatusCode))
	}
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, fmt.Errorf("fetch %s: unasked content encoding %q", address, enc)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocumentBytes+1))
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", address, err)
	}
	if len(body) > maxDocumentBytes {
		return nil, fmt.Errorf("fetch %s: more than %d bytes", address, maxDocumentBytes)
	}
	return body, nil
}

// checkFetchURL refuses URLs that must not be fetched whatever they resolve to.
func checkFetchURL(address string, allowHTTP bool) error {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("parse URL: %w", err)
	}
	switch {
	case u.Scheme == "http" && !allowHTTP:
		return fmt.Errorf("%q: http is for issuers of a development profile on loopback; use https", address)
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%q: the scheme must be https", address)
	case u.Host == "" || u.Hostname() == "":
		return fmt.Errorf("%q: has no host", address)
	case u.User != nil:
		return errors.New("a URL with a user name or password in it is refused")
	case u.Fragment != "":
		return fmt.Errorf("%q: has a fragment", address)
	}
	return nil
}

// addressControl turns a check of an address into a dialer's Control, which
// runs after name resolution and before connect.
func addressControl(check func(netip.Addr) error) func(network, address string, c syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("check address: %w", err)
		}
		return check(ap.Addr().Unmap())
	}
}

// checkFetchAddress refuses addresses that no identity provider on the Internet
// has. allowPrivate accepts loopback, private (RFC 1918, RFC 4193) and shared
// (RFC 6598) addresses; link-local ones, where clouds serve the machine's
// credentials, stay refused.
func checkFetchAddress(a netip.Addr, allowPrivate bool) error {
	if netip.MustParsePrefix("64:ff9b::/96").Contains(a) {
		// NAT64 (RFC 6052): how IPv6-only networks reach the IPv4 address in it.
		b := a.As16()
		return checkFetchAddress(netip.AddrFrom4([4]byte(b[12:])), allowPrivate)
	}
	if a.IsLoopback() || a.IsPrivate() || netip.MustParsePrefix("100.64.0.0/10").Contains(a) {
		if allowPrivate {
			return nil
		}
		return fmt.Errorf("address %s is loopback or private, and allow_private is not set", a)
	}
	if a.Is6() && !netip.MustParsePrefix("2000::/3").Contains(a) {
		return fmt.Errorf("address %s is not in 2000::/3, where all public addresses are", a)
	}
	for _, p := range specialAddresses() {
		if p.Contains(a) {
			return fmt.Errorf("address %s is in %s, which is no public address", a, p)
		}
	}
	return nil
}

// specialAddresses are the entries of the IANA special-purpose registries
// (RFC 6890) that are not global and not dealt with before. Two of the IPv6 ones
// embed IPv4 addresses and would reach them.
func specialAddresses() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),
		netip.MustParsePrefix("169.254.0.0/16"),
		netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("192.0.2.0/24"),
		netip.MustParsePrefix("192.88.99.0/24"),
		netip.MustParsePrefix("198.18.0.0/15"),
		netip.MustParsePrefix("198.51.100.0/24"),
		netip.MustParsePrefix("203.0.113.0/24"),
		netip.MustParsePrefix("224.0.0.0/3"), // multicast, reserved, broadcast
		netip.MustParsePrefix("2001::/23"),   // Teredo and other protocol assignments
		netip.MustParsePrefix("2001:db8::/32"),
		netip.MustParsePrefix("2002::/16"), // 6to4
		netip.MustParsePrefix("3fff::/20"),
	}
}
