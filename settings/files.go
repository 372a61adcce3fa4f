package settings

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// resolvePaths makes paths absolute, as seen from the configuration's folder,
// and checks that secrets lie where secrets may lie.
func (r *report) resolvePaths(cfg *Config) {
	folder, err := filepath.Abs(filepath.Dir(r.file))
	if err != nil {
		r.refuse("", "the current folder can't be found: %v", err)
		return
	}
	resolve := func(path string) string {
		if path == "" || path == "-" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(folder, path)
	}
	cfg.SecretsDir = resolve(cfg.SecretsDir)
	leaves(reflect.ValueOf(cfg).Elem(), "", func(l leaf) {
		if l.field.file == "" {
			return
		}
		for _, path := range l.paths() {
			path.SetString(resolve(path.String()))
			if l.field.file == "secret" && path.String() != "" && !below(cfg.SecretsDir, path.String()) {
				r.refuse(l.path, "must lie below secrets_dir, which is %s: move the file, or set secrets_dir", cfg.SecretsDir)
			}
		}
	})
}

// paths are the settable strings of a value that is a path or a list of them.
func (l leaf) paths() []reflect.Value {
	if l.value.Kind() == reflect.String {
		return []reflect.Value{l.value}
	}
	list := make([]reflect.Value, l.value.Len())
	for i := range list {
		list[i] = l.value.Index(i)
	}
	return list
}

// below reports whether a cleaned path lies inside the folder.
func below(folder, path string) bool {
	inside, err := filepath.Rel(folder, path)
	return err == nil && inside != "." && filepath.IsLocal(inside)
}

// onlyEnvoyReads reports whether a file is Envoy's business: it may be on
// another machine.
func onlyEnvoyReads(path string) bool {
	return strings.HasPrefix(path, "envoy.") || strings.Contains(path, ".upstream.")
}

// checkFiles looks at every file that Sallyport reads or writes, and returns
// those that it reads.
func (r *report) checkFiles(cfg *Config) []string {
	var files []string
	reads := func(path string) {
		if !slices.Contains(files, path) {
			files = append(files, path)
		}
	}
	leaves(reflect.ValueOf(cfg).Elem(), "", func(l leaf) {
		if l.field.file == "" || onlyEnvoyReads(l.path) {
			return
		}
		for i, value := range l.paths() {
			path, at := value.String(), l.path
			if path == "" || path == "-" {
				continue
			}
			if indexed := fmt.Sprintf("%s[%d]", at, i); r.has(indexed) {
				at = indexed
			}
			if err := checkFile(l.field.file, path, cfg.SecretsDir); err != nil {
				r.refuse(at, "%s %v", path, err)
				continue
			}
			switch l.field.file {
			case "secret":
				if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o004 != 0 {
					r.warn(at, "%s can be read by every user of this machine: chmod o-r", path)
				}
				reads(path)
			case "cert", "plain":
				reads(path)
			}
		}
	})
	if t := cfg.Listen.TLS; slices.Contains(files, t.CertFile) && slices.Contains(files, t.KeyFile) {
		if _, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err != nil {
			r.refuse("listen.tls", "cert_file and key_file are not a pair that can be used: %v", err)
		}
	}
	r.warnings.sort()
	return files
}

func (r *report) has(path string) bool {
	_, ok := r.origins[path]
	return ok
}

// checkFile says what is wrong with one path, after its kind.
func checkFile(kind, path, secretsDir string) error {
	switch kind {
	case "dir":
		return checkFolder(path)
	case "secret":
		if err := checkReadable(path); err != nil {
			return err
		}
		return checkReallyBelow(secretsDir, path)
	case "cert":
		return checkCertificates(path)
	case "plain":
		return checkReadable(path)
	default:
		return nil
	}
}

// checkFolder wants a folder that strangers can't write to: who can, can put
// keys there.
func checkFolder(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("can't be used: %s; create the folder", fileError(err))
	case !info.IsDir():
		return errors.New("is not a folder")
	case info.Mode().Perm()&0o002 != 0:
		return errors.New("can be written to by every user of this machine: chmod o-w, or choose another folder")
	}
	return nil
}

// checkReadable opens the file, because a look at its mode doesn't tell.
func checkReadable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("can't be read: %s", fileError(err))
	}
	if info.IsDir() {
		return errors.New("is a folder: name a file")
	}
	if info.Mode().Type() != 0 {
		return errors.New("is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("can't be read: %s", fileError(err))
	}
	return f.Close()
}

// checkReallyBelow follows symbolic links, which mounted secrets consist of.
func checkReallyBelow(folder, path string) error {
	realFolder, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return fmt.Errorf("can't be found below secrets_dir: %s", fileError(err))
	}
	realPath, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("can't be read: %s", fileError(err))
	}
	if !below(realFolder, realPath) {
		return errors.New("is a link to a file outside of secrets_dir: copy the file there")
	}
	return nil
}

func checkCertificates(path string) error {
	if err := checkReadable(path); err != nil {
		return err
	}
	pem, err := readFile(path)
	if err != nil {
		return fmt.Errorf("can't be read: %s", fileError(err))
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return errors.New("holds no certificate in PEM form")
	}
	return nil
}
