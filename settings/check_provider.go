package settings

import (
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	idPattern     = regexp.MustCompile(`^[\x21-\x7E]{1,255}$`)
	tenantPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$`)
	titlePattern  = regexp.MustCompile(`^\S(.{0,126}\S)?$`)
)

// externalProviders are all values of pim.provider but local.
func externalProviders() []string { return []string{"generic", "azure_pim", "okta", "cyberark"} }

// checkProvider checks how the provider is asked, and that nothing is written for
// another one, which would be taken for protection.
func (r *report) checkProvider(cfg *Config) {
	p := &cfg.PIM
	r.checkOtherProviders(p)
	if !p.External() {
		r.checkNoProvider(p)
		return
	}
	if within(r, "pim.timeout", p.Timeout, 100*time.Millisecond, 10*time.Second) && p.Timeout >= cfg.Envoy.CheckTimeout {
		r.refuse("pim.timeout", "is %s, and Envoy waits for a decision for envoy.check_timeout only, %s: make it less", brief(p.Timeout), brief(cfg.Envoy.CheckTimeout))
	}
	switch p.Provider {
	case "generic":
		if r.required("pim.pam_endpoint", p.PAMEndpoint, "the URL that /check-elevation is appended to") {
			r.baseURL("pim.pam_endpoint", p.PAMEndpoint, cfg.Development())
		}
	case "azure_pim":
		r.checkAzurePIM(cfg)
	case "okta":
		r.checkOkta(cfg)
	case "cyberark":
		r.checkCyberArk(cfg)
	}
}

// checkNoProvider is for what only matters with an external provider.
func (r *report) checkNoProvider(p *PIM) {
	for _, f := range []struct {
		key string
		set bool
	}{{"pam_endpoint", p.PAMEndpoint != ""}, {"users", len(p.Users) > 0}, {"break_glass.enabled", p.BreakGlass.Enabled}} {
		if f.set {
			r.refuse("pim."+f.key, "does nothing with the provider local: remove it, or set pim.provider to %s", orList(externalProviders()))
		}
	}
}

// checkOtherProviders refuses keys of providers that aren't chosen.
func (r *report) checkOtherProviders(p *PIM) {
	for _, section := range []struct {
		provider string
		keys     any
	}{{"generic", p.Generic}, {"azure_pim", p.AzurePIM}, {"okta", p.Okta}, {"cyberark", p.CyberArk}} {
		if section.provider == p.Provider {
			continue
		}
		leaves(reflect.ValueOf(section.keys), "pim."+section.provider, func(l leaf) {
			if !l.value.IsZero() {
				r.refuse(l.path, "does nothing with the provider %s: remove it, or set pim.provider to %s", p.Provider, section.provider)
			}
		})
	}
}

func (r *report) checkAzurePIM(cfg *Config) {
	a := &cfg.PIM.AzurePIM
	if cfg.PIM.PAMEndpoint != "" {
		r.baseURL("pim.pam_endpoint", cfg.PIM.PAMEndpoint, cfg.Development())
	}
	if a.Authority != "" {
		r.hostURL("pim.azure_pim.authority", a.Authority, "https://login.microsoftonline.com", cfg.Development())
	}
	switch tenant := strings.ToLower(a.Tenant); {
	case !r.required("pim.azure_pim.tenant", tenant, "the id or a domain of your tenant"):
	case slices.Contains([]string{"common", "organizations", "consumers"}, tenant):
		r.refuse("pim.azure_pim.tenant", "is %s, which stands for several tenants: write the id or a domain of yours", tenant)
	case !tenantPattern.MatchString(tenant):
		r.refuse("pim.azure_pim.tenant", "must be the id or a domain of your tenant, not %q", clip(a.Tenant))
	}
	r.id("pim.azure_pim.client_id", a.ClientID, "the id of the application that asks")
	r.pageURL("pim.azure_pim.portal_url", a.PortalURL)
	switch {
	case a.TicketSystem == "":
	case !a.AdminAssign:
		r.refuse("pim.azure_pim.ticket_system", "does nothing without admin_assign: remove it")
	case !titlePattern.MatchString(a.TicketSystem):
		r.refuse("pim.azure_pim.ticket_system", "must be at most 128 characters without spaces around them, not %q", clip(a.TicketSystem))
	}
	switch secret, key, certificate := a.ClientSecretFile != "", a.KeyFile != "", a.CertificateFile != ""; {
	case secret && (key || certificate):
		r.refuse("pim.azure_pim.client_secret_file", "conflicts with key_file and certificate_file: remove this, or both of them")
	case !secret && !key && !certificate:
		r.refuse("pim.azure_pim.client_secret_file", "is missing, and so is key_file: name the file with the application's secret, or its key_file and certificate_file")
	case !secret && !key:
		r.refuse("pim.azure_pim.key_file", "is missing: name the key of certificate_file")
	case !secret && !certificate:
		r.refuse("pim.azure_pim.certificate_file", "is missing: Entra ID knows the key in key_file by its certificate")
	}
}

func (r *report) checkOkta(cfg *Config) {
	o := &cfg.PIM.Okta
	if r.required("pim.pam_endpoint", cfg.PIM.PAMEndpoint, "the URL of your organisation, such as https://example.okta.com") {
		r.hostURL("pim.pam_endpoint", cfg.PIM.PAMEndpoint, "https://example.okta.com", cfg.Development())
	}
	r.id("pim.okta.client_id", o.ClientID, "the id of the service application that asks")
	r.id("pim.okta.key_id", o.KeyID, "the id (kid) that Okta shows for the key")
	r.required("pim.okta.key_file", o.KeyFile, "the file with the application's private key, below secrets_dir")
	r.pageURL("pim.okta.portal_url", o.PortalURL)
	if o.JustificationField != "" {
		r.id("pim.okta.justification_field", o.JustificationField, "the id of a field")
	}
}

// id checks what a provider calls something.
func (r *report) id(path, value, what string) {
	if r.required(path, value, what) && !idPattern.MatchString(value) {
		r.refuse(path, "must be %s, of visible ASCII characters, not %q", what, clip(value))
	}
}

// askedURL checks a URL that a provider is asked at.
func (r *report) askedURL(path, text string, development bool) *url.URL {
	u := r.url(path, text, "an https URL", development)
	if u != nil && u.Scheme == "http" && strings.EqualFold(u.Hostname(), "localhost") {
		r.refuse(path, "must have an address instead of localhost, such as 127.0.0.1: what a name leads to can change")
		return nil
	}
	return u
}

// baseURL checks a URL that paths are appended to.
func (r *report) baseURL(path, text string, development bool) *url.URL {
	u := r.askedURL(path, text, development)
	if u != nil && (u.RawQuery != "" || u.ForceQuery) {
		r.refuse(path, "has a query: remove it, because paths are appended to this URL")
		return nil
	}
	return u
}

// hostURL checks a URL that whole paths are appended to.
func (r *report) hostURL(path, text, example string, development bool) {
	if u := r.baseURL(path, text, development); u != nil && u.Path != "" && u.Path != "/" {
		r.refuse(path, "has a path: write the scheme and the host only, such as %s", example)
	}
}

// pageURL checks the URL of a page that people open, whose place may be behind a #.
func (r *report) pageURL(path, text string) {
	if text == "" {
		return
	}
	if u, err := url.Parse(text); err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		r.refuse(path, "must be the https URL of a page, without a user")
	}
}
