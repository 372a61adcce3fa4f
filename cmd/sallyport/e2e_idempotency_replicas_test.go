package main_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/testenv"
)

// TestReplicas sends the calls of one key to two replicas.
func TestReplicas(t *testing.T) {
	t.Parallel()
	redis := testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true})
	x := startExchanges(t, exchangeOptions{redis: redis})
	y := startExchanges(t, exchangeOptions{redis: redis, replicaOf: x})
	for dialect, write := range dialects() {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			token := x.caller(t, "alice")
			work := newGate(t)
			s := x.scene(work.then(created))
			running := x.start(t, write(s, token))
			s.decisionOf(t)
			busy := y.send(t, write(s, token))
			y.retried(t, busy, busy, "idempotency.in_flight")
			work.open()
			a := <-running
			if a.err != nil {
				t.Fatal(a.err)
			}
			x.answered(t, a.answer, a.status, "executed")
			b := y.send(t, write(s, token))
			y.replayed(t, b, a.answer)
			if b.body != a.body {
				t.Errorf("replayed as %s, want %s", b.body, a.body)
			}
			s.executed(t, 1)

			unknown := x.scene(reset)
			x.answered(t, x.send(t, write(unknown, token)), http.StatusServiceUnavailable, "unknown")
			c := y.send(t, write(unknown, token))
			y.retried(t, c, c, "idempotency.outcome_unknown")
			unknown.executed(t, 1)
		})
	}
	t.Run("a race", func(t *testing.T) {
		t.Parallel()
		token := x.caller(t, "alice")
		for range 5 {
			s := x.scene(nil)
			var running []<-chan reply
			for range 4 {
				running = append(running, x.start(t, s.order(token)), y.start(t, s.order(token)))
			}
			bodies := make(map[string]int)
			for _, r := range running {
				a := <-r
				if a.err != nil {
					t.Fatal(a.err)
				}
				if a.status == http.StatusCreated {
					bodies[a.body]++
				} else if reason := refusalOf(a.answer); reason != "idempotency.in_flight" {
					t.Errorf("%d %s", a.status, a.body)
				}
			}
			if len(bodies) != 1 {
				t.Errorf("clients that got a success saw %v", bodies)
			}
			s.executed(t, 1)
		}
	})
}

// TestRevocationsReachReplicas revokes at one replica: the other refuses within a
// second, what it has stored for the caller too.
func TestRevocationsReachReplicas(t *testing.T) {
	t.Parallel()
	redis := testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true})
	x := startExchanges(t, exchangeOptions{redis: redis})
	y := startExchanges(t, exchangeOptions{redis: redis, replicaOf: x})
	s := x.scene(nil)
	alice, bob := s.order(x.caller(t, "alice")), x.scene(nil).order(x.caller(t, "bob"))
	y.answered(t, y.send(t, alice), http.StatusCreated, "executed")
	if output, ok := x.command(t, "token", "revoke", "--issuer", "dev", "--subject", "alice", "--why", "left"); !ok {
		t.Fatal(output)
	}
	revoked := time.Now()
	for name, replica := range map[string]*exchanges{"the other": y, "the same": x} {
		eventually(t, 10*time.Second, name+" refuses", replica.is(t, alice, "revocation.revoked"))
		if took := time.Since(revoked); took > time.Second {
			t.Errorf("%s refuses after %v", name, took)
		}
	}
	if a := y.send(t, bob); a.status != http.StatusCreated {
		t.Errorf("bob: %d %s", a.status, a.body)
	}
	s.executed(t, 1)
}

// responsesUnreadable counts stored responses that no key opens.
const responsesUnreadable = "sallyport_responses_unreadable_total"

// TestSealKeysRotate replaces the key of stored responses without a restart.
func TestSealKeysRotate(t *testing.T) {
	t.Parallel()
	redis := testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true})
	x := startExchanges(t, exchangeOptions{redis: redis})
	token := x.caller(t, "alice")
	executed := func() (*scene, answer) {
		s := x.scene(nil)
		a := x.send(t, s.order(token))
		x.answered(t, a, http.StatusCreated, "executed")
		return s, a
	}
	reload := func(from, to string) {
		t.Helper()
		x.edit(t, "sallyport.yaml", "key_files: ["+from+"]", "key_files: ["+to+"]")
		before := len(x.reloads())
		if err := syscall.Kill(x.sallyport.PID(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, reloadTime, "it is reloaded", func() bool { return len(x.reloads()) > before })
	}
	old, oldAnswer := executed()
	x.write(t, "fresh.key", "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"+"000102030405060708090a0b0c0d0e0f\n")
	reload("claims.key", "fresh.key, claims.key")
	x.replayed(t, x.send(t, old.order(token)), oldAnswer)
	fresh, freshAnswer := executed()
	x.replayed(t, x.send(t, fresh.order(token)), freshAnswer)
	if !x.shows(t, responsesUnreadable, 0)() {
		t.Error("a response can't be opened")
	}
	reload("fresh.key, claims.key", "fresh.key")
	x.replayed(t, x.send(t, fresh.order(token)), freshAnswer)
	a := x.send(t, old.order(token))
	x.retried(t, a, oldAnswer, "idempotency.not_retained")
	if !x.shows(t, responsesUnreadable, 1)() {
		t.Errorf("%s isn't 1", responsesUnreadable)
	}
	old.executed(t, 1)
	fresh.executed(t, 1)
}

// redisRights are the commands that Sallyport sends to a single server, on the keys and the channels of one prefix.
const redisRights = "resetchannels ~mesh7:* &mesh7:* +eval +evalsha +time +get +getex +set +del +hset +hget +hmget +hexists +hdel " +
	"+pexpire +pttl +zadd +zcard +zrangebyscore +zrem +zremrangebyscore +zscore +publish +subscribe +unsubscribe +info +ping +hello +client|setinfo +client|setname"

// TestRedisWithTLSAndUser uses a server that asks for certificates, as a user
// who may use no other command and no other prefix.
func TestRedisWithTLSAndUser(t *testing.T) {
	t.Parallel()
	dir := shortTempDir(t)
	authority := newAuthority(t, filepath.Join(dir, "tls"))
	files := make(map[string]string)
	for _, name := range []string{"redis", "sallyport"} {
		certFile, keyFile, err := authority.Issue(name, "redis.test")
		if err != nil {
			t.Fatal(err)
		}
		files[name+".pem"], files[name+".key"] = certFile, keyFile
	}
	redis := testenv.RedisFor(t, testenv.RedisOptions{
		User: "app", Password: "secret", ACL: redisRights,
		TLS: &testenv.RedisTLS{CAFile: authority.CAFile, CertFile: files["redis.pem"], KeyFile: files["redis.key"]},
	})
	lines := []string{
		"username: app", "password_file: redis.password", "prefix: \"mesh7:\"",
		fmt.Sprintf("tls: {ca_file: %s, cert_file: %s, key_file: sallyport.key, server_name: redis.test}", authority.CAFile, files["sallyport.pem"]),
	}
	x := startExchanges(t, exchangeOptions{redis: redis, redisLines: lines, files: func(dir string) {
		key, err := os.ReadFile(files["sallyport.key"])
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string][]byte{"sallyport.key": key, "redis.password": []byte("secret\n")} {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}})
	token := x.caller(t, "alice")
	for dialect, write := range dialects() {
		s := x.scene(nil)
		a := x.send(t, write(s, token))
		x.answered(t, a, a.status, "executed")
		x.replayed(t, x.send(t, write(s, token)), a)
		unknown := x.scene(reset)
		x.send(t, write(unknown, token))
		b := x.send(t, write(unknown, token))
		x.retried(t, b, b, "idempotency.outcome_unknown")
		busy := x.scene(answers(http.StatusTooManyRequests, ""))
		for range 2 {
			x.answered(t, x.send(t, write(busy, token)), http.StatusTooManyRequests, "released")
		}
		s.executed(t, 1)
		if t.Failed() {
			t.Fatal(dialect)
		}
	}
	for name, c := range limited() {
		if a := x.send(t, c.call(x.scene(nil), token)); a.status != http.StatusCreated {
			t.Errorf("%s with a slot: %d %s", name, a.status, a.body)
		}
	}
	s := x.scene(opensSession(""))
	session := x.send(t, s.of(initialize(token, "2025-11-25"))).header.Get(sessionHeader)
	x.kill(t)
	x.restart(t) // so that it has to ask whose session it is
	if a := x.send(t, s.of(inSession(token, "2025-11-25", session)["list"])); a.status != http.StatusOK {
		t.Errorf("in a session: %d %s", a.status, a.body)
	}
	if !x.shows(t, "sallyport_rate_limits_local", 0)() || !x.shows(t, "sallyport_redis_up", 1)() {
		t.Error("rate limits are this replica's own, or Redis doesn't answer")
	}
	if output, ok := x.command(t, "token", "revoke", "--issuer", "dev", "--subject", "alice", "--why", "left"); !ok {
		t.Error(output)
	}
	eventually(t, time.Second, "alice is refused", x.is(t, s.order(token), "revocation.revoked"))
}
