package operation

// Header is one header line. Envoy hands names over in lower case; a name
// that came twice stands here twice.
type Header struct{ Name, Value string }

// Headers are a request's header lines in the order in which they came.
type Headers []Header

// Get returns the first value of the header and how many lines carry its name.
// The name is in lower case.
func (h Headers) Get(name string) (value string, lines int) {
	for i := range h {
		if h[i].Name == name {
			if lines == 0 {
				value = h[i].Value
			}
			lines++
		}
	}
	return value, lines
}

// Request is one HTTP request as the proxy would send it on: path normalised,
// body complete. It is read, never changed.
type Request struct {
	Method    string // upper case, as received
	Scheme    string // of the client's side: "https" or "http"
	Authority string // host and optional port, as received
	Path      string // path and query
	Headers   Headers
	Body      string
}
