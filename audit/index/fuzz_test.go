package index_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/audit/index"
	"github.com/sallyport/sallyport/internal/database"
)

// FuzzRowOf wants no panic, and rows that both come back as they were added.
func FuzzRowOf(f *testing.F) {
	f.Add([]byte(`{"event_id":"a","timestamp":"2026-11-03T12:00:00Z","metadata":{"reason":"x\u0000"},"log":"l","seq":7}`))
	f.Add([]byte(`{"log":"l","seq":18446744073709551615,"timestamp":"9999-12-31T23:59:59-23:59"}`))
	f.Add([]byte(`{"metadata":{"reason":[1]},"log":"l","seq":0}`))
	db, err := database.Open(f.Context(), database.Config{Driver: database.SQLite, File: filepath.Join(f.TempDir(), "index.db")})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { db.Close() })
	x, err := index.Open(f.Context(), db, index.Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, leaf []byte) {
		want, err := index.RowOf(leaf, "batch")
		if err != nil {
			return
		}
		if err := x.Reset(t.Context(), want.Log); err != nil {
			t.Fatal(err)
		}
		if err := x.Add(t.Context(), []index.Row{want}); err != nil {
			t.Fatal(err)
		}
		for got, err := range x.Rows(t.Context(), want.Log, want.Seq, want.Seq+1) {
			if diff := cmp.Diff(want, got); diff != "" || err != nil || !bytes.Equal(got.Payload, leaf) {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		}
	})
}

// FuzzCursor wants ErrQuery or a page for any cursor.
func FuzzCursor(f *testing.F) {
	f.Add("MTc5MzcwNzIwMDAwMDAwMCA3IGFjbWU") // "1793707200000000 7 acme"
	f.Add("")
	db, err := database.Open(f.Context(), database.Config{Driver: database.SQLite, File: filepath.Join(f.TempDir(), "index.db")})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { db.Close() })
	x, err := index.Open(f.Context(), db, index.Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		if _, _, err := x.Search(t.Context(), index.Query{Cursor: cursor}); err != nil && !errors.Is(err, index.ErrQuery) {
			t.Error(err)
		}
	})
}
