package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// PostgresOptions say how to run a PostgreSQL server. The zero value is a server
// on a free port of 127.0.0.1.
type PostgresOptions struct {
	// Bin is the folder of initdb and postgres; default: PostgresBin().
	Bin        string
	UnixSocket bool      // listen on a socket in the server's folder, and on no port
	Settings   []string  // further lines of postgresql.conf
	Log        io.Writer // its output; nil: only kept for errors
}

// PostgresUser is the superuser of a Postgres; PostgresPassword is that of it.
const (
	PostgresUser     = "postgres"
	PostgresPassword = "testenv-password"
)

// Postgres is a running PostgreSQL server with a folder of its own. Its users log
// in by password (SCRAM-SHA-256). All methods but Restart are safe for concurrent
// use.
type Postgres struct {
	*Process
	options PostgresOptions
	dir     string
	owner   *syscall.Credential // whom the server runs as; nil: whoever we are
	port    int
	made    atomic.Int64 // databases
}

// PostgresBin finds the folder of initdb and postgres: $SALLYPORT_POSTGRES, then
// what `make tools` installed, then the newest of Debian's packages, then PATH.
func PostgresBin() (string, error) {
	if dir := os.Getenv("SALLYPORT_POSTGRES"); dir != "" {
		if err := executable(filepath.Join(dir, "postgres")); err != nil {
			return "", fmt.Errorf("postgres of SALLYPORT_POSTGRES: %w", err)
		}
		return dir, nil
	}
	path, err := tool(filepath.Join("postgres", "bin", "postgres"))
	if err == nil {
		return filepath.Dir(path), nil
	}
	if dirs, globErr := filepath.Glob("/usr/lib/postgresql/*/bin"); globErr == nil && len(dirs) > 0 {
		return slices.Max(dirs), nil // two digits since version 10
	}
	if path, lookErr := exec.LookPath("postgres"); lookErr == nil {
		return filepath.Dir(path), nil
	}
	return "", fmt.Errorf("PostgreSQL is not installed: run `make tools`, or set SALLYPORT_POSTGRES to the folder of its initdb and postgres (%w)", err)
}

// PostgresFor starts a PostgreSQL server that ends with the test, which logs what
// it said if it fails. Making one takes a second or two: tests share it, each
// with a database of its own.
func PostgresFor(t redisTest, options PostgresOptions) *Postgres {
	t.Helper()
	options.Log = LogOnFailure(t, "PostgreSQL")
	server, err := StartPostgres(t.Context(), options)
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

// RunWithPostgres runs a package's tests (a *testing.M) with a server on a Unix socket
// that they share, each with a database of its own, and returns the exit code.
func RunWithPostgres(tests interface{ Run() int }, server **Postgres) (code int) {
	started, err := StartPostgres(context.Background(), PostgresOptions{UnixSocket: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := started.Remove(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	*server = started
	return tests.Run()
}

// StartPostgres makes a cluster, starts a server on it and returns when it
// answers queries. ctx bounds the start only (a minute at most): the server then
// runs until Stop or Kill, or until this process ends.
func StartPostgres(ctx context.Context, options PostgresOptions) (*Postgres, error) {
	if options.Bin == "" {
		var err error
		if options.Bin, err = PostgresBin(); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp("", "sallyport-postgres-")
	if err != nil {
		return nil, err
	}
	p := &Postgres{options: options, dir: dir}
	if err := p.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start postgres: %w", err), p.Remove())
	}
	return p, nil
}

// open makes the cluster and starts the server; with another port when somebody
// else was quicker.
func (p *Postgres) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*readyTimeout)
	defer cancel()
	if err := p.initialize(ctx); err != nil {
		return err
	}
	const tries = 3
	for try := 1; ; try++ {
		err := p.configure()
		if err == nil {
			err = p.start(ctx)
		}
		if err == nil || try == tries || !strings.Contains(err.Error(), "Address already in use") {
			return err
		}
	}
}

// initialize makes the cluster, as a user who isn't root: PostgreSQL refuses to
// run as root.
func (p *Postgres) initialize(ctx context.Context) error {
	passwordFile := filepath.Join(p.dir, "password")
	if err := os.WriteFile(passwordFile, []byte(PostgresPassword+"\n"), 0o600); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		var err error
		if p.owner, err = unprivileged(); err != nil {
			return err
		}
		for _, path := range []string{p.dir, passwordFile} {
			if err := os.Chown(path, int(p.owner.Uid), int(p.owner.Gid)); err != nil {
				return err
			}
		}
	}
	cmd := p.command("initdb", "--pgdata="+p.data(), "--username="+PostgresUser, "--pwfile="+passwordFile,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync")
	process, err := p.run(cmd)
	if err != nil {
		return err
	}
	select {
	case <-process.Done():
		return process.exitError()
	case <-ctx.Done():
		return errors.Join(ctx.Err(), process.Kill())
	}
}

// unprivileged is a user for servers that must not run as root.
func unprivileged() (*syscall.Credential, error) {
	var errs []error
	for _, name := range []string{"nobody", "postgres"} {
		found, err := user.Lookup(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		uid, errUID := strconv.ParseUint(found.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(found.Gid, 10, 32)
		if err := errors.Join(errUID, errGID); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("PostgreSQL refuses to run as root, and there is no other user: %w", errors.Join(errs...))
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }

func (p *Postgres) command(program string, arguments ...string) *exec.Cmd {
	cmd := lasting(filepath.Join(p.options.Bin, program), arguments...)
	cmd.Dir = p.dir // ours may be closed to the server's user
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	return cmd
}

// run is startProcess as another user.
func (p *Postgres) run(cmd *exec.Cmd) (*Process, error) {
	process := &Process{
		name: cmd.Path, cmd: cmd, tail: NewLogBuffer(16 << 10),
		grace: stopGrace, ended: func() {}, done: make(chan struct{}),
	}
	out := io.Writer(process.tail)
	if p.options.Log != nil {
		out = io.MultiWriter(process.tail, p.options.Log)
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = childAttributes()
	cmd.SysProcAttr.Credential = p.owner
	cmd.WaitDelay = stopGrace
	started := make(chan error)
	go process.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return process, nil
}

// configure chooses the port and writes postgresql.conf.
func (p *Postgres) configure() error {
	p.port = 5432 // of a socket it is only a part of the name
	listen := "listen_addresses = ''"
	if !p.options.UnixSocket {
		var err error
		if p.port, err = FreePort(); err != nil {
			return err
		}
		listen = "listen_addresses = '127.0.0.1'"
	}
	lines := append([]string{
		listen, "port = " + strconv.Itoa(p.port), "unix_socket_directories = '" + p.dir + "'",
		"max_connections = 100", "shared_buffers = 32MB", "timezone = 'UTC'", "log_timezone = 'UTC'",
	}, p.options.Settings...)
	return os.WriteFile(filepath.Join(p.data(), "postgresql.conf"), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// start runs the server on the cluster that is there. What a killed one left
// behind, processes that haven't noticed yet, goes away by itself.
func (p *Postgres) start(ctx context.Context) error {
	for {
		process, err := p.run(p.command("postgres", "-D", p.data()))
		if err != nil {
			return err
		}
		p.Process = process
		err = process.AwaitReady(ctx, p.ready)
		if err == nil {
			return nil
		}
		err = errors.Join(err, process.Kill())
		if ctx.Err() != nil || !strings.Contains(err.Error(), "is still in use") {
			return err
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return err
		}
	}
}

func (p *Postgres) ready(ctx context.Context) error {
	return p.Do(ctx, "postgres", "SELECT 1")
}

// Do runs statements as the superuser in a database.
func (p *Postgres) Do(ctx context.Context, database string, statements ...string) error {
	connection, err := pgx.Connect(ctx, p.URL(PostgresUser, PostgresPassword, database))
	if err != nil {
		return err
	}
	defer connection.Close(ctx) //nolint:errcheck // nothing depends on it
	for _, statement := range statements {
		if _, err := connection.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("%.60s: %w", statement, err)
		}
	}
	return nil
}

// NewDatabase makes an empty database, owned by the superuser, and returns its
// name.
func (p *Postgres) NewDatabase(ctx context.Context) (string, error) {
	name := "test_" + strconv.FormatInt(p.made.Add(1), 10)
	return name, p.Do(ctx, "postgres", "CREATE DATABASE "+name)
}

// URL is where a user finds a database.
func (p *Postgres) URL(username, password, database string) string {
	address := url.URL{Scheme: "postgres", User: url.UserPassword(username, password), Path: "/" + database}
	options := url.Values{"sslmode": {"disable"}}
	if p.options.UnixSocket {
		options.Set("host", p.dir)
		options.Set("port", strconv.Itoa(p.port))
	} else {
		address.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port))
	}
	address.RawQuery = options.Encode()
	return address.String()
}

// Stop ends the server in order, without waiting for its clients. Its data stays
// for Restart.
func (p *Postgres) Stop() error {
	// SIGTERM, which Process.Stop sends, would wait for clients to leave; after
	// SIGINT it changes nothing (PostgreSQL's "fast shutdown").
	_ = p.cmd.Process.Signal(syscall.SIGINT) // it may have ended
	return p.Process.Stop()
}

// Restart starts a server that was stopped or killed, on the same address and
// data. It returns when it has recovered.
func (p *Postgres) Restart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	select {
	case <-p.Done():
	case <-ctx.Done():
		return fmt.Errorf("restart postgres: it still runs: %w", ctx.Err())
	}
	if err := p.start(ctx); err != nil {
		return fmt.Errorf("restart postgres: %w", err)
	}
	return nil
}

// Remove kills the server, if it still runs, and forgets its data.
func (p *Postgres) Remove() error {
	var err error
	if p.Process != nil {
		err = p.Kill()
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}
