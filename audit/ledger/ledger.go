// Package ledger defines what the archive holds: batches of events, the seals
// over them, and where each lies.
//
// The events of one writer are the leaves of one append-only Merkle tree (RFC
// 6962 §2.1). A batch is a run of leaves; each batch has a seal: a signed
// checkpoint of the tree that ends with it.
package ledger

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Prefix begins every key.
const Prefix = "audit-logs/"

// SealPrefix begins the keys of all seals; a folder per writer follows.
const SealPrefix = Prefix + "_checkpoints/"

// BatchKey is where the batch of count events from sequence first lies; day is
// the day of its first event.
func BatchKey(writer string, first uint64, count int, day time.Time) string {
	return fmt.Sprintf("%sbatch-%s-%016x-%d.ndjson.zst", DayPrefix(day), writer, first, count)
}

// SealKey is where the seal lies that ends at size. A size is sealed once, so a
// writer that went two ways meets itself here.
func SealKey(writer string, size uint64) string {
	return fmt.Sprintf("%s%s/%016x", SealPrefix, writer, size)
}

// ParseSealKey is the inverse of SealKey.
func ParseSealKey(key string) (writer string, size uint64, err error) {
	rest, ok := strings.CutPrefix(key, SealPrefix)
	writer, digits, found := strings.Cut(rest, "/")
	size, err = strconv.ParseUint(digits, 16, 64)
	if !ok || !found || err != nil || SealKey(writer, size) != key {
		return "", 0, fmt.Errorf("%q is not the key of a seal", key)
	}
	return writer, size, nil
}

// EventKey is where the object of a single event lies: in the day of its id.
func EventKey(id string) (string, error) {
	t, err := IDTime(id)
	if err != nil {
		return "", err
	}
	return DayPrefix(t) + id + ".json", nil
}

// DayPrefix begins the keys of a day's batches and events.
func DayPrefix(t time.Time) string {
	return t.UTC().Format(Prefix + "year=2006/month=01/day=02/")
}

// IDTime is the time in an event's id, a UUIDv7 (RFC 9562 §5.7).
func IDTime(id string) (time.Time, error) {
	x, ok := ParseID([]byte(id))
	if !ok {
		return time.Time{}, fmt.Errorf("%.40q is not a UUIDv7", id)
	}
	return x.Time(), nil
}

// idStart begins every event; see audit.Event.
const idStart = `{"event_id":"`

// LeafID is the event's id, without parsing the rest; empty if the leaf begins
// otherwise.
func LeafID(leaf []byte) string {
	if len(leaf) < len(idStart)+37 || string(leaf[:len(idStart)]) != idStart || leaf[len(idStart)+36] != '"' {
		return ""
	}
	return string(leaf[len(idStart) : len(idStart)+36])
}

// Hash is a node of the tree.
type Hash = tlog.Hash

// LeafHash is the hash of a leaf (RFC 6962 §2.1): of the exact bytes.
func LeafHash(leaf []byte) Hash { return tlog.RecordHash(leaf) }

// ValidWriter says what is wrong with the name of a writer: it becomes a part of
// keys and of origins.
func ValidWriter(name string) error {
	if !writerName.MatchString(name) {
		return fmt.Errorf("writer %.80q: want 1 to 64 letters, digits, dots and dashes", name)
	}
	return nil
}

var writerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$`)

// LeafType is the event's type, without parsing the rest; empty if the leaf
// begins otherwise.
func LeafType(leaf []byte) string {
	_, rest, ok := bytes.Cut(leaf[:min(len(leaf), 256)], []byte(`"event_type":"`))
	name, _, found := bytes.Cut(rest, []byte{'"'})
	if !ok || !found {
		return ""
	}
	return string(name)
}
