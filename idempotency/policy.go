package idempotency

import (
	"slices"
	"strings"
)

// Outcome is what the end of an exchange says about its execution.
type Outcome uint8

// The outcomes, and what to do with the claim.
const (
	OutcomeUnknown Outcome = iota // Abandon: it may have been executed
	NotExecuted                   // Release: for certain
	Executed                      // Complete, with the response
	ExecutedOnly                  // Complete, with nil: the response is not for repeating
)

// Body is how much of a response's body was seen.
type Body uint8

// How much was seen.
const (
	Cut      Body = iota // not its end
	Whole                // all of it, and it was kept
	TooLarge             // all of it, and it was too much to keep
)

// Ending is how an exchange ended that was let through to the upstream.
type Ending struct {
	// Status of the response; 0 if there was none.
	Status int
	// Flags and Details are Envoy's RESPONSE_FLAGS, in their short form, and
	// RESPONSE_CODE_DETAILS. Without Details nobody knows who answered.
	Flags, Details string
	Body           Body
	// MCP says that the answer is a JSON-RPC message: the one in a JSON body, or
	// the last one of a stream of events. Message is nil if it never came; if it
	// did, it counts whatever became of the rest of the body.
	MCP     bool
	Message *Message
}

// Outcome judges an ending. It says Executed or NotExecuted only where that is
// certain:
//
//   - Envoy says that no byte reached an upstream: not executed;
//   - the upstream refused to look at the request (401, 403, 407, 421, 425,
//     429): not executed;
//   - the upstream answered with another status below 500: executed, and the
//     answer is the outcome. A 4xx too: it may have been the last step of an
//     execution;
//   - 5xx, 408, a timeout, a reset, an answer of Envoy's own, or a cut body: unknown.
//
// For MCP the message decides instead; see (*Message).outcome.
func (e *Ending) Outcome() Outcome {
	switch {
	case e.neverSent():
		return NotExecuted
	case !e.fromUpstream():
		return OutcomeUnknown
	case e.refusedUnseen():
		return NotExecuted
	case e.Status < 200 || e.Status > 499 || e.Status == 408:
		return OutcomeUnknown
	case e.MCP:
		return e.mcpOutcome()
	case e.Body == Cut:
		return OutcomeUnknown
	case e.Body == TooLarge, e.Status == 206: // a part isn't what a replay should repeat
		return ExecutedOnly
	default:
		return Executed
	}
}

func (e *Ending) mcpOutcome() Outcome {
	switch {
	case e.Message != nil:
		return e.Message.outcome()
	case slices.Contains(mcpTransportRefusals[:], e.Status):
		return NotExecuted
	case e.Status < 300 && e.Body == TooLarge:
		return ExecutedOnly
	default: // a response without an answer; in old revisions it may come on another stream
		return OutcomeUnknown
	}
}

// The reasons in Envoy's details (seen on 1.40) with which it says that the
// request never left: no connection, no room, or an upstream that vouches that
// it didn't look (REFUSED_STREAM, RFC 9113 §8.7).
var unsent = [...]string{
	"remote_connection_failure", "local_connection_failure", "connection_timeout", "overflow",
	"remote_refused_stream_reset",
}

func (e *Ending) neverSent() bool {
	// After a retry the details are about the last attempt only.
	if slices.Contains(strings.Split(e.Flags, ","), "URX") {
		return false
	}
	switch e.Details {
	case "no_healthy_upstream", "cluster_not_found", "route_not_found":
		return true
	}
	reason, ok := strings.CutPrefix(e.Details, "upstream_reset_before_response_started{")
	if !ok {
		return false
	}
	if end := strings.IndexAny(reason, "|}"); end >= 0 { // "reason|transport's own words}"
		reason = reason[:end]
	}
	return slices.Contains(unsent[:], reason)
}

// fromUpstream says whether the upstream began to answer. Everything else that
// carries a status is Envoy's own reply.
func (e *Ending) fromUpstream() bool {
	return e.Details == "via_upstream" || strings.HasPrefix(e.Details, "upstream_reset_after_response_started{")
}

// refusals are the statuses of a server that did not act: it wants other
// credentials, another connection or another time. RFC 9110 §15.5, RFC 6585 §4,
// RFC 8470 §5.2. 408 is none of them: the request was sent at once, so somebody
// behind the server waited, for what may have happened.
var refusals = [...]int{401, 403, 407, 421, 425, 429}

func (e *Ending) refusedUnseen() bool { return slices.Contains(refusals[:], e.Status) }

// mcpTransportRefusals are what the streamable HTTP transport answers, without a
// message, to a request that it doesn't hand to a tool: malformed, no or an
// unknown session, wrong method or media type. What a tool did is answered with
// 200.
var mcpTransportRefusals = [...]int{400, 404, 405, 406, 415}

// JSON-RPC error codes with a known meaning.
const (
	rpcLowest  = -32768 // of the codes that JSON-RPC reserves
	rpcHighest = -32000

	rpcParse, rpcRequest, rpcMethod, rpcParams = -32700, -32600, -32601, -32602

	rpcHeaderMismatch      = -32020 // MCP 2026-07-28
	rpcMissingCapability   = -32021
	rpcUnsupportedVersion  = -32022
	rpcElicitationRequired = -32042 // MCP 2025-11-25
)

// outcome judges a final message. A result is the outcome, also one that says
// isError; but input_required asks the client to come again with the same call.
// An error is the outcome if it says that the request was wrong, or if its code
// is the application's own; the reserved codes for what went wrong inside leave
// it open.
func (m *Message) outcome() Outcome {
	switch {
	case !m.isError && m.inputRequired:
		return NotExecuted
	case !m.isError:
		return Executed
	}
	switch m.code {
	case rpcParse, rpcRequest, rpcMethod, rpcParams:
		return Executed
	case rpcHeaderMismatch, rpcMissingCapability, rpcUnsupportedVersion, rpcElicitationRequired:
		return NotExecuted
	}
	if m.code >= rpcLowest && m.code <= rpcHighest {
		return OutcomeUnknown
	}
	return Executed
}

// repeatable are the headers that describe the response and not the exchange: no
// cookie, no credential, nothing of the connection, no session.
var repeatable = [...]string{
	"content-type", "content-language", "content-encoding", "content-location", "content-disposition",
	"location", "etag", "last-modified", "link", "deprecation", "sunset", "preference-applied",
}

// RepeatableHeaders are those of a REST response's headers that a replay repeats;
// names are in lower case, as Envoy gives them. A response of MCP has none: its
// content type may have been that of a stream.
func RepeatableHeaders(headers []Header) []Header {
	var kept []Header
	for _, h := range headers {
		if slices.Contains(repeatable[:], h.Name) {
			kept = append(kept, h)
		}
	}
	return kept
}
