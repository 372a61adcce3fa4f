// Package strictyaml reads a file that must be one YAML document, and says in
// which line it isn't.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Parse returns the root of the document; nil if there is none. JSON is YAML,
// too. The line of an error is from 1, or 0 where none can be told. The size of
// data is the caller's to bound.
func Parse(data []byte) (root *yaml.Node, line int, err error) {
	// The parser panics on what it takes for its own mistakes; for us that is a
	// file that can't be read.
	defer func() {
		if p := recover(); p != nil {
			root, line, err = nil, 0, fmt.Errorf("is not valid YAML: %v", p)
		}
	}()
	reader := yaml.NewDecoder(bytes.NewReader(data))
	var document, more yaml.Node
	switch err := reader.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, 0, nil
	case err != nil:
		line, message := place(err, data)
		return nil, line, fmt.Errorf("is not valid YAML: %s", message)
	}
	switch err := reader.Decode(&more); {
	case errors.Is(err, io.EOF):
	case err != nil:
		line, message := place(err, data)
		return nil, line, fmt.Errorf("is not valid YAML: %s", message)
	default:
		return nil, more.Line, errors.New("a second document begins here: the file must be one document")
	}
	return document.Content[0], document.Content[0].Line, nil
}

// place takes the line out of "yaml: line 3: did not find …", and mends it: the
// parser counts from 0, where the scanner counts from 1, and both leave out the
// first line.
func place(err error, data []byte) (int, string) {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if rest, ok := strings.CutPrefix(message, "line "); ok {
		if digits, rest, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(digits); err == nil {
				line, message = n, rest
				if strings.HasPrefix(message, "did not find expected") {
					line++
				}
			}
		}
	}
	line = min(line, 1+bytes.Count(data, []byte("\n"))) // the end counts as a line of its own
	if rest, ok := strings.CutPrefix(message, "unknown anchor '"); ok {
		name, _, _ := strings.Cut(rest, "'")
		before, _, _ := bytes.Cut(data, []byte("*"+name))
		line = 1 + bytes.Count(before, []byte("\n"))
	}
	return line, message
}
