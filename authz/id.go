package authz

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// newID returns a UUIDv7 (RFC 9562 §5.7): 48 bits of Unix milliseconds, then
// random bits, so that ids sort by time and never meet.
func newID(now time.Time) string {
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
