package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sallyport/sallyport/internal/durable"
)

// watermark remembers up to where events were acknowledged as on the disk. It is
// written after each fdatasync and brought to the disk once a second: a process
// that is killed leaves it exact, a machine that loses power behind the truth.
// Two places are written in turn, so that one is always whole.
type watermark struct {
	file *os.File
	turn int64
}

const (
	watermarkName  = "watermark"
	watermarkBytes = 12   // the number and its CRC-32C
	watermarkEvery = 4096 // one place per block, which a disk may tear
)

// openWatermark opens the watermark of a folder, or makes one if the journal is
// new, and returns its number.
func openWatermark(dir string, fresh bool) (*watermark, uint64, error) {
	path := filepath.Join(dir, watermarkName)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) && fresh {
		return createWatermark(dir, path)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%w: the watermark: %w", ErrCorrupt, err)
	}
	w := &watermark{file: f}
	highest, valid := uint64(0), false
	for place := range int64(2) {
		var b [watermarkBytes]byte
		if _, err := f.ReadAt(b[:], place*watermarkEvery); err != nil {
			continue
		}
		number := binary.LittleEndian.Uint64(b[:])
		if binary.LittleEndian.Uint32(b[8:]) != crc32.Checksum(b[:8], castagnoli) {
			continue
		}
		if !valid || number >= highest {
			highest, w.turn = number, 1-place
		}
		valid = true
	}
	if !valid {
		return nil, 0, errors.Join(fmt.Errorf("%w: the watermark %s can't be read", ErrCorrupt, path), f.Close())
	}
	return w, highest, nil
}

// createWatermark makes the file whole before it gets its name.
func createWatermark(dir, path string) (*watermark, uint64, error) {
	f, err := os.OpenFile(path+preparedSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, 0, err
	}
	w := &watermark{file: f}
	err = errors.Join(w.write(0), w.write(0), f.Sync())
	if err == nil {
		err = os.Rename(path+preparedSuffix, path)
	}
	if err == nil {
		err = durable.SyncDir(dir)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return w, 0, nil
}

// write writes the number.
func (w *watermark) write(number uint64) error {
	var b [watermarkBytes]byte
	binary.LittleEndian.PutUint64(b[:], number)
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b[:8], castagnoli))
	_, err := w.file.WriteAt(b[:], w.turn*watermarkEvery)
	w.turn = 1 - w.turn
	return err
}

// keep brings the number to the disk. It may be called while it is written.
func (w *watermark) keep() error { return unix.Fdatasync(int(w.file.Fd())) }

func (w *watermark) close() error { return errors.Join(w.file.Sync(), w.file.Close()) }
