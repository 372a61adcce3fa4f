package audit

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Strangers counts the denials that cost a caller nothing: of those who were not
// authenticated, and of those over their rate limit. Above a rate per source, and
// above one of all sources together, they are not recorded one by one but in one
// event for many: who sends garbage can't fill the journal or buy objects. It is
// safe for concurrent use.
type Strangers struct {
	limit rate.Limit
	burst int

	mu      sync.Mutex // guards what follows
	all     *rate.Limiter
	sources map[string]*source
}

// allSources is how many times the rate of one source all of them have together.
const allSources = 20

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
	limit, burst := rate.Limit(perSecond), max(1, int(10*perSecond))
	return &Strangers{limit: limit, burst: burst, all: rate.NewLimiter(allSources*limit, allSources*burst), sources: make(map[string]*source)}
}

// Counted reports whether the denial was counted, so that it needs no event of
// its own. who is the caller's network or, where it is known, the principal; reason
// is a code of a bounded table. A nil *Strangers counts nothing.
func (s *Strangers) Counted(who, reason string, now time.Time) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	from, ok := s.sources[who]
	if !ok {
		if len(s.sources) >= maxSources {
			who = ""
		}
		if from = s.sources[who]; from == nil {
			from = &source{limiter: rate.NewLimiter(s.limit, s.burst)}
			s.sources[who] = from
		}
	}
	if from.limiter.AllowN(now, 1) && s.all.AllowN(now, 1) {
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
	for who, from := range s.sources {
		for reason, c := range from.counted {
			events = appendCounted(events, now, who, reason, c)
		}
		if from.counted == nil && from.limiter.TokensAt(now) >= float64(s.burst) {
			delete(s.sources, who)
		}
		from.counted = nil
	}
	return events
}

func appendCounted(b []byte, now time.Time, who, reason string, c *counted) []byte {
	b = AppendHead(b, now, "denials")
	b = append(b, `,"status":"deny","metadata":{"reason":"`...)
	b = append(append(b, reason...), `","count":`...)
	b = strconv.AppendInt(b, int64(c.n), 10)
	b = c.first.UTC().AppendFormat(append(b, `,"first":"`...), TimeFormat)
	b = c.last.UTC().AppendFormat(append(b, `","last":"`...), TimeFormat)
	b = append(b, '"')
	if who != "" {
		quoted, _ := json.Marshal(who) // a string always encodes
		b = append(append(b, `,"source":`...), quoted...)
	}
	return append(b, "}}\n"...)
}

// Network is the part of an address that one caller can't choose freely: /24 of
// IPv4, /64 of IPv6. Empty if it is no address.
func Network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	ip, bits := ip.Unmap().WithZone(""), 64
	if ip.Is4() {
		bits = 24
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return ""
	}
	return prefix.String()
}
