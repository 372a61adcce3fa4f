package main_test

import (
	"bytes"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/internal/testenv"
)

// middleman stands between Sallyport and Redis. It notes what is asked about
// the keys of requests, and can keep replies back.
type middleman struct {
	mu     sync.Mutex // guards all below
	notes  []string
	keep   string        // kind of question whose replies wait for letGo
	letGo  chan struct{} // closed: nothing waits
	closed bool
}

// kinds are what keys have after their prefix, one for each store.
var kinds = []string{"claim:", "slots:", "session:", "replay:", "rate:"}

func startMiddleman(t *testing.T, redis string) (m *middleman, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m = &middleman{letGo: make(chan struct{})}
	t.Cleanup(func() {
		m.release()
		_ = listener.Close()
	})
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", redis)
			if err != nil {
				_ = client.Close()
				continue
			}
			asked := make(chan string, 1000) // kinds of questions, of which replies will come
			go m.pass(server, client, func(chunk []byte) { asked <- m.note(chunk) })
			go m.pass(client, server, func([]byte) { m.await(<-asked) })
		}
	}()
	return m, listener.Addr().String()
}

// pass copies chunk by chunk. A client of Redis sends what it wants to wait for
// in one, and gets the replies in one, because they are small.
func (m *middleman) pass(to, from net.Conn, see func(chunk []byte)) {
	defer to.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		see(buffer[:n])
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (m *middleman) note(chunk []byte) string {
	for _, kind := range kinds {
		if bytes.Contains(chunk, []byte(kind)) {
			m.say(strings.TrimSuffix(kind, ":"))
			return kind
		}
	}
	return ""
}

func (m *middleman) say(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.notes = append(m.notes, what)
}

// said returns the notes since the last call, without those of rate limits,
// which are brought into line in the background.
func (m *middleman) said() (notes []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, note := range m.notes {
		if note != "rate" {
			notes = append(notes, note)
		}
	}
	m.notes = nil
	return notes
}

func (m *middleman) hold(kind string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keep = kind
}

func (m *middleman) await(kind string) {
	m.mu.Lock()
	keep := kind != "" && kind == m.keep
	m.mu.Unlock()
	if keep {
		<-m.letGo
	}
}

func (m *middleman) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		close(m.letGo)
	}
}

// TestWaitsForRedis counts what a request waits for: before the upstream the
// claim, and a slot where there is a limit; after it that the answer is stored.
func TestWaitsForRedis(t *testing.T) {
	t.Parallel()
	redis := testenv.RedisFor(t, testenv.RedisOptions{})
	m, address := startMiddleman(t, redis.Address())
	x := startExchanges(t, exchangeOptions{redis: redis, redisLines: []string{"timeout: 1s"}, later: true})
	x.edit(t, "sallyport.yaml", redis.Address(), address)
	x.startSallyport(t)
	x.startEnvoy(t)
	token := x.caller(t, "alice")
	upstream := func(w http.ResponseWriter, r *http.Request, n int) {
		m.say("upstream")
		created(w, r, n)
		m.say("answered")
	}
	calls := map[string]struct {
		path  string
		waits []string // from the request to the client's answer
	}{
		"a write":              {"POST /quick", []string{"claim", "upstream", "answered", "claim"}},
		"a write with a limit": {"POST /pairs", []string{"claim", "slots", "upstream", "answered", "claim"}},
		"a read":               {"GET /orders/1", []string{"upstream", "answered"}},
		"a read with a limit":  {"GET /singles", []string{"slots", "upstream", "answered"}},
	}
	send := func(name string) {
		method, path, _ := strings.Cut(calls[name].path, " ")
		r := x.scene(upstream).of(rest(token, method, path, ""))
		if a := x.send(t, r); a.status >= 300 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	for name := range calls {
		send(name) // scripts are loaded, connections are open
	}
	// The slot's release, which nobody waits for, is the last thing to be asked.
	quiet := func() {
		last := time.Now()
		eventually(t, 10*time.Second, "nothing is asked", func() bool {
			if m.said() != nil {
				last = time.Now()
			}
			return time.Since(last) > 100*time.Millisecond
		})
	}
	quiet()
	for name, c := range calls {
		send(name)
		got := m.said()
		if n := len(got); n > len(c.waits) && got[n-1] == "slots" {
			got = got[:n-1]
		}
		if diff := cmp.Diff(c.waits, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		quiet()
	}
	m.hold("rate:") // a limit is nothing to wait for
	send("a write")
	if !x.shows(t, "sallyport_rate_limits_local", 0)() {
		t.Error("the write came back when the limiter had given up to wait")
	}
}
