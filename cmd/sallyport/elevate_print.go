package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// elevateItem is a request as the API answers.
type elevateItem struct {
	ID              string          `json:"request_id"`
	Kind            string          `json:"kind"`
	Status          string          `json:"status"`
	URL             string          `json:"approval_url"`
	Server          string          `json:"server"`
	Tool            string          `json:"tool"`
	Reason          string          `json:"reason"`
	DurationSeconds int64           `json:"duration_seconds"`
	BreakGlass      bool            `json:"break_glass"`
	Requester       string          `json:"requester"`
	RequesterPerson string          `json:"requester_person"`
	PrincipalID     string          `json:"principal_id"`
	RequestedAt     string          `json:"requested_at"`
	ExpiresAt       string          `json:"expires_at"`
	StartsAt        string          `json:"starts_at"`
	DecidedAt       string          `json:"decided_at"`
	DecidedBy       string          `json:"decided_by"`
	Comment         string          `json:"comment"`
	EndedAt         string          `json:"ended_at"`
	EndedBy         string          `json:"ended_by"`
	Why             string          `json:"why"`
	SpentAt         string          `json:"spent_at"`
	SpentBy         string          `json:"spent_by"`
	Provider        string          `json:"provider"`
	Fingerprint     string          `json:"fingerprint"`
	Arguments       json.RawMessage `json:"arguments"`
	Request         json.RawMessage `json:"request"`

	raw json.RawMessage // as it was answered
}

func itemOf(text json.RawMessage, err error) (*elevateItem, error) {
	if err != nil {
		return nil, err
	}
	item := &elevateItem{raw: text}
	if err := json.Unmarshal(text, item); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if item.ID == "" || item.Status == "" {
		return nil, fmt.Errorf("read answer: it is no request for privileged access")
	}
	return item, nil
}

// elevatePrinter writes what the commands show.
type elevatePrinter struct {
	out    io.Writer
	asJSON bool
}

// line writes JSON as one line.
func (p *elevatePrinter) line(raw json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return err
	}
	_, err := fmt.Fprintln(p.out, b.String())
	return err
}

// item shows one request in full.
func (p *elevatePrinter) item(item *elevateItem) error {
	if p.asJSON {
		return p.line(item.raw)
	}
	return item.describe(p.out)
}

// list shows many, a line each.
func (p *elevatePrinter) list(items []*elevateItem) error {
	if p.asJSON {
		for _, item := range items {
			if err := p.line(item.raw); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATUS\tKIND\tTOOL\tREQUESTER\tREQUESTED\tREASON")
	for _, i := range items {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", visible(i.ID), visible(i.Status), visible(i.kind()),
			visible(i.Tool+" of "+i.Server), visible(i.who()), visible(i.RequestedAt), visible(shortened(i.Reason)))
	}
	return w.Flush()
}

func (i *elevateItem) kind() string {
	if i.BreakGlass {
		return i.Kind + " (break-glass)"
	}
	return i.Kind
}

// who is the requester; the person alone doesn't say with which account.
func (i *elevateItem) who() string {
	name := cmp.Or(i.Requester, i.PrincipalID)
	if i.RequesterPerson != "" && i.RequesterPerson != name {
		return name + " (" + i.RequesterPerson + ")"
	}
	return name
}

// describe writes everything about a request, and the exact call last, as it is what an
// approver answers for.
func (i *elevateItem) describe(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, line := range [...]struct{ name, value string }{
		{"Request", i.ID}, {"Status", i.Status}, {"Kind", i.kind()}, {"Tool", i.Tool + " of " + i.Server},
		{"Requester", i.who()}, {"Principal", i.PrincipalID}, {"Reason", i.Reason},
		{"Duration", (time.Duration(i.DurationSeconds) * time.Second).String()},
		{"Requested", i.RequestedAt}, {"Starts", i.StartsAt}, {"Expires", i.ExpiresAt},
		{"Decided", at(i.DecidedAt, i.DecidedBy)}, {"Comment", i.Comment},
		{"Ended", at(i.EndedAt, i.EndedBy)}, {"Why", i.Why}, {"Spent", at(i.SpentAt, i.SpentBy)},
		{"Provider", i.Provider}, {"Decide at", pendingURL(i)}, {"Fingerprint", i.Fingerprint},
	} {
		if line.value != "" {
			fmt.Fprintf(w, "%s:\t%s\n", line.name, visible(line.value))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := describeJSON(out, "Arguments of the call", i.Arguments); err != nil {
		return err
	}
	return describeJSON(out, "The call", i.Request)
}

// at is a time, and by whom; empty without a time.
func at(when, who string) string {
	if when == "" || who == "" {
		return when
	}
	return when + " by " + who
}

func pendingURL(i *elevateItem) string {
	if i.Status != "pending" {
		return ""
	}
	return i.URL
}

func describeJSON(out io.Writer, title string, raw json.RawMessage) error {
	if len(raw) == 0 {
		return nil
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "  ", "  "); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s:\n", title)
	for line := range strings.Lines(b.String()) {
		text := strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(text, " ") {
			text = "  " + text // the first one, which isn't indented
		}
		fmt.Fprintln(out, visible(text))
	}
	return nil
}

// visible is a stranger's text for a terminal: what would move the cursor, hide or
// reorder text is shown as its number. An approver must see what is approved.
func visible(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}

// shortened is a text that fits into a table.
func shortened(text string) string {
	const longest = 60
	runes := []rune(text)
	if len(runes) <= longest {
		return text
	}
	return string(runes[:longest-1]) + "…"
}
