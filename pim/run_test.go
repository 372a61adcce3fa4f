package pim

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/database"
	"github.com/sallyport/sallyport/internal/testenv"
)

// running runs a service until the test ends.
func (w *world) running(s *Service) *Service {
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	w.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.Errorf("run: %v", err)
		}
	})
	return s
}

// soon wants something to become true within a time.
func (w *world) soon(what string, within time.Duration, is func() bool) {
	w.Helper()
	start := time.Now()
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		switch took := time.Since(start); {
		case is():
			return
		case took > within:
			w.Fatalf("%s: not within %v", what, within)
		}
	}
}

func (w *world) sees(s *Service, who Party, want bool) func() bool {
	return func() bool {
		_, _, ok, err := s.View().Grant(holder(who), false, w.now())
		return err == nil && ok == want
	}
}

// realTime makes the clock of SQLite go.
func (w *world) realTime() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.time = time.Time{}
}

// TestReplicas: what one does another knows within a second, ends included.
func TestReplicas(t *testing.T) {
	forEach(t, func(w *world) {
		w.realTime()
		one, two := w.running(w.replica()), w.running(w.replica())
		granted := w.given(one, elevation(alice))
		w.wantGrant(one, alice, granted.ID)
		w.soon("the grant", time.Second, w.sees(two, alice, true))
		if _, err := two.Revoke(w.Context(), granted.ID, bob, ""); err != nil {
			w.Fatal(err)
		}
		w.soon("the revocation", time.Second, w.sees(one, alice, false))
		if _, ok, err := one.View().RevokedAt(holder(alice), w.now()); !ok || err != nil {
			w.Errorf("revoked: %v, %v", ok, err)
		}
		brief := elevation(bob)
		brief.Duration = time.Second
		r, err := one.Approve(w.Context(), w.ask(one, brief).ID, alice, "")
		if err != nil {
			w.Fatal(err)
		}
		w.soon("the brief one", time.Second, w.sees(two, bob, true))
		w.soon("its end", 2*time.Second, w.sees(two, bob, false))
		w.soon("its expiry", 4*time.Second, func() bool { return w.get(one, r.ID).State == Expired })
		w.soon("its count", time.Second, func() bool { return one.Stats().Lapsed+two.Stats().Lapsed == 1 })
	})
}

// TestAwayAtStart: the database comes later.
func TestAwayAtStart(t *testing.T) {
	forEach(t, func(w *world) {
		w.realTime()
		away := errors.New("no route to host")
		var here atomic.Bool
		s, err := New(Config{
			Journal: w.journal, Now: w.now, Log: w.replica().cfg.Log,
			Open: func(context.Context) (*database.DB, error) {
				if !here.Load() {
					return nil, away
				}
				return w.open(), nil
			},
		})
		if err != nil {
			w.Fatal(err)
		}
		w.running(s)
		_, err = s.Request(w.Context(), elevation(alice), terms)
		w.wantError("request", err, ErrUnavailable)
		w.wantError("request", err, away)
		w.wantError("get", second(s.Get(w.Context(), "00000000-0000-7000-8000-000000000001")), ErrUnavailable)
		w.wantError("spend", s.Spend(w.Context(), "00000000-0000-7000-8000-000000000001", "p", [32]byte{1}, "d"), ErrUnavailable)
		_, err = s.Notices().Due(w.Context(), 1, noticeLease)
		w.wantError("notices", err, ErrUnavailable)
		if _, _, _, err := s.View().Grant(holder(alice), false, w.now()); !errors.Is(err, ErrUnavailable) || s.Stats().Age >= 0 {
			w.Errorf("view: %v, %+v", err, s.Stats())
		}
		here.Store(true)
		w.soon("it works", 2*time.Second, w.sees(s, alice, false))
		w.given(s, elevation(alice))
		if !w.sees(s, alice, true)() {
			w.Error("the grant isn't known at once")
		}
	})
}

// TestAwayLater stops the database: nobody is let in from memory for longer than two
// seconds, and everything works again with it.
func TestAwayLater(t *testing.T) {
	t.Parallel()
	own := testenv.PostgresFor(t, testenv.PostgresOptions{})
	w := &world{T: t, journal: &journal{}, cfg: database.Config{
		Driver: database.Postgres, URL: own.URL(testenv.PostgresUser, testenv.PostgresPassword, "postgres"), MaxConns: 4,
	}}
	s := w.running(w.replica())
	granted, approved := w.given(s, elevation(alice)), w.given(s, call(alice, 1))
	if err := own.Kill(); err != nil {
		t.Fatal(err)
	}
	w.wantGrant(s, alice, granted.ID)
	w.wantError("spend", s.Spend(t.Context(), approved.ID, alice.PrincipalID, [32]byte{1}, "d"), ErrUnavailable)
	w.wantError("revoke", second(s.Revoke(t.Context(), granted.ID, bob, "")), ErrUnavailable)
	w.soon("the view is silent", 3*time.Second, func() bool {
		_, _, _, err := s.View().Grant(holder(alice), false, time.Now())
		return errors.Is(err, ErrUnavailable)
	})
	if err := own.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.soon("it works again", 5*time.Second, w.sees(s, alice, true))
	if err := s.Spend(t.Context(), approved.ID, alice.PrincipalID, [32]byte{1}, "d"); err != nil {
		t.Error(err)
	}
}

// TestBrokenCommits loses the answers of commits, or the commits. What was answered
// with nil has happened once, and what hasn't happened was no success.
func TestBrokenCommits(t *testing.T) {
	t.Parallel()
	own := testenv.PostgresFor(t, testenv.PostgresOptions{})
	direct := own.URL(testenv.PostgresUser, testenv.PostgresPassword, "postgres")
	proxy := newBreaker(t, direct)
	w := &world{T: t, journal: &journal{}, cfg: database.Config{Driver: database.Postgres, URL: proxy.url, MaxConns: 4}}
	s := w.replica()
	for _, applied := range []bool{true, false} {
		asked := w.ask(s, call(alice, 1))
		w.journal.take()
		proxy.breakNext(1, applied)
		if r, err := s.Approve(t.Context(), asked.ID, bob, "fine"); err != nil || r.State != Approved {
			t.Errorf("applied %v: %s, %v", applied, r.State, err)
		}
		proxy.breakNext(1, applied)
		if err := s.Spend(t.Context(), asked.ID, alice.PrincipalID, [32]byte{1}, "d1"); err != nil {
			t.Errorf("applied %v: spend: %v", applied, err)
		}
		w.wantError("another spends it", s.Spend(t.Context(), asked.ID, alice.PrincipalID, [32]byte{1}, "d2"), ErrSpent)
		if got := strings.Join(said(w.journal.take()), ", "); got != "approve begun, approve done, spend done" {
			t.Errorf("applied %v: recorded %s", applied, got)
		}
		proxy.breakNext(1, applied)
		r, err := s.Request(t.Context(), elevation(bob), terms)
		if err != nil || r.State != Pending {
			t.Errorf("applied %v: request: %+v, %v", applied, r, err)
		}
		w.wantPending(1)
		if _, err := s.Deny(t.Context(), r.ID, alice, ""); err != nil {
			t.Error(err)
		}
		if applied {
			continue
		}
		// Twice in a row nobody knows any more.
		proxy.breakNext(2, false)
		_, err = s.Request(t.Context(), elevation(alice), terms)
		w.wantError("two broken commits", err, ErrUnavailable)
		events := w.journal.take()
		if last := events[len(events)-1]; last.Action != "request" || last.Status != "failed" || last.Metadata.Failed == "" {
			t.Errorf("event %s", last.Raw)
		}
		if page, _, err := s.List(t.Context(), Filter{PrincipalID: alice.PrincipalID, State: Pending}); err != nil || len(page) != 0 {
			t.Errorf("%d requests, %v", len(page), err)
		}
		w.wantPending(0)
	}
}

// breaker is a way to a server that loses commits.
type breaker struct {
	url     string
	left    atomic.Int64 // commits to break
	applied atomic.Bool  // they reach the server, and their answer is lost
}

func (b *breaker) breakNext(n int64, applied bool) {
	b.applied.Store(applied)
	b.left.Store(n)
}

func newBreaker(t *testing.T, address string) *breaker {
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	target := u.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	u.Host = listener.Addr().String()
	b := &breaker{url: u.String()}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			broken, ended := make(chan struct{}), make(chan struct{})
			go b.forward(to, client, broken, ended)
			go func() {
				defer close(ended)
				defer client.Close()
				answers(client, to, broken)
			}()
		}
	}()
	return b
}

// forward passes on what a client says, until it breaks.
func (b *breaker) forward(to, client net.Conn, broken, ended chan struct{}) {
	defer to.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		isCommit := strings.Contains(string(buffer[:n]), "commit\x00") && b.left.Add(-1) >= 0
		if isCommit {
			close(broken)
			if !b.applied.Load() {
				return
			}
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
		if isCommit {
			<-ended // when the server has answered
			return
		}
	}
}

// answers passes on what the server says, until it breaks.
func answers(client, from net.Conn, broken chan struct{}) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		select {
		case <-broken:
			return
		default:
		}
		if err != nil {
			return
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}
