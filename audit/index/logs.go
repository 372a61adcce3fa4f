package index

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"math"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/internal/database"
)

// LogState is what the index has of one log.
type LogState struct {
	Log    string
	First  uint64    // the lowest sequence number
	Next   uint64    // one more than the highest; what is missing between: Gaps
	Newest time.Time // of the event with the highest
}

// rangesAtOnce is how many numbers one statement looks at, rowsAtOnce how many
// rows it returns; each stays far within the database's deadline.
const (
	rangesAtOnce = 250_000
	rowsAtOnce   = 1000
)

// Size returns the sequence number that the index waits for: all before it are
// there, or were removed by retention. It looks at the part of the log that it
// hasn't seen yet; what somebody deleted before that, Gaps shows.
func (x *Index) Size(ctx context.Context, log string) (uint64, error) {
	x.mu.Lock()
	from := x.ends[log]
	x.mu.Unlock()
	if from > 0 {
		from-- // is it still there? Somebody may have reset the log
	}
	covered, err := x.covered(ctx, log, from)
	if err != nil {
		return 0, fmt.Errorf("size of log %s: %w", log, err)
	}
	var size uint64
	for _, r := range covered {
		if r.From <= from && from < r.To {
			size = r.To
		}
	}
	x.mu.Lock()
	x.ends[log] = size
	x.mu.Unlock()
	if size == 0 && from > 0 {
		return x.Size(ctx, log) // from the beginning
	}
	return size, nil
}

// Gaps returns the sequence numbers that are missing before the highest one, the
// beginning included, without what retention removed. It looks at all of the log.
func (x *Index) Gaps(ctx context.Context, log string) ([]Range, error) {
	covered, err := x.covered(ctx, log, 0)
	if err != nil {
		return nil, fmt.Errorf("gaps of log %s: %w", log, err)
	}
	return between(covered), nil
}

// covered are the numbers at or after from that are there or have expired.
func (x *Index) covered(ctx context.Context, log string, from uint64) ([]Range, error) {
	ranges, err := x.expired(ctx, log)
	if err != nil {
		return nil, err
	}
	for {
		found, rows, err := x.present(ctx, log, from)
		if err != nil {
			return nil, err
		}
		ranges = append(ranges, found...)
		if rows < rangesAtOnce {
			return merge(ranges), nil
		}
		from = found[len(found)-1].To
	}
}

// present are the ranges of the next rangesAtOnce rows, and how many there were.
func (x *Index) present(ctx context.Context, log string, from uint64) (found []Range, rows uint64, err error) {
	if from > math.MaxInt64 {
		return nil, 0, nil
	}
	err = x.db.Query(ctx, func(row *sql.Rows) error {
		r, err := scanRange(row)
		found = append(found, r)
		rows += r.To - r.From
		return err
	}, `SELECT min(seq), max(seq) + 1 FROM (
			SELECT seq, seq - row_number() OVER (ORDER BY seq) AS island FROM (
				SELECT DISTINCT seq FROM audit_index_events WHERE log = $1 AND seq >= $2 ORDER BY seq LIMIT `+strconv.Itoa(rangesAtOnce)+`
			) AS numbers
		) AS islands GROUP BY island ORDER BY 1`, log, int64(from))
	return found, rows, err
}

func (x *Index) expired(ctx context.Context, log string) (found []Range, err error) {
	err = x.db.Query(ctx, func(row *sql.Rows) error {
		r, err := scanRange(row)
		found = append(found, r)
		return err
	}, "SELECT first_seq, next_seq FROM audit_index_expired WHERE log = $1 ORDER BY first_seq", log)
	return found, err
}

func scanRange(row *sql.Rows) (Range, error) {
	var from, to int64
	err := row.Scan(&from, &to)
	return Range{uint64(from), uint64(to)}, err //nolint:gosec // CHECK (seq >= 0)
}

// Rows yields the rows of a log with From ≤ seq < To, in order; two of one number
// if somebody added a second. After an error it ends.
func (x *Index) Rows(ctx context.Context, log string, from, to uint64) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		if from > math.MaxInt64 {
			return
		}
		after := Row{Seq: from} // the year 1 is before all times
		to = min(to, math.MaxInt64)
		for {
			page, err := x.rows(ctx, "SELECT "+columns+` FROM audit_index_events
				WHERE log = $1 AND (seq, time) > ($2, $3) AND seq < $4 ORDER BY seq, time LIMIT `+strconv.Itoa(rowsAtOnce),
				log, int64(after.Seq), x.db.Time(after.Time), int64(to)) //nolint:gosec // compared above
			if err != nil {
				yield(Row{}, fmt.Errorf("read log %s: %w", log, err))
				return
			}
			for _, row := range page {
				if !yield(row, nil) {
					return
				}
			}
			if len(page) < rowsAtOnce {
				return
			}
			after = page[len(page)-1]
		}
	}
}

// Logs returns the logs of which there are rows, by name.
func (x *Index) Logs(ctx context.Context) ([]LogState, error) {
	// One look into the primary key per log, rather than at all rows.
	var logs []LogState
	err := x.db.Query(ctx, func(row *sql.Rows) error {
		var state LogState
		var first, last int64
		err := row.Scan(&state.Log, &first, &last, database.ScanTime(&state.Newest))
		state.First, state.Next = uint64(first), uint64(last)+1 //nolint:gosec // CHECK (seq >= 0)
		logs = append(logs, state)
		return err
	}, `WITH RECURSIVE logs(log) AS (
			SELECT min(log) FROM audit_index_events
			UNION ALL
			SELECT (SELECT min(e.log) FROM audit_index_events e WHERE e.log > logs.log) FROM logs WHERE logs.log IS NOT NULL
		)
		SELECT log,
			(SELECT min(seq) FROM audit_index_events e WHERE e.log = logs.log),
			(SELECT max(seq) FROM audit_index_events e WHERE e.log = logs.log),
			(SELECT time FROM audit_index_events e WHERE e.log = logs.log ORDER BY seq DESC, time DESC LIMIT 1)
		FROM logs WHERE log IS NOT NULL`)
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	return logs, nil
}

// Reset removes a log's rows, before they are added anew from the archive. It may
// be repeated. PostgreSQL's user must own the tables.
func (x *Index) Reset(ctx context.Context, log string) error {
	const atOnce = 10_000
	for {
		var removed int64
		err := x.db.Change(ctx, func(ctx context.Context, tx database.Tx) error {
			if err := x.lock(ctx, tx, log); err != nil {
				return err
			}
			result, err := tx.ExecContext(ctx, `DELETE FROM audit_index_events WHERE log = $1 AND seq IN (
				SELECT seq FROM audit_index_events WHERE log = $1 ORDER BY seq DESC LIMIT `+strconv.Itoa(atOnce)+`)`, log)
			if err != nil {
				return err
			}
			removed, err = result.RowsAffected()
			if err != nil || removed > 0 {
				return err
			}
			_, err = tx.ExecContext(ctx, "DELETE FROM audit_index_expired WHERE log = $1", log)
			return err
		})
		if err != nil {
			return fmt.Errorf("reset log %s: %w", log, err)
		}
		if removed == 0 {
			break
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.ends, log)
	return nil
}

// Bounds returns which rows of a log should be there: those before first were
// removed by retention, those from next on haven't come yet.
func (x *Index) Bounds(ctx context.Context, log string) (first, next uint64, err error) {
	expired, err := x.expired(ctx, log)
	if err != nil {
		return 0, 0, err
	}
	if expired = merge(expired); len(expired) > 0 && expired[0].From == 0 {
		first = expired[0].To
	}
	logs, err := x.Logs(ctx)
	if err != nil {
		return 0, 0, err
	}
	next = first
	for _, l := range logs {
		if l.Log == log {
			next = max(next, l.Next)
		}
	}
	return first, next, nil
}
