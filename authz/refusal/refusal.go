// Package refusal words a refusal in the caller's dialect: problem details for
// REST, a JSON-RPC error or a tool result for MCP.
package refusal

import (
	"encoding/json"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/internal/problem"
)

// Refusal is what there is to say.
type Refusal struct {
	Reason     *authz.Reason
	Detail     string // a sentence or a part of one; may be empty
	DecisionID string
	RetryIn    time.Duration  // for transient reasons; 0: not known
	More       map[string]any // facts for programs

	MCP       bool   // the caller speaks MCP
	RPCID     string // JSON text of the request's id; empty if it has none or it couldn't be read
	Stateless bool   // MCP 2026-07-28 or later
	Tool      bool   // the request is a tools/call, so a tool result can answer it
}

// Answer is the refusal on the wire.
type Answer struct {
	Status      int
	ContentType string
	Body        string
}

// Answer builds the answer.
func (r *Refusal) Answer() Answer {
	if !r.MCP || r.Reason.RPC == 0 {
		return r.problem()
	}
	message := r.rpcError()
	if r.Reason.MCP == authz.ToolError && r.Tool && r.RPCID != "" {
		message = r.toolError()
	}
	body, err := json.Marshal(message)
	if err != nil { // the id is JSON text that was parsed before, and the rest is ours
		return r.problem()
	}
	return Answer{Status: r.rpcStatus(), ContentType: "application/json", Body: string(body)}
}

// problem is the refusal as RFC 9457 problem details.
func (r *Refusal) problem() Answer {
	p := problem.Problem{
		Kind: r.Reason.Code, Title: r.Reason.Title, Status: r.Reason.Status,
		Detail: r.Detail, More: r.facts(),
	}
	return Answer{Status: p.Status, ContentType: problem.ContentType, Body: string(p.JSON())}
}

// rpcStatus is the HTTP status of a JSON-RPC answer. Without the caller's id,
// for a notification or for what couldn't be read, only the status tells, so it
// must be one of an error.
func (r *Refusal) rpcStatus() int {
	switch {
	case r.RPCID != "" && r.Stateless && r.Reason.Stateless != 0:
		return r.Reason.Stateless
	case r.RPCID != "" && r.Reason.MCPStatus != 0:
		return r.Reason.MCPStatus
	}
	return r.Reason.Status
}

// facts are what a program needs to know, whatever the dialect.
func (r *Refusal) facts() map[string]any {
	facts := make(map[string]any, 3+len(r.More))
	maps.Copy(facts, r.More)
	facts["reason"] = r.Reason.Code
	facts["decision_id"] = r.DecisionID
	if r.Reason.Transient {
		facts["retry_after"] = r.RetryAfter()
	}
	return facts
}

// RetryAfter is the Retry-After header of a transient reason: seconds, rounded
// up, so that who waits that long has waited long enough.
func (r *Refusal) RetryAfter() int {
	return max(1, int((r.RetryIn+time.Second-1)/time.Second))
}

// Text is the refusal in words.
func (r *Refusal) Text() string {
	switch {
	case r.Detail == "":
		return r.Reason.Title
	case r.Detail[0] >= 'a' && r.Detail[0] <= 'z':
		return strings.TrimSuffix(r.Reason.Title, ".") + ": " + r.Detail + "."
	}
	return r.Reason.Title + " " + r.Detail
}

type rpcResponse struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"` // left out where the request's could not be read
	Result  any             `json:"result,omitempty"`
	Error   any             `json:"error,omitempty"`
}

func (r *Refusal) rpcError() rpcResponse {
	type rpcErrorObject struct {
		Code    int            `json:"code"`
		Message string         `json:"message"`
		Data    map[string]any `json:"data"`
	}
	return rpcResponse{
		JSONRPC: "2.0",
		ID:      json.RawMessage(r.RPCID),
		Error:   rpcErrorObject{Code: r.Reason.RPC, Message: r.Text(), Data: r.facts()},
	}
}

// FactsKey is where a tool result carries the facts of its refusal, in _meta.
// Not in structuredContent: that belongs to the tool's output schema, and
// clients check it against that even in an error.
const FactsKey = "io.github.sallyport/refusal"

// toolError is a tools/call result that says what went wrong, so that the model
// behind the client sees it and can do something about it.
func (r *Refusal) toolError() rpcResponse {
	type content struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	type result struct {
		ResultType string         `json:"resultType,omitempty"`
		Content    []content      `json:"content"`
		IsError    bool           `json:"isError"`
		Meta       map[string]any `json:"_meta"`
	}
	answer := result{
		Content: []content{{Type: "text", Text: r.Text()}},
		IsError: true,
		Meta:    map[string]any{FactsKey: r.facts()},
	}
	if r.Stateless {
		answer.ResultType = "complete" // required since MCP 2026-07-28
	}
	return rpcResponse{JSONRPC: "2.0", ID: json.RawMessage(r.RPCID), Result: answer}
}

// Header is one header line of an answer.
type Header struct{ Name, Value string }

// DecisionIDHeader names the decision behind an answer.
const DecisionIDHeader = "x-sallyport-decision-id"

// Headers are those of every refusal.
func (r *Refusal) Headers(a Answer) []Header {
	headers := []Header{
		{"content-type", a.ContentType},
		{"cache-control", "no-store"},
		{DecisionIDHeader, r.DecisionID},
	}
	if r.Reason.Transient {
		headers = append(headers, Header{"retry-after", strconv.Itoa(r.RetryAfter())})
	}
	return headers
}
