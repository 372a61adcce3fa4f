package settings

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"
)

var claimPattern = regexp.MustCompile(`^[A-Za-z0-9_.:/-]{1,128}$`)

// maxWebhooks bounds what each request makes us send.
const maxWebhooks = 8

func (r *report) checkPIM(cfg *Config) {
	p := &cfg.PIM
	if !p.Enabled {
		r.warn("pim.enabled", "is off: every privileged tool is refused")
	}
	within(r, "pim.elevation_duration_seconds", p.ElevationDuration, time.Minute, 24*time.Hour)
	within(r, "pim.request_ttl_seconds", p.RequestTTL, time.Minute, 168*time.Hour)
	within(r, "pim.approval_ttl_seconds", p.ApprovalTTL, time.Minute, 24*time.Hour)
	within(r, "pim.break_glass.duration_seconds", p.BreakGlass.Duration, time.Minute, time.Hour)
	if !isPlainPath(p.ElevationURL) {
		r.url("pim.elevation_url", p.ElevationURL, "a path such as /api/auth/elevate, or an https URL", false)
	}
	issuers := make(map[string]*Issuer, len(cfg.Issuers))
	for i := range cfg.Issuers {
		issuers[cfg.Issuers[i].Name] = &cfg.Issuers[i]
	}
	r.checkApprovers(p, issuers)
	r.checkProviderUsers(p, issuers)
	r.checkWebhooks(cfg)
	if r.oneOf("pim.provider", p.Provider, append([]string{"local"}, externalProviders()...)...) && !r.unread["pim.provider"] {
		r.checkProvider(cfg)
	}
}

func (r *report) checkApprovers(p *PIM, issuers map[string]*Issuer) {
	for i := range p.Approvers {
		a, path := &p.Approvers[i], fmt.Sprintf("pim.approvers[%d]", i)
		if issuer := r.issuerOf(path+".issuer", a.Issuer, issuers); issuer != nil && issuer.Claims.Person == "" {
			r.refuse(path+".issuer", "names no persons, so that an approver couldn't be told from a requester: set claims.person of issuer %s, to a claim that stays the same for one human whatever the client, such as sub or oid", a.Issuer)
		}
		if len(a.Roles) == 0 {
			r.refuse(path+".roles", "is missing: an approver has one of these roles")
		}
		r.unique(path+".roles", a.Roles)
	}
	if p.RequireApproval && slices.Contains(externalProviders(), p.Provider) {
		r.warn("pim.require_approval", "does nothing with the provider %s, which decides; calls of tools with requires_approval are always approved here", p.Provider)
	}
	r.checkPersons(p, issuers)
	switch {
	case len(p.Approvers) > 0:
	case p.RequireApproval:
		r.refuse("pim.approvers", "is missing: require_approval needs somebody who approves")
	case p.BreakGlass.Enabled:
		r.refuse("pim.approvers", "is missing: a break-glass grant always needs somebody who approves")
	}
}

// checkPersons warns where one human may be two persons: then nobody can tell an
// approver from a requester.
func (r *report) checkPersons(p *PIM, issuers map[string]*Issuer) {
	first := ""
	for i := range p.Approvers {
		if issuer := issuers[p.Approvers[i].Issuer]; issuer != nil {
			first = cmp.Or(first, issuer.Claims.Person)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(issuers)) {
		if person := issuers[name].Claims.Person; first != "" && person != "" && person != first {
			r.warn("pim.approvers", "issuer %s names persons by %s, others by %s: if the two have not the same values, a human with a token of each can approve an own request", name, person, first)
		}
	}
}

// issuerOf finds an issuer by its name.
func (r *report) issuerOf(path, name string, issuers map[string]*Issuer) *Issuer {
	if !r.required(path, name, "the name of an issuer") {
		return nil
	}
	if issuers[name] == nil {
		r.refuse(path, "is none of issuers: %q", clip(name))
	}
	return issuers[name]
}

func (r *report) checkProviderUsers(p *PIM, issuers map[string]*Issuer) {
	seen := make(map[string]string, len(p.Users))
	for i := range p.Users {
		u, path := &p.Users[i], fmt.Sprintf("pim.users[%d]", i)
		if r.issuerOf(path+".issuer", u.Issuer, issuers) != nil {
			if first, twice := seen[u.Issuer]; twice {
				r.refuse(path+".issuer", "is already the issuer of %s: remove one of them", first)
			}
			seen[u.Issuer] = path
		}
		r.checkUserClaim(path+".claim", u.Claim, p.Provider)
	}
	if slices.Contains(externalProviders(), p.Provider) && len(p.Users) == 0 {
		r.refuse("pim.users", "is missing: say for each issuer which claim holds the id that the provider %s knows a user by", p.Provider)
	}
}

// checkUserClaim warns of claims that lead to another user, or to none.
func (r *report) checkUserClaim(path, claim, provider string) {
	own := map[string]string{"azure_pim": "oid", "okta": "uid"}[provider]
	switch {
	case !r.required(path, claim, "the name of the claim that holds the user's id at the provider"):
	case !claimPattern.MatchString(claim):
		r.refuse(path, "must be the name of a claim, not %q", clip(claim))
	case slices.Contains([]string{"email", "preferred_username", "upn", "name", "nickname"}, claim):
		r.warn(path, "is %s, which users may be able to change: prefer an id", claim)
	case claim == "sub" && own != "":
		r.warn(path, "is sub, which is seldom the id that %s knows a user by: prefer %s", provider, own)
	}
}

func (r *report) checkWebhooks(cfg *Config) {
	if len(cfg.PIM.Webhooks) > maxWebhooks {
		r.refuse("pim.webhooks", "has %d entries: %d at most", len(cfg.PIM.Webhooks), maxWebhooks)
		return
	}
	seen := make(map[string]int)
	for i := range cfg.PIM.Webhooks {
		w, path := &cfg.PIM.Webhooks[i], fmt.Sprintf("pim.webhooks[%d]", i)
		if r.required(path+".url", w.URL, "the https URL that notices are sent to") {
			r.url(path+".url", w.URL, "an https URL", cfg.Development())
			if first, twice := seen[w.URL]; twice {
				r.refuse(path+".url", "is the same as pim.webhooks[%d].url: remove one of them", first)
			}
			seen[w.URL] = i
		}
		if len(w.KeyFiles) == 0 {
			r.refuse(path+".key_files", "is missing: notices are signed; write 32 random bytes in hex to a file below secrets_dir, such as by `openssl rand -hex 32`")
		}
		r.unique(path+".key_files", w.KeyFiles)
	}
}
