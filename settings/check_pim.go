package settings

import (
	"fmt"
	"regexp"
	"slices"
	"time"
)

var claimPattern = regexp.MustCompile(`^[A-Za-z0-9_.:/-]{1,128}$`)

func (r *report) checkPIM(cfg *Config) {
	p := &cfg.PIM
	if !p.Enabled {
		r.warn("pim.enabled", "is off: every privileged tool is refused")
	}
	r.oneOf("pim.provider", p.Provider, "local", "generic", "azure_pim", "okta", "cyberark")
	within(r, "pim.elevation_duration_seconds", p.ElevationDuration, time.Minute, 24*time.Hour)
	within(r, "pim.request_ttl_seconds", p.RequestTTL, time.Minute, 168*time.Hour)
	within(r, "pim.approval_ttl_seconds", p.ApprovalTTL, time.Minute, 24*time.Hour)
	within(r, "pim.break_glass.duration_seconds", p.BreakGlass.Duration, time.Minute, time.Hour)
	if !isPlainPath(p.ElevationURL) {
		r.url("pim.elevation_url", p.ElevationURL, "a path such as /api/auth/elevate, or an https URL", false)
	}
	r.checkApprovers(cfg)
	r.checkProviderUsers(cfg)
	r.checkWebhooks(cfg)
	r.checkProvider(cfg)
}

func (c *Config) issuer(name string) *Issuer {
	for i := range c.Issuers {
		if c.Issuers[i].Name == name {
			return &c.Issuers[i]
		}
	}
	return nil
}

func (r *report) checkApprovers(cfg *Config) {
	p := &cfg.PIM
	for i := range p.Approvers {
		a, path := &p.Approvers[i], fmt.Sprintf("pim.approvers[%d]", i)
		switch issuer := cfg.issuer(a.Issuer); {
		case issuer == nil:
			r.refuse(path+".issuer", "is none of issuers: %q", clip(a.Issuer))
		case issuer.Claims.Person == "":
			r.refuse(path+".issuer", "names no persons, so that an approver couldn't be told from a requester: set claims.person of issuer %s, to a claim that stays the same for one human whatever the client, such as sub or oid", a.Issuer)
		}
		if len(a.Roles) == 0 {
			r.refuse(path+".roles", "is missing: an approver has one of these roles")
		}
		r.unique(path+".roles", a.Roles)
	}
	switch {
	case len(p.Approvers) > 0:
	case p.RequireApproval:
		r.refuse("pim.approvers", "is missing: require_approval needs somebody who approves")
	case p.BreakGlass.Enabled:
		r.refuse("pim.approvers", "is missing: a break-glass grant always needs somebody who approves")
	}
}

func (r *report) checkProviderUsers(cfg *Config) {
	p := &cfg.PIM
	var seen []string
	for i := range p.Users {
		u, path := &p.Users[i], fmt.Sprintf("pim.users[%d]", i)
		if cfg.issuer(u.Issuer) == nil {
			r.refuse(path+".issuer", "is none of issuers: %q", clip(u.Issuer))
		}
		if slices.Contains(seen, u.Issuer) {
			r.refuse(path+".issuer", "is there twice: remove one")
		}
		seen = append(seen, u.Issuer)
		switch {
		case !claimPattern.MatchString(u.Claim):
			r.refuse(path+".claim", "must be the name of a claim, not %q", clip(u.Claim))
		case slices.Contains([]string{"email", "preferred_username", "upn", "name", "nickname"}, u.Claim):
			r.warn(path+".claim", "is %s, which users may be able to change: prefer an id", u.Claim)
		}
	}
	switch {
	case p.External() && len(p.Users) == 0:
		r.refuse("pim.users", "is missing: say for each issuer which claim holds the id that the provider %s knows a user by", p.Provider)
	case !p.External() && len(p.Users) > 0:
		r.refuse("pim.users", "does nothing with the provider local: remove it")
	}
}

func (r *report) checkWebhooks(cfg *Config) {
	if len(cfg.PIM.Webhooks) > 8 {
		r.refuse("pim.webhooks", "has %d entries: 8 at most", len(cfg.PIM.Webhooks))
	}
	for i := range cfg.PIM.Webhooks {
		w, path := &cfg.PIM.Webhooks[i], fmt.Sprintf("pim.webhooks[%d]", i)
		r.url(path+".url", w.URL, "an https URL", cfg.Development())
		if len(w.KeyFiles) == 0 {
			r.refuse(path+".key_files", "is missing: notices are signed; write 32 random bytes in hex to a file below secrets_dir, such as by `openssl rand -hex 32`")
		}
		r.unique(path+".key_files", w.KeyFiles)
	}
}

func (r *report) checkProvider(cfg *Config) {
	p := &cfg.PIM
	if !p.External() {
		for _, f := range []struct {
			key string
			set bool
		}{{"pam_endpoint", p.PAMEndpoint != ""}, {"break_glass.enabled", p.BreakGlass.Enabled}} {
			if f.set {
				r.refuse("pim."+f.key, "does nothing with the provider local: remove it, or name a provider")
			}
		}
		return
	}
	within(r, "pim.timeout", p.Timeout, 100*time.Millisecond, 10*time.Second)
	if p.Timeout >= cfg.Envoy.CheckTimeout {
		r.refuse("pim.timeout", "is %v, and Envoy waits for a decision for envoy.check_timeout only, %v: make it less", p.Timeout, cfg.Envoy.CheckTimeout)
	}
	if p.PAMEndpoint != "" || p.Provider != "azure_pim" {
		r.url("pim.pam_endpoint", p.PAMEndpoint, "an https URL", cfg.Development())
	}
}
