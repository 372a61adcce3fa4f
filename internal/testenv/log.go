package testenv

import (
	"sync"
)

// LogBuffer keeps the last part of what is written to it. It is safe for
// concurrent use; a write never fails.
type LogBuffer struct {
	limit int

	mu      sync.Mutex // guards the fields below
	data    []byte
	dropped int
}

// NewLogBuffer returns a buffer that keeps at least the last limit bytes.
func NewLogBuffer(limit int) *LogBuffer { return &LogBuffer{limit: limit} }

// Write appends p and forgets the oldest bytes beyond twice the limit.
func (b *LogBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data = append(b.data, p...)
	if excess := len(b.data) - b.limit; excess > b.limit {
		b.data = append(b.data[:0], b.data[excess:]...)
		b.dropped += excess
	}
	return len(p), nil
}

// String is what is kept, with a mark in front if something was forgotten.
func (b *LogBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dropped > 0 {
		return "[…]" + string(b.data)
	}
	return string(b.data)
}

// test is the part of *testing.T that LogOnFailure needs; the demo uses this
// package too and must not link "testing".
type test interface {
	Helper()
	Failed() bool
	Logf(format string, args ...any)
	Cleanup(func())
}

// LogOnFailure returns a buffer whose last 64 KiB are logged under the title
// when the test has failed. Call it before what writes to it is started, so that
// it is read after that has stopped.
func LogOnFailure(t test, title string) *LogBuffer {
	t.Helper()
	buffer := NewLogBuffer(64 << 10)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s:\n%s", title, buffer)
		}
	})
	return buffer
}
