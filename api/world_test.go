package api

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/catalogue"
	"github.com/sallyport/sallyport/authz/identity"
)

// origin is where clients of the tests reach the API.
const origin = "https://dealer.example"

// person is a caller of the tests: the name is the token.
type person struct {
	name    string
	human   string   // empty: unknown
	roles   []string // "lead" approves for all tools but wipe
	servers []string // that the token is for
	account string   // whose token it is, if not the name's
}

func (p *person) principal() *identity.Principal {
	return &identity.Principal{
		ID: "id-" + cmp.Or(p.account, p.name), Issuer: "dev", IssuerID: "https://issuer.example", Subject: cmp.Or(p.account, p.name), Client: "cli",
		Person: p.human, Roles: p.roles,
	}
}

// access knows the callers by their tokens, and keeps to the contract of Access: there
// is a refusal, or a caller.
type access struct {
	people []person
	tools  []*catalogue.Tool
	rule   authz.ElevationRule
	seen   []*authz.Request
}

func (a *access) find(req *authz.Request) (*person, *authz.Decision) {
	a.seen = append(a.seen, req)
	token, lines := req.Headers.Get("authorization")
	if lines == 0 {
		return nil, refusedBy("authentication.missing")
	}
	for i := range a.people {
		if token == "Bearer "+a.people[i].name {
			return &a.people[i], nil
		}
	}
	return nil, refusedBy("authentication.expired")
}

func refusedBy(code string) *authz.Decision {
	return &authz.Decision{
		ID: "decision-1", Reason: authz.ReasonOf(code), Detail: "Detail.",
		Server: &authz.Server{Name: "dealer", Resource: origin + "/mcp", RequiredScopes: []string{"mcp"}},
	}
}

func (a *access) Identify(_ context.Context, req *authz.Request) (*Caller, *authz.Decision) {
	who, refused := a.find(req)
	if refused != nil {
		return nil, refused
	}
	accepts := func(server string) bool { return slices.Contains(who.servers, server) }
	return &Caller{
		Principal: who.principal(), Rule: &a.rule, Accepts: accepts,
		MayApprove: func(server, tool string) bool {
			return accepts(server) && who.human != "" && slices.Contains(who.roles, "lead") && tool != "wipe" &&
				slices.ContainsFunc(a.tools, func(t *catalogue.Tool) bool { return t.Server == server && t.Name == tool })
		},
		MayApproveSome: func() bool { return who.human != "" && slices.Contains(who.roles, "lead") },
	}, nil
}

func (a *access) Inquire(_ context.Context, q *authz.Inquiry) (*authz.Asked, *authz.Decision) {
	who, refused := a.find(&q.Request)
	if refused != nil {
		return nil, refused
	}
	var found []*catalogue.Tool
	for _, tool := range a.tools {
		if tool.Name == q.Tool && slices.Contains(who.servers, tool.Server) && (q.Server == "" || q.Server == tool.Server) {
			found = append(found, tool)
		}
	}
	switch len(found) {
	case 0:
		return nil, refusedBy("operation.unknown_tool")
	case 1:
	default:
		return nil, refusedBy("operation.bad_arguments")
	}
	asked := &authz.Asked{
		Principal: who.principal(), Server: &authz.Server{Name: found[0].Server}, Tool: found[0], Rule: &a.rule,
		User: "user-" + who.name, Role: "role-" + q.Tool, Exact: q.Arguments != "" || q.Call != nil,
	}
	switch {
	case q.Call != nil:
		asked.Fingerprint = sha256.Sum256(fmt.Appendf(nil, "%+v", *q.Call))
	case q.Arguments != "":
		asked.Fingerprint = sha256.Sum256([]byte(q.Arguments))
	}
	return asked, nil
}

// world is the API with a requester (alice), two approvers (bob, and alice with another
// account, and once more with a token for another server), somebody without a role (carol), a lead who isn't known as a person (dan),
// and a lead whose token is for another server (eve).
type world struct {
	t        *testing.T
	handler  http.Handler
	access   *access
	requests *requests
	log      *bytes.Buffer
	router   routers.Router
}

func newWorld(t *testing.T) *world {
	t.Helper()
	both, lead := []string{"dealer", "rest"}, []string{"lead"}
	w := &world{t: t, requests: &requests{}, log: &bytes.Buffer{}, access: &access{
		people: []person{
			{"alice", "E-1", nil, both, ""},
			{"bob", "E-2", lead, both, ""},
			{"alice-admin", "e-1", lead, both, ""},
			{"carol", "E-3", []string{"sales"}, both, ""},
			{"dan", "", lead, both, ""},
			{"eve", "E-5", lead, []string{"rest"}, ""},
			{"alice-rest", "E-1", nil, []string{"rest"}, "alice"},
		},
		tools: []*catalogue.Tool{
			{Name: "refund", Server: "dealer", RequiresElevation: true, Elevation: catalogue.Elevation{Longest: 10 * time.Minute}, Idempotency: catalogue.Idempotency{TTL: 24 * time.Hour}},
			{Name: "wipe", Server: "dealer", RequiresElevation: true},
			{Name: "pay", Server: "dealer", RequiresApproval: true},
			{Name: "transfer", Server: "rest", RequiresApproval: true},
			{Name: "both", Server: "dealer", RequiresElevation: true, RequiresApproval: true},
			{Name: "search", Server: "dealer"},
			{Name: "twice", Server: "dealer", RequiresElevation: true},
			{Name: "twice", Server: "rest", RequiresElevation: true},
		},
		rule: authz.ElevationRule{
			Enabled: true, Longest: time.Hour, RequireReason: true, RequireApproval: true, PendingFor: 8 * time.Hour,
			ApprovalFor: 15 * time.Minute, Approvers: []authz.Approvers{{Issuer: "dev", Roles: lead}},
		},
	}}
	log := slog.New(slog.NewTextHandler(w.log, nil))
	w.handler = New(func() []Resource { return nil }, NewElevations(w.access, w.requests, log))
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	doc.Servers = nil // the router takes "/" for a folder
	if w.router, err = legacy.NewRouter(doc); err != nil {
		t.Fatal(err)
	}
	return w
}

// reply is an answer with its JSON read.
type reply struct {
	*http.Response
	text string
	body map[string]any
}

func (r *reply) string(name string) string {
	text, _ := r.body[name].(string)
	return text
}

// kind is that of a problem.
func (r *reply) kind() string { return strings.TrimPrefix(r.string("type"), "urn:sallyport:problem:") }

// do sends a request of somebody, "METHOD path", and checks what holds for all answers:
// that the document describes them, and that nobody stores them or reads them from
// another origin.
func (w *world) do(who, what, body string, changes ...func(*http.Request)) *reply {
	w.t.Helper()
	method, path, _ := strings.Cut(what, " ")
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req := httptest.NewRequestWithContext(w.t.Context(), method, origin+Prefix+path, reader)
	req.Header.Set("X-Forwarded-Proto", "https")
	req.Header.Set("X-Request-Id", "r-1")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if who != "" {
		req.Header.Set("Authorization", "Bearer "+who)
	}
	for _, change := range changes {
		change(req)
	}
	recorder := httptest.NewRecorder()
	w.handler.ServeHTTP(recorder, req)
	r := &reply{Response: recorder.Result(), text: recorder.Body.String()}
	w.check(req, r)
	return r
}

func (w *world) check(req *http.Request, r *reply) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(r.text), &r.body); err != nil {
		w.t.Errorf("%s %s: %d %q: %v", req.Method, req.URL, r.StatusCode, r.text, err)
	}
	if r.Header.Get("Cache-Control") != "no-store" {
		w.t.Errorf("%s %s: it may be stored: %v", req.Method, req.URL, r.Header)
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			w.t.Errorf("%s %s: another origin may read it: %s", req.Method, req.URL, name)
		}
	}
	if (r.StatusCode == 503) != (r.Header.Get("Retry-After") != "") {
		w.t.Errorf("%s %s: %d with Retry-After %q", req.Method, req.URL, r.StatusCode, r.Header.Get("Retry-After"))
	}
	route, params, err := w.router.FindRoute(req)
	if err != nil { // what isn't served isn't described
		if r.StatusCode != 404 && r.StatusCode != 405 {
			w.t.Errorf("%s %s: %d, and the document doesn't know it", req.Method, req.URL, r.StatusCode)
		}
		return
	}
	err = openapi3filter.ValidateResponse(w.t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 r.StatusCode, Header: r.Header, Body: io.NopCloser(strings.NewReader(r.text)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
	if err != nil {
		w.t.Errorf("%s %s: not as described: %v", req.Method, req.URL, err)
	}
}

// ask makes a request that must wait for its decision, and returns its id.
func (w *world) ask(who, body string) string {
	w.t.Helper()
	r := w.do(who, "POST elevate", body)
	if r.StatusCode != http.StatusAccepted {
		w.t.Fatalf("%s asks %s: %d %s", who, body, r.StatusCode, r.text)
	}
	return r.string("request_id")
}

// want checks how a request is answered.
func (w *world) want(who, what, body string, status int, kind string) *reply {
	w.t.Helper()
	r := w.do(who, what, body)
	if r.StatusCode != status || r.kind() != kind {
		w.t.Errorf("%s %s %s: %d %s, want %d %s", who, what, body, r.StatusCode, r.text, status, kind)
	}
	return r
}

const refund = `{"tool":"refund","reason":"a wrong charge"}`
