package extproc_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/envoy/extproc"
	"github.com/sallyport/sallyport/envoy/wire"
	"github.com/sallyport/sallyport/idempotency"
)

// world is the service with stores that can be made to fail, asked over gRPC.
type world struct {
	claims    *failingClaims
	slots     *failingSlots
	sessions  *failingSessions
	approvals *memoryApprovals
	journal   *memoryJournal
	client    extprocv3.ExternalProcessorClient
}

func newWorld(t *testing.T) *world {
	t.Helper()
	memory, err := idempotency.NewMemory(idempotency.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := authz.NewMemorySessions(100)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		claims:    &failingClaims{Store: memory},
		slots:     &failingSlots{Slots: authz.NewMemorySlots(time.Now)},
		sessions:  &failingSessions{Sessions: sessions},
		approvals: &memoryApprovals{open: make(map[string]bool)},
		journal:   &memoryJournal{},
	}
	cfg := extproc.Config{MaxKept: 96, StoreTimeout: time.Second}
	service := extproc.NewServer(cfg, w.claims, w.slots, w.sessions, w.approvals, w.journal,
		extproc.NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler), time.Now)
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(grpc.ForceServerCodecV2(wire.NewCodec()))
	service.Register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///bufconn",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		service.Close()
	})
	w.client = extprocv3.NewExternalProcessorClient(conn)
	return w
}

// failingClaims fails as told: before it asks the store, or after.
type failingClaims struct {
	idempotency.Store
	mu            sync.Mutex // guards what follows
	before, after error
}

func (f *failingClaims) fail(before, after error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

func (f *failingClaims) errors() (before, after error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.before, f.after
}

func (f *failingClaims) Claim(ctx context.Context, c idempotency.Claim) (idempotency.Result, error) {
	before, after := f.errors()
	if before != nil {
		return idempotency.Result{}, before
	}
	result, err := f.Store.Claim(ctx, c)
	if after != nil {
		return idempotency.Result{}, after
	}
	return result, err
}

func (f *failingClaims) Complete(ctx context.Context, key idempotency.Key, owner string, r *idempotency.Response) error {
	if before, _ := f.errors(); before != nil {
		return before
	}
	return f.Store.Complete(ctx, key, owner, r)
}

type failingSlots struct {
	authz.Slots
	err error
}

func (f *failingSlots) Take(ctx context.Context, slot authz.Slot, limit int, lease time.Duration) (bool, error) {
	if f.err != nil {
		return false, f.err
	}
	return f.Slots.Take(ctx, slot, limit, lease)
}

type failingSessions struct {
	authz.Sessions
	err error
}

func (f *failingSessions) Bind(ctx context.Context, server, session, principal string) error {
	if f.err != nil {
		return f.err
	}
	return f.Sessions.Bind(ctx, server, session, principal)
}

type memoryJournal struct {
	mu      sync.Mutex // guards records
	records []string
}

func (j *memoryJournal) Append(record []byte, _ audit.Class) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.records = append(j.records, string(record))
	return nil
}

// awaitOutcome waits for the record of a decision and returns its result. A
// stream's end reaches the server a little after its client.
func (w *world) awaitOutcome(t *testing.T, decision string) string {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		w.journal.mu.Lock()
		for _, record := range w.journal.records {
			var outcome struct {
				Status   string
				Metadata struct {
					DecisionID string `json:"decision_id"`
				}
			}
			if err := json.Unmarshal([]byte(record), &outcome); err != nil {
				t.Fatalf("record is not JSON: %v", err)
			}
			if outcome.Metadata.DecisionID == decision {
				w.journal.mu.Unlock()
				return outcome.Status
			}
		}
		w.journal.mu.Unlock()
		select {
		case <-deadline:
			t.Fatalf("no outcome of %s", decision)
		case <-time.After(time.Millisecond):
		}
	}
}

var (
	testKey     = idempotency.KeyOf("alice", "k-1")
	testDigest  = [32]byte{1}
	otherDigest = [32]byte{2}
)

// decision is the metadata of an allowed write through MCP.
func decision(id string, changes ...string) map[string]any {
	m := map[string]any{
		"v": "1", "decision_id": id, "exchange": "run", "principal_id": "alice", "server": "dealer", "tool": "book",
		"rpc_id_json": "7", "key_hash": hex.EncodeToString(testKey[:]), "key_source": "header",
		"fingerprint": hex.EncodeToString(testDigest[:]), "lease_ms": "30000", "key_ttl_ms": "60000",
	}
	for i := 0; i < len(changes); i += 2 {
		m[changes[i]] = changes[i+1]
		if changes[i+1] == "" {
			delete(m, changes[i])
			if changes[i] == "key_hash" {
				delete(m, "key_source")
			}
		}
	}
	return m
}

// envoy plays Envoy's part of one exchange.
type envoy struct {
	t      *testing.T
	stream extprocv3.ExternalProcessor_ProcessClient
	cancel context.CancelFunc
}

func (w *world) open(t *testing.T) *envoy {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := w.client.Process(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &envoy{t: t, stream: stream, cancel: cancel}
}

func (e *envoy) send(m *extprocv3.ProcessingRequest) *extprocv3.ProcessingResponse {
	e.t.Helper()
	if err := e.stream.Send(m); err != nil && !errors.Is(err, io.EOF) {
		e.t.Fatal(err)
	}
	answer, err := e.stream.Recv()
	if err != nil {
		e.t.Fatalf("%T: %v", m.GetRequest(), err)
	}
	return answer
}

func filterMetadata(t *testing.T, m map[string]any) *corev3.Metadata {
	t.Helper()
	s, err := structpb.NewStruct(m)
	if err != nil {
		t.Fatal(err)
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"envoy.filters.http.ext_authz": s}}
}

// request is the request phase. A nil answer is "go on".
func (e *envoy) request(m map[string]any) *extprocv3.ImmediateResponse {
	e.t.Helper()
	r := &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{}}}
	if m != nil {
		r.MetadataContext = filterMetadata(e.t, m)
	}
	answer := e.send(r)
	if answer.GetImmediateResponse() == nil && answer.GetRequestHeaders() == nil {
		e.t.Fatalf("neither an answer nor a go-on: %v", answer)
	}
	return answer.GetImmediateResponse()
}

func (e *envoy) headers(status, contentType, details string, end bool, more ...string) *extprocv3.ImmediateResponse {
	e.t.Helper()
	h := &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: ":status", RawValue: []byte(status)}, {Key: "content-type", RawValue: []byte(contentType)}}}
	for i := 0; i < len(more); i += 2 {
		h.Headers = append(h.Headers, &corev3.HeaderValue{Key: more[i], RawValue: []byte(more[i+1])})
	}
	attributes, err := structpb.NewStruct(map[string]any{"response.code_details": details, "response.flags": 0.0})
	if err != nil {
		e.t.Fatal(err)
	}
	answer := e.send(&extprocv3.ProcessingRequest{
		Request:    &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: &extprocv3.HttpHeaders{Headers: h, EndOfStream: end}},
		Attributes: map[string]*structpb.Struct{"envoy.filters.http.ext_proc": attributes},
	})
	if answer.GetImmediateResponse() == nil && answer.GetResponseHeaders() == nil {
		e.t.Fatalf("neither an answer nor a go-on: %v", answer)
	}
	return answer.GetImmediateResponse()
}

// body sends a chunk and returns what passes in its place.
func (e *envoy) body(chunk string, last bool) string {
	e.t.Helper()
	answer := e.send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseBody{
		ResponseBody: &extprocv3.HttpBody{Body: []byte(chunk), EndOfStream: last},
	}})
	body := answer.GetResponseBody()
	if body == nil {
		e.t.Fatalf("no answer to a body: %v", answer)
	}
	if mutation := body.GetResponse().GetBodyMutation(); mutation != nil {
		return string(mutation.GetBody())
	}
	return chunk
}

// end is the end of a stream by Envoy, which cancels it.
func (e *envoy) end() { e.cancel() }

const rpcResult = `{"jsonrpc":"2.0","id":7,"result":{"booked":true}}`

// execute is a whole exchange with the usual answer.
func (w *world) execute(t *testing.T, id string) {
	t.Helper()
	e := w.open(t)
	defer e.end()
	if refused := e.request(decision(id)); refused != nil {
		t.Fatalf("refused: %s", refused.GetBody())
	}
	e.headers("200", "application/json", "via_upstream", false)
	if got := e.body(rpcResult, true); got != rpcResult {
		t.Errorf("passed %q", got)
	}
}

// TestRenewal lets the upstream work for longer than a lease: the claim and the
// only slot stay taken.
func TestRenewal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const lease = 600 * time.Millisecond
	limited := func(id string, changes ...string) map[string]any {
		return decision(id, append(changes, "lease_ms", "600", "slot_limit", "1")...)
	}
	e := w.open(t)
	if refused := e.request(limited("d-1")); refused != nil {
		t.Fatalf("refused: %s", refused.GetBody())
	}
	for started := time.Now(); time.Since(started) < 2*lease; {
		retry := w.open(t)
		if refused := retry.request(limited("d-2")); !strings.Contains(string(refused.GetBody()), "idempotency.in_flight") {
			t.Fatalf("a retry after %v got %s", time.Since(started), refused.GetBody())
		}
		other := w.open(t)
		if refused := other.request(limited("d-3", "key_hash", hex.EncodeToString(otherDigest[:]))); !strings.Contains(string(refused.GetBody()), "concurrency.exceeded") {
			t.Fatalf("another call after %v got %s", time.Since(started), refused.GetBody())
		}
	}
	e.headers("200", "application/json", "via_upstream", false)
	e.body(rpcResult, true)
	e.end()
	if got := w.awaitOutcome(t, "d-1"); got != "executed" {
		t.Errorf("outcome %s", got)
	}
}

func TestExecuteThenReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.execute(t, "d-1")
	if got := w.awaitOutcome(t, "d-1"); got != "executed" {
		t.Errorf("outcome %s", got)
	}
	e := w.open(t)
	answer := e.request(decision("d-2", "rpc_id_json", `"eight"`))
	e.end()
	if answer == nil {
		t.Fatal("executed again")
	}
	if got, want := string(answer.GetBody()), `{"jsonrpc":"2.0","id":"eight","result":{"booked":true}}`; got != want {
		t.Errorf("replayed %s, want %s", got, want)
	}
	headers := immediateHeaders(answer)
	want := map[string]string{"idempotent-replayed": "true", "cache-control": "no-store", "x-sallyport-decision-id": "d-2", "content-type": "application/json"}
	if diff := cmp.Diff(want, headers); diff != "" {
		t.Error(diff)
	}
	if answer.GetDetails() != "idempotent_replay" || answer.GetStatus().GetCode() != 200 {
		t.Errorf("details %s, status %d", answer.GetDetails(), answer.GetStatus().GetCode())
	}
	if got := w.awaitOutcome(t, "d-2"); got != "replayed" {
		t.Errorf("outcome %s", got)
	}
}

func immediateHeaders(answer *extprocv3.ImmediateResponse) map[string]string {
	m := make(map[string]string)
	for _, h := range answer.GetHeaders().GetSetHeaders() {
		m[h.GetHeader().GetKey()] = string(h.GetHeader().GetRawValue())
	}
	return m
}

// reasonOf finds the reason in a refusal of any form.
func reasonOf(t *testing.T, answer *extprocv3.ImmediateResponse) string {
	t.Helper()
	if answer == nil {
		return "it went on"
	}
	var body struct {
		Reason string
		Error  struct{ Data struct{ Reason string } }
	}
	if err := json.Unmarshal(answer.GetBody(), &body); err != nil {
		t.Fatal(err)
	}
	return body.Reason + body.Error.Data.Reason
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inFlight := w.open(t)
	if refused := inFlight.request(decision("d-1")); refused != nil {
		t.Fatalf("refused: %s", refused.GetBody())
	}
	ask := func(want string, m map[string]any) *extprocv3.ImmediateResponse {
		t.Helper()
		e := w.open(t)
		defer e.end()
		answer := e.request(m)
		if got := reasonOf(t, answer); got != want {
			t.Errorf("reason %s, want %s", got, want)
		}
		return answer
	}
	busy := ask("idempotency.in_flight", decision("d-2"))
	if busy.GetStatus().GetCode() != 200 || immediateHeaders(busy)["retry-after"] == "" {
		t.Errorf("status %d, headers %v", busy.GetStatus().GetCode(), immediateHeaders(busy))
	}
	if rest := ask("idempotency.in_flight", decision("d-3", "rpc_id_json", "")); rest.GetStatus().GetCode() != 409 {
		t.Errorf("REST status %d", rest.GetStatus().GetCode())
	}
	ask("idempotency.mismatch", decision("d-4", "fingerprint", hex.EncodeToString(otherDigest[:])))
	inFlight.end() // the client went away
	if got := w.awaitOutcome(t, "d-1"); got != "unknown" {
		t.Errorf("outcome %s", got)
	}
	ask("idempotency.outcome_unknown", decision("d-5"))
	if answer := ask("it went on", decision("d-6", "on_unknown", "forward")); answer != nil {
		t.Errorf("refused: %s", answer.GetBody())
	}
}

// TestBadMetadata: what can't be read is refused, and never let through.
func TestBadMetadata(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, m := range map[string]map[string]any{
		"none":                nil,
		"unknown version":     decision("d", "v", "2"),
		"no version":          decision("d", "v", ""),
		"no decision":         decision("d", "decision_id", ""),
		"key of another size": decision("d", "key_hash", "00"),
		"key not hex":         decision("d", "key_hash", strings.Repeat("x", 64)),
		"no lease":            decision("d", "lease_ms", ""),
		"no TTL":              decision("d", "key_ttl_ms", ""),
		"no fingerprint":      decision("d", "fingerprint", ""),
		"no key":              decision("d", "key_hash", "", "key_source", "header"),
		"a slot, no lease":    decision("d", "key_hash", "", "key_source", "", "slot_limit", "1", "lease_ms", ""),
		"slots without end":   decision("d", "slot_limit", "4294967295"),
		"a lease of nothing":  decision("d", "lease_ms", "1"),
		"no exchange":         decision("d", "exchange", ""),
		"another exchange":    decision("d", "exchange", "maybe"),
		"another on_unknown":  decision("d", "on_unknown", "later"),
		"an approval, no key": decision("d", "approval_id", "a", "key_hash", ""),
		"nobody is approved":  decision("d", "approval_id", "a", "principal_id", ""),
		"nobody to bind to":   decision("d", "bind_session", "true", "principal_id", ""),
		"no number":           decision("d", "slot_limit", "many"),
	} {
		e := w.open(t)
		if got := reasonOf(t, e.request(m)); got != "internal.metadata" {
			t.Errorf("%s: %s", name, got)
		}
		e.end()
	}
}

// TestOrder: a message out of order ends the stream with an error, so that Envoy
// ends the request; it never ends it cleanly, which would let the request pass.
func TestOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	requestHeaders := &extprocv3.ProcessingRequest{
		Request:         &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{}},
		MetadataContext: filterMetadata(t, decision("d-1")),
	}
	body := &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseBody{ResponseBody: &extprocv3.HttpBody{}}}
	requestBody := &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{RequestBody: &extprocv3.HttpBody{}}}
	trailers := &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseTrailers{}}
	for name, messages := range map[string][]*extprocv3.ProcessingRequest{
		"nothing":             {{}},
		"body first":          {body},
		"request body":        {requestHeaders, requestBody},
		"request twice":       {requestHeaders, requestHeaders},
		"body before headers": {requestHeaders, body},
		"trailers":            {requestHeaders, trailers},
	} {
		e := w.open(t)
		for _, m := range messages[:len(messages)-1] {
			e.send(m)
		}
		if err := e.stream.Send(messages[len(messages)-1]); err != nil {
			t.Fatal(err)
		}
		_, err := e.stream.Recv()
		if status.Code(err) != codes.FailedPrecondition {
			t.Errorf("%s: %v", name, err)
		}
		e.end()
		w.forget(t)
	}
}

func (w *world) forget(t *testing.T) {
	t.Helper()
	record, known, err := w.claims.Show(t.Context(), testKey)
	if err == nil && known {
		_, err = w.claims.Clear(t.Context(), record)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestCleanEndIsAnError: Envoy half-closes before the last answer; a clean end
// of ours would mean "let it pass".
func TestCleanEndIsAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.open(t)
	defer e.end()
	e.request(decision("d-1"))
	if err := e.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.stream.Recv(); status.Code(err) != codes.Aborted {
		t.Errorf("ended with %v", err)
	}
	if got := w.awaitOutcome(t, "d-1"); got != "unknown" {
		t.Errorf("outcome %s", got)
	}
}

// TestPanicIsAnError: a panic ends one stream with an error.
func TestPanicIsAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slots.Slots = nil
	e := w.open(t)
	defer e.end()
	if err := e.stream.Send(&extprocv3.ProcessingRequest{
		Request:         &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{}},
		MetadataContext: filterMetadata(t, decision("d-1", "slot_limit", "1")),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.stream.Recv(); status.Code(err) != codes.Internal {
		t.Errorf("ended with %v", err)
	}
}

// TestLocalReplies: Envoy's own answers to requests that never got here pass.
func TestLocalReplies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.open(t)
	defer e.end()
	if answer := e.headers("404", "text/plain", "direct_response", false); answer != nil {
		t.Errorf("answered: %s", answer.GetBody())
	}
	if got := e.body("not found", true); got != "not found" {
		t.Errorf("passed %q", got)
	}
}

func TestStoreAway(t *testing.T) {
	t.Parallel()
	t.Run("before the execution", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.claims.fail(idempotency.ErrUnavailable, nil)
		e := w.open(t)
		defer e.end()
		answer := e.request(decision("d-1"))
		if got := reasonOf(t, answer); got != "idempotency.unavailable" || answer.GetStatus().GetCode() != 503 {
			t.Errorf("reason %s, status %d", got, answer.GetStatus().GetCode())
		}
	})
	t.Run("claimed, but not confirmed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.claims.fail(nil, idempotency.ErrUnavailable)
		e := w.open(t)
		if got := reasonOf(t, e.request(decision("d-1"))); got != "idempotency.unavailable" {
			t.Errorf("reason %s", got)
		}
		e.end()
		w.claims.fail(nil, nil)
		if _, known, err := w.claims.Show(t.Context(), testKey); known || err != nil {
			t.Errorf("the claim was not released: %v, %v", known, err)
		}
	})
	t.Run("after the execution", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		e := w.open(t)
		e.request(decision("d-1"))
		w.claims.fail(idempotency.ErrUnavailable, nil)
		e.headers("200", "application/json", "via_upstream", false)
		if got := e.body(rpcResult, true); got != rpcResult {
			t.Errorf("the client got %q", got)
		}
		e.end()
		w.claims.fail(nil, nil) // back again: the write is tried again
		deadline := time.Now().Add(10 * time.Second)
		for {
			record, _, err := w.claims.Show(t.Context(), testKey)
			if err == nil && record.State == idempotency.Replay {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("never written: %v, %v", record.State, err)
			}
			time.Sleep(time.Millisecond)
		}
	})
}

func TestSlots(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.open(t)
	if refused := first.request(decision("d-1", "slot_limit", "1")); refused != nil {
		t.Fatalf("refused: %s", refused.GetBody())
	}
	other := idempotency.KeyOf("alice", "k-2")
	second := w.open(t)
	if got := reasonOf(t, second.request(decision("d-2", "slot_limit", "1", "key_hash", hex.EncodeToString(other[:])))); got != "concurrency.exceeded" {
		t.Errorf("reason %s", got)
	}
	second.end()
	if _, known, err := w.claims.Show(t.Context(), other); known || err != nil {
		t.Errorf("the claim of a call without a slot is still there: %v, %v", known, err)
	}
	first.headers("200", "application/json", "via_upstream", false)
	first.body(rpcResult, true)
	first.end()
	w.awaitOutcome(t, "d-1")
	third := w.open(t)
	defer third.end()
	if refused := third.request(decision("d-3", "slot_limit", "1", "key_hash", hex.EncodeToString(other[:]))); refused != nil {
		t.Errorf("the slot was not freed: %s", refused.GetBody())
	}
	w.slots.err = errors.New("away")
	fourth := w.open(t)
	defer fourth.end()
	if got := reasonOf(t, fourth.request(decision("d-4", "slot_limit", "1", "key_hash", ""))); got != "concurrency.unavailable" {
		t.Errorf("reason %s", got)
	}
}

func TestBindSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	initialize := func(id, principal string) *extprocv3.ImmediateResponse {
		e := w.open(t)
		defer e.end()
		e.request(decision(id, "key_hash", "", "bind_session", "true", "principal_id", principal))
		return e.headers("200", "application/json", "via_upstream", false, "mcp-session-id", "s-1")
	}
	if answer := initialize("d-1", "alice"); answer != nil {
		t.Fatalf("refused: %s", answer.GetBody())
	}
	if owner, err := w.sessions.Owner(t.Context(), "dealer", "s-1"); owner != "alice" || err != nil {
		t.Errorf("owner %q, %v", owner, err)
	}
	if got := reasonOf(t, initialize("d-2", "mallory")); got != "operation.session_unavailable" {
		t.Errorf("a session was given away: %s", got)
	}
	w.sessions.err = errors.New("away")
	if got := reasonOf(t, initialize("d-3", "alice")); got != "operation.session_unavailable" {
		t.Errorf("reason %s", got)
	}
}
