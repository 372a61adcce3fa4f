package index

import (
	"context"
	"strings"
	"time"

	"github.com/sallyport/sallyport/internal/database"
)

// insertRows is SQLite's way: many rows a statement, because each costs as much as
// several rows do.
func insertRows(ctx context.Context, tx database.Tx, db *database.DB, rows []Row) error {
	const atOnce = 64
	const placeholders = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	for len(rows) > 0 {
		n := min(atOnce, len(rows))
		arguments := make([]any, 0, 15*n)
		for i := range n {
			r := &rows[i]
			arguments = append(arguments, r.Log, int64(r.Seq), db.Time(r.Time), //nolint:gosec // stored() saw to it
				r.EventID, r.Type, r.CorrelationID, r.UserID, r.Tool, r.Action, r.Status, r.Reason, r.DecisionID,
				r.LeafHash[:], r.Batch, r.Payload)
		}
		values := strings.Repeat(", "+placeholders, n)[2:]
		if _, err := tx.ExecContext(ctx, "INSERT INTO audit_index_events ("+columns+") VALUES "+values, arguments...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// insertArrays is PostgreSQL's way: an array per column, so that a thousand rows
// are one round trip. COPY is hardly faster, and not in database/sql.
func insertArrays(ctx context.Context, tx database.Tx, rows []Row) error {
	const atOnce = 1000
	for len(rows) > 0 {
		n := min(atOnce, len(rows))
		_, err := tx.ExecContext(ctx, "INSERT INTO audit_index_events ("+columns+`) SELECT * FROM unnest(
			$1::text[], $2::bigint[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
			$9::text[], $10::text[], $11::text[], $12::text[], $13::bytea[], $14::text[], $15::bytea[])`, arrays(rows[:n])...)
		if err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

func arrays(rows []Row) []any {
	const texts = 9
	var (
		logs, batches    = make([]string, len(rows)), make([]string, len(rows))
		seqs             = make([]int64, len(rows))
		times            = make([]time.Time, len(rows))
		byColumn         [texts][]string
		hashes, payloads = make([][]byte, len(rows)), make([][]byte, len(rows))
	)
	for i := range rows {
		r := &rows[i]
		logs[i], seqs[i], times[i] = r.Log, int64(r.Seq), r.Time //nolint:gosec // stored() saw to it
		for column, value := range r.texts() {
			byColumn[column] = append(byColumn[column], *value)
		}
		hashes[i], batches[i], payloads[i] = r.LeafHash[:], r.Batch, r.Payload
	}
	arguments := []any{logs, seqs, times}
	for _, column := range byColumn {
		arguments = append(arguments, column)
	}
	return append(arguments, hashes, batches, payloads)
}
