package cafile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/internal/cafile"
)

// What holds no certificate is no pool that trusts nobody, or everybody.
func TestRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ca.pem")
	if pool, err := cafile.Read(name); err == nil || pool != nil {
		t.Errorf("no file: %v, %v", pool, err)
	}
	if err := os.WriteFile(name, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if pool, err := cafile.Read(name); err == nil || pool != nil || !strings.Contains(err.Error(), name) {
		t.Errorf("no certificate: %v, %v", pool, err)
	}
}
