// Package audit keeps the record of every decision.
package audit

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// patience is how long a record waits for the ones before it. A disk that takes
// longer is broken, and a pipe is read by nobody.
const patience = 2 * time.Second

// errStuck is returned for a record that could not wait any longer.
var errStuck = errors.New("the record before it is still being written")

// Log appends records to a file, one JSON object per line. It is safe for
// concurrent use.
//
// A record survives a crash of this process once Append has returned, not a
// crash of the machine.
type Log struct {
	name string
	turn chan struct{} // holds one token; who has it may use what follows
	file *os.File
	torn bool // the file ends in the middle of a line

	writing atomic.Int64 // since when a write is under way, in Unix nanoseconds; 0: none is
}

// Stdout is the name that stands for the standard output.
const Stdout = "-"

// OpenLog opens or creates the log. A created file can be read by its owner only.
// It may end in half a line, of a machine that crashed.
func OpenLog(name string) (*Log, error) {
	log := &Log{name: name, turn: make(chan struct{}, 1)}
	log.turn <- struct{}{}
	if name == Stdout {
		log.file = os.Stdout
		return log, nil
	}
	var err error
	log.file, log.torn, err = openFile(name)
	return log, err
}

func openFile(name string) (file *os.File, torn bool, err error) {
	file, err = os.OpenFile(name, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, fmt.Errorf("open decision log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, false, errors.Join(fmt.Errorf("open decision log: %w", err), file.Close())
	}
	var last [1]byte
	if n, _ := file.ReadAt(last[:], info.Size()-1); n == 1 { // else empty, or a pipe
		torn = last[0] != '\n'
	}
	return file, torn, nil
}

// Append writes one record, which ends with a newline. After an error the record
// is not in the log, or only a part of it that no reader takes for a record. It
// waits for at most patience.
func (l *Log) Append(record []byte) error {
	if err := l.take(); err != nil {
		return fmt.Errorf("write decision log: %w", err)
	}
	defer l.give()
	if l.torn {
		// Close the broken line, so that it doesn't swallow this record.
		record = append([]byte{'\n'}, record...)
	}
	l.writing.Store(time.Now().UnixNano())
	n, err := l.file.Write(record)
	l.writing.Store(0)
	if err != nil {
		l.torn = l.torn || n > 0
		return fmt.Errorf("write decision log: %w", err)
	}
	l.torn = false
	return nil
}

func (l *Log) take() error {
	select {
	case <-l.turn:
		return nil
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-l.turn:
		return nil
	case <-timer.C:
		return errStuck
	}
}

func (l *Log) give() { l.turn <- struct{}{} }

// Healthy reports whether records can be written: no write has been under way for
// longer than patience.
func (l *Log) Healthy() bool {
	since := l.writing.Load()
	return since == 0 || time.Since(time.Unix(0, since)) < patience
}

// Reopen goes on in a new file of the same name, for those who rotate the old one
// away. On an error the old one stays in use.
func (l *Log) Reopen() error {
	if l.name == Stdout {
		return nil
	}
	file, torn, err := openFile(l.name)
	if err != nil {
		return err
	}
	if err := l.take(); err != nil {
		return errors.Join(fmt.Errorf("reopen decision log: %w", err), file.Close())
	}
	old := l.file
	l.file, l.torn = file, torn
	l.give()
	return old.Close()
}

// Close closes the file; the standard output stays open.
func (l *Log) Close() error {
	if l.name == Stdout {
		return nil
	}
	if err := l.take(); err != nil {
		return fmt.Errorf("close decision log: %w", err)
	}
	defer l.give()
	return l.file.Close()
}
