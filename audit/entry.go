package audit

import (
	"encoding/json"
	"time"
)

// TimeFormat is how times are written in events: RFC 3339 in UTC, with
// microseconds.
const TimeFormat = "2006-01-02T15:04:05.000000Z07:00"

// AppendHead appends the members that every event begins with, with a new id.
func AppendHead(b []byte, now time.Time, eventType string) []byte {
	b = append(append(b, `{"event_id":"`...), NewID(now)...)
	b = now.UTC().AppendFormat(append(b, `","timestamp":"`...), TimeFormat)
	return append(append(append(b, `","event_type":"`...), eventType...), '"')
}

// Entry is an event that isn't on the path of a request.
type Entry struct {
	Type     string // "operator", "service" or "log"
	UserID   string
	Tool     string
	Action   string
	Status   string
	Metadata map[string]any
}

// Line returns the entry as the line of an event.
func (e *Entry) Line(now time.Time) ([]byte, error) {
	b := AppendHead(nil, now, e.Type)
	for _, m := range [...]struct{ name, value string }{
		{"user_id", e.UserID}, {"tool_name", e.Tool}, {"action", e.Action}, {"status", e.Status},
	} {
		if m.value != "" {
			quoted, err := json.Marshal(m.value)
			if err != nil {
				return nil, err
			}
			b = append(append(append(b, `,"`...), m.name...), `":`...)
			b = append(b, quoted...)
		}
	}
	metadata, err := json.Marshal(e.Metadata)
	if err != nil {
		return nil, err
	}
	if e.Metadata != nil {
		b = append(append(b, `,"metadata":`...), metadata...)
	}
	return append(b, "}\n"...), nil
}
