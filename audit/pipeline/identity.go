package pipeline

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sallyport/sallyport/audit/ledger"
	"github.com/sallyport/sallyport/internal/durable"
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
	return id, durable.WriteFile(filepath.Join(dir, identityFile), append(text, '\n'))
}
