package audit

import (
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Strangers counts the denials of callers that were not authenticated. Above a
// rate per source they are not recorded one by one but in one event for all: who
// sends garbage can't fill the journal or buy objects. It is safe for concurrent
// use.
type Strangers struct {
	limit rate.Limit
	burst int

	mu      sync.Mutex // guards what follows
	sources map[string]*source
}

// maxSources bounds how many sources are told apart between two flushes; further
// ones are counted as the source "".
const maxSources = 4096

type source struct {
	limiter *rate.Limiter
	counted map[string]*counted // by reason
}

type counted struct {
	n           int
	first, last time.Time
}

// NewStrangers returns a counter that leaves perSecond denials of a source to be
// recorded by themselves, and as many as ten seconds' worth at once.
func NewStrangers(perSecond float64) *Strangers {
	return &Strangers{limit: rate.Limit(perSecond), burst: max(1, int(10*perSecond)), sources: make(map[string]*source)}
}

// Counted reports whether the denial was counted, so that it needs no event of
// its own. reason is a code of a bounded table. A nil *Strangers counts nothing.
func (s *Strangers) Counted(address, reason string, now time.Time) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	from, ok := s.sources[address]
	if !ok {
		if len(s.sources) >= maxSources {
			address = ""
		}
		if from = s.sources[address]; from == nil {
			from = &source{limiter: rate.NewLimiter(s.limit, s.burst)}
			s.sources[address] = from
		}
	}
	if from.limiter.AllowN(now, 1) {
		return false
	}
	c := from.counted[reason]
	if c == nil {
		if from.counted == nil {
			from.counted = make(map[string]*counted)
		}
		c = &counted{first: now}
		from.counted[reason] = c
	}
	c.n++
	c.last = now
	return true
}

// Flush returns the events of what was counted since the last time, and forgets
// the sources that have been quiet since.
func (s *Strangers) Flush(now time.Time) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var events []byte
	for address, from := range s.sources {
		for reason, c := range from.counted {
			events = appendCounted(events, now, address, reason, c)
		}
		if from.counted == nil && from.limiter.TokensAt(now) >= float64(s.burst) {
			delete(s.sources, address)
		}
		from.counted = nil
	}
	return events
}

func appendCounted(b []byte, now time.Time, address, reason string, c *counted) []byte {
	b = AppendHead(b, now, "denials")
	b = append(b, `,"status":"deny","metadata":{"reason":"`...)
	b = append(append(b, reason...), `","count":`...)
	b = strconv.AppendInt(b, int64(c.n), 10)
	b = c.first.UTC().AppendFormat(append(b, `,"first":"`...), TimeFormat)
	b = c.last.UTC().AppendFormat(append(b, `","last":"`...), TimeFormat)
	b = append(b, '"')
	if address != "" {
		quoted, _ := json.Marshal(address) // a string always encodes
		b = append(append(b, `,"source":`...), quoted...)
	}
	return append(b, "}}\n"...)
}
