package ledger

import (
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// storedTree is a whole tree as x/mod's tlog keeps it, to compare with.
type storedTree []tlog.Hash

func (s storedTree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		found[i] = s[x]
	}
	return found, nil
}

func leafText(i int) []byte { return fmt.Appendf(nil, "leaf %d", i) }

// grow appends a leaf.
func (s *storedTree) grow(t testing.TB, i int) {
	t.Helper()
	hashes, err := tlog.StoredHashes(int64(i), leafText(i), *s)
	if err != nil {
		t.Fatal(err)
	}
	*s = append(*s, hashes...)
}

// TestTree compares every size with tlog's whole tree, in one go and resumed.
func TestTree(t *testing.T) {
	t.Parallel()
	var whole storedTree
	var tree Tree
	for size := range 301 {
		want, err := tlog.TreeHash(int64(size), whole)
		if err != nil {
			t.Fatal(err)
		}
		if tree.Root() != want || tree.Size() != uint64(size) {
			t.Fatalf("size %d: root %v of size %d, want %v", size, tree.Root(), tree.Size(), want)
		}
		resumed, err := ResumeTree(tree.Size(), tree.Frontier())
		if err != nil {
			t.Fatal(err)
		}
		if resumed.Root() != want {
			t.Fatalf("size %d: resumed to another root", size)
		}
		before := tree
		tree = resumed
		tree.Append(LeafHash(leafText(size)))
		if before.Root() != want {
			t.Fatalf("size %d: the tree that was resumed from changed", size)
		}
		whole.grow(t, size)
	}
}

func TestResumeTreeRefuses(t *testing.T) {
	t.Parallel()
	for _, size := range []uint64{0, 1, 4, 7, 1 << 40} {
		for n := range 5 {
			_, err := ResumeTree(size, make([]Hash, n))
			ok := map[uint64]int{0: 0, 1: 1, 4: 1, 7: 3, 1 << 40: 1}[size] == n
			if (err == nil) != ok {
				t.Errorf("size %d with %d hashes: %v", size, n, err)
			}
		}
	}
}

// TestProve proves every leaf of batches that begin and end anywhere.
func TestProve(t *testing.T) {
	t.Parallel()
	var whole storedTree
	var before []Tree // by size
	var tree Tree
	var leaves []Hash
	for i := range 150 {
		resumed, err := ResumeTree(tree.Size(), tree.Frontier())
		if err != nil {
			t.Fatal(err)
		}
		before = append(before, resumed)
		leaves = append(leaves, LeafHash(leafText(i)))
		tree.Append(leaves[i])
		whole.grow(t, i)
	}
	for _, first := range []int{0, 1, 2, 3, 7, 8, 31, 64, 65, 100, 127, 128} {
		for _, count := range []int{1, 2, 3, 5, 8, 13, 22} {
			end := int64(first + count)
			root, err := tlog.TreeHash(end, whole)
			if err != nil {
				t.Fatal(err)
			}
			for i := first; i < first+count; i++ {
				path, err := before[first].Prove(leaves[first:end], uint64(i))
				if err != nil {
					t.Fatalf("leaf %d of %d to %d: %v", i, first, end, err)
				}
				if err := tlog.CheckRecord(path, end, root, int64(i), leaves[i]); err != nil {
					t.Errorf("leaf %d of %d to %d: %v", i, first, end, err)
				}
			}
			for _, outside := range []int{first - 1, first + count} {
				if _, err := before[first].Prove(leaves[first:end], uint64(outside)); err == nil {
					t.Errorf("leaf %d is not among %d to %d", outside, first, end)
				}
			}
		}
	}
}
