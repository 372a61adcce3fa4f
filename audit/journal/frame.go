package journal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/sallyport/sallyport/audit"
)

// A frame is a header and the event without its newline. The header, little
// endian: length of the event (4 bytes), CRC-32C (4) of all that follows it and of
// the length, number (8), class (1), zeros (3).
const headerBytes = 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendFrames appends the frames of lines and returns the number after theirs.
func appendFrames(b, lines []byte, class audit.Class, number uint64) ([]byte, uint64, error) {
	if len(lines) == 0 {
		return b, 0, ErrTooLarge
	}
	for len(lines) > 0 {
		n := bytes.IndexByte(lines, '\n')
		if n <= 0 || n >= MaxLine {
			return b, 0, ErrTooLarge
		}
		start := len(b)
		b = append(b, make([]byte, headerBytes)...)
		b = append(b, lines[:n]...)
		frame := b[start:]
		binary.LittleEndian.PutUint32(frame, uint32(n))
		binary.LittleEndian.PutUint64(frame[8:], number)
		frame[16] = byte(class)
		binary.LittleEndian.PutUint32(frame[4:], checksum(frame))
		lines = lines[n+1:]
		number++
	}
	return b, number, nil
}

func checksum(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[:4], castagnoli), castagnoli, frame[8:])
}

// readFrame returns the frame that b begins with, if it has the number. It needs
// MaxLine and a header's bytes to be sure that there is none.
func readFrame(b []byte, number uint64) (line []byte, class audit.Class, size int, ok bool) {
	if len(b) < headerBytes {
		return nil, 0, 0, false
	}
	n := int(binary.LittleEndian.Uint32(b))
	size = headerBytes + n
	if n == 0 || n >= MaxLine || size > len(b) || binary.LittleEndian.Uint64(b[8:]) != number ||
		binary.LittleEndian.Uint32(b[4:]) != checksum(b[:size]) {
		return nil, 0, 0, false
	}
	return b[headerBytes:size], audit.Class(b[16]), size, true
}
