package settings

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata")

// now is the clock of these tests.
func now() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

// base is a small valid configuration.
const base = `version: 1
issuers:
  - name: staff
    issuer: https://login.example.com
servers:
  - name: dealership
    hosts: [mcp.example.com]
    path: /mcp
    resource: https://mcp.example.com/mcp
    upstream: {address: "127.0.0.1:8080"}
    mcp: {}
tools:
  catalogue: tools.yaml
`

// readText is Parse at the tests' time.
func readText(text string, environ ...string) (*Config, *report) {
	r := newReport("sallyport.yaml")
	cfg := r.read([]byte(text), environ, now())
	return cfg, r
}

// problemsOf are the messages in their order, one per line.
func problemsOf(r *report) string {
	if err := r.err(); err != nil {
		return err.Error() + "\n"
	}
	return ""
}

// TestCases reads the configurations in testdata and compares all that is said
// about each.
func TestCases(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases in testdata", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := make(map[string]string)
			for _, f := range archive.Files {
				parts[f.Name] = string(f.Data)
			}
			_, r := readText(parts["sallyport.yaml"], strings.Split(strings.TrimSpace(parts["environ"]), "\n")...)
			got := map[string]string{"problems": problemsOf(r), "warnings": r.warnings.Error()}
			if got["warnings"] != "" {
				got["warnings"] += "\n"
			}
			if *update {
				for i, f := range archive.Files {
					if text, ok := got[f.Name]; ok {
						archive.Files[i].Data = []byte(text)
					}
				}
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, name := range []string{"problems", "warnings"} {
				if diff := cmp.Diff(parts[name], got[name]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

func TestBaseIsValid(t *testing.T) {
	t.Parallel()
	loaded, err := Parse("/etc/sallyport/sallyport.yaml", []byte(base), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Version = 1
	want.Issuers = []Issuer{{Name: "staff", Preset: "oidc", Issuer: "https://login.example.com", Typ: "any", MaxStale: 24 * time.Hour}}
	mcp := &MCP{}
	mcp.setDefaults()
	want.Servers = []Server{{
		Name: "dealership", Hosts: []string{"mcp.example.com"}, Path: "/mcp", Resource: "https://mcp.example.com/mcp",
		Audiences: []string{"https://mcp.example.com/mcp"}, Upstream: Upstream{Address: "127.0.0.1:8080"}, MCP: mcp,
	}}
	want.Tools.Catalogue = []string{"/etc/sallyport/tools.yaml"}
	if diff := cmp.Diff(&want, loaded.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if len(loaded.Warnings) > 0 {
		t.Errorf("warnings:\n%v", loaded.Warnings)
	}
}

func TestErrorIsProblems(t *testing.T) {
	t.Parallel()
	loaded, err := Parse("sallyport.yaml", []byte("version: 2\n"), nil)
	var problems Problems
	if loaded != nil || !errors.As(err, &problems) {
		t.Fatalf("got %v, %v; want Problems", loaded, err)
	}
	want := Problem{File: "sallyport.yaml", Line: 1, Path: "version", Message: "must be 1, the version of this format: write `version: 1`"}
	if diff := cmp.Diff(want, problems[len(problems)-1]); diff != "" {
		t.Errorf("problem (-want +got):\n%s", diff)
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	text := base + "listen:\n  grpc: 127.0.0.1:1\n  http: 127.0.0.1:2\n  ops:\nauthentication:\n  oidc_required_scopes: [a, b]\n"
	loaded, err := Parse("sallyport.yaml", []byte(text),
		[]string{"SALLYPORT_LISTEN_HTTP=127.0.0.1:3", "OIDC_REQUIRED_SCOPES=c", "OIDC_ISSUER=https://b.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := loaded.Config
	if cfg.Listen.GRPC != "127.0.0.1:1" || cfg.Listen.HTTP != "127.0.0.1:3" || cfg.Listen.Ops != "127.0.0.1:9003" {
		t.Errorf("listen: %+v", cfg.Listen)
	}
	if diff := cmp.Diff([]string{"c"}, cfg.Authentication.OIDCRequiredScopes); diff != "" {
		t.Errorf("scopes (-want +got):\n%s", diff)
	}
	for path, want := range map[string]Origin{
		"listen.grpc":                            {Layer: File, Line: 15},
		"listen.http":                            {Layer: Environment, Variable: "SALLYPORT_LISTEN_HTTP"},
		"listen.ops":                             {Layer: Default, Line: 17},
		"listen.reflection":                      {},
		"authentication.oidc_required_scopes":    {Layer: Environment, Variable: "OIDC_REQUIRED_SCOPES"},
		"authentication.oidc_required_scopes[0]": {},
		"servers[0].upstream.address":            {Layer: File, Line: 10},
		"issuers[1].issuer":                      {Layer: Environment, Variable: "OIDC_ISSUER"},
	} {
		if got := loaded.Origins[path]; got != want {
			t.Errorf("%s: got %+v, want %+v", path, got, want)
		}
	}
	if got := []string{Default.String(), File.String(), Environment.String()}; !cmp.Equal(got, []string{"default", "file", "environment"}) {
		t.Errorf("layers: %v", got)
	}
}

func TestDefaultIssuer(t *testing.T) {
	t.Parallel()
	cfg, r := readText(base + "authentication:\n  oidc_issuer: https://b.example.com\n  oidc_jwks_url: https://b.example.com/jwks\n  oidc_audience: api\n")
	if got := problemsOf(r); got != "" {
		t.Fatal(got)
	}
	want := Issuer{Name: "default", Preset: "oidc", Issuer: "https://b.example.com", JWKSURL: "https://b.example.com/jwks", Typ: "any", MaxStale: 24 * time.Hour}
	if diff := cmp.Diff(want, cfg.Issuers[1]); diff != "" {
		t.Errorf("issuer (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"api"}, cfg.Servers[0].Audiences); diff != "" {
		t.Errorf("audiences (-want +got):\n%s", diff)
	}

	// A server that doesn't accept the default issuer keeps its own audience.
	text := strings.Replace(base, "    path:", "    issuers: [staff]\n    path:", 1)
	cfg, _ = readText(text + "authentication: {oidc_issuer: 'https://b.example.com', oidc_audience: api}\n")
	if diff := cmp.Diff([]string{"https://mcp.example.com/mcp"}, cfg.Servers[0].Audiences); diff != "" {
		t.Errorf("audiences (-want +got):\n%s", diff)
	}

	// An entry in the list may be completed by the environment.
	text = strings.Replace(base, "name: staff\n    issuer: https://login.example.com", "name: default\n    preset: keycloak", 1)
	cfg, r = readText(text, "OIDC_ISSUER=https://kc.example.com/realms/a")
	if got := problemsOf(r); got != "" {
		t.Fatal(got)
	}
	if got := cfg.Issuers[0]; len(cfg.Issuers) != 1 || got.Preset != "keycloak" || got.Issuer != "https://kc.example.com/realms/a" {
		t.Errorf("issuers: %+v", cfg.Issuers)
	}
}

func TestEntraMultitenantDefaults(t *testing.T) {
	t.Parallel()
	text := strings.Replace(base, "issuer: https://login.example.com",
		"preset: entra-multitenant\n    tenants: [11111111-2222-3333-4444-555555555555]", 1)
	cfg, r := readText(text)
	if got := problemsOf(r); got != "" {
		t.Fatal(got)
	}
	if got := cfg.Issuers[0]; got.Issuer != multitenantIssuer || got.DiscoveryURL != multitenantDiscovery {
		t.Errorf("issuer: %+v", got)
	}
}

func TestUpstreamSNI(t *testing.T) {
	t.Parallel()
	cfg, _ := readText(strings.Replace(base, `{address: "127.0.0.1:8080"}`, `{address: "mcp.internal:443", tls: true, ca_file: ca.pem}`, 1))
	if got := cfg.Servers[0].Upstream.SNI; got != "mcp.internal" {
		t.Errorf("sni: %q", got)
	}
}

func TestShadowUntil(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text string
		want time.Time
	}{
		{"2026-06-30", time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)}, // to its end
		{"2026-06-30T18:00:00+02:00", time.Date(2026, 6, 30, 16, 0, 0, 0, time.UTC)},
	} {
		cfg, r := readText(base + "  shadow: {policies: [schema], until: " + test.text + "}\n")
		if got := problemsOf(r); got != "" {
			t.Fatal(got)
		}
		if !cfg.Tools.Shadow.Until.Equal(test.want) {
			t.Errorf("%s: got %v, want %v", test.text, cfg.Tools.Shadow.Until, test.want)
		}
	}
}
