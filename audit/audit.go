// Package audit defines what is recorded: events, and how surely each is kept.
package audit

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// Class says what an event is owed. Its zero value is that of an allowed read:
// written to the journal before the answer leaves, archived in a batch.
type Class uint8

// What a class can ask for.
const (
	// Synced events have reached the disk (fdatasync) when Append returns.
	Synced Class = 1 << iota
	// Single events get an object of their own in the archive's hybrid layout.
	Single
	// Reserve events may use the last part of a journal that is nearly full:
	// denials, outcomes, and what keeps the log provable.
	Reserve
)

// NewID returns a UUIDv7 (RFC 9562 §5.7): 48 bits of Unix milliseconds, then
// random bits, so that ids sort by time and never meet.
func NewID(now time.Time) string {
	var id [16]byte
	rand.Read(id[6:]) // never fails: crypto/rand crashes the program instead
	ms := uint64(now.UnixMilli())
	binary.BigEndian.PutUint16(id[0:], uint16(ms>>32)) //nolint:gosec // its upper bits
	binary.BigEndian.PutUint32(id[2:], uint32(ms))     //nolint:gosec // its lower bits
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80

	var text [36]byte
	hex.Encode(text[0:8], id[0:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:36], id[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
