package main_test

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/journal"
	"github.com/sallyport/sallyport/audit/ledger"
)

// events are all events of the mesh so far, in their order: those in the journal,
// in the outbox and in the archive. They move that way, so they are read that way.
func (m *mesh) events(t *testing.T) [][]byte {
	t.Helper()
	found := make(map[uint64][]byte)
	m.journalEvents(t, found)
	codec, err := ledger.NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	defer codec.Close()
	keep := func(seal *ledger.Seal, leaves [][]byte) {
		for i, leaf := range leaves {
			found[seal.First+uint64(i)] = leaf
		}
	}
	m.outboxEvents(t, codec, keep)
	m.archivedEvents(t, codec, keep)
	var all [][]byte
	for _, seq := range slices.Sorted(maps.Keys(found)) {
		all = append(all, found[seq])
	}
	return all
}

func (m *mesh) journalEvents(t *testing.T, found map[uint64][]byte) {
	t.Helper()
	events, err := journal.OpenReader(filepath.Join(m.dir, "audit/journal"), 0)
	if err == nil {
		err = events.Read(func(number uint64, _ audit.Class, line []byte) bool {
			found[number] = slices.Clone(line)
			return true
		})
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

func (m *mesh) outboxEvents(t *testing.T, codec *ledger.Codec, keep func(*ledger.Seal, [][]byte)) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(m.dir, "audit/outbox/*.seal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		signed, sealErr := os.ReadFile(name)
		body, err := os.ReadFile(strings.TrimSuffix(name, ".seal") + ".batch")
		if errors.Is(errors.Join(sealErr, err), fs.ErrNotExist) {
			continue // it went to the archive, or is the last one
		}
		seal, err := ledger.ReadSeal(signed)
		if err != nil {
			t.Fatal(err)
		}
		leaves, err := decodeBallasted(codec, body)
		if err != nil {
			t.Fatal(err)
		}
		keep(seal, leaves)
	}
}

func (m *mesh) archivedEvents(t *testing.T, codec *ledger.Codec, keep func(*ledger.Seal, [][]byte)) {
	t.Helper()
	store, err := archive.OpenFolder(filepath.Join(m.dir, "audit/archive"))
	if err != nil {
		t.Fatal(err)
	}
	for v, err := range store.Versions(t.Context(), ledger.SealPrefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		signed, err := store.Get(t.Context(), v.Key, "")
		if err != nil {
			t.Fatal(err)
		}
		seal, err := ledger.ReadSeal(signed)
		if err != nil {
			t.Fatal(err)
		}
		leaves, err := archive.Leaves(t.Context(), store, codec, seal)
		if err != nil {
			t.Fatal(err)
		}
		keep(seal, leaves)
	}
}

// decodeBallasted decodes a batch that zeros may follow; its own last bytes may be
// zeros, too.
func decodeBallasted(codec *ledger.Codec, body []byte) (leaves [][]byte, err error) {
	end := len(bytes.TrimRight(body, "\x00"))
	for ; end <= len(body); end++ {
		if leaves, err = codec.DecodeAll(body[:end]); err == nil {
			return leaves, nil
		}
	}
	return nil, err
}
