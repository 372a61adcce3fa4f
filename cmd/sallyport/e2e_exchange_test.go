package main_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/authz/refusal"
	"github.com/sallyport/sallyport/internal/dealership"
)

// request is what a client sends.
type request struct {
	method string // default POST
	path   string // default /mcp
	host   string // default: the authority of Envoy's listener
	token  string // sent as Bearer; empty: none
	header []string
	body   string
	client *http.Client // default: HTTP/1.1

	keyless bool // add no Idempotency-Key
}

// with adds header lines, names and values in turn.
func (r request) with(header ...string) request {
	r.header = append(slices.Clip(r.header), header...)
	return r
}

// modern is a request of MCP 2026-07-28, complete in itself. name is what
// Mcp-Name says; params is a JSON object.
func modern(token, method, name, params string) request {
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"e2e","version":"1"}}`
	params = strings.TrimSuffix(params, "}")
	if params != "{" {
		params += ","
	}
	r := request{token: token, body: fmt.Sprintf(`{"jsonrpc":"2.0","id":7,"method":%q,"params":%s%s}}`, method, params, meta)}
	r = r.with("Content-Type", "application/json", "Accept", "application/json, text/event-stream",
		"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", method)
	if name != "" {
		r = r.with("Mcp-Name", name)
	}
	return r
}

// callTool is a tools/call of MCP 2026-07-28.
func callTool(token, tool, arguments string) request {
	return modern(token, "tools/call", tool, fmt.Sprintf(`{"name":%q,"arguments":%s}`, tool, arguments))
}

// legacy is a request of MCP 2025-11-25.
func legacy(token, body string) request {
	r := request{token: token, body: body}
	return r.with("Content-Type", "application/json", "Accept", "application/json, text/event-stream", "MCP-Protocol-Version", "2025-11-25")
}

// rest is a request to the REST API.
func rest(token, method, path, body string) request {
	r := request{token: token, method: method, path: path, body: body}
	if body != "" {
		r = r.with("Content-Type", "application/json")
	}
	return r
}

// answer is what the client got.
type answer struct {
	status int
	proto  string
	header http.Header
	body   string
	mark   string // that the request carried, to find it upstream
}

// markHeader goes through Envoy like any other header that nobody knows.
const markHeader = "X-Mark"

// send sends a request and reads the whole answer.
func (m *mesh) send(t *testing.T, r request) answer {
	t.Helper()
	a, err := m.try(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// try is send for goroutines that must not end the test.
func (m *mesh) try(ctx context.Context, r request) (answer, error) {
	if r.client == nil {
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		r.client = &http.Client{Transport: transport, CheckRedirect: dontFollow}
	}
	response, err := m.open(ctx, r)
	if err != nil {
		return answer{}, err
	}
	return readAnswer(response, response.Request.Header.Get(markHeader))
}

// open sends a request, which must name its client, and returns when the header
// of the answer is there.
func (m *mesh) open(ctx context.Context, r request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, or(r.method, http.MethodPost), m.url+or(r.path, "/mcp"), strings.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	req.Host = r.host
	for i := 0; i < len(r.header); i += 2 {
		req.Header[r.header[i]] = append(req.Header[r.header[i]], r.header[i+1])
	}
	if r.token != "" {
		req.Header.Add("Authorization", "Bearer "+r.token)
	}
	if req.Method != http.MethodGet && !r.keyless && req.Header["Idempotency-Key"] == nil {
		req.Header.Set("Idempotency-Key", rand.Text()) // each call is meant
	}
	req.Header.Set(markHeader, rand.Text())
	return r.client.Do(req)
}

func dontFollow(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// sendRaw sends a request over HTTP/1.1 byte by byte as it is, for what a client
// library would correct. The mark is added to the header.
func (m *mesh) sendRaw(t *testing.T, text string) answer {
	t.Helper()
	conn, err := net.Dial("tcp", m.authority)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	mark := rand.Text()
	line, rest, _ := strings.Cut(text, "\r\n")
	if _, err := io.WriteString(conn, line+"\r\n"+markHeader+": "+mark+"\r\n"+rest); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	a, err := readAnswer(response, mark)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return a
}

func readAnswer(response *http.Response, mark string) (answer, error) {
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{status: response.StatusCode, proto: response.Proto, header: response.Header, body: string(body), mark: mark}, err
}

// json is the JSON text of the answer: the body, or the data of the last event
// of a stream.
func (a answer) json() string {
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream") {
		return a.body
	}
	last := ""
	for line := range strings.Lines(a.body) {
		if data, ok := strings.CutPrefix(line, "data:"); ok && strings.TrimSpace(data) != "" {
			last = strings.TrimSpace(data)
		}
	}
	return last
}

// refusal is what a refused client reads, in any dialect.
type facts struct {
	Reason       string   `json:"reason"`
	DecisionID   string   `json:"decision_id"`
	Policies     []string `json:"policies_evaluated"`
	Required     bool     `json:"elevation_required"`
	ElevationURL string   `json:"elevation_url"`
	RetryAfter   int      `json:"retry_after"`
}

// refusal reads the body; code is the JSON-RPC error's, 0 if there is none.
func (a answer) refusal(t *testing.T) (_ facts, code int) {
	t.Helper()
	var body struct {
		facts
		ID    json.RawMessage `json:"id"`
		Error *struct {
			Code int   `json:"code"`
			Data facts `json:"data"`
		} `json:"error"`
		Result *struct {
			IsError bool             `json:"isError"`
			Meta    map[string]facts `json:"_meta"`
		} `json:"result"`
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatalf("the answer %q is no refusal: %v", a.body, err)
	}
	switch {
	case body.Error != nil:
		return body.Error.Data, body.Error.Code
	case body.Result != nil:
		if !body.Result.IsError {
			t.Errorf("the refusal is no error for the client: %s", a.body)
		}
		return body.Result.Meta[refusal.FactsKey], 0
	}
	return body.facts, 0
}

// decision is one line of the audit trail.
type decision struct {
	ID        string `json:"event_id"`
	Type      string `json:"event_type"`
	Effect    string `json:"status"`
	Reason    string `json:"reason"`
	Principal struct {
		ID      string `json:"id"`
		Issuer  string `json:"issuer"`
		Subject string `json:"subject"`
	} `json:"principal"`
	Server    string   `json:"server"`
	Method    string   `json:"action"`
	Tool      string   `json:"tool_name"`
	Target    string   `json:"target"`
	Risk      string   `json:"risk"`
	Policies  []string `json:"policies_evaluated"`
	RequestID string   `json:"correlation_id"`
}

// policies in the order of Check.
func policies() []string {
	return []string{
		"route", "authentication", "revocation", "operation", "scopes", "schema", "conditions",
		"rate_limit", "step_up", "elevation", "approval", "idempotency",
	}
}

// decisions are the records of decisions so far.
func (m *mesh) decisions(t *testing.T) []decision {
	t.Helper()
	var all []decision
	m.records(t, "decision", func(line []byte) {
		var d decision
		if err := json.Unmarshal(line, &d); err != nil {
			t.Fatalf("audit trail: %v in %s", err, line)
		}
		all = append(all, d)
	})
	return all
}

// records shows the events of one type so far, in their order, with the members of
// their metadata beside their own.
func (m *mesh) records(t *testing.T, kind string, show func(line []byte)) {
	t.Helper()
	marker := fmt.Appendf(nil, `"event_type":%q`, kind)
	for _, line := range m.events(t) {
		if !bytes.Contains(line, marker) {
			continue
		}
		var members, metadata map[string]json.RawMessage
		if err := json.Unmarshal(line, &members); err != nil {
			t.Fatalf("event: %v in %s", err, line)
		}
		if text, ok := members["metadata"]; ok {
			if err := json.Unmarshal(text, &metadata); err != nil {
				t.Fatalf("event: %v in %s", err, line)
			}
		}
		delete(members, "metadata")
		maps.Copy(members, metadata)
		flat, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		show(flat)
	}
}

// decision is the record behind an answer: it must be there by now.
func (m *mesh) decision(t *testing.T, a answer) decision {
	t.Helper()
	id := a.header.Get("X-Sallyport-Decision-Id")
	if id == "" {
		t.Fatalf("the answer names no decision: %d %v %s", a.status, a.header, a.body)
	}
	for _, d := range m.decisions(t) {
		if d.ID == id {
			if request := a.header.Get("X-Request-Id"); d.RequestID != request {
				t.Errorf("decision %+v is not of request %q", d, request)
			}
			return d
		}
	}
	t.Fatalf("decision %s is not in the log", id)
	return decision{}
}

// arrival is a request that reached an upstream.
type arrival struct {
	server string
	dealership.Request
}

// arrivals are the requests with this mark that reached any upstream.
func (m *mesh) arrivals(mark string) []arrival {
	var found []arrival
	for name, upstream := range m.upstreams {
		for _, r := range upstream.Requests() {
			if r.Header.Get(markHeader) == mark {
				found = append(found, arrival{name, r})
			}
		}
	}
	return found
}

// denied checks a refusal of Check as a whole: the answer, the record, and that
// nothing went on.
func (m *mesh) denied(t *testing.T, a answer, status int, reason string) decision {
	t.Helper()
	if reached := m.arrivals(a.mark); len(reached) != 0 {
		t.Errorf("it reached an upstream: %+v", reached)
	}
	if a.status != status {
		t.Errorf("status %d, want %d (%s); body: %s", a.status, status, reason, a.body)
	}
	d := m.decision(t, a)
	policy, _, _ := strings.Cut(reason, ".")
	want := policies()[:slices.Index(policies(), policy)+1]
	if d.Effect != "deny" || d.Reason != reason {
		t.Errorf("recorded as %s %s, want deny %s", d.Effect, d.Reason, reason)
	}
	if diff := cmp.Diff(want, d.Policies); diff != "" {
		t.Errorf("policies evaluated (-want +got):\n%s", diff)
	}
	if authenticated := len(want) > 2; authenticated != (d.Principal.ID != "") {
		t.Errorf("the record's principal is %+v", d.Principal)
	}
	got, _ := a.refusal(t)
	if diff := cmp.Diff(facts{Reason: reason, DecisionID: d.ID, Policies: want}, facts{Reason: got.Reason, DecisionID: got.DecisionID, Policies: got.Policies}); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if cache := a.header.Get("Cache-Control"); cache != "no-store" {
		t.Errorf("cache-control is %q", cache)
	}
	return d
}

// allowed checks that a request went to this server, once, decided and without
// the client's credentials, and that its answer came back.
func (m *mesh) allowed(t *testing.T, a answer, server string) arrival {
	t.Helper()
	if a.status/100 != 2 {
		t.Errorf("status %d, want 2xx; body: %s", a.status, a.body)
	}
	return m.passed(t, a, server)
}

// passed is allowed whatever the upstream answers.
func (m *mesh) passed(t *testing.T, a answer, server string) arrival {
	t.Helper()
	d := m.decision(t, a)
	if d.Effect != "allow" || d.Reason != "allowed" || d.Server != server {
		t.Errorf("recorded as %s %s of server %q, want an allow of %q", d.Effect, d.Reason, d.Server, server)
	}
	if diff := cmp.Diff(policies(), d.Policies); diff != "" {
		t.Errorf("policies evaluated (-want +got):\n%s", diff)
	}
	reached := m.arrivals(a.mark)
	if len(reached) != 1 || reached[0].server != server {
		t.Fatalf("%d requests reached an upstream, want one at %s: %+v", len(reached), server, reached)
	}
	for _, name := range []string{"Authorization", "Proxy-Authorization", "Dpop"} {
		if lines := reached[0].Header[name]; lines != nil {
			t.Errorf("the client's %s reached the upstream", name)
		}
	}
	for name, want := range map[string]string{
		"X-Sallyport-Decision-Id": d.ID, "X-Sallyport-Principal-Id": d.Principal.ID, "X-Sallyport-User-Id": d.Principal.Subject,
	} {
		if diff := cmp.Diff([]string{want}, reached[0].Header[name]); diff != "" {
			t.Errorf("%s upstream (-want +got):\n%s", name, diff)
		}
	}
	return reached[0]
}

// undecided checks a refusal of Envoy's own: Check wasn't asked, and nothing
// went on.
func (m *mesh) undecided(t *testing.T, a answer, status int) {
	t.Helper()
	if reached := m.arrivals(a.mark); len(reached) != 0 {
		t.Errorf("it reached an upstream: %+v", reached)
	}
	if a.status != status {
		t.Errorf("status %d, want %d; body: %s", a.status, status, a.body)
	}
	if id := a.header.Get("X-Sallyport-Decision-Id"); id != "" {
		t.Errorf("the answer names decision %s", id)
	}
	id := a.header.Get("X-Request-Id")
	for _, d := range m.decisions(t) {
		if id != "" && d.RequestID == id {
			t.Errorf("it was decided: %+v", d)
		}
	}
}
