package settings

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// everything is a Config with one of each, for a walk over all keys.
func everything() *Config {
	return &Config{
		Issuers: []Issuer{{}},
		Servers: []Server{{MCP: &MCP{}, REST: &REST{Routes: []Route{{}}}}},
		PIM:     PIM{Approvers: []Approvers{{}}, Users: []ProviderUsers{{}}, Webhooks: []Webhook{{}}},
	}
}

const invisible = `"a\x01b"`

// values has for each key what is accepted and what isn't, as YAML. with sets
// other keys that the values need.
func values() map[string]struct {
	with map[string]string
	good []string
	bad  []string
} {
	type row = struct {
		with map[string]string
		good []string
		bad  []string
	}
	boolean := []string{"1", "yes", `"true"`, "[]", "maybe"}
	text := []string{"7", "true", "[a]", "{a: b}", "1.5", invisible, `"-----BEGIN X-----"`, `"` + strings.Repeat("x", 4097) + `"`}
	scopes := []string{"[a b]", `['a"b']`, "[a, a]", "['']", "[[a]]", "{}", "[" + invisible + "]"}
	unique := []string{"[a, a]", "['']", "[null]", "{}", "[7]"}
	tls := map[string]string{
		"listen.tls":        "{cert_file: /s/c, key_file: /s/k, client_ca_file: /s/a}",
		"envoy.service_tls": "{ca_file: /s/a, cert_file: /s/e, key_file: /s/f}",
		"secrets_dir":       "/s",
	}
	redis := map[string]string{
		"redis":              "{addresses: ['127.0.0.1:6379'], username: u, password_file: /s/p}",
		"transaction_safety": "{key_files: [/s/k]}",
		"secrets_dir":        "/s",
	}
	sentinel := map[string]string{
		"redis":              "{mode: sentinel, addresses: ['127.0.0.1:26379'], master_name: m}",
		"transaction_safety": "{key_files: [/s/k]}",
		"secrets_dir":        "/s",
	}
	redisTLS := map[string]string{
		"redis":              "{addresses: ['a:6379'], tls: {ca_file: /s/a, cert_file: /s/c, key_file: /s/k}}",
		"transaction_safety": "{key_files: [/s/k]}",
		"secrets_dir":        "/s",
	}
	envoyTLS := map[string]string{"envoy.tls": "{cert_file: /s/c, key_file: /s/k}", "secrets_dir": "/s"}
	s3 := map[string]string{"secrets_dir": "/s", "audit": "{s3_enabled: true, s3_bucket: abc, signing_key_files: [/s/a]}"}
	credentials := map[string]string{"secrets_dir": "/s", "audit": "{s3_enabled: true, s3_bucket: abc, signing_key_files: [/s/a], s3_access_key_file: /s/x, s3_secret_key_file: /s/y}"}
	postgres := map[string]string{"secrets_dir": "/s", "database": "{driver: postgres, url: postgres://u@127.0.0.1/d}"}
	shadow := map[string]string{"tools.shadow": "{policies: [schema], until: 2026-07-01}"}
	rest := map[string]string{"servers[0].mcp": "null", "servers[0].rest": "{routes: [{method: GET, path: /a, tool: t}]}"}
	secure := map[string]string{"servers[0].upstream": "{address: 'a:1', tls: true, ca_file: a}"}
	// of provides a provider with the keys of its section.
	of := func(provider, keys string) map[string]string {
		return map[string]string{
			"secrets_dir": "/s",
			"pim":         "{provider: " + provider + ", pam_endpoint: 'https://pam.example.com', users: [{issuer: staff, claim: id}], " + provider + ": {" + keys + "}}",
		}
	}
	generic := of("generic", "")
	azure := of("azure_pim", "tenant: example.com, client_id: c, client_secret_file: /s/a")
	assigned := of("azure_pim", "tenant: example.com, client_id: c, client_secret_file: /s/a, admin_assign: true")
	certificate := of("azure_pim", "tenant: example.com, client_id: c, key_file: /s/a, certificate_file: a")
	okta := of("okta", "client_id: c, key_file: /s/a, key_id: k")
	logon := of("cyberark", "product: pvwa, logon_user: u, password_file: /s/a")
	client := of("cyberark", "product: uar, token_url: 'https://a.example.com', client_id: c, client_secret_file: /s/a")
	template := of("cyberark", "product: template, template_file: t.yaml, token_file: /s/a")
	sessions := of("cyberark", "product: sca, token_file: /s/a, role_field: r, end_field: e")
	approver := map[string]string{"issuers[0].claims.person": "oid", "pim.approvers": "[{issuer: staff, roles: [a]}]"}
	breakGlass := of("generic", "")
	breakGlass["issuers[0].claims.person"], breakGlass["pim.approvers"] = "oid", "[{issuer: staff, roles: [a]}]"
	slow := of("generic", "")
	slow["envoy.check_timeout"] = "30s"
	webhook := map[string]string{"secrets_dir": "/s", "pim.webhooks": "[{url: 'https://a.example.com', key_files: [/s/a]}]"}
	ids := append(slices.Clone(text), "''", "a b", "ä")
	urls := []string{"http://a.example.com", "a.example.com", "https://", "https://u@a.example.com", "https://a.example.com#b", "7"}
	endpoints := append(slices.Clone(urls), "''", "https://a.example.com?b", "http://127.0.0.1:1")
	pages := []string{"http://a.example.com", "/a", "'javascript:x'", "https://", "https://u@a.example.com", "7"}
	words := []string{"a b", "'{user}'", `'"'`, "a.b", strings.Repeat("a", 65)}
	locations := []string{"a b", "'{user}'", "a..b", ".a", "'a,b'"}
	entra := map[string]string{"issuers[0].preset": "entra-multitenant", "issuers[0].issuer": "null"}
	return map[string]row{
		"version":     {good: []string{"1"}, bad: []string{"0", "2", `"1"`, "1.0", "null", "true"}},
		"profile":     {good: []string{"production", "development"}, bad: []string{"dev", "Production", "''"}},
		"secrets_dir": {good: []string{"/s", "s"}, bad: append(text, "''")},

		"listen.grpc":               {good: []string{"127.0.0.1:1", `"[::1]:1"`, "unix:/run/a", "127.0.0.1:0"}, bad: []string{"0.0.0.0:1", ":1", "localhost:1", "127.0.0.1", "127.0.0.1:65536", "unix:a", "unix:", "unix:/a/../b", "unix:/" + strings.Repeat("x", 107), "''"}},
		"listen.http":               {good: []string{"127.0.0.2:1", "unix:/run/a"}, bad: []string{"10.0.0.1:1", "a.example.com:1", "127.0.0.1:9001", "''"}},
		"listen.ops":                {good: []string{"127.0.0.1:1", "unix:/run/a"}, bad: []string{"0.0.0.0:1", `"[::]:1"`, "''"}},
		"listen.tls.cert_file":      {with: tls, good: []string{"a.pem"}, bad: append(text, "''")},
		"listen.tls.key_file":       {with: tls, good: []string{"/s/a"}, bad: []string{"/s", "/a", "/s/../a", "a", "''"}},
		"listen.tls.client_ca_file": {with: tls, good: []string{"a.pem"}, bad: append(text, "''")},
		"listen.plaintext":          {good: []string{"i-know", "''"}, bad: []string{"true", "yes", "I-KNOW"}},
		"listen.reflection":         {good: []string{"true", "false"}, bad: boolean},
		"listen.shutdown_grace":     {good: []string{"1ms", "5m"}, bad: []string{"0", "301s", "10", "-1s", "1x"}},

		"log.level":  {good: []string{"debug", "info", "warn", "error"}, bad: []string{"trace", "INFO", "''"}},
		"log.format": {good: []string{"json", "text"}, bad: []string{"xml", "''"}},

		"authentication.oidc_enabled":         {good: []string{"true"}, bad: append(boolean, "false")},
		"authentication.oidc_issuer":          {good: []string{"https://b.example.com", "https://b.example.com/x/"}, bad: []string{"http://b.example.com", "b.example.com", "https://", "https://u:p@b.example.com", "https://b.example.com?a", "https://b.example.com#a", "https://login.example.com"}},
		"authentication.oidc_audience":        {with: map[string]string{"authentication.oidc_issuer": "https://b.example.com"}, good: []string{"api"}, bad: text},
		"authentication.oidc_jwks_url":        {with: map[string]string{"authentication.oidc_issuer": "https://b.example.com"}, good: []string{"https://b.example.com/k?a=b"}, bad: []string{"http://b.example.com", "/k"}},
		"authentication.oidc_required_scopes": {good: []string{"a", "'a, b'", "[a, 'b:c/d']", "[]"}, bad: append(scopes, "a b")},
		"authentication.oidc_jwks_cache_ttl":  {good: []string{"60", "1m", "24h"}, bad: []string{"59", "0", "25h", "1d", "1.5"}},
		"authentication.validate_issuer":      {good: []string{"true"}, bad: append(boolean, "false")},
		"authentication.validate_audience":    {good: []string{"true"}, bad: append(boolean, "false")},
		"authentication.validate_nonce":       {good: []string{"true", "false"}, bad: boolean},
		"authentication.max_token_bytes":      {good: []string{"1024", "65536"}, bad: []string{"1023", "65537", "16k", `"2048"`, "2048.0", "4294967296"}},
		"authentication.clock_skew":           {good: []string{"0", "60s"}, bad: []string{"61s", "30", "-1s"}},
		"authentication.revocations_file":     {good: []string{"r.yaml"}, bad: text},
		"authentication.key_cache_dir":        {good: []string{"/var/lib/a"}, bad: text},

		"issuers[0].name":                 {good: []string{"a", "a-b_1", "default"}, bad: []string{"''", "A", "-a", "a.b", strings.Repeat("a", 64)}},
		"issuers[0].preset":               {good: []string{"oidc", "keycloak"}, bad: []string{"''", "OIDC", "azure"}},
		"issuers[0].issuer":               {good: []string{"https://a.example.com", "https://a.example.com:8443/x/"}, bad: []string{"http://a.example.com", "''", "a", "https://a.example.com/#", "https://a.example.com/?x", "https://a b", "ftp://a.example.com", "'https://a.example.com/{tenantid}'"}},
		"issuers[0].discovery_url":        {good: []string{"https://a.example.com/d?x=y"}, bad: []string{"http://a.example.com", "d", "https://u@a.example.com"}},
		"issuers[0].jwks_url":             {good: []string{"https://a.example.com/k"}, bad: []string{"http://a.example.com", "k", "https://:443/"}},
		"issuers[0].ca_file":              {good: []string{"ca.pem"}, bad: text},
		"issuers[0].allow_private":        {good: []string{"true"}, bad: boolean},
		"issuers[0].algorithms":           {good: []string{"[RS256, PS384, ES512, EdDSA]", "[]"}, bad: []string{"[HS256]", "[none]", "[NONE]", "[rs256]", "[ES256K]", "[RS256, RS256]", "RS256", "['']"}},
		"issuers[0].typ":                  {good: []string{"any", "at+jwt"}, bad: []string{"JWT", "''"}},
		"issuers[0].max_lifetime":         {good: []string{"1m", "168h", "0"}, bad: []string{"59s", "169h", "3600"}},
		"issuers[0].max_stale":            {good: []string{"1h", "168h"}, bad: []string{"59m", "169h", "0"}},
		"issuers[0].tenants":              {with: entra, good: []string{"[11111111-2222-3333-4444-555555555555]"}, bad: []string{"[]", "[a]", "[AAAAAAAA-2222-3333-4444-555555555555]", "['']"}},
		"issuers[0].clients":              {with: map[string]string{"issuers[0].preset": "cognito"}, good: []string{"[a, b]"}, bad: append(unique, "[]")},
		"issuers[0].require_scope_prefix": {with: map[string]string{"issuers[0].preset": "cognito", "issuers[0].clients": "[a]"}, good: []string{"a/"}, bad: text},
		"issuers[0].claims.subject":       {good: []string{"sub"}, bad: text},
		"issuers[0].claims.tenant":        {good: []string{"org"}, bad: text},
		"issuers[0].claims.client":        {good: []string{"azp"}, bad: text},
		"issuers[0].claims.person":        {good: []string{"email"}, bad: text},
		"issuers[0].claims.scopes":        {good: []string{"[scope, scp]"}, bad: unique},
		"issuers[0].claims.roles":         {good: []string{"[realm_access.roles]"}, bad: unique},
		"issuers[0].elevation":            {good: []string{"true"}, bad: boolean},

		"servers[0].name":                    {good: []string{"a"}, bad: []string{"''", "A b", "Ä"}},
		"servers[0].hosts":                   {good: []string{"['*']", "[A.example.com, 'b:1', '[::1]', '[::1]:1', 10.0.0.1]"}, bad: []string{"[]", "['*.example.com']", "['a:0']", "['a:65536']", "[a/b]", "['::1']", "['a b']", "['']", "[a, a]", "a"}},
		"servers[0].path":                    {good: []string{"/", "/a/b-c", "/a/"}, bad: []string{"''", "a", "//", "/a//b", "/a/.", "/../a", "/%61", "/a?b", "'/a#b'", "/ä", "/api/auth", "/api/auth/x", "/.well-known/oauth-protected-resource/a"}},
		"servers[0].resource":                {good: []string{"https://mcp.example.com", "https://mcp.example.com:8443/a"}, bad: []string{"''", "http://mcp.example.com", "urn:a", "/a", "https://mcp.example.com/a?b", "https://mcp.example.com/a#b"}},
		"servers[0].audiences":               {good: []string{"[api, 'urn:b']", "[]"}, bad: unique},
		"servers[0].issuers":                 {good: []string{"[staff]", "[]"}, bad: []string{"[other]", "[staff, staff]", "['']", "staff"}},
		"servers[0].required_scopes":         {good: []string{"[a]"}, bad: scopes},
		"servers[0].scopes_supported":        {good: []string{"[a]"}, bad: scopes},
		"servers[0].upstream.address":        {good: []string{"'a:1'", "'10.0.0.1:65535'", "'[::1]:1'"}, bad: []string{"''", "a", "'a:0'", "'a:x'", "'http://a:1'", "'a b:1'", "':1'", "unix:/a"}},
		"servers[0].upstream.tls":            {with: map[string]string{"servers[0].upstream": "{address: 'a:1', ca_file: a}"}, good: []string{"true"}, bad: boolean},
		"servers[0].upstream.ca_file":        {with: secure, good: []string{"ca.pem"}, bad: text},
		"servers[0].upstream.sni":            {with: secure, good: []string{"a.example.com"}, bad: []string{"a:1", "'*.a'", "a/b"}},
		"servers[0].upstream.http2":          {good: []string{"true"}, bad: boolean},
		"servers[0].mcp.methods":             {good: []string{"[tools/call, 'notifications/*', server/discover]"}, bad: []string{"[]", "['*']", "[tools/]", "[/a]", "['a b']", "[a, a]", "tools/call", "[GET]", "[response]"}},
		"servers[0].mcp.resources":           {good: []string{"['a://b/*', 'a://b', '*', 'a://*', 'a*']"}, bad: []string{"['a*b']", "['a://b*']", "['**']", "['']", "[a, a]"}},
		"servers[0].mcp.prompts":             {good: []string{"[a, 'b*']"}, bad: []string{"['*a']", "['']"}},
		"servers[0].mcp.origins":             {good: []string{"['https://a.example.com', 'http://localhost:3000']"}, bad: []string{"['*']", "['null']", "[a.example.com]", "['https://a.example.com/']", "['https://A.example.com']"}},
		"servers[0].mcp.versions":            {good: []string{"[2025-06-18]", "['2026-07-28']"}, bad: []string{"[2024-11-05]", "[1]", "[2025-06-18, 2025-06-18]"}},
		"servers[0].rest.routes[0].method":   {with: rest, good: []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}, bad: []string{"get", "OPTIONS", "CONNECT", "TRACE", "''", "'*'"}},
		"servers[0].rest.routes[0].path":     {with: rest, good: []string{"/", "'/a/{id}'", "'/{a}/{b-2}'"}, bad: []string{"''", "a", "/a/", "'/{a}/{A}'", "'/{-a}'", "'/{a}x'", "'/{a}/{a}'", "'/{}'", "'/{1}'", "/a//b", "/..", "/a%20b", "'/a?b'", "'/a*'", "'/{a=**}'"}},
		"servers[0].rest.routes[0].any_body": {with: rest, good: []string{"true", "false"}, bad: boolean},
		"servers[0].rest.routes[0].tool":     {with: rest, good: []string{"a", "A_b-c.d"}, bad: []string{"''", "a b", "a/b", strings.Repeat("a", 129)}},

		"tools.catalogue":                   {good: []string{"a.yaml", "[a.yaml, /b.yaml]"}, bad: []string{"[]", "[a, a]", "['']", "7"}},
		"tools.default_risk_level":          {good: []string{"write", "privileged", "''"}, bad: []string{"read", "none"}},
		"tools.default_rate_limit_tier":     {good: []string{"permissive", "standard", "strict", "''"}, bad: []string{"Strict"}},
		"tools.default_pii_policy":          {good: []string{"none", "mask", "redact", "block", "''"}, bad: []string{"off"}},
		"tools.default_max_concurrency":     {good: []string{"0", "1000"}, bad: []string{"-1", "1001"}},
		"tools.tiers.permissive.per_minute": {good: []string{"100", "60000"}, bad: []string{"0", "60001", "-1"}},
		"tools.tiers.permissive.burst":      {good: []string{"1", "600"}, bad: []string{"0", "601"}},
		"tools.tiers.standard.per_minute":   {good: []string{"20", "60000"}, bad: []string{"0", "60001"}},
		"tools.tiers.standard.burst":        {good: []string{"1", "120"}, bad: []string{"0", "121"}},
		"tools.tiers.strict.per_minute":     {good: []string{"5", "60000"}, bad: []string{"0", "60001"}},
		"tools.tiers.strict.burst":          {good: []string{"1", "12"}, bad: []string{"0", "13"}},
		"tools.shadow.policies":             {with: shadow, good: []string{"[scopes, schema, conditions, rate_limit]"}, bad: []string{"[]", "[authentication]", "[elevation]", "[route]", "[waf]", "[screening]", "[schema, schema]", "schema"}},
		"tools.shadow.until":                {with: shadow, good: []string{"2026-07-01", "2026-07-01T10:00:00Z", "'2026-07-01'"}, bad: []string{"null", "''", "never", "2026-13-01", "2026", "2026-07-01 10:00"}},

		"transaction_safety.derived_ttl_seconds":    {good: []string{"600", "1h"}, bad: []string{"9", "25h"}},
		"transaction_safety.idempotency_store_type": {good: []string{"memory", "''"}, bad: []string{"disk", "redis"}},
		"transaction_safety.key_files":              {with: redis, good: []string{"[/s/k]", "[/s/k, /s/old]"}, bad: []string{"[]", "[/k]", "[/s/k, /s/k]", "['']"}},
		"transaction_safety.lease_seconds":          {good: []string{"3", "30s", "5m"}, bad: []string{"2", "6m"}},
		"transaction_safety.max_response_bytes":     {good: []string{"1024", "16777216"}, bad: []string{"1023", "16777217"}},
		"transaction_safety.replicas":               {with: redis, good: []string{"0", "8"}, bad: []string{"-1", "9"}},

		"redis.mode":            {with: redis, good: []string{"single", "cluster"}, bad: []string{"ring", "''"}},
		"redis.addresses":       {with: redis, good: []string{"['127.0.0.1:6379']", "['unix:/run/redis.sock']"}, bad: []string{"['10.0.0.1:6379']", "['a:0']", "[a]", "['127.0.0.1:1', '127.0.0.1:2']", "['unix:a']"}},
		"redis.master_name":     {with: sentinel, good: []string{"a"}, bad: append(text, "''")},
		"redis.username":        {with: redis, good: []string{"a"}, bad: text},
		"redis.password_file":   {with: redis, good: []string{"/s/p"}, bad: []string{"/p", "''"}},
		"redis.tls.ca_file":     {with: redis, good: []string{"a.pem"}, bad: text},
		"redis.tls.cert_file":   {with: redisTLS, good: []string{"a.pem"}, bad: append(text, "''")},
		"redis.tls.key_file":    {with: redisTLS, good: []string{"/s/x/y"}, bad: []string{"/a"}},
		"redis.tls.server_name": {with: redisTLS, good: []string{"a.example.com"}, bad: text},
		"redis.plaintext":       {with: redis, good: []string{"i-know", "''"}, bad: []string{"true", "yes"}},
		"redis.prefix":          {with: redis, good: []string{"a", "a:b-c_d."}, bad: []string{"''", "'{a}'", "a b"}},
		"redis.timeout":         {with: redis, good: []string{"10ms", "1s"}, bad: []string{"9ms", "2s", "1"}},

		"transaction_safety.idempotency_enabled":     {good: []string{"true", "false"}, bad: boolean},
		"transaction_safety.idempotency_required":    {good: []string{"true", "false"}, bad: boolean},
		"transaction_safety.idempotency_ttl_seconds": {good: []string{"60", "604800", "24h"}, bad: []string{"59", "604801", "-1", "1d"}},

		"pim.enabled":                      {good: []string{"true", "false"}, bad: boolean},
		"pim.provider":                     {with: generic, good: []string{"generic"}, bad: []string{"''", "ldap", "none", "Local", "azure"}},
		"pim.pam_endpoint":                 {with: generic, good: []string{"https://a.example.com", "https://a.example.com:1/b/"}, bad: endpoints},
		"pim.elevation_duration_seconds":   {good: []string{"60", "24h"}, bad: []string{"59", "86401"}},
		"pim.elevation_url":                {good: []string{"/elevate", "https://a.example.com/e?x=y"}, bad: []string{"''", "elevate", "//a.example.com", "http://a.example.com", "'javascript:x'", "/a?b"}},
		"pim.require_approval":             {with: approver, good: []string{"true", "false"}, bad: boolean},
		"pim.require_reason":               {good: []string{"true", "false"}, bad: boolean},
		"pim.request_ttl_seconds":          {good: []string{"60", "168h"}, bad: []string{"59", "604801", "1d"}},
		"pim.approval_ttl_seconds":         {good: []string{"60", "24h"}, bad: []string{"59", "86401"}},
		"pim.approvers[0].issuer":          {with: approver, good: []string{"staff"}, bad: []string{"''", "other", "[staff]", invisible}},
		"pim.approvers[0].roles":           {with: approver, good: []string{"[a, b]"}, bad: append(unique, "[]", "a")},
		"pim.users[0].issuer":              {with: generic, good: []string{"staff"}, bad: []string{"''", "other", "[staff]", invisible}},
		"pim.users[0].claim":               {with: generic, good: []string{"oid", "'https://example.com/id'"}, bad: append(slices.Clone(text), "''", "a b", "ä")},
		"pim.timeout":                      {with: slow, good: []string{"100ms", "10s"}, bad: []string{"99ms", "11s", "5", "0"}},
		"pim.break_glass.enabled":          {with: breakGlass, good: []string{"true", "false"}, bad: boolean},
		"pim.break_glass.duration_seconds": {with: breakGlass, good: []string{"60", "1h"}, bad: []string{"59", "3601"}},
		"pim.webhooks[0].url":              {with: webhook, good: []string{"https://a.example.com/b?c=d"}, bad: append(slices.Clone(urls), "''", "http://127.0.0.1:1")},
		"pim.webhooks[0].key_files":        {with: webhook, good: []string{"[/s/a]", "[/s/new, /s/old]"}, bad: []string{"[]", "[/a]", "[/s/a, /s/a]", "['']", "/s/a"}},

		"pim.generic.token_file": {with: generic, good: []string{"/s/a", "''"}, bad: []string{"/a", "/s", "[/s/a]"}},
		"pim.generic.ca_file":    {with: generic, good: []string{"a.pem"}, bad: text},

		"pim.azure_pim.tenant":             {with: azure, good: []string{"example.com", "11111111-2222-3333-4444-55555555AAAA"}, bad: append(slices.Clone(ids), "a/b", "..", "'a?b'", "Common", "organizations")},
		"pim.azure_pim.client_id":          {with: azure, good: []string{"11111111-2222-3333-4444-555555555555"}, bad: ids},
		"pim.azure_pim.client_secret_file": {with: azure, good: []string{"/s/a"}, bad: []string{"/a", "''"}},
		"pim.azure_pim.key_file":           {with: certificate, good: []string{"/s/x/y"}, bad: []string{"/a", "''"}},
		"pim.azure_pim.certificate_file":   {with: certificate, good: []string{"a.pem"}, bad: append(slices.Clone(text), "''")},
		"pim.azure_pim.authority":          {with: azure, good: []string{"https://login.microsoftonline.us/"}, bad: append(slices.Clone(urls), "https://login.microsoftonline.com/tenant")},
		"pim.azure_pim.ca_file":            {with: azure, good: []string{"a.pem"}, bad: text},
		"pim.azure_pim.portal_url":         {with: azure, good: []string{"'https://entra.microsoft.com/#view/a'"}, bad: pages},
		"pim.azure_pim.standing":           {with: azure, good: []string{"true", "false"}, bad: boolean},
		"pim.azure_pim.admin_assign":       {with: azure, good: []string{"true", "false"}, bad: boolean},
		"pim.azure_pim.ticket_system":      {with: assigned, good: []string{"Service Desk", "''"}, bad: append(slices.Clone(text), "' a'", strings.Repeat("a", 129))},

		"pim.okta.client_id":           {with: okta, good: []string{"0oa1"}, bad: ids},
		"pim.okta.key_file":            {with: okta, good: []string{"/s/x/y"}, bad: []string{"/a", "''"}},
		"pim.okta.key_id":              {with: okta, good: []string{"a-b_C"}, bad: ids},
		"pim.okta.ca_file":             {with: okta, good: []string{"a.pem"}, bad: text},
		"pim.okta.grants":              {with: okta, good: []string{"true", "false"}, bad: boolean},
		"pim.okta.standing":            {with: okta, good: []string{"true", "false"}, bad: boolean},
		"pim.okta.fixed_duration":      {with: okta, good: []string{"true", "false"}, bad: boolean},
		"pim.okta.justification_field": {with: okta, good: []string{"f1", "''"}, bad: append(slices.Clone(text), "a b")},
		"pim.okta.portal_url":          {with: okta, good: []string{"https://a.example.com/b"}, bad: pages},

		"pim.cyberark.product":            {with: logon, good: []string{"pvwa"}, bad: []string{"''", "PVWA", "epm"}},
		"pim.cyberark.template_file":      {with: template, good: []string{"a.yaml"}, bad: append(slices.Clone(text), "''")},
		"pim.cyberark.ca_file":            {with: logon, good: []string{"a.pem"}, bad: text},
		"pim.cyberark.logon_user":         {with: logon, good: []string{"a b"}, bad: append(slices.Clone(text), "''", "' a'")},
		"pim.cyberark.logon_method":       {with: logon, good: []string{"CyberArk", "LDAP", "RADIUS", "''"}, bad: []string{"ldap", "SAML"}},
		"pim.cyberark.password_file":      {with: logon, good: []string{"/s/x"}, bad: []string{"/a", "''"}},
		"pim.cyberark.token_url":          {with: client, good: []string{"https://a.example.com/b?c=d"}, bad: append(slices.Clone(urls), "''")},
		"pim.cyberark.client_id":          {with: client, good: []string{"a@b.cloud"}, bad: ids},
		"pim.cyberark.client_secret_file": {with: client, good: []string{"/s/x"}, bad: []string{"/a", "''"}},
		"pim.cyberark.token_file":         {with: sessions, good: []string{"/s/x"}, bad: []string{"/a", "[/s/x]"}},
		"pim.cyberark.own_user":           {with: client, good: []string{"a@b.cloud", "a b", "''"}, bad: append(slices.Clone(text), "' a'")},
		"pim.cyberark.target_category":    {with: client, good: []string{"CLOUD_CONSOLE"}, bad: words},
		"pim.cyberark.request_type":       {with: client, good: []string{"ON_DEMAND", "DUAL_CONTROL"}, bad: []string{"on_demand", "A"}},
		"pim.cyberark.location_type":      {with: client, good: []string{"Azure"}, bad: words},
		"pim.cyberark.role_field":         {with: sessions, good: []string{"a", "a.b-c.0"}, bad: append(slices.Clone(locations), "''")},
		"pim.cyberark.end_field":          {with: sessions, good: []string{"a", "a.b"}, bad: append(slices.Clone(locations), "''")},
		"pim.cyberark.evidence_field":     {with: sessions, good: []string{"a.b", "''"}, bad: locations},
		"pim.cyberark.cloud":              {with: sessions, good: []string{"AWS", "AZURE", "GCP", "''"}, bad: []string{"aws", "OCI"}},

		"audit.dir":                        {good: []string{"/a", "a"}, bad: append(text, "''", "/"+strings.Repeat("a", 95))},
		"audit.origin":                     {good: []string{"a", "sallyport.example.com/audit"}, bad: []string{"''", "/a", "a/", "a b", "a+b", "https://a"}},
		"audit.writer":                     {good: []string{"gw-1", "''"}, bad: []string{"a/b", "-a", "a b", strings.Repeat("a", 49)}},
		"audit.signing_key_files":          {with: map[string]string{"secrets_dir": "/s"}, good: []string{"[/s/a]", "[/s/a, /s/b]"}, bad: []string{"[/a]", "[/s/a, /s/a]", "['']"}},
		"audit.trusted_keys":               {good: []string{"['a/b+0123abcd+AbC/=']", "[]"}, bad: []string{"[a]", "['PRIVATE+KEY+a+0123abcd+A']", "['a+0123abcd+A', 'a+0123abcd+A']"}},
		"audit.journal_max_bytes":          {good: []string{"67108864", "1099511627776"}, bad: []string{"67108863", "1099511627777", "1G"}},
		"audit.when_full":                  {good: []string{"refuse", "read_only"}, bad: []string{"''", "drop", "allow"}},
		"audit.batch_interval":             {good: []string{"100ms", "1m"}, bad: []string{"99ms", "61s", "1"}},
		"audit.heartbeat_interval":         {good: []string{"1s", "1h"}, bad: []string{"999ms", "61m"}},
		"audit.unauthenticated_per_second": {good: []string{"1", "1000"}, bad: []string{"0", "1001"}},
		"audit.layout":                     {good: []string{"hybrid", "event", "batch"}, bad: []string{"''", "Hybrid"}},
		"audit.archive_dir":                {good: []string{"/a", "''"}, bad: text},
		"audit.s3_enabled":                 {with: map[string]string{"secrets_dir": "/s", "audit": "{s3_bucket: abc, signing_key_files: [/s/a]}"}, good: []string{"true"}, bad: boolean},
		"audit.s3_bucket":                  {with: s3, good: []string{"abc", "a.b-c"}, bad: []string{"''", "ab", "A_b", "s3://abc"}},
		"audit.s3_region":                  {with: s3, good: []string{"eu-west-1"}, bad: []string{"''", "EU", "a b"}},
		"audit.s3_object_lock_mode":        {with: s3, good: []string{"GOVERNANCE", "COMPLIANCE"}, bad: []string{"''", "compliance", "NONE"}},
		"audit.s3_retention_days":          {with: s3, good: []string{"1", "36500"}, bad: []string{"0", "36501", "1y"}},
		"audit.s3_endpoint":                {with: s3, good: []string{"https://s3.example.com", "http://127.0.0.1:9000"}, bad: []string{"http://s3.example.com", "s3.example.com", "https://a/b", "https://u@a"}},
		"audit.s3_path_style":              {with: s3, good: []string{"true", "false"}, bad: boolean},
		"audit.s3_kms_key":                 {with: s3, good: []string{"arn:aws:kms:eu-west-1:1:key/a-b"}, bad: []string{"a b"}},
		"audit.s3_access_key_file":         {with: credentials, good: []string{"/s/a"}, bad: []string{"/a", "[/s/a]"}},
		"audit.s3_secret_key_file":         {with: credentials, good: []string{"/s/a"}, bad: []string{"/a", "''"}},
		"audit.dual_write":                 {good: []string{"true", "false"}, bad: boolean},
		"audit.index_retention_days":       {good: []string{"0", "36500"}, bad: []string{"-1", "36501"}},
		"audit.pseudonymise_users":         {with: map[string]string{"secrets_dir": "/s", "audit": "{subject_key_files: [/s/a]}"}, good: []string{"true"}, bad: boolean},
		"audit.subject_key_files":          {with: map[string]string{"secrets_dir": "/s", "audit": "{pseudonymise_users: true}"}, good: []string{"[/s/a]", "/s/a"}, bad: []string{"[]", "[/a]", "[/s/a, /s/a]"}},

		"database.driver":          {with: map[string]string{"database": "{url: postgres://u@127.0.0.1/d}"}, good: []string{"postgres"}, bad: []string{"''", "mysql"}},
		"database.file":            {good: []string{"a.db", "/a"}, bad: append(text, "''")},
		"database.url":             {with: postgres, good: []string{"postgres://u@127.0.0.1:5432/d", "'postgres://u@db.example.com/d?sslmode=verify-full'", "'postgres:///d?host=/run/postgresql'"}, bad: []string{"''", "postgres://u@db.example.com/d", "postgres://u:p@127.0.0.1/d", "mysql://a/b", "postgres://u@127.0.0.1", "'postgres://u@10.0.0.1/d?sslmode=require'"}},
		"database.password_file":   {with: postgres, good: []string{"/s/p", "''"}, bad: []string{"/p"}},
		"database.migrations":      {with: postgres, good: []string{"apply", "check"}, bad: []string{"''", "none"}},
		"database.max_connections": {good: []string{"1", "1000"}, bad: []string{"0", "1001"}},

		"envoy.listen":                  {good: []string{"127.0.0.1:1", `"[::1]:0"`}, bad: []string{"0.0.0.0:443", "localhost:1", "unix:/a", "127.0.0.1:9001", "''"}},
		"envoy.admin":                   {good: []string{"127.0.0.1:1", "unix:/run/a", "''"}, bad: []string{"0.0.0.0:1", "localhost:1"}},
		"envoy.tls.cert_file":           {with: envoyTLS, good: []string{"a.pem"}, bad: append(text, "''")},
		"envoy.tls.key_file":            {with: envoyTLS, good: []string{"/s/x/y"}, bad: []string{"/a", "''"}},
		"envoy.tls.client_ca_file":      {with: envoyTLS, good: []string{"a.pem", "''"}, bad: text},
		"envoy.plaintext":               {good: []string{"i-know", "''"}, bad: []string{"true", "yes"}},
		"envoy.max_request_bytes":       {good: []string{"1024", "16777216"}, bad: []string{"1023", "16777217", "1M"}},
		"envoy.check_timeout":           {good: []string{"100ms", "30s"}, bad: []string{"99ms", "31s", "6"}},
		"envoy.xff_trusted_hops":        {good: []string{"0", "10"}, bad: []string{"-1", "11"}},
		"envoy.receive_timeout":         {good: []string{"1s", "10m"}, bad: []string{"999ms", "11m"}},
		"envoy.max_connections":         {good: []string{"1", "1000000"}, bad: []string{"0", "1000001"}},
		"envoy.max_heap_bytes":          {good: []string{"67108864", "68719476736"}, bad: []string{"67108863", "68719476737"}},
		"envoy.request_timeout":         {good: []string{"6s", "1h"}, bad: []string{"999ms", "61m"}},
		"envoy.service_tls.ca_file":     {with: tls, good: []string{"a.pem"}, bad: append(text, "''")},
		"envoy.service_tls.cert_file":   {with: tls, good: []string{"a.pem"}, bad: append(text, "''")},
		"envoy.service_tls.key_file":    {with: tls, good: []string{"/s/x/y"}, bad: []string{"/a", "''"}},
		"envoy.service_tls.server_name": {with: tls, good: []string{"a.example.com", "spiffe://a/b"}, bad: text},
	}
}

// TestValues sets every key to each of its values.
func TestValues(t *testing.T) {
	t.Parallel()
	rows := values()
	leaves(reflect.ValueOf(everything()).Elem(), "", func(l leaf) {
		row, ok := rows[l.path]
		delete(rows, l.path)
		if !ok || len(row.good) == 0 || len(row.bad) == 0 {
			t.Errorf("%s has no accepted or no refused value in this test", l.path)
		}
		for _, value := range row.good {
			if got := problemsOf(readWith(t, row.with, l.path, value)); got != "" {
				t.Errorf("%s: %s is refused:\n%s", l.path, value, got)
			}
		}
		for _, value := range row.bad {
			r := readWith(t, row.with, l.path, value)
			found := false
			for _, p := range r.problems {
				found = found || strings.HasPrefix(p.Path, l.path) && p.Line > 0 ||
					// one listener's address is another's, or the issuer's url comes from here
					l.path == "authentication.oidc_issuer" && strings.HasPrefix(p.Path, "issuers[1].issuer") ||
					l.path == "authentication.oidc_jwks_url" && strings.HasPrefix(p.Path, "issuers[1].jwks_url")
			}
			if !found {
				t.Errorf("%s: %s is not refused there:\n%s", l.path, value, problemsOf(r))
			}
		}
	})
	for path := range rows {
		t.Errorf("%s is no key", path)
	}
}

// readWith reads the base with some keys set.
func readWith(t *testing.T, with map[string]string, path, value string) *report {
	t.Helper()
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(base), &root); err != nil {
		t.Fatal(err)
	}
	for _, key := range slices.Sorted(maps.Keys(with)) { // a section before what stands in it
		setValue(t, root.Content[0], key, with[key])
	}
	setValue(t, root.Content[0], path, value)
	text, err := yaml.Marshal(&root)
	if err != nil {
		t.Fatal(err)
	}
	_, r := readText(string(text))
	return r
}

var step = regexp.MustCompile(`[a-z_0-9]+|\[[0-9]+\]`)

// setValue replaces or adds the value at a path.
func setValue(t *testing.T, n *yaml.Node, path, text string) {
	t.Helper()
	var value yaml.Node
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	for _, key := range step.FindAllString(path, -1) {
		if index, ok := strings.CutPrefix(key, "["); ok {
			i, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
			if err != nil || i >= len(n.Content) {
				t.Fatalf("%s: no such entry", path)
			}
			n = n.Content[i]
			continue
		}
		at := -1
		for i := 0; i < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				at = i + 1
			}
		}
		if at < 0 {
			n.Kind, n.Tag, n.Value = yaml.MappingNode, "", ""
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, &yaml.Node{Kind: yaml.MappingNode})
			at = len(n.Content) - 1
		}
		n = n.Content[at]
	}
	*n = *value.Content[0]
}

// TestVariables sets every key that has a variable by it.
func TestVariables(t *testing.T) {
	t.Parallel()
	rows := values()
	seen := make(map[string]string)
	cfg := defaults()
	leaves(reflect.ValueOf(&cfg).Elem(), "", func(l leaf) {
		name := l.variable()
		if other, taken := seen[name]; taken {
			t.Errorf("%s is the variable of %s and %s", name, other, l.path)
		}
		seen[name] = l.path
		if serviceVariable.MatchString(name) {
			t.Errorf("%s: Kubernetes may set %s for a Service", l.path, name)
		}
		value := strings.Trim(rows[l.path].good[0], `[]'"`)
		if strings.HasSuffix(l.path, "tls.key_file") {
			value = "/etc/sallyport/secrets/a"
		}
		set, r := defaults(), newReport("sallyport.yaml")
		r.applyEnvironment(&set, []string{name + "=" + value})
		o, ok := r.origins[l.path]
		switch {
		case l.fileOnly():
			if ok || !strings.Contains(problemsOf(r), "can be set in the file only") {
				t.Errorf("%s: %s sets it: %s", l.path, name, problemsOf(r))
			}
		case o != (Origin{Layer: Environment, Variable: name}) || problemsOf(r) != "":
			t.Errorf("%s: %s=%s: %+v %s", l.path, name, value, o, problemsOf(r))
		}
	})
	for _, locked := range []string{"SALLYPORT_LISTEN_PLAINTEXT", "SALLYPORT_ENVOY_PLAINTEXT", "SALLYPORT_TOOLS_SHADOW_POLICIES", "SALLYPORT_TOOLS_SHADOW_UNTIL"} {
		if _, r := readText(base, locked+"=x"); !strings.Contains(problemsOf(r), "can be set in the file only") {
			t.Errorf("%s is not locked", locked)
		}
	}
}
