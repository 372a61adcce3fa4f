package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/sallyport/sallyport/internal/cafile"
	"github.com/sallyport/sallyport/settings"
)

// listen opens "ip:port" or "unix:/path". A socket left behind by a process
// that died is replaced; one that still answers is an error. A socket can be
// used by its owner and group.
func listen(address string) (net.Listener, error) {
	path, unix := strings.CutPrefix(address, "unix:")
	if !unix {
		return net.Listen("tcp", address)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("listen on %s: another process already does", address)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("listen on %s: there is a file that is no socket", address)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("replace socket: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o660); err != nil { //nolint:gosec // Envoy may run as another user of the group
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// listeners are what serve listens on.
type listeners struct {
	grpc, http, ops net.Listener
	tls             *tls.Config // of grpc and http; nil: plaintext
}

func openListeners(cfg settings.Listen) (l *listeners, err error) {
	l = &listeners{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.tls, err = serverTLS(cfg.TLS); err != nil {
		return l, err
	}
	if l.grpc, err = listen(cfg.GRPC); err != nil {
		return l, fmt.Errorf("listen.grpc: %w", err)
	}
	if l.http, err = listen(cfg.HTTP); err != nil {
		return l, fmt.Errorf("listen.http: %w", err)
	}
	if l.ops, err = listen(cfg.Ops); err != nil {
		return l, fmt.Errorf("listen.ops: %w", err)
	}
	return l, nil
}

// close closes what a server hasn't closed already.
func (l *listeners) close() error {
	var errs []error
	for _, listener := range []net.Listener{l.grpc, l.http, l.ops} {
		if listener != nil {
			if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// serverTLS is mutual TLS 1.3 for the gRPC and HTTP listeners; nil if it is not
// configured.
func serverTLS(cfg settings.TLS) (*tls.Config, error) {
	if !cfg.Enabled() {
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("listen.tls: %w", err)
	}
	clients, err := cafile.Read(cfg.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("listen.tls: %w", err)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    clients,
		NextProtos:   []string{"h2", "http/1.1"},
	}, nil
}
