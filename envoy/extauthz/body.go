package extauthz

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/operation"
	"github.com/sallyport/sallyport/internal/problem"
)

// refusalBody builds the body of a refusal in the caller's dialect: JSON-RPC
// with the caller's id for MCP, problem details for all else.
func refusalBody(d *authz.Decision) (status int, contentType, body string) {
	if d.Server == nil || d.Server.Operations.Kind() != operation.MCP || d.Reason.RPC == 0 {
		return d.Reason.Status, problem.ContentType, string(problemOf(d).JSON())
	}
	message := rpcError(d)
	if d.Reason.MCP == authz.ToolError && d.Tool != nil && d.RPCID != "" {
		message = toolError(d)
	}
	data, err := json.Marshal(message)
	if err != nil { // the id is JSON text that was parsed before, and the rest is ours
		return http.StatusInternalServerError, problem.ContentType, string(problemOf(d).JSON())
	}
	return rpcStatus(d), "application/json", string(data)
}

// rpcStatus is the HTTP status of a JSON-RPC answer. Without the caller's id,
// for a notification or for what couldn't be read, only the status tells, so it
// must be one of an error.
func rpcStatus(d *authz.Decision) int {
	switch {
	case d.RPCID != "" && stateless(d) && d.Reason.Stateless != 0:
		return d.Reason.Stateless
	case d.RPCID != "" && d.Reason.MCPStatus != 0:
		return d.Reason.MCPStatus
	}
	return d.Reason.Status
}

func stateless(d *authz.Decision) bool {
	return d.Operation != nil && d.Operation.Stateless() || d.Refused != nil && d.Refused.Stateless()
}

// problemOf is the refusal as RFC 9457 problem details.
func problemOf(d *authz.Decision) problem.Problem {
	return problem.Problem{
		Kind:   d.Reason.Code,
		Title:  d.Reason.Title,
		Status: d.Reason.Status,
		Detail: d.Detail,
		More:   facts(d),
	}
}

// facts are what a program needs to know about a refusal, whatever the dialect.
func facts(d *authz.Decision) map[string]any {
	more := map[string]any{
		"reason":             d.Reason.Code,
		"decision_id":        d.ID,
		"policies_evaluated": d.Evaluated,
	}
	if len(d.Scopes) != 0 {
		more["required_scopes"] = d.Scopes
	}
	if d.Reason.Transient {
		more["retry_after"] = retryAfter(d)
	}
	if d.Refused != nil && d.Refused.Cause == operation.CauseUnsupportedVersion {
		more["supported"], more["requested"] = d.Refused.Supported, d.Refused.Requested
	}
	if d.Privilege != nil {
		more["elevation_required"] = true
		more["elevation_url"] = d.Privilege.URL
		more["elevation_duration_seconds"] = int(d.Privilege.Duration.Seconds())
	}
	return more
}

type rpcResponse struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"` // left out where the request's could not be read
	Result  any             `json:"result,omitempty"`
	Error   any             `json:"error,omitempty"`
}

func rpcError(d *authz.Decision) rpcResponse {
	type rpcErrorObject struct {
		Code    int            `json:"code"`
		Message string         `json:"message"`
		Data    map[string]any `json:"data"`
	}
	return rpcResponse{
		JSONRPC: "2.0",
		ID:      json.RawMessage(d.RPCID),
		Error:   rpcErrorObject{Code: d.Reason.RPC, Message: text(d), Data: facts(d)},
	}
}

// toolError is a tools/call result that says what went wrong, so that the model
// behind the client sees it and can do something about it.
func toolError(d *authz.Decision) rpcResponse {
	type content struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	type result struct {
		ResultType string         `json:"resultType,omitempty"`
		Content    []content      `json:"content"`
		Structured map[string]any `json:"structuredContent"`
		IsError    bool           `json:"isError"`
	}
	structured := facts(d)
	structured["type"] = strings.ReplaceAll(d.Reason.Code, ".", "_")
	r := result{
		Content:    []content{{Type: "text", Text: text(d)}},
		Structured: structured,
		IsError:    true,
	}
	if stateless(d) {
		r.ResultType = "complete" // required since MCP 2026-07-28
	}
	return rpcResponse{JSONRPC: "2.0", ID: json.RawMessage(d.RPCID), Result: r}
}

// text is the refusal in words. A detail is a sentence or a part of one.
func text(d *authz.Decision) string {
	switch {
	case d.Detail == "":
		return d.Reason.Title
	case d.Detail[0] >= 'a' && d.Detail[0] <= 'z':
		return strings.TrimSuffix(d.Reason.Title, ".") + ": " + d.Detail + "."
	}
	return d.Reason.Title + " " + d.Detail
}
