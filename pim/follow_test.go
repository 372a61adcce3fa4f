package pim

import (
	"fmt"
	"strings"
	"testing"
)

// copies inserts copies of a request, each of its own requester (q1, q2 …), with the
// numbers after base.
func (w *world) copies(id string, n int, base uint64) {
	w.Helper()
	columns := strings.Split(requestColumns+", "+searchColumns, ", ")
	values := make([]string, len(columns))
	for i, name := range columns {
		values[i] = name
		switch name {
		case "id":
			values[i] = "'00000000-0000-7000-8000-' || (100000000000 + i)"
		case "change":
			values[i] = fmt.Sprintf("i + %d", base)
		case "principal_id":
			values[i] = "'q' || i"
		}
	}
	w.do(fmt.Sprintf("INSERT INTO pim_requests (%s) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT %s FROM pim_requests, n WHERE id = '%s'",
		strings.Join(columns, ", "), n, strings.Join(values, ", "), id))
	w.do(fmt.Sprintf("UPDATE pim_feed SET change = %d", base+uint64(n)))
}

// TestFollow catches up with more changes than one answer holds.
func TestFollow(t *testing.T) {
	forEach(t, func(w *world) {
		one := w.replica()
		granted := w.given(one, elevation(alice))
		for _, n := range []int{2*feedPage + 500, 2 * feedPage} { // the last page is full, too
			s := w.replica()
			w.copies(granted.ID, n, granted.Change)
			if err := s.poll(w.Context()); err != nil {
				w.Fatal(err)
			}
			if got := s.Stats().Live; got != n+1 {
				w.Errorf("%d of %d", got, n+1)
			}
			if seen, _, _ := s.view.position(); seen != granted.Change+uint64(n) {
				w.Errorf("at %d", seen)
			}
			w.wantGrant(s, Party{PrincipalID: "q4000"}, "00000000-0000-7000-8000-100000004000")
			w.do("DELETE FROM pim_requests WHERE principal_id LIKE 'q%'")
			w.do(fmt.Sprintf("UPDATE pim_feed SET change = %d", granted.Change))
		}
	})
}

// TestRestored: a database that was restored from a backup counts as it is.
func TestRestored(t *testing.T) {
	forEach(t, func(w *world) {
		one := w.replica()
		kept, lost := w.given(one, elevation(alice)), w.given(one, elevation(carol))
		w.poll(one)
		w.do("DELETE FROM pim_requests WHERE id = '" + lost.ID + "'")
		w.do(fmt.Sprintf("UPDATE pim_feed SET change = %d", kept.Change))
		if err := one.poll(w.Context()); err != nil {
			w.Fatal(err)
		}
		w.wantGrant(one, alice, kept.ID)
		w.wantGrant(one, carol, "")
	})
}
