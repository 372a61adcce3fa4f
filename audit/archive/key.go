package archive

import (
	"fmt"
	"io/fs"
	"strings"
	"unicode"
)

// maxKey is what S3 allows, in bytes.
const maxKey = 1024

// checkObject holds what is written to what can be read.
func checkObject(o Object) error {
	if len(o.Body) > MaxObject {
		return fmt.Errorf("%s: larger than %d bytes", o.Key, MaxObject)
	}
	return checkKey(o.Key)
}

// checkKey holds a key that is written to the rules of both stores, so that a
// bucket can be downloaded as a folder: a slash-separated path without empty
// parts, "." and "..".
func checkKey(key string) error {
	switch {
	case len(key) > maxKey:
		return fmt.Errorf("key %.40q…: longer than %d bytes", key, maxKey)
	case key == "." || !fs.ValidPath(key):
		return fmt.Errorf("key %q: not a relative path", key)
	case strings.ContainsFunc(key, unicode.IsControl):
		return fmt.Errorf("key %q: holds a control character", key)
	case strings.HasPrefix(key, temporary):
		return fmt.Errorf("key %q: %s… is what unfinished files are called", key, temporary)
	}
	return nil
}
