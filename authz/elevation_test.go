package authz_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/operation"
	"github.com/sallyport/sallyport/internal/devissuer"
)

// memoryElevations says what a test makes it say, to the holder that it is about.
type memoryElevations struct {
	mu        sync.Mutex // guards what follows
	elevated  authz.Elevation
	holder    authz.Holder // last seen
	revoked   time.Time
	approvals map[[32]byte]string
	pending   string
	err       error // of every answer
	down      error // of Elevated alone
}

func (m *memoryElevations) Revoked(h *authz.Holder, _ time.Time) (time.Time, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.holder = *h
	return m.revoked, !m.revoked.IsZero(), m.err
}

func (m *memoryElevations) Elevated(_ context.Context, h *authz.Holder, _ time.Time) (authz.Elevation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.holder = *h
	return m.elevated, errors.Join(m.err, m.down)
}

func (m *memoryElevations) Approval(h *authz.Holder, fingerprint [32]byte, _ time.Time) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.holder = *h
	return m.approvals[fingerprint], m.err
}

func (m *memoryElevations) Pending(*authz.Holder, [32]byte) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pending
}

// elevatedAt is a token that claims an elevation.
func elevatedAt(at time.Time, lasts time.Duration) func(*devissuer.TokenOptions) {
	return func(o *devissuer.TokenOptions) { o.ElevatedAt, o.ElevatedFor = at, lasts }
}

func TestElevation(t *testing.T) {
	t.Parallel()
	now := time.Now()
	grant := authz.Elevation{Source: authz.SourceGrant, ID: "r-1", Until: now.Add(time.Hour)}
	claim := elevatedAt(now.Add(-time.Minute), 0)
	none := func(*devissuer.TokenOptions) {}
	for _, tt := range []struct {
		name   string
		world  *memoryElevations
		token  func(*devissuer.TokenOptions)
		reason string
		source string // of the evidence
	}{
		{"a grant", &memoryElevations{elevated: grant}, none, "allowed", authz.SourceGrant},
		{"a claim before a grant", &memoryElevations{elevated: grant}, claim, "allowed", authz.SourceClaim},
		{"a claim needs no provider", &memoryElevations{down: errors.New("away")}, claim, "allowed", authz.SourceClaim},
		{"a claim that has ended", &memoryElevations{}, elevatedAt(now.Add(-time.Hour), 30*time.Minute), "elevation.required", ""},
		{"a claim that outlasts the tool's own limit", &memoryElevations{}, elevatedAt(now.Add(-20*time.Minute), time.Hour), "elevation.required", ""},
		{"a revocation beats the claim", &memoryElevations{revoked: now}, claim, "elevation.revoked", ""},
		{"a revocation beats the grant", &memoryElevations{revoked: now, elevated: grant}, none, "elevation.revoked", ""},
		{"a claim of the time of the revocation", &memoryElevations{revoked: now.Add(-time.Minute)}, claim, "elevation.revoked", ""},
		{"a claim that a clock may have put ahead", &memoryElevations{revoked: now.Add(-80 * time.Second)}, claim, "elevation.revoked", ""},
		{"elevated anew after a revocation", &memoryElevations{revoked: now.Add(-time.Hour)}, claim, "allowed", authz.SourceClaim},
		{"the provider is away", &memoryElevations{down: errors.New("away")}, none, "elevation.unavailable", ""},
		{"the grants are not known", &memoryElevations{err: errors.New("away"), elevated: grant}, claim, "elevation.unavailable", ""},
		{"nothing", &memoryElevations{}, none, "elevation.required", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorldWith(t, tt.world)
			d := w.Decide(t.Context(), call(w.token(t, "mcp", tt.token), "refund_payment", "{}"))
			if d.Reason.Code != tt.reason || d.Elevated.Source != tt.source {
				t.Fatalf("%s by %+v, want %s by %q", d.Reason.Code, d.Elevated, tt.reason, tt.source)
			}
			if (d.Hint != nil) != (tt.reason == "elevation.required" || tt.reason == "elevation.revoked") {
				t.Errorf("the hint is %+v", d.Hint)
			}
			record := w.journal.last(t)
			evidence, _ := record["elevation"].(map[string]any)
			if source, _ := evidence["source"].(string); source != tt.source {
				t.Errorf("recorded %v, want %q", record["elevation"], tt.source)
			}
		})
	}
}

func newWorldWith(t *testing.T, elevations *memoryElevations) *world {
	t.Helper()
	w := newWorld(t)
	w.elevations.elevated, w.elevations.revoked, w.elevations.err, w.elevations.down = elevations.elevated, elevations.revoked, elevations.err, elevations.down
	return w
}

// The provider knows the users of the issuers that are named for it, and no others.
func TestElevationByProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config
	cfg.Elevation.External, cfg.Elevation.Users = true, map[string]string{"dev": "oid"}
	w.use(t, cfg)
	token := w.token(t, "mcp", func(o *devissuer.TokenOptions) { o.Claims = map[string]any{"oid": "o-1"} })
	w.Decide(t.Context(), call(token, "refund_payment", "{}"))
	if h := w.elevations.holder; h.User != "o-1" || h.Role != "payments" || h.Server != "dealer" || h.Tool != "refund_payment" || h.Principal == "" {
		t.Errorf("asked for %+v", h)
	}
	for name, users := range map[string]map[string]string{"no such claim": {"dev": "uid"}, "another issuer": {"other": "oid"}} {
		cfg.Elevation.Users = users
		w.use(t, cfg)
		w.Decide(t.Context(), call(token, "refund_payment", "{}"))
		if h := w.elevations.holder; h.User != "" {
			t.Errorf("%s: asked for user %q", name, h.User)
		}
	}
}

// An approval is one of exactly this call.
func TestApproval(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config
	cfg.Idempotency = authz.Idempotency{Enabled: true, Lease: 30 * time.Second, DerivedTTL: time.Minute}
	w.use(t, cfg)
	w.elevations.pending = "r-7"
	request := call(w.token(t, "mcp"), "two_people", `{"n":1}`)
	d := w.Decide(t.Context(), request)
	if d.Reason.Code != "approval.required" || d.Hint == nil || !d.Hint.Approval || d.Hint.Pending != "r-7" {
		t.Fatalf("%s, hint %+v", d.Reason.Code, d.Hint)
	}
	w.elevations.approvals = map[[32]byte]string{d.Operation.Fingerprint: "r-7"}
	if d = w.Decide(t.Context(), withKey(request)); !d.Allow || d.Approval != "r-7" || d.Claim == nil {
		t.Errorf("%s %s, approval %q", d.Reason.Code, d.Detail, d.Approval)
	}
	if w.journal.last(t)["approval_id"] != "r-7" {
		t.Errorf("recorded %v", w.journal.last(t))
	}
	if d = w.Decide(t.Context(), withKey(call(w.token(t, "mcp"), "two_people", `{"n":2}`))); d.Reason.Code != "approval.required" {
		t.Errorf("another call: %s", d.Reason.Code)
	}
	for _, beyond := range []string{`"inputResponses":{}`, `"requestState":"x"`, `"task":{}`, `"_meta":{"vendor/amount":9}`} {
		more := withKey(request)
		more.Body = strings.Replace(more.Body, `"params":{`, `"params":{`+beyond+`,`, 1)
		if d = w.Decide(t.Context(), more); d.Reason.Code != "approval.beyond" {
			t.Errorf("%s: %s", beyond, d.Reason.Code)
		}
	}
	own := withKey(request)
	own.Body = strings.Replace(own.Body, `"params":{`, `"params":{"_meta":{"progressToken":1,"traceparent":"x","io.modelcontextprotocol/x":1},`, 1)
	if d = w.Decide(t.Context(), own); !d.Allow {
		t.Errorf("the protocol's own members: %s", d.Reason.Code)
	}
	w.elevations.err = errors.New("away")
	if d = w.Decide(t.Context(), withKey(request)); d.Reason.Code != "approval.unavailable" {
		t.Errorf("away: %s", d.Reason.Code)
	}
	cfg.Idempotency.Enabled = false
	w.use(t, cfg)
	w.elevations.err = nil
	if d = w.Decide(t.Context(), withKey(request)); d.Reason.Code != "approval.disabled" {
		t.Errorf("without keys nothing can be spent: %s", d.Reason.Code)
	}
}

func withKey(r *authz.Request) *authz.Request {
	keyed := *r
	keyed.Headers = append(operation.Headers{{Name: "idempotency-key", Value: "k-1"}}, r.Headers...)
	return &keyed
}
