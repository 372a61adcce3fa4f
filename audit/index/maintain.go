package index

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/internal/database"
)

const (
	partitionPrefix = "audit_index_events_y" // then 2026m11
	partitionLayout = partitionPrefix + "2006m01"
	monthsAhead     = 2
)

// Maintain makes PostgreSQL's partitions for this month and the next two, and
// removes what is past its retention. Call it at the start and once a day, as the
// owner of the tables; several at once do no harm. Rows that come without it go
// to the default partition, and nothing is lost.
func (x *Index) Maintain(ctx context.Context, now time.Time) error {
	if err := x.Prepare(ctx, now, now.AddDate(0, monthsAhead, 0)); err != nil {
		return err
	}
	if x.cfg.Retention == 0 {
		return nil
	}
	before := now.Add(-x.cfg.Retention)
	table := "audit_index_events"
	if x.db.Dialect() == database.Postgres {
		if err := x.dropPartitions(ctx, before); err != nil {
			return fmt.Errorf("drop partitions: %w", err)
		}
		before, table = month(before), "audit_index_events_default" // whole months here too
	}
	if err := x.expireRows(ctx, table, before); err != nil {
		return fmt.Errorf("remove expired rows: %w", err)
	}
	return nil
}

// Prepare makes PostgreSQL's partitions for the months of a time, before a rebuild
// adds old rows. Rows that are in the default partition move.
func (x *Index) Prepare(ctx context.Context, from, to time.Time) error {
	if x.db.Dialect() != database.Postgres {
		return nil
	}
	for start := month(from); !start.After(to); start = start.AddDate(0, 1, 0) {
		err := x.db.ChangeSlowly(ctx, func(ctx context.Context, tx database.Tx) error { return addPartition(ctx, tx, start) })
		if err != nil {
			return fmt.Errorf("make partition of %s: %w", start.Format("2006-01"), err)
		}
	}
	return nil
}

func month(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

// addPartition fills the partition first and then attaches it, which stops
// writers for a moment only. Its name and bounds are digits, so they may stand in
// the text of a statement; DDL takes no arguments.
func addPartition(ctx context.Context, tx database.Tx, start time.Time) error {
	name := start.Format(partitionLayout)
	from, to := start.Format("'2006-01-02Z'"), start.AddDate(0, 1, 0).Format("'2006-01-02Z'")
	if err := lockPartitions(ctx, tx); err != nil {
		return err
	}
	exists, err := count(ctx, tx, "SELECT count(*) FROM pg_class WHERE oid = to_regclass($1)", name)
	if err != nil || exists > 0 {
		return err
	}
	inRange := " WHERE time >= " + from + " AND time < " + to
	for _, statement := range []string{
		"LOCK TABLE audit_index_events_default IN ACCESS EXCLUSIVE MODE",
		"CREATE TABLE " + name + " (LIKE audit_index_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
		"INSERT INTO " + name + " SELECT * FROM audit_index_events_default" + inRange,
		"DELETE FROM audit_index_events_default" + inRange,
		"ALTER TABLE audit_index_events ATTACH PARTITION " + name + " FOR VALUES FROM (" + from + ") TO (" + to + ")",
	} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func lockPartitions(ctx context.Context, tx database.Tx) error {
	// A chore that waits for a lock makes everybody behind it wait: rather give up.
	_, err := tx.ExecContext(ctx, "SET LOCAL lock_timeout = '5s'")
	if err == nil {
		_, err = tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('audit_index partitions', 0))")
	}
	return err
}

func count(ctx context.Context, tx database.Tx, statement string, arguments ...any) (n int64, err error) {
	err = tx.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&n) }, statement, arguments...)
	return n, err
}

// dropPartitions drops those whose every row is from before the time.
func (x *Index) dropPartitions(ctx context.Context, before time.Time) error {
	var names []string
	err := x.db.Query(ctx, func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		if start, parseErr := time.Parse(partitionLayout, name); parseErr == nil && !start.AddDate(0, 1, 0).After(before) {
			names = append(names, name)
		}
		return err
	}, `SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'audit_index_events'::regclass ORDER BY 1`)
	if err != nil {
		return err
	}
	for _, name := range names {
		err := x.db.ChangeSlowly(ctx, func(ctx context.Context, tx database.Tx) error { return dropPartition(ctx, tx, name) })
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func dropPartition(ctx context.Context, tx database.Tx, name string) error {
	if err := lockPartitions(ctx, tx); err != nil {
		return err
	}
	exists, err := count(ctx, tx, "SELECT count(*) FROM pg_class WHERE oid = to_regclass($1)", name)
	if err != nil || exists == 0 {
		return err // another replica's work
	}
	removed := make(map[string][]Range)
	err = tx.Query(ctx, func(rows *sql.Rows) error {
		var log string
		var from, to int64
		err := rows.Scan(&log, &from, &to)
		removed[log] = append(removed[log], Range{uint64(from), uint64(to)}) //nolint:gosec // CHECK (seq >= 0)
		return err
	}, `SELECT log, min(seq), max(seq) + 1 FROM (
			SELECT log, seq, seq - row_number() OVER (PARTITION BY log ORDER BY seq) AS island
			FROM (SELECT DISTINCT log, seq FROM `+name+`) AS numbers
		) AS islands GROUP BY log, island`)
	if err != nil {
		return err
	}
	if err := recordExpired(ctx, tx, removed); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "DROP TABLE "+name) // it matched partitionLayout
	return err
}

// expireRows removes rows in steps that don't keep writers waiting for long.
func (x *Index) expireRows(ctx context.Context, table string, before time.Time) error {
	const atOnce = 5000
	for {
		n := 0
		err := x.db.Change(ctx, func(ctx context.Context, tx database.Tx) error {
			n = 0
			removed := make(map[string][]Range)
			err := tx.Query(ctx, func(rows *sql.Rows) error {
				var log string
				var seq int64
				err := rows.Scan(&log, &seq)
				removed[log] = append(removed[log], Range{uint64(seq), uint64(seq) + 1}) //nolint:gosec // CHECK (seq >= 0)
				n++
				return err
			}, "DELETE FROM "+table+" WHERE (log, seq, time) IN (SELECT log, seq, time FROM "+table+
				" WHERE time < $1 ORDER BY time LIMIT "+strconv.Itoa(atOnce)+") RETURNING log, seq", x.db.Time(before))
			if err != nil {
				return err
			}
			return recordExpired(ctx, tx, removed)
		})
		if err != nil || n < atOnce {
			return err
		}
	}
}

// recordExpired adds to what is no gap.
func recordExpired(ctx context.Context, tx database.Tx, removed map[string][]Range) error {
	for log, ranges := range removed {
		err := tx.Query(ctx, func(rows *sql.Rows) error {
			r, err := scanRange(rows)
			ranges = append(ranges, r)
			return err
		}, "DELETE FROM audit_index_expired WHERE log = $1 RETURNING first_seq, next_seq", log)
		if err != nil {
			return err
		}
		for _, r := range merge(ranges) {
			_, err := tx.ExecContext(ctx, "INSERT INTO audit_index_expired (log, first_seq, next_seq) VALUES ($1, $2, $3)",
				log, int64(r.From), int64(r.To)) //nolint:gosec // from the database
			if err != nil {
				return err
			}
		}
	}
	return nil
}
