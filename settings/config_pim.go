package settings

import "time"

// PIM says how callers come to call privileged tools, and tools whose calls need an
// approval.
type PIM struct {
	// Enabled false refuses those tools, whatever a token claims. Default true.
	Enabled bool `yaml:"enabled" env:"PIM_ENABLED"`
	// Provider says who is elevated, besides tokens that claim it: local (requests that
	// are granted here), generic, azure_pim, okta or cyberark. Default local.
	Provider string `yaml:"provider" env:"PIM_PROVIDER"`
	// PAMEndpoint is the base URL of the provider generic, okta (the organisation) or
	// cyberark; https, or http on loopback in the profile development. azure_pim has a
	// default.
	PAMEndpoint string `yaml:"pam_endpoint" env:"PAM_ENDPOINT"`
	// ElevationDuration is how long an elevation lasts at most, within [1m,
	// 24h]. Default 1h.
	ElevationDuration time.Duration `yaml:"elevation_duration_seconds" env:"ELEVATION_DURATION_SECONDS"`
	// ElevationURL is told to callers without an elevation: a path on this
	// host or an https URL. Default /api/auth/elevate.
	ElevationURL string `yaml:"elevation_url"`
	// RequireApproval makes an elevation wait for a second person. Default false: who
	// has a tool's scopes and a reason is elevated at once, for a limited time.
	RequireApproval bool `yaml:"require_approval" env:"ELEVATION_REQUIRE_APPROVAL"`
	// RequireReason demands a reason with every request. Default true.
	RequireReason bool `yaml:"require_reason" env:"ELEVATION_REQUIRE_REASON"`
	// RequestTTL is how long a request waits for its decision, within [1m, 168h].
	// Default 8h.
	RequestTTL time.Duration `yaml:"request_ttl_seconds"`
	// ApprovalTTL is how long an approved call waits for its execution, within [1m,
	// 24h]. Default 15m.
	ApprovalTTL time.Duration `yaml:"approval_ttl_seconds"`
	// Approvers decide about requests, never about their own.
	Approvers []Approvers `yaml:"approvers"`
	// Users are the issuers whose callers the external provider knows; required with
	// one.
	Users []ProviderUsers `yaml:"users"`
	// Timeout is how long a caller waits for the external provider, within [100ms,
	// 10s], less than envoy.check_timeout. Default 5s.
	Timeout time.Duration `yaml:"timeout"`
	// BreakGlass lets approved local grants count while the external provider fails.
	BreakGlass BreakGlass `yaml:"break_glass"`
	// Webhooks are told of requests.
	Webhooks []Webhook `yaml:"webhooks"`

	Generic  GenericProvider  `yaml:"generic"`
	AzurePIM AzurePIMProvider `yaml:"azure_pim"`
	Okta     OktaProvider     `yaml:"okta"`
	CyberArk CyberArkProvider `yaml:"cyberark"`
}

// External reports whether a provider outside says who is elevated.
func (p *PIM) External() bool { return p.Provider != "local" }

// Approvers are persons of one issuer with one of these roles. The issuer must name
// its persons (issuers[].claims.person): nobody else could be told from a requester.
type Approvers struct {
	Issuer string   `yaml:"issuer"` // name
	Roles  []string `yaml:"roles"`  // any of them; a tool's elevation.approver_roles take their place
}

// ProviderUsers says how the external provider knows the callers of one issuer.
type ProviderUsers struct {
	Issuer string `yaml:"issuer"` // name
	// Claim holds the user's id there: oid for azure_pim, uid for okta. Never one that
	// users can change.
	Claim string `yaml:"claim"`
}

// BreakGlass is what is left while the external provider fails.
type BreakGlass struct {
	// Enabled defaults to false.
	Enabled bool `yaml:"enabled"`
	// Duration is how long such a grant lasts at most, within [1m, 1h]. Default 15m.
	Duration time.Duration `yaml:"duration_seconds"`
}

// Webhook is an endpoint that is told of requests, signed as Standard Webhooks says.
type Webhook struct {
	// URL is https, or http on loopback in the profile development.
	URL string `yaml:"url"`
	// KeyFiles hold the keys that sign, all of them at once: 32 bytes in hex or base64
	// each. Secrets.
	KeyFiles []string `yaml:"key_files" file:"secret"`
}

// GenericProvider is a service that answers check-elevation.
type GenericProvider struct{}

// AzurePIMProvider is Microsoft Entra PIM.
type AzurePIMProvider struct{}

// OktaProvider is Okta Identity Governance.
type OktaProvider struct{}

// CyberArkProvider is one of CyberArk's products.
type CyberArkProvider struct{}
