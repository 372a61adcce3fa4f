package testenv

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
)

// RedisTLS are the server's certificate and the authority of its clients, as PEM
// files of an Authority.
type RedisTLS struct{ CAFile, CertFile, KeyFile string }

// tlsFront ends TLS in front of a redis-server that was built without it, as a
// sidecar does in production. It outlives restarts of the server.
type tlsFront struct {
	listener net.Listener
	dial     func(context.Context) (net.Conn, error)
	serving  sync.WaitGroup
	stop     context.CancelFunc
}

func startTLSFront(files *RedisTLS, dial func(context.Context) (net.Conn, error)) (*tlsFront, error) {
	certificate, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("start TLS: %w", err)
	}
	authority, err := os.ReadFile(files.CAFile)
	if err != nil {
		return nil, fmt.Errorf("start TLS: %w", err)
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("start TLS: no certificate in %s", files.CAFile)
	}
	var config net.ListenConfig
	plain, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start TLS: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	f := &tlsFront{dial: dial, stop: stop, listener: tls.NewListener(plain, &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    clients,
	})}
	f.serving.Go(func() { f.serve(ctx) })
	return f, nil
}

func (f *tlsFront) address() string { return f.listener.Addr().String() }

func (f *tlsFront) serve(ctx context.Context) {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.serving.Go(func() { f.forward(ctx, client) })
	}
}

// forward copies both ways until one side, or the front itself, ends.
func (f *tlsFront) forward(ctx context.Context, client net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = client.Close() })()
	defer client.Close() //nolint:errcheck // the client sees it
	server, err := f.dial(ctx)
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	defer server.Close() //nolint:errcheck // the server sees it
	var copying sync.WaitGroup
	for _, way := range [...]struct{ to, from net.Conn }{{client, server}, {server, client}} {
		copying.Go(func() {
			_, _ = io.Copy(way.to, way.from) // its end is the news
			cancel()
		})
	}
	copying.Wait()
}

func (f *tlsFront) close() error {
	f.stop()
	err := f.listener.Close()
	f.serving.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
