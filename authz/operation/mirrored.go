package operation

import (
	"encoding/base64"
	"strings"
)

// Mirrored headers (2026-07-28, basic/transports/streamable-http, "Request
// Metadata"; SEP-2243) repeat parts of the body for proxies. Nothing is decided
// by them here. They are held to the body in every revision that sends them,
// because something between us and the server may route by them.
//
// An Mcp-Param-* header can be compared with its argument only by who knows the
// tool's x-mcp-header annotations, and an intermediary that doesn't must pass
// it on; so here it must be a single, decodable line, and the comparison is the
// server's duty ("Server Behavior for Custom Headers").
func checkMirrored(headers Headers, f *fields, m *message, op *Operation) *Refusal {
	required := op.Stateless() && m.isRequest() // of notifications the revision says nothing
	method := ""
	if m.method != 0 {
		method = op.Method
	}
	if r := mirrors("mcp-method", &f.method, method, required); r != nil {
		return r
	}
	source := m.nameSource(op.Method)
	if source == 0 {
		if f.name.lines == 0 {
			return nil
		}
		if _, ok := decodeMirrored(f.name.value); !ok || f.name.lines > 1 {
			return refuse(CauseHeaderMismatch, "header mcp-name: is not one decodable line")
		}
		return nil
	}
	name, ok := "", m.nodes[source].kind == stringNode
	if ok {
		name = m.text(source)
	}
	if r := mirrors("mcp-name", &f.name, name, required && ok && source != m.par.taskID); r != nil {
		return r
	}
	if op.Method == "tools/call" && f.params {
		return checkParams(headers)
	}
	return nil
}

// nameSource is the member that Mcp-Name mirrors: params.name, params.uri or,
// for the tasks extension (SEP-2663), params.taskId; 0 if there is none.
func (m *message) nameSource(method string) uint32 {
	switch method {
	case "tools/call", "prompts/get":
		return m.par.name
	case "resources/read":
		return m.par.uri
	case "tasks/get", "tasks/update", "tasks/cancel":
		return m.par.taskID
	}
	return 0
}

func mirrors(header string, f *field, body string, required bool) *Refusal {
	switch {
	case f.lines == 0 && required:
		return refuse(CauseHeaderMismatch, "header %s: is required, the body says %s", header, quoted(body))
	case f.lines == 0:
		return nil
	case f.lines > 1:
		return refuse(CauseHeaderMismatch, "header %s: came %d times", header, f.lines)
	}
	value, ok := f.value, true
	if header == "mcp-name" {
		value, ok = decodeMirrored(value)
	}
	if !ok {
		return refuse(CauseHeaderMismatch, "header %s: can't be decoded", header)
	}
	if value != body || body == "" {
		return refuse(CauseHeaderMismatch, "header %s: says %s, the body says %s", header, quoted(value), quoted(body))
	}
	return nil
}

// decodeMirrored decodes a value that may be in the Base64 form =?base64?…?=
// ("Value Encoding"); without both marks it is literal.
func decodeMirrored(value string) (string, bool) {
	const prefix, suffix = "=?base64?", "?="
	if len(value) < len(prefix)+len(suffix) || !strings.HasPrefix(value, prefix) || !strings.HasSuffix(value, suffix) {
		for i := range len(value) {
			if c := value[i]; c < ' ' && c != '\t' || c > '~' {
				return "", false
			}
		}
		return value, true
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(value[len(prefix) : len(value)-len(suffix)])
	return string(decoded), err == nil
}

func checkParams(headers Headers) *Refusal {
	for i := range headers {
		h := &headers[i]
		if !strings.HasPrefix(h.Name, paramPrefix) {
			continue
		}
		if _, lines := headers.Get(h.Name); lines > 1 {
			return refuse(CauseHeaderMismatch, "header %s: came %d times", quoted(h.Name), lines)
		}
		if _, ok := decodeMirrored(trimOWS(h.Value)); !ok {
			return refuse(CauseHeaderMismatch, "header %s: can't be decoded", quoted(h.Name))
		}
	}
	return nil
}
