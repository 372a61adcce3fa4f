package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisOptions say how to run a redis-server. The zero value is a server on a
// free port of 127.0.0.1 that keeps nothing on disk.
type RedisOptions struct {
	Binary     string // default: RedisBinary()
	UnixSocket bool   // listen on a socket in the server's folder, and on no port
	// TLS is what clients must speak and show a certificate for; nil: plain.
	TLS *RedisTLS
	// User and Password make a user with the rights of ACL (default: all) and
	// switch the default user off; Redis' own syntax, such as "~app:* +@read".
	User, Password, ACL string
	// AOF is when the append-only file reaches the disk: "always", "everysec"
	// or "no"; empty: there is no such file.
	AOF             string
	MaxMemory       string    // such as "100mb"; empty: unlimited
	MaxMemoryPolicy string    // default: noeviction
	ReplicaOf       *Redis    // start as a replica of this one, and be ready when in step with it
	Directives      []string  // further lines of redis.conf
	Log             io.Writer // its output; nil: only kept for errors

	sentinel []string // run as a Sentinel with these directives alone
}

// ownUser has all rights where the options name a user; replicas, Sentinels and
// this package log in as this one.
const ownUser = "testenv"

// Redis is a running redis-server. All methods but Restart are safe for
// concurrent use.
type Redis struct {
	*Process
	options RedisOptions
	dir     string // with the configuration and the data
	address string // host:port or the path of a socket
	tls     *tlsFront
}

// RedisBinary finds the newest redis-server that is installed: $SALLYPORT_REDIS,
// then as EnvoyBinary looks for Envoy.
func RedisBinary() (string, error) {
	if path := os.Getenv("SALLYPORT_REDIS"); path != "" {
		if err := executable(path); err != nil {
			return "", fmt.Errorf("redis-server of SALLYPORT_REDIS: %w", err)
		}
		return path, nil
	}
	path, err := tool("redis-server")
	if err == nil {
		return path, nil
	}
	if path, lookErr := exec.LookPath("redis-server"); lookErr == nil {
		return path, nil
	}
	return "", fmt.Errorf("redis-server is not installed: run `make tools`, or set SALLYPORT_REDIS to its path (%w)", err)
}

// OldestRedisBinary finds the redis-server of the oldest version that is
// supported, on the machines for which `make tools` has one.
func OldestRedisBinary() (string, error) {
	path, err := tool("redis-server-oldest")
	if err != nil {
		return "", fmt.Errorf("the oldest redis-server is not installed: run `make tools` (%w)", err)
	}
	return path, nil
}

// redisTest is the part of *testing.T that RedisFor needs.
type redisTest interface {
	test
	Context() context.Context
	Error(args ...any)
	Fatal(args ...any)
}

// RedisFor starts a redis-server that ends with the test, which logs what it said
// if it fails.
func RedisFor(t redisTest, options RedisOptions) *Redis {
	t.Helper()
	options.Log = LogOnFailure(t, "Redis")
	server, err := StartRedis(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Remove(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// StartRedis starts a redis-server and returns when it answers PING, that is
// when its data is loaded. ctx bounds the start only (30 seconds at most): the
// server then runs until Stop or Kill, or until this process ends.
func StartRedis(ctx context.Context, options RedisOptions) (*Redis, error) {
	port := FreePort
	if options.UnixSocket {
		port = func() (int, error) { return 0, nil }
	}
	return startRedis(ctx, options, port)
}

// startRedis tries again with another port when somebody else was quicker.
func startRedis(ctx context.Context, options RedisOptions, choose func() (int, error)) (*Redis, error) {
	if options.Binary == "" {
		var err error
		if options.Binary, err = RedisBinary(); err != nil {
			return nil, err
		}
	}
	const tries = 3
	for try := 1; ; try++ {
		port, err := choose()
		if err != nil {
			return nil, err
		}
		r, err := startRedisOn(ctx, options, port)
		if err == nil {
			return r, nil
		}
		if try == tries || !strings.Contains(err.Error(), "Address already in use") {
			return nil, fmt.Errorf("start redis: %w", err)
		}
	}
}

func startRedisOn(ctx context.Context, options RedisOptions, port int) (*Redis, error) {
	dir, err := os.MkdirTemp("", "sallyport-redis-")
	if err != nil {
		return nil, err
	}
	r := &Redis{options: options, dir: dir, address: filepath.Join(dir, "socket")}
	if port != 0 {
		r.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	if err := r.open(ctx, port); err != nil {
		return nil, errors.Join(err, r.Remove())
	}
	return r, nil
}

// open writes the configuration and starts what the options ask for.
func (r *Redis) open(ctx context.Context, port int) error {
	if err := os.WriteFile(r.configFile(), []byte(r.config(port)), 0o600); err != nil {
		return err
	}
	if r.options.TLS != nil {
		var err error
		if r.tls, err = startTLSFront(r.options.TLS, r.dialServer); err != nil {
			return err
		}
	}
	return r.start(ctx)
}

func (r *Redis) configFile() string { return filepath.Join(r.dir, "redis.conf") }

// config is the server's configuration file; passwords have no place in
// arguments.
func (r *Redis) config(port int) string {
	o := r.options
	lines := []string{"dir " + r.dir, "port " + strconv.Itoa(port), "bind 127.0.0.1"}
	if o.sentinel != nil {
		return strings.Join(append(lines, o.sentinel...), "\n") + "\n"
	}
	lines = append(lines,
		"save \"\"",
		"repl-diskless-sync-delay 0", // else a replica waits five seconds for others
		"maxmemory-policy "+defaultTo(o.MaxMemoryPolicy, "noeviction"),
	)
	add := func(condition bool, more ...string) {
		if condition {
			lines = append(lines, more...)
		}
	}
	add(port == 0, "unixsocket "+r.address, "unixsocketperm 700")
	add(o.MaxMemory != "", "maxmemory "+o.MaxMemory)
	add(o.AOF != "", "appendonly yes", "appendfsync "+o.AOF)
	add(o.User != "", "user default off",
		fmt.Sprintf("user %s on >%s %s", o.User, o.Password, defaultTo(o.ACL, "~* &* +@all")),
		fmt.Sprintf("user %s on >%s ~* &* +@all", ownUser, o.Password))
	if master := o.ReplicaOf; master != nil {
		host, port, _ := net.SplitHostPort(master.address) // a replica can't follow a socket: Redis will say so
		lines = append(lines, "replicaof "+host+" "+port)
		add(master.options.User != "", "masteruser "+ownUser, "masterauth "+master.options.Password)
	}
	lines = append(lines, o.Directives...)
	return strings.Join(lines, "\n") + "\n"
}

// start runs the server on the configuration and the data that are there.
func (r *Redis) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	arguments := []string{r.configFile()}
	if r.options.sentinel != nil {
		arguments = append(arguments, "--sentinel")
	}
	process, err := startProcess(lasting(r.options.Binary, arguments...), r.options.Log, func() {})
	if err != nil {
		return err
	}
	r.Process = process
	client := r.client()
	defer client.Close() //nolint:errcheck // nothing depends on it
	if err := process.AwaitReady(ctx, func(ctx context.Context) error { return r.ready(ctx, client) }); err != nil {
		return errors.Join(err, process.Kill())
	}
	return nil
}

func (r *Redis) ready(ctx context.Context, client *redis.Client) error {
	// First without the client, which logs each failure to connect.
	connection, err := r.dialServer(ctx)
	if err != nil {
		return err
	}
	_ = connection.Close()
	if err := client.Ping(ctx).Err(); err != nil || r.options.ReplicaOf == nil {
		return err
	}
	return inStep(ctx, client)
}

// inStep returns nil when a replica has what its master has.
func inStep(ctx context.Context, client *redis.Client) error {
	info, err := client.Info(ctx, "replication").Result()
	if err == nil && !strings.Contains(info, "master_link_status:up") {
		err = errors.New("not in step with its master")
	}
	return err
}

// client speaks to the server itself, past TLS.
func (r *Redis) client() *redis.Client {
	user := ""
	if r.options.User != "" {
		user = ownUser
	}
	return redis.NewClient(&redis.Options{
		Addr: r.address, Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) { return r.dialServer(ctx) },
		Username: user, Password: r.options.Password,
		ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1, PoolSize: 1,
	})
}

func (r *Redis) dialServer(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer
	network := "tcp"
	if r.options.UnixSocket {
		network = "unix"
	}
	return dialer.DialContext(ctx, network, r.address)
}

// Address is where clients connect: host:port, or the path of a Unix socket.
func (r *Redis) Address() string {
	if r.tls != nil {
		return r.tls.address()
	}
	return r.address
}

// Network is "unix" if Address is the path of a socket, else "tcp".
func (r *Redis) Network() string {
	if r.options.UnixSocket && r.tls == nil {
		return "unix"
	}
	return "tcp"
}

// Pause stops the server as a machine that hangs would: connections stay open,
// and nothing is answered until Resume.
func (r *Redis) Pause() error { return r.signal(syscall.SIGSTOP) }

// Resume ends a pause. The server then answers what was asked meanwhile.
func (r *Redis) Resume() error { return r.signal(syscall.SIGCONT) }

func (r *Redis) signal(s syscall.Signal) error {
	if err := r.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("send %v to redis: %w", s, err)
	}
	return nil
}

// Stop ends the server in order, paused or not. Its data stays for Restart.
func (r *Redis) Stop() error {
	_ = r.Resume() // it may have ended
	return r.Process.Stop()
}

// Restart starts a server that was stopped or killed, on the same address and
// with what it had written to disk. It returns when that is loaded.
func (r *Redis) Restart(ctx context.Context) error {
	<-r.Done()
	if err := r.start(ctx); err != nil {
		return fmt.Errorf("restart redis: %w", err)
	}
	return nil
}

// Remove kills the server, if it still runs, and forgets its data.
func (r *Redis) Remove() error {
	var errs []error
	if r.Process != nil {
		errs = append(errs, r.Kill())
	}
	if r.tls != nil {
		errs = append(errs, r.tls.close())
	}
	return errors.Join(append(errs, os.RemoveAll(r.dir))...)
}

// freeBusPort finds a port whose Redis Cluster bus, 10000 above it, is free too.
func freeBusPort() (int, error) {
	const busOffset, highest = 10000, 65535
	for range 100 {
		port, err := FreePort()
		if err != nil {
			return 0, err
		}
		if port+busOffset > highest {
			continue
		}
		var config net.ListenConfig
		listener, err := config.Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+busOffset)))
		if err != nil {
			continue
		}
		return port, listener.Close()
	}
	return 0, errors.New("find a port for a Redis Cluster: none has a free bus port")
}

// eventually asks until there is no error, or ctx ends.
func eventually(ctx context.Context, ask func(context.Context) error) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}
