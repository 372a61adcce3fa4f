package verify

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/ledger"
)

// reader looks for single seals and events of one log.
type reader struct {
	store archive.Store
	codec *ledger.Codec
	ring  *ring

	unread error // what was missing or damaged
}

// maxRotations bounds how often a log's key may have changed.
const maxRotations = 64

// catchUp makes the ring trust the seal, if its key was announced under one that is
// trusted, and returns the proofs of the announcements. errUntrusted: it wasn't.
func (r *reader) catchUp(ctx context.Context, writer string, target *storedSeal) ([]Evidence, error) {
	var rotations []Evidence
	for range maxRotations {
		_, _, err := ledger.OpenSeal(target.signed, r.ring.known())
		if err == nil {
			break
		}
		announcement, err := lastSealBefore(ctx, r.store, writer, func(s *storedSeal) bool {
			_, _, err := ledger.OpenSeal(s.signed, r.ring.known())
			return s.Size < target.Size && err == nil
		})
		if err != nil {
			return nil, err
		}
		if announcement == nil || signatures(announcement.signed) < 2 {
			break
		}
		rotation, err := r.rotation(ctx, writer, announcement)
		if err != nil {
			return nil, err
		}
		rotations = append(rotations, *rotation)
	}
	if err := r.ring.open(target.signed); err != nil {
		return nil, fmt.Errorf("%s: %w", target.key, err)
	}
	return rotations, nil
}

// rotation proves the announcement of a key, and adds the key to the ring.
func (r *reader) rotation(ctx context.Context, writer string, s *storedSeal) (*Evidence, error) {
	leaves, err := archive.Leaves(ctx, r.store, r.codec, s.Seal)
	if err != nil {
		return nil, err
	}
	var failed error
	for i, leaf := range leaves {
		public, ok := announcedKey(leaf)
		if !ok {
			continue
		}
		evidence, err := r.prove(ctx, writer, s, leaves, i)
		if err != nil {
			return nil, err
		}
		if err := r.ring.announced(s.signed, public); err != nil {
			failed = errors.Join(failed, fmt.Errorf("event %d %w", evidence.Seq, err))
			continue // it may have been changed again before it signed anything
		}
		return evidence, nil
	}
	if failed == nil {
		failed = errors.New("no event under it announces a key")
	}
	return nil, fmt.Errorf("%s: %w: it has two signatures, but %w", s.key, errUntrusted, failed)
}

// prove builds the proof of a leaf by its offset, and checks it.
func (r *reader) prove(ctx context.Context, writer string, s *storedSeal, leaves [][]byte, offset int) (*Evidence, error) {
	tree := ledger.Tree{}
	if s.First > 0 {
		key := ledger.SealKey(writer, s.First)
		before, err := nextSeal(ctx, r.store, writer, s.First)
		if err != nil {
			return nil, err
		}
		if before == nil || before.Size != s.First {
			return nil, fmt.Errorf("%s: %w: without it nothing under the next seal can be proven", key, archive.ErrNotFound)
		}
		if tree, err = ledger.ResumeTree(before.Size, before.Frontier); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	hashes := make([]ledger.Hash, len(leaves))
	for i, leaf := range leaves {
		hashes[i] = ledger.LeafHash(leaf)
	}
	seq := s.First + uint64(offset) //nolint:gosec // it is positive
	path, err := tree.Prove(hashes, seq)
	if err != nil {
		return nil, fmt.Errorf("event %d: %w", seq, err)
	}
	e := &Evidence{Event: string(leaves[offset]), Log: s.Origin, Seq: seq, Checkpoint: string(s.signed), Hashes: path}
	if _, err := e.check(r.ring.known()); err != nil {
		return nil, fmt.Errorf("%s: event %d: %w", s.key, seq, err)
	}
	return e, nil
}

// Checkpoint is the newest seal of a log: keep it elsewhere, and the log can't lose
// its end unnoticed (Options.Trusted).
type Checkpoint struct {
	Origin string      `json:"origin"`
	Writer string      `json:"writer"`
	Size   uint64      `json:"size"`
	Root   ledger.Hash `json:"root"`
	Time   string      `json:"time"` // RFC 3339
	Key    string      `json:"key"`  // that signed, name+hash
	Object string      `json:"object"`
	Signed string      `json:"signed"`
}

// Latest returns the newest seal of each log, by writer. It is an error if one isn't
// signed by one of the keys or by one that the log announced under them; the other
// logs' seals are returned, too.
func Latest(ctx context.Context, store archive.Store, keys []note.Verifier) ([]Checkpoint, error) {
	codec, err := ledger.NewCodec()
	if err != nil {
		return nil, err
	}
	defer codec.Close()
	writers, err := store.Folders(ctx, ledger.SealPrefix)
	if err != nil {
		return nil, fmt.Errorf("list the logs: %w", err)
	}
	var checkpoints []Checkpoint
	var failed error
	for _, writer := range writers {
		r := &reader{store: store, codec: codec, ring: newRing(keys)}
		c, err := r.latest(ctx, writer)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("log %s: %w", writer, err))
		}
		if c != nil {
			checkpoints = append(checkpoints, *c)
		}
	}
	return checkpoints, failed
}

// latest is the newest seal of a log; nil: it has none that can be read.
func (r *reader) latest(ctx context.Context, writer string) (*Checkpoint, error) {
	s, err := lastSealBefore(ctx, r.store, writer, func(*storedSeal) bool { return true })
	if err != nil || s == nil {
		return nil, err
	}
	if _, err := r.catchUp(ctx, writer, s); err != nil {
		return nil, err
	}
	return &Checkpoint{
		Origin: s.Origin, Writer: writer, Size: s.Size, Root: s.Root, Time: s.Time.UTC().Format(timeFormat),
		Key: r.ring.current, Object: s.key, Signed: string(s.signed),
	}, nil
}
