package archive_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit/archive"
)

// newFolder returns an archive and the folder that it is in.
func newFolder(t *testing.T) (*archive.Folder, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "archive")
	store, err := archive.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	return store, dir
}

func TestFolderIsNotWORM(t *testing.T) {
	t.Parallel()
	store, dir := newFolder(t)
	put(t, store, object("a", "x"))
	if store.WORM() || store.String() != dir {
		t.Error(store.WORM(), store)
	}
	if err := store.Check(t.Context()); !errors.Is(err, archive.ErrNotLocked) {
		t.Error(err)
	}
	if _, err := store.Lock(t.Context(), "a", ""); !errors.Is(err, archive.ErrNotLocked) {
		t.Error(err)
	}
}

func TestFolderModes(t *testing.T) {
	t.Parallel()
	store, dir := newFolder(t)
	put(t, store, object("a/b/c", "x"))
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		want := fs.FileMode(0o400)
		if entry.IsDir() {
			want = 0o700 | fs.ModeDir
		}
		if err == nil && info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), want)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestFolderAfterCrash opens a folder with what a crash leaves.
func TestFolderAfterCrash(t *testing.T) {
	t.Parallel()
	store, dir := newFolder(t)
	long, now := filepath.Join(dir, ".put-LONG-AGO"), filepath.Join(dir, ".put-NOW")
	writeFile(t, long, "half an obj")
	writeFile(t, now, "half an obj")
	if err := os.Chtimes(long, time.Time{}, time.Now().Add(-2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := list(t, store, "", ""); len(got) != 0 {
		t.Errorf("listed: %+v", got)
	}
	if _, err := store.Get(t.Context(), ".put-NOW", ""); !errors.Is(err, archive.ErrNotFound) {
		t.Errorf("got half an object: %v", err)
	}
	put(t, store, object("a", "x"))
	if _, err := os.Stat(long); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was left long ago: %v", err)
	}
	if _, err := os.Stat(now); err != nil {
		t.Errorf("what another process may be writing: %v", err)
	}
	names, err := filepath.Glob(filepath.Join(dir, ".put-*"))
	if err != nil || len(names) != 1 {
		t.Errorf("left: %q (%v)", names, err)
	}
}

// TestFolderCopy reads what somebody downloaded: with other modes, and no rights to
// write.
func TestFolderCopy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a/b/c"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o700) }) // so that it can be removed
	store, err := archive.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	holds(t, store, "a/b/c", "x")
	if got := keys(list(t, store, "", "")); !slices.Equal(got, []string{"a/b/c"}) {
		t.Error(got)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o555 {
		t.Errorf("opening it changed its mode: %v (%v)", info, err)
	}
}

// TestFolderWithOtherThings: what is neither file nor folder must not be left out
// of a listing without a word, lead out of the folder, or make a reader wait.
func TestFolderWithOtherThings(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "outside")
	writeFile(t, outside, "secret")
	for what, make := range map[string]func(name string) error{
		"link out":    func(name string) error { return os.Symlink(outside, name) },
		"dangling":    func(name string) error { return os.Symlink("nothing", name) },
		"link inside": func(name string) error { return os.Symlink("file", name) },
		"pipe":        func(name string) error { return syscall.Mkfifo(name, 0o600) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			store, dir := newFolder(t)
			put(t, store, object("a/file", "x"))
			if err := make(filepath.Join(dir, "a/thing")); err != nil {
				t.Fatal(err)
			}
			var listErr error
			for _, err := range store.Versions(t.Context(), "a/", "") {
				listErr = err
			}
			if listErr == nil || !strings.Contains(listErr.Error(), "a/thing") {
				t.Errorf("listing: %v", listErr)
			}
			if got, err := store.Get(t.Context(), "a/thing", ""); err == nil && string(got) != "x" {
				t.Errorf("got %q", got)
			}
			if err := store.Put(t.Context(), object("a/thing", "y")); err == nil {
				t.Error("put over it")
			}
			if got, err := os.ReadFile(outside); err != nil || string(got) != "secret" {
				t.Errorf("outside: %q (%v)", got, err)
			}
		})
	}
}

func TestFolderWhereAFolderIs(t *testing.T) {
	t.Parallel()
	store, _ := newFolder(t)
	put(t, store, object("a/b", "x"))
	if err := store.Put(t.Context(), object("a", "x")); !errors.Is(err, archive.ErrConflict) {
		t.Errorf("put a file over a folder: %v", err)
	}
	if err := store.Put(t.Context(), object("a/b/c", "x")); err == nil {
		t.Error("put a file below a file")
	}
	if got := keys(list(t, store, "", "")); !slices.Equal(got, []string{"a/b"}) {
		t.Error(got)
	}
}

// TestFolderOrder lists in the order of keys, which isn't that of names.
func TestFolderOrder(t *testing.T) {
	t.Parallel()
	store, _ := newFolder(t)
	random := rand.New(rand.NewPCG(1, 2))
	var all []string
	for range 200 {
		parts := make([]string, 1+random.IntN(3))
		for i := range parts {
			parts[i] = string("ab.-~0"[random.IntN(2)]) + string("a.-~0 "[random.IntN(6)])
		}
		key := strings.Join(parts, "/")
		if store.Put(t.Context(), object(key, key)) == nil { // else there is a folder, or it was there
			all = append(all, key)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) < 50 {
		t.Fatal("too few keys")
	}
	if got := keys(list(t, store, "", "")); !slices.Equal(got, all) {
		t.Errorf("listed %q, want %q", got, all)
	}
	for range 100 {
		prefix, after := all[random.IntN(len(all))], all[random.IntN(len(all))]
		prefix = prefix[:random.IntN(len(prefix)+1)]
		want := slices.DeleteFunc(slices.Clone(all), func(key string) bool { return key <= after || !strings.HasPrefix(key, prefix) })
		if got := keys(list(t, store, prefix, after)); !slices.Equal(got, want) {
			t.Errorf("prefix %q after %q: %q, want %q", prefix, after, got, want)
		}
	}
}

// FuzzFolderKeys writes with any key: either it is refused, or it reads back, is
// listed as it was given, and lies inside the folder.
func FuzzFolderKeys(f *testing.F) {
	for _, key := range []string{"a", "a/b", "../a", "/a", "a//b", "a/../b", ".", "", "\xff", "a\x00", ".put-a", "a/.put-b", strings.Repeat("x", 300)} {
		f.Add(key)
	}
	parent := f.TempDir()
	f.Fuzz(func(t *testing.T, key string) {
		dir, err := os.MkdirTemp(parent, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		inside := filepath.Join(dir, "inside")
		store, err := archive.OpenFolder(inside)
		if err != nil {
			t.Fatal(err)
		}
		refused := store.Put(t.Context(), object(key, "x"))
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Fatalf("%q: outside of the folder: %v (%v)", key, entries, err)
		}
		listed := keys(list(t, store, "", ""))
		got, getErr := store.Get(t.Context(), key, "")
		if refused != nil {
			if len(listed) != 0 || getErr == nil {
				t.Errorf("%q refused (%v), and there: %q, %q", key, refused, listed, got)
			}
			return
		}
		if getErr != nil || string(got) != "x" || !slices.Equal(listed, []string{key}) {
			t.Errorf("%q: read %q (%v), listed %q", key, got, getErr, listed)
		}
		folders, err := store.Folders(t.Context(), "")
		if name, _, inFolder := strings.Cut(key, "/"); err != nil || inFolder != slices.Equal(folders, []string{name}) {
			t.Errorf("%q: folders %q (%v)", key, folders, err)
		}
	})
}
