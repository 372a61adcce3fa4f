// Command s3server is an S3 server with Object Lock for tests: versitygw on a
// folder of the local disk. It is a module of its own so that what it needs stays
// out of the product's. It syncs nothing to the disk and checks no bucket policy's
// conditions: it is no place for an archive.
//
// The environment names those who may log in: S3SERVER_ROOT as name:secret, and
// in S3SERVER_USERS others, separated by spaces, who may do what bucket policies
// allow them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "s3server:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	listen := flag.String("listen", "127.0.0.1:7070", "`address` to listen on")
	dir := flag.String("dir", "", "`folder` of the objects: current versions in objects/, older ones in versions/")
	flag.Parse()
	if *dir == "" || flag.NArg() > 0 {
		return errors.New("want -dir and no arguments")
	}
	name, secret, ok := strings.Cut(os.Getenv("S3SERVER_ROOT"), ":")
	if !ok {
		return errors.New("want name:secret in S3SERVER_ROOT")
	}
	iam, err := readAccounts(name, secret, os.Getenv("S3SERVER_USERS"))
	if err != nil {
		return err
	}
	objects, versions := filepath.Join(*dir, "objects"), filepath.Join(*dir, "versions")
	if err := errors.Join(os.MkdirAll(objects, 0o700), os.MkdirAll(versions, 0o700)); err != nil {
		return err
	}
	backend, err := posix.New(objects, meta.XattrMeta{}, posix.PosixOpts{VersioningDir: versions, Concurrency: 64})
	if err != nil {
		return err
	}
	return embedgw.RunVersityGW(ctx, backend, &embedgw.Config{
		RootUserAccess: name, RootUserSecret: secret, IAMService: iam,
		Ports: []string{*listen}, HealthPath: "/healthz", KeepAlive: true, Quiet: true,
		MaxConnections: 1024, MaxRequests: 512, MultipartMaxParts: 10_000,
	})
}
