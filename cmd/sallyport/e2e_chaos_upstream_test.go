package main_test

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/testenv"
)

// act is what the upstream does with a request.
type act string

const (
	answersAct  act = "answers"
	slowAct     act = "answers slowly" // after the effect
	lateAct     act = "acts late"      // and answers then
	fails       act = "5xx before the effect"
	failsAfter  act = "5xx after the effect"
	resets      act = "reset after the effect" // before any header
	resetsMid   act = "reset mid-response"
	refusesAct  act = "429 before the effect"
	declinesAct act = "declines for good" // no effect
)

// acts are chosen in these shares, of 100.
var acts = [...]struct {
	act
	share int
}{
	{answersAct, 60},
	{slowAct, 6},
	{lateAct, 4},
	{fails, 5},
	{failsAfter, 5},
	{resets, 5},
	{resetsMid, 5},
	{refusesAct, 5},
	{declinesAct, 5},
}

// effects is an upstream that has an effect for each request that it acts on,
// whatever its key, and whoever is still there to hear of it.
type effects struct {
	seed    uint64
	address string
	calm    atomic.Bool // only answers from now on
	open    atomic.Int64
	server  *http.Server // used by the injector alone

	mu      sync.Mutex          // guards the fields below
	arrived map[string]int      // requests of each key
	had     map[string][]string // effects of each key, each by its own name
	acted   map[act]int
}

func startEffects(t *testing.T, seed uint64) *effects {
	t.Helper()
	port, err := testenv.FreePort() // that no outgoing connection takes while it is away
	must(t, err)
	u := &effects{
		seed: seed, address: fmt.Sprintf("127.0.0.1:%d", port),
		arrived: make(map[string]int), had: make(map[string][]string), acted: make(map[act]int),
	}
	u.listen(t)
	t.Cleanup(func() { _ = u.server.Close() })
	return u
}

// listen accepts connections, always at the same address.
func (u *effects) listen(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", u.address)
	must(t, err)
	u.server = &http.Server{Handler: u}
	go u.server.Serve(listener) // until away
}

// away closes the listener and all connections. What has begun goes on.
func (u *effects) away() error { return u.server.Close() }

// choose is the same in each run with the seed.
func (u *effects) choose(key string) (act, *rand.Rand) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.arrived[key]++
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%d", key, u.arrived[key])
	random := rand.New(rand.NewPCG(u.seed, h.Sum64()))
	chosen := answersAct
	for i, n := 0, random.IntN(100); i < len(acts) && !u.calm.Load(); i++ {
		if n -= acts[i].share; n < 0 {
			chosen = acts[i].act
			break
		}
	}
	u.acted[chosen]++
	return chosen, random
}

// effect happens, and has a name that no other has.
func (u *effects) effect(key string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	name := fmt.Sprintf("%s#%d", key, len(u.had[key])+1)
	u.had[key] = append(u.had[key], name)
	return name
}

// ServeHTTP implements http.Handler.
func (u *effects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.open.Add(1)
	defer u.open.Add(-1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // it never arrived
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	key := r.Header.Get("Idempotency-Key")
	chosen, random := u.choose(key)
	id := rpcID(r)
	long := time.Duration(300+random.IntN(4200)) * time.Millisecond // up to beyond the lease
	switch chosen {
	case fails:
		http.Error(w, "nothing happened", http.StatusServiceUnavailable)
		return
	case refusesAct:
		http.Error(w, "not now", http.StatusTooManyRequests)
		return
	case declinesAct:
		decline(w, id)
		return
	case lateAct:
		linger(context.Background(), long)
	}
	name := u.effect(key)
	switch chosen {
	case failsAfter:
		http.Error(w, "something happened", http.StatusInternalServerError)
		return
	case resets:
		resetConnection(w)
		return
	case slowAct:
		linger(r.Context(), long) // the effect is there already
	}
	report(w, id, name, random.IntN(2) == 0, chosen == resetsMid)
}

func linger(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}

func decline(w http.ResponseWriter, id string) {
	w.Header().Set("Content-Type", "application/json")
	if id != "" {
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32602,"message":"declined"}}`, id)
		return
	}
	w.WriteHeader(http.StatusUnprocessableEntity)
	io.WriteString(w, `{"declined":true}`)
}

// resetConnection closes the connection so that the other side sees a reset.
func resetConnection(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// report says what the effect was; cut: and closes the connection amid it.
func report(w http.ResponseWriter, id, name string, stream, cut bool) {
	text := fmt.Sprintf(`{"effect":%q}`, name)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case id != "" && stream:
		w.Header().Set("Content-Type", "text/event-stream")
		text = "event: message\ndata: " + `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"booked"}}` +
			"\n\nevent: message\ndata: " + result(id, `{"resultType":"complete","content":[],"structuredContent":`+text+`}`) + "\n\n"
	case id != "":
		text = result(id, `{"resultType":"complete","content":[],"structuredContent":`+text+`}`)
	}
	if !cut {
		io.WriteString(w, text)
		return
	}
	io.WriteString(w, text[:len(text)*2/3])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// counted are the effects of each key so far, and how often each act was played.
func (u *effects) counted() (map[string][]string, map[act]int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return maps.Clone(u.had), maps.Clone(u.acted)
}
