package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/sallyport/sallyport/api"
	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/envoy/extproc"
	"github.com/sallyport/sallyport/internal/keyfile"
	"github.com/sallyport/sallyport/pim"
	"github.com/sallyport/sallyport/pim/provider"
	"github.com/sallyport/sallyport/pim/webhook"
	"github.com/sallyport/sallyport/settings"
)

// elevations answers what decisions and exchanges ask of privileged access.
type elevations struct {
	service *pim.Service
	view    *pim.View
	guard   *provider.Guard // nil: requests are granted here
	sender  *webhook.Sender
	glass   prometheus.Counter
	log     *slog.Logger
}

// openElevations connects to nothing: a database or a provider that is away must not
// stop the start.
func openElevations(cfg *settings.Config, database *sharedDatabase, journal pim.Journal, registry prometheus.Registerer, log *slog.Logger) (*elevations, error) {
	outside, err := newProvider(cfg)
	if err != nil {
		return nil, invalid(fmt.Errorf("pim: %w", err))
	}
	endpoints, err := webhookEndpoints(cfg)
	if err != nil {
		return nil, invalid(fmt.Errorf("pim.webhooks: %w", err))
	}
	e := &elevations{log: log, glass: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sallyport_break_glass_total",
		Help: "Privileged calls that a break-glass grant let pass while the provider failed.",
	})}
	config := pim.Config{Open: database.open, Journal: journal, Now: time.Now, Log: log, Notify: notices(cfg, endpoints)}
	if outside != nil {
		if e.guard, err = provider.NewGuard(outside, cfg.PIM.Timeout, time.Now); err != nil {
			return nil, err
		}
		config.Provider = e.guard
	}
	if e.service, err = pim.New(config); err != nil {
		return nil, err
	}
	e.view = e.service.View()
	if len(endpoints) > 0 {
		e.sender = webhook.NewSender(webhook.Config{LoopbackHTTP: cfg.Development()}, outbox{e.service.Notices()},
			func() []webhook.Endpoint { return endpoints }, log, time.Now)
	}
	registry.MustRegister(e.glass, newElevationMetrics(e))
	return e, nil
}

// run follows the database and tells whom to tell, until ctx ends.
func (e *elevations) run(ctx context.Context, group *errgroup.Group) {
	group.Go(func() error { return e.service.Run(ctx) })
	if e.sender != nil {
		group.Go(func() error { return e.sender.Run(ctx, e.service.Notices().Wake()) })
	}
}

// outbox is the service's, as webhooks see it.
type outbox struct{ *pim.Notices }

// Due implements webhook.Outbox.
func (o outbox) Due(ctx context.Context, limit int) ([]webhook.Notice, error) {
	due, err := o.Notices.Due(ctx, limit, webhook.Lease)
	out := make([]webhook.Notice, len(due))
	for i := range due {
		out[i] = webhook.Notice(due[i])
	}
	return out, err
}

// Delivered implements webhook.Outbox.
func (o outbox) Delivered(ctx context.Context, id string) error { return o.Forget(ctx, id) }

// Drop implements webhook.Outbox.
func (o outbox) Drop(ctx context.Context, id string) error { return o.Forget(ctx, id) }

func webhookEndpoints(cfg *settings.Config) ([]webhook.Endpoint, error) {
	var endpoints []webhook.Endpoint
	for i := range cfg.PIM.Webhooks {
		w := &cfg.PIM.Webhooks[i]
		e := webhook.Endpoint{URL: w.URL}
		for _, file := range w.KeyFiles {
			key, err := keyfile.Read(file)
			if err != nil {
				return nil, fmt.Errorf("key file %s: %w", file, err)
			}
			e.Keys = append(e.Keys, key)
		}
		if err := e.Validate(cfg.Development()); err != nil {
			return nil, err
		}
		endpoints = append(endpoints, e)
	}
	return endpoints, nil
}

// notices makes what is told of a request, for each endpoint.
func notices(cfg *settings.Config, endpoints []webhook.Endpoint) func(pim.Request) ([]pim.Notice, error) {
	if len(endpoints) == 0 {
		return nil
	}
	origins := make(map[string]string)
	for i := range cfg.Servers {
		origins[cfg.Servers[i].Name] = originOf(cfg.Servers[i].Resource)
	}
	types := map[pim.State]string{
		pim.Pending: webhook.Requested, pim.Approved: webhook.Approved, pim.Denied: webhook.Denied,
		pim.Revoked: webhook.Revoked, pim.Expired: webhook.Expired,
	}
	return func(r pim.Request) (all []pim.Notice, err error) {
		kind, ok := types[r.State]
		if !ok {
			return nil, nil
		}
		when := r.Requested
		for _, later := range []time.Time{r.Decided, r.Ended} {
			if later.After(when) {
				when = later
			}
		}
		event := webhook.Event{Type: kind, Timestamp: when, Data: webhook.Data{
			RequestID: r.ID, Kind: string(r.Kind), Server: r.Server, Tool: r.Tool, Requester: r.Requester.Name(), Reason: r.Reason,
			DurationSeconds: int64(r.Duration.Seconds()), ApprovalURL: cmp.Or(r.ProviderURL, origins[r.Server]+api.Prefix+"elevations/"+r.ID),
			BreakGlass: r.BreakGlass,
		}}
		if !r.Until.IsZero() {
			event.Data.ExpiresAt = &r.Until
		}
		body, err := event.JSON()
		if err != nil {
			return nil, err
		}
		for i := range endpoints {
			all = append(all, pim.Notice{Endpoint: endpoints[i].Name(), Body: body})
		}
		return all, nil
	}
}

// originOf is the scheme and host of a URL.
func originOf(url string) string {
	scheme, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + host
}

func pimHolder(h *authz.Holder) pim.Holder {
	return pim.Holder{PrincipalID: h.Principal, Server: h.Server, Tool: h.Tool}
}

// Revoked implements authz.Elevations.
func (e *elevations) Revoked(h *authz.Holder, now time.Time) (time.Time, bool, error) {
	return e.view.RevokedAt(pimHolder(h), now)
}

// Elevated implements authz.Elevations. A provider's answer is final. Only if it fails,
// and break-glass is on, a grant counts that was made for that. A user or role that it
// can't be asked about is not elevated.
func (e *elevations) Elevated(ctx context.Context, h *authz.Holder, now time.Time) (authz.Elevation, error) {
	if e.guard == nil {
		return e.granted(h, false, now)
	}
	if h.User == "" {
		return authz.Elevation{}, nil
	}
	status, err := e.guard.Check(ctx, provider.Subject{User: h.User, Role: h.Role})
	switch {
	case err == nil && status.Active:
		return authz.Elevation{Source: authz.SourceProvider, ID: status.Evidence, Until: status.Until}, nil
	case err == nil:
		return authz.Elevation{}, nil
	case errors.Is(err, provider.ErrSubject):
		e.log.DebugContext(ctx, "provider not asked", "tool", h.Tool, "server", h.Server, "error", err)
		return authz.Elevation{}, nil
	case !h.BreakGlass || !provider.Failing(err):
		return authz.Elevation{}, err
	}
	grant, viewErr := e.granted(h, true, now)
	if grant.Source == "" {
		return grant, errors.Join(err, viewErr)
	}
	e.glass.Inc()
	e.log.WarnContext(ctx, "break-glass grant used, because the provider fails", "request_id", grant.ID, "tool", h.Tool, "server", h.Server, "error", err)
	return grant, nil
}

func (e *elevations) granted(h *authz.Holder, breakGlass bool, now time.Time) (authz.Elevation, error) {
	id, until, ok, err := e.view.Grant(pimHolder(h), breakGlass, now)
	if err != nil || !ok {
		return authz.Elevation{}, err
	}
	source := authz.SourceGrant
	if breakGlass {
		source = authz.SourceBreakGlass
	}
	return authz.Elevation{Source: source, ID: id, Until: until}, nil
}

// Approval implements authz.Elevations.
func (e *elevations) Approval(h *authz.Holder, fingerprint [32]byte, now time.Time) (string, error) {
	return e.view.Approval(pimHolder(h), fingerprint, now)
}

// Pending implements authz.Elevations.
func (e *elevations) Pending(h *authz.Holder, fingerprint [32]byte) string {
	return e.view.Pending(pimHolder(h), fingerprint)
}

// Spend implements extproc.Approvals.
func (e *elevations) Spend(ctx context.Context, a extproc.Approval) error {
	err := e.service.Spend(ctx, a.ID, a.PrincipalID, a.Fingerprint, a.DecisionID)
	if errors.Is(err, pim.ErrState) || errors.Is(err, pim.ErrUnknown) {
		return fmt.Errorf("%w: %w", extproc.ErrNotApproved, err)
	}
	return err
}
