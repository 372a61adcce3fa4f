package authz

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/authz/catalogue"
)

// record writes the event of a decision to the journal. It holds ids and digests:
// never tokens or headers, and of arguments only the values that the catalogue
// names.
func (e *Engine) record(req *Request, d *Decision) error {
	if !d.Allow && e.counted(req, d) {
		return nil
	}
	buf, ok := e.records.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
	}
	*buf = appendRecord((*buf)[:0], req, d)
	err := e.journal.Append(*buf, classOf(d))
	e.records.Put(buf)
	return err
}

// counted reports whether a denial needs no record of its own; see audit.Strangers.
func (e *Engine) counted(req *Request, d *Decision) bool {
	switch {
	case d.Principal == nil:
		return e.strangers.Counted(audit.Network(req.ClientAddress), d.Reason.Code, d.Time)
	case d.Reason.Code == "rate_limit.exceeded":
		return e.strangers.Counted(d.Principal.ID, d.Reason.Code, d.Time)
	}
	return false
}

// classOf is what the record of a decision is owed.
func classOf(d *Decision) audit.Class {
	risk := catalogue.Read
	if d.Tool != nil {
		risk = d.Tool.Risk
	}
	switch {
	case !d.Allow && risk == catalogue.Privileged:
		return audit.Synced | audit.Single | audit.Reserve
	case !d.Allow:
		return audit.Single | audit.Reserve
	case risk != catalogue.Read:
		return audit.Synced | audit.Single
	}
	return 0
}

// appendRecord appends the decision as an event; see audit.Event for its members.
func appendRecord(b []byte, req *Request, d *Decision) []byte {
	b = append(b, `{"event_id":"`...)
	b = append(b, d.ID...)
	b = append(b, `","timestamp":"`...)
	b = d.Time.UTC().AppendFormat(b, audit.TimeFormat)
	b = append(b, `","event_type":"decision"`...)
	b = appendMember(b, "correlation_id", req.ID)
	p := d.Principal
	if p != nil {
		b = appendMember(b, "user_id", cmp.Or(p.Subject, p.Client))
	}
	if op := d.Operation; op != nil {
		b = appendMember(b, "tool_name", knownName(op.Tool))
		b = appendMember(b, "action", op.Method)
	} else if d.Refused != nil {
		b = appendMember(b, "action", knownName(d.Refused.Method))
	}
	b = append(b, `,"status":"`...)
	b = append(b, d.Effect()...)
	b = append(b, `","metadata":{"reason":"`...)
	b = append(b, d.Reason.Code...)
	b = append(b, '"')
	if !strings.HasPrefix(d.Reason.Code, "operation.") && !strings.HasPrefix(d.Reason.Code, "schema.") {
		b = appendMember(b, "detail", d.Detail) // those two quote what the caller sent
	}
	if p != nil {
		b = append(b, `,"principal":{"id":"`...)
		b = append(b, p.ID...)
		b = append(b, '"')
		b = appendMember(b, "issuer", p.Issuer)
		b = appendMember(b, "subject", p.Subject)
		b = appendMember(b, "client", p.Client)
		b = appendMember(b, "tenant", p.Tenant)
		b = appendMember(b, "actor", p.Actor)
		b = appendMember(b, "token_id", p.TokenID)
		b = append(b, '}')
	}
	if d.Server != nil {
		b = appendMember(b, "server", d.Server.Name)
	}
	b = appendCall(b, d)
	b = appendElevation(b, d)
	b = appendStrings(b, "policies_evaluated", d.Evaluated)
	if len(d.Shadow) != 0 {
		b = appendStrings(b, "shadow", d.Shadow)
	}
	b = appendMember(b, "client_address", req.ClientAddress)
	b = appendMember(b, "authority", req.Authority)
	b = append(b, `,"latency_us":`...)
	b = strconv.AppendInt(b, int64(d.Took/time.Microsecond), 10)
	return append(b, "}}\n"...)
}

// appendCall appends what is called, as digests.
func appendCall(b []byte, d *Decision) []byte {
	if d.Tool != nil {
		b = appendMember(b, "risk", d.Tool.Risk.String())
	}
	if op := d.Operation; op != nil {
		b = appendMember(b, "target", op.Target)
		b = append(b, `,"fingerprint":"`...)
		b = hex.AppendEncode(b, op.Fingerprint[:])
		b = append(b, '"')
	}
	if d.Tool != nil && len(d.Tool.RecordArguments) != 0 && d.Operation != nil {
		b = appendArguments(b, d.Tool, d.Operation.Arguments)
	}
	if d.Claim != nil {
		b = append(b, `,"key_hash":"`...)
		b = hex.AppendEncode(b, d.Claim.Key[:])
		b = append(b, '"')
		b = appendMember(b, "key_source", d.Claim.Source)
	}
	return b
}

// appendElevation appends what elevated the caller, and the approval that was found.
func appendElevation(b []byte, d *Decision) []byte {
	if e := &d.Elevated; e.Source != "" {
		b = append(b, `,"elevation":{"source":"`...)
		b = append(b, e.Source...)
		b = append(b, '"')
		b = appendMember(b, "id", e.ID)
		if !e.Until.IsZero() {
			b = append(b, `,"until":"`...)
			b = e.Until.UTC().AppendFormat(b, audit.TimeFormat)
			b = append(b, '"')
		}
		b = append(b, '}')
	}
	return appendMember(b, "approval_id", d.Approval)
}

// maxValue bounds a recorded argument, in bytes of JSON.
const maxValue = 256

// appendArguments appends the values that the catalogue names.
func appendArguments(b []byte, tool *catalogue.Tool, arguments map[string]any) []byte {
	recorded := make(map[string]any)
	for _, name := range tool.RecordArguments {
		value, ok := arguments[name]
		if !ok {
			continue
		}
		text, err := json.Marshal(value)
		switch {
		case err != nil || len(text) > maxValue:
			recorded[name] = "[too long]"
		case tool.PIIPolicy != catalogue.PIINone && personal(text):
			recorded[name] = "[masked]"
		default:
			recorded[name] = json.RawMessage(text)
		}
	}
	text, err := json.Marshal(recorded)
	if err != nil || len(recorded) == 0 {
		return b
	}
	return append(append(b, `,"arguments":`...), text...)
}

// personal reports whether a value may tell who somebody is: it has an @, as
// addresses do, or as many digits as numbers of persons, phones, cards and
// accounts have.
func personal(value []byte) bool {
	digits := 0
	for _, c := range value {
		if c >= '0' && c <= '9' {
			digits++
		}
		if c == '@' || digits >= 9 {
			return true
		}
	}
	return false
}

// knownName leaves out what can't be the name of a tool or method: a token that
// was sent as one must not be kept.
func knownName(s string) string {
	if len(s) > 64 {
		return ""
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.', c == '/':
		default:
			return ""
		}
	}
	return s
}

// appendMember leaves empty members out.
func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return appendString(b, value)
}

func appendStrings(b []byte, name string, values []string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, `":[`...)
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, v)
	}
	return append(b, ']')
}

// maxRecorded bounds each string of a stranger's, so that one request can't
// write megabytes.
const maxRecorded = 1024

// appendString copies what needs no escaping, which is nearly everything.
func appendString(b []byte, s string) []byte {
	if len(s) > maxRecorded {
		s = s[:maxRecorded] + "…"
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf || c == 0x7f {
			quoted, _ := json.Marshal(s) // a string always encodes; invalid UTF-8 becomes U+FFFD
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
