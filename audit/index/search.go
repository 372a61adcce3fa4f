package index

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/internal/database"
)

const (
	// MaxLimit is how many rows a page may have; DefaultLimit how many it has.
	MaxLimit, DefaultLimit = 1000, 100
	minSearch, maxSearch   = 3, 200 // bytes of Query.Text
	maxCursor              = 1024
)

// Query says which events are looked for: those that meet all that is not empty.
// Texts must be equal, as a whole.
type Query struct {
	From, To                           time.Time // From ≤ time < To
	Type, UserID, Tool, Action         string
	Status, Reason                     string
	CorrelationID, DecisionID, EventID string
	Log                                string
	// Text is 3 to 200 bytes that are in the payload, case and JSON escapes
	// included. No index helps with it: it needs From, and a Timeout of the
	// database that is up to the range.
	Text string
	// Limit is the page's size, 0: DefaultLimit, at most MaxLimit.
	Limit int
	// Cursor is what the page before returned.
	Cursor string
}

// Search returns a page, newest first, and the cursor of the next one, which is
// empty after the last. New events don't move what later pages hold.
func (x *Index) Search(ctx context.Context, q Query) (rows []Row, next string, err error) {
	if q.Limit == 0 {
		q.Limit = DefaultLimit
	}
	where, err := x.conditions(q)
	if err != nil {
		return nil, "", fmt.Errorf("search the audit index: %w: %w", ErrQuery, err)
	}
	rows, err = x.rows(ctx, "SELECT "+columns+" FROM audit_index_events"+where.String()+
		" ORDER BY time DESC, log DESC, seq DESC LIMIT "+strconv.Itoa(q.Limit+1), where.arguments...)
	if err != nil {
		return nil, "", fmt.Errorf("search the audit index: %w", err)
	}
	if len(rows) > q.Limit {
		rows = rows[:q.Limit]
		next = cursorAfter(rows[q.Limit-1])
	}
	return rows, next, nil
}

// conditions collects a WHERE clause and its arguments.
type conditions struct {
	terms     []string
	arguments []any
}

// add adds a term; each ? in it is one of the arguments.
func (c *conditions) add(term string, arguments ...any) {
	for _, argument := range arguments {
		c.arguments = append(c.arguments, argument)
		term = strings.Replace(term, "?", "$"+strconv.Itoa(len(c.arguments)), 1)
	}
	c.terms = append(c.terms, term)
}

func (c *conditions) String() string {
	if len(c.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.terms, " AND ")
}

func (x *Index) conditions(q Query) (where *conditions, err error) {
	if q.Limit < 0 || q.Limit > MaxLimit {
		return nil, fmt.Errorf("limit %d is not within [1, %d]", q.Limit, MaxLimit)
	}
	where = &conditions{}
	if !q.From.IsZero() {
		where.add("time >= ?", x.db.Time(q.From))
	}
	if !q.To.IsZero() {
		where.add("time < ?", x.db.Time(q.To))
	}
	for _, column := range []struct{ name, value string }{
		{"type", q.Type}, {"user_id", q.UserID}, {"tool", q.Tool}, {"action", q.Action}, {"status", q.Status},
		{"reason", q.Reason}, {"correlation_id", q.CorrelationID}, {"decision_id", q.DecisionID},
		{"event_id", q.EventID}, {"log", q.Log},
	} {
		if column.value != "" {
			where.add(column.name+" = ?", searchable(column.value))
			if strings.HasSuffix(column.name, "_id") || column.name == "tool" {
				where.add(column.name + " <> ''") // or a plan made for any value can't use the partial index
			}
		}
	}
	if q.Text != "" {
		err = x.addText(where, q)
	}
	if q.Cursor != "" && err == nil {
		err = x.addCursor(where, q.Cursor)
	}
	return where, err
}

func (x *Index) addText(where *conditions, q Query) error {
	switch {
	case len(q.Text) < minSearch || len(q.Text) > maxSearch:
		return fmt.Errorf("the text has %d bytes, not %d to %d", len(q.Text), minSearch, maxSearch)
	case q.From.IsZero():
		return errors.New("a text needs a time from which on it is looked for")
	}
	if x.db.Dialect() == database.SQLite {
		where.add("instr(payload, ?) > 0", []byte(q.Text))
	} else {
		where.add("position(?::bytea IN payload) > 0", []byte(q.Text))
	}
	return nil
}

// A cursor is the time, log and sequence number of the last row before it.
func cursorAfter(r Row) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %d %s", r.Time.UnixMicro(), r.Seq, r.Log))
}

func (x *Index) addCursor(where *conditions, cursor string) error {
	at, seq, log, err := parseCursor(cursor)
	if err != nil {
		return err
	}
	where.add("(time, log, seq) < (?, ?, ?)", x.db.Time(at), log, seq)
	return nil
}

func parseCursor(cursor string) (at time.Time, seq int64, log string, err error) {
	bad := errors.New("the cursor is none of ours")
	if len(cursor) > maxCursor {
		return at, 0, "", bad
	}
	decoded, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return at, 0, "", bad
	}
	parts := strings.SplitN(string(decoded), " ", 3)
	if len(parts) != 3 || parts[2] == "" || searchable(parts[2]) != parts[2] {
		return at, 0, "", bad
	}
	micro, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return at, 0, "", bad
	}
	at = time.UnixMicro(micro).UTC()
	if at.Year() < 1 || at.Year() > 9999 {
		return at, 0, "", bad
	}
	if seq, err = strconv.ParseInt(parts[1], 10, 64); err != nil || seq < 0 {
		return at, 0, "", bad
	}
	return at, seq, parts[2], nil
}

// Get returns the event with an id; ErrNotFound if there is none.
func (x *Index) Get(ctx context.Context, eventID string) (Row, error) {
	rows, err := x.rows(ctx, "SELECT "+columns+" FROM audit_index_events WHERE event_id = $1 ORDER BY time, log, seq LIMIT 1", searchable(eventID))
	if err != nil {
		return Row{}, fmt.Errorf("get event: %w", err)
	}
	if len(rows) == 0 {
		return Row{}, fmt.Errorf("event %.64q: %w", eventID, ErrNotFound)
	}
	return rows[0], nil
}

// Related returns a decision and what became of it, in the order of time, given
// the id of any of these events. It is at most MaxLimit rows, and at least the
// event itself; ErrNotFound if there is none.
func (x *Index) Related(ctx context.Context, eventID string) ([]Row, error) {
	event, err := x.Get(ctx, eventID)
	if err != nil {
		return nil, err
	}
	decision := event.DecisionID
	if decision == "" {
		decision = event.EventID
	}
	rows, err := x.rows(ctx, "SELECT "+columns+` FROM audit_index_events
		WHERE event_id = $1 OR decision_id = $1 AND decision_id <> '' ORDER BY time, log, seq LIMIT `+strconv.Itoa(MaxLimit), decision)
	if err != nil {
		return nil, fmt.Errorf("get related events: %w", err)
	}
	return rows, nil
}

// rows reads rows of all columns.
func (x *Index) rows(ctx context.Context, statement string, arguments ...any) (rows []Row, err error) {
	err = x.db.Query(ctx, func(found *sql.Rows) error {
		row, err := scanRow(found)
		rows = append(rows, row)
		return err
	}, statement, arguments...)
	return rows, err
}

func scanRow(found *sql.Rows) (r Row, err error) {
	var seq int64
	var hash []byte
	to := []any{&r.Log, &seq, database.ScanTime(&r.Time)}
	for _, column := range r.texts() {
		to = append(to, column)
	}
	err = found.Scan(append(to, &hash, &r.Batch, &r.Payload)...)
	r.Seq, r.LeafHash = uint64(seq), hashOf(hash) //nolint:gosec // CHECK (seq >= 0)
	return r, err
}

// hashOf is a hash from the database; of a wrong length, which its CHECK
// prevents, it becomes one that matches nothing.
func hashOf(b []byte) (hash [32]byte) {
	if len(b) == len(hash) {
		copy(hash[:], b)
	}
	return hash
}
