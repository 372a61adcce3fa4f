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
type GenericProvider struct {
	// TokenFile holds the bearer token that it is asked with; it may be replaced at any
	// time. A secret. Empty: none is sent.
	TokenFile string `yaml:"token_file" file:"secret"`
	// CAFile holds the only authorities that are trusted. Empty: the system's.
	CAFile string `yaml:"ca_file" file:"cert"`
}

// AzurePIMProvider is Privileged Identity Management of Microsoft Entra ID. A role is
// directory/ROLE (and /SCOPE), or group/GROUP/member or group/GROUP/owner, with ids.
type AzurePIMProvider struct {
	// Tenant is its id or domain.
	Tenant string `yaml:"tenant"`
	// ClientID is the application that asks.
	ClientID string `yaml:"client_id"`
	// ClientSecretFile holds the application's secret. Conflicts with KeyFile.
	ClientSecretFile string `yaml:"client_secret_file" file:"secret"`
	// KeyFile and CertificateFile are the application's certificate.
	KeyFile         string `yaml:"key_file" file:"secret"`
	CertificateFile string `yaml:"certificate_file" file:"cert"`
	// Authority is where tokens come from. Default https://login.microsoftonline.com.
	Authority string `yaml:"authority"`
	CAFile    string `yaml:"ca_file" file:"cert"`
	// PortalURL is where people activate their roles. Default: Entra's own pages.
	PortalURL string `yaml:"portal_url"`
	// Standing also counts assignments that nobody had to activate. Default false.
	Standing bool `yaml:"standing"`
	// AdminAssign files requests as an administrator: the user gets the role for a time
	// without eligibility, multi-factor authentication or approval there. Default false:
	// users activate their roles in the portal.
	AdminAssign bool `yaml:"admin_assign"`
	// TicketSystem marks the requests that are filed from here. Default sallyport.
	TicketSystem string `yaml:"ticket_system"`
}

// OktaProvider is Okta Identity Governance.
type OktaProvider struct {
	// ClientID is the service application that asks.
	ClientID string `yaml:"client_id"`
	// KeyFile is its private key, in PEM.
	KeyFile string `yaml:"key_file" file:"secret"`
	// KeyID is what Okta calls the key.
	KeyID  string `yaml:"key_id"`
	CAFile string `yaml:"ca_file" file:"cert"`
	// Grants looks at grants of entitlements instead of at access requests.
	Grants bool `yaml:"grants"`
	// Standing also counts access that has no end. Default false.
	Standing bool `yaml:"standing"`
	// FixedDuration leaves the duration out of requests, where the requester can't choose
	// one.
	FixedDuration bool `yaml:"fixed_duration"`
	// JustificationField is the id of the field that takes the reason.
	JustificationField string `yaml:"justification_field"`
	// PortalURL is where people see their requests.
	PortalURL string `yaml:"portal_url"`
}

// CyberArkProvider is one of CyberArk's products. It is asked with a logon (pvwa), with
// OAuth client credentials, or with a bearer token.
type CyberArkProvider struct {
	// Product is pvwa (dual control of the vault), uar (Access Requests), sca (Secure
	// Cloud Access), or template: another one, as TemplateFile describes it.
	Product string `yaml:"product"`
	// TemplateFile says what is asked, and how answers are understood.
	TemplateFile string `yaml:"template_file" file:"plain"`
	CAFile       string `yaml:"ca_file" file:"cert"`
	// LogonUser, LogonMethod (CyberArk, LDAP or RADIUS; default CyberArk) and
	// PasswordFile are for pvwa.
	LogonUser    string `yaml:"logon_user"`
	LogonMethod  string `yaml:"logon_method"`
	PasswordFile string `yaml:"password_file" file:"secret"`
	// TokenURL, ClientID and ClientSecretFile are for uar and sca.
	TokenURL         string `yaml:"token_url"`
	ClientID         string `yaml:"client_id"`
	ClientSecretFile string `yaml:"client_secret_file" file:"secret"`
	// TokenFile holds a bearer token, in the place of all of these.
	TokenFile string `yaml:"token_file" file:"secret"`
	// OwnUser, of pvwa and uar, is the name there of the user who asks: only that user is
	// asked about, and files requests. Empty: users file their own, and the user who asks
	// approves them.
	OwnUser string `yaml:"own_user"`
	// TargetCategory, RequestType, LocationType and RoleField are the tenant's form of
	// requests, of uar. Defaults CLOUD_CONSOLE, ON_DEMAND, Azure, roleId.
	TargetCategory string `yaml:"target_category"`
	RequestType    string `yaml:"request_type"`
	LocationType   string `yaml:"location_type"`
	// RoleField, of sca, is where a session has its role; EndField its end, EvidenceField
	// its id. Cloud is AWS, AZURE or GCP; empty: all.
	RoleField     string `yaml:"role_field"`
	EndField      string `yaml:"end_field"`
	EvidenceField string `yaml:"evidence_field"`
	Cloud         string `yaml:"cloud"`
}
