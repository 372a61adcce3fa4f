package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/settings"
)

// reloader turns configurations into what requests are decided with. A
// configuration that is refused changes nothing.
type reloader struct {
	engine      *authz.Engine
	keys        *keyring
	stores      *stores
	revocations *identity.RevocationList
	read        func() (*settings.Loaded, error)
	metrics     *reloadMetrics
	log         *slog.Logger
	record      func(action string, metadata map[string]any) error // in the audit trail

	started *settings.Config      // what the listeners and logs were made from
	current atomic.Pointer[state] // what the engine was last given; nil before start
}

// start applies the first configuration; without it nothing is served.
func (r *reloader) start(ctx context.Context, loaded *settings.Loaded) error {
	r.started = loaded.Config
	if err := r.apply(ctx, loaded); err != nil {
		return err
	}
	r.metrics.succeeded()
	return nil
}

// reload reads the configuration again and applies it, or says in the log and
// the metrics why the old one stays.
func (r *reloader) reload(ctx context.Context, why string) (ok bool) {
	loaded, err := r.read()
	if err == nil {
		err = r.apply(ctx, loaded)
	}
	if err != nil {
		r.log.ErrorContext(ctx, "configuration not reloaded, the old one stays", "cause", why, "error", err)
		r.metrics.failed()
		r.recorded(ctx, "reload", map[string]any{"cause": why, "failed": clipped(err.Error())})
		return false
	}
	if needsRestart(r.started, loaded.Config) {
		r.log.WarnContext(ctx, "listen, log or envoy changed: that needs a restart")
	}
	r.log.InfoContext(ctx, "configuration reloaded", "cause", why, "catalogue", r.current.Load().authz.Catalogue.Digest())
	r.metrics.succeeded()
	r.recorded(ctx, "reload", map[string]any{"cause": why, "catalogue": r.current.Load().authz.Catalogue.Digest(), "files": r.filesDigest()})
	return true
}

// recorded records what became of a reload. That it can't be recorded undoes
// nothing: then no request is decided either.
func (r *reloader) recorded(ctx context.Context, action string, metadata map[string]any) {
	if err := r.record(action, metadata); err != nil {
		r.log.ErrorContext(ctx, "reload not recorded", "error", err)
	}
}

// filesDigest is the SHA-256 over the configuration in use and the files that it
// names.
func (r *reloader) filesDigest() string {
	digest := r.current.Load().digest
	return hex.EncodeToString(digest[:])
}

// clipped bounds the text of an error for the record.
func clipped(text string) string {
	if len(text) > 1024 {
		return text[:1024] + "…"
	}
	return text
}

// apply compiles everything before it changes anything.
func (r *reloader) apply(ctx context.Context, loaded *settings.Loaded) error {
	if err := fixedAtStart(r.started, loaded.Config); err != nil {
		return invalid(err)
	}
	change := r.keys.change()
	s, err := buildState(loaded, change.keySet, r.stores.replays, r.revocations, time.Now)
	if err != nil {
		return invalid(err)
	}
	snapshot, err := authz.Compile(s.authz)
	if err != nil {
		return invalid(err)
	}
	if err := r.stores.reseal(loaded.Config); err != nil {
		return invalid(err)
	}
	for _, warning := range s.warnings {
		r.log.WarnContext(ctx, "configuration", "warning", warning)
	}
	change.load(ctx)
	// Again, because the keys may have taken seconds: what was revoked meanwhile
	// must stay revoked.
	if err := s.readRevocations(); err != nil {
		return invalid(err)
	}
	change.commit()
	// Together: the list names issuers as its configuration does.
	r.revocations.Use(s.revoked)
	r.engine.Use(snapshot)
	r.current.Store(s)
	return nil
}

// fixedAtStart refuses a change of where state is kept: what is running would keep
// it elsewhere than the configuration says, and than the commands look for it.
func fixedAtStart(started, fresh *settings.Config) error {
	old, now := started.TransactionSafety, fresh.TransactionSafety
	sealed := func(c *settings.TransactionSafety) bool { return len(c.KeyFiles) > 0 }
	for _, part := range []struct {
		name string
		same bool
	}{
		{"redis", reflect.DeepEqual(started.Redis, fresh.Redis)},
		{"transaction_safety.idempotency_store_type", old.Store(&started.Redis) == now.Store(&fresh.Redis)},
		{"transaction_safety.replicas", old.Replicas == now.Replicas},
		{"transaction_safety.max_response_bytes", old.MaxResponseBytes == now.MaxResponseBytes},
		{"audit", reflect.DeepEqual(started.Audit, fresh.Audit)},
		{"database", started.Database == fresh.Database},
		{"pim: the provider or webhooks", reflect.DeepEqual(outside(&started.PIM), outside(&fresh.PIM))},
		{"transaction_safety.key_files", now.Store(&fresh.Redis) == "memory" || sealed(&old) == sealed(&now)},
	} {
		if !part.same {
			return fmt.Errorf("%s changed: that needs a restart", part.name)
		}
	}
	return nil
}

// outside is what of pim is about others than callers and approvers.
func outside(p *settings.PIM) settings.PIM {
	return settings.PIM{
		Provider: p.Provider, PAMEndpoint: p.PAMEndpoint, Timeout: p.Timeout, Webhooks: p.Webhooks,
		Generic: p.Generic, AzurePIM: p.AzurePIM, Okta: p.Okta, CyberArk: p.CyberArk,
	}
}

// needsRestart reports whether a part changed that is only read at the start.
func needsRestart(old, fresh *settings.Config) bool {
	return old.Listen != fresh.Listen || old.Log != fresh.Log || old.Envoy != fresh.Envoy
}

// reloadMetrics say whether the configuration in use is the one on disk.
type reloadMetrics struct {
	lastFailed prometheus.Gauge
	failures   prometheus.Counter
	loaded     prometheus.Gauge

	revocationsFailed prometheus.Gauge
}

func newReloadMetrics(registerer prometheus.Registerer) *reloadMetrics {
	m := &reloadMetrics{
		lastFailed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sallyport_reload_failed",
			Help: "1 if the last reload failed and an older configuration is in use.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sallyport_reload_failures_total",
			Help: "Reloads that failed.",
		}),
		loaded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sallyport_config_loaded_timestamp_seconds",
			Help: "When the configuration in use was loaded.",
		}),
	}
	m.revocationsFailed = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sallyport_revocations_failed",
		Help: "1 if the revocation list can't be read and an older one is in use.",
	})
	registerer.MustRegister(m.lastFailed, m.failures, m.loaded, m.revocationsFailed)
	return m
}

func (m *reloadMetrics) succeeded() {
	m.lastFailed.Set(0)
	m.loaded.SetToCurrentTime()
}

func (m *reloadMetrics) failed() {
	m.lastFailed.Set(1)
	m.failures.Inc()
}
