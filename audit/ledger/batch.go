package ledger

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// FrameEvents is how many events share a zstd frame: one event can be read
// without the whole batch.
const FrameEvents = 256

// MaxLeaf bounds a leaf, MaxBatch what a batch decompresses to.
const (
	MaxLeaf  = 66 << 10
	MaxBatch = 48 << 20
)

// Codec compresses and decompresses batches. It is safe for concurrent use.
type Codec struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

// NewCodec returns a codec. Close releases it.
func NewCodec() (*Codec, error) {
	// The fastest level: half the CPU of the default one, which saves few bytes more.
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return nil, err
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(MaxBatch))
	if err != nil {
		return nil, err
	}
	return &Codec{encoder: encoder, decoder: decoder}, nil
}

// Close releases what the codec holds.
func (c *Codec) Close() {
	c.decoder.Close()
	_ = c.encoder.Close() // it writes nothing
}

// Encode returns the batch: newline-delimited JSON in zstd frames (RFC 8878) of
// FrameEvents events, and the compressed size of each frame.
func (c *Codec) Encode(leaves [][]byte) (body []byte, frames []int) {
	var raw []byte
	for len(leaves) > 0 {
		n := min(FrameEvents, len(leaves))
		raw = raw[:0]
		for _, leaf := range leaves[:n] {
			raw = append(append(raw, leaf...), '\n')
		}
		before := len(body)
		body = c.encoder.EncodeAll(raw, body)
		frames = append(frames, len(body)-before)
		leaves = leaves[n:]
	}
	return body, frames
}

// Decode returns the leaves of a batch or of some of its whole frames. After an
// error it returns those of the frames before; frames says where each ends.
func (c *Codec) Decode(body []byte, frames []int) (leaves [][]byte, err error) {
	total := 0
	for i, n := range frames {
		if n <= 0 || n > len(body) {
			return leaves, fmt.Errorf("frame %d ends outside of the object", i)
		}
		raw, err := c.decoder.DecodeAll(body[:n], nil)
		if err != nil {
			return leaves, fmt.Errorf("frame %d: %w", i, err)
		}
		if total += len(raw); total > MaxBatch {
			return leaves, fmt.Errorf("more than %d bytes of events", MaxBatch)
		}
		if len(raw) == 0 || raw[len(raw)-1] != '\n' {
			return leaves, fmt.Errorf("frame %d doesn't end with a newline", i)
		}
		if bytes.Count(raw, []byte{'\n'}) > FrameEvents {
			return leaves, fmt.Errorf("frame %d holds more than %d events", i, FrameEvents)
		}
		leaves = append(leaves, bytes.Split(raw[:len(raw)-1], []byte{'\n'})...)
		body = body[n:]
	}
	if len(body) != 0 {
		return leaves, fmt.Errorf("%d bytes after the last frame", len(body))
	}
	return leaves, nil
}

// DecodeAll returns the leaves of a whole batch, however its frames lie.
func (c *Codec) DecodeAll(body []byte) ([][]byte, error) {
	raw, err := c.decoder.DecodeAll(body, nil)
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 || raw[len(raw)-1] != '\n' {
		return nil, errors.New("the events don't end with a newline")
	}
	if bytes.Count(raw, []byte{'\n'}) > maxCount {
		return nil, fmt.Errorf("more than %d events", maxCount)
	}
	return bytes.Split(raw[:len(raw)-1], []byte{'\n'}), nil
}
