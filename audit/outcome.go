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
	Result     string // what became of the exchange; empty where there was none
	Status     int    // HTTP status that the client got; 0: none
	Details    string // Envoy's response code details
	Flags      string // Envoy's response flags; empty: none, or not known
	BytesIn    int64  // of the request's body; access log only
	BytesOut   int64  // of the response's body
	Took       time.Duration
}

// Append appends the outcome as one JSON object and a newline. Its strings are
// Envoy's or ours: names, without characters that JSON has to escape; others
// become a question mark.
func (o *Outcome) Append(b []byte) []byte {
	b = append(b, `{"type":"outcome","decision_id":"`...)
	b = appendName(b, o.DecisionID)
	b = append(b, `","time":"`...)
	b = o.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00")
	b = append(b, `","source":"`...)
	b = appendName(b, o.Source)
	b = append(b, '"')
	for _, m := range [...]struct{ name, value string }{{"result", o.Result}, {"details", o.Details}, {"flags", o.Flags}} {
		if m.value != "" {
			b = append(append(append(b, `,"`...), m.name...), `":"`...)
			b = append(appendName(b, m.value), '"')
		}
	}
	for _, m := range [...]struct {
		name  string
		value int64
	}{{"status", int64(o.Status)}, {"bytes_in", o.BytesIn}, {"bytes_out", o.BytesOut}, {"duration_us", o.Took.Microseconds()}} {
		b = append(append(append(b, `,"`...), m.name...), `":`...)
		b = strconv.AppendInt(b, m.value, 10)
	}
	return append(b, "}\n"...)
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
