package settings

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// strangeCharacter finds the first character that has no place in a file that
// people read and review: it could end up in headers and logs, make a line look
// like another one, or break lines where an editor doesn't. Line 0: none.
func strangeCharacter(data []byte) (line int, what string) {
	line = 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return line, "a byte that is not UTF-8"
		case r == '\n':
			line++
		case r == '\t', r == '\r' && bytes.HasPrefix(data[i+1:], []byte("\n")), r == byteOrderMark && i == 0:
		case isInvisible(r) || r == 0xfffe || r == 0xffff:
			return line, fmt.Sprintf("the control or invisible character %U", r)
		}
		i += size
	}
	return 0, ""
}

const byteOrderMark = 0xfeff

// setText converts the text of a value, from the file or the environment.
// Durations have a unit; keys that end in _seconds or _ttl also take plain
// seconds. Lists are comma-separated, or one value.
func setText(out reflect.Value, text string, f field) error {
	switch out.Interface().(type) {
	case time.Duration:
		return setDuration(out, text, f.key)
	case time.Time:
		return setTime(out, text)
	case string:
		if err := checkText(text); err != nil {
			return err
		}
		out.SetString(text)
	case []string:
		return setList(out, text, f)
	case bool:
		return setBool(out, text)
	case int:
		n, err := strconv.ParseInt(text, 10, strconv.IntSize)
		if err != nil {
			return fmt.Errorf("must be a whole decimal number, not %q", clip(text))
		}
		out.SetInt(n)
	default:
		return fmt.Errorf("can't be set from text")
	}
	return nil
}

func setDuration(out reflect.Value, text, key string) error {
	plain := strings.HasSuffix(key, "_seconds") || strings.HasSuffix(key, "_ttl")
	if n, err := strconv.ParseInt(text, 10, 32); err == nil && (plain || n == 0) && n >= 0 {
		out.SetInt(n * int64(time.Second))
		return nil
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil && plain:
		return fmt.Errorf("must be seconds or a duration such as 30s or 1h, not %q", clip(text))
	case err != nil:
		return fmt.Errorf("must be a duration with its unit, such as 30s or 1h, not %q", clip(text))
	case d < 0:
		return errors.New("must not be negative")
	}
	out.SetInt(int64(d))
	return nil
}

func setTime(out reflect.Value, text string) error {
	if text == "" {
		out.Set(reflect.ValueOf(time.Time{}))
		return nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil { // to its end
		out.Set(reflect.ValueOf(day.AddDate(0, 0, 1)))
		return nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		out.Set(reflect.ValueOf(t.UTC()))
		return nil
	}
	return fmt.Errorf("must be a date such as 2027-01-31 or a time such as 2027-01-31T18:00:00Z, not %q", clip(text))
}

func setBool(out reflect.Value, text string) error {
	switch strings.ToLower(text) {
	case "true", "1", "yes", "on":
		out.SetBool(true)
	case "false", "0", "no", "off":
		out.SetBool(false)
	default:
		return fmt.Errorf("must be true or false, not %q", clip(text))
	}
	return nil
}

func setList(out reflect.Value, text string, f field) error {
	values := []string{text}
	if f.comma {
		values = strings.Split(text, ",")
	}
	list := make([]string, 0, len(values))
	for _, v := range values {
		v = strings.TrimSpace(v)
		if err := checkText(v); err != nil {
			return err
		}
		if v != "" {
			list = append(list, v)
		}
	}
	out.Set(reflect.ValueOf(list))
	return nil
}

// checkText refuses what no value of ours may hold, and never repeats it: it
// may be a secret that should have been a path.
func checkText(text string) error {
	switch {
	case strings.Contains(text, "-----BEGIN"):
		return errors.New("holds a certificate or key: write it to a file and give the path")
	case len(text) > 4096:
		return errors.New("is longer than 4096 bytes")
	case !utf8.ValidString(text) || strings.ContainsFunc(text, isInvisible):
		return errors.New("holds a control character, a line break or an invisible character: remove it")
	}
	return nil
}

// isInvisible finds what breaks a line, or makes a text look like another one:
// control characters, and format characters such as those for writing from
// right to left.
func isInvisible(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// clip shortens what is repeated in a message.
func clip(text string) string {
	const most = 60
	clean := strings.Map(func(r rune) rune {
		if isInvisible(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, text)
	if runes := []rune(clean); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return clean
}

// describe names a type for people.
func describe(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a duration"
	case t == reflect.TypeFor[time.Time]():
		return "a date"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int:
		return "a whole number"
	case t.Kind() == reflect.Slice:
		return "a list"
	default:
		return "text"
	}
}

// nearest returns the candidate that at most two typing mistakes make of the
// word, or "".
func nearest(word string, candidates []string) string {
	best, least := "", 3
	for _, c := range candidates {
		if len(word) > 64 || len(c) < 3 {
			continue
		}
		if d := distance(word, c); d < least && d < len(c)-1 {
			best, least = c, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
