package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/sallyport/sallyport/envoy/xds"
	"github.com/sallyport/sallyport/internal/devissuer"
	"github.com/sallyport/sallyport/internal/testenv"
)

// exchangeCatalogue has a read and a write that differ in nothing else. The
// write has a limited number of slots, as writes have by default, and one that
// no round reaches.
const exchangeCatalogue = catalogue + `
  - name: change_vehicles
    server: dealer
    risk_level: write
    rate_limit_tier: permissive
    pii_policy: none
    max_concurrency: 1000
    required_scopes: [vehicles.read]
    input_schema:
      type: object
      properties:
        model: {type: string, maxLength: 40}
        max_price: {type: integer, minimum: 1}
        limit: {type: integer, minimum: 1, maximum: 100}
      additionalProperties: false
`

// variant is a way through an Envoy that is measured.
type variant struct {
	name    string
	tool    string
	envoy   *testenv.Envoy
	server  *testenv.Process // that Envoy asks; nil for the plain proxy
	clients []*client
}

// exchangeBench is everything that runs while variants are measured.
type exchangeBench struct {
	dir      string
	issuer   *devissuer.Issuer
	tokens   []string
	variants []*variant
	ops      string   // of the Sallyport that keeps claims in memory
	closers  []func() // in the order of the starts
}

func (b *exchangeBench) close() {
	for _, closeIt := range slices.Backward(b.closers) {
		closeIt()
	}
}

// startExchangeBench starts all that is measured, an Envoy for each server. The
// Envoys differ in whom they ask, and a filter that a variant doesn't have is not
// there.
func startExchangeBench(ctx context.Context, connections int) (b *exchangeBench, err error) {
	b = &exchangeBench{}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.dir, err = os.MkdirTemp("", "sallyport-bench-"); err != nil {
		return b, err
	}
	b.closers = append(b.closers, func() { _ = os.RemoveAll(b.dir) })
	if b.issuer, err = devissuer.Start(devissuer.Config{Lifetime: time.Hour}); err != nil {
		return b, err
	}
	b.closers = append(b.closers, func() { _ = b.issuer.Close(context.WithoutCancel(ctx)) })
	if err := b.mintTokens(200); err != nil {
		return b, err
	}
	if _, err := b.startSelf(ctx, "upstream", "-upstream"); err != nil {
		return b, err
	}
	yes, err := b.startSelf(ctx, "yes", "-yes")
	if err != nil {
		return b, err
	}
	both, err := b.startSelf(ctx, "both", "-exchanges", "-yes")
	if err != nil {
		return b, err
	}
	memory, err := b.startMeasured(ctx, "memory", "")
	if err != nil {
		return b, err
	}
	redis, err := b.startRedis(ctx)
	if err != nil {
		return b, err
	}
	const read, write = "search_vehicles", "change_vehicles"
	for _, v := range []struct {
		name, tool, socket string
		server             *testenv.Process
		without            []string
	}{
		{"plain", read, "yes.sock", nil, []string{checkFilter, exchangeFilter}},
		{"yes_authz", read, "yes.sock", yes, []string{exchangeFilter}},
		{"yes_both", write, "both.sock", both, nil},
		{"read", read, "memory/grpc.sock", memory.Process, nil},
		{"write_memory", write, "memory/grpc.sock", memory.Process, nil},
		{"write_redis", write, "redis/grpc.sock", redis.Process, nil},
	} {
		if err := b.addVariant(ctx, &variant{name: v.name, tool: v.tool, server: v.server}, v.socket, v.without, connections); err != nil {
			return b, fmt.Errorf("%s: %w", v.name, err)
		}
	}
	return b, nil
}

// mintTokens makes many callers, so that no rate limit is met and every cache is
// in use.
func (b *exchangeBench) mintTokens(callers int) error {
	for i := range callers {
		token, err := b.issuer.Mint(tokenOptions(fmt.Sprintf("user-%d", i)))
		if err != nil {
			return err
		}
		b.tokens = append(b.tokens, token)
	}
	return nil
}

// startSelf runs this program as a server on a Unix socket.
func (b *exchangeBench) startSelf(ctx context.Context, name string, arguments ...string) (*testenv.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(b.dir, name+".sock")
	cmd := exec.Command(self, append(arguments, socket)...) //nolint:noctx,gosec // ended by close; our own binary
	process, err := testenv.StartProcess(cmd, os.Stderr)
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, func() { _ = process.Stop() })
	return process, process.AwaitReady(ctx, func(context.Context) error {
		_, err := os.Stat(socket)
		return err
	})
}

// startMeasured runs a Sallyport in a folder of its own; more is added to its
// configuration.
func (b *exchangeBench) startMeasured(ctx context.Context, name, more string) (*testenv.Sallyport, error) {
	dir := filepath.Join(b.dir, name)
	port, err := testenv.FreePort()
	if err != nil {
		return nil, err
	}
	ops := fmt.Sprintf("127.0.0.1:%d", port)
	config := filepath.Join(dir, "sallyport.yaml")
	err = errors.Join(os.Mkdir(dir, 0o700),
		os.WriteFile(config, fmt.Appendf(nil, configuration, dir, b.issuer.URL(), ops, more), 0o600),
		os.WriteFile(filepath.Join(dir, "tools.yaml"), []byte(exchangeCatalogue), 0o600),
		os.WriteFile(filepath.Join(dir, "claims.key"), []byte("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"), 0o600))
	if err != nil {
		return nil, err
	}
	sallyport, err := testenv.StartSallyport(ctx, testenv.SallyportOptions{Config: config, Ops: ops, Log: os.Stderr})
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, func() { _ = sallyport.Stop() })
	if more == "" {
		b.ops = ops
	}
	return sallyport, nil
}

// startRedis runs a Redis and a Sallyport that keeps all state there.
func (b *exchangeBench) startRedis(ctx context.Context) (*testenv.Sallyport, error) {
	redis, err := testenv.StartRedis(ctx, testenv.RedisOptions{})
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, func() { _ = redis.Remove() })
	return b.startMeasured(ctx, "redis", fmt.Sprintf(
		"redis: {addresses: [\"%s\"]}\ntransaction_safety: {key_files: [claims.key]}\n", redis.Address()))
}

const (
	checkFilter    = "envoy.filters.http.ext_authz"
	exchangeFilter = "envoy.filters.http.ext_proc"
)

// addVariant starts an Envoy, unless there is one for the same server, and
// connects the clients.
func (b *exchangeBench) addVariant(ctx context.Context, v *variant, socket string, without []string, connections int) error {
	for _, other := range b.variants {
		if v.server != nil && other.server == v.server {
			v.envoy = other.envoy
		}
	}
	if v.envoy == nil {
		config, err := envoyConfig(b.dir, socket, without)
		if err != nil {
			return err
		}
		v.envoy, err = testenv.StartEnvoy(ctx, testenv.EnvoyOptions{Config: config, Concurrency: runtime.NumCPU(), Log: os.Stderr})
		if err != nil {
			return err
		}
		b.closers = append(b.closers, func() { _ = v.envoy.Stop() })
	}
	address, err := v.envoy.Listener(ctx, xds.ListenerName)
	if err != nil {
		return err
	}
	for i := range connections {
		c, err := dial(address, v.tool, b.tokens, i)
		if err != nil {
			return err
		}
		b.closers = append(b.closers, c.close)
		v.clients = append(v.clients, c)
	}
	b.variants = append(b.variants, v)
	return nil
}

// envoyConfig is the bootstrap that everybody gets. If it is without Sallyport's
// filters, it has none of the access log that goes with them.
func envoyConfig(dir, socket string, without []string) ([]byte, error) {
	bootstrap, err := xds.Bootstrap(xds.Config{
		Listen: "127.0.0.1:0", Admin: "127.0.0.1:0",
		GRPC: xds.Endpoint{Address: "unix:" + filepath.Join(dir, socket)},
		HTTP: xds.Endpoint{Address: "unix:" + filepath.Join(dir, "http.sock")},
		Servers: []xds.Server{{
			Name: "dealer", Hosts: []string{authority}, Path: "/mcp",
			Upstream: xds.Endpoint{Address: "unix:" + filepath.Join(dir, "upstream.sock")},
		}},
	})
	if err != nil {
		return nil, err
	}
	if len(without) > 0 {
		if err := removeFilters(bootstrap, without); err != nil {
			return nil, err
		}
	}
	return xds.JSON(bootstrap)
}

func removeFilters(bootstrap *bootstrapv3.Bootstrap, names []string) error {
	packed := bootstrap.GetStaticResources().GetListeners()[0].GetFilterChains()[0].GetFilters()[0].GetTypedConfig()
	var manager hcmv3.HttpConnectionManager
	if err := packed.UnmarshalTo(&manager); err != nil {
		return err
	}
	manager.AccessLog = nil
	manager.HttpFilters = slices.DeleteFunc(manager.GetHttpFilters(), func(f *hcmv3.HttpFilter) bool {
		return slices.Contains(names, f.GetName())
	})
	for _, host := range manager.GetRouteConfig().GetVirtualHosts() {
		for _, route := range host.GetRoutes() {
			for _, name := range names {
				delete(route.GetTypedPerFilterConfig(), name)
			}
		}
	}
	return packed.MarshalFrom(&manager)
}
