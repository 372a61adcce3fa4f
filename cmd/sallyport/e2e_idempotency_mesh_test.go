package main_test

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/devissuer"
	"github.com/sallyport/sallyport/internal/testenv"
)

// exchanges is testdata/e2e/exchange.yaml, running: a mesh with one upstream for
// all servers, which does what each test says.
type exchanges struct {
	*mesh
	stage *stage
	away  string // where the upstream of the server "away" would be
}

// exchangeOptions are what a test has different.
type exchangeOptions struct {
	lease      int            // of claims and slots, in seconds; default 30
	redis      *testenv.Redis // default: everything in memory
	redisLines []string       // more lines for its section
	files      func(dir string)
	replicaOf  *exchanges // shares its issuers and its upstream
	later      bool       // the test starts Sallyport and Envoy
}

const (
	maxKept      = 4096 // transaction_safety.max_response_bytes
	defaultLease = 30   // seconds
	// claimKey is what encrypts responses in Redis.
	claimKey = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
)

func startExchanges(t *testing.T, o exchangeOptions) *exchanges {
	t.Helper()
	x := &exchanges{}
	options := meshOptions{config: "exchange.yaml", tools: "exchange_tools.yaml", later: o.later}
	if o.replicaOf != nil {
		x.stage, x.away, options.issuersOf = o.replicaOf.stage, o.replicaOf.away, o.replicaOf.mesh
	} else {
		x.stage = &stage{scenes: make(map[string]*scene)}
		x.stage.address = serve(t, x.stage)
		ports, err := testenv.FreePorts(1)
		if err != nil {
			t.Fatal(err)
		}
		x.away = fmt.Sprintf("127.0.0.1:%d", ports[0])
	}
	safety, redis := []string{fmt.Sprintf("lease_seconds: %d", cmp.Or(o.lease, defaultLease))}, ""
	if o.redis != nil {
		safety = append(safety, "key_files: [claims.key]")
		redis = "redis:\n  " + strings.Join(append([]string{"addresses: [" + redisAddress(o.redis) + "]"}, o.redisLines...), "\n  ")
	}
	options.files = func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "claims.key"), []byte(claimKey), 0o600); err != nil {
			t.Fatal(err)
		}
		if o.files != nil {
			o.files(dir)
		}
	}
	options.values = map[string]string{
		"Upstream": x.stage.address, "Away": x.away, "MaxResponse": fmt.Sprint(maxKept),
		"Safety": "  " + strings.Join(safety, "\n  "), "Redis": redis,
	}
	x.mesh = startMesh(t, options)
	return x
}

func redisAddress(server *testenv.Redis) string {
	if server.Network() == "unix" {
		return "unix:" + server.Address()
	}
	return server.Address()
}

// caller mints a token that is good for every server. Each scene has a caller of
// its own, unless it is about others.
func (x *exchanges) caller(t *testing.T, subject string, changes ...func(*devissuer.TokenOptions)) string {
	t.Helper()
	return mint(t, x.issuer, callerOptions(subject, changes...))
}

func callerOptions(subject string, changes ...func(*devissuer.TokenOptions)) devissuer.TokenOptions {
	o := devissuer.TokenOptions{Subject: subject, Scopes: []string{"orders.write"}, Audience: []string{"exchange"}}
	for _, change := range changes {
		change(&o)
	}
	return o
}

// stage is the upstream.
type stage struct {
	address string

	mu     sync.Mutex // guards scenes
	scenes map[string]*scene
}

// play answers a request; n counts the requests of the scene, from 1. The body
// has arrived whole, so that the request's context ends when the client goes away.
type play func(w http.ResponseWriter, r *http.Request, n int)

// scene is one test's part of the stage, with a key of its own.
type scene struct {
	name, key string
	play      play

	mu      sync.Mutex // guards arrived
	arrived []*http.Request
}

// sceneHeader leads a request to its scene.
const sceneHeader = "X-Scene"

// scene adds one; nil plays created.
func (x *exchanges) scene(play play) *scene {
	if play == nil {
		play = created
	}
	s := &scene{name: rand.Text(), key: rand.Text(), play: play}
	x.stage.mu.Lock()
	defer x.stage.mu.Unlock()
	x.stage.scenes[s.name] = s
	return s
}

// of makes a request one of the scene, with the scene's key.
func (s *scene) of(r request) request {
	r = r.with(sceneHeader, s.name)
	if r.keyless {
		return r
	}
	return r.with("Idempotency-Key", s.key)
}

// order is a REST write of the scene.
func (s *scene) order(token string) request {
	return s.of(rest(token, "POST", "/orders", `{"item":1}`))
}

// book is an MCP write of the scene; id is JSON text.
func (s *scene) book(token, id string) request {
	return s.of(withID(callTool(token, "book", `{"item":1}`), id))
}

func withID(r request, id string) request {
	r.body = strings.Replace(r.body, `"id":7`, `"id":`+id, 1)
	return r
}

// requests are those that arrived for the scene so far.
func (s *scene) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.arrived...)
}

// executed checks how many requests of the scene reached the upstream.
func (s *scene) executed(t *testing.T, want int) {
	t.Helper()
	if got := len(s.requests()); got != want {
		t.Errorf("executed %d times, want %d", got, want)
	}
}

// decisionOf is the id of the decision behind the first request, once it has
// arrived.
func (s *scene) decisionOf(t *testing.T) string {
	t.Helper()
	eventually(t, 10*time.Second, "the request is at the upstream", func() bool { return len(s.requests()) > 0 })
	return s.requests()[0].Header.Get("X-Sallyport-Decision-Id")
}

// ServeHTTP implements http.Handler.
func (s *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	scene := s.scenes[r.Header.Get(sceneHeader)]
	s.mu.Unlock()
	if scene == nil {
		http.Error(w, "no such scene", http.StatusNotImplemented)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	scene.mu.Lock()
	scene.arrived = append(scene.arrived, r)
	n := len(scene.arrived)
	scene.mu.Unlock()
	scene.play(w, r, n)
}

// created answers as a server that did it: no two answers are the same.
func created(w http.ResponseWriter, r *http.Request, n int) {
	w.Header().Set("Content-Type", "application/json")
	if id := rpcID(r); id != "" {
		fmt.Fprint(w, result(id, fmt.Sprintf(`{"resultType":"complete","content":[],"structuredContent":{"n":%d}}`, n)))
		return
	}
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"n":%d}`, n)
}

// answers always gives the same answer; header has names and values in turn.
func answers(status int, body string, header ...string) play {
	return func(w http.ResponseWriter, _ *http.Request, _ int) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// first plays one thing for the first request and created for the others.
func first(once play) play {
	return func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 1 {
			once(w, r, n)
			return
		}
		created(w, r, n)
	}
}

// rpcID is the id of a JSON-RPC request as JSON text; empty if it is none.
func rpcID(r *http.Request) string {
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	var message struct {
		JSONRPC string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
	}
	if err != nil || json.Unmarshal(body, &message) != nil || message.JSONRPC == "" {
		return ""
	}
	return string(message.ID)
}

// result is the JSON-RPC message with a result, given as JSON text.
func result(id, value string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":%s}`, id, value)
}

// gate holds what waits for it until it opens.
type gate struct {
	ch   chan struct{}
	once sync.Once
}

// newGate opens with the end of the test, whatever happens.
func newGate(t *testing.T) *gate {
	g := &gate{ch: make(chan struct{})}
	t.Cleanup(g.open)
	return g
}

func (g *gate) open() { g.once.Do(func() { close(g.ch) }) }

// then waits for the gate and plays on, unless the client goes away first.
func (g *gate) then(next play) play {
	return func(w http.ResponseWriter, r *http.Request, n int) {
		select {
		case <-g.ch:
			next(w, r, n)
		case <-r.Context().Done():
		}
	}
}

// reply is an answer that is being waited for.
type reply struct {
	answer
	err error
}

// start sends a request without waiting for the answer.
func (x *exchanges) start(t *testing.T, r request) <-chan reply {
	t.Helper()
	replies := make(chan reply, 1)
	go func() {
		a, err := x.try(t.Context(), r)
		replies <- reply{a, err}
	}()
	return replies
}

func replaceID(text, id string) string { return strings.ReplaceAll(text, "ID", id) }
