package authz

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// record writes one JSON object per decision to the journal. It holds ids and
// digests: never tokens, arguments or headers.
func (e *Engine) record(req *Request, d *Decision) error {
	buf, ok := e.records.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
	}
	*buf = appendRecord((*buf)[:0], req, d)
	err := e.journal.Append(*buf)
	e.records.Put(buf)
	return err
}

func appendRecord(b []byte, req *Request, d *Decision) []byte {
	b = append(b, `{"id":"`...)
	b = append(b, d.ID...)
	b = append(b, `","time":"`...)
	b = d.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00")
	b = append(b, `","type":"decision","effect":"`...)
	b = append(b, d.Effect()...)
	b = append(b, `","reason":"`...)
	b = append(b, d.Reason.Code...)
	b = append(b, '"')
	if !strings.HasPrefix(d.Reason.Code, "operation.") && !strings.HasPrefix(d.Reason.Code, "schema.") {
		b = appendMember(b, "detail", d.Detail) // those two quote what the caller sent
	}
	if p := d.Principal; p != nil {
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
	if op := d.Operation; op != nil {
		b = appendMember(b, "method", op.Method)
		b = appendMember(b, "tool", knownName(op.Tool))
		b = appendMember(b, "target", op.Target)
		b = append(b, `,"fingerprint":"`...)
		b = hex.AppendEncode(b, op.Fingerprint[:])
		b = append(b, '"')
	}
	if d.Claim != nil {
		b = append(b, `,"key_hash":"`...)
		b = hex.AppendEncode(b, d.Claim.Key[:])
		b = append(b, '"')
		b = appendMember(b, "key_source", d.Claim.Source)
	}
	if d.Refused != nil {
		b = appendMember(b, "method", knownName(d.Refused.Method))
	}
	if d.Tool != nil {
		b = appendMember(b, "risk", d.Tool.Risk.String())
	}
	b = appendStrings(b, "policies_evaluated", d.Evaluated)
	if len(d.Shadow) != 0 {
		b = appendStrings(b, "shadow", d.Shadow)
	}
	b = appendMember(b, "client_address", req.ClientAddress)
	b = appendMember(b, "request_id", req.ID)
	b = appendMember(b, "authority", req.Authority)
	b = append(b, `,"latency_us":`...)
	b = strconv.AppendInt(b, int64(d.Took/time.Microsecond), 10)
	return append(b, "}\n"...)
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
