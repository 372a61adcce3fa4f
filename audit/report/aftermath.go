package report

import (
	"strconv"

	"github.com/sallyport/sallyport/audit"
)

// endings say what a status of an outcome means. Any other one is the reason of a
// refusal.
var endings = map[string]string{
	"executed":  "The server executed it, and retries with the same key don't execute it again.",
	"replayed":  "An earlier request with the same key was executed: its response was repeated, and the server was not asked again.",
	"released":  "It was not executed, for certain: the key can be used again.",
	"unknown":   "Whether the server executed it is not known.",
	"passed":    "It went to the server; there was no key that a retry would be known by.",
	"succeeded": "The client got a response without an error.",
	"failed":    "The client got an error.",
}

// aftermath says what became of the request.
func (p *page) aftermath(decision *audit.Event, related []*audit.Event) error {
	p.line("\nWhat became of it")
	outcomes := 0
	var others []*audit.Event
	for _, e := range related {
		switch {
		case e.EventID == decision.EventID:
		case e.EventType == "outcome" && e.Metadata.DecisionID == decision.EventID:
			p.outcome(e)
			outcomes++
		case e.CorrelationID != "" && e.CorrelationID == decision.CorrelationID:
			others = append(others, e)
		}
	}
	switch {
	case outcomes > 0:
	case decision.Status == "allow":
		p.line("  No outcome is among the events at hand: it may not have ended yet, or ended without a record.")
	default:
		p.line("  It was refused, so the server didn't see it.")
	}
	if len(others) == 0 {
		return nil
	}
	p.line("\nOther events with this request id")
	return Human(&p.text, others...)
}

func (p *page) outcome(e *audit.Event) {
	m := &e.Metadata
	if ending, ok := endings[e.Status]; ok {
		p.line("  %s", ending)
	} else {
		p.line("  It was refused after the decision: %s (%s)", p.meaning(e.Status), e.Status)
	}
	p.field("outcome", e.EventID)
	if m.HTTPStatus != 0 {
		p.field("answer", "HTTP "+strconv.Itoa(m.HTTPStatus)+", "+strconv.FormatInt(m.BytesOut, 10)+" bytes")
	}
	p.field("took", microseconds(m.DurationUS))
	p.field("reported", join("by ", m.Source)+join(": ", m.Details)+join(", flags ", m.Flags))
	p.field("digest", join("SHA-256 of the response: ", m.ResponseDigest))
}
