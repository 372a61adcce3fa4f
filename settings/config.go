package settings

import "time"

// Config is the merged configuration: defaults, then the file, then the
// environment. It holds plain values; paths of files are absolute. A Config
// that came from Parse or Load is valid, and is only read afterwards.
//
// The tag yaml names the key; its option "one" accepts a single value for a
// list, "comma" a comma-separated one. The tag env names the environment
// variable where it isn't SALLYPORT_ with the key's path in capitals; "-" means
// that the key can be set in the file only. The tag file marks paths: cert,
// secret (must lie below secrets_dir), plain, dir, or path (not looked
// at).
type Config struct {
	// Version of this format; only 1 exists.
	Version int `yaml:"version" env:"-"`
	// Profile is "production" or "development". Development demands that every
	// listener is on loopback, and allows http issuers there; nothing else.
	Profile string `yaml:"profile"`
	// SecretsDir is the folder below which every file that holds a secret must
	// lie. Default /etc/sallyport/secrets.
	SecretsDir string `yaml:"secrets_dir" file:"path"`

	Listen            Listen            `yaml:"listen"`
	Log               Log               `yaml:"log"`
	Authentication    Authentication    `yaml:"authentication"`
	Issuers           []Issuer          `yaml:"issuers"`
	Servers           []Server          `yaml:"servers"`
	Tools             Tools             `yaml:"tools"`
	TransactionSafety TransactionSafety `yaml:"transaction_safety"`
	Redis             Redis             `yaml:"redis"`
	PIM               PIM               `yaml:"pim"`
	Audit             Audit             `yaml:"audit"`
	Database          Database          `yaml:"database"`
	Envoy             Envoy             `yaml:"envoy"`
}

// Development reports whether the loopback-only development profile is set.
func (c *Config) Development() bool { return c.Profile == "development" }

// Listen says where Sallyport listens.
type Listen struct {
	// GRPC is where Envoy calls Check: "ip:port" or "unix:/path". Default
	// 127.0.0.1:9001. Beyond loopback it needs TLS, or Plaintext.
	GRPC string `yaml:"grpc"`
	// HTTP serves Sallyport's own API and well-known documents, under the same
	// rules. Default 127.0.0.1:9002.
	HTTP string `yaml:"http"`
	// Ops serves metrics, health and profiles; loopback or a Unix socket only.
	// Default 127.0.0.1:9003.
	Ops string `yaml:"ops"`
	// TLS is mutual TLS for GRPC and HTTP: all three files, or none.
	TLS TLS `yaml:"tls"`
	// Plaintext is "i-know" to listen beyond loopback without TLS. It can be
	// said in the file only. Conflicts with TLS.
	Plaintext string `yaml:"plaintext" env:"-"`
	// Reflection switches gRPC server reflection on. Default false.
	Reflection bool `yaml:"reflection"`
	// ShutdownGrace is how long running requests may finish at the end, within
	// [1ms, 5m]. Default 10s.
	ShutdownGrace time.Duration `yaml:"shutdown_grace"`
}

// TLS names the PEM files of a TLS server.
type TLS struct {
	// CertFile is the certificate chain, leaf first.
	CertFile string `yaml:"cert_file" file:"cert"`
	// KeyFile is the private key of the leaf; a secret.
	KeyFile string `yaml:"key_file" file:"secret"`
	// ClientCAFile holds the authorities that client certificates must come
	// from.
	ClientCAFile string `yaml:"client_ca_file" file:"cert"`
}

// Enabled reports whether a certificate is set.
func (t TLS) Enabled() bool { return t.CertFile != "" }

// Log says what the process writes about itself, to standard error.
type Log struct {
	// Level is debug, info, warn or error. Default info.
	Level string `yaml:"level"`
	// Format is json or text. Default json.
	Format string `yaml:"format"`
}

// Authentication holds what applies to all issuers, and the oidc_ keys that
// edit the issuer named "default".
type Authentication struct {
	// OIDCEnabled can't be switched off, in no profile: no caller, no decision.
	OIDCEnabled bool `yaml:"oidc_enabled" env:"OIDC_ENABLED"`
	// OIDCIssuer is the issuer identifier (the iss claim) of the issuer named
	// "default", which is created if the list has none. Conflicts with another
	// value in the list.
	OIDCIssuer string `yaml:"oidc_issuer" env:"OIDC_ISSUER"`
	// OIDCAudience is the audience of servers that accept the issuer "default"
	// and set none. Empty: the server's resource.
	OIDCAudience string `yaml:"oidc_audience" env:"OIDC_AUDIENCE"`
	// OIDCJWKSURL is where the keys of the issuer "default" are. Empty: from
	// discovery.
	OIDCJWKSURL string `yaml:"oidc_jwks_url" env:"OIDC_JWKS_URL"`
	// OIDCRequiredScopes are needed for every request to every server. Default
	// empty, because tokens of machines have no openid scope.
	OIDCRequiredScopes []string `yaml:"oidc_required_scopes,comma" env:"OIDC_REQUIRED_SCOPES"`
	// OIDCJWKSCacheTTL is after which time key sets are fetched again, of every
	// issuer; within [1m, 24h]. Default 1h.
	OIDCJWKSCacheTTL time.Duration `yaml:"oidc_jwks_cache_ttl" env:"OIDC_JWKS_CACHE_TTL"`
	// ValidateIssuer can't be switched off, in no profile.
	ValidateIssuer bool `yaml:"validate_issuer" env:"TOKEN_VALIDATE_ISSUER"`
	// ValidateAudience can't be switched off, in no profile.
	ValidateAudience bool `yaml:"validate_audience" env:"TOKEN_VALIDATE_AUDIENCE"`
	// ValidateNonce binds the nonce of a token to that token, so that another
	// one with the same nonce is refused. Default true.
	ValidateNonce bool `yaml:"validate_nonce" env:"TOKEN_VALIDATE_NONCE"`
	// MaxTokenBytes is the longest token that is parsed, within [1024, 65536].
	// Default 16384.
	MaxTokenBytes int `yaml:"max_token_bytes"`
	// ClockSkew is forgiven for every claim that carries a time; at most 60s.
	// Default 30s.
	ClockSkew time.Duration `yaml:"clock_skew"`
	// RevocationsFile lists revoked tokens, subjects, clients and sessions; it
	// is watched. Empty: none.
	RevocationsFile string `yaml:"revocations_file" file:"plain"`
	// KeyCacheDir keeps the last good key sets over a restart. Empty: not kept.
	KeyCacheDir string `yaml:"key_cache_dir" file:"dir"`
}

// Tools says where the tool catalogue is, and what entries inherit from it.
type Tools struct {
	// Catalogue is one file or a list of files; watched.
	Catalogue []string `yaml:"catalogue,one" file:"plain"`
	// DefaultRiskLevel is write or privileged. Empty, the default: a tool must
	// say. "read" is refused: an untagged tool would be open.
	DefaultRiskLevel string `yaml:"default_risk_level"`
	// DefaultRateLimitTier is permissive, standard or strict. Empty: by risk.
	DefaultRateLimitTier string `yaml:"default_rate_limit_tier"`
	// DefaultPIIPolicy is none, mask, redact or block. Empty: by risk.
	DefaultPIIPolicy string `yaml:"default_pii_policy"`
	// DefaultMaxConcurrency is at most 1000. 0: by risk.
	DefaultMaxConcurrency int `yaml:"default_max_concurrency"`
	// Tiers are the rates that the tiers' names stand for.
	Tiers Tiers `yaml:"tiers"`
	// Shadow are the policies that only record, for all tools. It can be set in
	// the file only.
	Shadow Shadow `yaml:"shadow"`
}

// Tiers are the three rates, per caller and tool.
type Tiers struct {
	Permissive Rate `yaml:"permissive"` // default 600, 100
	Standard   Rate `yaml:"standard"`   // default 120, 20
	Strict     Rate `yaml:"strict"`     // default 12, 5
}

// Rate is an allowance that refills steadily.
type Rate struct {
	// PerMinute is how many calls come back in a minute, within [1, 60000].
	PerMinute int `yaml:"per_minute"`
	// Burst is how many calls may come at once, within [1, per_minute].
	Burst int `yaml:"burst"`
}

// Shadow says which policies record what they would have refused, and allow.
type Shadow struct {
	// Policies are of scopes, schema, conditions, rate_limit.
	Policies []string `yaml:"policies" env:"-"`
	// Until is when they refuse again: an RFC 3339 time, or a date, which is
	// shadowed to its end in UTC. Required with policies.
	Until time.Time `yaml:"until" env:"-"`
}

// TransactionSafety says how repeated writes are treated.
type TransactionSafety struct {
	// IdempotencyEnabled gives writes an idempotency key. Default true.
	IdempotencyEnabled bool `yaml:"idempotency_enabled" env:"IDEMPOTENCY_ENABLED"`
	// IdempotencyRequired demands the client's own key. Default true.
	IdempotencyRequired bool `yaml:"idempotency_required" env:"IDEMPOTENCY_REQUIRED"`
	// IdempotencyTTL is how long a key is remembered, within [1m, 168h].
	// Default 24h.
	IdempotencyTTL time.Duration `yaml:"idempotency_ttl_seconds" env:"IDEMPOTENCY_TTL_SECONDS"`
	// DerivedTTL is how long a key is remembered that was derived from a call
	// without one, within [10s, 24h]: the same call again in that time is taken
	// for a retry. Default 10m.
	DerivedTTL time.Duration `yaml:"derived_ttl_seconds"`
	// IdempotencyStoreType is memory or redis. Default: redis if redis.addresses
	// is set. In memory a restart forgets which requests were executed, and two
	// replicas know nothing of each other.
	IdempotencyStoreType string `yaml:"idempotency_store_type" env:"IDEMPOTENCY_STORE_TYPE"`
	// KeyFiles hold the keys that encrypt responses in Redis, the one in use
	// first: 32 bytes in hex or base64 each. Required for redis; secrets.
	KeyFiles []string `yaml:"key_files,comma" file:"secret"`
	// Lease is how long a claim holds while nobody renews it, within [3s, 5m]:
	// after a crash its outcome is unknown from then on. Default 30s.
	Lease time.Duration `yaml:"lease_seconds"`
	// MaxResponseBytes is the largest response that is kept for replays, within
	// [1024, 16777216]. Default 1048576.
	MaxResponseBytes int `yaml:"max_response_bytes"`
	// Replicas is how many Redis replicas must confirm a claim before the request
	// goes on, at most 8: all that a failover may promote. Default 0.
	Replicas int `yaml:"replicas"`
}

// Store says where the keys of writes are kept: memory, or redis.
func (t *TransactionSafety) Store(r *Redis) string {
	switch {
	case t.IdempotencyStoreType != "":
		return t.IdempotencyStoreType
	case len(r.Addresses) > 0:
		return "redis"
	}
	return "memory"
}

// Redis is what several replicas share: keys of writes, nonces and proofs,
// revocations, rate limits, slots and sessions. Without addresses all of it is
// kept in memory, for one replica.
type Redis struct {
	// Mode is single, sentinel or cluster.
	Mode string `yaml:"mode"`
	// Addresses are host:port, or unix:/path for a single server: of the server,
	// of the Sentinels, or of some nodes of the cluster.
	Addresses []string `yaml:"addresses,comma"`
	// MasterName is what the Sentinels call the server; sentinel only.
	MasterName string `yaml:"master_name"`
	// Username of the ACL; empty: the default user.
	Username string `yaml:"username"`
	// PasswordFile holds the password; a secret.
	PasswordFile string `yaml:"password_file" file:"secret"`
	// TLS encrypts and verifies. Servers that aren't on loopback need it, or
	// Plaintext.
	TLS RedisTLS `yaml:"tls"`
	// Plaintext is "i-know" to send what is in Redis over a network in the clear.
	// It can be said in the file only. Conflicts with TLS.
	Plaintext string `yaml:"plaintext" env:"-"`
	// Prefix is in front of every key, default sallyport: .
	Prefix string `yaml:"prefix"`
	// Timeout is how long one call may take, within [10ms, 1s]. Default 500ms.
	Timeout time.Duration `yaml:"timeout"`
}

// RedisTLS names the PEM files of a TLS client.
type RedisTLS struct {
	// CAFile holds the authorities of the servers' certificates.
	CAFile string `yaml:"ca_file" file:"cert"`
	// CertFile and KeyFile are the client's own; both or none.
	CertFile string `yaml:"cert_file" file:"cert"`
	KeyFile  string `yaml:"key_file" file:"secret"`
	// ServerName is the name in the servers' certificates. Default: the host of
	// each address.
	ServerName string `yaml:"server_name"`
}

// Envoy is what `sallyport envoy bootstrap` writes Envoy's configuration from.
type Envoy struct {
	// Listen is where clients connect: "ip:port". Default 127.0.0.1:10000.
	// Beyond loopback it needs TLS, or Plaintext.
	Listen string `yaml:"listen"`
	// Admin is Envoy's admin interface: loopback "ip:port" or "unix:/path".
	// Empty, the default: none.
	Admin string `yaml:"admin"`
	// TLS is for clients; ClientCAFile demands certificates from them. The
	// files are read by Envoy.
	TLS TLS `yaml:"tls"`
	// Plaintext is "i-know" to listen beyond loopback without TLS. It can be
	// said in the file only. Conflicts with TLS.
	Plaintext string `yaml:"plaintext" env:"-"`
	// MaxRequestBytes is the largest request body, within [1024, 16777216];
	// more is a 413. Default 1048576.
	MaxRequestBytes int `yaml:"max_request_bytes"`
	// CheckTimeout is how long Envoy waits for a decision, within [100ms, 30s].
	// Default 6s.
	CheckTimeout time.Duration `yaml:"check_timeout"`
	// XFFTrustedHops is how many proxies before Envoy append to
	// x-forwarded-for, within [0, 10]. Default 0.
	XFFTrustedHops int `yaml:"xff_trusted_hops"`
	// ReceiveTimeout is how long a client may take to send a request, within [1s,
	// 10m]. Default 15s.
	ReceiveTimeout time.Duration `yaml:"receive_timeout"`
	// RequestTimeout is how long a REST upstream may take unless the tool says
	// otherwise, within [1s, 1h]. Default 60s.
	RequestTimeout time.Duration `yaml:"request_timeout"`
	// MaxConnections bounds the clients' open connections, within [1, 1000000].
	// Default 10000.
	MaxConnections int `yaml:"max_connections"`
	// MaxHeapBytes is how large Envoy's heap may grow before it refuses and resets
	// requests, within [67108864, 68719476736] and no less than eight requests of
	// MaxRequestBytes. Default 1073741824.
	MaxHeapBytes int `yaml:"max_heap_bytes"`
	// ServiceTLS is Envoy's side of listen.tls. `envoy bootstrap` needs it then.
	ServiceTLS ServiceTLS `yaml:"service_tls"`
}

// ServiceTLS is how Envoy proves to Sallyport who it is, and knows Sallyport.
// The files are read by Envoy.
type ServiceTLS struct {
	// CAFile holds the authorities that listen.tls.cert_file must come from.
	CAFile string `yaml:"ca_file" file:"cert"`
	// CertFile is Envoy's certificate, from an authority of
	// listen.tls.client_ca_file.
	CertFile string `yaml:"cert_file" file:"cert"`
	// KeyFile is its private key; a secret.
	KeyFile string `yaml:"key_file" file:"secret"`
	// ServerName is the name in listen.tls.cert_file: a DNS name, an IP address
	// or a spiffe:// URI. Default: the host of listen.grpc and listen.http;
	// required for Unix sockets.
	ServerName string `yaml:"server_name"`
}

// defaults is the lowest layer.
func defaults() Config {
	return Config{ //nolint:gosec // SecretsDir is where secrets are, not one
		Profile:    "production",
		SecretsDir: "/etc/sallyport/secrets",
		Listen:     Listen{GRPC: "127.0.0.1:9001", HTTP: "127.0.0.1:9002", Ops: "127.0.0.1:9003", ShutdownGrace: 10 * time.Second},
		Log:        Log{Level: "info", Format: "json"},
		Authentication: Authentication{
			OIDCEnabled: true, OIDCJWKSCacheTTL: time.Hour,
			ValidateIssuer: true, ValidateAudience: true, ValidateNonce: true,
			MaxTokenBytes: 16384, ClockSkew: 30 * time.Second,
		},
		Tools: Tools{Tiers: Tiers{
			Permissive: Rate{PerMinute: 600, Burst: 100},
			Standard:   Rate{PerMinute: 120, Burst: 20},
			Strict:     Rate{PerMinute: 12, Burst: 5},
		}},
		TransactionSafety: TransactionSafety{
			IdempotencyEnabled: true, IdempotencyRequired: true, IdempotencyTTL: 24 * time.Hour,
			DerivedTTL: 10 * time.Minute, Lease: 30 * time.Second, MaxResponseBytes: 1 << 20,
		},
		Redis: Redis{Mode: "single", Prefix: "sallyport:", Timeout: 500 * time.Millisecond},
		PIM: PIM{
			Enabled: true, Provider: "local", ElevationDuration: time.Hour, ElevationURL: "/api/auth/elevate",
			RequireReason: true, RequestTTL: 8 * time.Hour, ApprovalTTL: 15 * time.Minute, Timeout: 5 * time.Second,
			BreakGlass: BreakGlass{Duration: 15 * time.Minute},
		},
		Audit: Audit{
			Dir: "/var/lib/sallyport/audit", Origin: "sallyport/audit", JournalMaxBytes: 4 << 30, WhenFull: "refuse",
			BatchInterval: 2 * time.Second, HeartbeatInterval: time.Minute, UnauthenticatedPerSecond: 5, Layout: "hybrid",
			S3Region: "ap-south-1", S3ObjectLockMode: "GOVERNANCE", S3RetentionDays: 365, DualWrite: true,
		},
		Database: Database{Driver: "sqlite", Migrations: "apply", File: "/var/lib/sallyport/sallyport.db", MaxConnections: 10},
		Envoy: Envoy{
			Listen: "127.0.0.1:10000", MaxRequestBytes: 1 << 20,
			CheckTimeout: 6 * time.Second, ReceiveTimeout: 15 * time.Second, RequestTimeout: time.Minute,
			MaxConnections: 10_000, MaxHeapBytes: 1 << 30,
		},
	}
}
