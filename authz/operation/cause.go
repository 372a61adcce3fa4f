package operation

import (
	"fmt"
	"unicode/utf8"
)

// The causes of a Refusal. Each is a row of the table of reasons under the
// policy `operation`. HTTP status and JSON-RPC code in brackets are what the
// MCP revisions ask for; the table has the last word.
const (
	// CauseRouteUnknown: the path is not the endpoint's, or no route matches it. [404]
	CauseRouteUnknown = "route_unknown"
	// CauseMethodNotAllowed: the endpoint or route doesn't know this HTTP
	// method; Refusal.Allow lists those it knows. [405]
	CauseMethodNotAllowed = "method_not_allowed"
	// CausePathSuspicious: the path could be read as another path by a server
	// that decodes or normalises differently (encoded slash, dot segment,
	// empty segment, backslash, control, double encoding, broken escape). [400]
	CausePathSuspicious = "path_suspicious"
	// CauseQuery: the query is ambiguous (a key twice, a semicolon, a broken
	// escape), or the MCP endpoint was called with one. [400]
	CauseQuery = "query"
	// CauseOverrideHeader: a header, or for REST a parameter, that makes some
	// servers act on another method or path than the one decided here, or an
	// upgrade. [400]
	CauseOverrideHeader = "override_header"
	// CauseOrigin: the Origin is present and not on the allow-list. [403]
	CauseOrigin = "origin"

	// CauseContentType: the body is not declared as the JSON that is read
	// here, and the REST route doesn't take any other. [415]
	CauseContentType = "content_type"
	// CauseContentEncoding: the body is compressed, or claims to be. [415]
	CauseContentEncoding = "content_encoding"
	// CauseBodyTooLarge: the body is over Config.MaxBodyBytes. [413]
	CauseBodyTooLarge = "body_too_large"
	// CauseBodyIncomplete: Content-Length and the body at hand disagree, so
	// that not all of what the server will read was seen. [400]
	CauseBodyIncomplete = "body_incomplete"
	// CauseUnexpectedBody: a body where the method has none. [400]
	CauseUnexpectedBody = "unexpected_body"
	// CauseBodyTruncated is never Parse's: who calls it refuses with it a request of
	// whose body the proxy held a part back. [500]
	CauseBodyTruncated = "body_truncated"

	// CauseInvalidJSON: the body is not one JSON text in UTF-8 without a byte
	// order mark. [400, -32700]
	CauseInvalidJSON = "invalid_json"
	// CauseTooComplex: nesting over maxDepth, more than maxNodes values, a number
	// over maxNumberLen or maxExponent, or one with a fraction that no double
	// keeps. [400, -32600]
	CauseTooComplex = "too_complex"
	// CauseDuplicateMember: an object has a member twice, or in a tool's arguments,
	// at any depth, two that differ only in letter case. [400, -32600]
	CauseDuplicateMember = "duplicate_member"
	// CauseMemberCase: a member that means something to the protocol comes in
	// another letter case, which lenient servers would honour. [400, -32600]
	CauseMemberCase = "member_case"
	// CauseBatch: a JSON array; in revision 2025-03-26 too, because a policy
	// decides one operation. [400, -32600]
	CauseBatch = "batch"
	// CauseNotJSONRPC: an object that is not one JSON-RPC 2.0 request,
	// notification or (before 2026-07-28) response. [400, -32600]
	CauseNotJSONRPC = "not_jsonrpc"

	// CauseHeaderMismatch: a mirrored header is missing, came twice, can't be
	// decoded or says something else than the body. [400, -32020]
	CauseHeaderMismatch = "header_mismatch"
	// CauseUnsupportedVersion: the revision is unknown or not configured;
	// Refusal.Supported and Requested are set. [400, -32022]
	CauseUnsupportedVersion = "unsupported_version"
	// CauseSessionHeader: Mcp-Session-Id is not one short line of visible
	// ASCII. [400]
	CauseSessionHeader = "session_header"
	// CauseBadMeta: params._meta lacks what the revision requires, or has it
	// in the wrong type. [400, -32602]
	CauseBadMeta = "bad_meta"
	// CauseIdempotencyKey: the key in params._meta is no string of 1 to 255
	// visible ASCII characters, or is there twice and differs. [400, -32602]
	CauseIdempotencyKey = "idempotency_key"

	// CauseUnknownMethod: the method is not on the server's allow-list. [404
	// from 2026-07-28 on, -32601]
	CauseUnknownMethod = "unknown_method"
	// CauseBadParams: params of a known method are of the wrong shape, or those
	// of tools/call have a member that no revision defines. [400, -32602]
	CauseBadParams = "bad_params"
	// CauseMissingTool: tools/call without a usable name. [400, -32602]
	CauseMissingTool = "missing_tool"
	// CauseBadArguments: the arguments are not an object, or for REST the same
	// name comes from two of path, query and body. [400, -32602]
	CauseBadArguments = "bad_arguments"
	// CauseResourceNotListed: the resource is not on the allow-list. [-32602]
	CauseResourceNotListed = "resource_not_listed"
	// CausePromptNotListed: the prompt is not on the allow-list. [-32602]
	CausePromptNotListed = "prompt_not_listed"
)

// Causes returns every cause above.
func Causes() []string {
	return []string{
		CauseRouteUnknown, CauseMethodNotAllowed, CausePathSuspicious, CauseQuery, CauseOverrideHeader, CauseOrigin,
		CauseContentType, CauseContentEncoding, CauseBodyTooLarge, CauseBodyIncomplete, CauseUnexpectedBody, CauseBodyTruncated,
		CauseInvalidJSON, CauseTooComplex, CauseDuplicateMember, CauseMemberCase, CauseBatch, CauseNotJSONRPC,
		CauseHeaderMismatch, CauseUnsupportedVersion, CauseSessionHeader, CauseBadMeta, CauseIdempotencyKey,
		CauseUnknownMethod, CauseBadParams, CauseMissingTool, CauseBadArguments,
		CauseResourceNotListed, CausePromptNotListed,
	}
}

// refuse makes a refusal that knows nothing of the request's JSON-RPC side.
func refuse(cause, format string, args ...any) *Refusal {
	return &Refusal{Cause: cause, Detail: fmt.Sprintf(format, args...)}
}

// quoted shows a stranger's text in a Detail: quoted, escaped and short.
func quoted(s string) string {
	const most = 80
	if len(s) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		return fmt.Sprintf("%+q…", s[:cut])
	}
	return fmt.Sprintf("%+q", s)
}
