package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/sallyport/sallyport/envoy/accesslog"
	"github.com/sallyport/sallyport/envoy/wire"
	"github.com/sallyport/sallyport/settings"
)

// streamWorkers are goroutines that keep their grown stacks from Check to Check.
const streamWorkers = 32

// newGRPCServer is where Envoy asks. Its stream workers save the CPU of a
// goroutine for each Check.
func newGRPCServer(cfg *settings.Config, listeners *listeners) (*grpc.Server, *health.Server) {
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(wire.NewCodec()),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.WaitForHandlers(true), // they end claims, and write what became of them
		// A body, its headers, and the same again for what base64 and framing add.
		grpc.MaxRecvMsgSize(2*cfg.Envoy.MaxRequestBytes + 1<<20),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.ConnectionTimeout(10 * time.Second),
	}
	if listeners.tls != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(listeners.tls)))
	}
	server := grpc.NewServer(options...)
	healthServer := health.NewServer()
	healthv1.RegisterHealthServer(server, healthServer)
	if cfg.Listen.Reflection {
		reflection.Register(server)
	}
	return server, healthServer
}

// newHTTPServer bounds what one client can hold.
func newHTTPServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      5 * time.Minute, // a CPU profile takes as long as it is asked for
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

func serveHTTP(server *http.Server, l *listeners) error {
	if l.tls == nil {
		return server.Serve(l.http)
	}
	server.TLSConfig = l.tls
	return server.ServeTLS(l.http, "", "")
}

// ignoreClosed drops the error by which a server says that it was shut down.
func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// lastOutcomes is how long outcomes are still taken at the end: Envoy sends them
// each second.
const lastOutcomes = 1500 * time.Millisecond

// shutdown lets running requests finish, for at most the grace period, and returns
// when their outcomes are recorded.
func shutdown(grace time.Duration, outcomes *accesslog.Server, grpcServer *grpc.Server, httpServers ...*http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	last := time.AfterFunc(lastOutcomes, outcomes.Stop)
	defer last.Stop()
	stopped := make(chan struct{})
	go func() {
		grpcServer.GracefulStop()
		close(stopped)
	}()
	var errs []error
	for _, server := range httpServers {
		if err := server.Shutdown(ctx); err != nil {
			errs = append(errs, err, server.Close())
		}
	}
	select {
	case <-stopped:
	case <-ctx.Done(): // what is still running is too slow: its streams break off
		grpcServer.Stop() // waitFor doesn't wait for ever
	}
	outcomes.Wait()
	return errors.Join(errs...)
}

func newLogger(cfg settings.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.Level)) // checked at load
	options := &slog.HandlerOptions{Level: level}
	if cfg.Format == "text" {
		return slog.New(slog.NewTextHandler(os.Stderr, options))
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, options))
}
