package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/idempotency"
	"github.com/sallyport/sallyport/internal/cafile"
	"github.com/sallyport/sallyport/settings"
)

// Limits of the memory that callers can make the service use.
const (
	limiterCallers = 200_000
	replayEntries  = 500_000
	knownSessions  = 200_000
)

// stores keep what one request leaves behind for others: in memory for one
// replica, in Redis for several.
type stores struct {
	claims   idempotency.Store
	slots    authz.Slots
	sessions authz.Sessions
	limiter  authz.Limiter
	replays  identity.Replays

	feed    *identity.RedisRevocations // nil in memory
	redis   *redisServer               // nil in memory
	sealed  *idempotency.Redis         // nil unless claims are in Redis
	running []runner                   // what has work of its own
}

type runner interface {
	Run(ctx context.Context) error
}

// openStores connects to nothing: a server that is away must not stop the start.
func openStores(cfg *settings.Config, registry prometheus.Registerer, log *slog.Logger) (*stores, error) {
	local, err := authz.NewMemoryLimiter(limiterCallers)
	if err != nil {
		return nil, err
	}
	if len(cfg.Redis.Addresses) > 0 {
		return openRedis(cfg, local, registry, log)
	}
	s := &stores{limiter: local, slots: authz.NewMemorySlots(time.Now), replays: identity.NewMemoryReplays(replayEntries, time.Now)}
	if s.sessions, err = authz.NewMemorySessions(knownSessions); err != nil {
		return nil, err
	}
	s.claims, err = idempotency.NewMemory(idempotency.MemoryConfig{MaxResponse: cfg.TransactionSafety.MaxResponseBytes})
	return s, err
}

func openRedis(cfg *settings.Config, local *authz.MemoryLimiter, registry prometheus.Registerer, log *slog.Logger) (*stores, error) {
	redis.SetLogger(redisLog{log}) // the library has one for all clients
	client, err := newRedisClient(&cfg.Redis)
	if err != nil {
		return nil, err
	}
	shared := identity.RedisConfig{Prefix: cfg.Redis.Prefix, Timeout: cfg.Redis.Timeout}
	s := &stores{redis: newRedisServer(client, registry, log)}
	limiter, limiterErr := authz.NewRedisLimiter(client, shared, local, time.Now, log)
	sessions, sessionsErr := authz.NewRedisSessions(client, shared, knownSessions, time.Now)
	slots, slotsErr := authz.NewRedisSlots(client, shared)
	replays, replaysErr := identity.NewRedisReplays(client, shared)
	feed, feedErr := identity.NewRedisRevocations(client, shared)
	claims, claimsErr := openClaims(cfg, client, registry, log)
	if err := errors.Join(limiterErr, sessionsErr, slotsErr, replaysErr, feedErr, claimsErr); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	s.limiter, s.sessions, s.slots, s.replays, s.feed, s.claims = limiter, sessions, slots, replays, feed, claims
	if s.sealed, _ = claims.(*idempotency.Redis); s.sealed != nil {
		s.claims = fitClaims{Store: claims, server: s.redis}
	}
	s.running = []runner{limiter, sessions}
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sallyport_rate_limits_local",
		Help: "1 while rate limits are this replica's alone, because Redis is away.",
	}, func() float64 {
		if limiter.Alone() {
			return 1
		}
		return 0
	}))
	return s, nil
}

func openClaims(cfg *settings.Config, client redis.UniversalClient, registry prometheus.Registerer, log *slog.Logger) (idempotency.Store, error) {
	t := &cfg.TransactionSafety
	if t.Store(&cfg.Redis) == "memory" {
		return idempotency.NewMemory(idempotency.MemoryConfig{MaxResponse: t.MaxResponseBytes})
	}
	if len(t.KeyFiles) == 0 { // only where idempotency is off, until a restart
		return idempotency.NewMemory(idempotency.MemoryConfig{})
	}
	sealer, err := idempotency.NewSealer(t.KeyFiles...)
	if err != nil {
		return nil, err
	}
	unreadable := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sallyport_responses_unreadable_total",
		Help: "Stored responses that no key file opens.",
	})
	registry.MustRegister(unreadable)
	return idempotency.NewRedis(client, idempotency.RedisConfig{
		Prefix: cfg.Redis.Prefix + "claim:", Timeout: cfg.Redis.Timeout, Replicas: t.Replicas,
		MaxResponse: t.MaxResponseBytes, Sealer: sealer,
		Unreadable: func(_ idempotency.Key, err error) {
			unreadable.Inc()
			log.Error("stored response can't be opened", "error", err)
		},
	})
}

// reseal reads the key files again, which may have been rotated.
func (s *stores) reseal(cfg *settings.Config) error {
	if s.sealed == nil || len(cfg.TransactionSafety.KeyFiles) == 0 {
		return nil
	}
	sealer, err := idempotency.NewSealer(cfg.TransactionSafety.KeyFiles...)
	if err == nil {
		s.sealed.SetSealer(sealer)
	}
	return err
}

// check refuses a server that would forget claims. One that can't be reached is
// asked again later, by run.
func (s *stores) check(ctx context.Context) error {
	if s.redis == nil {
		return nil
	}
	if err := s.redis.check(ctx); errors.Is(err, idempotency.ErrServer) {
		return err
	}
	return nil
}

// run keeps the stores going until ctx ends. From its return on the list knows
// what the feed says, or refuses everybody until it does.
func (s *stores) run(ctx context.Context, list *identity.RevocationList, group *errgroup.Group, log *slog.Logger) {
	if s.redis == nil {
		return
	}
	follower := s.feed.Follow(list, log)
	if err := follower.Refresh(ctx); err != nil {
		log.ErrorContext(ctx, "revocations not read yet, so nobody is let in", "error", err)
	}
	for _, running := range append(s.running, s.redis, follower) {
		group.Go(func() error { return running.Run(ctx) })
	}
}

// healthy is false if claims would be in a server that may forget them.
func (s *stores) healthy() bool { return s.redis == nil || !s.redis.wrong.Load() }

func (s *stores) close() error {
	if s.redis == nil {
		return nil
	}
	return s.redis.client.Close()
}

// redisLog takes what the client says about its connections. The metric and the
// refusals tell what matters of it.
type redisLog struct{ log *slog.Logger }

func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.log.DebugContext(ctx, "redis client", "message", fmt.Sprintf(format, v...))
}

// newRedisClient makes a client for any of the three modes. It obeys deadlines,
// and doesn't repeat by itself what may have been done.
func newRedisClient(cfg *settings.Redis) (redis.UniversalClient, error) {
	options := &redis.UniversalOptions{
		MasterName: cfg.MasterName, Username: cfg.Username, IsClusterMode: cfg.Mode == "cluster",
		ContextTimeoutEnabled: true, DialerRetries: 1, MaxRetries: -1, ClientName: "sallyport",
		DialTimeout: cfg.Timeout, ReadTimeout: cfg.Timeout, WriteTimeout: cfg.Timeout,
	}
	for _, address := range cfg.Addresses {
		options.Addrs = append(options.Addrs, strings.TrimPrefix(address, "unix:"))
	}
	if cfg.PasswordFile != "" {
		password, err := os.ReadFile(cfg.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("redis.password_file: %w", err)
		}
		options.Password = strings.TrimSpace(string(password))
	}
	if cfg.TLS != (settings.RedisTLS{}) {
		var err error
		if options.TLSConfig, err = redisTLS(&cfg.TLS); err != nil {
			return nil, err
		}
	}
	return redis.NewUniversalClient(options), nil
}

func redisTLS(cfg *settings.RedisTLS) (*tls.Config, error) {
	roots, err := cafile.Read(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("redis.tls: %w", err)
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cfg.ServerName, RootCAs: roots}
	if cfg.CertFile != "" {
		certificate, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("redis.tls: %w", err)
		}
		out.Certificates = []tls.Certificate{certificate}
	}
	return out, nil
}

// redisServer watches the server itself.
type redisServer struct {
	client redis.UniversalClient
	log    *slog.Logger
	up     prometheus.Gauge

	warned string      // what was last said about it; used by check only
	fit    atomic.Bool // it was there when last asked, and keeps claims as promised
	wrong  atomic.Bool // it was there, and may forget claims
}

// redisWatch is how often the server is asked. It may be another one each time,
// after a failover, or have got another configuration.
const redisWatch = time.Second

// fitClaims keeps no claim in a server that might forget it.
type fitClaims struct {
	idempotency.Store
	server *redisServer
}

// Claim implements idempotency.Store.
func (f fitClaims) Claim(ctx context.Context, c idempotency.Claim) (idempotency.Result, error) {
	if !f.server.fit.Load() {
		return idempotency.Result{}, fmt.Errorf("claim: %w: the server was not found fit for claims", idempotency.ErrUnavailable)
	}
	return f.Store.Claim(ctx, c)
}

func newRedisServer(client redis.UniversalClient, registry prometheus.Registerer, log *slog.Logger) *redisServer {
	up := prometheus.NewGauge(prometheus.GaugeOpts{Name: "sallyport_redis_up", Help: "1 if Redis answers."})
	registry.MustRegister(up)
	return &redisServer{client: client, log: log, up: up}
}

// check is an error if the server isn't there or isn't fit to keep claims. It says
// so once, and nothing when ctx has ended.
func (r *redisServer) check(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	warnings, err := idempotency.CheckServer(bounded, r.client)
	if ctx.Err() != nil {
		return err // of the asking; what is still running may go on
	}
	r.wrong.Store(errors.Is(err, idempotency.ErrServer))
	r.fit.Store(err == nil)
	said := fmt.Sprint(warnings, err)
	if said == r.warned {
		return err
	}
	r.warned = said
	for _, warning := range warnings {
		r.log.WarnContext(ctx, "redis", "warning", warning)
	}
	switch {
	case r.wrong.Load():
		r.log.ErrorContext(ctx, "redis must not be used: keys are refused", "error", err)
	case err != nil:
		r.log.ErrorContext(ctx, "redis is away; what needs it is refused until it is back", "error", err)
	default:
		r.log.InfoContext(ctx, "redis is fit for use")
	}
	return err
}

// Run checks the server each second.
func (r *redisServer) Run(ctx context.Context) error {
	tick := time.NewTicker(redisWatch)
	defer tick.Stop()
	for {
		if err := r.check(ctx); err == nil || errors.Is(err, idempotency.ErrServer) {
			r.up.Set(1)
		} else {
			r.up.Set(0)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
