package ledger

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// ID is an event's id in binary form.
type ID [16]byte

// ParseID reads a UUIDv7 in the one form that keys are made of: lower case, with
// dashes.
func ParseID(text []byte) (id ID, ok bool) {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return id, false
	}
	at := 0
	for i := 0; i < len(text); i += 2 {
		if text[i] == '-' {
			i++
		}
		high, low := hexDigit[text[i]], hexDigit[text[i+1]]
		if high|low > 0xf {
			return id, false
		}
		id[at] = high<<4 | low
		at++
	}
	return id, id[6]>>4 == 7 && id[8]>>6 == 2
}

// hexDigit is the value of a lower-case hexadecimal digit; 0xff: it is none.
var hexDigit = func() (values [256]byte) {
	for c := range values {
		values[c] = 0xff
	}
	for v, c := range []byte("0123456789abcdef") {
		values[c] = byte(v)
	}
	return values
}()

// Time is when the id was made, in milliseconds.
func (id ID) Time() time.Time { return time.UnixMilli(id.Milli()).UTC() }

// Milli is Time in milliseconds since 1970.
func (id ID) Milli() int64 {
	return int64(id[0])<<40 | int64(id[1])<<32 | int64(id[2])<<24 | int64(id[3])<<16 | int64(id[4])<<8 | int64(id[5])
}

// String is the id as it is written in events and keys.
func (id ID) String() string {
	text := make([]byte, 0, 36)
	for _, part := range [...][]byte{id[0:4], id[4:6], id[6:8], id[8:10], id[10:16]} {
		if len(text) > 0 {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, part)
	}
	return string(text)
}

// AppendLeaf appends an event as it is sealed: its last two members name its
// log and its sequence number there.
func AppendLeaf(b, event []byte, origin string, seq uint64) []byte {
	b = append(b, event[:len(event)-1]...) // up to the closing brace
	return AppendPlace(b, origin, seq)
}

// AppendPlace appends what every leaf ends with.
func AppendPlace(b []byte, origin string, seq uint64) []byte {
	b = append(b, placeLog...)
	b = append(b, origin...)
	b = append(b, placeSeq...)
	b = strconv.AppendUint(b, seq, 10)
	return append(b, '}')
}

const (
	placeLog = `,"log":"`
	placeSeq = `","seq":`
)

// maxPlace bounds the members that a leaf ends with.
const maxPlace = 1024

// Place is what the leaf itself says about where it belongs.
func Place(leaf []byte) (origin string, seq uint64, ok bool) {
	end := leaf[max(0, len(leaf)-maxPlace):]
	start := bytes.LastIndex(end, []byte(placeLog))
	if start < 0 {
		return "", 0, false
	}
	name, digits, found := bytes.Cut(end[start+len(placeLog):], []byte(placeSeq))
	if !found || len(digits) == 0 {
		return "", 0, false
	}
	origin = string(name)
	seq, err := strconv.ParseUint(string(digits[:len(digits)-1]), 10, 63)
	if err != nil || !bytes.Equal(AppendPlace(nil, origin, seq), end[start:]) {
		return "", 0, false
	}
	return origin, seq, true
}

// Writer is the last part of an origin.
func Writer(origin string) string { return origin[strings.LastIndexByte(origin, '/')+1:] }
