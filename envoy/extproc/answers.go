package extproc

import (
	"context"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/refusal"
	"github.com/sallyport/sallyport/idempotency"
)

// What became of an exchange, in records and metrics. A refusal has its reason.
const (
	resultExecuted = "executed"
	resultReplayed = "replayed"
	resultReleased = "released" // not executed, for certain
	resultUnknown  = "unknown"
	resultPassed   = "passed" // there was no key
)

// refuse answers the client, so that nothing goes on.
func (x *exchange) refuse(code string, retryIn time.Duration) *extprocv3.ProcessingResponse {
	x.result = code
	r := refusal.Refusal{Reason: authz.ReasonOf(code), DecisionID: x.decisionID(), RetryIn: retryIn}
	if m := x.meta; m != nil {
		r.MCP, r.RPCID, r.Stateless, r.Tool = m.rpcID != "", m.rpcID, m.stateless, m.tool != ""
		if code == "approval.spent" {
			r.Detail = "Ask for another one at " + m.askAt + ", then call again with another key."
			r.More = map[string]any{"approval_required": true, "elevation_url": m.askAt}
		}
	}
	answer := r.Answer()
	var headers []*corev3.HeaderValueOption
	for _, h := range r.Headers(answer) {
		headers = append(headers, setHeader(h.Name, h.Value))
	}
	return x.immediate(answer.Status, headers, []byte(answer.Body), code)
}

// replay repeats a stored response. Authorization has been decided anew for this
// request; see the order of the filters.
func (x *exchange) replay(r *idempotency.Response) *extprocv3.ProcessingResponse {
	headers := []*corev3.HeaderValueOption{
		setHeader("idempotent-replayed", "true"),
		setHeader("cache-control", "no-store"),
		setHeader(refusal.DecisionIDHeader, x.decisionID()),
	}
	for i, h := range r.Headers {
		header := setHeader(h.Name, h.Value)
		if slices.ContainsFunc(r.Headers[:i], func(line idempotency.Header) bool { return line.Name == h.Name }) {
			// A further line, such as of Link. The action alone means the same as
			// none at all to ext_proc, which overwrites then (seen on 1.40).
			header.AppendAction = corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
			header.Append = wrapperspb.Bool(true) //nolint:staticcheck // see above
		}
		headers = append(headers, header)
	}
	body := r.Body
	if x.meta.rpcID != "" {
		var err error
		if body, err = idempotency.AppendReplay(nil, []byte(x.meta.rpcID), r); err != nil {
			x.server.log.ErrorContext(x.ctx, "stored response can't be repeated", "error", err, "decision_id", x.decisionID())
			return x.refuse("idempotency.not_retained", 0)
		}
		headers = append(headers, setHeader("content-type", "application/json"))
	}
	x.result = resultReplayed
	return x.immediate(r.Status, headers, body, "idempotent_replay")
}

// immediate answers in the upstream's place. details is Envoy's
// %RESPONSE_CODE_DETAILS%.
func (x *exchange) immediate(status int, headers []*corev3.HeaderValueOption, body []byte, details string) *extprocv3.ProcessingResponse {
	x.finished = true
	x.response.status, x.response.details, x.response.size = status, details, len(body)
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ImmediateResponse{
		ImmediateResponse: &extprocv3.ImmediateResponse{
			Status:  &typev3.HttpStatus{Code: typev3.StatusCode(status)}, //nolint:gosec // an HTTP status
			Headers: &extprocv3.HeaderMutation{SetHeaders: headers},
			Body:    body,
			Details: details,
		},
	}}
}

// bindSession makes a new MCP session its opener's. A session that can't be
// bound would be anybody's, so the client doesn't get it.
func (x *exchange) bindSession(session string) *extprocv3.ProcessingResponse {
	ctx, cancel := context.WithTimeout(x.ctx, x.server.cfg.StoreTimeout)
	defer cancel()
	if err := x.server.sessions.Bind(ctx, x.meta.server, session, x.meta.principalID); err != nil {
		x.server.log.ErrorContext(x.ctx, "session not bound", "error", err, "decision_id", x.decisionID())
		return x.refuse("operation.session_unavailable", 0)
	}
	return nil
}
