package settings

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/quick"
)

// TestHostileFiles reads what no honest operator writes. Without the limits, some
// of it would take longer than any test may.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 12; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	// Aliases expand where a list or a section is expected only.
	servers := "x: &s\n  hosts: [" + strings.Repeat("a,", 300) + "b]\nservers: [" + strings.Repeat("*s,", 300) + "*s]\n"
	for _, test := range []struct{ name, text, want string }{
		{"alias bomb", bomb + "issuers: *a11\n", "issuers[0]: must be a mapping"},
		{"wide aliases", servers, "more than 50000 values"},
		{"alias of itself", "version: 1\nservers: &a\n  - *a\n", "servers[0]: must be a mapping"},
		{"mapping of itself", "tools: &a\n  shadow: *a\n", "tools.shadow.shadow: is not a known key"},
		{"unknown anchor", "version: 1\nprofile: *nowhere\n", "2: is not valid YAML: unknown anchor"},
		{"nested lists", "issuers: " + strings.Repeat("[", 50_000), "is not valid YAML"},
		{"nested lists, closed", "issuers: " + strings.Repeat("[", 5_000) + strings.Repeat("]", 5_000), "issuers[0]: must be a mapping"},
		{"huge", "# " + strings.Repeat("x", 1<<20), "is larger than 1048576 bytes"},
		{"many keys", strings.Repeat("a:\n", 60_000), "and 598"},
		{"long key", strings.Repeat("k", 1000) + ": 1\n", strings.Repeat("k", 60) + "…: is not a known key"},
		{"very long key", strings.Repeat("k", 900_000) + ": 1\n", "is not valid YAML"},
		{"tag", "version: !!int 1\n", "has the tag !!int"},
		{"own tag", "listen: !secret {grpc: a}\n", "has the tag !secret"},
		{"binary", "profile: !!binary cHJvZHVjdGlvbg==\n", "has the tag !!binary"},
		{"merge key", "x: &x {grpc: 127.0.0.1:1}\nlisten:\n  <<: *x\n", "listen: a key must be a plain word"},
		{"alias as key", "x: &x profile\n*x : development\n", "a key must be a plain word"},
		{"two documents", "version: 1\n---\nversion: 1\n", "2: a second document begins here"},
		{"two documents, second broken", "version: 1\n---\n{\n", "is not valid YAML"},
		{"key twice", "version: 1\nversion: 1\n", "2: version: is already set in line 1"},
		{"zero byte", "version: 1\nprofile: a\x00b\n", "2: holds the control or invisible character U+0000: remove it"},
		{"escape", "version: 1\n# \x1b[2J\n", "2: holds the control or invisible character U+001B"},
		{"right to left in a comment", "version: 1\n# \u202e\n", "2: holds the control or invisible character U+202E"},
		{"line breaks of others", "version: 1\rprofile: a\n", "1: holds the control or invisible character U+000D"},
		{"utf-16", "\xff\xfev\x00e\x00r\x00", "1: holds a byte that is not UTF-8"},
		{"not utf-8", "version: 1\r\nprofile: \xff\n", "2: holds a byte that is not UTF-8"},
		{"no character", "version: 1\nprofile: \uffff\n", "2: holds the control or invisible character U+FFFF"},
		{"escaped control", `profile: "a\nb"`, "profile: holds a control character"},
		{"right to left", `profile: "a\u202eb"`, "profile: holds a control character, a line break or an invisible"},
		{"private key", "listen:\n  tls:\n    key_file: |\n      -----BEGIN PRIVATE KEY-----\n      MIIsecret\n", "holds a certificate or key: write it to a file"},
		{"a list", "- version: 1\n", "must be a mapping"},
		{"a word", "hello\n", "must be a mapping"},
		{"tabs", "listen:\n\tgrpc: a\n", "2: is not valid YAML"},
		{"scanner, first line", "a: b: c\n", "1: is not valid YAML"},
		{"parser, end", "a: {\n", "2: is not valid YAML"},
		{"parser, context", "version: 1\nlog: {a: b\nx: y\n", "2: is not valid YAML"},
		{"parser, problem", "version: 1\nlisten:\n  a: 1\n b: 2\n", "4: is not valid YAML"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, r := readText(test.text)
			text := problemsOf(r)
			if !strings.Contains(text, test.want) {
				t.Errorf("want %q in:\n%.2000s", test.want, text)
			}
			if strings.Contains(text, "MIIsecret") {
				t.Error("a secret is repeated")
			}
			if len(r.problems) > maxProblems+1 {
				t.Errorf("%d problems", len(r.problems))
			}
		})
	}
}

// TestAliasesAreCounted multiplies a list and stops in time.
func TestAliasesAreCounted(t *testing.T) {
	t.Parallel()
	text := "x: &h [" + strings.Repeat("a,", 2000) + "a]\nservers: [" + strings.Repeat("{hosts: *h},", 2000) + "{}]\n"
	cfg, r := readText(text)
	hosts := 0
	for i := range cfg.Servers {
		hosts += len(cfg.Servers[i].Hosts)
	}
	if hosts > 2*maxNodes || !strings.Contains(problemsOf(r), "more than 50000 values") {
		t.Errorf("%d hosts:\n%s", hosts, problemsOf(r))
	}
}

// TestNearest measures typing mistakes.
func TestNearest(t *testing.T) {
	t.Parallel()
	keys := []string{"grpc", "http", "shutdown_grace", "x"}
	for word, want := range map[string]string{
		"gprc": "grpc", "grpcc": "grpc", "shutdown-grace": "shutdown_grace", "htt": "http",
		"": "", "y": "", "ab": "", "smtp": "http", "loging": "", strings.Repeat("g", 100): "",
	} {
		if got := nearest(word, keys); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	symmetric := func(a, b string) bool {
		a, b = a[:min(len(a), 20)], b[:min(len(b), 20)]
		return distance(a, b) == distance(b, a) && distance(a, a) == 0
	}
	if err := quick.Check(symmetric, nil); err != nil {
		t.Error(err)
	}
}

// FuzzParse wants of every file and environment: no panic, and either a valid
// configuration or problems, each with a place and a message of one line.
func FuzzParse(f *testing.F) {
	f.Add([]byte(base), "OIDC_ISSUER=https://b.example.com")
	f.Add(Example, "SALLYPORT_LISTEN_GRPC=0.0.0.0:1\nWAF_ENABLED=1")
	f.Add(uncommented(), "SALLYPORT_X=1")
	f.Add([]byte("a: &a [*a]\nlisten: {<<: *a, grpc: !!str x}\n---\n"), "=")
	f.Add([]byte("issuers: [{name: default}, null]\nservers: [{mcp: {}, rest: {routes: [{}]}}]"), "OIDC_JWKS_URL=x")
	f.Add([]byte("---"), "")
	f.Add([]byte("\r:0 ["), "\xc0=\xed")
	f.Add([]byte("tools: {shadow: {policies: [waf], until: 2026-01-01}}"), "PIM_ENABLED=\x00")
	f.Add([]byte(base+"pim: {approvers: [{issuer: staff, roles: [a]}], webhooks: [{}], users: [{}], okta: {grants: true}}"), "PIM_PROVIDER=okta\nPAM_ENDPOINT=http://localhost")
	f.Add([]byte(base+"pim: {provider: cyberark, cyberark: {product: uar, token_url: 'https://a?b', role_field: '{'}}"), "SALLYPORT_PIM_CYBERARK_CLOUD=AWS")
	f.Fuzz(func(t *testing.T, data []byte, environ string) {
		if len(data) > 1<<16 || len(environ) > 1<<12 {
			return
		}
		variables := strings.Split(environ, "\n")
		loaded, err := Parse("sallyport.yaml", data, variables)
		if (loaded == nil) == (err == nil) {
			t.Fatalf("got %v and %v", loaded, err)
		}
		if err == nil {
			checkAccepted(t, loaded.Config)
			return
		}
		problems, ok := err.(Problems) //nolint:errorlint // the error is Problems itself
		if !ok || len(problems) == 0 {
			t.Fatalf("not problems: %#v", err)
		}
		lines := 1 + strings.Count(string(data), "\n")
		for _, p := range problems {
			placed := p.File == "sallyport.yaml" && p.Line > 0 && p.Line <= lines
			variable := strings.HasPrefix(p.File, environmentPrefix) && p.Line == 0
			if !placed && !variable && !strings.HasPrefix(p.Message, "and ") {
				t.Errorf("no place: %+v", p)
			}
			if p.Message == "" || strings.ContainsFunc(p.String(), isInvisible) {
				t.Errorf("not one clean line: %q", p.String())
			}
		}
	})
}

// checkAccepted wants of an accepted configuration what no file may switch off.
func checkAccepted(t *testing.T, cfg *Config) {
	t.Helper()
	auth := cfg.Authentication
	if !auth.OIDCEnabled || !auth.ValidateIssuer || !auth.ValidateAudience {
		t.Error("a switch opened a door")
	}
	if len(cfg.Issuers) == 0 || len(cfg.Servers) == 0 || len(cfg.Tools.Catalogue) == 0 {
		t.Error("something is missing")
	}
	for i := range cfg.Servers {
		if s := &cfg.Servers[i]; len(s.Audiences) == 0 || slices.Contains(s.Audiences, "") || (s.MCP == nil) == (s.REST == nil) {
			t.Errorf("server: %+v", s)
		}
	}
	r := newReport("")
	for _, l := range []struct {
		address, word string
		tls           TLS
	}{{cfg.Listen.GRPC, cfg.Listen.Plaintext, cfg.Listen.TLS}, {cfg.Listen.HTTP, cfg.Listen.Plaintext, cfg.Listen.TLS}, {cfg.Listen.Ops, "", TLS{}}} {
		loopback, ok := r.address("", l.address, true)
		if !ok || !loopback && l.word != plaintextWord && !l.tls.Enabled() {
			t.Errorf("listens on %s", l.address)
		}
	}
	persons := make(map[string]string)
	for i := range cfg.Issuers {
		persons[cfg.Issuers[i].Name] = cfg.Issuers[i].Claims.Person
	}
	for _, a := range cfg.PIM.Approvers {
		if persons[a.Issuer] == "" || len(a.Roles) == 0 {
			t.Errorf("approvers without person or role: %+v", a)
		}
	}
	if p := &cfg.PIM; len(p.Approvers) == 0 && (p.RequireApproval || p.BreakGlass.Enabled) || p.External() != (len(p.Users) > 0) {
		t.Errorf("nobody approves, or nobody is known: %+v", p)
	}
	if len(cfg.Tools.Shadow.Policies) > 0 && cfg.Tools.Shadow.Until.IsZero() {
		t.Error("a shadow without end")
	}
}
