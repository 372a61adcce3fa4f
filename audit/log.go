// Package audit keeps the record of every decision.
package audit

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// Log appends records to a file, one JSON object per line. It is safe for
// concurrent use.
//
// A record survives a crash of this process once Append has returned, not a
// crash of the machine.
type Log struct {
	mu   sync.Mutex // guards the end of the file: what follows, and the order of writes
	file *os.File
	torn bool // the file ends in the middle of a line
}

// Stdout is the name that stands for the standard output.
const Stdout = "-"

// OpenLog opens or creates the log. A created file can be read by its owner only.
// It may end in half a line, of a machine that crashed.
func OpenLog(name string) (*Log, error) {
	if name == Stdout {
		return &Log{file: os.Stdout}, nil
	}
	file, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open decision log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open decision log: %w", err), file.Close())
	}
	log := &Log{file: file}
	var last [1]byte
	if n, _ := file.ReadAt(last[:], info.Size()-1); n == 1 { // else empty, or a pipe
		log.torn = last[0] != '\n'
	}
	return log, nil
}

// Append writes one record, which ends with a newline. After an error the record
// is not in the log, or only a part of it that no reader takes for a record.
func (l *Log) Append(record []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.torn {
		// Close the broken line, so that it doesn't swallow this record.
		record = append([]byte{'\n'}, record...)
	}
	n, err := l.file.Write(record)
	if err != nil {
		l.torn = l.torn || n > 0
		return fmt.Errorf("write decision log: %w", err)
	}
	l.torn = false
	return nil
}

// Close closes the file; the standard output stays open.
func (l *Log) Close() error {
	if l.file == os.Stdout {
		return nil
	}
	return l.file.Close()
}
