package report

import (
	"encoding/csv"
	"encoding/hex"
	"io"
	"iter"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/audit"
)

// Counts say what an export holds and what it leaves out.
type Counts struct {
	Written int
	LeftOut map[string]int // by event type: what the format has no place for
}

// export writes events one after the other, so that as many as there are need no
// more memory than one. An error of events ends it.
func export(events iter.Seq2[*audit.Event, error], write func(*audit.Event) (written bool, err error)) (Counts, error) {
	counts := Counts{LeftOut: make(map[string]int)}
	for e, err := range events {
		if err != nil {
			return counts, err
		}
		written, err := write(e)
		switch {
		case err != nil:
			return counts, err
		case written:
			counts.Written++
		default:
			counts.LeftOut[e.EventType]++
		}
	}
	return counts, nil
}

// NDJSON writes each event as the line that was recorded, byte for byte: its leaf
// hash can be computed from it. It leaves nothing out.
func NDJSON(w io.Writer, events iter.Seq2[*audit.Event, error]) (Counts, error) {
	var line []byte
	return export(events, func(e *audit.Event) (bool, error) {
		line = append(append(line[:0], e.Raw...), '\n')
		_, err := w.Write(line)
		return true, err
	})
}

// csvColumns are the columns of CSV. New ones are added at the end.
var csvColumns = [...]struct {
	name  string
	value func(*audit.Event) string
}{
	{"event_id", func(e *audit.Event) string { return e.EventID }},
	{"timestamp", func(e *audit.Event) string { return e.Timestamp.Format(audit.TimeFormat) }},
	{"event_type", func(e *audit.Event) string { return e.EventType }},
	{"status", func(e *audit.Event) string { return e.Status }},
	{"reason", func(e *audit.Event) string { return e.Metadata.Reason }},
	{"detail", func(e *audit.Event) string { return e.Metadata.Detail }},
	{"user_id", func(e *audit.Event) string { return e.UserID }},
	{"principal_id", func(e *audit.Event) string { return principal(e).ID }},
	{"issuer", func(e *audit.Event) string { return principal(e).Issuer }},
	{"client", func(e *audit.Event) string { return principal(e).Client }},
	{"tenant", func(e *audit.Event) string { return principal(e).Tenant }},
	{"actor", func(e *audit.Event) string { return principal(e).Actor }},
	{"token_id", func(e *audit.Event) string { return principal(e).TokenID }},
	{"action", func(e *audit.Event) string { return e.Action }},
	{"server", func(e *audit.Event) string { return e.Metadata.Server }},
	{"tool_name", func(e *audit.Event) string { return e.ToolName }},
	{"risk", func(e *audit.Event) string { return e.Metadata.Risk }},
	{"target", func(e *audit.Event) string { return e.Metadata.Target }},
	{"fingerprint", func(e *audit.Event) string { return e.Metadata.Fingerprint }},
	{"key_hash", func(e *audit.Event) string { return e.Metadata.KeyHash }},
	{"policies_evaluated", func(e *audit.Event) string { return strings.Join(e.Metadata.PoliciesEvaluated, " ") }},
	{"shadow", func(e *audit.Event) string { return strings.Join(e.Metadata.Shadow, " ") }},
	{"client_address", func(e *audit.Event) string { return e.Metadata.ClientAddress }},
	{"authority", func(e *audit.Event) string { return e.Metadata.Authority }},
	{"correlation_id", func(e *audit.Event) string { return e.CorrelationID }},
	{"latency_us", func(e *audit.Event) string { return number(e.Metadata.LatencyUS) }},
	{"decision_id", func(e *audit.Event) string { return e.Metadata.DecisionID }},
	{"source", func(e *audit.Event) string { return e.Metadata.Source }},
	{"http_status", func(e *audit.Event) string { return number(int64(e.Metadata.HTTPStatus)) }},
	{"duration_us", func(e *audit.Event) string { return number(e.Metadata.DurationUS) }},
	{"response_digest", func(e *audit.Event) string { return e.Metadata.ResponseDigest }},
	{"count", func(e *audit.Event) string { return number(e.Metadata.Count) }},
	{"why", func(e *audit.Event) string { return e.Metadata.Why }},
	{"subject", func(e *audit.Event) string { return string(e.Metadata.Subject) }},
	{"failed", func(e *audit.Event) string { return e.Metadata.Failed }},
	{"log", func(e *audit.Event) string { return e.Log }},
	{"seq", sequence},
	{"leaf_hash", leafHash},
}

// CSV writes a header and one record for each event, as RFC 4180 says, with the
// columns of csvColumns: empty where an event has no such member, lists separated
// by spaces. A spreadsheet must not take text for a formula: a cell that begins
// like one gets an apostrophe before it. What isn't printable is escaped. It
// leaves no event out.
func CSV(w io.Writer, events iter.Seq2[*audit.Event, error]) (Counts, error) {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	cells := make([]string, len(csvColumns))
	for i := range csvColumns {
		cells[i] = csvColumns[i].name
	}
	if err := out.Write(cells); err != nil {
		return Counts{}, err
	}
	counts, err := export(events, func(e *audit.Event) (bool, error) {
		for i := range csvColumns {
			cells[i] = cell(csvColumns[i].value(e))
		}
		return true, out.Write(cells)
	})
	out.Flush()
	if err == nil {
		err = out.Error()
	}
	return counts, err
}

// cell is text that a spreadsheet shows and doesn't compute.
func cell(s string) string {
	if s != "" && strings.IndexByte("=+-@\t\r\n", s[0]) >= 0 {
		s = "'" + s
	}
	return printable(s)
}

func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// sequence is empty for an event that is not sealed: 0 is the first of a log.
func sequence(e *audit.Event) string {
	if e.Log == "" {
		return ""
	}
	return strconv.FormatUint(e.Seq, 10)
}

// leafHash is empty for an event that is not sealed: sealing changes its bytes.
func leafHash(e *audit.Event) string {
	if e.Log == "" {
		return ""
	}
	hash := e.LeafHash()
	return hex.EncodeToString(hash[:])
}
