package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/sallyport/sallyport/internal/problem"
)

// maxBody bounds what a request may carry.
const maxBody = 64 << 10

// bodyError says what of a body isn't right.
type bodyError struct {
	member string // its name, such as request.path; empty: the body as a whole
	what   string
}

func (e *bodyError) Error() string {
	if e.member == "" {
		return e.what
	}
	return e.member + ": " + e.what
}

// below puts an error into the member that it is in.
func (e *bodyError) below(name string) *bodyError {
	if e.member != "" {
		name += "." + e.member
	}
	return &bodyError{name, e.what}
}

// fields says how each member of an object is read. A member that isn't there is left
// as it is.
type fields map[string]func(json.RawMessage) *bodyError

// readBody reads the JSON object that a request carries. What it returns is the
// answer to one that isn't right; nil: it is.
func readBody(r *http.Request, members fields) *problem.Problem {
	if p := checkContent(r); p != nil {
		return p
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return badBody(&bodyError{what: "it didn't arrive whole"})
	}
	if len(data) > maxBody {
		return &problem.Problem{
			Kind: "elevation.body_too_large", Title: "The body is too large.", Status: http.StatusRequestEntityTooLarge,
			Detail: fmt.Sprintf("At most %d bytes are accepted.", maxBody),
		}
	}
	if !utf8.Valid(data) {
		return badBody(&bodyError{what: "it is not UTF-8"})
	}
	if err := readObject(data, members); err != nil {
		return badBody(err)
	}
	return nil
}

// noBody refuses a body where none is read: what is in it would be ignored.
func noBody(r *http.Request) *problem.Problem {
	if r.ContentLength == 0 {
		return nil
	}
	return badBody(&bodyError{what: r.Method + " takes none"})
}

func badBody(err *bodyError) *problem.Problem {
	p := &problem.Problem{
		Kind: "elevation.body", Title: "The body is not what is expected here.", Status: http.StatusBadRequest, Detail: err.Error(),
	}
	if err.member != "" {
		p.More = map[string]any{"member": err.member}
	}
	return p
}

// checkContent wants JSON as it is. A browser sends that to another origin only after
// asking, and nobody here says yes.
func checkContent(r *http.Request) *problem.Problem {
	p := &problem.Problem{Kind: "elevation.content_type", Title: "The body must be application/json.", Status: http.StatusUnsupportedMediaType}
	lines := r.Header.Values("Content-Type")
	if len(lines) != 1 {
		return p
	}
	media, params, err := mime.ParseMediaType(lines[0])
	charset, ok := params["charset"]
	if err != nil || media != "application/json" || ok && !strings.EqualFold(charset, "utf-8") {
		return p
	}
	if r.Header.Get("Content-Encoding") != "" {
		p.Detail = "Send it without a content encoding."
		return p
	}
	return nil
}

// readObject reads one JSON object strictly. encoding/json alone ignores members that
// it doesn't know, takes the last of two, and "Tool" for "tool": who wrote one thing
// would get another.
func readObject(data []byte, members fields) *bodyError {
	if !json.Valid(data) {
		return &bodyError{what: "it is not one JSON text"}
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return &bodyError{what: "it is not a JSON object"}
	}
	seen := make(map[string]bool)
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		var value json.RawMessage
		if err != nil || !ok || d.Decode(&value) != nil {
			return &bodyError{what: "it is not one JSON text"}
		}
		read, known := members[name]
		switch {
		case !known:
			return &bodyError{clipped(name), "there is no such member"}
		case seen[name]:
			return &bodyError{name, "it is there twice"}
		}
		seen[name] = true
		if err := read(value); err != nil {
			return err.below(name)
		}
	}
	return nil
}

// clipped is a stranger's text short enough to be repeated.
func clipped(text string) string {
	const longest = 64
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "…"
}

// text reads a string.
func text(into *string, longest int) func(json.RawMessage) *bodyError {
	return func(value json.RawMessage) *bodyError {
		if value[0] != '"' || json.Unmarshal(value, into) != nil {
			return &bodyError{what: "it must be a string"}
		}
		if len(*into) > longest {
			return &bodyError{what: fmt.Sprintf("it has more than %d bytes", longest)}
		}
		return nil
	}
}

// whole reads a number without a fraction.
func whole(into **int64) func(json.RawMessage) *bodyError {
	return func(value json.RawMessage) *bodyError {
		var number int64
		if err := json.Unmarshal(value, &number); err != nil || value[0] == 'n' {
			return &bodyError{what: "it must be a whole number"}
		}
		*into = &number
		return nil
	}
}

// flag reads true or false.
func flag(into *bool) func(json.RawMessage) *bodyError {
	return func(value json.RawMessage) *bodyError {
		if err := json.Unmarshal(value, into); err != nil || value[0] == 'n' {
			return &bodyError{what: "it must be true or false"}
		}
		return nil
	}
}

// object takes an object as it is written. What is in it is read by somebody else.
func object(into *json.RawMessage) func(json.RawMessage) *bodyError {
	return func(value json.RawMessage) *bodyError {
		if value[0] != '{' {
			return &bodyError{what: "it must be an object"}
		}
		*into = value
		return nil
	}
}
