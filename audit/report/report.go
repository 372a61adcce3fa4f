// Package report tells people what events say.
//
// Whoever sends a request chooses some of the text in its events. What is written
// here can't move the cursor of a terminal or forge a line: what isn't printable is
// written as an escape, such as \u001b. NDJSON alone is as it was recorded.
package report

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/sallyport/sallyport/audit"
)

// printable writes what a terminal or a reader could be deceived with as an
// escape: control characters, line ends, marks that turn the direction of text.
func printable(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !unprintable(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// policyOf is the policy that a reason code belongs to.
func policyOf(code string) string {
	policy, _, _ := strings.Cut(code, ".")
	return policy
}

// principal is who asked; without members where that isn't known.
func principal(e *audit.Event) *audit.Principal {
	if e.Metadata.Principal == nil {
		return new(audit.Principal)
	}
	return e.Metadata.Principal
}
