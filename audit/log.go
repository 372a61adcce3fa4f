// Package audit keeps the record of every decision.
package audit

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// Log appends records to a file, one JSON object per line. It is safe for
// concurrent use: each record is one write to a file opened for appending,
// which the kernel keeps whole.
//
// A record survives a crash of this process once Append has returned, not a
// crash of the machine.
type Log struct {
	file  *os.File
	owned bool
	torn  atomic.Bool // the last write stopped in the middle of a line
}

// Stdout is the name that stands for the standard output.
const Stdout = "-"

// OpenLog opens or creates the log. A created file can be read by its owner only.
func OpenLog(name string) (*Log, error) {
	if name == Stdout {
		return &Log{file: os.Stdout}, nil
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open decision log: %w", err)
	}
	return &Log{file: file, owned: true}, nil
}

// Append writes one record, which ends with a newline. After an error the
// record is not in the log, or only a part of it that no reader takes for a
// record.
func (l *Log) Append(record []byte) error {
	if l.torn.Swap(false) {
		// Close the broken line, so that it doesn't swallow this record.
		record = append([]byte{'\n'}, record...)
	}
	n, err := l.file.Write(record)
	if err != nil {
		if n > 0 {
			l.torn.Store(true)
		}
		return fmt.Errorf("write decision log: %w", err)
	}
	return nil
}

// Close closes the file.
func (l *Log) Close() error {
	if !l.owned {
		return nil
	}
	return l.file.Close()
}

var _ io.Closer = (*Log)(nil)
