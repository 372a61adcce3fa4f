package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/operation"
	"github.com/sallyport/sallyport/internal/problem"
	"github.com/sallyport/sallyport/pim"
)

// Bounds of the members of bodies; see pim for those of what is kept.
const (
	longestName = 256
	longestText = 4 << 10
	// longestDuration is more than any configuration allows.
	longestDuration = 366 * 24 * time.Hour
)

// elevateBody is the body of POST /api/auth/elevate.
type elevateBody struct {
	tool, server, reason string
	duration             *int64
	arguments            json.RawMessage // the exact call to an MCP server; nil: none
	request              *callBody       // the exact call to a REST API; nil: none
	breakGlass           bool
}

// callBody is the exact call to a REST API. Its members are kept under the same names,
// for the approver.
type callBody struct {
	Method      string  `json:"method"`
	Path        string  `json:"path"`
	ContentType string  `json:"content_type,omitempty"`
	Body        *string `json:"body,omitempty"`
}

func (b *elevateBody) members() fields {
	return fields{
		"tool":             text(&b.tool, longestName),
		"server":           text(&b.server, longestName),
		"reason":           text(&b.reason, longestText),
		"duration_seconds": whole(&b.duration),
		"arguments":        object(&b.arguments),
		"request":          b.readCall,
		"break_glass":      flag(&b.breakGlass),
	}
}

func (b *elevateBody) readCall(value json.RawMessage) *bodyError {
	if value[0] != '{' {
		return &bodyError{what: "it must be an object"}
	}
	var body string
	call := &callBody{}
	err := readObject(value, fields{
		"method":       text(&call.Method, longestName),
		"path":         text(&call.Path, longestText),
		"content_type": text(&call.ContentType, longestName),
		"body": func(value json.RawMessage) *bodyError {
			call.Body = &body
			return text(&body, maxBody)(value)
		},
	})
	switch {
	case err != nil:
		return err
	case call.Method == "":
		return &bodyError{"method", "it is required"}
	case call.Path == "":
		return &bodyError{"path", "it is required"}
	}
	b.request = call
	return nil
}

// check finds what no member alone shows.
func (b *elevateBody) check() *problem.Problem {
	switch {
	case b.tool == "":
		return badBody(&bodyError{"tool", "it is required"})
	case b.arguments != nil && b.request != nil:
		return badBody(&bodyError{"request", "it is there beside arguments: a call is to an MCP server or to a REST API"})
	}
	if _, err := seconds(b.duration); err != nil {
		return err
	}
	return nil
}

// seconds is a duration; 0 if none is given.
func seconds(n *int64) (time.Duration, *problem.Problem) {
	if n == nil {
		return 0, nil
	}
	if *n < 1 || *n > int64(longestDuration/time.Second) {
		p := impossible(fmt.Sprintf("duration_seconds: %d is not within [1, %d]", *n, longestDuration/time.Second))
		p.More = map[string]any{"member": "duration_seconds"}
		return 0, &p
	}
	return time.Duration(*n) * time.Second, nil
}

// inquiry is what is asked of the policies.
func (b *elevateBody) inquiry(r *http.Request) *authz.Inquiry {
	q := &authz.Inquiry{Request: requestOf(r), Server: b.server, Tool: b.tool, Arguments: string(b.arguments)}
	if b.request == nil {
		return q
	}
	q.Call = &operation.Request{Method: b.request.Method, Scheme: q.Scheme, Authority: q.Authority, Path: b.request.Path}
	if b.request.ContentType != "" {
		q.Call.Headers = operation.Headers{{Name: "content-type", Value: b.request.ContentType}}
	}
	if b.request.Body != nil {
		q.Call.Body = *b.request.Body
	}
	return q
}

// call is the exact call as its approver will see it.
func (b *elevateBody) call() (string, error) {
	var shown shownCall
	if b.request != nil {
		request, err := encode(b.request)
		if err != nil {
			return "", err
		}
		shown.Request = request
		return writeCall(shown)
	}
	arguments, err := readable(b.arguments)
	if err != nil {
		return "", err
	}
	shown.Arguments = arguments
	return writeCall(shown)
}

// readable is JSON without the escapes that hide what it says. Every digit stays.
func readable(arguments json.RawMessage) (json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(arguments))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	return encode(value)
}

// elevate asks for an elevation, or for the approval of one exact call.
func (e *Elevations) elevate(w http.ResponseWriter, r *http.Request, _ string) {
	var body elevateBody
	if p := readBody(r, body.members()); p != nil {
		p.Write(w)
		return
	}
	if p := body.check(); p != nil {
		p.Write(w)
		return
	}
	asked, refused := e.access.Inquire(r.Context(), body.inquiry(r))
	if refused != nil {
		e.refuse(w, r, refused)
		return
	}
	if p := needless(asked, body.breakGlass); p != nil {
		p.Write(w)
		return
	}
	ask, err := askOf(asked, &body)
	if err != nil {
		e.fail(w, r, &pim.Request{}, err)
		return
	}
	made, err := e.requests.Request(r.Context(), ask, termsOf(asked))
	if err != nil {
		e.fail(w, r, &made, err)
		return
	}
	status := http.StatusCreated
	if made.State == pim.Pending {
		status = http.StatusAccepted
	}
	w.Header().Set("Location", Prefix+"elevations/"+made.ID)
	e.answer(w, r, status, elevationOf(&made, originOf(r)))
}

// needless refuses what would help nobody: a request for it would cost its approver
// time, and its requester the wait.
func needless(asked *authz.Asked, breakGlass bool) *problem.Problem {
	var p problem.Problem
	tool := asked.Tool
	switch {
	case !asked.Rule.Enabled:
		p = problem.Problem{Kind: "elevation.disabled", Title: "Privileged access is switched off.", Status: http.StatusForbidden}
	case asked.Exact && !tool.RequiresApproval && tool.RequiresElevation:
		p = impossible("Tool " + tool.Name + " needs an elevation, and no approval of its calls: ask without the call.")
	case !asked.Exact && !tool.RequiresElevation && tool.RequiresApproval:
		p = impossible("Tool " + tool.Name + " needs an approval of each call, and no elevation: ask with the call, in arguments or request.")
	case breakGlass && asked.Rule.External && asked.User == "":
		p = impossible("The external provider doesn't know you, so a break-glass grant would never count.")
	case !tool.RequiresElevation && !tool.RequiresApproval:
		p = impossible("Tool " + tool.Name + " needs neither an elevation nor an approval: call it.")
	default:
		return nil
	}
	return &p
}

func askOf(asked *authz.Asked, body *elevateBody) (ask pim.Ask, err error) {
	ask = pim.Ask{
		Kind: pim.Elevation, Requester: partyOf(asked.Principal), Server: asked.Server.Name, Tool: asked.Tool.Name,
		Reason: body.reason, BreakGlass: body.breakGlass,
	}
	ask.Duration, _ = seconds(body.duration) // it was checked
	if !asked.Exact {
		ask.ProviderUser, ask.ProviderRole = asked.User, asked.Role
		return ask, nil
	}
	ask.Kind, ask.Fingerprint = pim.Call, asked.Fingerprint
	ask.Call, err = body.call()
	return ask, err
}

func termsOf(asked *authz.Asked) pim.Terms {
	rule := asked.Rule
	return pim.Terms{
		RequireApproval: rule.RequireApproval, RequireReason: rule.RequireReason,
		Longest: rule.LongestOf(asked.Tool), PendingFor: rule.PendingFor, ApprovalFor: rule.ApprovalFor,
		BreakGlass: rule.BreakGlass, BreakGlassFor: rule.BreakGlassFor,
		ReplayFor: asked.Tool.Idempotency.TTL,
	}
}
