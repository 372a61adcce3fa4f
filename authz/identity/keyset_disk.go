package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// maxStoredBytes bounds a stored set: the document it came from and a bit.
const maxStoredBytes = 2 * maxDocumentBytes

// maxStoredFuture is how far a stored set's time may lie ahead of the clock.
const maxStoredFuture = time.Minute

// storedKeySet is a set on disk. The addresses are there so that keys of an
// earlier configuration are not taken for keys of this one.
type storedKeySet struct {
	Version   int             `json:"version"`
	Issuer    string          `json:"issuer"`
	Discovery string          `json:"discovery_url,omitempty"` // as configured
	JWKS      string          `json:"jwks_url,omitempty"`      // as configured
	Fetched   time.Time       `json:"fetched"`
	Set       json.RawMessage `json:"set"`
}

// storedPath is the issuer's file below CacheDir. The name is a hash because an
// issuer is a URL.
func (k *KeySet) storedPath() string {
	sum := sha256.Sum256([]byte(k.cfg.Issuer))
	return filepath.Join(k.cfg.CacheDir, "keys-"+hex.EncodeToString(sum[:16])+".json")
}

// store writes the set for the next start, if CacheDir is set. The file is
// complete or not there at any moment: it is written beside and renamed.
func (k *KeySet) store(keys []parsedKey, fetched time.Time) (err error) {
	if k.cfg.CacheDir == "" {
		return nil
	}
	raw, err := json.Marshal(storedKeySet{
		Version:   1,
		Issuer:    k.cfg.Issuer,
		Discovery: k.cfg.DiscoveryURL,
		JWKS:      k.cfg.JWKSURL,
		Fetched:   fetched.UTC(),
		Set:       marshalKeys(keys),
	})
	if err != nil {
		return fmt.Errorf("store key set: %w", err)
	}
	f, err := os.CreateTemp(k.cfg.CacheDir, "keys-*.tmp") // mode 0600
	if err != nil {
		return fmt.Errorf("store key set: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("store key set: %w", err), os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync() // or a crash after the rename could leave an empty file
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), k.storedPath())
}

// loadStored puts the set of an earlier run in place. It goes through the same
// filter as one from the provider, and its age counts.
func (k *KeySet) loadStored(ctx context.Context, now time.Time) error {
	if k.cfg.CacheDir == "" {
		return nil
	}
	stored, err := readStored(k.storedPath())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stored key set: %w", err)
	}
	set, err := parseKeySet(stored.Set)
	switch {
	case err != nil:
		return fmt.Errorf("stored key set: %w", err)
	case stored.Version != 1 || stored.Issuer != k.cfg.Issuer ||
		stored.Discovery != k.cfg.DiscoveryURL || stored.JWKS != k.cfg.JWKSURL:
		return errors.New("stored key set: belongs to another configuration")
	case stored.Fetched.After(now.Add(maxStoredFuture)):
		return fmt.Errorf("stored key set: its time %v lies in the future", stored.Fetched)
	case now.Sub(stored.Fetched) > k.cfg.MaxStale:
		return fmt.Errorf("stored key set: of %v, older than %v", stored.Fetched, k.cfg.MaxStale)
	}
	k.replace(ctx, set, stored.Fetched, true)
	return nil
}

// readStored reads a file that only we, or root, can have written.
func readStored(path string) (*storedKeySet, error) {
	// Non-blocking, because opening a named pipe would wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("%s: mode %v, others could have written it", path, info.Mode())
	}
	if !ownedBy(info, os.Geteuid()) && !ownedBy(info, 0) {
		return nil, fmt.Errorf("%s: belongs to another user", path)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxStoredBytes+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxStoredBytes {
		return nil, fmt.Errorf("%s: more than %d bytes", path, maxStoredBytes)
	}
	var stored storedKeySet
	if err := json.Unmarshal(raw, &stored); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &stored, nil
}
