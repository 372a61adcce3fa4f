// Package durable writes files so that a crash of the machine leaves the old or the
// new one.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// WriteFile replaces a file; only its owner may read it. When it returns nil the new
// one would survive a crash of the machine.
func WriteFile(path string, text []byte) error {
	file, err := os.OpenFile(path+"~", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(path+"~"))
	}
	if err := os.Rename(path+"~", path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes what was created, renamed and removed in a folder survive a crash of
// the machine.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
