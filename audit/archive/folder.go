package archive

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Folder keeps objects as files whose paths are the keys, without their content
// types and metadata. It replaces none, but can't keep others from doing so: it is
// no WORM storage. It also reads a downloaded copy of a bucket. Its methods look
// at ctx before they begin; the local disk can't be interrupted.
type Folder struct {
	dir    string
	root   *os.Root // no link leads out of it
	synced sync.Map // folders, as paths in root, whose entries in their parents are on the disk
	swept  sync.Once
}

// temporary begins the names of files that aren't objects yet. A crash leaves
// them; they are never listed, and removed by a later Put.
const (
	temporary     = ".put-"
	temporaryLife = time.Hour // of a Put by another process, at most
)

// OpenFolder opens a folder, and makes it if there is none.
func OpenFolder(dir string) (*Folder, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	if err := os.MkdirAll(absolute, 0o700); err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	root, err := os.OpenRoot(absolute)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	return &Folder{dir: absolute, root: root}, nil
}

// Put returns when the object would survive a power failure.
func (f *Folder) Put(ctx context.Context, object Object) error {
	if err := errors.Join(ctx.Err(), checkObject(object)); err != nil {
		return err
	}
	f.swept.Do(f.sweep)
	folder := path.Dir(object.Key)
	if err := f.makeFolder(folder); err != nil {
		return err
	}
	written, err := f.writeTemporary(object.Body)
	if err != nil {
		return err
	}
	// Unlike rename(2), link(2) replaces nothing: of several writers one wins. A
	// crash before this line leaves a temporary file, one after it the object.
	err = f.root.Link(written, object.Key)
	removed := f.root.Remove(written)
	if errors.Is(err, fs.ErrExist) {
		err = f.same(object)
	}
	return errors.Join(err, removed, f.sync(folder))
}

// makeFolder makes what is missing, and gets it to the disk: also what an earlier
// process made, which may have crashed before it did.
func (f *Folder) makeFolder(name string) error {
	if _, ok := f.synced.Load(name); ok {
		return nil
	}
	if err := f.root.MkdirAll(name, 0o700); err != nil {
		return err
	}
	for at := name; at != "."; at = path.Dir(at) {
		if err := f.sync(path.Dir(at)); err != nil {
			return err
		}
	}
	f.synced.Store(name, nil)
	return nil
}

func (f *Folder) writeTemporary(body []byte) (string, error) {
	name := temporary + rand.Text()
	file, err := f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return "", err
	}
	_, err = file.Write(body)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return "", errors.Join(err, f.root.Remove(name))
	}
	return name, nil
}

// same compares an object with what its key holds.
func (f *Folder) same(object Object) error {
	held, err := f.read(object.Key)
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: %s is a folder, or was removed just now", ErrConflict, object.Key)
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(held, object.Body) {
		return fmt.Errorf("%w: %s", ErrConflict, object.Key)
	}
	return f.sync(object.Key) // its writer may have crashed before it did that
}

// sync gets a file, or the entries of a folder, to the disk.
func (f *Folder) sync(name string) error {
	file, err := f.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// sweep removes what writers left behind that crashed. What it can't remove is in
// nobody's way.
func (f *Folder) sweep() {
	entries, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil {
		return
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && strings.HasPrefix(entry.Name(), temporary) && time.Since(info.ModTime()) > temporaryLife {
			_ = f.root.Remove(entry.Name())
		}
	}
}

// Get reads the file. A folder has no versions: any other than "" is not found.
func (f *Folder) Get(ctx context.Context, key, version string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if version != "" || checkKey(key) != nil {
		return nil, fmt.Errorf("%w: %q, version %q", ErrNotFound, key, version)
	}
	return f.read(key)
}

func (f *Folder) read(key string) ([]byte, error) {
	info, err := f.root.Stat(key)
	if notThere(err) || err == nil && info.IsDir() {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, key)
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a pipe could wait for ever
		return nil, fmt.Errorf("%s: not a regular file", key)
	}
	file, err := f.root.Open(key)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readBounded(file, key)
}

// notThere: there is no such file, or a file is where its folder would be.
func notThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// readBounded reads an object to its end, or to MaxObject.
func readBounded(body io.Reader, key string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, MaxObject+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if len(data) > MaxObject {
		return nil, fmt.Errorf("%s: larger than %d bytes", key, MaxObject)
	}
	return data, nil
}

// Lock returns ErrNotLocked: files can be deleted.
func (f *Folder) Lock(_ context.Context, key, _ string) (Lock, error) {
	return Lock{}, fmt.Errorf("%w: %s is a file", ErrNotLocked, key)
}

// Check returns ErrNotLocked.
func (f *Folder) Check(context.Context) error {
	return fmt.Errorf("%w: %s is a folder; use S3 with Object Lock", ErrNotLocked, f.dir)
}

// WORM returns false.
func (f *Folder) WORM() bool { return false }

// String is the folder's path.
func (f *Folder) String() string { return f.dir }
