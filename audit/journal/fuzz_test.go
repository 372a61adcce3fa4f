package journal

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/sallyport/sallyport/audit"
)

// FuzzScan: whatever a segment holds, what is read from it is what would have been
// written, and opening it repairs it or refuses it, for good.
func FuzzScan(f *testing.F) {
	frames := func(first uint64, ids ...string) []byte {
		var b []byte
		for i, id := range ids {
			b, _, _ = appendFrames(b, []byte(id+"\n"), audit.Synced, first+uint64(i))
		}
		return b
	}
	good := frames(0, "a", "b", "c")
	f.Add([]byte{}, uint64(0))
	f.Add(good, uint64(3))
	f.Add(good, uint64(4))
	f.Add(good[:len(good)-1], uint64(1))
	f.Add(append(bytes.Clone(good), frames(7, "d")...), uint64(0))
	f.Add(append(bytes.Clone(good), make([]byte, 100)...), uint64(2))
	f.Add(append(bytes.Clone(good), bytes.Repeat([]byte{0xff}, 100)...), uint64(2))
	huge := bytes.Clone(good)
	binary.LittleEndian.PutUint32(huge, math.MaxUint32)
	f.Add(huge, uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, acknowledged uint64) {
		var again []byte
		off, number, err := scan(bytes.NewReader(b), 0, 0, math.MaxUint64, func(number uint64, class audit.Class, line []byte, off int64) bool {
			if int64(len(again)) != off {
				t.Fatalf("event %d at %d, want %d", number, off, len(again))
			}
			var err error
			if again, _, err = appendFrames(again, append(bytes.Clone(line), '\n'), class, number); err != nil {
				t.Fatalf("event %d: %v", number, err)
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(b, again) || off != int64(len(again)) {
			t.Fatalf("read %d bytes up to %d, and they are others", len(again), off)
		}
		fuzzOpen(t, b, number, acknowledged)
	})
}

// lazyDisk never waits for the disk, so that there is time for many inputs.
type lazyDisk struct{ osDisk }

func (lazyDisk) open(path string) (file, error) {
	f, err := osDisk{}.open(path)
	return lazyFile{f}, err
}

type lazyFile struct{ file }

func (lazyFile) datasync() error { return nil }

func fuzzOpen(t *testing.T, b []byte, number, acknowledged uint64) {
	dir := t.TempDir()
	if err := os.WriteFile(segmentPath(dir, 0), b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, watermarkName))
	if err != nil {
		t.Fatal(err)
	}
	if err := (&watermark{file: f}).write(acknowledged); err != nil {
		t.Fatal(err)
	}
	f.Close()
	for range 2 {
		j := &Journal{cfg: small(dir), log: silent(), now: fixedNow, disk: lazyDisk{}}
		err := j.recover()
		if acknowledged > number != (err != nil) {
			t.Fatalf("%d events, %d acknowledged: %v", number, acknowledged, err)
		}
		if err == nil && (j.Next() != number || j.Synced() != number) {
			t.Fatalf("next is %d, want %d", j.Next(), number)
		}
		for _, s := range j.segments {
			s.file.Close()
		}
		if j.watermark != nil {
			j.watermark.file.Close()
		}
	}
}
