package extproc

import (
	"bytes"

	"github.com/sallyport/sallyport/idempotency"
)

// eventReader looks for the final response in a stream of server-sent events
// (HTML Living Standard §9.2.6), without holding anything back. It keeps one
// event at a time, up to a size.
type eventReader struct {
	rpcID string
	max   int

	line     []byte // the unfinished line
	inLine   bool   // it isn't empty
	data     []byte // of the unfinished event
	hasData  bool
	skipping bool // the event is too large
	begun    bool // the first line has ended
	crlf     bool // the last line ended with CR, and a LF that follows belongs to it

	final    *idempotency.Message // the answer to the request, once it came
	tooLarge bool                 // an event was skipped, which may have been it
}

func newEventReader(rpcID string, maxEvent int) *eventReader {
	return &eventReader{rpcID: rpcID, max: maxEvent}
}

// read takes a chunk and reports whether the final response ended in it.
func (e *eventReader) read(chunk []byte) bool {
	had := e.final != nil
	for len(chunk) > 0 && e.final == nil {
		if e.crlf && chunk[0] == '\n' {
			chunk = chunk[1:]
		}
		e.crlf = false
		end := bytes.IndexAny(chunk, "\r\n")
		if end < 0 {
			e.keep(chunk)
			break
		}
		e.keep(chunk[:end])
		e.crlf = chunk[end] == '\r'
		chunk = chunk[end+1:]
		e.endLine()
	}
	return !had && e.final != nil
}

// keep adds to the unfinished line, unless the event is too large.
func (e *eventReader) keep(part []byte) {
	e.inLine = e.inLine || len(part) > 0
	if len(e.line)+len(e.data)+len(part) > e.max {
		e.skipping = true
	}
	if !e.skipping {
		e.line = append(e.line, part...)
	}
}

func (e *eventReader) endLine() {
	if !e.inLine {
		e.endEvent()
		return
	}
	if !e.begun {
		e.line, e.begun = bytes.TrimPrefix(e.line, []byte("\ufeff")), true // WHATWG HTML §9.2.6
	}
	if value, ok := bytes.CutPrefix(e.line, []byte("data:")); ok && !e.skipping {
		if e.hasData {
			e.data = append(e.data, '\n')
		}
		e.data = append(e.data, bytes.TrimPrefix(value, []byte(" "))...)
		e.hasData = true
	}
	e.line, e.inLine = e.line[:0], false
}

func (e *eventReader) endEvent() {
	switch {
	case e.skipping:
		e.tooLarge = true
	case e.hasData:
		e.final = answerTo(bytes.Clone(e.data), e.rpcID)
	}
	e.line, e.data, e.hasData, e.skipping = e.line[:0], e.data[:0], false, false
}
