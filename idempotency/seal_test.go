package idempotency_test

import (
	"encoding/base64"
	"encoding/hex"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/idempotency"
)

func TestNewSealer(t *testing.T) {
	t.Parallel()
	key := []byte("0123456789abcdefghijklmnopqrstuv")
	other := newKeyFile(t)
	file := func(text string) string { return writeKeyFile(t, text, 0o600) }
	tests := map[string]struct {
		files []string
		want  string // in the error; empty: none
	}{
		"hex":              {[]string{file(hex.EncodeToString(key) + "\n")}, ""},
		"base64":           {[]string{file(base64.StdEncoding.EncodeToString(key))}, ""},
		"base64 for URLs":  {[]string{file("  " + base64.RawURLEncoding.EncodeToString(key))}, ""},
		"two":              {[]string{file(hex.EncodeToString(key)), other}, ""},
		"group may read":   {[]string{writeKeyFile(t, hex.EncodeToString(key), 0o640)}, ""},
		"none":             {nil, "no key file"},
		"missing":          {[]string{filepath.Join(t.TempDir(), "none")}, "no such file"},
		"a folder":         {[]string{t.TempDir()}, "not a regular file"},
		"others may read":  {[]string{writeKeyFile(t, hex.EncodeToString(key), 0o604)}, "chmod 0600"},
		"group may write":  {[]string{writeKeyFile(t, hex.EncodeToString(key), 0o660)}, "chmod 0600"},
		"too short":        {[]string{file(hex.EncodeToString(key[:16]))}, "32 bytes"},
		"raw bytes":        {[]string{file(string(key[:31]) + "\x80")}, "32 bytes"},
		"too long":         {[]string{file(strings.Repeat("ab", 4096))}, "32 bytes"},
		"empty":            {[]string{file("")}, "32 bytes"},
		"zeros":            {[]string{file(strings.Repeat("0", 64))}, "no key"},
		"the same twice":   {[]string{file(hex.EncodeToString(key)), file(base64.StdEncoding.EncodeToString(key))}, "same key"},
		"the second wrong": {[]string{other, file("hello")}, "32 bytes"},
	}
	for name, test := range tests {
		_, err := idempotency.NewSealer(test.files...)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "0123456789") {
			t.Errorf("%s: the key is in the error: %v", name, err)
		}
	}
}
