package operation

import (
	"strings"
)

// field is a header's first value without the spaces around it (RFC 9110
// §5.5), and the number of its lines.
type field struct {
	value string
	lines int
}

func (f *field) add(value string) {
	if f.lines == 0 {
		f.value = trimOWS(value)
	}
	f.lines++
}

// fields are the headers that matter for reading a request.
type fields struct {
	contentType, contentEncoding, contentLength field
	origin                                      field

	version, method, name, session field // MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Session-Id
	params                         bool  // there are Mcp-Param-* headers

	override string // name of a header that asks for another method, path or protocol
}

const paramPrefix = "mcp-param-"

// read looks at each header once.
func (f *fields) read(headers Headers) {
	for i := range headers {
		h := &headers[i]
		switch h.Name {
		case "content-type":
			f.contentType.add(h.Value)
		case "content-encoding":
			f.contentEncoding.add(h.Value)
		case "content-length":
			f.contentLength.add(h.Value)
		case "origin":
			f.origin.add(h.Value)
		case "mcp-protocol-version":
			f.version.add(h.Value)
		case "mcp-method":
			f.method.add(h.Value)
		case "mcp-name":
			f.name.add(h.Value)
		case "mcp-session-id":
			f.session.add(h.Value)
		case "upgrade",
			"x-http-method", "x-http-method-override", "x-method-override", "x-original-method",
			"x-original-url", "x-original-uri", "x-original-path", "x-rewrite-url":
			f.override = h.Name
		default:
			f.params = f.params || strings.HasPrefix(h.Name, paramPrefix)
		}
	}
}

// checkOverride refuses what makes some servers act on another request than
// the one that is decided.
func (f *fields) checkOverride() *Refusal {
	if f.override == "" {
		return nil
	}
	return refuse(CauseOverrideHeader, "header %s is not accepted", f.override)
}

// checkLength compares the declared length with the body at hand. A body that
// came in chunks has no declared length.
func (f *fields) checkLength(body string) *Refusal {
	if f.contentLength.lines == 0 {
		return nil
	}
	declared := f.contentLength.value
	n := 0
	for i := range len(declared) {
		if n > mostMaxBody || declared[i] < '0' || declared[i] > '9' {
			n = -1
			break
		}
		n = n*10 + int(declared[i]-'0')
	}
	if f.contentLength.lines > 1 || declared == "" || n != len(body) {
		return refuse(CauseBodyIncomplete, "header content-length says %s, the body has %d bytes", quoted(declared), len(body))
	}
	return nil
}

// checkEncoding refuses compressed bodies: what is read here must be what the
// server reads.
func (f *fields) checkEncoding() *Refusal {
	e := &f.contentEncoding
	if e.lines == 0 || e.lines == 1 && strings.EqualFold(e.value, "identity") {
		return nil
	}
	return refuse(CauseContentEncoding, "header content-encoding: only identity is accepted, not %s", quoted(e.value))
}

// checkJSON wants the body declared as JSON.
func (f *fields) checkJSON() *Refusal {
	if f.contentType.lines == 1 && isJSON(f.contentType.value) {
		return nil
	}
	if f.contentType.lines > 1 {
		return refuse(CauseContentType, "header content-type: came %d times", f.contentType.lines)
	}
	return refuse(CauseContentType, "header content-type: application/json is required, not %s", quoted(f.contentType.value))
}

// isJSON accepts application/json with no parameter but charset=utf-8, which
// JSON doesn't need but clients send. Any other parameter could make a server
// read other characters than were read here.
func isJSON(contentType string) bool {
	media, parameters, _ := strings.Cut(contentType, ";")
	if !strings.EqualFold(trimOWS(media), "application/json") {
		return false
	}
	if parameters == "" {
		return true
	}
	name, value, _ := strings.Cut(trimOWS(parameters), "=")
	return strings.EqualFold(name, "charset") && (strings.EqualFold(value, "utf-8") || strings.EqualFold(value, `"utf-8"`))
}

// trimOWS takes optional whitespace off both ends (RFC 9110 §5.6.3).
func trimOWS(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
