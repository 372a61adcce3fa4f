package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a token's JSON.
const maxDepth = 32

var (
	errNotJSON   = errors.New("not a JSON object in UTF-8")
	errDepth     = errors.New("nested too deeply")
	errDuplicate = errors.New("a member is there twice")
)

// decodeObject reads one JSON object strictly: UTF-8 without lone surrogates,
// nothing behind it, bounded depth, no member twice at any level. Names are
// compared after their escapes are resolved, so "\u0065xp" is exp. Numbers
// become json.Number. encoding/json alone would take the last of two members
// (RFC 7519 §4 leaves that open) and turn broken text into U+FFFD, where two
// different subjects become one.
func decodeObject(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) || !json.Valid(data) || loneSurrogate(data) {
		return nil, errNotJSON
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := decodeValue(d, 0)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, errNotJSON
	}
	return object, nil
}

// decodeValue reads the next value of text that is known to be valid.
func decodeValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, errNotJSON
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth == maxDepth {
		return nil, errDepth
	}
	if delim == '[' {
		array := []any{}
		for d.More() {
			v, err := decodeValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			array = append(array, v)
		}
		_, err = d.Token() // the closing bracket
		return array, err
	}
	object := map[string]any{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errNotJSON
		}
		if _, ok := object[name]; ok {
			return nil, errDuplicate
		}
		if object[name], err = decodeValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err = d.Token() // the closing brace
	return object, err
}

// loneSurrogate looks for a \u escape of half a surrogate pair in valid JSON.
func loneSurrogate(data []byte) bool {
	for i := 0; i < len(data); {
		if data[i] != '\\' {
			i++
			continue
		}
		if data[i+1] != 'u' {
			i += 2
			continue
		}
		switch r := hex4(data[i+2:]); {
		case r >= 0xDC00 && r <= 0xDFFF:
			return true
		case r >= 0xD800 && r <= 0xDBFF:
			if len(data) < i+12 || data[i+6] != '\\' || data[i+7] != 'u' {
				return true
			}
			if low := hex4(data[i+8:]); low < 0xDC00 || low > 0xDFFF {
				return true
			}
			i += 12
		default:
			i += 6
		}
	}
	return false
}

// hex4 reads four hexadecimal digits.
func hex4(b []byte) (r rune) {
	for _, c := range b[:4] {
		r <<= 4
		switch {
		case c <= '9':
			r |= rune(c - '0')
		default:
			r |= rune(c|0x20-'a') + 10
		}
	}
	return r
}
