// Package problem describes a failed request as RFC 9457 problem details.
package problem

import (
	"encoding/json"
	"maps"
	"net/http"
)

// ContentType is the media type of an encoded problem.
const ContentType = "application/problem+json"

// TypePrefix precedes the kind of every problem in its type member.
const TypePrefix = "urn:sallyport:problem:"

// Problem is one failure as a client may see it. Nothing in it is private.
type Problem struct {
	Kind   string         // stable name, appended to TypePrefix
	Title  string         // what kind of failure this is, the same for every occurrence
	Status int            // HTTP status
	Detail string         // what happened this time and what to do about it
	More   map[string]any // extension members
}

// JSON encodes the problem. Extension members can't replace the standard ones.
func (p Problem) JSON() []byte {
	m := make(map[string]any, 4+len(p.More))
	maps.Copy(m, p.More)
	m["type"] = TypePrefix + p.Kind
	m["title"] = p.Title
	m["status"] = p.Status
	if p.Detail != "" {
		m["detail"] = p.Detail
	}
	data, err := json.Marshal(m)
	if err != nil {
		// Only an extension member can fail to encode; the problem itself must still be said.
		data, _ = json.Marshal(map[string]any{"type": m["type"], "title": p.Title, "status": p.Status})
	}
	return data
}

// Write answers an HTTP request with the problem.
func (p Problem) Write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", ContentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_, _ = w.Write(p.JSON()) // a client that is gone needs no answer
}
