package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// outbox keeps to the contract of Outbox in memory.
type outbox struct {
	t       *testing.T
	mu      sync.Mutex
	notices map[string]*kept
	dropped []string
	broken  bool // nothing works
}

type kept struct {
	Notice
	due    time.Time
	leased time.Time // until
}

func (o *outbox) add(id string, to *Endpoint) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.notices[id] = &kept{Notice: Notice{ID: id, Endpoint: to.Name(), Body: []byte(`{"id":"` + id + `"}`), Created: time.Now()}}
}

func (o *outbox) Due(_ context.Context, limit int) (due []Notice, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken {
		return nil, errors.New("database")
	}
	for _, id := range slices.Sorted(maps.Keys(o.notices)) {
		if n := o.notices[id]; len(due) < limit && !time.Now().Before(n.due) && !time.Now().Before(n.leased) {
			n.leased = time.Now().Add(Lease)
			due = append(due, n.Notice)
		}
	}
	return due, nil
}

// settled checks that who settles a notice has claimed it.
func (o *outbox) settled(ctx context.Context, id string) (*kept, error) {
	n := o.notices[id]
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case o.broken:
		return nil, errors.New("database")
	case n == nil:
		o.t.Errorf("notice %s is settled, but there is none", id)
		return &kept{}, nil
	case !time.Now().Before(n.leased):
		o.t.Errorf("notice %s is settled after its lease", id)
	}
	return n, nil
}

func (o *outbox) Delivered(ctx context.Context, id string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err := o.settled(ctx, id)
	if err == nil {
		delete(o.notices, id)
	}
	return err
}

func (o *outbox) Drop(ctx context.Context, id string) error {
	err := o.Delivered(ctx, id)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		o.dropped = append(o.dropped, id)
	}
	return err
}

func (o *outbox) Retry(ctx context.Context, id string, at time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.settled(ctx, id)
	if err == nil {
		n.due, n.leased = at, time.Time{}
		n.Attempts++
	}
	return err
}

func (o *outbox) setBroken(broken bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broken = broken
}

func (o *outbox) left() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.notices)
}

// receivers are endpoints without a network, by their hosts.
type receivers struct {
	mu     sync.Mutex
	answer map[string]func(n int) int // the status to the attempt n of a host, from 1; 0: none, ever
	times  map[string][]time.Time
	ids    []string
	takes  time.Duration // each answer
	during func()        // runs before each answer
}

func (r *receivers) asked(host string) []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.times[host])
}

func (r *receivers) sent() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ids)
}

func (r *receivers) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.times[req.URL.Host] = append(r.times[req.URL.Host], time.Now())
	r.ids = append(r.ids, req.Header.Get(IDHeader))
	status := r.answer[req.URL.Host](len(r.times[req.URL.Host]))
	r.mu.Unlock()
	time.Sleep(r.takes)
	if r.during != nil {
		r.during()
	}
	if status == 0 {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("")), Header: http.Header{}}, nil
}

func endpoint(host string) *Endpoint {
	return &Endpoint{URL: "https://" + host + "/hook", Keys: [][]byte{key("a")}}
}

type sending struct {
	*Sender
	outbox    *outbox
	receivers *receivers
	wake      chan struct{}
	cancel    func() // tells it to stop
	stop      func() // and waits
}

// start runs a sender until the test ends. It must be called in a bubble.
func start(t *testing.T, answer map[string]func(int) int) *sending {
	t.Helper()
	return startWith(t, &outbox{t: t, notices: map[string]*kept{}}, answer)
}

func startWith(t *testing.T, box *outbox, answer map[string]func(int) int, changes ...func(*sending)) *sending {
	t.Helper()
	s := &sending{
		outbox:    box,
		receivers: &receivers{answer: answer, times: map[string][]time.Time{}},
		wake:      make(chan struct{}, 1),
	}
	s.Sender = NewSender(Config{}, box, func() (all []Endpoint) {
		for host := range answer {
			all = append(all, *endpoint(host))
		}
		return all
	}, slog.New(slog.DiscardHandler), time.Now)
	s.client.http.Transport = s.receivers
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	s.cancel = cancel
	for _, change := range changes {
		change(s)
	}
	go func() { ended <- s.Run(ctx, s.wake) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

func always(status int) func(int) int { return func(int) int { return status } }

func TestDeliversAtOnceAndInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, map[string]func(int) int{"a.example": always(200)})
		synctest.Wait()
		for i := range 100 {
			s.outbox.add(fmt.Sprintf("n-%03d", i), endpoint("a.example"))
		}
		s.wake <- struct{}{}
		synctest.Wait()
		// More than fit into the line at once may come after a lease.
		if sent := s.receivers.sent(); len(sent) < backlog || !slices.IsSorted(sent) {
			t.Errorf("%d left, %+v, order %v", s.outbox.left(), s.Counts(), sent)
		}
		time.Sleep(Lease + pollEvery)
		synctest.Wait()
		if s.outbox.left() != 0 || s.Counts().Delivered != 100 {
			t.Errorf("%d left, %+v", s.outbox.left(), s.Counts())
		}
	})
}

func TestRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, map[string]func(int) int{"a.example": always(500)})
		s.outbox.add("n-1", endpoint("a.example"))
		began := time.Now()
		time.Sleep(26 * time.Hour)
		synctest.Wait()
		asked := s.receivers.asked("a.example")
		if last := asked[len(asked)-1].Sub(began); last > giveUp || last < giveUp-maxDelay-pollEvery {
			t.Errorf("the last attempt was after %v", last)
		}
		for i := 1; i < len(asked); i++ {
			gap, most := asked[i].Sub(asked[i-1]), min(maxDelay, minDelay<<min(i, 16))
			if gap < most/2 || gap > most+pollEvery {
				t.Errorf("gap %d is %v, of at most %v", i, gap, most)
			}
		}
		if s.Counts() != (Counts{Failed: uint64(len(asked)), Dropped: 1}) || s.outbox.left() != 0 {
			t.Errorf("%+v, %d attempts, %d left", s.Counts(), len(asked), s.outbox.left())
		}
	})
}

func TestRecovers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, map[string]func(int) int{"a.example": func(n int) int {
			if n < 4 {
				return 503
			}
			return 200
		}})
		s.outbox.add("n-1", endpoint("a.example"))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if s.Counts() != (Counts{Delivered: 1, Failed: 3}) || s.outbox.left() != 0 {
			t.Errorf("%+v", s.Counts())
		}
		if ids := s.receivers.sent(); slices.ContainsFunc(ids, func(id string) bool { return id != "n-1" }) {
			t.Errorf("an attempt has another id: %v", ids)
		}
	})
}

func TestGoneStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, map[string]func(int) int{"a.example": always(410)})
		s.outbox.add("n-1", endpoint("a.example"))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if s.Counts() != (Counts{Failed: 1, Dropped: 1}) || len(s.receivers.sent()) != 1 || s.outbox.left() != 0 {
			t.Errorf("%+v, %v", s.Counts(), s.receivers.sent())
		}
	})
}

func TestUnknownEndpointsAreDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, map[string]func(int) int{"a.example": always(200)})
		s.outbox.add("n-1", endpoint("former.example"))
		time.Sleep(pollEvery)
		synctest.Wait()
		if !slices.Equal(s.outbox.dropped, []string{"n-1"}) || len(s.receivers.sent()) != 0 {
			t.Errorf("dropped %v, sent %v", s.outbox.dropped, s.receivers.sent())
		}
	})
}

// A receiver that hangs costs its own notices their time, and nobody else's.
func TestReceiverHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, map[string]func(int) int{"hangs.example": always(0), "a.example": always(200)})
		for i := range 200 {
			s.outbox.add(fmt.Sprintf("a-%03d", i), endpoint("hangs.example"))
		}
		time.Sleep(pollEvery)
		synctest.Wait()
		s.outbox.add("b-1", endpoint("a.example"))
		added := time.Now()
		time.Sleep(3 * pollEvery)
		synctest.Wait()
		if asked := s.receivers.asked("a.example"); len(asked) != 1 || asked[0].Sub(added) > pollEvery {
			t.Errorf("the other one was asked at %v, its notice was there at %v", asked, added)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		// One after the other they would take ten seconds each; put off together, a
		// few attempts were made.
		if asked := len(s.receivers.asked("hangs.example")); asked < 2 || asked > 4 {
			t.Errorf("the hanging one was asked %d times", asked)
		}
		if s.outbox.left() != 200 {
			t.Errorf("%d left", s.outbox.left())
		}
	})
}

// What a process leaves behind at its end is due again when its lease has ended, and
// counts as no attempt.
func TestEndLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := &outbox{t: t, notices: map[string]*kept{}}
		box.add("n-1", endpoint("a.example"))
		began := time.Now()
		first := startWith(t, box, map[string]func(int) int{"a.example": always(0)})
		synctest.Wait()
		first.stop()
		if box.left() != 1 || first.Counts() != (Counts{}) || len(first.receivers.sent()) != 1 {
			t.Fatalf("%d left, %+v", box.left(), first.Counts())
		}
		second := startWith(t, box, map[string]func(int) int{"a.example": always(200)})
		time.Sleep(Lease + pollEvery)
		synctest.Wait()
		asked := second.receivers.asked("a.example")
		if box.left() != 0 || len(asked) != 1 || asked[0].Sub(began) < Lease {
			t.Errorf("%d left, asked at %v", box.left(), asked)
		}
	})
}

// What has waited in the line of a slow receiver for nearly as long as it is ours may
// be another replica's before it is settled.
func TestSlowReceiver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := &outbox{t: t, notices: map[string]*kept{}}
		for i := range 50 {
			box.add(fmt.Sprintf("n-%02d", i), endpoint("a.example"))
		}
		s := startWith(t, box, map[string]func(int) int{"a.example": always(200)}, func(s *sending) { s.receivers.takes = attemptTimeout - time.Second })
		time.Sleep(15 * time.Minute)
		synctest.Wait()
		if sent := s.receivers.sent(); box.left() != 0 || len(sent) != 50 {
			t.Errorf("%d left, %d sent", box.left(), len(sent))
		}
	})
}

// What is delivered in the moment of the end isn't delivered again by the next process.
func TestEndWhileDelivering(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := &outbox{t: t, notices: map[string]*kept{}}
		box.add("n-1", endpoint("a.example"))
		s := startWith(t, box, map[string]func(int) int{"a.example": always(200)}, func(s *sending) { s.receivers.during = s.cancel })
		synctest.Wait()
		s.stop()
		if box.left() != 0 || s.Counts().Delivered != 1 {
			t.Errorf("%d left, %+v", box.left(), s.Counts())
		}
	})
}

func TestOutboxIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, map[string]func(int) int{"a.example": always(200)})
		s.outbox.setBroken(true)
		s.outbox.add("n-1", endpoint("a.example"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(s.receivers.sent()) != 0 {
			t.Error("sent without a claim")
		}
		s.outbox.setBroken(false)
		time.Sleep(pollEvery)
		synctest.Wait()
		if s.Counts().Delivered != 1 {
			t.Errorf("%+v", s.Counts())
		}
	})
}

func TestDelay(t *testing.T) {
	t.Parallel()
	for before := range 80 {
		if d := delay(before, 0); d < minDelay || d > maxDelay {
			t.Errorf("%d: %v", before, d)
		}
	}
	if d := delay(0, 5*time.Minute); d != 5*time.Minute {
		t.Errorf("asked for five minutes: %v", d)
	}
	if d := delay(0, 48*time.Hour); d != maxDelay {
		t.Errorf("asked for two days: %v", d)
	}
}
