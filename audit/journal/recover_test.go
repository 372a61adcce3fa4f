package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
)

// filled makes a journal of two segments, closes it, and returns the number that
// the second one begins with and the next one.
func filled(t *testing.T, cfg Config) (second, next uint64) {
	t.Helper()
	j := mustOpen(t, cfg, osDisk{})
	for i := 0; len(j.segments) < 2; i++ {
		mustAppend(t, j, audit.Synced, fmt.Sprint("first-", i))
	}
	mustAppend(t, j, audit.Synced, "x", "y", "z")
	next = j.Next()
	mustClose(t, j)
	all, err := firsts(cfg.Dir)
	if err != nil || len(all) != 2 {
		t.Fatalf("segments %v, %v", all, err)
	}
	return all[1], next
}

// change changes the bytes of a file.
func change(t *testing.T, path string, how func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, how(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// flip flips a bit of the first occurrence.
func flip(of string) func([]byte) []byte {
	return func(b []byte) []byte {
		b[bytes.Index(b, []byte(of))] ^= 4
		return b
	}
}

// end is where the frames end.
func end(b []byte) int { return len(bytes.TrimRight(b, "\x00")) }

func setWatermark(t *testing.T, dir string, number uint64) {
	t.Helper()
	w, _, err := openWatermark(dir, false)
	if err == nil {
		err = errors.Join(w.write(number), w.write(number), w.close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestLost: what was acknowledged and isn't there is for a person.
func TestLost(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		damage func(t *testing.T, dir string, second, next uint64)
		want   string // besides the folder; %s: the path of the segment, %d: next
	}{
		{"bit in the last event", func(t *testing.T, dir string, second, _ uint64) {
			change(t, segmentPath(dir, second), flip(`"z"`))
		}, "segment SECOND ends before event LAST, but the events below NEXT were on the disk"},
		{"bit in the length of the last event", func(t *testing.T, dir string, second, _ uint64) {
			change(t, segmentPath(dir, second), func(b []byte) []byte {
				b[bytes.Index(b, []byte(`{"event_id":"z"`))-headerBytes] ^= 1
				return b
			})
		}, "ends before event LAST"},
		{"bit in the first segment", func(t *testing.T, dir string, _, _ uint64) {
			change(t, segmentPath(dir, 0), flip(`"first-3"`))
		}, "segment FIRST ends before event 3, but"},
		{"class", func(t *testing.T, dir string, _, _ uint64) {
			change(t, segmentPath(dir, 0), func(b []byte) []byte { b[16] ^= byte(audit.Single); return b })
		}, "segment FIRST ends before event 0, but"},
		{"segment cut", func(t *testing.T, dir string, second, _ uint64) {
			change(t, segmentPath(dir, second), func(b []byte) []byte { return b[:end(b)-1] })
		}, "ends before event LAST"},
		{"last segment gone", func(t *testing.T, dir string, second, _ uint64) {
			os.Remove(segmentPath(dir, second))
		}, "segment FIRST ends before event"},
		{"all segments gone", func(t *testing.T, dir string, second, _ uint64) {
			os.Remove(segmentPath(dir, second))
			os.Remove(segmentPath(dir, 0))
		}, "there are no segments, but the events below NEXT were on the disk"},
		{"watermark gone", func(_ *testing.T, dir string, _, _ uint64) {
			os.Remove(filepath.Join(dir, watermarkName))
		}, "the watermark"},
		{"watermark overwritten", func(t *testing.T, dir string, _, _ uint64) {
			change(t, filepath.Join(dir, watermarkName), func(b []byte) []byte { b[0]++; b[watermarkEvery]++; return b })
		}, "watermark can't be read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := small(t.TempDir())
			second, next := filled(t, cfg)
			tc.damage(t, cfg.Dir, second, next)
			want := strings.NewReplacer("FIRST", segmentPath(cfg.Dir, 0), "SECOND", segmentPath(cfg.Dir, second),
				"LAST", fmt.Sprint(next-1), "NEXT", fmt.Sprint(next)).Replace(tc.want)
			for range 2 { // trying again changes nothing
				_, err := Open(cfg, silent(), time.Now)
				if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), cfg.Dir) {
					t.Errorf("%v\nwant %s", err, want)
				}
			}
		})
	}
}

// TestTorn: what never was acknowledged as on the disk is moved aside, and the
// journal goes on.
func TestTorn(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		damage func(t *testing.T, dir string, second, next uint64)
		lost   uint64 // events
		aside  string // a part of what is moved aside; "": nothing is
	}{
		{"half an event", func(t *testing.T, dir string, second, next uint64) {
			frame, _, err := appendFrames(nil, event("torn"), 0, next)
			if err != nil {
				t.Fatal(err)
			}
			change(t, segmentPath(dir, second), func(b []byte) []byte { copy(b[end(b):], frame[:500]); return b })
		}, 0, `"torn"`},
		{"bit in an event above the watermark", func(t *testing.T, dir string, second, next uint64) {
			change(t, segmentPath(dir, second), flip(`"y"`))
			setWatermark(t, dir, next-2)
		}, 2, `"z"`},
		{"end of the first segment, above the watermark", func(t *testing.T, dir string, second, next uint64) {
			change(t, segmentPath(dir, 0), flip(fmt.Sprintf(`"first-%d"`, second-1)))
			setWatermark(t, dir, second-1)
		}, 1 + 4, `"z"`}, // the last of the first segment, and all of the second
		{"one place of the watermark", func(t *testing.T, dir string, _, _ uint64) {
			change(t, filepath.Join(dir, watermarkName), func(b []byte) []byte { b[0]++; return b })
		}, 0, ""},
		{"whole events above the watermark", func(t *testing.T, dir string, second, _ uint64) {
			setWatermark(t, dir, second-3)
		}, 0, ""},
		{"segment that was being prepared", func(t *testing.T, dir string, _, _ uint64) {
			if err := os.WriteFile(filepath.Join(dir, "7"+preparedSuffix), []byte("\x00"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := small(t.TempDir())
			second, next := filled(t, cfg)
			tc.damage(t, cfg.Dir, second, next)
			j := mustOpen(t, cfg, osDisk{})
			if got := j.Next(); got != next-tc.lost || j.Synced() != got {
				t.Errorf("next is %d, synced %d, want %d", got, j.Synced(), next-tc.lost)
			}
			checkAside(t, cfg.Dir, j.Truncated(), tc.aside, next-tc.lost)
			mustAppend(t, j, audit.Synced, "after")
			if ids := read(t, j, 0); ids[len(ids)-1] != "after" || uint64(len(ids)) != next-tc.lost+1 {
				t.Errorf("%d events, the last one is %s", len(ids), ids[len(ids)-1])
			}
			mustClose(t, j)
			j = mustOpen(t, cfg, osDisk{}) // it was repaired
			defer mustClose(t, j)
			if j.Truncated() != nil || j.Next() != next-tc.lost+1 {
				t.Errorf("truncated again: %+v, next is %d", j.Truncated(), j.Next())
			}
		})
	}
}

func checkAside(t *testing.T, dir string, cut *Truncation, want string, next uint64) {
	t.Helper()
	copies, err := filepath.Glob(filepath.Join(dir, "*.torn"))
	if err != nil {
		t.Fatal(err)
	}
	if want == "" {
		if cut != nil || len(copies) != 0 {
			t.Errorf("moved aside: %+v, %v", cut, copies)
		}
		return
	}
	var text, size = []byte(nil), int64(0)
	for _, path := range copies {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text, size = append(text, b...), size+int64(len(b))
	}
	if cut == nil || cut.Next != next || cut.Bytes != size || !bytes.Contains(text, []byte(want)) {
		t.Fatalf("moved aside: %+v, %v (%d bytes)", cut, copies, size)
	}
	if _, err := os.Stat(filepath.Join(dir, cut.Copy)); err != nil {
		t.Error(err)
	}
}

// TestOtherSize: a journal whose segments had another size goes on.
func TestOtherSize(t *testing.T) {
	t.Parallel()
	for _, sizes := range [][2]int64{{8 * MaxLine, 4 * MaxLine}, {4 * MaxLine, 8 * MaxLine}} {
		cfg := Config{Dir: t.TempDir(), SegmentBytes: sizes[0]}
		j := mustOpen(t, cfg, osDisk{})
		for i := range 200 {
			mustAppend(t, j, 0, fmt.Sprint(i))
		}
		mustClose(t, j)
		cfg.SegmentBytes = sizes[1]
		j = mustOpen(t, cfg, osDisk{})
		for i := range 600 {
			mustAppend(t, j, 0, fmt.Sprint(200+i))
		}
		mustClose(t, j)
		j = mustOpen(t, cfg, osDisk{})
		if ids := read(t, j, 0); len(ids) != 800 || ids[799] != "799" {
			t.Errorf("%d events", len(ids))
		}
		for _, s := range j.segments {
			if s.used.Load() > s.size || s.first > 0 && s.size != sizes[1] {
				t.Errorf("%d of %d bytes are used", s.used.Load(), s.size)
			}
		}
		mustClose(t, j)
	}
}

func TestOldestAfterRestart(t *testing.T) {
	t.Parallel()
	cfg := small(t.TempDir())
	_, _ = filled(t, cfg)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(segmentPath(cfg.Dir, 0), old, old); err != nil {
		t.Fatal(err)
	}
	j := mustOpen(t, cfg, osDisk{})
	defer mustClose(t, j)
	if got := j.Usage().Oldest; got < 59*time.Minute || got > 61*time.Minute {
		t.Errorf("the oldest event is %v old, want an hour", got)
	}
}

// fixedNow is a clock that stands.
func fixedNow() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
