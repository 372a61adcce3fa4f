package ledger

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// Tree is the right edge of a Merkle tree (RFC 6962 §2.1): as much of it as is
// needed to go on. The zero Tree is empty.
type Tree struct {
	size     uint64
	frontier []Hash // roots of the largest full subtrees, left to right
}

// ResumeTree continues a tree of a size from its frontier.
func ResumeTree(size uint64, frontier []Hash) (Tree, error) {
	if bits.OnesCount64(size) != len(frontier) {
		return Tree{}, fmt.Errorf("a tree of %d has a frontier of %d hashes, not %d", size, bits.OnesCount64(size), len(frontier))
	}
	return Tree{size: size, frontier: append([]Hash(nil), frontier...)}, nil
}

// Append adds a leaf.
func (t *Tree) Append(leaf Hash) {
	t.frontier = append(t.frontier, leaf)
	for n := t.size; n&1 == 1; n >>= 1 { // each full pair becomes its parent
		last := len(t.frontier) - 1
		t.frontier[last-1] = tlog.NodeHash(t.frontier[last-1], t.frontier[last])
		t.frontier = t.frontier[:last]
	}
	t.size++
}

// Size is the number of leaves.
func (t *Tree) Size() uint64 { return t.size }

// Frontier returns a copy of the right edge; see ResumeTree.
func (t *Tree) Frontier() []Hash { return append([]Hash(nil), t.frontier...) }

// Root is the hash over all leaves.
func (t *Tree) Root() Hash {
	if t.size == 0 {
		return sha256.Sum256(nil)
	}
	root := t.frontier[len(t.frontier)-1]
	for i := len(t.frontier) - 2; i >= 0; i-- {
		root = tlog.NodeHash(t.frontier[i], root)
	}
	return root
}

// Prove returns the audit path of leaf number index in the tree that has the
// given leaves after t's: index counts from the first of all.
func (t *Tree) Prove(leaves []Hash, index uint64) ([]Hash, error) {
	if index < t.size || index-t.size >= uint64(len(leaves)) {
		return nil, errors.New("the leaf is not among these")
	}
	stored := make(map[int64]Hash, 2*len(leaves)+64)
	at := uint64(0)
	for _, h := range t.frontier { // the largest power of two first
		level := bits.Len64(t.size-at) - 1
		stored[tlog.StoredHashIndex(level, int64(at>>level))] = h //nolint:gosec // sizes are far below 1<<63
		at += 1 << level
	}
	read := tlog.HashReaderFunc(func(indexes []int64) ([]Hash, error) {
		found := make([]Hash, len(indexes))
		for i, x := range indexes {
			h, ok := stored[x]
			if !ok {
				return nil, fmt.Errorf("hash %d is not known", x)
			}
			found[i] = h
		}
		return found, nil
	})
	n := int64(t.size) //nolint:gosec // see above
	for _, leaf := range leaves {
		hashes, err := tlog.StoredHashesForRecordHash(n, leaf, read)
		if err != nil {
			return nil, err
		}
		for i, h := range hashes {
			stored[tlog.StoredHashIndex(0, n)+int64(i)] = h
		}
		n++
	}
	return tlog.ProveRecord(n, int64(index), read) //nolint:gosec // see above
}
