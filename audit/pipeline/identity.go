package pipeline

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sallyport/sallyport/audit/ledger"
)

// identity names a log. It is made with the log's folder and never changes, so
// that a log whose folder is lost doesn't go on under its name.
type identity struct {
	Writer string `json:"writer"`
	Host   string `json:"host"`
}

// identityFile is where the identity is, in the folder of the log.
const identityFile = "log.json"

// readIdentity reads the identity in the folder; fs.ErrNotExist if there is none.
func readIdentity(dir string) (id identity, err error) {
	path := filepath.Join(dir, identityFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return id, err
	}
	if err := json.Unmarshal(text, &id); err != nil {
		return id, fmt.Errorf("%s: %w", path, err)
	}
	return id, ledger.ValidWriter(id.Writer)
}

// makeIdentity makes an identity; without a name the host's is used.
func makeIdentity(dir, name string) (id identity, err error) {
	if id.Host, err = os.Hostname(); err != nil {
		return id, err
	}
	if name == "" {
		name = strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
				return r
			}
			return '-'
		}, id.Host[:min(len(id.Host), 48)])
	}
	var suffix [4]byte
	rand.Read(suffix[:])
	id.Writer = strings.Trim(name, "-") + "-" + hex.EncodeToString(suffix[:])
	if err := ledger.ValidWriter(id.Writer); err != nil {
		return id, err
	}
	text, err := json.Marshal(id)
	if err != nil {
		return id, err
	}
	return id, writeFile(filepath.Join(dir, identityFile), append(text, '\n'))
}

// writeFile replaces a file so that after a crash there is the old or the new one.
func writeFile(path string, text []byte) error {
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
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
