package verify

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
)

// WriteHuman writes the report for people.
func (r *Report) WriteHuman(w io.Writer) error {
	var b strings.Builder
	worm := "WORM"
	if !r.WORM {
		worm = "not WORM: who may write there can also change and delete"
	}
	fmt.Fprintf(&b, "archive  %s (%s)\n", r.Store, worm)
	if r.From != "" || r.To != "" {
		fmt.Fprintf(&b, "days     %s to %s, in UTC\n", or(r.From, "the first"), or(r.To, "the last"))
	}
	for _, l := range r.Logs {
		fmt.Fprintf(&b, "log      %s\n", or(l.Origin, l.Writer))
		if l.Events == 0 {
			fmt.Fprintf(&b, "         no verified events\n")
			continue
		}
		fmt.Fprintf(&b, "         %d events (%d to %d) under %d seals, %s to %s\n", l.Events, l.From, l.Size-1, l.Seals,
			l.First.UTC().Format(time.DateTime), l.Last.UTC().Format(time.DateTime))
		fmt.Fprintf(&b, "         signed by %s\n", strings.Join(l.Keys, ", then "))
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s [%s] %s\n", strings.ToUpper(string(f.Severity)), f.Check, strings.ReplaceAll(f.Message, "\n", " "))
	}
	if more := r.Found - len(r.Findings); more > 0 {
		fmt.Fprintf(&b, "… and %d more\n", more)
	}
	if r.Sample < 1 && r.Sample > 0 {
		fmt.Fprintf(&b, "Of the single objects %.3g %% were read.\n", 100*r.Sample)
	}
	fmt.Fprintf(&b, "%s\n", r.verdict())
	_, err := io.WriteString(w, printable(b.String()))
	return err
}

// printable replaces what a terminal could be deceived with: names of objects are
// anybody's who can write to the archive. That line ends are ours is seen to where
// findings are made.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

func logs(n int) string {
	if n == 1 {
		return "1 log"
	}
	return fmt.Sprintf("%d logs", n)
}

// verdict is the report in one line.
func (r *Report) verdict() string {
	count := fmt.Sprintf("%d events in %s, %d objects, %.1f s", r.Events, logs(len(r.Logs)), r.Objects, r.Seconds)
	switch {
	case r.has(Tampered):
		verdict := "NOT INTACT: something was changed, added or taken away. " + count
		if r.Failed != "" {
			verdict += ". And not everything could be read: " + r.Failed
		}
		return verdict
	case r.Failed != "":
		return "NOT FOUND OUT: " + r.Failed
	case r.has(Incomplete):
		return "INCOMPLETE: what is there is intact, but something hasn't come yet. " + count
	case r.Events == 0:
		return "NOTHING TO VERIFY: the logs have no events in this period, not even a heartbeat. " + count
	case r.has(Warning):
		return "Intact, with warnings. " + count
	}
	return "Intact. " + count
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
