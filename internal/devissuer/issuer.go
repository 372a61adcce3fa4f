// Package devissuer is an OpenID Connect issuer for development: it signs
// whatever it is asked to, so it binds loopback addresses only.
//
// It serves discovery (OpenID Connect Discovery 1.0, RFC 8414), a rotating key
// set (RFC 7517), a token endpoint with client credentials (RFC 6749 §4.4) whose
// access tokens follow RFC 9068. Nothing but the demo starts it outside tests.
package devissuer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config describes one issuer. The zero value is a complete one without clients.
type Config struct {
	// Address is where to listen, default "127.0.0.1:0". The host must be a
	// loopback IP address or "localhost".
	Address string
	// Path is appended to the issuer's URL, such as "/realms/demo" or, for an
	// issuer with a trailing slash, "/". Default: none.
	Path string
	// TLS serves https with a certificate of its own; see CertificatePEM.
	TLS bool
	// Clients may use the token endpoint.
	Clients []Client
	// Lifetime of a token, default 5 minutes.
	Lifetime time.Duration
	// Grace is how long a key stays published after Rotate replaced it, default
	// one hour.
	Grace time.Duration
	// HideUntilUsed publishes a new key only once a token was signed with it,
	// so that a verifier can't have seen it before.
	HideUntilUsed bool
	// OmitAlgorithm leaves alg out of the published keys, as Entra ID does.
	OmitAlgorithm bool
	// Now is the clock, default time.Now.
	Now func() time.Time
}

// Client may ask for tokens with its own credentials.
type Client struct {
	ID     string
	Secret string
	// Scopes it may ask for; without a scope parameter it gets all of them.
	Scopes []string
	// Resources it may name (RFC 8707); without a resource parameter its token
	// is for all of them. Empty: it may name any, and must name one.
	Resources []string
	// Claims are added to its tokens.
	Claims map[string]any
}

// Counts are the requests that arrived since the start, answered or not.
type Counts struct {
	Discovery int
	KeySets   int
	Tokens    int
}

// Issuer is a running issuer. Its methods may be called at any time by several
// goroutines.
type Issuer struct {
	url     string
	path    string
	cfg     Config
	clients map[string]Client
	keys    *keyRing
	server  *http.Server
	served  chan error
	pem     []byte

	down       atomic.Bool
	override   atomic.Pointer[[]byte]
	discovery  atomic.Int64
	keySets    atomic.Int64
	tokens     atomic.Int64
	stopServer sync.Once
}

// Start binds the address, makes the first keys, serves until Close.
func Start(cfg Config) (*Issuer, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("devissuer: %w", err)
	}
	keys, err := newKeyRing(cfg)
	if err != nil {
		return nil, fmt.Errorf("devissuer: %w", err)
	}
	var binder net.ListenConfig
	listener, err := binder.Listen(context.Background(), "tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("devissuer: listen: %w", err)
	}
	i := &Issuer{cfg: cfg, path: cfg.Path, keys: keys, clients: map[string]Client{}, served: make(chan error, 1)}
	for _, c := range cfg.Clients {
		i.clients[c.ID] = c
	}
	i.server = &http.Server{Handler: i.routes(), ReadHeaderTimeout: 5 * time.Second}
	if err := i.secure(); err != nil {
		return nil, errors.Join(fmt.Errorf("devissuer: %w", err), listener.Close())
	}
	i.url = i.scheme() + "://" + listener.Addr().String() + cfg.Path
	go func() {
		if cfg.TLS {
			i.served <- i.server.ServeTLS(listener, "", "")
			return
		}
		i.served <- i.server.Serve(listener)
	}()
	return i, nil
}

func (c Config) withDefaults() Config {
	if c.Address == "" {
		c.Address = "127.0.0.1:0"
	}
	c.Address = strings.Replace(c.Address, "localhost:", "127.0.0.1:", 1)
	if c.Lifetime == 0 {
		c.Lifetime = 5 * time.Minute
	}
	if c.Grace == 0 {
		c.Grace = time.Hour
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Validate reports everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	host, _, err := net.SplitHostPort(c.withDefaults().Address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		errs = append(errs, fmt.Errorf("address: %q is no loopback address with a port", c.Address))
	}
	if u, err := url.Parse(c.Path); c.Path != "" && (err != nil || !strings.HasPrefix(c.Path, "/") || u.Path != c.Path || strings.ContainsAny(c.Path, "{} ")) {
		errs = append(errs, fmt.Errorf("path: %q is no absolute path", c.Path))
	}
	seen := map[string]bool{}
	for _, client := range c.Clients {
		if client.ID == "" || client.Secret == "" || seen[client.ID] {
			errs = append(errs, fmt.Errorf("client %q: needs an id of its own, with a secret", client.ID))
		}
		seen[client.ID] = true
	}
	if c.Lifetime < 0 || c.Grace < 0 {
		errs = append(errs, errors.New("lifetime, grace: must not be negative"))
	}
	return errors.Join(errs...)
}

func (i *Issuer) scheme() string {
	if i.cfg.TLS {
		return "https"
	}
	return "http"
}

// URL is the issuer identifier, the iss of its tokens.
func (i *Issuer) URL() string { return i.url }

// KeySetURL is where the key set is.
func (i *Issuer) KeySetURL() string { return i.base() + "/keys" }

// TokenURL is the token endpoint.
func (i *Issuer) TokenURL() string { return i.base() + "/token" }

func (i *Issuer) base() string { return strings.TrimSuffix(i.url, "/") }

// Counts says how often each endpoint was asked.
func (i *Issuer) Counts() Counts {
	return Counts{
		Discovery: int(i.discovery.Load()),
		KeySets:   int(i.keySets.Load()),
		Tokens:    int(i.tokens.Load()),
	}
}

// SetDown makes every endpoint answer 503, or ends that.
func (i *Issuer) SetDown(down bool) { i.down.Store(down) }

// ServeKeys makes the key set endpoint answer these bytes, such as a broken or
// an empty set; nil restores the real set.
func (i *Issuer) ServeKeys(raw []byte) {
	if raw == nil {
		i.override.Store(nil)
		return
	}
	i.override.Store(&raw)
}

// Close stops the server, waiting until it is gone or ctx ends.
func (i *Issuer) Close(ctx context.Context) error {
	var err error
	i.stopServer.Do(func() {
		err = i.server.Shutdown(ctx)
		if err != nil {
			err = errors.Join(err, i.server.Close())
		}
		if e := <-i.served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
	})
	return err
}
