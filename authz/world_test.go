package authz_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/catalogue"
	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/authz/operation"
	"github.com/sallyport/sallyport/internal/devissuer"
)

const tools = `
version: 1
tools:
  - name: search_vehicles
    server: dealer
    risk_level: read
    required_scopes: [vehicles.read]
    input_schema:
      type: object
      properties: {model: {type: string, maxLength: 40}, limit: {type: integer, minimum: 1, maximum: 100}}
      additionalProperties: false
  - name: book_service
    server: dealer
    risk_level: write
    required_scopes: [services.write]
    conditions:
      - expression: '"sales" in principal.roles || args.vehicle_id != "V-9"'
        message: Vehicle V-9 is for sales only.
    input_schema: {type: object, required: [vehicle_id], properties: {vehicle_id: {type: string}}}
  - name: login_again
    server: dealer
    risk_level: read
    step_up: {acr_values: [gold], max_age_seconds: 300}
    input_schema: {type: object}
  - name: refund_payment
    server: dealer
    risk_level: privileged
    elevation: {max_duration_seconds: 900, provider_role: payments, approver_roles: [payments-lead]}
    input_schema: {type: object}
  - name: two_people
    server: dealer
    risk_level: write
    requires_approval: true
    input_schema: {type: object, properties: {n: {type: integer}}}
  - name: get_vehicle
    server: rest
    risk_level: read
    input_schema: {type: object, properties: {id: {type: string, pattern: "^V-[0-9]+$"}}}
`

// world is an engine with everything real but the proxy: an issuer that serves
// its keys, a catalogue from a file, a journal that keeps the records.
type world struct {
	*authz.Engine
	issuer     *devissuer.Issuer
	journal    *memoryJournal
	elevations *memoryElevations
	config     authz.Config
}

const (
	dealerURL = "https://dealer.example/mcp"
	restURL   = "https://dealer.example/api"
)

func newWorld(t testing.TB) *world {
	t.Helper()
	issuer, err := devissuer.Start(devissuer.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = issuer.Close(context.Background()) })
	keys, err := identity.NewKeySet(identity.KeySetConfig{Name: "dev", Issuer: issuer.URL(), AllowHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	verifier, err := identity.NewVerifier(identity.VerifierConfig{
		ClockSkew: 30 * time.Second,
		Issuers:   []identity.IssuerConfig{{Name: "dev", Issuer: issuer.URL(), AllowHTTP: true, Elevation: true, Claims: identity.ClaimNames{Person: "employee"}}},
	}, map[string]identity.Keys{"dev": keys}, identity.NewMemoryReplays(1000, time.Now), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{issuer: issuer, journal: &memoryJournal{}, elevations: &memoryElevations{}}
	w.config = authz.Config{
		Servers: []*authz.Server{
			{
				Name: "dealer", Hosts: []string{"dealer.example"}, Path: "/mcp", Resource: dealerURL,
				Audiences: []string{dealerURL}, RequiredScopes: []string{"mcp"},
				Operations: newOperations(t, operation.Config{Name: "dealer", MCP: &operation.MCPConfig{
					Path: "/mcp", Methods: []string{"initialize", "tools/list", "tools/call", "notifications/*"},
				}}),
			},
			{
				Name: "rest", Hosts: []string{"dealer.example"}, Path: "/api", Prefix: true, Resource: restURL,
				Audiences: []string{restURL},
				Operations: newOperations(t, operation.Config{Name: "rest", REST: &operation.RESTConfig{
					Prefix: "/api", Routes: []operation.Route{
						{Method: "GET", Template: "/vehicles/{id}", Tool: "get_vehicle"},
						{Method: "DELETE", Template: "/vehicles/{id}", Tool: "delete_vehicle"},
					},
				}}),
			},
		},
		Catalogue:   loadCatalogue(t, tools),
		Verifier:    verifier,
		Revocations: identity.NewRevocationList(time.Now),
		Tiers:       authz.DefaultTiers(),
		Elevation:   authz.ElevationRule{Enabled: true, URL: "https://dealer.example/api/auth/elevate", Longest: time.Hour},
		ClockSkew:   30 * time.Second,
	}
	limiter, err := authz.NewMemoryLimiter(1000)
	if err != nil {
		t.Fatal(err)
	}
	w.Engine = authz.New(limiter, nil, w.elevations, w.journal, nil, time.Now)
	w.use(t, w.config)
	return w
}

func (w *world) use(t testing.TB, cfg authz.Config) {
	t.Helper()
	snapshot, err := authz.Compile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Use(snapshot)
}

func newOperations(t testing.TB, cfg operation.Config) *operation.Server {
	t.Helper()
	s, err := operation.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func loadCatalogue(t testing.TB, text string) *catalogue.Catalogue {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tools.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := catalogue.Load(catalogue.Config{Files: []string{file}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// token mints one for the MCP server with the scopes.
func (w *world) token(t testing.TB, scopes string, change ...func(*devissuer.TokenOptions)) string {
	t.Helper()
	options := devissuer.TokenOptions{Audience: []string{dealerURL}, Scopes: strings.Fields(scopes)}
	for _, f := range change {
		f(&options)
	}
	token, err := w.issuer.Mint(options)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// call is a tools/call as Envoy hands it over.
func call(token, tool, arguments string) *authz.Request {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, tool, arguments)
	return &authz.Request{
		ID: "r-1", Route: "dealer", ClientAddress: "192.0.2.7",
		Request: operation.Request{
			Method: "POST", Scheme: "https", Authority: "dealer.example", Path: "/mcp",
			Headers: operation.Headers{
				{Name: "authorization", Value: "Bearer " + token},
				{Name: "content-type", Value: "application/json"},
				{Name: "accept", Value: "application/json, text/event-stream"},
				{Name: "mcp-protocol-version", Value: "2025-11-25"},
			},
			Body: body,
		},
	}
}

// memoryJournal keeps records, or fails.
type memoryJournal struct {
	mu      sync.Mutex // guards what follows
	records [][]byte
	classes []audit.Class
	err     error
	full    bool // there is room for events of class Reserve only
}

func (j *memoryJournal) Append(record []byte, class audit.Class) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	if j.full && class&audit.Reserve == 0 {
		return errors.New("full")
	}
	j.records = append(j.records, slices.Clone(record))
	j.classes = append(j.classes, class)
	return nil
}

// last is the last event, with the members of its metadata beside its own.
func (j *memoryJournal) last(t testing.TB) map[string]any {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.records) == 0 {
		t.Fatal("nothing was recorded")
	}
	var record map[string]any
	if err := json.Unmarshal(j.records[len(j.records)-1], &record); err != nil {
		t.Fatalf("record is not JSON: %v", err)
	}
	if metadata, ok := record["metadata"].(map[string]any); ok {
		maps.Copy(record, metadata)
	}
	return record
}
