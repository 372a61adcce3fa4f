package archive_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/audit/archive"
)

// plant puts bytes where Put would not: past the store's own checks.
type plant func(t *testing.T, key string, body []byte)

// opened is a store and how to plant in it.
type opened struct {
	archive.Store
	plant plant
}

func openFolder(t *testing.T) opened {
	t.Helper()
	dir := t.TempDir()
	store, err := archive.OpenFolder(filepath.Join(dir, "archive"))
	if err != nil {
		t.Fatal(err)
	}
	return opened{store, func(t *testing.T, key string, body []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "archive", key), body, 0o644); err != nil {
			t.Fatal(err)
		}
	}}
}

// TestStores holds each store to the contract of archive.Store.
func TestStores(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	stores := map[string]func(*testing.T) opened{
		"folder": openFolder,
		"s3":     func(t *testing.T) opened { return server.open(t) },
	}
	tests := map[string]func(*testing.T, opened){
		"create":          testCreate,
		"conflict":        testConflict,
		"race":            testRace,
		"race same bytes": testRaceSameBytes,
		"pages":           testPages,
		"listing":         testListing,
		"folders":         testFolders,
		"not found":       testNotFound,
		"size limit":      testSizeLimit,
		"odd keys":        testOddKeys,
		"bad keys":        testBadKeys,
		"ended context":   testEndedContext,
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for what, test := range tests {
				t.Run(what, func(t *testing.T) {
					t.Parallel()
					test(t, open(t))
				})
			}
		})
	}
}

func object(key, body string) archive.Object {
	return archive.Object{Key: key, Body: []byte(body), ContentType: "application/json", Metadata: map[string]string{"log": "test"}}
}

func put(t *testing.T, store archive.Store, objects ...archive.Object) {
	t.Helper()
	for _, o := range objects {
		if err := store.Put(t.Context(), o); err != nil {
			t.Fatalf("put %s: %v", o.Key, err)
		}
	}
}

// holds fails unless the key's current version has these bytes.
func holds(t *testing.T, store archive.Store, key, want string) {
	t.Helper()
	if got, err := store.Get(t.Context(), key, ""); err != nil || string(got) != want {
		t.Errorf("get %q: %.40q (%v), want %.40q", key, got, err, want)
	}
}

func list(t *testing.T, store archive.Store, prefix, after string) []archive.Version {
	t.Helper()
	var all []archive.Version
	for v, err := range store.Versions(t.Context(), prefix, after) {
		if err != nil {
			t.Fatalf("list %q after %q: %v", prefix, after, err)
		}
		all = append(all, v)
	}
	return all
}

func keys(versions []archive.Version) []string {
	all := []string{}
	for _, v := range versions {
		all = append(all, v.Key)
	}
	return all
}

func testCreate(t *testing.T, store opened) {
	const key = "audit-logs/year=2026/month=11/day=28/0001.json"
	put(t, store, object(key, "{}"), object("empty", ""))
	holds(t, store, key, "{}")
	holds(t, store, "empty", "")
	put(t, store, object(key, "{}")) // the same again
	versions := list(t, store, "audit-logs/", "")
	if len(versions) != 1 || versions[0].Key != key || versions[0].Size != 2 || !versions[0].Latest || versions[0].DeleteMarker {
		t.Fatalf("versions: %+v", versions)
	}
	if versions[0].Modified.IsZero() {
		t.Error("no time")
	}
	if got, err := store.Get(t.Context(), key, versions[0].ID); err != nil || string(got) != "{}" {
		t.Errorf("get version %q: %q (%v)", versions[0].ID, got, err)
	}
}

func testConflict(t *testing.T, store opened) {
	put(t, store, object("a/b", "first"))
	err := store.Put(t.Context(), object("a/b", "other"))
	if !errors.Is(err, archive.ErrConflict) || !strings.Contains(err.Error(), "a/b") {
		t.Errorf("put other bytes: %v", err)
	}
	holds(t, store, "a/b", "first")
	if n := len(list(t, store, "", "")); n != 1 {
		t.Errorf("%d versions", n)
	}
}

// race lets sixteen write one key at once and returns what each was told.
func race(t *testing.T, store archive.Store, body func(i int) string) []error {
	t.Helper()
	results := make([]error, 16)
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := range results {
		group.Go(func() {
			<-start
			results[i] = store.Put(t.Context(), object("race", body(i)))
		})
	}
	close(start)
	group.Wait()
	if n := len(list(t, store, "race", "")); n != 1 {
		t.Errorf("%d versions", n)
	}
	return results
}

func testRace(t *testing.T, store opened) {
	body := func(i int) string { return fmt.Sprint("writer ", i) }
	winner := -1
	for i, err := range race(t, store, body) {
		switch {
		case err == nil && winner < 0:
			winner = i
		case !errors.Is(err, archive.ErrConflict):
			t.Errorf("writer %d: %v; the winner was %d", i, err, winner)
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	holds(t, store, "race", body(winner))
}

func testRaceSameBytes(t *testing.T, store opened) {
	if err := errors.Join(race(t, store, func(int) string { return "same" })...); err != nil {
		t.Error(err)
	}
	holds(t, store, "race", "same")
}

// testPages lists more than a page of S3 holds.
func testPages(t *testing.T, store opened) {
	const n = 1111
	var want []string
	var group sync.WaitGroup
	queue := make(chan string)
	for range 8 {
		group.Go(func() {
			for key := range queue {
				if err := store.Put(t.Context(), object(key, key)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range n {
		want = append(want, fmt.Sprintf("p/%02d/%04d", i/200, i))
		queue <- want[i]
	}
	close(queue)
	group.Wait()
	if diff := cmp.Diff(want, keys(list(t, store, "p/", ""))); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[701:], keys(list(t, store, "p/", want[700]))); diff != "" {
		t.Errorf("after %s (-want +got):\n%s", want[700], diff)
	}
	count := 0
	for range store.Versions(t.Context(), "p/", "") {
		if count++; count == 3 {
			break // must end the iteration without a word
		}
	}
}

func testListing(t *testing.T, store opened) {
	all := []string{"a/1", "a/2", "a/b/1", "ab/1", "b/1", "c"}
	for _, key := range all {
		put(t, store, object(key, "x"))
	}
	for _, test := range []struct {
		prefix, after string
		want          []string
	}{
		{"", "", all},
		{"a", "", []string{"a/1", "a/2", "a/b/1", "ab/1"}},
		{"a/", "", []string{"a/1", "a/2", "a/b/1"}},
		{"a/b", "", []string{"a/b/1"}},
		{"a/", "a/1", []string{"a/2", "a/b/1"}},
		{"a/", "a/2", []string{"a/b/1"}},
		{"a/", "a/b/1", nil},
		{"", "a/b/1", []string{"ab/1", "b/1", "c"}},
		{"b/", "a/1", []string{"b/1"}},
		{"b/", "c", nil},
		{"none/", "", nil},
		{"c/", "", nil},
		{"a//", "", nil},
		{"../", "", nil},
	} {
		if diff := cmp.Diff(test.want, keys(list(t, store, test.prefix, test.after)), cmp.Transformer("none", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
			t.Errorf("prefix %q after %q (-want +got):\n%s", test.prefix, test.after, diff)
		}
	}
}

func testFolders(t *testing.T, store opened) {
	put(t, store, object("s/a.b/1", ""), object("s/a/1", ""), object("s/a/2/3", ""), object("s/file", ""), object("t/1", ""))
	for prefix, want := range map[string][]string{
		"s/": {"a", "a.b"}, "": {"s", "t"}, "s/a": {"", ".b"}, "s/a/": {"2"}, "u/": nil, "s/file/": nil,
	} {
		got, err := store.Folders(t.Context(), prefix)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("folders of %q: %q (%v), want %q", prefix, got, err, want)
		}
	}
}

func testNotFound(t *testing.T, store opened) {
	put(t, store, object("a/b", ""))
	for _, key := range []string{"none", "a/none", "a/b/c", "a"} {
		if _, err := store.Get(t.Context(), key, ""); !errors.Is(err, archive.ErrNotFound) {
			t.Errorf("get %q: %v", key, err)
		}
	}
	if _, err := store.Get(t.Context(), "a/b", "01KZZZZZZZZZZZZZZZZZZZZZZZ"); !errors.Is(err, archive.ErrNotFound) {
		t.Errorf("get a version that isn't there: %v", err)
	}
	if _, err := store.Lock(t.Context(), "none", ""); !errors.Is(err, archive.ErrNotFound) && !errors.Is(err, archive.ErrNotLocked) {
		t.Errorf("lock of nothing: %v", err)
	}
}

func testSizeLimit(t *testing.T, store opened) {
	big := make([]byte, archive.MaxObject+1)
	if err := store.Put(t.Context(), archive.Object{Key: "big", Body: big}); err == nil {
		t.Error("put an object that Get refuses")
	}
	store.plant(t, "planted", big)
	if got, err := store.Get(t.Context(), "planted", ""); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("got %d bytes (%v)", len(got), err)
	}
	largest := big[:archive.MaxObject]
	rand.Read(largest)
	put(t, store, archive.Object{Key: "largest", Body: largest})
	if got, err := store.Get(t.Context(), "largest", ""); err != nil || !bytes.Equal(got, largest) {
		t.Errorf("got %d bytes (%v)", len(got), err)
	}
}

func testOddKeys(t *testing.T, store opened) {
	all := []string{
		"a b", "a+b", "a%20b", "ä/ü=€", "q?x=1&y", "h#h", "~t", "star*", "(p)", "back\\slash", `quo"te`, "<tag>", "co:lon", ".hidden", "a..b",
		"long/" + strings.Repeat("k", 200),
	}
	for _, key := range all {
		put(t, store, object(key, key))
		holds(t, store, key, key)
	}
	slices.Sort(all)
	got := keys(list(t, store, "", ""))
	slices.Sort(got)
	if diff := cmp.Diff(all, got); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
}

func testBadKeys(t *testing.T, store opened) {
	for _, key := range []string{
		"", ".", "..", "/etc/passwd", "../up", "a/../../up", "a/..", "a//b", "a/", "./a", "a\x00b", "a\nb", "\xff", ".put-x", strings.Repeat("k/", 512) + "k",
	} {
		if err := store.Put(t.Context(), object(key, "x")); err == nil {
			t.Errorf("put %q", key)
		}
	}
	if got := list(t, store, "", ""); len(got) != 0 {
		t.Errorf("listed: %v", got)
	}
}

func testEndedContext(t *testing.T, store opened) {
	put(t, store, object("a", "x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, getErr := store.Get(ctx, "a", "")
	var listErr error
	for _, err := range store.Versions(ctx, "", "") {
		listErr = err
	}
	for what, err := range map[string]error{"put": store.Put(ctx, object("b", "x")), "get": getErr, "list": listErr} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestFolderThatLies: what a listing could leave out is an error of it.
func TestFolderThatLies(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func(dir string) error{
		"a link to a folder": func(dir string) error { return os.Symlink("/etc", filepath.Join(dir, "logs", "2027")) },
		"a name that is no UTF-8": func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, "logs", "\xff", "x"), 0o700)
		},
		"very deep": func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, "logs", strings.Repeat("d/", 600)), 0o700)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			store, err := archive.OpenFolder(dir)
			if err != nil {
				t.Fatal(err)
			}
			put(t, store, object("logs/a", "x"))
			if err := plant(dir); err != nil {
				t.Fatal(err)
			}
			_, foldersErr := store.Folders(t.Context(), "logs/")
			var listErr error
			for _, err := range store.Versions(t.Context(), "logs/", "") {
				listErr = errors.Join(listErr, err)
			}
			if listErr == nil || name == "a link to a folder" && foldersErr == nil {
				t.Errorf("listed without an error (folders: %v)", foldersErr)
			}
		})
	}
}
