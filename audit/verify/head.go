package verify

import (
	"bytes"
	"time"

	"github.com/sallyport/sallyport/audit/ledger"
)

// head is what every event begins with.
type head struct {
	id   ledger.ID
	time time.Time
	own  bool // of the log or the service itself
}

const (
	idAt     = len(`{"event_id":"`)
	timeName = `","timestamp":"`
	timeAt   = idAt + 36 + len(timeName)
	typeName = `","event_type":"`
)

// parseHead reads it without parsing the rest: the order of members is fixed.
func parseHead(leaf []byte) (h head, ok bool) {
	if len(leaf) < timeAt || string(leaf[:idAt]) != `{"event_id":"` || string(leaf[idAt+36:timeAt]) != timeName {
		return h, false
	}
	if h.id, ok = ledger.ParseID(leaf[idAt : idAt+36]); !ok {
		return h, false
	}
	rest := leaf[timeAt:min(len(leaf), timeAt+64)]
	end := bytes.IndexByte(rest, '"')
	if end < 0 || h.time.UnmarshalText(rest[:end]) != nil || !bytes.HasPrefix(leaf[timeAt+end:], []byte(typeName)) {
		return h, false
	}
	kind := leaf[timeAt+end+len(typeName):]
	h.own = bytes.HasPrefix(kind, []byte(`log"`)) || bytes.HasPrefix(kind, []byte(`service"`))
	return h, true
}

// clock looks at the times of an event beside those of its log. They are the
// writer's, and signed: what is wrong with them is no tampering, but a clock that
// jumped.
func (c *content) clock(h head, seq uint64, report func(Severity, string, string, ...any)) {
	now := clock{h.id.Milli(), seq}
	if c.newest.milli > 0 && now.milli < c.newest.milli-skew.Milliseconds() {
		report(Warning, CheckClock, "its id was made at %s, %v before that of event %d, which comes earlier",
			h.id.Time().Format(time.RFC3339), time.Duration(c.newest.milli-now.milli)*time.Millisecond, c.newest.seq)
	}
	if d := h.time.Sub(h.id.Time()); d > skew || d < -skew {
		report(Warning, CheckClock, "its time %s and that of its id are %v apart", h.time.Format(time.RFC3339), d.Abs())
	}
	if c.newest.milli == 0 || now.milli > c.newest.milli {
		c.newest = now
	}
	if c.oldest.milli == 0 || now.milli < c.oldest.milli {
		c.oldest = now
	}
}

// lateIDs reports events that are newer than their seal.
func (c *content) lateIDs(l *link) {
	if made := time.UnixMilli(c.newest.milli).UTC(); made.After(l.seal.Time.Add(skewFwd)) {
		c.findings = append(c.findings, finding(Warning, CheckClock, l.log(), l.key, c.newest.seq, c.newest.seq,
			"its id was made at %s, after the seal at %s", made.Format(time.RFC3339), l.seal.Time.UTC().Format(time.RFC3339)))
	}
}
