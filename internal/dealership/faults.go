package dealership

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"time"
)

// maxBody is how many bytes of a request body are read at most.
const maxBody = 4 << 20

// faults makes the dealership fail on demand.
type faults struct {
	mu     sync.Mutex // guards what follows
	left   int
	status int
	delay  time.Duration
}

// FailNext answers the next n requests with this status, without any effect.
// They count as arrived: so a test sees whether something in front retried.
func (s *Server) FailNext(n, status int) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.left, s.faults.status = n, status
}

// SetDelay makes every request wait before it is served; 0 stops that. A
// request whose client goes away meanwhile has no effect.
func (s *Server) SetDelay(d time.Duration) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.delay = d
}

// next takes what the coming request shall suffer; status 0: nothing.
func (f *faults) next() (status int, delay time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left > 0 {
		f.left--
		status = f.status
	}
	return status, f.delay
}

func (f *faults) inject(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, delay := f.next()
		if delay > 0 {
			// net/http notices that a client is gone only once the body is read.
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
			if err != nil {
				http.Error(w, "body unreadable or too large", http.StatusRequestEntityTooLarge)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			timer := time.NewTimer(delay)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-r.Context().Done():
				return
			}
		}
		if status != 0 {
			http.Error(w, "fault injected", status)
			return
		}
		next.ServeHTTP(w, r)
	})
}
