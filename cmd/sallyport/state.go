package main

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/api"
	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/catalogue"
	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/authz/operation"
	"github.com/sallyport/sallyport/internal/cafile"
	"github.com/sallyport/sallyport/settings"
)

// state is everything that a reload replaces, built from one configuration.
type state struct {
	config    *settings.Config
	authz     authz.Config
	revoked   *identity.RevocationFile // nil: none is configured
	resources []api.Resource
	warnings  []string
	files     []string          // a change of their content is a reason to reload
	digest    [sha256.Size]byte // of files, from before the catalogue and all others but the configuration were read
}

// keySource gives the key set of an issuer; see keyring.
type keySource func(identity.KeySetConfig) (identity.Keys, error)

// buildState compiles a configuration. It fetches nothing, so that it can also
// be used to validate. The error holds every problem of every part.
func buildState(loaded *settings.Loaded, keys keySource, replays identity.Replays, revocations *identity.RevocationList, now func() time.Time) (*state, error) {
	cfg := loaded.Config
	s := &state{config: cfg, files: watched(loaded)}
	s.digest = digestFiles(s.files)
	for _, w := range loaded.Warnings {
		s.warnings = append(s.warnings, w.String())
	}
	cat, catalogueErr := catalogue.Load(catalogueConfig(cfg), now())
	servers, serversErr := buildServers(cfg)
	verifier, verifierErr := buildVerifier(cfg, keys, replays, now)
	revokedErr := s.readRevocations()
	providerErr := checkProvider(cfg, cat)
	if err := errors.Join(catalogueErr, serversErr, verifierErr, revokedErr, providerErr); err != nil {
		return nil, err
	}
	for _, w := range cat.Warnings() {
		s.warnings = append(s.warnings, w.Error())
	}
	s.authz = authz.Config{
		Servers:     servers,
		Catalogue:   cat,
		Verifier:    verifier,
		Revocations: revocations,
		Tiers: authz.Tiers{
			Permissive: authz.Rate(cfg.Tools.Tiers.Permissive),
			Standard:   authz.Rate(cfg.Tools.Tiers.Standard),
			Strict:     authz.Rate(cfg.Tools.Tiers.Strict),
		},
		Shadow:    catalogue.Shadow{Policies: cfg.Tools.Shadow.Policies, Until: cfg.Tools.Shadow.Until},
		Elevation: elevationRule(cfg),
		Idempotency: authz.Idempotency{
			Enabled: cfg.TransactionSafety.IdempotencyEnabled,
			Lease:   cfg.TransactionSafety.Lease, DerivedTTL: cfg.TransactionSafety.DerivedTTL,
		},
		ClockSkew: cfg.Authentication.ClockSkew,
	}
	s.warnings = append(s.warnings, limits(cfg, cat)...)
	s.resources = buildResources(cfg)
	return s, nil
}

func elevationRule(cfg *settings.Config) authz.ElevationRule {
	p := &cfg.PIM
	rule := authz.ElevationRule{
		Enabled: p.Enabled, URL: p.ElevationURL, Longest: p.ElevationDuration,
		RequireReason: p.RequireReason, RequireApproval: p.RequireApproval,
		PendingFor: p.RequestTTL, ApprovalFor: p.ApprovalTTL,
		External: p.External(), Users: make(map[string]string),
		BreakGlass: p.BreakGlass.Enabled, BreakGlassFor: p.BreakGlass.Duration,
	}
	for _, a := range p.Approvers {
		rule.Approvers = append(rule.Approvers, authz.Approvers(a))
	}
	for _, u := range p.Users {
		rule.Users[u.Issuer] = u.Claim
	}
	return rule
}

// limits warns of what this configuration or this version doesn't do.
func limits(cfg *settings.Config, cat *catalogue.Catalogue) (warnings []string) {
	if t := &cfg.TransactionSafety; t.IdempotencyEnabled && t.Store(&cfg.Redis) == "memory" && !cfg.Development() {
		warnings = append(warnings, "transaction_safety: keys are kept in memory, so a restart forgets which requests were executed, and there can be one replica only; set redis.addresses")
	}
	if !cfg.TransactionSafety.IdempotencyEnabled {
		warnings = append(warnings, "transaction_safety.idempotency_enabled is false: a retried write is executed again")
	}
	if !cfg.PIM.RequireApproval && !cfg.PIM.External() && slices.ContainsFunc(cat.Tools(), func(t *catalogue.Tool) bool { return t.RequiresElevation }) {
		warnings = append(warnings, "pim.require_approval is false: whoever has the scopes of a privileged tool elevates themselves, with a reason and for a limited time")
	}
	if len(cfg.PIM.Approvers) == 0 && slices.ContainsFunc(cat.Tools(), func(t *catalogue.Tool) bool { return t.RequiresApproval }) {
		warnings = append(warnings, "a tool has requires_approval and pim.approvers is empty: nobody can approve its calls, so they are refused")
	}
	if slices.ContainsFunc(cat.Tools(), func(t *catalogue.Tool) bool { return t.PIIPolicy != catalogue.PIINone }) {
		warnings = append(warnings, "pii_policy is not enforced by this version: responses pass as they are")
	}
	return warnings
}

// watched are the files that a configuration is made of. The revocation list is
// watched by itself.
func watched(loaded *settings.Loaded) []string {
	return slices.DeleteFunc(slices.Clone(loaded.Files), func(name string) bool {
		return name == loaded.Config.Authentication.RevocationsFile
	})
}

// readRevocations reads the list that the configuration names, if it does, and
// warns of revocations that revoke nothing.
func (s *state) readRevocations() (err error) {
	file := s.config.Authentication.RevocationsFile
	if file == "" {
		return nil
	}
	if s.revoked, err = identity.ReadRevocations(file); err != nil {
		return err
	}
	for _, name := range s.revoked.Issuers() {
		if !slices.ContainsFunc(s.config.Issuers, func(i settings.Issuer) bool { return i.Name == name }) {
			s.warnings = append(s.warnings, fmt.Sprintf("%s: no issuer is named %q, so its revocations have no effect", file, name))
		}
	}
	return nil
}

func catalogueConfig(cfg *settings.Config) catalogue.Config {
	names := make([]string, len(cfg.Servers))
	for i := range cfg.Servers {
		names[i] = cfg.Servers[i].Name
	}
	return catalogue.Config{
		Files:   cfg.Tools.Catalogue,
		Servers: names,
		Defaults: catalogue.Defaults{
			RiskLevel:           cfg.Tools.DefaultRiskLevel,
			RateLimitTier:       cfg.Tools.DefaultRateLimitTier,
			PIIPolicy:           cfg.Tools.DefaultPIIPolicy,
			MaxConcurrency:      cfg.Tools.DefaultMaxConcurrency,
			IdempotencyOptional: !cfg.TransactionSafety.IdempotencyRequired,
			IdempotencyTTL:      cfg.TransactionSafety.IdempotencyTTL,
		},
	}
}

func buildServers(cfg *settings.Config) ([]*authz.Server, error) {
	var servers []*authz.Server
	var errs []error
	for i := range cfg.Servers {
		s := &cfg.Servers[i]
		op := operation.Config{Name: s.Name, MaxBodyBytes: cfg.Envoy.MaxRequestBytes}
		switch {
		case s.MCP != nil:
			op.MCP = &operation.MCPConfig{
				Path: s.Path, Methods: s.MCP.Methods, Resources: s.MCP.Resources,
				Prompts: s.MCP.Prompts, Origins: s.MCP.Origins, Versions: s.MCP.Versions,
			}
		case s.REST != nil:
			op.REST = &operation.RESTConfig{Prefix: s.Path}
			for _, route := range s.REST.Routes {
				op.REST.Routes = append(op.REST.Routes, operation.Route{Method: route.Method, Template: route.Path, Tool: route.Tool, AnyBody: route.AnyBody})
			}
		}
		operations, err := operation.New(op)
		if err != nil {
			errs = append(errs, fmt.Errorf("server %q: %w", s.Name, err))
			continue
		}
		servers = append(servers, &authz.Server{
			Name: s.Name, Hosts: s.Hosts, Path: s.Path, Prefix: s.REST != nil,
			Resource: s.Resource, Audiences: s.Audiences, Issuers: s.Issuers,
			RequiredScopes:  slices.Concat(cfg.Authentication.OIDCRequiredScopes, s.RequiredScopes),
			ScopesSupported: s.ScopesSupported,
			Operations:      operations,
		})
	}
	return servers, errors.Join(errs...)
}

func buildVerifier(cfg *settings.Config, keys keySource, replays identity.Replays, now func() time.Time) (*identity.Verifier, error) {
	verifier := identity.VerifierConfig{
		ClockSkew:     cfg.Authentication.ClockSkew,
		MaxTokenBytes: cfg.Authentication.MaxTokenBytes,
	}
	sets := make(map[string]identity.Keys)
	var errs []error
	for i := range cfg.Issuers {
		issuer := &cfg.Issuers[i]
		verifier.Issuers = append(verifier.Issuers, issuerConfig(cfg, issuer))
		set, err := keySetConfig(cfg, issuer)
		if err == nil {
			sets[issuer.Name], err = keys(set)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("issuer %q: %w", issuer.Name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return identity.NewVerifier(verifier, sets, replays, now)
}

func issuerConfig(cfg *settings.Config, issuer *settings.Issuer) identity.IssuerConfig {
	return identity.IssuerConfig{
		Name: issuer.Name, Preset: issuer.Preset, Issuer: issuer.Issuer,
		Algorithms: issuer.Algorithms, Typ: issuer.Typ, MaxLifetime: issuer.MaxLifetime,
		Tenants: issuer.Tenants, Clients: issuer.Clients, RequireScopePrefix: issuer.RequireScopePrefix,
		Claims:      identity.ClaimNames(issuer.Claims),
		Elevation:   issuer.Elevation,
		IgnoreNonce: !cfg.Authentication.ValidateNonce,
		AllowHTTP:   cfg.Development(),
	}
}

func keySetConfig(cfg *settings.Config, issuer *settings.Issuer) (identity.KeySetConfig, error) {
	set := identity.KeySetConfig{
		Name: issuer.Name, Issuer: issuer.Issuer,
		DiscoveryURL: issuer.DiscoveryURL, JWKSURL: issuer.JWKSURL,
		AllowHTTP: cfg.Development(), AllowPrivate: issuer.AllowPrivate,
		TTL: cfg.Authentication.OIDCJWKSCacheTTL, MaxStale: issuer.MaxStale,
		CacheDir: cfg.Authentication.KeyCacheDir,
	}
	if issuer.CAFile == "" {
		return set, nil
	}
	var err error
	set.RootCAs, err = x509.SystemCertPool()
	if err != nil {
		return set, fmt.Errorf("system certificates: %w", err)
	}
	if err := cafile.Add(set.RootCAs, issuer.CAFile); err != nil {
		return set, fmt.Errorf("ca_file: %w", err)
	}
	return set, nil
}

// buildResources describes the servers to OAuth clients. An issuer whose
// identifier is a template can't be named: no metadata could be found there.
func buildResources(cfg *settings.Config) []api.Resource {
	identifiers := make(map[string]string)
	var all []string
	for i := range cfg.Issuers {
		if id := cfg.Issuers[i].Issuer; !strings.Contains(id, "{") {
			identifiers[cfg.Issuers[i].Name] = id
			all = append(all, id)
		}
	}
	resources := make([]api.Resource, 0, len(cfg.Servers))
	for i := range cfg.Servers {
		s := &cfg.Servers[i]
		accepted := all
		if len(s.Issuers) != 0 {
			accepted = nil
			for _, name := range s.Issuers {
				if id, ok := identifiers[name]; ok {
					accepted = append(accepted, id)
				}
			}
		}
		resources = append(resources, api.Resource{
			ID: s.Resource, Name: s.Name, AuthorizationServers: accepted, Scopes: s.ScopesSupported,
		})
	}
	return resources
}
