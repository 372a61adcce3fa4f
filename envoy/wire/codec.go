// Package wire reads the messages that come with every request without building
// the generated structs, which would cost more CPU than what they are read for
// (docs/decisions/0002).
package wire

import (
	"strings"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// Received and Sent are messages as they are encoded.
type (
	Received struct{ Text string }
	Sent     struct{ Encoded []byte }
)

// Codec hands out Received and takes Sent as they are, and passes all else on to
// the codec for generated protobuf messages. Give it to the gRPC server with
// grpc.ForceServerCodecV2.
type Codec struct{ generated encoding.CodecV2 }

// NewCodec returns the codec.
func NewCodec() Codec {
	return Codec{generated: encoding.GetCodecV2("proto")}
}

// Name implements encoding.CodecV2.
func (c Codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (c Codec) Marshal(v any) (mem.BufferSlice, error) {
	if a, ok := v.(*Sent); ok {
		return mem.BufferSlice{mem.SliceBuffer(a.Encoded)}, nil
	}
	return c.generated.Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (c Codec) Unmarshal(data mem.BufferSlice, v any) error {
	q, ok := v.(*Received)
	if !ok {
		return c.generated.Unmarshal(data, v)
	}
	var b strings.Builder
	b.Grow(data.Len())
	for _, buffer := range data {
		b.Write(buffer.ReadOnlyData())
	}
	q.Text = b.String()
	return nil
}
