package index_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/audit/index"
	"github.com/sallyport/sallyport/internal/database"
)

// TestIndex holds both databases to one contract.
func TestIndex(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, x *index.Index, db *database.DB){
		"what was added comes back":      comesBack,
		"the same again":                 sameAgain,
		"another leaf is a mismatch":     anotherLeaf,
		"of two at once one wins":        twoAtOnce,
		"gaps are visible":               gaps,
		"search by each field":           searchFields,
		"pages":                          pages,
		"queries that can't be answered": badQueries,
		"a decision and its outcomes":    related,
		"odd texts":                      oddTexts,
		"rows that are none":             badRows,
		"reset and rebuild":              reset,
		"retention":                      retention,
	}
	for kind, config := range map[string]func(*testing.T) database.Config{"sqlite": sqliteConfig, "postgres": postgresConfig} {
		for name, test := range tests {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				x, db := open(t, config(t), index.Config{Retention: 40 * 24 * time.Hour})
				test(t, x, db)
			})
		}
	}
}

func comesBack(t *testing.T, x *index.Index, _ *database.DB) {
	want := rows(t, logA, 0, 2500) // more than a page of Rows, and than one statement's
	add(t, x, append(rows(t, logB, 0, 3), want...)...)
	var got []index.Row
	for r, err := range x.Rows(t.Context(), logA, 0, 1<<63) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("all rows (-want +got):\n%.2000s", diff)
	}
	got = nil
	for r, err := range x.Rows(t.Context(), logA, 10, 12) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if diff := cmp.Diff(want[10:12], got); diff != "" {
		t.Errorf("a range (-want +got):\n%s", diff)
	}
	one, err := x.Get(t.Context(), want[7].EventID)
	if diff := cmp.Diff(want[7], one); diff != "" || err != nil {
		t.Errorf("Get: %v (-want +got):\n%s", err, diff)
	}
	if _, err := x.Get(t.Context(), "no such"); !errors.Is(err, index.ErrNotFound) {
		t.Errorf("Get of nothing: %v", err)
	}
	logs, err := x.Logs(t.Context())
	wantLogs := []index.LogState{
		{Log: logA, First: 0, Next: 2500, Newest: epoch.Add(2499 * time.Second)},
		{Log: logB, First: 0, Next: 3, Newest: epoch.Add(2 * time.Second)},
	}
	if diff := cmp.Diff(wantLogs, logs); diff != "" || err != nil {
		t.Errorf("Logs: %v (-want +got):\n%s", err, diff)
	}
}

func sameAgain(t *testing.T, x *index.Index, _ *database.DB) {
	all := rows(t, logA, 0, 10)
	add(t, x, all[:4]...)
	add(t, x, append(all, all[2])...)
	add(t, x, all...)
	found, _, err := x.Search(t.Context(), index.Query{})
	if err != nil || len(found) != 10 {
		t.Errorf("%d rows, %v, want 10", len(found), err)
	}
	expectSize(t, x, logA, 10)
}

func anotherLeaf(t *testing.T, x *index.Index, _ *database.DB) {
	add(t, x, rows(t, logA, 0, 3)...)
	// Of another time too, which PostgreSQL's unique key would let in.
	forged := row(t, logA, 1, func(event map[string]any) {
		event["status"], event["timestamp"] = "deny", epoch.Add(time.Hour).Format(time.RFC3339Nano)
	})
	for name, batch := range map[string][]index.Row{
		"in the index": {row(t, logA, 3, nil), forged},
		"in the batch": {row(t, logB, 1, nil), row(t, logB, 1, func(e map[string]any) { e["status"] = "deny" })},
	} {
		err := x.Add(t.Context(), batch)
		if !errors.Is(err, index.ErrMismatch) || !strings.Contains(err.Error(), batch[1].Log+", seq 1") {
			t.Errorf("%s: %v", name, err)
		}
	}
	found, _, err := x.Search(t.Context(), index.Query{})
	if err != nil || len(found) != 3 {
		t.Errorf("%d rows, %v, want the first 3 only", len(found), err)
	}
}

// twoAtOnce adds two leaves of one number, of different times, from two sides.
func twoAtOnce(t *testing.T, x *index.Index, _ *database.DB) {
	for seq := range uint64(10) {
		var wait sync.WaitGroup
		answers := make([]error, 2)
		for i := range answers {
			r := row(t, logA, seq, func(e map[string]any) {
				e["timestamp"] = epoch.Add(time.Duration(i) * time.Hour).Format(time.RFC3339Nano)
			})
			wait.Go(func() { answers[i] = x.Add(t.Context(), []index.Row{r}) })
		}
		wait.Wait()
		if (answers[0] == nil) == (answers[1] == nil) {
			t.Errorf("seq %d: both answered %v, %v", seq, answers[0], answers[1])
		}
	}
}

func expectSize(t *testing.T, x *index.Index, log string, want uint64) {
	t.Helper()
	if size, err := x.Size(t.Context(), log); size != want || err != nil {
		t.Errorf("size %d, %v, want %d", size, err, want)
	}
}

func expectGaps(t *testing.T, x *index.Index, want ...index.Range) {
	t.Helper()
	got, err := x.Gaps(t.Context(), logA)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("gaps: %v (-want +got):\n%s", err, diff)
	}
}

func gaps(t *testing.T, x *index.Index, db *database.DB) {
	expectSize(t, x, logA, 0)
	expectGaps(t, x)
	add(t, x, rows(t, logA, 3, 6)...)
	expectSize(t, x, logA, 0)
	expectGaps(t, x, index.Range{From: 0, To: 3})
	add(t, x, append(rows(t, logA, 0, 2), rows(t, logA, 8, 9)...)...)
	expectSize(t, x, logA, 2)
	expectGaps(t, x, index.Range{From: 2, To: 3}, index.Range{From: 6, To: 8})
	add(t, x, row(t, logA, 2, nil))
	expectSize(t, x, logA, 6)
	// What somebody deletes is a gap again.
	remove(t, db, "DELETE FROM audit_index_events WHERE seq IN (1, 5)")
	expectGaps(t, x, index.Range{From: 1, To: 2}, index.Range{From: 5, To: 8})
	add(t, x, rows(t, logA, 6, 8)...)
	expectSize(t, x, logA, 1) // the last one that it had seen is gone, so it looks at all
}

// remove deletes behind the index's back.
func remove(t *testing.T, db *database.DB, statement string) {
	t.Helper()
	err := db.Change(t.Context(), func(ctx context.Context, tx database.Tx) error {
		_, err := tx.ExecContext(ctx, statement)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func searchFields(t *testing.T, x *index.Index, _ *database.DB) {
	add(t, x, rows(t, logA, 0, 5)...)
	odd := row(t, logB, 9, func(e map[string]any) {
		e["event_type"], e["user_id"], e["tool_name"], e["action"], e["status"] = "outcome", "eve", "orders.delete", "refund", "unknown"
		e["correlation_id"] = "request-x"
		e["metadata"] = map[string]any{"reason": "upstream.gone", "decision_id": "d-1", "details": "needle [%_] ü"}
	})
	add(t, x, odd)
	for name, q := range map[string]index.Query{
		"from": {From: odd.Time}, "type": {Type: "outcome"}, "user": {UserID: "eve"}, "tool": {Tool: "orders.delete"}, "action": {Action: "refund"},
		"status": {Status: "unknown"}, "reason": {Reason: "upstream.gone"}, "correlation": {CorrelationID: "request-x"},
		"decision": {DecisionID: "d-1"}, "event": {EventID: odd.EventID}, "log": {Log: logB},
		"text": {Text: "needle [%_] ü", From: epoch}, "all": {UserID: "eve", Status: "unknown", From: epoch, To: odd.Time.Add(1000)},
	} {
		found, next, err := x.Search(t.Context(), q)
		if diff := cmp.Diff([]index.Row{odd}, found); diff != "" || next != "" || err != nil {
			t.Errorf("%s: %v, next %q (-want +got):\n%.1000s", name, err, next, diff)
		}
	}
	for name, q := range map[string]index.Query{
		"to is excluded": {From: odd.Time, To: odd.Time}, "no such user": {UserID: "EVE"}, "both": {UserID: "eve", Status: "allow"},
		"text is exact": {Text: "Needle", From: epoch}, "quotes": {UserID: "' OR 1=1 --"},
	} {
		if found, _, err := x.Search(t.Context(), q); len(found) != 0 || err != nil {
			t.Errorf("%s: %d rows, %v", name, len(found), err)
		}
	}
}

func pages(t *testing.T, x *index.Index, _ *database.DB) {
	// Two logs with equal times, so that a cursor needs all its parts.
	add(t, x, append(rows(t, logA, 0, 10), rows(t, logB, 0, 10)...)...)
	seen := make(map[string]bool)
	q := index.Query{Limit: 3}
	last := epoch.Add(time.Hour)
	for range 7 {
		found, next, err := x.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range found {
			if seen[r.EventID] || r.Time.After(last) {
				t.Errorf("%s %d comes twice or too late", r.Log, r.Seq)
			}
			seen[r.EventID], last = true, r.Time
		}
		add(t, x, row(t, logA, 100+uint64(len(seen)), nil)) // newer ones don't matter
		q.Cursor = next
	}
	if len(seen) != 20 || q.Cursor != "" {
		t.Errorf("%d rows, cursor %q", len(seen), q.Cursor)
	}
}

func badQueries(t *testing.T, x *index.Index, _ *database.DB) {
	for name, q := range map[string]index.Query{
		"limit": {Limit: index.MaxLimit + 1}, "negative": {Limit: -1}, "cursor": {Cursor: "x"},
		"text without from": {Text: "abc"}, "short text": {Text: "ab", From: epoch}, "long text": {Text: strings.Repeat("x", 201), From: epoch},
	} {
		if _, _, err := x.Search(t.Context(), q); !errors.Is(err, index.ErrQuery) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func related(t *testing.T, x *index.Index, _ *database.DB) {
	decision := row(t, logA, 0, nil)
	outcome := func(seq uint64) index.Row {
		return row(t, logA, seq, func(e map[string]any) {
			e["event_type"], e["metadata"] = "outcome", map[string]any{"decision_id": decision.EventID}
		})
	}
	all := []index.Row{decision, outcome(1), outcome(2)}
	add(t, x, append(all, row(t, logA, 3, nil))...)
	for _, r := range all {
		found, err := x.Related(t.Context(), r.EventID)
		if diff := cmp.Diff(all, found); diff != "" || err != nil {
			t.Errorf("seq %d: %v (-want +got):\n%.1000s", r.Seq, err, diff)
		}
	}
	if _, err := x.Related(t.Context(), "no such"); !errors.Is(err, index.ErrNotFound) {
		t.Errorf("of nothing: %v", err)
	}
}

// oddTexts adds what a caller may choose and a database would refuse: that must
// not hold up the events behind it.
func oddTexts(t *testing.T, x *index.Index, _ *database.DB) {
	var long strings.Builder // that doesn't get shorter by compression
	for n := range 1000 {
		sum := sha256.Sum256([]byte{byte(n), byte(n >> 8)})
		long.WriteString("ü" + hex.EncodeToString(sum[:4]))
	}
	for seq, value := range []string{"nul\x00byte", long.String(), "\xff\xfe", "'; DROP TABLE audit_index_events"} {
		r := row(t, logA, uint64(seq), func(e map[string]any) {
			for _, member := range []string{"event_id", "correlation_id", "user_id", "tool_name", "action", "status", "event_type"} {
				e[member] = value
			}
		})
		add(t, x, r)
		found, _, err := x.Search(t.Context(), index.Query{UserID: value})
		if diff := cmp.Diff([]index.Row{r}, found); diff != "" || err != nil {
			t.Errorf("%.20q: %v (-want +got):\n%.1000s", value, err, diff)
		}
	}
}

func badRows(t *testing.T, x *index.Index, _ *database.DB) {
	for name, change := range map[string]func(*index.Row){
		"no log": func(r *index.Row) { r.Log = "" }, "log with NUL": func(r *index.Row) { r.Log = "a\x00" },
		"seq": func(r *index.Row) { r.Seq = 1 << 63 }, "year": func(r *index.Row) { r.Time = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		r := row(t, logA, 0, nil)
		change(&r)
		if err := x.Add(t.Context(), []index.Row{r}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func reset(t *testing.T, x *index.Index, _ *database.DB) {
	add(t, x, append(rows(t, logA, 0, 20), rows(t, logB, 0, 2)...)...)
	expectSize(t, x, logA, 20)
	for range 2 {
		if err := x.Reset(t.Context(), logA); err != nil {
			t.Fatal(err)
		}
	}
	expectSize(t, x, logA, 0)
	expectSize(t, x, logB, 2)
	add(t, x, rows(t, logA, 0, 5)...)
	expectSize(t, x, logA, 5)
}

// retention lets all of November pass, and not December.
func retention(t *testing.T, x *index.Index, db *database.DB) {
	december := func(seq uint64) index.Row {
		return row(t, logA, seq, func(e map[string]any) { e["timestamp"] = epoch.AddDate(0, 1, 0).Format(time.RFC3339Nano) })
	}
	add(t, x, rows(t, logB, 0, 2)...) // into the default partition
	for range 2 {
		if err := x.Maintain(t.Context(), epoch); err != nil {
			t.Fatal(err)
		}
	}
	add(t, x, rows(t, logA, 0, 4)...)
	add(t, x, rows(t, logA, 5, 6)...)
	add(t, x, december(6), december(8))
	expectGaps(t, x, index.Range{From: 4, To: 5}, index.Range{From: 7, To: 8})
	if err := x.Maintain(t.Context(), time.Date(2027, 1, 11, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	logs, err := x.Logs(t.Context())
	want := []index.LogState{{Log: logA, First: 6, Next: 9, Newest: epoch.AddDate(0, 1, 0)}}
	if diff := cmp.Diff(want, logs); diff != "" || err != nil {
		t.Errorf("logs: %v (-want +got):\n%s", err, diff)
	}
	// What expired is no gap; what was missing then still is.
	expectGaps(t, x, index.Range{From: 4, To: 5}, index.Range{From: 7, To: 8})
	expectSize(t, x, logA, 4)
	expectSize(t, x, logB, 2)
	add(t, x, december(4), december(7))
	expectSize(t, x, logA, 9)
	remove(t, db, "DELETE FROM audit_index_events WHERE seq = 8")
	expectSize(t, x, logA, 8)
}
