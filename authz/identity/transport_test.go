package identity

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// documentServer is a real server over TLS, with the fetcher's trust in it.
type documentServer struct {
	*httptest.Server
	roots       *x509.CertPool
	requests    atomic.Int64
	connections atomic.Int64
}

func newDocumentServer(t *testing.T, handler http.HandlerFunc) *documentServer {
	t.Helper()
	s := &documentServer{roots: x509.NewCertPool()}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		handler(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes are wanted
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.connections.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	s.roots.AddCert(s.Certificate())
	return s
}

// at is the server's URL with another host, which must lead to loopback.
func (s *documentServer) at(host string) string {
	_, port, _ := strings.Cut(s.Listener.Addr().String(), ":")
	return "https://" + net.JoinHostPort(host, port) + "/keys"
}

func TestFetch(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", maxDocumentBytes)
	elsewhere := newDocumentServer(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") })
	tests := map[string]struct {
		handler http.HandlerFunc
		want    string
		why     string // of the error
	}{
		"document": {
			handler: func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.Header.Get("Accept") != "application/json" || r.Header.Get("Accept-Encoding") != "" {
					w.WriteHeader(http.StatusBadRequest)
				}
				fmt.Fprint(w, `{"a":1}`)
			},
			want: `{"a":1}`,
		},
		"identity encoding": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", "identity")
				fmt.Fprint(w, "{}")
			},
			want: "{}",
		},
		"largest":  {handler: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, big) }, want: big},
		"oversize": {handler: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, big+"x") }, why: "more than 1048576 bytes"},
		"gzip": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				fmt.Fprint(w, "\x1f\x8b\x08\x00")
			},
			why: `unasked content encoding "gzip"`,
		},
		"redirect": {
			handler: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
			why:     "status 302",
		},
		"permanent redirect to itself": {
			handler: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "/other", http.StatusPermanentRedirect)
			},
			why: "status 308",
		},
		"not found":  {handler: http.NotFound, why: "status 404"},
		"no content": {handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, why: "status 204"},
		"endless headers": {
			handler: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 128<<10)) },
			why:     "server response headers exceeded",
		},
		"body cut off": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				fmt.Fprint(w, "{}")
			},
			why: "unexpected EOF",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newDocumentServer(t, test.handler)
			f := newDocumentFetcher(joined(s, elsewhere), false, true)
			got, err := f.get(t.Context(), s.URL)
			switch {
			case test.why == "" && (err != nil || string(got) != test.want):
				t.Errorf("got %.100q, %v", got, err)
			case test.why != "" && (err == nil || !strings.Contains(err.Error(), test.why) || !strings.Contains(err.Error(), s.URL)):
				t.Errorf("got %.100q, %v, want an error about %q with the URL", got, err, test.why)
			}
			if n := s.requests.Load(); n > 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
	t.Cleanup(func() {
		if n := elsewhere.connections.Load(); n != 0 {
			t.Errorf("a redirect was followed %d times", n)
		}
	})
}

func joined(servers ...*documentServer) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, s := range servers {
		pool.AddCert(s.Certificate())
	}
	return pool
}

// Without allow_private, nothing inside is connected to: neither by address nor
// by a name that leads there, neither from the configuration nor from metadata.
func TestPrivateAddressesAreNotConnectedTo(t *testing.T) {
	t.Parallel()
	s := newDocumentServer(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, keySetOf("a")) })
	for _, host := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1"} {
		f := newDocumentFetcher(s.roots, true, false)
		if body, err := f.get(t.Context(), s.at(host)); err == nil || !strings.Contains(err.Error(), "allow_private is not set") {
			t.Errorf("%s: got %q, %v", host, body, err)
		}
	}
	k, err := NewKeySet(KeySetConfig{Name: "test", Issuer: testIssuer, JWKSURL: s.at("localhost"), RootCAs: s.roots})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "loopback or private") {
		t.Errorf("key set: %v", err)
	}
	if n := s.connections.Load(); n != 0 {
		t.Fatalf("%d connections", n)
	}

	// The certificate names 127.0.0.1, so this shows that the rule made the difference.
	if body, err := newDocumentFetcher(s.roots, false, true).get(t.Context(), s.at("127.0.0.1")); err != nil {
		t.Errorf("with allow_private: got %q, %v", body, err)
	}
}

func TestHTTPIsForLoopbackOnly(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }))
	t.Cleanup(plain.Close)
	byName := strings.Replace(plain.URL, "127.0.0.1", "localhost", 1)
	for _, address := range []string{plain.URL, byName} {
		if _, err := newDocumentFetcher(nil, false, true).get(t.Context(), address); err == nil || !strings.Contains(err.Error(), "use https") {
			t.Errorf("%s without the switch: %v", address, err)
		}
		if body, err := newDocumentFetcher(nil, true, false).get(t.Context(), address); err != nil || string(body) != "{}" {
			t.Errorf("%s with the switch: %q, %v", address, body, err)
		}
	}
	for _, address := range []string{"http://192.0.2.1/", "http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://[2001:db8::1]/"} {
		_, err := newDocumentFetcher(nil, true, true).get(t.Context(), address)
		if err == nil || !strings.Contains(err.Error(), "only loopback addresses are fetched without TLS") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestUntrustedServerIsRefused(t *testing.T) {
	t.Parallel()
	s := newDocumentServer(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") })
	var unknown x509.UnknownAuthorityError
	if _, err := newDocumentFetcher(x509.NewCertPool(), false, true).get(t.Context(), s.URL); !errors.As(err, &unknown) {
		t.Errorf("unknown authority: %v", err)
	}
	var name x509.HostnameError
	if _, err := newDocumentFetcher(s.roots, false, true).get(t.Context(), s.at("localhost")); !errors.As(err, &name) {
		t.Errorf("another name: %v", err)
	}
	if n := s.requests.Load(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// One fetch has five seconds for everything; a request that ends sooner ends it.
func TestFetchTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newDocumentFetcher(nil, false, false)
		for what, slow := range map[string]answerFunc{"headers": hangs(), "body": endless()} {
			f.client.Transport = slow
			start := time.Now()
			if _, err := f.get(t.Context(), testKeysURL); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 5*time.Second {
				t.Errorf("slow %s: %v after %v", what, err, time.Since(start))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start = time.Now()
			if _, err := f.get(ctx, testKeysURL); err == nil || time.Since(start) != time.Second {
				t.Errorf("slow %s, request ends: %v after %v", what, err, time.Since(start))
			}
			cancel()
		}
	})
}

func TestCheckFetchURL(t *testing.T) {
	t.Parallel()
	tests := map[string]string{ // URL: part of the error
		"https://i.example/keys?x=1":     "",
		"https://[2001:db8::1]:8443/":    "",
		"http://127.0.0.1/":              "use https",
		"HTTP://127.0.0.1/":              "use https",
		"ftp://i.example/":               "the scheme must be https",
		"file:///etc/passwd":             "the scheme must be https",
		"//i.example/":                   "the scheme must be https",
		"i.example/keys":                 "the scheme must be https",
		"":                               "the scheme must be https",
		"javascript:alert(1)":            "the scheme must be https",
		"https:opaque":                   "has no host",
		"https://":                       "has no host",
		"https://:443/":                  "has no host",
		"https://user@i.example/":        "user name or password",
		"https://user:secret@i.example/": "user name or password",
		"https://i.example/#f":           "fragment",
		"https://i.example\n/":           "parse URL",
		"https://i.example:port/":        "parse URL",
	}
	for address, why := range tests {
		err := checkFetchURL(address, false)
		switch {
		case why == "" && err != nil:
			t.Errorf("%q: %v", address, err)
		case why != "" && (err == nil || !strings.Contains(err.Error(), why)):
			t.Errorf("%q: got %v, want an error about %q", address, err, why)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%q: the error shows the password: %v", address, err)
		}
	}
	if err := checkFetchURL("http://localhost:8080/", true); err != nil {
		t.Errorf("http in development: %v", err)
	}
}

func TestCheckFetchAddress(t *testing.T) {
	t.Parallel()
	const (
		public  = iota // fetched from
		private        // only with allow_private
		never
	)
	tests := map[string]int{
		"8.8.8.8": public, "20.190.128.1": public, "100.63.255.255": public, "100.128.0.0": public, "172.32.0.1": public,
		"2a00:1450:4001::1": public, "2603:1006:2000::1": public, "2000::1": public, "64:ff9b::808:808": public, "::ffff:8.8.8.8": public,
		"127.0.0.1": private, "127.255.255.254": private, "10.1.2.3": private, "172.16.0.1": private, "192.168.0.1": private,
		"100.64.0.1": private, "100.127.255.255": private, "::1": private, "fd00::1": private, "fc00::1": private,
		"::ffff:10.0.0.1": private, "::ffff:127.0.0.1": private, "64:ff9b::a00:1": private, "64:ff9b::7f00:1": private,
		"169.254.169.254": never, "::ffff:169.254.169.254": never, "64:ff9b::a9fe:a9fe": never, "fe80::1": never, "fec0::1": never,
		"0.0.0.0": never, "0.1.2.3": never, "::": never, "224.0.0.1": never, "255.255.255.255": never, "240.0.0.1": never, "ff02::1": never,
		"192.0.2.1": never, "198.51.100.1": never, "203.0.113.1": never, "192.0.0.192": never, "198.18.0.1": never, "192.88.99.1": never,
		"2001:db8::1": never, "3fff::1": never, "2001::1": never, "2002:7f00:1::": never, "100::1": never, "5f00::1": never,
		"64:ff9b:1::a00:1": never, "::10.0.0.1": never, "4000::1": never,
	}
	for text, want := range tests {
		for _, allowPrivate := range []bool{false, true} {
			control := addressControl(func(a netip.Addr) error { return checkFetchAddress(a, allowPrivate) })
			err := control("tcp", netip.AddrPortFrom(netip.MustParseAddr(text), 443).String(), nil)
			if allowed := want == public || want == private && allowPrivate; (err == nil) != allowed {
				t.Errorf("%s with allow_private %v: %v", text, allowPrivate, err)
			}
		}
	}
	control := addressControl(func(a netip.Addr) error { return checkFetchAddress(a, true) })
	if err := control("tcp", "[fe80::1%eth0]:443", nil); err == nil {
		t.Error("link-local with a zone is allowed")
	}
	if err := control("tcp", "not an address", nil); err == nil {
		t.Error("what is no address is allowed")
	}
}

// A URL that passes the check has https, or http where allowed, and a host.
func FuzzCheckFetchURL(f *testing.F) {
	for _, seed := range []string{testKeysURL, "http://localhost", "https://a@b", "https:///x", "HTTPS://i", "https://[::1%25eth0]/", "//x", ""} {
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, address string, allowHTTP bool) {
		if len(address) > 4096 || checkFetchURL(address, allowHTTP) != nil {
			return
		}
		u, err := url.Parse(address)
		if err != nil || u.Hostname() == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !allowHTTP) {
			t.Fatalf("%q passes", address)
		}
	})
}
