package archive_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/ledger"
)

// slowStore answers each Get after a second, with the key.
type slowStore struct {
	archive.Store
	missing       string
	reading, most atomic.Int64
}

func (s *slowStore) Get(ctx context.Context, key, _ string) ([]byte, error) {
	s.most.Store(max(s.most.Load(), s.reading.Add(1)))
	defer s.reading.Add(-1)
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Second):
	}
	if key == s.missing {
		return nil, archive.ErrNotFound
	}
	return []byte(key), nil
}

// Events that have an object each are read together, in order, and not all at once.
func TestLeavesOfSingleEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 320
		seal := &ledger.Seal{Size: n, Layout: ledger.LayoutEvent}
		keys := make([]string, n)
		for i := range keys {
			id, err := hex.DecodeString(strings.ReplaceAll(audit.NewID(time.Now()), "-", ""))
			if err != nil {
				t.Fatal(err)
			}
			seal.IDs = append(seal.IDs, id...)
			if keys[i], err = ledger.EventKey(seal.ID(i)); err != nil {
				t.Fatal(err)
			}
		}
		store, start := &slowStore{}, time.Now()
		leaves, err := archive.Leaves(t.Context(), store, nil, seal)
		if err != nil || fmt.Sprintf("%s", leaves) != fmt.Sprint(keys) {
			t.Errorf("%d leaves, %v, or not in order", len(leaves), err)
		}
		if took, most := time.Since(start), store.most.Load(); took != 20*time.Second || most != 16 {
			t.Errorf("it took %v, with %d at once", took, most)
		}
		store.missing = keys[17]
		if _, err := archive.Leaves(t.Context(), store, nil, seal); !errors.Is(err, archive.ErrNotFound) {
			t.Errorf("without one: %v", err)
		}
	})
}
