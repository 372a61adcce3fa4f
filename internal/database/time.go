package database

import (
	"database/sql"
	"fmt"
	"time"
)

// Time is an argument for a column of times: timestamptz of PostgreSQL, and an
// INTEGER of Unix microseconds of SQLite, which has no type for it. Both keep
// microseconds.
func (db *DB) Time(t time.Time) any {
	if db.dialect == SQLite {
		return t.UnixMicro()
	}
	return t.UTC().Truncate(time.Microsecond)
}

// ScanTime scans such a column, in UTC; NULL is the zero time.
func ScanTime(to *time.Time) sql.Scanner { return scannedTime{to} }

type scannedTime struct{ to *time.Time }

func (s scannedTime) Scan(value any) error {
	switch value := value.(type) {
	case nil:
		*s.to = time.Time{}
	case int64:
		*s.to = time.UnixMicro(value).UTC()
	case time.Time:
		*s.to = value.UTC()
	default:
		return fmt.Errorf("a time can't be a %T", value)
	}
	return nil
}
