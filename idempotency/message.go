package idempotency

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"unicode/utf8"
)

// maxRPCID is the longest JSON-RPC id that a replay takes.
const maxRPCID = 1024

// Message is a JSON-RPC message of an MCP server, taken apart. Its parts are
// slices of what was parsed.
type Message struct {
	id            []byte // JSON text; nil if there is none
	method        bool   // it is a request or a notification
	body          []byte // the member result or error, as it stands
	isError       bool
	code          int64 // of an error
	inputRequired bool  // of a result: MCP 2026-07-28, multi round trip requests
}

// ParseMessage reads one message. It refuses what readers would disagree about:
// bad JSON or UTF-8, a batch, a member that is there twice or of the wrong kind.
// Unknown members are let through. The message refers to data.
func ParseMessage(data []byte) (*Message, error) {
	if !json.Valid(data) || !utf8.Valid(data) {
		return nil, errors.New("message: not JSON")
	}
	m := &Message{}
	if err := m.parse(data); err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	return m, nil
}

func (m *Message) parse(data []byte) error {
	var version, id, method, result, failure []byte
	err := pick(data, fields{"jsonrpc": &version, "id": &id, "method": &method, "result": &result, "error": &failure})
	if err != nil {
		return err
	}
	if !bytes.Equal(version, []byte(`"2.0"`)) {
		return errors.New(`jsonrpc is not "2.0"`)
	}
	m.id, m.method = id, method != nil
	switch {
	case m.method && result == nil && failure == nil:
		return nil
	case m.method || (result == nil) == (failure == nil):
		return errors.New("not exactly one of method, result and error")
	case id == nil || !isID(id) && !bytes.Equal(id, []byte("null")):
		return errors.New("id is not a string, a number or null")
	case failure != nil:
		m.body, m.isError = failure, true
		return m.parseError()
	default:
		m.body = result
		return m.parseResult()
	}
}

func (m *Message) parseError() error {
	var code, text []byte
	if err := pick(m.body, fields{"code": &code, "message": &text}); err != nil {
		return fmt.Errorf("error: %w", err)
	}
	var err error
	if m.code, err = strconv.ParseInt(string(code), 10, 64); err != nil {
		return errors.New("error: code is not an integer")
	}
	return nil
}

func (m *Message) parseResult() error {
	var kind []byte
	if err := pick(m.body, fields{"resultType": &kind}); err != nil {
		return fmt.Errorf("result: %w", err)
	}
	m.inputRequired = len(kind) > 0 && kind[0] == '"' && unquote(kind) == "input_required"
	return nil
}

// Answers says whether the message is the response to the request with an id,
// given as JSON text.
func (m *Message) Answers(id []byte) bool {
	if m.method || !isID(m.id) || !isID(id) || (m.id[0] == '"') != (id[0] == '"') {
		return false
	}
	if bytes.Equal(m.id, id) {
		return true
	}
	if id[0] == '"' {
		return unquote(m.id) == unquote(id)
	}
	// A server may write a number in another way than it was sent.
	a, errA := strconv.ParseFloat(string(m.id), 64)
	b, errB := strconv.ParseFloat(string(id), 64)
	return errA == nil && errB == nil && a == b
}

// Response is what to keep of a response for replays. It refers to what was
// parsed.
func (m *Message) Response(status int) *Response {
	return &Response{Status: status, Body: m.body, Error: m.isError}
}

// AppendReplay appends the JSON-RPC message that answers the request with an id,
// given as JSON text, with a response that another request got.
func AppendReplay(dst, id []byte, r *Response) ([]byte, error) {
	if len(id) > maxRPCID || !json.Valid(id) || !isID(id) {
		return nil, errors.New("replay: the id is not a JSON string or number")
	}
	if len(r.Body) == 0 {
		return nil, errors.New("replay: the response has no message")
	}
	member := `,"result":`
	if r.Error {
		member = `,"error":`
	}
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = append(dst, id...)
	dst = append(dst, member...)
	dst = append(dst, r.Body...)
	return append(dst, '}'), nil
}

// isID says whether valid JSON text is a string or a number.
func isID(text []byte) bool {
	return len(text) > 0 && (text[0] == '"' || text[0] == '-' || text[0] >= '0' && text[0] <= '9')
}

// fields are the members to pick from an object, by name.
type fields map[string]*[]byte

// pick finds members of an object in valid JSON. One that is there twice is
// refused; one that is null counts as there.
func pick(object []byte, wanted fields) error {
	if start := skipSpace(object, 0); start == len(object) || object[start] != '{' {
		return errors.New("not an object")
	}
	for name, value := range members(object) {
		place := wanted[unquote(name)]
		if place == nil {
			continue
		}
		if *place != nil {
			return fmt.Errorf("%s is there twice", name)
		}
		*place = value
	}
	return nil
}

// members yields the names, with their quotes, and the values of an object in
// valid JSON.
func members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		i := skipSpace(object, skipSpace(object, 0)+1)
		for i < len(object) && object[i] == '"' {
			end := skipString(object, i)
			name := object[i:end]
			i = skipSpace(object, skipSpace(object, end)+1) // over the colon
			end = skipValue(object, i)
			if !yield(name, object[i:end]) {
				return
			}
			i = skipSpace(object, skipSpace(object, end)+1) // over the comma or the end
		}
	}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the index behind the string that begins at i.
func skipString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// skipValue returns the index behind the value that begins at i.
func skipValue(b []byte, i int) int {
	depth := 0
	for {
		switch b[i] {
		case '"':
			i = skipString(b, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			i++
			continue
		default: // a number or a word
			for i < len(b) && !bytes.ContainsRune([]byte(",:]} \t\n\r"), rune(b[i])) {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
}

// unquote is the text of a JSON string.
func unquote(quoted []byte) string {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var text string
	_ = json.Unmarshal(quoted, &text) // it is valid
	return text
}
