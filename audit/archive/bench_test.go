package archive_test

import (
	"bytes"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/internal/testenv"
)

// BenchmarkPut writes objects of 2 KB, sixteen at a time.
func BenchmarkPut(b *testing.B) {
	server := testenv.S3For(b, testenv.S3Options{})
	if err := server.CreateBucket(b.Context(), "archive", true); err != nil {
		b.Fatal(err)
	}
	b.Setenv("AWS_ACCESS_KEY_ID", testenv.S3Root)
	b.Setenv("AWS_SECRET_ACCESS_KEY", testenv.S3Secret(testenv.S3Root))
	bucket, err := archive.NewS3(b.Context(), archive.S3Config{
		Bucket: "archive", Region: testenv.S3Region, Endpoint: server.Endpoint(), PathStyle: true,
		Mode: archive.Compliance, Retention: 365 * 24 * time.Hour,
	}, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	folder, err := archive.OpenFolder(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	for name, store := range map[string]archive.Store{"s3": bucket, "folder": folder} {
		b.Run(name, func(b *testing.B) { benchmarkPut(b, store) })
	}
}

// started keeps the keys of one run apart from those of others.
var started atomic.Int64

func benchmarkPut(b *testing.B, store archive.Store) {
	body := bytes.Repeat([]byte("x"), 2048)
	run := started.Add(1)
	var next atomic.Int64
	b.SetParallelism(max(1, 16/runtime.GOMAXPROCS(0)))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := next.Add(1)
			key := fmt.Sprintf("audit-logs/%d/%02d/%08d.json", run, i%100, i)
			if err := store.Put(b.Context(), archive.Object{Key: key, Body: body}); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "PUT/s")
}
