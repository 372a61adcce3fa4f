package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sallyport/sallyport/audit"
)

// The columns of Human: all but the last have a width, so that lines that are
// written one after the other align.
var columns = [...]struct {
	name  string
	width int
}{
	{"TIME (UTC)", 23}, {"TYPE", 9}, {"STATUS", 9}, {"WHO", 16}, {"WHAT", 28}, {"EVENT", 36}, {"WHY", 60},
}

// Heading writes the line above those of Human.
func Heading(w io.Writer) error {
	var cells [len(columns)]string
	for i := range columns {
		cells[i] = columns[i].name
	}
	return row(w, cells)
}

// Human writes one line for each event, in columns that are the same at every
// call. What is too long for its column is cut; the id of the event never is.
func Human(w io.Writer, events ...*audit.Event) error {
	for _, e := range events {
		status, who, what, why := summary(e)
		cells := [len(columns)]string{e.Timestamp.Format("2006-01-02 15:04:05.000"), e.EventType, status, who, what, e.EventID, why}
		if err := row(w, cells); err != nil {
			return err
		}
	}
	return nil
}

// summary is what an event says in a few words.
func summary(e *audit.Event) (status, who, what, why string) {
	m := &e.Metadata
	status, who, what = e.Status, e.UserID, e.Action
	switch e.EventType {
	case "decision":
		what = cmp.Or(e.ToolName, listed(e.Action, m.Target))
		why = m.Reason
		if len(m.Shadow) > 0 {
			why += " (shadow: " + strings.Join(m.Shadow, " ") + ")"
		}
	case "outcome":
		if _, known := endings[status]; !known {
			status, why = "refused", e.Status+", "
		}
		what = "of " + end(m.DecisionID, 12)
		why += "HTTP " + strconv.Itoa(m.HTTPStatus) + join(", flags ", m.Flags)
	case "denials":
		who, what, why = m.Source, strconv.FormatInt(m.Count, 10)+" times", m.Reason
	case "elevation":
		what = listed(e.Action+" "+e.ToolName, join("request ", end(m.RequestID, 12)))
		why = listed(m.Why, m.Comment, join("failed: ", m.Failed))
	case "operator", "service":
		why = listed(m.Why, m.Cause, m.Version, join("failed: ", m.Failed))
	case "log":
		why = e.Log
	}
	return status, who, what, why
}

// end is the last n bytes of an id, which tell ids apart better than their start.
func end(id string, n int) string {
	if len(id) <= n {
		return id
	}
	return "…" + strings.ToValidUTF8(id[len(id)-n:], "")
}

func row(w io.Writer, cells [len(columns)]string) error {
	var line strings.Builder
	for i, cell := range cells {
		cell = printable(cell)
		last, width := i == len(cells)-1, columns[i].width
		if n := utf8.RuneCountInString(cell); n > width {
			cell = string([]rune(cell)[:width-1]) + "…"
		} else if !last {
			cell += strings.Repeat(" ", width-n)
		}
		line.WriteString(cell)
		if !last {
			line.WriteByte(' ')
		}
	}
	_, err := fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	return err
}

// Show writes all members of one event, as indented JSON: values as they were
// recorded, except that what isn't printable is escaped.
func Show(w io.Writer, e *audit.Event) error {
	var indented bytes.Buffer
	if err := json.Indent(&indented, e.Raw, "", "  "); err != nil {
		return fmt.Errorf("event %s: %w", e.EventID, err)
	}
	indented.WriteByte('\n')
	// Line ends are those of Indent: within strings JSON has none, and none but
	// strings hold what is escaped here.
	lines := strings.SplitAfter(indented.String(), "\n")
	for i, line := range lines {
		text, newline := strings.CutSuffix(line, "\n")
		lines[i] = jsonPrintable(text)
		if newline {
			lines[i] += "\n"
		}
	}
	_, err := io.WriteString(w, strings.Join(lines, ""))
	return err
}

// jsonPrintable is printable with the escapes of JSON, so that the text remains
// the same JSON.
func jsonPrintable(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !unprintable(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
