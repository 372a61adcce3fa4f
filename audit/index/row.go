package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sallyport/sallyport/audit/ledger"
)

// Row is one event. What the leaf doesn't have is empty.
type Row struct {
	Log           string    // the origin of its Merkle log
	Seq           uint64    // in that log
	Time          time.Time // UTC, microseconds
	EventID       string
	Type          string
	CorrelationID string
	UserID        string
	Tool          string
	Action        string
	Status        string
	Reason        string // metadata.reason
	DecisionID    string // metadata.decision_id, of an outcome
	LeafHash      [32]byte
	Batch         string // the key of its batch in the archive
	Payload       []byte // the leaf
}

const (
	// maxText bounds a column, in bytes. A caller may choose some of them, and a
	// longer one would not fit into an index page of PostgreSQL.
	maxText = 512
	// maxLeaf bounds a leaf, well over what is recorded.
	maxLeaf = 128 << 10
)

// RowOf returns the row of a leaf, just as the index gives it back: columns are
// cut at 512 bytes, and what databases refuse in text (NUL, invalid UTF-8) is
// U+FFFD. So a row that differs from RowOf of its archived leaf was changed.
func RowOf(leaf []byte, batch string) (Row, error) {
	if len(leaf) > maxLeaf {
		return Row{}, fmt.Errorf("leaf: it has more than %d bytes", maxLeaf)
	}
	var event struct {
		EventID       string    `json:"event_id"`
		Timestamp     time.Time `json:"timestamp"`
		Type          string    `json:"event_type"`
		CorrelationID string    `json:"correlation_id"`
		UserID        string    `json:"user_id"`
		Tool          string    `json:"tool_name"`
		Action        string    `json:"action"`
		Status        string    `json:"status"`
		Metadata      struct {
			Reason     json.RawMessage `json:"reason"`
			DecisionID json.RawMessage `json:"decision_id"`
		} `json:"metadata"`
		Log string  `json:"log"`
		Seq *uint64 `json:"seq"`
	}
	if err := json.Unmarshal(leaf, &event); err != nil {
		return Row{}, fmt.Errorf("leaf: %w", err)
	}
	if event.Log == "" || event.Seq == nil {
		return Row{}, errors.New("leaf: it has no log and seq")
	}
	row := Row{
		Log: event.Log, Seq: *event.Seq, Time: event.Timestamp, EventID: event.EventID, Type: event.Type,
		CorrelationID: event.CorrelationID, UserID: event.UserID, Tool: event.Tool, Action: event.Action,
		Status: event.Status, Reason: text(event.Metadata.Reason), DecisionID: text(event.Metadata.DecisionID),
		LeafHash: ledger.LeafHash(leaf), Batch: batch, Payload: leaf,
	}
	return row.stored()
}

// RowsOf returns the rows of the leaves that a seal covers.
func RowsOf(seal *ledger.Seal, leaves [][]byte) ([]Row, error) {
	batch := ""
	if seal.Batch != nil {
		batch = seal.Batch.Key
	}
	rows := make([]Row, len(leaves))
	for i, leaf := range leaves {
		var err error
		if rows[i], err = RowOf(leaf, batch); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// text is the string that the JSON is, or empty.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// stored is the row as both databases can keep it. Log and batch are ours: they
// are refused instead of changed.
func (r Row) stored() (Row, error) {
	switch {
	case r.Log == "" || searchable(r.Log) != r.Log || searchable(r.Batch) != r.Batch:
		return Row{}, fmt.Errorf("row %d of log %.100q: log or batch is no name", r.Seq, r.Log)
	case r.Seq > math.MaxInt64:
		return Row{}, fmt.Errorf("row %d of log %s: the sequence number is too large", r.Seq, r.Log)
	case r.Time.Year() < 1 || r.Time.Year() > 9999:
		return Row{}, fmt.Errorf("row %d of log %s: the year %d is none", r.Seq, r.Log, r.Time.Year())
	}
	r.Time = r.Time.UTC().Truncate(time.Microsecond)
	for _, column := range r.texts() {
		*column = searchable(*column)
	}
	return r, nil
}

// texts are the columns that come from events, in the order of columns.
func (r *Row) texts() []*string {
	return []*string{
		&r.EventID, &r.Type, &r.CorrelationID, &r.UserID, &r.Tool,
		&r.Action, &r.Status, &r.Reason, &r.DecisionID,
	}
}

// searchable is a text as it is kept, and as it is looked for. It does nothing to
// what it returned before.
func searchable(s string) string {
	s = strings.Map(func(r rune) rune { // invalid bytes come as RuneError, as encoding/json has them
		if r == 0 {
			return utf8.RuneError
		}
		return r
	}, s)
	if len(s) <= maxText {
		return s
	}
	cut := maxText
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}
