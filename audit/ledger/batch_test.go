package ledger

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func newCodec(t testing.TB) *Codec {
	t.Helper()
	codec, err := NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(codec.Close)
	return codec
}

func someLeaves(n int) (leaves [][]byte) {
	for i := range n {
		leaves = append(leaves, fmt.Appendf(nil, `{"event":%d}`, i))
	}
	return leaves
}

func sameLeaves(a, b [][]byte) bool {
	return bytes.Equal(bytes.Join(a, []byte("\n")), bytes.Join(b, []byte("\n"))) && len(a) == len(b)
}

// TestCodec: what was encoded comes back, whole and by frames, and the same leaves
// always make the same bytes.
func TestCodec(t *testing.T) {
	t.Parallel()
	codec := newCodec(t)
	for _, n := range []int{1, 2, FrameEvents - 1, FrameEvents, FrameEvents + 1, 3 * FrameEvents, 1000} {
		leaves := someLeaves(n)
		body, frames := codec.Encode(leaves)
		if want := (n + FrameEvents - 1) / FrameEvents; len(frames) != want {
			t.Errorf("%d leaves: %d frames, want %d", n, len(frames), want)
		}
		if again, _ := codec.Encode(leaves); !bytes.Equal(again, body) {
			t.Errorf("%d leaves: other bytes the second time", n)
		}
		if got, err := codec.Decode(body, frames); err != nil || !sameLeaves(got, leaves) {
			t.Errorf("%d leaves: %d, %v", n, len(got), err)
		}
		if got, err := codec.DecodeAll(body); err != nil || !sameLeaves(got, leaves) {
			t.Errorf("%d leaves, at once: %d, %v", n, len(got), err)
		}
	}
	body, frames := codec.Encode(someLeaves(600))
	second, err := codec.Decode(body[frames[0]:frames[0]+frames[1]], frames[1:2])
	if err != nil || !sameLeaves(second, someLeaves(600)[FrameEvents:2*FrameEvents]) {
		t.Errorf("the second frame alone: %d leaves, %v", len(second), err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	codec := newCodec(t)
	body, frames := codec.Encode(someLeaves(600))
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer encoder.Close()
	bomb := encoder.EncodeAll(make([]byte, MaxBatch+1), nil)
	half := encoder.EncodeAll(append(make([]byte, MaxBatch/2), '\n'), nil)
	unended := encoder.EncodeAll([]byte(`{"event":1}`), nil)
	broken := bytes.Clone(body)
	broken[frames[0]+40] ^= 1
	tests := map[string]struct {
		body   []byte
		frames []int
		leaves int // that still come
		err    string
	}{
		"no frames":           {body, nil, 0, "after the last frame"},
		"a frame less":        {body, frames[:2], 512, "after the last frame"},
		"a frame too long":    {body, []int{len(body) + 1}, 0, "frame 0 ends outside"},
		"a frame of nothing":  {body, []int{0}, 0, "frame 0 ends outside"},
		"a negative frame":    {body, []int{-1}, 0, "frame 0 ends outside"},
		"a frame cut":         {body, []int{frames[0] - 1}, 0, "frame 0"},
		"a broken frame":      {broken, frames, 256, "frame 1"},
		"empty":               {nil, []int{1}, 0, "frame 0 ends outside"},
		"no newline":          {unended, []int{len(unended)}, 0, "doesn't end with a newline"},
		"too large":           {bomb, []int{len(bomb)}, 0, "frame 0"},
		"too large, together": {bytes.Repeat(half, 3), []int{len(half), len(half), len(half)}, -1, "bytes of events"},
	}
	for name, test := range tests {
		leaves, err := codec.Decode(test.body, test.frames)
		if err == nil || !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %v, want %q", name, err, test.err)
		}
		if test.leaves >= 0 && len(leaves) != test.leaves {
			t.Errorf("%s: %d leaves, want %d", name, len(leaves), test.leaves)
		}
	}
	for name, body := range map[string][]byte{"too large": bomb, "no newline": unended, "garbage": []byte("garbage"), "empty": nil, "too large, together": bytes.Repeat(half, 3)} {
		if _, err := codec.DecodeAll(body); err == nil {
			t.Errorf("at once, %s: it was accepted", name)
		}
	}
}
