package audit

import (
	"strconv"
	"time"
)

// Outcome is what became of an allowed request. It holds no content.
type Outcome struct {
	DecisionID string
	Time       time.Time
	Source     string // "ext_proc" or "access_log"
	Result     string // what became of the exchange: a constant of ours; empty where there was none
	Status     int    // HTTP status that the client got; 0: none
	Details    string // Envoy's response code details
	Flags      string // Envoy's response flags; empty: none, or not known
	BytesIn    int64  // of the request's body; access log only
	BytesOut   int64  // of the response's body
	Took       time.Duration
	Digest     string // SHA-256 of the response's body, in hexadecimal; empty: not known
}

// Append appends the outcome as the line of an event. Its strings are Envoy's or
// ours: names, without characters that JSON has to escape; others become a
// question mark.
func (o *Outcome) Append(b []byte) []byte {
	b = AppendHead(b, o.Time, "outcome")
	b = append(append(b, `,"status":"`...), o.status()...)
	b = append(b, `","metadata":{"decision_id":"`...)
	b = appendName(b, o.DecisionID)
	b = append(b, '"')
	for _, m := range [...]struct{ name, value string }{
		{"source", o.Source}, {"details", o.Details}, {"flags", o.Flags}, {"response_digest", o.Digest},
	} {
		if m.value != "" {
			b = append(append(append(b, `,"`...), m.name...), `":"`...)
			b = append(appendName(b, m.value), '"')
		}
	}
	for _, m := range [...]struct {
		name  string
		value int64
	}{{"http_status", int64(o.Status)}, {"bytes_in", o.BytesIn}, {"bytes_out", o.BytesOut}, {"duration_us", o.Took.Microseconds()}} {
		b = append(append(append(b, `,"`...), m.name...), `":`...)
		b = strconv.AppendInt(b, m.value, 10)
	}
	return append(b, "}}\n"...)
}

// status is what became of the exchange; of a request without one, what its HTTP
// status says.
func (o *Outcome) status() string {
	switch {
	case o.Result != "":
		return o.Result
	case o.Status == 0:
		return "unknown"
	case o.Status < 400:
		return "succeeded"
	}
	return "failed"
}

// maxName bounds each string of a record.
const maxName = 256

func appendName(b []byte, s string) []byte {
	for i := range min(len(s), maxName) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			b = append(b, '?')
		} else {
			b = append(b, c)
		}
	}
	return b
}
