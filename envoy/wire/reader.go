package wire

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// Reader walks over the fields of one encoded protobuf message without
// copying: what it finds refers to the message.
type Reader struct {
	rest string
	err  error // set once, when the message is broken

	Num    protowire.Number
	Number uint64 // value of a varint field
	Text   string // value of a length-delimited field
}

// Read returns a reader of a message.
func Read(message string) Reader { return Reader{rest: message} }

// Err is what is wrong with the message, as far as it was read.
func (r *Reader) Err() error { return r.err }

var (
	errTruncated = errors.New("message ends within a field")
	errWireType  = errors.New("field has an unknown wire type")
	errVarint    = errors.New("varint is longer than 64 bits")
)

// Next moves to the next field and returns false at the end or after an error.
func (r *Reader) Next() bool {
	if r.err != nil || r.rest == "" {
		return false
	}
	tag := r.varint()
	var typ protowire.Type
	r.Num, typ = protowire.DecodeTag(tag)
	r.Number, r.Text = 0, ""
	switch {
	case r.err != nil:
	case r.Num < protowire.MinValidNumber:
		r.err = errWireType
	case typ == protowire.VarintType:
		r.Number = r.varint()
	case typ == protowire.BytesType:
		r.Text = r.take(r.varint())
	case typ == protowire.Fixed64Type:
		r.take(8)
	case typ == protowire.Fixed32Type:
		r.take(4)
	default: // groups are gone from every message that we read
		r.err = errWireType
	}
	return r.err == nil
}

// Nested reads the current field as a message.
func (r *Reader) Nested() Reader { return Reader{rest: r.Text} }

// Keep makes an error of a nested message one of this message.
func (r *Reader) Keep(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *Reader) varint() uint64 {
	var value uint64
	for i := 0; i < len(r.rest); i++ {
		b := r.rest[i]
		if i == 9 && b > 1 {
			r.Keep(errVarint)
			return 0
		}
		value |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			r.rest = r.rest[i+1:]
			return value
		}
	}
	r.Keep(errTruncated)
	return 0
}

func (r *Reader) take(n uint64) string {
	if r.err != nil || n > uint64(len(r.rest)) {
		r.Keep(errTruncated)
		return ""
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

// MapEntry reads an entry of a map whose keys and values are length-delimited.
func MapEntry(entry Reader) (key, value string, err error) {
	for entry.Next() {
		switch entry.Num {
		case 1:
			key = entry.Text
		case 2:
			value = entry.Text
		}
	}
	return key, value, entry.err
}

// Split takes the fields of one number out of a message. It returns the last of
// them, which must be length-delimited, and the message without them.
func Split(message string, num protowire.Number) (rest []byte, field string, err error) {
	rest = make([]byte, 0, len(message))
	r := Read(message)
	for before := message; r.Next(); before = r.rest {
		if r.Num == num {
			field = r.Text
		} else {
			rest = append(rest, before[:len(before)-len(r.rest)]...)
		}
	}
	return rest, field, r.err
}
