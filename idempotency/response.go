package idempotency

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// What a stored response may hold. One beyond it is not retained.
const (
	maxHeaders     = 32
	maxHeaderName  = 128
	maxHeaderValue = 8 << 10

	// DefaultMaxResponse is the most bytes of a stored response, headers
	// included, where the configuration says nothing.
	DefaultMaxResponse = 1 << 20
	// mostMaxResponse is where a Redis value would begin to hurt others.
	mostMaxResponse = 16 << 20
)

// A stored response is
//
//	version     1 byte: 1
//	flags       1 byte: 1 if the body is the JSON-RPC member error
//	status      uvarint
//	headers     uvarint, how many; then name and value of each
//	body        the rest
//
// where a name or a value is its length as uvarint and its bytes. Responses are
// read back by later releases: any change is a new version.
const (
	responseVersion = 1
	flagError       = 1
)

// encodeResponse returns nil for a response that can't be kept within limit.
func encodeResponse(r *Response, limit int) []byte {
	if r == nil || len(r.Headers) > maxHeaders || !validStatus(uint64(max(r.Status, 0))) {
		return nil
	}
	size := 2 + 2*binary.MaxVarintLen16 + len(r.Body)
	for _, h := range r.Headers {
		if len(h.Name) > maxHeaderName || len(h.Value) > maxHeaderValue {
			return nil
		}
		size += 2*binary.MaxVarintLen16 + len(h.Name) + len(h.Value)
	}
	if size > limit {
		return nil
	}
	var flags byte
	if r.Error {
		flags = flagError
	}
	b := append(make([]byte, 0, size), responseVersion, flags)
	b = binary.AppendUvarint(b, uint64(r.Status)) //nolint:gosec // not negative
	b = binary.AppendUvarint(b, uint64(len(r.Headers)))
	for _, h := range r.Headers {
		b = appendText(b, h.Name)
		b = appendText(b, h.Value)
	}
	return append(b, r.Body...)
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func validStatus(status uint64) bool { return status >= 100 && status <= 999 }

// decodeResponse reads what encodeResponse wrote. The response shares no memory
// with b.
func decodeResponse(b []byte) (*Response, error) {
	d := decoder{rest: b}
	version, flags := d.byte(), d.byte()
	status, count := d.uvarint(), d.uvarint()
	switch {
	case d.err != nil:
		return nil, d.err
	case version != responseVersion:
		return nil, fmt.Errorf("stored response: version %d is not known", version)
	case flags > flagError:
		return nil, fmt.Errorf("stored response: flags %#x are not known", flags)
	case !validStatus(status):
		return nil, fmt.Errorf("stored response: status %d", status)
	case count > maxHeaders:
		return nil, fmt.Errorf("stored response: %d headers", count)
	}
	r := &Response{Status: int(status), Error: flags&flagError != 0} //nolint:gosec // a status
	if count > 0 {
		r.Headers = make([]Header, count)
	}
	for i := range r.Headers {
		r.Headers[i] = Header{Name: d.text(maxHeaderName), Value: d.text(maxHeaderValue)}
	}
	if d.err != nil {
		return nil, d.err
	}
	r.Body = append([]byte(nil), d.rest...)
	return r, nil
}

// decoder reads fields until one is wrong; then err says so and all are zero.
type decoder struct {
	rest []byte
	err  error
}

var errTruncated = errors.New("stored response: cut short")

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail(errTruncated)
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.fail(errTruncated)
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) text(limit uint64) string {
	n := d.uvarint()
	if n > limit {
		d.fail(fmt.Errorf("stored response: a header of %d bytes", n))
	}
	if d.err == nil && n > uint64(len(d.rest)) {
		d.fail(errTruncated)
	}
	if d.err != nil {
		return ""
	}
	text := string(d.rest[:n])
	d.rest = d.rest[n:]
	return text
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.rest = nil
}
