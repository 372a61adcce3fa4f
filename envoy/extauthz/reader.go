package extauthz

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// reader walks over the fields of one encoded protobuf message without
// copying: what it finds refers to the message.
type reader struct {
	rest string
	err  error // set once, when the message is broken

	num    protowire.Number
	number uint64 // value of a varint field
	text   string // value of a length-delimited field
}

var (
	errTruncated = errors.New("message ends within a field")
	errWireType  = errors.New("field has an unknown wire type")
	errVarint    = errors.New("varint is longer than 64 bits")
)

// next moves to the next field and returns false at the end or after an error.
func (r *reader) next() bool {
	if r.err != nil || r.rest == "" {
		return false
	}
	tag := r.varint()
	var typ protowire.Type
	r.num, typ = protowire.DecodeTag(tag)
	r.number, r.text = 0, ""
	switch {
	case r.err != nil:
	case r.num < protowire.MinValidNumber:
		r.err = errWireType
	case typ == protowire.VarintType:
		r.number = r.varint()
	case typ == protowire.BytesType:
		r.text = r.take(r.varint())
	case typ == protowire.Fixed64Type:
		r.take(8)
	case typ == protowire.Fixed32Type:
		r.take(4)
	default: // groups are gone from every message that we read
		r.err = errWireType
	}
	return r.err == nil
}

// nested reads the current field as a message.
func (r *reader) nested() reader { return reader{rest: r.text} }

// keep makes an error of a nested message one of this message.
func (r *reader) keep(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) varint() uint64 {
	var value uint64
	for i := 0; i < len(r.rest); i++ {
		b := r.rest[i]
		if i == 9 && b > 1 {
			r.keep(errVarint)
			return 0
		}
		value |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			r.rest = r.rest[i+1:]
			return value
		}
	}
	r.keep(errTruncated)
	return 0
}

func (r *reader) take(n uint64) string {
	if r.err != nil || n > uint64(len(r.rest)) {
		r.keep(errTruncated)
		return ""
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}
