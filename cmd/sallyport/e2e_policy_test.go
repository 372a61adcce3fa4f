package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/sallyport/sallyport/authz/refusal"
	"github.com/sallyport/sallyport/internal/devissuer"
)

// TestRateLimit uses up the strict tier: 3 calls at once, 6 a minute.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	for name, c := range map[string]struct {
		call   func(token string) request
		server string
		status int
	}{
		"MCP":  {func(token string) request { return callTool(token, "dealer_lookup", `{}`) }, "dealership", http.StatusOK},
		"REST": {func(token string) request { return rest(token, "GET", "/vehicles", "") }, "api", http.StatusTooManyRequests},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 3 {
				// A new token each time: the caller is what is counted.
				m.allowed(t, m.send(t, c.call(m.token(t, "alice", ""))), c.server)
			}
			a := m.send(t, c.call(m.token(t, "alice", "vehicles.read")))
			m.denied(t, a, c.status, "rate_limit.exceeded")
			facts, code := a.refusal(t)
			wait, err := strconv.Atoi(a.header.Get("Retry-After"))
			if err != nil || wait < 1 || wait > 10 || wait != facts.RetryAfter {
				t.Errorf("retry-after is %q in the header, %d in the body", a.header.Get("Retry-After"), facts.RetryAfter)
			}
			if name == "MCP" && code != http.StatusTooManyRequests {
				t.Errorf("JSON-RPC error %d: %s", code, a.body)
			}
			m.allowed(t, m.send(t, c.call(m.token(t, "bob", ""))), c.server)
		})
	}
}

func TestTimeoutPerTool(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	token := m.token(t, "alice", "vehicles.read")
	const delay = 1500 * time.Millisecond // the office's tool has 1 s, the dealership's 30 s
	m.upstreams["office"].SetDelay(delay)
	m.upstreams["dealership"].SetDelay(delay)
	t.Run("too slow", func(t *testing.T) {
		t.Parallel()
		a := m.send(t, toOffice(callTool(token, "search_vehicles", `{}`)))
		m.passed(t, a, "office")
		if a.status != http.StatusGatewayTimeout {
			t.Errorf("status %d, want 504; body: %s", a.status, a.body)
		}
	})
	t.Run("in time", func(t *testing.T) {
		t.Parallel()
		m.allowed(t, m.send(t, callTool(token, "search_vehicles", `{}`)), "dealership")
	})
}

func elevated(at time.Time, lasting time.Duration) func(*devissuer.TokenOptions) {
	return func(o *devissuer.TokenOptions) { o.ElevatedAt, o.ElevatedFor = at, lasting }
}

func TestElevation(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	const refund = `{"payment_id":"P-1","amount":100}`
	plain := m.token(t, "alice", "payments.refund")
	a := m.send(t, callTool(plain, "refund_payment", refund))
	m.denied(t, a, http.StatusOK, "elevation.required")
	var message struct {
		ID     int `json:"id"`
		Result struct {
			ResultType string `json:"resultType"`
			IsError    bool   `json:"isError"`
			Content    []struct{ Type, Text string }
			Meta       map[string]map[string]any `json:"_meta"`
		} `json:"result"`
	}
	if err := json.Unmarshal([]byte(a.body), &message); err != nil {
		t.Fatal(err)
	}
	url := m.url + "/api/auth/elevate"
	got := message.Result
	if message.ID != 7 || got.ResultType != "complete" || !got.IsError || len(got.Content) != 1 || !strings.Contains(got.Content[0].Text, url) {
		t.Errorf("the answer doesn't tell the model what to do: %s", a.body)
	}
	for name, want := range map[string]any{
		"reason": "elevation.required", "elevation_required": true, "elevation_url": url, "elevation_duration_seconds": 3600.0,
	} {
		if diff := cmp.Diff(want, got.Meta[refusal.FactsKey][name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	a = m.send(t, rest(plain, "DELETE", "/services/B-1", ""))
	m.denied(t, a, http.StatusForbidden, "elevation.required")
	if facts, _ := a.refusal(t); !facts.Required || facts.ElevationURL != url || a.header.Get("WWW-Authenticate") != "" {
		t.Errorf("the answer is %s, challenge %q", a.body, a.header.Get("WWW-Authenticate"))
	}
	if effects := m.upstreams["dealership"].Effects(); len(effects) != 0 {
		t.Errorf("effects of refused calls: %v", effects)
	}

	raised := m.token(t, "alice", "payments.refund", elevated(time.Now(), 0))
	m.allowed(t, m.send(t, callTool(raised, "refund_payment", refund)), "dealership")
	if diff := cmp.Diff(map[string]int{"refund_payment": 1}, m.upstreams["dealership"].Effects()); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}

// TestPrivilegedTools calls every privileged tool of the catalogue as everybody
// who has no elevation, or none that holds.
func TestPrivilegedTools(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	calls := map[string]func(token string) request{
		"dealership refund_payment": func(token string) request {
			return callTool(token, "refund_payment", `{"payment_id":"P-1","amount":1}`)
		},
		"dealership delete_customer": func(token string) request { return callTool(token, "delete_customer", `{"customer_id":"C-1"}`) },
		"office refund_payment": func(token string) request {
			return toOffice(callTool(token, "refund_payment", `{"payment_id":"P-1","amount":1}`))
		},
		"api delete_service": func(token string) request { return rest(token, "DELETE", "/services/B-1", "") },
	}
	var catalogue struct {
		Tools []struct {
			Name, Server string
			Risk         string `json:"risk_level"`
		}
	}
	text, err := os.ReadFile(filepath.Join(m.dir, "tools.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &catalogue); err != nil {
		t.Fatal(err)
	}
	const scopes = "vehicles.read services.write payments.refund admin *"
	now := time.Now()
	claim := func(name string, value any) func(*devissuer.TokenOptions) {
		return func(o *devissuer.TokenOptions) { o.Claims = map[string]any{name: value} }
	}
	// Each has a subject of its own, because privileged tools have few calls a minute.
	principals := map[string]func(*devissuer.TokenOptions){
		"all scopes":             func(*devissuer.TokenOptions) {},
		"administrator":          func(o *devissuer.TokenOptions) { o.Roles = []string{"admin", "elevated", "privileged"} },
		"elevated long ago":      elevated(now.Add(-2*time.Hour), 0),
		"elevated, run out":      elevated(now.Add(-5*time.Minute), time.Minute),
		"beyond the longest":     elevated(now.Add(-61*time.Minute), 24*time.Hour),
		"elevated tomorrow":      elevated(now.Add(24*time.Hour), 0),
		"another claim":          claim("elevated", true),
		"a role that says so":    claim("roles", []string{"elevation_status"}),
		"of an untrusted issuer": elevated(now, 0),
	}
	privileged := 0
	for _, tool := range catalogue.Tools {
		if tool.Risk != "privileged" {
			continue
		}
		privileged++
		call, ok := calls[tool.Server+" "+tool.Name]
		if !ok {
			t.Errorf("no call for %s of %s", tool.Name, tool.Server)
			continue
		}
		for who, change := range principals {
			issuer := m.issuer
			if who == "of an untrusted issuer" {
				issuer = m.partner
			}
			token := mint(t, issuer, m.tokenOptions(who, scopes, change))
			t.Run(fmt.Sprintf("%s of %s, %s", tool.Name, tool.Server, who), func(t *testing.T) {
				t.Parallel()
				a := m.send(t, call(token))
				d := m.denied(t, a, map[bool]int{true: http.StatusForbidden, false: http.StatusOK}[tool.Server == "api"], "elevation.required")
				if d.Tool != tool.Name || d.Risk != "privileged" {
					t.Errorf("recorded as a call of %q, risk %q", d.Tool, d.Risk)
				}
			})
		}
	}
	if privileged != len(calls) {
		t.Errorf("the catalogue has %d privileged tools, %d are called", privileged, len(calls))
	}
}
