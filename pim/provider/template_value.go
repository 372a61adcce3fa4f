package provider

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// location is where a value is in an answer; empty: the answer itself.
type location []string

var locationPattern = regexp.MustCompile(`^[^.,{}\s]+(\.[^.,{}\s]+){0,15}$`)

func compileLocation(text string) (location, error) {
	switch {
	case text == "":
		return nil, nil
	case len(text) > 1024 || !locationPattern.MatchString(text):
		return nil, fmt.Errorf("%s isn't names with dots between them", clip(text))
	}
	return strings.Split(text, "."), nil
}

// in returns the value there; nil if it is missing or null.
func (l location) in(document any) any {
	for _, name := range l {
		switch within := document.(type) {
		case map[string]any:
			document = within[name]
		case []any:
			i, err := strconv.ParseUint(name, 10, 16)
			if err != nil || i >= uint64(len(within)) {
				return nil
			}
			document = within[i]
		default:
			return nil
		}
	}
	return document
}

func (l location) String() string {
	if len(l) == 0 {
		return "the answer"
	}
	return strings.Join(l, ".")
}

// text returns the value there as text; empty if it is missing.
func (l location) text(document any) (string, error) {
	switch value := l.in(document).(type) {
	case nil:
		return "", nil
	case string:
		return value, nil
	case json.Number:
		return value.String(), nil
	case bool:
		return strconv.FormatBool(value), nil
	}
	return "", fmt.Errorf("%w: %s is neither text nor a number", ErrAnswer, l)
}

// timeLocation is where a time is: one place, or three for the date, the time of the
// day and the time zone.
type timeLocation []location

func compileTimeLocation(text string) (timeLocation, error) {
	if text == "" {
		return nil, nil
	}
	parts := strings.Split(text, ",")
	if len(parts) != 1 && len(parts) != 3 {
		return nil, fmt.Errorf("%s is neither one place nor three, of a date, a time of the day and a time zone", clip(text))
	}
	var compiled timeLocation
	for _, part := range parts {
		l, err := compileLocation(strings.TrimSpace(part))
		if err != nil || l == nil {
			return nil, fmt.Errorf("%s isn't names with dots between them", clip(part))
		}
		compiled = append(compiled, l)
	}
	return compiled, nil
}

// in returns the time there; zero if it is missing.
func (l timeLocation) in(document any) (time.Time, error) {
	if len(l) == 3 {
		return l.local(document)
	}
	if len(l) == 0 {
		return time.Time{}, nil
	}
	at, err := timeOf(l[0].in(document))
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %s %w", ErrAnswer, l[0], err)
	}
	return at, nil
}

func (l timeLocation) local(document any) (time.Time, error) {
	var parts [3]string
	for i := range l {
		text, err := l[i].text(document)
		if err != nil || text == "" {
			return time.Time{}, err
		}
		parts[i] = text
	}
	zone, err := loadZone(parts[2])
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %s %w", ErrAnswer, l[2], err)
	}
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02 15:04:05"} {
		if at, err := time.ParseInLocation(layout, parts[0]+" "+parts[1], zone); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%w: %s and %s aren't a date and a time of the day: %s", ErrAnswer, l[0], l[1], clip(parts[0]+" "+parts[1]))
}

func loadZone(name string) (*time.Location, error) {
	if name == "" || name == "Local" { // which are this machine's
		return nil, fmt.Errorf("isn't a time zone: %s", clip(name))
	}
	return time.LoadLocation(name)
}

// farthest is where Unix seconds end and other units begin.
const farthest = 1 << 33 // the year 2242

// timeOf reads RFC 3339 or Unix seconds.
func timeOf(value any) (time.Time, error) {
	switch value := value.(type) {
	case nil:
		return time.Time{}, nil
	case json.Number:
		return unixTime(value.String())
	case string:
		if at, err := time.Parse(time.RFC3339, value); err == nil {
			return at, nil
		}
		return unixTime(value)
	}
	return time.Time{}, errors.New("isn't a time")
}

// unixTime doesn't guess at other units: milliseconds read as seconds would be a grant
// that never ends.
func unixTime(text string) (time.Time, error) {
	whole, fraction, _ := strings.Cut(text, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.Trim(fraction, "0123456789") != "" || seconds < 0 || seconds > farthest {
		return time.Time{}, fmt.Errorf("isn't a time in RFC 3339 or Unix seconds: %s", clip(text))
	}
	return time.Unix(seconds, 0), nil
}

// decode reads one JSON value; numbers stay as they are written.
func decode(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var document any
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: there is something behind the JSON value", ErrAnswer)
	}
	return document, nil
}
