package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/note"

	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/ledger"
)

// ErrNoEvent: no log has the event.
var ErrNoEvent = errors.New("no such event")

// Prove finds an event by its id, without an index, and proves it to whoever has
// the keys. The proof is checked before it is returned.
func Prove(ctx context.Context, store archive.Store, keys []note.Verifier, eventID string) (*Proof, error) {
	id, ok := ledger.ParseID([]byte(eventID))
	if !ok {
		return nil, fmt.Errorf("%.40q is not an event's id, a UUIDv7", eventID)
	}
	codec, err := ledger.NewCodec()
	if err != nil {
		return nil, err
	}
	defer codec.Close()
	r := &reader{store: store, codec: codec, ring: newRing(keys)}
	at, err := r.find(ctx, id)
	if err != nil {
		return nil, err
	}
	writer := ledger.Writer(at.seal.Origin)
	rotations, err := r.catchUp(ctx, writer, at.seal)
	if err != nil {
		return nil, err
	}
	evidence, err := r.prove(ctx, writer, at.seal, at.leaves, at.offset)
	if err != nil {
		return nil, err
	}
	p := &Proof{Evidence: *evidence, Rotations: rotations}
	p.TLogProof = p.tlogProof()
	_, err = p.Check(keys)
	return p, err
}

// found is an event in the archive.
type found struct {
	seal   *storedSeal
	leaves [][]byte
	offset int
}

// find looks at the event's own object, and without one through the batches of the
// time in its id.
func (r *reader) find(ctx context.Context, id ledger.ID) (*found, error) {
	key, err := ledger.EventKey(id.String())
	if err != nil {
		return nil, err
	}
	leaf, err := r.store.Get(ctx, key, "")
	if err != nil && !errors.Is(err, archive.ErrNotFound) {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if origin, seq, ok := ledger.Place(leaf); ok {
		if at, err := r.findSeq(ctx, origin, seq, id); at != nil || err != nil {
			return at, err
		}
	}
	writers, err := r.store.Folders(ctx, ledger.SealPrefix)
	if err != nil {
		return nil, fmt.Errorf("list the logs: %w", err)
	}
	for _, writer := range writers {
		at, err := r.findTime(ctx, writer, id)
		if err != nil || at != nil {
			return at, err
		}
	}
	if r.unread != nil {
		return nil, fmt.Errorf("%w as %s, but not everything could be read: %w", ErrNoEvent, id, r.unread)
	}
	return nil, fmt.Errorf("%w: %s", ErrNoEvent, id)
}

// findSeq finds the event where its object says; nil: it isn't there.
func (r *reader) findSeq(ctx context.Context, origin string, seq uint64, id ledger.ID) (*found, error) {
	writer := ledger.Writer(origin)
	if invalid := ledger.ValidWriter(writer); invalid != nil {
		return nil, nil //nolint:nilnil,nilerr // whoever wrote that: it isn't there
	}
	seal, err := nextSeal(ctx, r.store, writer, seq+1)
	if err != nil || seal == nil || seal.First > seq {
		return nil, err
	}
	return r.findUnder(ctx, seal, id)
}

// findTime finds the event in a log by the time in its id: it was sealed soon
// after. Nil: the log hasn't got it.
func (r *reader) findTime(ctx context.Context, writer string, id ledger.ID) (*found, error) {
	made := id.Time()
	before, err := lastSealBefore(ctx, r.store, writer, func(s *storedSeal) bool { return s.Time.Before(made.Add(-skewFwd)) })
	if err != nil {
		return nil, err
	}
	size := uint64(1)
	if before != nil {
		size = before.Size + 1
	}
	for {
		seal, err := nextSeal(ctx, r.store, writer, size)
		if err != nil || seal == nil {
			return nil, err
		}
		at, oldest, err := r.search(ctx, seal, id)
		if err != nil || at != nil {
			return at, err
		}
		if oldest > made.Add(skew).UnixMilli() {
			return nil, nil //nolint:nilnil // the log hasn't got it
		}
		size = seal.Size + 1
	}
}

func (r *reader) findUnder(ctx context.Context, seal *storedSeal, id ledger.ID) (*found, error) {
	at, _, err := r.search(ctx, seal, id)
	return at, err
}

// search looks for the event under a seal, and for the time of the oldest id there.
func (r *reader) search(ctx context.Context, seal *storedSeal, id ledger.ID) (at *found, oldest int64, err error) {
	if seal.Batch == nil && !slices.ContainsFunc(slices.Collect(slices.Chunk(seal.IDs, len(id))), func(x []byte) bool { return bytes.Equal(x, id[:]) }) {
		return nil, ledger.ID(seal.IDs[:len(id)]).Milli(), nil
	}
	leaves, err := r.leaves(ctx, seal)
	if err != nil {
		return nil, 0, err
	}
	for i, leaf := range leaves {
		h, ok := parseHead(leaf)
		if ok && h.id == id {
			return &found{seal: seal, leaves: leaves, offset: i}, 0, nil
		}
		if ok && (oldest == 0 || h.id.Milli() < oldest) {
			oldest = h.id.Milli()
		}
	}
	return nil, oldest, nil
}

// leaves reads what a seal covers. What is missing or damaged is remembered, and
// none: the event may be elsewhere.
func (r *reader) leaves(ctx context.Context, seal *storedSeal) ([][]byte, error) {
	leaves, err := archive.Leaves(ctx, r.store, r.codec, seal.Seal)
	if err == nil {
		return leaves, nil
	}
	damaged := errors.Is(err, archive.ErrNotFound)
	if seal.Batch != nil && !damaged {
		_, readErr := r.store.Get(ctx, seal.Batch.Key, "")
		damaged = readErr == nil // it can be read, and not be decoded
	}
	if !damaged {
		return nil, err
	}
	r.unread = errors.Join(r.unread, err)
	return nil, nil
}
