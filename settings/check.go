package settings

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// check looks at the merged values, each by itself and against the others.
func (r *report) check(cfg *Config, now time.Time) {
	if cfg.Version != 1 {
		r.refuse("version", "must be 1, the version of this format: write `version: 1`")
	}
	r.oneOf("profile", cfg.Profile, "production", "development")
	r.required("secrets_dir", cfg.SecretsDir, "the folder below which private keys lie")
	r.checkListeners(cfg)
	r.oneOf("log.level", cfg.Log.Level, "debug", "info", "warn", "error")
	r.oneOf("log.format", cfg.Log.Format, "json", "text")
	r.checkAuthentication(&cfg.Authentication)
	r.checkIssuers(cfg)
	r.checkServers(cfg)
	r.checkTools(&cfg.Tools, now)
	r.checkTransactionSafety(cfg)
	r.checkRedis(cfg)
	r.checkPIM(cfg)
	r.checkAudit(cfg)
	r.checkDatabase(cfg)
	r.checkEnvoy(&cfg.Envoy)
}

func (r *report) checkAuthentication(a *Authentication) {
	closed := func(key string, on bool, why string) {
		if !on {
			r.refuse("authentication."+key, "can't be switched off, not even in the development profile: %s; remove it or set true", why)
		}
	}
	closed("oidc_enabled", a.OIDCEnabled, "without a caller there is no decision")
	closed("validate_issuer", a.ValidateIssuer, "anybody's tokens would be accepted")
	closed("validate_audience", a.ValidateAudience, "tokens for other services would be accepted")
	if !a.ValidateNonce {
		r.warn("authentication.validate_nonce", "is off: a second token with the nonce of another one is accepted")
	}
	r.scopes("authentication.oidc_required_scopes", a.OIDCRequiredScopes)
	within(r, "authentication.oidc_jwks_cache_ttl", a.OIDCJWKSCacheTTL, time.Minute, 24*time.Hour)
	within(r, "authentication.max_token_bytes", a.MaxTokenBytes, 1024, 65536)
	within(r, "authentication.clock_skew", a.ClockSkew, 0, time.Minute)
}

func (r *report) checkTools(t *Tools, now time.Time) {
	if len(t.Catalogue) == 0 {
		r.refuse("tools.catalogue", "is missing: name the file that lists the tools; a tool that isn't listed is refused")
	}
	r.unique("tools.catalogue", t.Catalogue)
	if t.DefaultRiskLevel == "read" {
		r.refuse("tools.default_risk_level", "can't be read, because a tool that nobody looked at would be open: use write or privileged, or remove it")
	} else if t.DefaultRiskLevel != "" {
		r.oneOf("tools.default_risk_level", t.DefaultRiskLevel, "write", "privileged")
	}
	if t.DefaultRateLimitTier != "" {
		r.oneOf("tools.default_rate_limit_tier", t.DefaultRateLimitTier, "permissive", "standard", "strict")
	}
	if t.DefaultPIIPolicy != "" {
		r.oneOf("tools.default_pii_policy", t.DefaultPIIPolicy, "none", "mask", "redact", "block")
	}
	within(r, "tools.default_max_concurrency", t.DefaultMaxConcurrency, 0, 1000)
	r.checkRate("tools.tiers.permissive", t.Tiers.Permissive)
	r.checkRate("tools.tiers.standard", t.Tiers.Standard)
	r.checkRate("tools.tiers.strict", t.Tiers.Strict)
	r.checkShadow(t.Shadow, now)
}

func (r *report) checkRate(path string, rate Rate) {
	if within(r, path+".per_minute", rate.PerMinute, 1, 60_000) {
		within(r, path+".burst", rate.Burst, 1, rate.PerMinute)
	}
}

// checkShadow lets an end that has passed be: the policies refuse again, and a
// restart must not fail because of the date.
func (r *report) checkShadow(s Shadow, now time.Time) {
	for i, policy := range s.Policies {
		path := fmt.Sprintf("tools.shadow.policies[%d]", i)
		if policy == "waf" || policy == "screening" {
			r.refuse(path, "the policy %s is not available in this version: remove it", policy)
			continue
		}
		r.oneOf(path, policy, "scopes", "schema", "conditions", "rate_limit")
	}
	r.unique("tools.shadow.policies", s.Policies)
	list := strings.Join(s.Policies, ", ")
	switch {
	case len(s.Policies) > 0 && s.Until.IsZero():
		r.refuse("tools.shadow.until", "is missing: set the date after which %s refuse again", clip(list))
	case len(s.Policies) == 0 && !s.Until.IsZero():
		r.refuse("tools.shadow.policies", "is missing: until alone has no effect; name the policies, or remove the section")
	case len(s.Policies) == 0:
	case !s.Until.After(now):
		r.warn("tools.shadow.until", "has passed on %s: the policies refuse again; remove the section", s.Until.Format(time.RFC3339))
	default:
		r.warn("tools.shadow", "until %s these policies only record what they would refuse: %s", s.Until.Format(time.RFC3339), clip(list))
	}
}

func (r *report) checkEnvoy(e *Envoy) {
	within(r, "envoy.max_request_bytes", e.MaxRequestBytes, 1024, 16<<20)
	within(r, "envoy.check_timeout", e.CheckTimeout, 100*time.Millisecond, 30*time.Second)
	within(r, "envoy.request_timeout", e.RequestTimeout, time.Second, time.Hour)
	within(r, "envoy.receive_timeout", e.ReceiveTimeout, time.Second, 10*time.Minute)
	within(r, "envoy.max_connections", e.MaxConnections, 1, 1_000_000)
	if heap := within(r, "envoy.max_heap_bytes", e.MaxHeapBytes, 64<<20, 64<<30); heap && e.MaxHeapBytes < 8*e.MaxRequestBytes {
		r.refuse("envoy.max_heap_bytes", "%d is less than eight requests of max_request_bytes: raise it", e.MaxHeapBytes)
	}
	within(r, "envoy.xff_trusted_hops", e.XFFTrustedHops, 0, 10)
}

// The checks of single values. Each says what is accepted.

// within reports whether the value lies within the bounds, both included.
func within[T int | time.Duration](r *report, path string, value, low, high T) bool {
	if value < low || value > high {
		r.refuse(path, "must be within %s and %s, not %s", brief(low), brief(high), brief(value))
		return false
	}
	return true
}

// brief writes 1h instead of 1h0m0s.
func brief(value any) string {
	text := fmt.Sprint(value)
	if rest, ok := strings.CutSuffix(text, "m0s"); ok {
		text = rest + "m"
	}
	if rest, ok := strings.CutSuffix(text, "h0m"); ok {
		text = rest + "h"
	}
	return text
}

func (r *report) required(path, value, what string) bool {
	if value == "" {
		r.refuse(path, "is missing: write %s", what)
		return false
	}
	return true
}

func (r *report) oneOf(path, value string, options ...string) bool {
	if slices.Contains(options, value) {
		return true
	}
	r.refuse(path, "must be %s, not %q", orList(options), clip(value))
	return false
}

// unique refuses values that are there twice.
func (r *report) unique(path string, values []string) {
	seen := make(map[string]int, len(values))
	for i, value := range values {
		first, twice := seen[value]
		switch {
		case value == "":
			r.refuse(fmt.Sprintf("%s[%d]", path, i), "is empty: write a value or remove the entry")
		case !twice:
			seen[value] = i
		default:
			r.refuse(fmt.Sprintf("%s[%d]", path, i), "is the same as %s[%d]: remove one of them", path, first)
		}
	}
}

// each refuses values of another form than the pattern's, and doubles.
func (r *report) each(path string, values []string, pattern *regexp.Regexp, form string) {
	r.unique(path, values)
	for i, value := range values {
		if value != "" && !pattern.MatchString(value) {
			r.refuse(fmt.Sprintf("%s[%d]", path, i), "must be %s, not %q", form, clip(value))
		}
	}
}

var (
	namePattern  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	scopePattern = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]+$`) // RFC 6749 §3.3
)

// nameForm is what a name of an issuer, a server or a tier looks like.
const nameForm = "lower-case letters, digits, - and _, at most 63"

// CheckName reports why a name can't be one of a configuration.
func CheckName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("must be %s, not %q", nameForm, clip(name))
	}
	return nil
}

func (r *report) scopes(path string, values []string) {
	r.each(path, values, scopePattern, `one scope without spaces, quotes and \`)
}

// name checks a name that others refer to, and that no other entry has it.
func (r *report) name(path, name string, taken map[string]string) {
	if !r.required(path, name, "a name of lower-case letters, digits, - and _") {
		return
	}
	if err := CheckName(name); err != nil {
		r.refuse(path, "%v", err)
		return
	}
	if first, ok := taken[name]; ok {
		r.refuse(path, "%q is already the name of %s: choose another one", name, first)
		return
	}
	taken[name] = parent(path)
}

// orList joins "a", "b" and "c" to "a, b or c".
func orList(options []string) string {
	if len(options) == 1 {
		return options[0]
	}
	last := len(options) - 1
	return strings.Join(options[:last], ", ") + " or " + options[last]
}
