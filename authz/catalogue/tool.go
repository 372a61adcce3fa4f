package catalogue

import (
	"slices"
	"time"
)

// Tool is one entry of the catalogue: what a tool may do, and what a caller
// needs for it. It is compiled once, shared by all requests and never changed.
type Tool struct {
	Name        string
	Server      string // name of the server that offers the tool
	Description string
	Source      string // file:line of the entry

	Risk              Risk
	RequiresElevation bool     // always true for a privileged tool
	RequiresApproval  bool     // each call needs a second person's yes
	RequiredScopes    []string // all of them, in the order of the file
	Tier              Tier
	PIIPolicy         PIIPolicy
	MaxConcurrency    int           // calls at the same time; 0: no limit
	Timeout           time.Duration // for the upstream's answer
	Idempotency       Idempotency
	StepUp            StepUp
	Elevation         Elevation
	Conditions        []*Condition // all must hold
	Shadow            Shadow
	// RecordArguments names arguments whose values are in the audit trail, at the
	// top level of the call. Of all others there is only the fingerprint.
	RecordArguments []string

	schema     *schema // nil: arguments are not constrained
	conditions []program
}

// HasSchema reports whether the tool's arguments are constrained.
func (t *Tool) HasSchema() bool { return t.schema != nil }

// Idempotency says how calls with the same key are made one.
type Idempotency struct {
	Enabled   bool
	Required  bool // a call without a key is refused; false: a key is derived from the call
	OnUnknown OnUnknown
	TTL       time.Duration // how long a key is remembered
}

// StepUp is the login that a tool wants (RFC 9470). Its zero value wants none.
type StepUp struct {
	ACRValues []string      // any of them
	MaxAge    time.Duration // since the login; 0: any age
}

// Elevation is what the tool has of its own about elevations and approvals. Its zero
// value leaves everything to the configuration.
type Elevation struct {
	Longest       time.Duration // an elevation for the tool lasts no longer; 0: as configured
	ProviderRole  string        // the role at the external provider; empty: the tool's name
	ApproverRoles []string      // who approves for the tool, any of them; empty: as configured
}

// Shadow lists policies whose refusals are only recorded, up to a date. Its zero
// value shadows nothing.
type Shadow struct {
	Policies []string
	Until    time.Time // from this moment on everything is enforced
}

// Covers reports whether a refusal of the policy is only recorded at this time.
// It doesn't allocate.
func (s *Shadow) Covers(policy string, now time.Time) bool {
	return len(s.Policies) != 0 && now.Before(s.Until) && slices.Contains(s.Policies, policy)
}

// Limits of an entry's values.
const (
	defaultTimeout     = 30 * time.Second
	maxTimeout         = time.Hour
	maxMaxConcurrency  = 10_000
	defaultConcurrency = 10 // of write and privileged tools
	defaultTTL         = 24 * time.Hour
	maxTTL             = 168 * time.Hour
	maxStepUpAge       = 30 * 24 * time.Hour
	maxElevation       = 24 * time.Hour
	maxConditions      = 32
	maxScopes          = 64
	maxRecorded        = 16
	maxDescription     = 16 << 10
	maxTools           = 10_000
)

// Defaults replace, for all tools, what a tool gets by its risk level. Empty
// fields and zeros leave the default by risk level in place.
type Defaults struct {
	// RiskLevel is for entries without one; empty: an entry must have one.
	// "read" is refused, because a tool that nobody tagged would be open.
	RiskLevel string
	// RateLimitTier is permissive, standard or strict.
	RateLimitTier string
	// PIIPolicy is none, mask, redact or block.
	PIIPolicy string
	// MaxConcurrency is from 1 to 10000.
	MaxConcurrency int
	// IdempotencyOptional makes keys optional for tools that don't say
	// otherwise: a call without one gets a derived key.
	IdempotencyOptional bool
	// IdempotencyTTL is at most 168 h; 0: 24 h.
	IdempotencyTTL time.Duration
}
