package archive_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit/archive"
)

// TestS3ServerKilled kills the server in the middle of 200 uploads, restarts it
// and repeats all. Nothing may be lost, there twice, or without its lock: this
// server can crash between storing an object and locking it.
func TestS3ServerKilled(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	bucket := server.bucket(t, true)
	cfg := server.config(t, bucket, writer)
	store := newS3(t, cfg)
	store.SetTimeout(5 * time.Second)
	const n = 200
	objects := make([]archive.Object, n)
	for i := range objects {
		objects[i] = object(fmt.Sprintf("k/%04d", i), fmt.Sprintf("%0*d", 20_000, i))
	}
	var done atomic.Int64
	killed := make(chan error, 1)
	failed := putAll(t, store, objects, func() {
		if done.Add(1) == n/4 {
			go func() { killed <- server.Kill() }()
		}
	})
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	if len(failed) == 0 {
		t.Fatal("all uploads were done before the server was killed")
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d uploads failed", len(failed), n)
	if failed := putAll(t, store, objects, func() {}); len(failed) > 0 { // also those that were acknowledged
		t.Fatalf("after the restart: %v", failed)
	}
	versions := list(t, store, "", "")
	if len(versions) != n {
		t.Errorf("%d versions of %d objects", len(versions), n)
	}
	for i, v := range versions {
		if v.Key != objects[i].Key {
			t.Fatalf("version %d is of %s, want %s", i, v.Key, objects[i].Key)
		}
		holds(t, store, v.Key, string(objects[i].Body))
		if _, err := store.Lock(t.Context(), v.Key, v.ID); err != nil {
			t.Error(err)
		}
	}
}

// putAll writes objects, sixteen at a time, and returns what failed.
func putAll(t *testing.T, store archive.Store, objects []archive.Object, done func()) (failed []error) {
	t.Helper()
	var mu sync.Mutex // guards failed
	var group sync.WaitGroup
	queue := make(chan archive.Object)
	for range 16 {
		group.Go(func() {
			for o := range queue {
				if err := store.Put(t.Context(), o); err != nil {
					mu.Lock()
					failed = append(failed, err)
					mu.Unlock()
					continue
				}
				done()
			}
		})
	}
	for _, o := range objects {
		queue <- o
	}
	close(queue)
	group.Wait()
	return failed
}
