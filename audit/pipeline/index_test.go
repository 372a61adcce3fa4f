package pipeline

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/index"
	"github.com/sallyport/sallyport/audit/ledger"
	"github.com/sallyport/sallyport/internal/database"
)

// faultyIndex is a real index that may be away.
type faultyIndex struct {
	*index.Index

	mu    sync.Mutex // guards fault
	fault error
}

func openIndex(t testing.TB) *faultyIndex {
	t.Helper()
	db := openDatabase(t)
	x, err := index.Open(t.Context(), db, index.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return &faultyIndex{Index: x}
}

func openDatabase(t testing.TB) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), database.Config{Driver: database.SQLite, File: filepath.Join(t.TempDir(), "index.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func (x *faultyIndex) set(fault error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fault = fault
}

func (x *faultyIndex) failing() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.fault
}

func (x *faultyIndex) Size(ctx context.Context, log string) (uint64, error) {
	if err := x.failing(); err != nil {
		return 0, err
	}
	return x.Index.Size(ctx, log)
}

func (x *faultyIndex) Add(ctx context.Context, seal *ledger.Seal, leaves [][]byte) error {
	if err := x.failing(); err != nil {
		return err
	}
	var rows []index.Row
	for _, leaf := range leaves {
		batch := ""
		if seal.Batch != nil {
			batch = seal.Batch.Key
		}
		row, err := index.RowOf(leaf, batch)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	return x.Index.Add(ctx, rows)
}

// holds makes sure that the index has exactly the leaves.
func (x *faultyIndex) holds(t *testing.T, leaves []leaf) {
	t.Helper()
	n := 0
	for row, err := range x.Rows(t.Context(), leaves[0].cut.Origin, 0, 1<<62) {
		if err != nil {
			t.Fatal(err)
		}
		if n >= len(leaves) || row.Seq != leaves[n].seq || !bytes.Equal(row.Payload, []byte(leaves[n].text)) {
			t.Fatalf("row %d isn't the leaf", row.Seq)
		}
		n++
	}
	if n != len(leaves) {
		t.Errorf("%d rows of %d leaves", n, len(leaves))
	}
}

var errIndexAway = errors.New("the index is away")

func TestIndexCatchesUp(t *testing.T) {
	for _, layout := range []string{ledger.LayoutHybrid, ledger.LayoutEvent} {
		t.Run(layout, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				x := openIndex(t)
				w.index, w.cfg.Layout, w.cfg.BatchEvents = x, layout, 20
				x.set(errIndexAway)
				p := w.start()
				for range 50 {
					p.append(audit.Synced)
				}
				p.await("archived without the index", func(s Status) bool { return s.Archived == s.Next && s.Waiting == 0 })
				if s := p.Status(); s.Indexed != 0 || !errors.Is(s.Faults["index"], errIndexAway) {
					t.Errorf("while the index is away: %+v", s)
				}
				x.set(nil)
				p.settle() // from the archive
				w.store.set(away)
				p.append(audit.Synced)
				p.await("indexed without the archive", func(s Status) bool { return s.Indexed == s.Next })
				w.store.set(nil)
				p.settle()

				if err := x.Reset(t.Context(), p.Origin()); err != nil { // by an operator
					t.Fatal(err)
				}
				x.set(errIndexAway)
				p.append(audit.Synced)
				p.await("a fault", func(s Status) bool { return s.Faults["index"] != nil })
				x.set(nil)
				p.settle()
				x.holds(t, w.verifySent())
				p.stop()

				if err := x.Reset(t.Context(), p.Origin()); err != nil { // a new one, perhaps
					t.Fatal(err)
				}
				p = w.start()
				p.settle()
				p.stop()
				x.holds(t, w.verifySent())
			})
		})
	}
}

func TestIndexThatDiffersIsReported(t *testing.T) {
	for what, test := range map[string]struct {
		seq  uint64
		want error
	}{"another event": {50, index.ErrMismatch}, "more events": {0, ErrForked}} {
		t.Run(what, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				x := openIndex(t)
				w.index, w.cfg.BatchEvents = x, 20
				p, err := w.open()
				if err != nil {
					t.Fatal(err)
				}
				forged := []byte(`{"event_id":"` + audit.NewID(time.Now()) + `","timestamp":"2000-01-01T00:00:00Z","event_type":"decision"}`)
				for seq := test.seq; seq < test.seq+200; seq++ {
					row, err := index.RowOf(ledger.AppendLeaf(nil, forged, p.Origin(), seq), "")
					if err == nil {
						err = x.Index.Add(t.Context(), []index.Row{row})
					}
					if err != nil {
						t.Fatal(err)
					}
					if test.seq != 0 {
						break
					}
				}
				for range 100 {
					p.append(audit.Synced)
				}
				p.run()
				time.Sleep(time.Minute)
				s := p.Status()
				if !errors.Is(s.Faults["index"], test.want) || s.Archived != s.Next {
					t.Errorf("want %v: %+v", test.want, s)
				}
				if !strings.Contains(w.logged.String(), test.want.Error()) {
					t.Errorf("not logged: %s", w.logged)
				}
				p.stop()
				w.verifySent()
			})
		})
	}
}

// What the archive has in a log's place isn't indexed as the log.
func TestForeignSealIsNotIndexed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		x := openIndex(t)
		p := w.start()
		p.append(audit.Synced)
		p.settle()
		p.stop()
		signed := w.get(ledger.SealKey(p.id.Writer, p.Status().Archived))
		w.index = x
		p, err := w.open()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			p.append(audit.Synced)
		}
		if _, _, err := p.fromArchive(t.Context(), 0); err != nil {
			t.Error(err)
		}
		p.origin = "audit.example.com/gw-1"
		if _, _, err := p.fromArchive(t.Context(), 0); err == nil {
			t.Errorf("indexes %s", signed)
		}
	})
}
