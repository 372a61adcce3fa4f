package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/sallyport/sallyport/internal/database"
)

// columns are those of a row, in the order of insert and scanRow.
const columns = "log, seq, time, event_id, type, correlation_id, user_id, tool, action, status, reason, decision_id, leaf_hash, batch, payload"

// Add adds rows in one transaction. What is already there with the same leaf hash
// is left as it is, so a repeated call is a success; with another leaf hash
// nothing is added and the error wraps ErrMismatch and names log and sequence
// number. Any other error may be repeated. Some 10,000 rows fit into the
// database's deadline.
//
// PostgreSQL's user needs INSERT, and SELECT of what rows are compared by; see
// roles.sql.
func (x *Index) Add(ctx context.Context, rows []Row) error {
	kept, err := x.sorted(rows)
	if err != nil || len(kept) == 0 {
		return err
	}
	err = x.db.Change(ctx, func(ctx context.Context, tx database.Tx) error {
		missing, err := x.missing(ctx, tx, kept)
		if err != nil || len(missing) == 0 {
			return err
		}
		if x.db.Dialect() == database.SQLite {
			return insertRows(ctx, tx, x.db, missing)
		}
		return insertArrays(ctx, tx, missing)
	})
	if err != nil {
		return fmt.Errorf("add to the audit index: %w", err)
	}
	return nil
}

// sorted are the rows as they are stored, by log and sequence number, each once.
func (x *Index) sorted(rows []Row) ([]Row, error) {
	kept := make([]Row, 0, len(rows))
	for _, row := range rows {
		stored, err := row.stored()
		if err != nil {
			return nil, err
		}
		kept = append(kept, stored)
	}
	slices.SortStableFunc(kept, compareRows)
	var err error
	kept = slices.CompactFunc(kept, func(a, b Row) bool {
		same := compareRows(a, b) == 0
		if same && a.LeafHash != b.LeafHash {
			err = mismatch(a.Log, a.Seq)
		}
		return same
	})
	return kept, err
}

func mismatch(log string, seq uint64) error {
	return fmt.Errorf("%w: log %s, seq %d", ErrMismatch, log, seq)
}

// missing are the rows that the database doesn't have. Nobody else can add to
// their logs until the transaction ends.
func (x *Index) missing(ctx context.Context, tx database.Tx, rows []Row) (missing []Row, err error) {
	var errs []error
	for of := range byLog(rows) {
		if err := x.lock(ctx, tx, of[0].Log); err != nil {
			return nil, err
		}
		present, err := presentIn(ctx, tx, of)
		if err != nil {
			return nil, err
		}
		for _, row := range of {
			hashes := present[row.Seq]
			if len(hashes) == 0 {
				missing = append(missing, row)
			} else if slices.ContainsFunc(hashes, func(h [32]byte) bool { return h != row.LeafHash }) {
				errs = append(errs, mismatch(row.Log, row.Seq))
				break // one of each log will do
			}
		}
	}
	return missing, errors.Join(errs...)
}

// lock keeps others from adding to the log between our look and our insert:
// PostgreSQL's unique key includes the time, so it would let in a second event
// of another time. SQLite has only one writer anyway.
func (x *Index) lock(ctx context.Context, tx database.Tx, log string) error {
	if x.db.Dialect() == database.SQLite {
		return nil
	}
	_, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('audit_index/' || $1, 0))", log)
	return err
}

// presentIn are the leaf hashes that the database has under the rows' numbers:
// more than one each only if somebody else wrote to it.
func presentIn(ctx context.Context, tx database.Tx, rows []Row) (map[uint64][][32]byte, error) {
	present := make(map[uint64][][32]byte)
	scan := func(found *sql.Rows) error {
		var seq int64
		var hash []byte
		if err := found.Scan(&seq, &hash); err != nil {
			return err
		}
		present[uint64(seq)] = append(present[uint64(seq)], hashOf(hash)) //nolint:gosec // CHECK (seq >= 0)
		return nil
	}
	for _, r := range runs(rows) {
		err := tx.Query(ctx, scan, `SELECT seq, leaf_hash FROM audit_index_events
			WHERE log = $1 AND seq >= $2 AND seq <= $3`, rows[0].Log, int64(r.From), int64(r.To-1)) //nolint:gosec // stored() saw to it
		if err != nil {
			return nil, err
		}
	}
	return present, nil
}
