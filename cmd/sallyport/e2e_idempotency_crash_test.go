package main_test

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/testenv"
)

// shortLease is the shortest that can be configured, in seconds.
const shortLease = 3

// restart starts Sallyport, which was killed, and waits until Envoy asks it.
func (x *exchanges) restart(t *testing.T) {
	t.Helper()
	x.startSallyport(t)
	probe := rest(x.caller(t, "probe"), "GET", "/orders/1", "").with(sceneHeader, x.scene(nil).name)
	eventually(t, 15*time.Second, "Envoy asks the new process", func() bool { return decisionID(x.send(t, probe)) != "" })
}

// kill ends Sallyport as SIGKILL does.
func (x *exchanges) kill(t *testing.T) {
	t.Helper()
	if err := x.sallyport.Kill(); err != nil {
		t.Fatal(err)
	}
}

// failed checks that a client whose exchange was interrupted was told so.
func failed(t *testing.T, a reply) {
	t.Helper()
	if a.err == nil && a.status < 500 {
		t.Errorf("the client got %d %s", a.status, a.body)
	}
}

// TestKilledWhileClaiming kills Sallyport when Check has allowed a write and its
// key isn't claimed: Envoy must not take the end of the stream for a yes.
func TestKilledWhileClaiming(t *testing.T) {
	t.Parallel()
	redis := testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true})
	x := startExchanges(t, exchangeOptions{redis: redis, lease: shortLease, redisLines: []string{"timeout: 1s"}})
	restart := func() { x.restart(t) }       // it ends with the whole test
	for dialect, write := range dialects() { // one after the other: there is one Sallyport
		t.Run(dialect, func(t *testing.T) {
			s := x.scene(nil)
			token := x.caller(t, "alice")
			before := len(x.decisions(t))
			if err := redis.Pause(); err != nil {
				t.Fatal(err)
			}
			running := x.start(t, write(s, token))
			eventually(t, 10*time.Second, "it is allowed", func() bool {
				all := x.decisions(t)
				return len(all) > before && all[len(all)-1].Effect == "allow"
			})
			x.kill(t)
			failed(t, <-running)
			s.executed(t, 0)
			if err := redis.Resume(); err != nil {
				t.Fatal(err)
			}
			restart()
			// Whether the claim was made nobody knows; then the key stays taken.
			a := x.send(t, write(s, token))
			switch refusalOf(a) {
			case "":
				x.answered(t, a, a.status, "executed")
				s.executed(t, 1)
			case "idempotency.in_flight", "idempotency.outcome_unknown":
				eventually(t, 10*time.Second, "the lease ends", func() bool {
					return refusalOf(x.send(t, write(s, token))) == "idempotency.outcome_unknown"
				})
				s.executed(t, 0)
			default:
				t.Errorf("after the restart: %d %s", a.status, a.body)
			}
		})
	}
}

// TestKilledWhileWorking kills Sallyport while the upstream works, and in the
// middle of its answer.
func TestKilledWhileWorking(t *testing.T) {
	t.Parallel()
	redis := testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true})
	x := startExchanges(t, exchangeOptions{redis: redis, lease: shortLease})
	work := newGate(t)
	half := func(w http.ResponseWriter, r *http.Request, n int) {
		w.WriteHeader(http.StatusCreated)
		w.(http.Flusher).Flush()
		work.then(created)(w, r, n)
	}
	scenes := map[string]*scene{"REST": x.scene(work.then(created)), "MCP": x.scene(work.then(created)), "half an answer": x.scene(half)}
	token := x.caller(t, "alice")
	write := func(name string) request {
		if name == "MCP" {
			return scenes[name].book(token, "7")
		}
		return scenes[name].order(token)
	}
	running := make(map[string]<-chan reply)
	for name, s := range scenes {
		running[name] = x.start(t, write(name))
		s.decisionOf(t)
	}
	x.kill(t)
	for _, r := range running {
		failed(t, <-r)
	}
	work.open()
	x.restart(t)
	for name, s := range scenes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := x.send(t, write(name)) // as a client does that got an error
			if reason := refusalOf(a); reason != "idempotency.in_flight" && reason != "idempotency.outcome_unknown" {
				t.Errorf("after the restart: %d %s", a.status, a.body)
			}
			eventually(t, 10*time.Second, "the lease ends", func() bool {
				return refusalOf(x.send(t, write(name))) == "idempotency.outcome_unknown"
			})
			s.executed(t, 1)
		})
	}
}

// TestEndedWhileWorking ends Sallyport in order while the upstream works: what
// has begun is brought to its end.
func TestEndedWhileWorking(t *testing.T) {
	t.Parallel()
	redis := testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true})
	x := startExchanges(t, exchangeOptions{redis: redis})
	work := newGate(t)
	s := x.scene(work.then(created))
	write := s.order(x.caller(t, "alice"))
	running := x.start(t, write)
	s.decisionOf(t)
	if err := syscall.Kill(x.sallyport.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "it begins to end", func() bool { return !listening(x.ops) })
	work.open()
	a := <-running
	if a.err != nil || a.status != http.StatusCreated {
		t.Fatalf("%d %s, %v", a.status, a.body, a.err)
	}
	<-x.sallyport.Done()
	x.restart(t)
	x.replayed(t, x.send(t, write), a.answer)
	s.executed(t, 1)
}
