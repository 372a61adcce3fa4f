package journal

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
)

// benchLine is as long as the record of an allowed call.
var benchLine = event("018f0000-0000-7000-8000-000000000000")

func benchJournal(b *testing.B) *Journal {
	b.Helper()
	j, err := Open(Config{Dir: b.TempDir(), Patience: time.Minute}, silent(), time.Now)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := j.Close(); err != nil {
			b.Error(err)
		}
	})
	return j
}

// BenchmarkAppendRoutine is what an allowed read waits for, beside BenchmarkWrite.
// What it writes is released, outside of the time that counts, before the disk
// falls behind.
func BenchmarkAppendRoutine(b *testing.B) {
	j := benchJournal(b)
	b.ReportAllocs()
	blocks(b, func() error { return j.Append(benchLine, 0) }, func() error {
		for j.Synced() < j.Next() {
			time.Sleep(time.Millisecond)
		}
		return j.Release(j.Next())
	})
}

// BenchmarkWrite is what the kernel takes for the same bytes.
func BenchmarkWrite(b *testing.B) {
	f := bareFile(b)
	frame, _, _ := appendFrames(nil, benchLine, 0, 0)
	off := int64(0)
	blocks(b, func() error {
		_, err := f.WriteAt(frame, off)
		off += int64(len(frame))
		return err
	}, func() error {
		off = 0
		return f.datasync()
	})
}

// blocks does something again and again, and reports the median of blocks, which
// says what one takes beside others' work.
func blocks(b *testing.B, do, rest func() error) {
	b.Helper()
	const block, many = 100, 2000
	var took []time.Duration
	start := time.Now()
	for i := 1; b.Loop(); i++ {
		if err := do(); err != nil {
			b.Fatal(err)
		}
		if i%block > 0 {
			continue
		}
		took = append(took, time.Since(start)/block)
		if i%many == 0 {
			b.StopTimer()
			if err := rest(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		start = time.Now()
	}
	if len(took) > 0 {
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	}
}

const bareSize = 16 << 20

// bareFile is a file as a segment is.
func bareFile(b *testing.B) file {
	b.Helper()
	f, err := osDisk{}.create(filepath.Join(b.TempDir(), "bare"), bareSize)
	if err == nil {
		_, err = f.WriteAt(make([]byte, bareSize), 0)
	}
	if err == nil {
		err = f.datasync()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	return f
}

// BenchmarkAppendSynced is what a write waits for, beside BenchmarkFdatasync.
func BenchmarkAppendSynced(b *testing.B) {
	for _, writers := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			j := benchJournal(b)
			share(b, writers, func() error { return j.Append(benchLine, audit.Synced) })
			if err := j.Release(j.Next()); err != nil {
				b.Error(err)
			}
		})
	}
}

// share has many do something b.N times in all, and reports how long one takes.
func share(b *testing.B, writers int, do func() error) {
	b.Helper()
	var mu sync.Mutex
	var all []time.Duration
	var wait sync.WaitGroup
	each := (b.N + writers - 1) / writers
	b.ResetTimer()
	for range writers {
		wait.Go(func() {
			took := make([]time.Duration, 0, each)
			for range each {
				start := time.Now()
				if err := do(); err != nil {
					b.Error(err)
					return
				}
				took = append(took, time.Since(start))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
		})
	}
	wait.Wait()
	reportPercentiles(b, all)
}

func reportPercentiles(b *testing.B, all []time.Duration) {
	b.Helper()
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Nanoseconds())/1e6, "p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Nanoseconds())/1e6, "p99-ms")
}

// BenchmarkFdatasync is the bare disk: one write of as many frames as there are
// writers above, and one fdatasync.
func BenchmarkFdatasync(b *testing.B) {
	for _, frames := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(frames), func(b *testing.B) {
			f := bareFile(b)
			var batch []byte
			for i := range frames {
				batch, _, _ = appendFrames(batch, benchLine, audit.Synced, uint64(i))
			}
			off := int64(0)
			share(b, 1, func() error {
				if off+int64(len(batch)) > bareSize {
					off = 0
				}
				_, err := f.WriteAt(batch, off)
				off += int64(len(batch))
				if err == nil {
					err = f.datasync()
				}
				return err
			})
		})
	}
}
