package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sallyport/sallyport/audit/ledger"
	"github.com/sallyport/sallyport/internal/durable"
)

// outbox is the folder with the cuts that the archive doesn't have yet: a batch
// and its seal, under the sequence of their first event. A cut exists when its
// seal does. The last seal of all stays.
type outbox struct {
	dir   string
	bytes atomic.Int64

	mu    sync.Mutex // guards what follows
	cuts  []uint64   // first sequences, in order
	sizes map[uint64]int64
}

// sealedCut is a cut as it was read.
type sealedCut struct {
	seal   *ledger.Seal
	signed []byte
}

func openOutbox(dir string) (*outbox, error) {
	o := &outbox{dir: filepath.Join(dir, "outbox"), sizes: make(map[uint64]int64)}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(o.dir)
	if err != nil {
		return nil, err
	}
	sealed := make(map[string]bool)
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".seal"); ok {
			sealed[name] = true
		}
	}
	for _, e := range entries {
		name, kind, _ := strings.Cut(e.Name(), ".")
		first, err := strconv.ParseUint(name, 16, 64)
		if err != nil {
			continue // last.seal
		}
		if !sealed[name] || strings.HasSuffix(kind, "~") { // a crash came between the two
			if err := os.Remove(filepath.Join(o.dir, e.Name())); err != nil {
				return nil, err
			}
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		o.sizes[first] += info.Size()
		o.bytes.Add(info.Size())
		if kind == "seal" {
			o.cuts = append(o.cuts, first)
		}
	}
	slices.Sort(o.cuts)
	return o, nil
}

func (o *outbox) path(first uint64, kind string) string {
	return filepath.Join(o.dir, fmt.Sprintf("%016x.%s", first, kind))
}

// put writes a cut. It is in the outbox for good when put returns nil.
func (o *outbox) put(first uint64, batch, signed []byte) error {
	err := o.dropSeal(first)
	if err == nil {
		err = durable.WriteFile(o.path(first, "batch"), batch)
	}
	if err == nil {
		// A crash here leaves a batch without its seal, which is no cut.
		err = durable.WriteFile(o.path(first, "seal"), signed)
	}
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cuts = append(o.cuts, first)
	o.sizes[first] = int64(len(batch) + len(signed))
	o.bytes.Add(o.sizes[first])
	return nil
}

// dropSeal removes, for good, the seal that an attempt which failed has left. The next
// one may take more events, and no seal must meet another's batch.
func (o *outbox) dropSeal(first uint64) error {
	err := os.Remove(o.path(first, "seal"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, durable.SyncDir(o.dir))
}

// waiting are the first sequences of the cuts, in order.
func (o *outbox) waiting() []uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.cuts)
}

// get reads a cut; fs.ErrNotExist if it isn't there.
func (o *outbox) get(first uint64) (cut *sealedCut, batch []byte, err error) {
	if cut, err = readCut(o.path(first, "seal")); err != nil {
		return nil, nil, err
	}
	batch, err = os.ReadFile(o.path(first, "batch"))
	return cut, batch, err
}

// endingAt is the cut that waits and ends at the size; nil: there is none.
func (o *outbox) endingAt(size uint64) (*sealedCut, error) {
	waiting := o.waiting()
	after, _ := slices.BinarySearch(waiting, size) // the first cut at or after size
	if after == 0 {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	cut, err := readCut(o.path(waiting[after-1], "seal"))
	if err != nil || cut.seal.Size != size {
		return nil, err
	}
	return cut, nil
}

func readCut(path string) (*sealedCut, error) {
	signed, err := os.ReadFile(path) //nolint:gosec // in our own folder
	if err != nil {
		return nil, err
	}
	seal, err := ledger.ReadSeal(signed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &sealedCut{seal: seal, signed: signed}, nil
}

// remove takes the first cut out, and keeps its seal as the last one.
func (o *outbox) remove(first uint64) error {
	if err := os.Rename(o.path(first, "seal"), filepath.Join(o.dir, "last.seal")); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	o.mu.Lock()
	o.bytes.Add(-o.sizes[first])
	delete(o.sizes, first)
	o.cuts = slices.DeleteFunc(o.cuts, func(c uint64) bool { return c == first })
	o.mu.Unlock()
	// A crash from here on leaves the batch, for openOutbox to remove. The seal's new
	// place must be on the disk before: a seal without its batch could not be sent.
	if err := errors.Join(durable.SyncDir(o.dir), os.Remove(o.path(first, "batch"))); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}

// lastSeal is the newest seal of all; nil: nothing was sealed yet.
func (o *outbox) lastSeal() (*sealedCut, error) {
	path := filepath.Join(o.dir, "last.seal")
	if waiting := o.waiting(); len(waiting) > 0 {
		path = o.path(waiting[len(waiting)-1], "seal")
	}
	cut, err := readCut(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	return cut, err
}
