package extproc

import (
	"strings"
	"testing"
)

// FuzzEvents: what is found doesn't depend on how the stream is cut into chunks,
// and no more than the limit is kept.
func FuzzEvents(f *testing.F) {
	const answer = `{"jsonrpc":"2.0","id":7,"result":{}}`
	for _, seed := range []string{
		"data: " + answer + "\n\n",
		"id: 1\r\ndata: {\"jsonrpc\":\"2.0\",\r\ndata: \"id\":7,\"result\":{}}\r\n\r\n",
		"data:" + answer + "\r\r",
		": comment\n\n\n\ndata\n\ndata: x\n\n",
		"data: " + strings.Repeat("x", 300) + "\n\ndata: " + answer + "\n\n",
		"data: " + answer,
	} {
		f.Add(seed, 3)
	}
	f.Fuzz(func(t *testing.T, stream string, size int) {
		whole := newEventReader("7", 200)
		found := whole.read([]byte(stream))
		if found != (whole.final != nil) {
			t.Error("what is reported isn't what is kept")
		}
		pieces := newEventReader("7", 200)
		times := 0
		for rest := stream; rest != ""; {
			n := min(max(size, 1), len(rest))
			if pieces.read([]byte(rest[:n])) {
				times++
			}
			rest = rest[n:]
			if len(pieces.line)+len(pieces.data) > 200 {
				t.Fatal("more is kept than the limit")
			}
		}
		if (times == 1) != found || times > 1 {
			t.Errorf("found %v in one piece, %d times in pieces of %d", found, times, size)
		}
		if whole.tooLarge != pieces.tooLarge {
			t.Error("an event is too large only in some pieces")
		}
	})
}
