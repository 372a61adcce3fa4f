package extauthz

import "google.golang.org/protobuf/encoding/protowire"

// writer appends the encoding of protobuf messages to a buffer.
type writer struct{ buf []byte }

func (w *writer) text(num protowire.Number, value string) {
	w.buf = protowire.AppendTag(w.buf, num, protowire.BytesType)
	w.buf = protowire.AppendString(w.buf, value)
}

func (w *writer) number(num protowire.Number, value uint64) {
	w.buf = protowire.AppendTag(w.buf, num, protowire.VarintType)
	w.buf = protowire.AppendVarint(w.buf, value)
}

// open begins a nested message and returns the mark that close needs.
func (w *writer) open(num protowire.Number) (mark int) {
	w.buf = protowire.AppendTag(w.buf, num, protowire.BytesType)
	w.buf = append(w.buf, 0) // the length, if it turns out to be below 128
	return len(w.buf)
}

// close ends the nested message that began at mark: it writes its length, and
// moves the message where the length needs more than the one byte left for it.
func (w *writer) close(mark int) {
	size := len(w.buf) - mark
	if size < 0x80 {
		w.buf[mark-1] = byte(size) //nolint:gosec // below 128
		return
	}
	more := protowire.SizeVarint(uint64(size)) - 1
	w.buf = append(w.buf, make([]byte, more)...)
	copy(w.buf[mark+more:], w.buf[mark:mark+size])
	protowire.AppendVarint(w.buf[:mark-1], uint64(size))
}
