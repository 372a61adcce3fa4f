package settings

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// filesConfig names a file of each kind.
const filesConfig = base + `secrets_dir: secrets
listen:
  tls: {cert_file: pki/cert.pem, key_file: secrets/key.pem, client_ca_file: pki/cert.pem}
envoy:
  tls: {cert_file: nowhere/envoy.pem, key_file: secrets/not-here.pem, client_ca_file: nowhere/ca.pem}
authentication:
  revocations_file: revoked.yaml
  key_cache_dir: cache
audit: {dir: log, archive_dir: archive}
database: {file: events.db}
pim: {webhooks: [{url: "https://hooks.example.com", key_files: [secrets/hook.key]}]}
`

// filesOf are all the files that it needs.
func filesOf(t *testing.T) map[string]string {
	t.Helper()
	cert, key := selfSigned(t)
	return map[string]string{
		"sallyport.yaml": filesConfig, "tools.yaml": "", "pki/cert.pem": cert, "secrets/key.pem": key,
		"revoked.yaml": "", "cache/x": "", "secrets/hook.key": "",
	}
}

// selfSigned makes a certificate and its key, in PEM.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, bytes []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}))
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", pkcs8)
}

func TestLoad(t *testing.T) {
	t.Parallel()
	file := writeFiles(t, filesOf(t))
	folder := filepath.Dir(file)
	loaded, err := Load(file, []string{"SALLYPORT_TOOLS_CATALOGUE=tools.yaml,revoked.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	in := func(names ...string) []string {
		for i, name := range names {
			names[i] = filepath.Join(folder, name)
		}
		return names
	}
	cfg := loaded.Config
	got := append(slices.Clone(cfg.Tools.Catalogue), cfg.SecretsDir, cfg.Listen.TLS.CertFile, cfg.Listen.TLS.KeyFile, cfg.Envoy.TLS.KeyFile,
		cfg.Authentication.RevocationsFile, cfg.Authentication.KeyCacheDir, cfg.Audit.Dir, cfg.Audit.Archive(), cfg.Database.File)
	want := in("tools.yaml", "revoked.yaml", "secrets", "pki/cert.pem", "secrets/key.pem", "secrets/not-here.pem", "revoked.yaml", "cache", "log", "archive", "events.db")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
	files := in("sallyport.yaml", "pki/cert.pem", "secrets/key.pem", "revoked.yaml", "tools.yaml", "secrets/hook.key")
	if diff := cmp.Diff(files, loaded.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if len(loaded.Warnings) > 0 {
		t.Errorf("warnings:\n%v", loaded.Warnings)
	}
	if got := loaded.Origins["tools.catalogue"].Layer; got != Environment {
		t.Errorf("origin of the catalogue: %v", got)
	}
}

// TestLoadFiles breaks one file at a time.
func TestLoadFiles(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, folder string)
		want  string // the problem or warning, behind the file and line
	}{
		{"no catalogue", remove("tools.yaml"), "13: tools.catalogue: DIR/tools.yaml can't be read: no such file or directory"},
		{"catalogue is a folder", folderInstead("tools.yaml"), "13: tools.catalogue: DIR/tools.yaml is a folder: name a file"},
		{"no certificate", remove("pki/cert.pem"), "16: listen.tls.cert_file: DIR/pki/cert.pem can't be read: no such file or directory"},
		{"empty certificate", write("pki/cert.pem", "x"), "16: listen.tls.client_ca_file: DIR/pki/cert.pem holds no certificate in PEM form"},
		{"another key", func(t *testing.T, folder string) {
			_, key := selfSigned(t)
			write("secrets/key.pem", key)(t, folder)
		}, "16: listen.tls: cert_file and key_file are not a pair that can be used: tls: private key does not match public key"},
		{"key leaves by a link", func(t *testing.T, folder string) {
			rename(t, filepath.Join(folder, "secrets/key.pem"), filepath.Join(folder, "key.pem"))
			link(t, "../key.pem", filepath.Join(folder, "secrets/key.pem"))
		}, "16: listen.tls.key_file: DIR/secrets/key.pem is a link to a file outside of secrets_dir: copy the file there"},
		{"key open to all", func(t *testing.T, folder string) {
			chmod(t, filepath.Join(folder, "secrets/key.pem"), 0o644)
		}, "16: listen.tls.key_file: DIR/secrets/key.pem can be read by every user of this machine: chmod o-r"},
		{"no revocations", remove("revoked.yaml"), "20: authentication.revocations_file: DIR/revoked.yaml can't be read: no such file or directory"},
		{"a device", func(t *testing.T, folder string) {
			remove("revoked.yaml")(t, folder)
			link(t, "/dev/null", filepath.Join(folder, "revoked.yaml"))
		}, "20: authentication.revocations_file: DIR/revoked.yaml is not a regular file"},
		{"no key of a webhook", remove("secrets/hook.key"), "24: pim.webhooks[0].key_files[0]: DIR/secrets/hook.key can't be read: no such file or directory"},
		{"no cache", remove("cache"), "21: authentication.key_cache_dir: DIR/cache can't be used: no such file or directory; create the folder"},
		{"cache is a file", func(t *testing.T, folder string) {
			remove("cache")(t, folder)
			write("cache", "")(t, folder)
		}, "21: authentication.key_cache_dir: DIR/cache is not a folder"},
		{"cache open to all", func(t *testing.T, folder string) {
			chmod(t, filepath.Join(folder, "cache"), 0o777)
		}, "21: authentication.key_cache_dir: DIR/cache can be written to by every user of this machine: chmod o-w, or choose another folder"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			file := writeFiles(t, filesOf(t))
			folder := filepath.Dir(file)
			test.spoil(t, folder)
			loaded, err := Load(file, nil)
			var got string
			if err != nil {
				got = err.Error()
			} else {
				got = loaded.Warnings.Error()
			}
			want := file + ":" + strings.ReplaceAll(test.want, "DIR", folder)
			if !slices.Contains(strings.Split(got, "\n"), want) {
				t.Errorf("want\n%s\nin\n%s", want, got)
			}
		})
	}
}

// TestMountedSecret has the links of a Kubernetes volume: key → ..data/key, and
// ..data → a folder beside it.
func TestMountedSecret(t *testing.T) {
	t.Parallel()
	file := writeFiles(t, filesOf(t))
	secrets := filepath.Join(filepath.Dir(file), "secrets")
	if err := os.Mkdir(filepath.Join(secrets, "..2026"), 0o700); err != nil {
		t.Fatal(err)
	}
	rename(t, filepath.Join(secrets, "key.pem"), filepath.Join(secrets, "..2026/key.pem"))
	link(t, "..2026", filepath.Join(secrets, "..data"))
	link(t, "..data/key.pem", filepath.Join(secrets, "key.pem"))
	if _, err := Load(file, nil); err != nil {
		t.Error(err)
	}
}

func TestLoadWithoutFile(t *testing.T) {
	t.Parallel()
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"), nil)
	var problems Problems
	if !errors.As(err, &problems) || !strings.Contains(err.Error(), "none.yaml: can't be read: no such file or directory; name another file with --config") {
		t.Errorf("got %v", err)
	}
	if _, err := Load(t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("got %v", err)
	}
}

// TestParseReadsNoFile accepts files that aren't there.
func TestParseReadsNoFile(t *testing.T) {
	t.Parallel()
	if _, err := Parse("/nowhere/sallyport.yaml", []byte(filesConfig), nil); err != nil {
		t.Error(err)
	}
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, folder string) {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func write(name, text string) func(*testing.T, string) {
	return func(t *testing.T, folder string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func folderInstead(name string) func(*testing.T, string) {
	return func(t *testing.T, folder string) {
		t.Helper()
		remove(name)(t, folder)
		if err := os.Mkdir(filepath.Join(folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
