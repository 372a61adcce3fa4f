package webhook

import (
	"encoding/json"
	"fmt"
	"time"
)

// The types of events.
const (
	Requested = "elevation.requested"
	Approved  = "elevation.approved"
	Denied    = "elevation.denied"
	Revoked   = "elevation.revoked"
	Expired   = "elevation.expired"
)

// Event is the body of a notice.
type Event struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // when it happened
	Data      Data      `json:"data"`
}

// Data is what a receiver is told of a request. It never holds the arguments of a
// call: receivers are outside, and who may see them is decided by the API, where
// approval_url leads.
type Data struct {
	RequestID       string     `json:"request_id"`
	Kind            string     `json:"kind"` // "elevation" or "call"
	Server          string     `json:"server"`
	Tool            string     `json:"tool"`
	Requester       string     `json:"requester"` // the token's subject, or its client
	Reason          string     `json:"reason,omitempty"`
	DurationSeconds int64      `json:"duration_seconds"`
	ExpiresAt       *time.Time `json:"expires_at,omitempty"` // when the request lapses, or what it gave ends
	ApprovalURL     string     `json:"approval_url,omitempty"`
	BreakGlass      bool       `json:"break_glass"`
}

// JSON is the event as it is sent. Times are in UTC.
func (e Event) JSON() ([]byte, error) {
	e.Timestamp = e.Timestamp.UTC()
	if e.Data.ExpiresAt != nil {
		until := e.Data.ExpiresAt.UTC()
		e.Data.ExpiresAt = &until
	}
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode webhook event: %w", err)
	}
	return body, nil
}
