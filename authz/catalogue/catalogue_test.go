package catalogue

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var compareTools = cmp.Options{cmpopts.IgnoreUnexported(Tool{}), cmpopts.IgnoreFields(Tool{}, "Source")}

// TestDefaultsByRisk has CONTRACTS' table of what a silent entry gets.
func TestDefaultsByRisk(t *testing.T) {
	t.Parallel()
	write := Idempotency{Enabled: true, Required: true, OnUnknown: OnUnknownRefuse, TTL: 24 * time.Hour}
	for _, c := range []struct {
		name, members string
		want          Tool
	}{
		{"read", "risk_level: read", Tool{
			Risk: Read, Tier: Permissive, PIIPolicy: PIINone, Timeout: 30 * time.Second,
		}},
		{"write", "risk_level: write", Tool{
			Risk: Write, Tier: Standard, PIIPolicy: PIIMask, Timeout: 30 * time.Second,
			MaxConcurrency: 10, Idempotency: write,
		}},
		{"privileged", "risk_level: privileged", Tool{
			Risk: Privileged, Tier: Strict, PIIPolicy: PIIMask, Timeout: 30 * time.Second,
			MaxConcurrency: 10, Idempotency: write, RequiresElevation: true,
		}},
		{"read with approval", "risk_level: read\nrequires_approval: true", Tool{
			Risk: Read, Tier: Permissive, PIIPolicy: PIINone, Timeout: 30 * time.Second,
			RequiresApproval: true, Idempotency: write,
		}},
		{"no limit", "risk_level: write\nmax_concurrency: 0\nidempotency: {enabled: false}", Tool{
			Risk: Write, Tier: Standard, PIIPolicy: PIIMask, Timeout: 30 * time.Second,
		}},
		{"everything", `
description: text
risk_level: read
requires_elevation: true
required_scopes: [b, a]
rate_limit_tier: strict
pii_policy: block
max_concurrency: 3
timeout_seconds: 5
idempotency: {enabled: true, required: false, on_unknown: forward, ttl_seconds: 60}
step_up: {acr_values: [gold], max_age_seconds: 300}
conditions: [{expression: "true", message: never}]
shadow: {policies: [schema], until: 2026-02-01}
input_schema: {type: object}`, Tool{
			Description: "text", Risk: Read, RequiresElevation: true, RequiredScopes: []string{"b", "a"},
			Tier: Strict, PIIPolicy: PIIBlock, MaxConcurrency: 3, Timeout: 5 * time.Second,
			Idempotency: Idempotency{Enabled: true, OnUnknown: OnUnknownForward, TTL: time.Minute},
			StepUp:      StepUp{ACRValues: []string{"gold"}, MaxAge: 5 * time.Minute},
			Conditions:  []*Condition{{Expression: "true", Message: "never"}},
			Shadow:      Shadow{Policies: []string{"schema"}, Until: time.Date(2026, 2, 2, 0, 0, 0, 0, time.UTC)},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.want.Name, c.want.Server = "t", "s"
			if diff := cmp.Diff(&c.want, tool(t, c.members), compareTools); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestConfiguredDefaults(t *testing.T) {
	t.Parallel()
	path := write(t, `
version: 1
tools:
- {name: silent, server: s, input_schema: {type: object}}
- {name: read, server: s, risk_level: read, rate_limit_tier: permissive, pii_policy: none, max_concurrency: 0}
`)
	c, err := Load(Config{Files: []string{path}, Servers: []string{"s"}, Defaults: Defaults{
		RiskLevel: "privileged", RateLimitTier: "standard", PIIPolicy: "redact", MaxConcurrency: 4,
		IdempotencyOptional: true, IdempotencyTTL: time.Hour,
	}}, noon)
	if err != nil {
		t.Fatal(err)
	}
	want := []*Tool{
		{
			Name: "read", Server: "s", Risk: Read, Tier: Permissive, PIIPolicy: PIINone, Timeout: 30 * time.Second,
		},
		{
			Name: "silent", Server: "s", Risk: Privileged, RequiresElevation: true, Tier: Standard, PIIPolicy: PIIRedact,
			MaxConcurrency: 4, Timeout: 30 * time.Second,
			Idempotency: Idempotency{Enabled: true, OnUnknown: OnUnknownRefuse, TTL: time.Hour},
		},
	}
	if diff := cmp.Diff(want, c.Tools(), compareTools); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	path := write(t, `
version: 1
tools:
- {name: a, server: s2, risk_level: read, input_schema: {type: object}}
- {name: b, server: s1, risk_level: read}
- {name: a, server: s1, risk_level: write, input_schema: {type: object}}
`)
	c, err := Load(Config{Files: []string{path}}, noon)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, tool := range c.Tools() {
		order = append(order, tool.Server+"/"+tool.Name)
	}
	if diff := cmp.Diff([]string{"s1/a", "s1/b", "s2/a"}, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	found, ok := c.Tool("s1", "a")
	if !ok || found.Risk != Write || found.Source != path+":6" || !found.HasSchema() {
		t.Errorf("got %+v", found)
	}
	for _, absent := range []key{{"s1", "A"}, {"S1", "a"}, {"s1", "c"}, {"", "a"}, {"s1a", ""}} {
		if _, ok := c.Tool(absent.server, absent.name); ok {
			t.Errorf("%v is there", absent)
		}
	}
}

func TestShadowCovers(t *testing.T) {
	t.Parallel()
	s := tool(t, "risk_level: read\nshadow: {policies: [schema, scopes], until: 2026-02-01}").Shadow
	end := time.Date(2026, 2, 2, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		policy string
		now    time.Time
		want   bool
	}{
		{"schema", noon, true},
		{"scopes", end.Add(-time.Nanosecond), true},
		{"schema", end, false},
		{"schema", end.AddDate(1, 0, 0), false},
		{"waf", noon, false},
		{"", noon, false},
	} {
		if got := s.Covers(c.policy, c.now); got != c.want {
			t.Errorf("Covers(%q, %v) = %v", c.policy, c.now, got)
		}
	}
	if (&Shadow{}).Covers("schema", noon) {
		t.Error("the zero value covers something")
	}
}

// TestShadowDates has a moment with an offset, which counts in UTC.
func TestShadowDates(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Time{
		"2026-01-15":                  time.Date(2026, 1, 16, 0, 0, 0, 0, time.UTC), // today, to its end
		"2028-02-28":                  time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC),
		`"2026-03-01T00:00:00+05:30"`: time.Date(2026, 2, 28, 18, 30, 0, 0, time.UTC),
		"2026-03-01T00:00:00.5Z":      time.Date(2026, 3, 1, 0, 0, 0, 5e8, time.UTC),
	} {
		s := tool(t, "risk_level: read\nshadow: {policies: [waf], until: "+text+"}").Shadow
		if !s.Until.Equal(want) || s.Until.Location() != time.UTC {
			t.Errorf("%s: until %v, want %v", text, s.Until, want)
		}
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	const one = "- name: one\n  server: s\n  risk_level: write\n  conditions: [{expression: 'true', message: m}]\n" +
		"  input_schema: {type: object, properties: {a: {type: string}, b: {maximum: 1}}}\n"
	const two = "- {name: two, server: s, risk_level: read, input_schema: {type: object}}\n"
	digest := func(files ...string) string {
		var cfg Config
		for _, f := range files {
			cfg.Files = append(cfg.Files, write(t, "version: 1\ntools:\n"+f))
		}
		c, err := Load(cfg, noon)
		if err != nil {
			t.Fatal(err)
		}
		return c.Digest()
	}
	want := digest(one + two)
	if len(want) != 64 {
		t.Errorf("digest %q", want)
	}
	const oneAgain = "# comment\n- input_schema: {properties: {b: {maximum: 1}, a: {type: string}}, type: object}\n" +
		"  risk_level: \"write\"\n  conditions:\n    - message: m\n      expression: 'true'\n  server: s\n  name: one\n" +
		"  timeout_seconds: 30\n"
	for name, got := range map[string]string{
		"order":           digest(two + one),
		"files":           digest(one, two),
		"files, reversed": digest(two, one),
		"another writing": digest(oneAgain, two),
	} {
		if got != want {
			t.Errorf("%s changes the digest", name)
		}
	}
	seen := map[string]string{want: "the original"}
	for name, changed := range map[string]string{
		"risk":      "- {name: one, server: s, risk_level: privileged, input_schema: {type: object}}\n",
		"schema":    "- {name: one, server: s, risk_level: privileged, input_schema: {type: object, maxProperties: 1}}\n",
		"no schema": "- {name: one, server: s, risk_level: privileged}\n",
		"server":    "- {name: one, server: s2, risk_level: privileged}\n",
		"condition": "- {name: one, server: s, risk_level: privileged, conditions: [{expression: 'true', message: m}]}\n",
		"message":   "- {name: one, server: s, risk_level: privileged, conditions: [{expression: 'true', message: n}]}\n",
		"step up":   "- {name: one, server: s, risk_level: privileged, step_up: {max_age_seconds: 5}}\n",
		"shadow":    "- {name: one, server: s, risk_level: privileged, shadow: {policies: [waf], until: 2027-01-01}}\n",
		"gone":      "",
	} {
		got := digest(two + changed)
		if other, taken := seen[got]; taken {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[got] = name
	}
}

// TestSchemaFile has a schema in a folder below the catalogue's, and a symbolic
// link that leads out of it.
func TestSchemaFile(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "outside.json")
	path := write(t, "version: 1\ntools:\n- {name: t, server: s, risk_level: read, input_schema_file: schemas/t.json}\n")
	dir := filepath.Join(filepath.Dir(path), "schemas")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{outside, filepath.Join(dir, "t.json")} {
		if err := os.WriteFile(name, []byte(`{"type": "object", "required": ["a"]}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(Config{Files: []string{path}}, noon)
	if err != nil {
		t.Fatal(err)
	}
	found, _ := c.Tool("s", "t")
	if err := found.ValidateArguments(map[string]any{}); err == nil || len(c.Warnings()) != 0 {
		t.Errorf("the schema is not used: %v, warnings %v", err, c.Warnings())
	}
	link := filepath.Join(dir, "t.json")
	if err := os.WriteFile(link, make([]byte, maxSchema+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(Config{Files: []string{path}}, noon); err == nil || !strings.HasSuffix(err.Error(), "is larger than 262144 bytes") {
		t.Errorf("a large schema: %v", err)
	}
	if err := errors.Join(os.Remove(link), os.Symlink(outside, link)); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(Config{Files: []string{path}}, noon); err == nil || !strings.Contains(err.Error(), "path escapes from parent") {
		t.Errorf("a link out of the folder: %v", err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for text, value := range map[string]interface{ String() string }{
		"read": Read, "privileged": Privileged, "unset": Risk(0), "strict": Strict, "block": PIIBlock,
		"forward": OnUnknownForward, "mask": PIIMask, "standard": Standard, "refuse": OnUnknownRefuse,
	} {
		if value.String() != text {
			t.Errorf("got %q, want %q", value, text)
		}
	}
	if got := Tier(9).String(); got != "unset" {
		t.Errorf("a number beyond the last is %q", got)
	}
}
