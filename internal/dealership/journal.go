package dealership

import (
	"net/http"
	"sync"
)

// Request is what arrived, as it arrived: a gateway's mistakes must show.
type Request struct {
	Method string
	URI    string // request target, undecoded
	Host   string
	Proto  string
	Header http.Header
}

// journal keeps the last requests.
type journal struct {
	mu    sync.Mutex // guards what follows
	ring  []Request
	limit int
	count int
}

func newJournal(limit int) *journal { return &journal{limit: limit} }

// record notes every request before it is served.
func (j *journal) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		j.add(Request{
			Method: r.Method,
			URI:    r.RequestURI,
			Host:   r.Host,
			Proto:  r.Proto,
			Header: r.Header.Clone(),
		})
		next.ServeHTTP(w, r)
	})
}

func (j *journal) add(r Request) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.ring) < j.limit {
		j.ring = append(j.ring, r)
	} else {
		j.ring[j.count%j.limit] = r
	}
	j.count++
}

func (j *journal) last() []Request {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.ring) < j.limit {
		return append([]Request(nil), j.ring...)
	}
	oldest := j.count % j.limit
	return append(append([]Request(nil), j.ring[oldest:]...), j.ring[:oldest]...)
}

func (j *journal) total() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.count
}

func (j *journal) clear() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ring, j.count = nil, 0
}
