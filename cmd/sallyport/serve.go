package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sallyport/sallyport/api"
	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/envoy/accesslog"
	"github.com/sallyport/sallyport/envoy/extauthz"
	"github.com/sallyport/sallyport/envoy/extproc"
	"github.com/sallyport/sallyport/settings"
)

func newServeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Answer Envoy's ext_authz, ext_proc and access log",
		Long: `Serve answers Envoy's ext_authz checks and ext_proc exchanges and takes its access
log over gRPC, serves the API of elevations and approvals and the OAuth metadata of
the protected servers over HTTP, and metrics, health and profiles on a listener of
their own.

The configuration, the catalogue and the files that they name are loaded again
when they change and on SIGHUP; a mistake in them keeps the old state, and says so
in the log and in sallyport_reload_failed. Changes of redis, of where claims are
kept, of audit, database and of pim's provider and webhooks are such a mistake; those
of listen, log and envoy wait for a restart. SIGTERM and SIGINT let running requests finish, up to
listen.shutdown_grace.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := loadSettings(cmd)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), loaded, func() (*settings.Loaded, error) { return loadSettings(cmd) })
		},
	}
}

// serve runs until ctx ends. reload reads the configuration again.
func serve(ctx context.Context, loaded *settings.Loaded, reload func() (*settings.Loaded, error)) (err error) {
	tuneGC()
	cfg := loaded.Config
	log := newLogger(cfg.Log)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	database, err := newSharedDatabase(cfg)
	if err != nil {
		return err
	}
	trail, err := openTrail(ctx, cfg, database, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.close(), trail.journal.Close()) }()
	registry.MustRegister(newTrailMetrics(trail))
	stores, err := openStores(cfg, registry, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stores.close()) }()
	if err := stores.check(ctx); err != nil {
		return invalid(err)
	}
	elevations, err := openElevations(cfg, database, trail.journal, registry, log)
	if err != nil {
		return err
	}
	engine := authz.New(stores.limiter, stores.sessions, elevations, trail.journal, trail.strangers, time.Now)

	// Listeners first: a port that is taken must fail before anything runs.
	listeners, err := openListeners(cfg.Listen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, listeners.close()) }()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	reloader := &reloader{
		engine:      engine,
		keys:        newKeyring(ctx, group, log),
		stores:      stores,
		revocations: identity.NewRevocationList(time.Now),
		read:        reload,
		metrics:     newReloadMetrics(registry),
		record:      trail.record,
		log:         log,
	}
	stores.run(ctx, reloader.revocations, group, log)
	elevations.run(ctx, group)
	// The trail goes on until the last request is answered.
	trailCtx, endTrail := context.WithCancel(context.WithoutCancel(ctx))
	defer endTrail()
	trail.run(trailCtx, group)
	err = reloader.start(ctx, loaded)
	if err == nil {
		err = trail.record("start", map[string]any{
			"version": versionText(), "catalogue": reloader.current.Load().authz.Catalogue.Digest(), "files": reloader.filesDigest(),
		})
	}
	if err != nil {
		cancel()
		endTrail()
		return errors.Join(err, group.Wait())
	}
	registry.MustRegister(newKeyMetrics(reloader.keys))

	grpcServer, healthServer := newGRPCServer(cfg, listeners)
	pending := accesslog.NewPending(registry, time.Now)
	exchanges := extproc.NewServer(extproc.Config{
		MaxKept:      cfg.TransactionSafety.MaxResponseBytes,
		StoreTimeout: 2 * cfg.Redis.Timeout, // claims ask twice, and may have to be released
	}, stores.claims, stores.slots, stores.sessions, elevations, trail.journal, extproc.NewMetrics(registry), log, time.Now)
	defer exchanges.Close()
	extauthz.NewServer(engine, pending, extauthz.NewMetrics(registry), log).Register(grpcServer)
	exchanges.Register(grpcServer)
	outcomes := accesslog.NewServer(trail.journal, pending, log, time.Now)
	outcomes.Register(grpcServer)
	resources := func() []api.Resource { return reloader.current.Load().resources }
	httpServer := newHTTPServer(api.New(resources, api.NewElevations(api.EngineAccess{Engine: engine}, elevations.service, log)), log)
	opsServer := newHTTPServer(newOps(registry, func() bool { return ctx.Err() == nil && trail.journal.Healthy() && stores.healthy() }), log)

	group.Go(func() error { return reloader.watch(ctx) })
	group.Go(func() error { return reloader.watchRevocations(ctx) })
	group.Go(func() error { return grpcServer.Serve(listeners.grpc) })
	group.Go(func() error { return ignoreClosed(serveHTTP(httpServer, listeners)) })
	group.Go(func() error { return ignoreClosed(opsServer.Serve(listeners.ops)) })
	group.Go(func() error {
		<-ctx.Done()
		defer endTrail()
		healthServer.Shutdown()
		err := shutdown(cfg.Listen.ShutdownGrace, outcomes, grpcServer, httpServer, opsServer)
		return errors.Join(err, trail.record("stop", nil))
	})
	log.InfoContext(ctx, "serving", "version", versionText(),
		"grpc", listeners.grpc.Addr().String(), "http", listeners.http.Addr().String(), "ops", listeners.ops.Addr().String())
	err = waitFor(ctx, group, cfg.Listen.ShutdownGrace)
	log.InfoContext(ctx, "stopped")
	return err
}

// lastWords is how long the service may take to end after the grace period, most of
// it for what is on its way to the archive.
const lastWords = 8 * time.Second

// waitFor waits for the group's end. Once ctx has ended it doesn't for longer than
// the grace period and lastWords: what hangs then ends with the process.
func waitFor(ctx context.Context, group *errgroup.Group, grace time.Duration) error {
	ended := make(chan error, 1)
	go func() { ended <- group.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(grace + lastWords):
		return fmt.Errorf("something still ran %v after the end", grace+lastWords)
	}
}
