package subjects

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sallyport/sallyport/internal/database"
)

// Erase destroys the subject's key and the way from the subject to its pseudonym.
// It may be repeated: for a subject who isn't there, or not any more, it does
// nothing, and Pseudonym is empty. A subject who comes back gets a new pseudonym.
//
// Crash window: if the machine stops between this and the record of it, the
// record is missing; the erased row still has its time.
//
// PostgreSQL's user needs UPDATE, which the gateway's own should not have; see
// roles.sql.
func (s *Subjects) Erase(ctx context.Context, who Subject) (Erased, error) {
	name, err := lookup(s.lookupKey, who)
	if err != nil {
		return Erased{}, fmt.Errorf("erase: %w", err)
	}
	var erased Erased
	at := s.now().UTC().Truncate(time.Microsecond)
	err = s.db.Change(ctx, func(ctx context.Context, tx database.Tx) error {
		erased = Erased{}
		return tx.Query(ctx, func(rows *sql.Rows) error {
			erased.At = at
			return rows.Scan(&erased.Pseudonym)
		}, `UPDATE audit_subjects SET lookup = NULL, wrapped = NULL, erased_at = $1
			WHERE lookup = $2 RETURNING pseudonym`, s.db.Time(at), name)
	})
	if err != nil {
		return Erased{}, fmt.Errorf("erase: %w", err)
	}
	s.byName.Invalidate(string(name))
	s.byAlias.Invalidate(erased.Pseudonym)
	if err := s.db.Scrub(ctx, "audit_subjects"); err != nil {
		return erased, fmt.Errorf("erase: the key is destroyed, but traces of it may be in the database's files: %w", err)
	}
	return erased, nil
}

// Rewrap encrypts all keys under that of the first file and returns how many that
// were. When it returns on each replica's keys, other files can go.
func (s *Subjects) Rewrap(ctx context.Context) (int, error) {
	type row struct {
		pseudonym string
		wrapped   []byte
	}
	old, err := s.one(ctx, "SELECT wrapped FROM audit_subjects_lookup WHERE id = 1")
	if err != nil {
		return 0, fmt.Errorf("rewrap: %w", err)
	}
	if !s.keys.isCurrent(old) {
		if err := s.exec(ctx, "UPDATE audit_subjects_lookup SET wrapped = $1 WHERE id = 1", s.keys.wrap(s.lookupKey, lookupUse)); err != nil {
			return 0, fmt.Errorf("rewrap: %w", err)
		}
	}
	const page = 1000
	done, after := 0, ""
	for {
		var rows []row
		err := s.db.Query(ctx, func(found *sql.Rows) error {
			var r row
			err := found.Scan(&r.pseudonym, &r.wrapped)
			rows = append(rows, r)
			return err
		}, "SELECT pseudonym, wrapped FROM audit_subjects WHERE pseudonym > $1 AND wrapped IS NOT NULL ORDER BY pseudonym LIMIT 1000", after)
		if err != nil {
			return done, fmt.Errorf("rewrap: %w", err)
		}
		err = s.db.Change(ctx, func(ctx context.Context, tx database.Tx) error {
			for _, r := range rows {
				if s.keys.isCurrent(r.wrapped) {
					continue
				}
				key, err := s.keys.unwrap(r.wrapped, r.pseudonym)
				if err != nil {
					return err
				}
				// Not if it was erased meanwhile.
				if _, err := tx.ExecContext(ctx, "UPDATE audit_subjects SET wrapped = $1 WHERE pseudonym = $2 AND wrapped = $3",
					s.keys.wrap(key, r.pseudonym), r.pseudonym, r.wrapped); err != nil {
					return err
				}
				done++
			}
			return nil
		})
		if err != nil {
			return done, fmt.Errorf("rewrap: %w", err)
		}
		if len(rows) < page {
			return done, nil
		}
		after = rows[len(rows)-1].pseudonym
	}
}
