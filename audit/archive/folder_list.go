package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
)

// Versions lists the files. What is neither file nor folder is an error, also in
// a link's place: a listing that leaves out what is there proves nothing.
func (f *Folder) Versions(ctx context.Context, prefix, after string) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		from := ""
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			from = prefix[:i+1]
		}
		walk := listing{root: f.root.FS(), prefix: prefix, after: after, yield: yield}
		if err := walk.folder(ctx, from); err != nil && !errors.Is(err, errEnough) {
			yield(Version{}, fmt.Errorf("list %s: %w", f.dir, err))
		}
	}
}

// errEnough: whoever reads the listing wants no more.
var errEnough = errors.New("enough")

// listing walks a folder in the order of keys.
type listing struct {
	root          fs.FS
	prefix, after string
	yield         func(Version, error) bool
}

// folder lists what is below a path that is empty or ends with "/".
func (l *listing) folder(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := entriesOf(l.root, name)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		key := name + keyPart(entry)
		switch {
		case len(key) > maxKey || !fs.ValidPath(strings.TrimSuffix(key, "/")):
			err = fmt.Errorf("%.80q… is no key that an archive can have", key)
		case name == "" && strings.HasPrefix(key, temporary):
		case !l.wants(key, entry.IsDir()):
		case entry.IsDir():
			err = l.folder(ctx, key)
		default:
			err = l.file(key, entry)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wants: the key is to be listed, or the folder can hold such.
func (l *listing) wants(key string, folder bool) bool {
	if folder && (strings.HasPrefix(l.prefix, key) || strings.HasPrefix(l.after, key)) {
		return true
	}
	return strings.HasPrefix(key, l.prefix) && key > l.after
}

func (l *listing) file(key string, entry fs.DirEntry) error {
	info, err := entry.Info()
	switch {
	case errors.Is(err, fs.ErrNotExist): // removed just now
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is neither file nor folder", key)
	case !l.yield(Version{Key: key, Size: info.Size(), Modified: info.ModTime().UTC(), Latest: true}, nil):
		return errEnough
	}
	return nil
}

// keyPart is an entry's part of a key. That of a folder ends with "/", which is
// where the order of keys differs from that of names: "a.b" < "a/".
func keyPart(entry fs.DirEntry) string {
	if entry.IsDir() {
		return entry.Name() + "/"
	}
	return entry.Name()
}

// entriesOf reads a folder, of a path that is empty or ends with "/", in the order
// of keys. One that isn't there is empty.
func entriesOf(root fs.FS, name string) ([]fs.DirEntry, error) {
	at := path.Clean(name)
	if name != "" && (at+"/" != name || !fs.ValidPath(at)) {
		return nil, nil // no key begins like this
	}
	entries, err := fs.ReadDir(root, at)
	if notThere(err) {
		return nil, nil
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(keyPart(a), keyPart(b)) })
	return entries, err
}

// Folders leaves out folders without files: to S3 there is no such thing.
func (f *Folder) Folders(ctx context.Context, prefix string) ([]string, error) {
	in, begin := path.Split(prefix)
	entries, err := entriesOf(f.root.FS(), in)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", f.dir, err)
	}
	var folders []string
	for _, entry := range entries {
		rest, ok := strings.CutPrefix(entry.Name(), begin)
		if ok && !entry.IsDir() && !entry.Type().IsRegular() {
			return nil, fmt.Errorf("list %s: %s is neither file nor folder", f.dir, in+entry.Name())
		}
		if !ok || !entry.IsDir() {
			continue
		}
		for _, err := range f.Versions(ctx, in+entry.Name()+"/", "") {
			if err != nil {
				return nil, err
			}
			folders = append(folders, rest)
			break
		}
	}
	slices.Sort(folders)
	return folders, nil
}
