// Package keyfile reads secret keys from files.
package keyfile

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

// Size is how many bytes a key has.
const Size = 32

// maxFile bounds what is read.
const maxFile = 4096

// Read reads a key from a regular file that nobody but its owner may write and
// others may not read (at most 0640): 32 bytes in hex or base64. A key that is the
// same byte 32 times is refused.
func Read(name string) ([]byte, error) {
	return read(name, decode, "doesn't hold 32 bytes in hex or base64 (make one with: openssl rand -hex 32)")
}

// ReadRaw is Read for files that may also hold the 32 bytes as they are.
func ReadRaw(name string) ([]byte, error) {
	decodeRaw := func(text []byte) []byte { // the forms differ in length
		if len(text) == Size {
			return text
		}
		return decode(text)
	}
	return read(name, decodeRaw, "doesn't hold 32 bytes, in hex, base64 or as they are (make one with: openssl rand -base64 32)")
}

func read(name string, decode func([]byte) []byte, otherwise string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file")
	case info.Mode().Perm()&0o027 != 0:
		return nil, fmt.Errorf("has mode %#o: others must not read it, and nobody but its owner write it (chmod 0600)", info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return nil, err
	}
	key := decode(text)
	if len(key) != Size {
		return nil, errors.New(otherwise)
	}
	if bytes.Count(key, key[:1]) == len(key) {
		return nil, errors.New("holds one byte 32 times, which is no key")
	}
	return key, nil
}

// decode returns nil for what is neither hex nor base64. 64 characters of hex would
// be 48 bytes of base64, which is no key: the two can't be confused.
func decode(text []byte) []byte {
	trimmed := string(bytes.TrimSpace(text))
	if key, err := hex.DecodeString(trimmed); err == nil {
		return key
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if key, err := encoding.DecodeString(trimmed); err == nil {
			return key
		}
	}
	return nil
}
