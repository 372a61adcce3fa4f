package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const adminTimeout = 5 * time.Second

// EnvoyOptions say how to run an Envoy.
type EnvoyOptions struct {
	Binary      string    // default: EnvoyBinary()
	Config      []byte    // the bootstrap, YAML or JSON; needs an admin address, port 0 is fine
	Concurrency int       // worker threads; default 1
	LogLevel    string    // trace … critical; default warning
	Log         io.Writer // Envoy's output; nil: only kept for errors
}

// Envoy is a running proxy. It is safe for concurrent use.
type Envoy struct {
	*Process
	admin adminClient
}

// StartEnvoy starts an Envoy and returns when it is ready, that is when its
// clusters are initialised and its listeners accept. ctx bounds the start only
// (30 seconds at most): the proxy then runs until Stop or Kill, or until this
// process ends.
func StartEnvoy(ctx context.Context, options EnvoyOptions) (*Envoy, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if options.Binary == "" {
		var err error
		if options.Binary, err = EnvoyBinary(); err != nil {
			return nil, err
		}
	}
	dir, config, err := writeConfig(options.Config)
	if err != nil {
		return nil, err
	}
	addressFile := filepath.Join(dir, "admin")
	cmd := lasting(options.Binary,
		"--config-path", config,
		"--admin-address-path", addressFile,
		"--concurrency", strconv.Itoa(max(options.Concurrency, 1)),
		"--log-level", defaultTo(options.LogLevel, "warning"),
		// No shared memory: any number of Envoys run beside each other.
		"--disable-hot-restart",
	)
	removeDir := func() { _ = os.RemoveAll(dir) } // nothing depends on its success
	process, err := startProcess(cmd, options.Log, removeDir)
	if err != nil {
		removeDir()
		return nil, err
	}
	envoy := &Envoy{Process: process}
	if err := process.AwaitReady(ctx, func(ctx context.Context) error { return envoy.ready(ctx, addressFile) }); err != nil {
		return nil, errors.Join(err, process.Kill())
	}
	return envoy, nil
}

// ready asks the admin interface, once Envoy has written its address.
func (e *Envoy) ready(ctx context.Context, addressFile string) error {
	if e.admin.base == "" {
		address, err := os.ReadFile(addressFile)
		if err != nil || len(address) == 0 {
			return errors.New("no admin address yet; does the config have one?")
		}
		e.admin = newAdminClient(string(address))
	}
	_, err := e.admin.get(ctx, "/ready")
	return err
}

// AdminURL is the base of the admin interface, such as http://127.0.0.1:9901.
func (e *Envoy) AdminURL() string { return e.admin.base }

// Listener is the address that the named listener is bound to; it says which
// port was chosen for port 0.
func (e *Envoy) Listener(ctx context.Context, name string) (string, error) {
	body, err := e.admin.get(ctx, "/listeners")
	if err != nil {
		return "", fmt.Errorf("list listeners: %w", err)
	}
	for line := range strings.Lines(body) {
		if address, ok := strings.CutPrefix(line, name+"::"); ok {
			return strings.TrimSpace(address), nil
		}
	}
	return "", fmt.Errorf("no listener %q, only:\n%s", name, body)
}

// Stats are the counters and gauges whose names start with prefix.
func (e *Envoy) Stats(ctx context.Context, prefix string) (map[string]uint64, error) {
	body, err := e.admin.get(ctx, "/stats?filter="+url.QueryEscape("^"+regexp.QuoteMeta(prefix)))
	if err != nil {
		return nil, fmt.Errorf("read stats: %w", err)
	}
	stats := make(map[string]uint64)
	for line := range strings.Lines(body) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if value, err := strconv.ParseUint(text, 10, 64); err == nil { // else a histogram
			stats[name] = value
		}
	}
	return stats, nil
}

// Validate asks Envoy whether it would accept the bootstrap (YAML or JSON). The
// error holds what Envoy said. An empty binary means EnvoyBinary().
func Validate(ctx context.Context, binary string, config []byte) error {
	if binary == "" {
		var err error
		if binary, err = EnvoyBinary(); err != nil {
			return err
		}
	}
	dir, path, err := writeConfig(config)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // nothing depends on it
	cmd := command(ctx, binary, "--mode", "validate", "--config-path", path,
		"--log-level", "warning", "--disable-hot-restart")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("envoy refuses the config: %w:\n%s", err, output)
	}
	return nil
}

// writeConfig puts the bootstrap into a new temporary folder. Envoy goes by the
// file's extension; JSON is YAML.
func writeConfig(config []byte) (dir, path string, err error) {
	dir, err = os.MkdirTemp("", "sallyport-envoy-")
	if err != nil {
		return "", "", fmt.Errorf("write envoy config: %w", err)
	}
	path = filepath.Join(dir, "envoy.yaml")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		return "", "", errors.Join(fmt.Errorf("write envoy config: %w", err), os.RemoveAll(dir))
	}
	return dir, path, nil
}

// adminClient speaks to Envoy's admin interface.
type adminClient struct {
	base   string
	client *http.Client
}

// newAdminClient takes what Envoy writes to --admin-address-path: host:port, or
// the path of a Unix socket.
func newAdminClient(address string) adminClient {
	address = strings.TrimSpace(address)
	transport := &http.Transport{DisableKeepAlives: true}
	base := "http://" + address
	if strings.HasPrefix(address, "/") || strings.HasPrefix(address, "@") {
		base = "http://admin"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", address)
		}
	}
	return adminClient{base: base, client: &http.Client{Transport: transport, Timeout: adminTimeout}}
}

func (a adminClient) get(ctx context.Context, path string) (string, error) {
	return get(ctx, a.client, a.base+path)
}

func defaultTo(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
