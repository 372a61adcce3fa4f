package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// place is where a value stands, and so how it is escaped.
type place int

const (
	inText  place = iota // compared only
	inPath               // part of a segment
	inQuery              // the whole value of a parameter
	inQuote              // between quotes in the value of a parameter
	inJSON               // part of a JSON string
)

// piece is a literal, escaped for its place already, or a placeholder.
type piece struct {
	literal, name string
	where         place
}

type values map[string]string

var placeholderPattern = regexp.MustCompile(`\{[a-z][a-z0-9_]*\}`)

// numeric placeholders are digits, whoever asks.
var numericNames = []string{"duration_seconds", "from", "to", "now_unix"}

// split divides text into literals and placeholders, and refuses unknown ones.
func split(text string, where place, known []string) ([]piece, error) {
	var pieces []piece
	for text != "" {
		at := placeholderPattern.FindStringIndex(text)
		if at == nil {
			return append(pieces, piece{literal: text}), nil
		}
		name := text[at[0]+1 : at[1]-1]
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("{%s} isn't known here: there are %s", name, strings.Join(known, ", "))
		}
		if at[0] > 0 {
			pieces = append(pieces, piece{literal: text[:at[0]]})
		}
		pieces, text = append(pieces, piece{name: name, where: where}), text[at[1]:]
	}
	return pieces, nil
}

// expand puts values in.
func expand(pieces []piece, v values) (string, error) {
	var b strings.Builder
	for _, p := range pieces {
		if p.name == "" {
			b.WriteString(p.literal)
			continue
		}
		escaped, err := escape(v[p.name], p.where)
		if err != nil {
			return "", fmt.Errorf("%w: {%s} %w", ErrSubject, p.name, err)
		}
		b.WriteString(escaped)
	}
	return b.String(), nil
}

// escape makes a value what it is where it stands, and nothing else. What can't be
// written there is refused.
func escape(value string, where place) (string, error) {
	// Two of them would be the same to the provider.
	if !utf8.ValidString(value) {
		return "", errors.New("isn't UTF-8")
	}
	if where != inJSON && (value == "" || strings.ContainsFunc(value, unicode.IsControl)) {
		return "", errors.New("is empty or has control characters")
	}
	switch where {
	case inPath:
		return escapeSegment(value)
	case inQuote:
		if strings.ContainsAny(value, `'"\`) {
			return "", errors.New("has a quote or a backslash")
		}
		return escapeQuery(value), nil
	case inQuery:
		return escapeQuery(value), nil
	case inJSON:
		return escapeJSON(value)
	}
	return value, nil
}

// escapeSegment also refuses what would be another path for a server, or a proxy
// before it, that takes an escaped slash for a slash.
func escapeSegment(value string) (string, error) {
	for part := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == '/' || r == '\\' }) {
		if part == "." || part == ".." {
			return "", errors.New("is a path of its own")
		}
	}
	return url.PathEscape(value), nil
}

// escapeQuery writes a space as %20: not every server takes a plus for one.
func escapeQuery(value string) string {
	return strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
}

func escapeJSON(value string) (string, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	return string(text[1 : len(text)-1]), nil
}

// compileURL reads a path and a query. They are written plainly, without %-escapes.
func compileURL(text string, known []string) ([]piece, error) {
	path, query, hasQuery := strings.Cut(text, "?")
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(text, "#%") {
		return nil, errors.New("isn't a path that begins with / and has no %-escapes and no fragment")
	}
	pieces, err := compilePath(path, known)
	if err != nil || !hasQuery {
		return pieces, err
	}
	for i, parameter := range strings.Split(query, "&") {
		name, value, ok := strings.Cut(parameter, "=")
		if !ok || name == "" || strings.Contains(name, "{") {
			return nil, fmt.Errorf("parameter %q isn't name=value", parameter)
		}
		compiled, err := compileParameter(value, known)
		if err != nil {
			return nil, fmt.Errorf("parameter %s: %w", name, err)
		}
		mark := "&"
		if i == 0 {
			mark = "?"
		}
		pieces = append(pieces, piece{literal: mark + escapeQuery(name) + "="})
		pieces = append(pieces, compiled...)
	}
	return pieces, nil
}

func compilePath(path string, known []string) ([]piece, error) {
	pieces, err := split(path, inPath, known)
	if err != nil {
		return nil, err
	}
	for i := range pieces {
		pieces[i].literal = (&url.URL{Path: pieces[i].literal}).EscapedPath()
	}
	for segment := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if segment == "." || segment == ".." || segment == "" && len(path) > 1 {
			return nil, fmt.Errorf("path %q has a segment that is empty or dots", path)
		}
		// A dot beside a value could make dots of both.
		if strings.Contains(segment, "{") && strings.Trim(placeholderPattern.ReplaceAllString(segment, ""), ".") == "" && strings.Contains(segment, ".") {
			return nil, fmt.Errorf("segment %q is only dots beside its values", segment)
		}
	}
	return pieces, nil
}

// compileParameter reads the value of a parameter. In an expression of the provider's
// own language a value must stand in quotes, or it could say more than a value.
func compileParameter(text string, known []string) ([]piece, error) {
	pieces, err := split(text, inQuery, known)
	if err != nil || len(pieces) == 1 {
		return escapedLiterals(pieces), err
	}
	for i := range pieces {
		p := &pieces[i]
		if p.name == "" || slices.Contains(numericNames, p.name) {
			continue
		}
		if !quoted(pieces, i) {
			return nil, fmt.Errorf("{%s} must be the whole value or stand in quotes", p.name)
		}
		p.where = inQuote
	}
	return escapedLiterals(pieces), nil
}

func quoted(pieces []piece, i int) bool {
	if i == 0 || i == len(pieces)-1 {
		return false
	}
	before, after := pieces[i-1].literal, pieces[i+1].literal
	if before == "" || after == "" {
		return false
	}
	quote := before[len(before)-1]
	return (quote == '\'' || quote == '"') && after[0] == quote
}

func escapedLiterals(pieces []piece) []piece {
	for i := range pieces {
		pieces[i].literal = escapeQuery(pieces[i].literal)
	}
	return pieces
}

// jsonToken is a string, or what stands between strings.
var jsonToken = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[^"]+|"`)

// compileJSON reads a JSON text with placeholders: of any kind within the strings, not
// in names, and numeric ones in place of numbers.
func compileJSON(text string, known []string) ([]piece, error) {
	numbers := slices.DeleteFunc(slices.Clone(known), func(name string) bool { return !slices.Contains(numericNames, name) })
	var pieces []piece
	tokens := jsonToken.FindAllString(text, -1)
	for i, token := range tokens {
		where, allowed := inJSON, known
		switch {
		case !strings.HasPrefix(token, `"`):
			where, allowed = inText, numbers
		case i+1 < len(tokens) && strings.HasPrefix(strings.TrimSpace(tokens[i+1]), ":") && placeholderPattern.MatchString(token):
			return nil, fmt.Errorf("the name %s has a placeholder", clip(token))
		}
		compiled, err := split(token, where, allowed)
		if err != nil {
			return nil, fmt.Errorf("in %s: %w", clip(token), err)
		}
		pieces = append(pieces, compiled...)
	}
	return pieces, checkJSON(pieces, known)
}

// checkJSON sees whether it is a JSON object once there are values.
func checkJSON(pieces []piece, known []string) error {
	sample := values{}
	for _, name := range known {
		sample[name] = "1"
	}
	text, err := expand(pieces, sample)
	if err != nil {
		return err
	}
	var document map[string]any
	if json.Unmarshal([]byte(text), &document) != nil || document == nil {
		return errors.New("isn't a JSON object")
	}
	return nil
}

// clip shortens text for an error.
func clip(text string) string {
	const longest = 60
	if len(text) > longest {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(text[:longest], ""))
	}
	return fmt.Sprintf("%q", text)
}
