package subjects_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/audit/subjects"
)

// guesses are what somebody without the key could compute of a known user.
func guesses(who subjects.Subject) map[string][]byte {
	found := make(map[string][]byte)
	length := "\x00\x00\x00\x00\x00\x00\x00" + string(rune(len(who.Issuer)))
	for _, text := range []string{who.Subject, who.Issuer + who.Subject, who.Issuer + "\x00" + who.Subject, length + who.Issuer + who.Subject} {
		sum := sha256.Sum256([]byte(text))
		found["sha256 of "+text] = sum[:]
		for _, key := range []string{"", strings.Repeat("\x00", 32)} {
			mac := hmac.New(sha256.New, []byte(key))
			mac.Write([]byte(text))
			found["hmac of "+text+" under "+hex.EncodeToString([]byte(key))] = mac.Sum(nil)
		}
	}
	return found
}

func TestLoadKeys(t *testing.T) {
	t.Parallel()
	key := "0123456789abcdefghijklmnopqrstuv"
	write := func(text string, mode os.FileMode) string {
		name := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for name, text := range map[string]string{
		"raw": key, "base64": base64.StdEncoding.EncodeToString([]byte(key)) + "\n",
		"url": base64.RawURLEncoding.EncodeToString([]byte(key)), "hex": hex.EncodeToString([]byte(key)) + "\n",
	} {
		if _, err := subjects.LoadKeys(write(text, 0o640)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, files := range map[string][]string{
		"none": {}, "missing": {"nonexistent"}, "short": {write(key[1:], 0o600)}, "constant": {write(strings.Repeat("\x00", 32), 0o600)},
		"others read": {write(key, 0o644)}, "group writes": {write(key, 0o660)}, "twice": {write(key, 0o600), write(hex.EncodeToString([]byte(key)), 0o600)},
		"folder": {t.TempDir()},
	} {
		if _, err := subjects.LoadKeys(files...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
