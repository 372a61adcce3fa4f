package extauthz

import (
	"strings"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// question and answer are a CheckRequest and a CheckResponse on the wire.
type (
	question struct{ text string }
	answer   struct{ encoded []byte }
)

// Codec hands Check its messages undecoded and passes all others on to the
// codec for generated protobuf messages. Give it to the gRPC server with
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
	if a, ok := v.(*answer); ok {
		return mem.BufferSlice{mem.SliceBuffer(a.encoded)}, nil
	}
	return c.generated.Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (c Codec) Unmarshal(data mem.BufferSlice, v any) error {
	q, ok := v.(*question)
	if !ok {
		return c.generated.Unmarshal(data, v)
	}
	var b strings.Builder
	b.Grow(data.Len())
	for _, buffer := range data {
		b.Write(buffer.ReadOnlyData())
	}
	q.text = b.String()
	return nil
}
