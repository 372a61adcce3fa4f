package authz

import "net/http"

// table is every outcome a request can have, in the order of the policies.
// Append-only: codes are in audit trails and dashboards of the past.
var table = [...]Reason{
	{Code: "allowed", Status: http.StatusOK, Title: "All policies passed."},

	{Code: "route.unknown", Status: http.StatusNotFound, RPC: rpcInvalidRequest, Title: "No server is configured for this authority and path."},
	{Code: "route.mismatch", Status: http.StatusNotFound, RPC: rpcInvalidRequest, Title: "The proxy routed the request to another server than its authority and path name."},

	{Code: "authentication.missing", Status: http.StatusUnauthorized, Challenge: Credentials, Title: "No access token was presented."},
	{Code: "authentication.ambiguous", Status: http.StatusBadRequest, Challenge: InvalidRequest, Title: "Credentials were presented more than once, or in more than one way."},
	{Code: "authentication.malformed", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "The access token is not a well-formed JWT."},
	{Code: "authentication.algorithm", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "The access token is signed with an algorithm that its issuer may not use."},
	{Code: "authentication.critical_header", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "The access token's header has extensions that are not understood."},
	{Code: "authentication.missing_kid", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "The access token doesn't name its key."},
	{Code: "authentication.unknown_kid", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "The access token's key is not one of its issuer's."},
	{Code: "authentication.signature", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "The access token's signature is wrong."},
	{Code: "authentication.issuer", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "The access token's issuer is not accepted here."},
	{Code: "authentication.audience", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "The access token was issued for another audience."},
	{Code: "authentication.expired", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "The access token has expired."},
	{Code: "authentication.not_yet_valid", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "The access token is not valid yet."},
	{Code: "authentication.lifetime", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "The access token lives longer than its issuer's tokens may."},
	{Code: "authentication.token_type", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "The token is not an access token."},
	{Code: "authentication.tenant", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "The access token's tenant is not accepted."},
	{Code: "authentication.client", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "The access token's client is not accepted."},
	{Code: "authentication.missing_claim", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "The access token lacks a required claim."},
	{Code: "authentication.nonce", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "Another token with this nonce was seen before."},
	{Code: "authentication.binding_unsupported", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "The access token is bound to its sender in a way that can't be checked here."},
	{Code: "authentication.dpop_required", Status: http.StatusUnauthorized, Challenge: DPoPToken, Title: "The access token needs a DPoP proof."},
	{Code: "authentication.dpop_invalid", Status: http.StatusUnauthorized, Challenge: DPoPProof, Title: "The DPoP proof is not valid for this request."},
	{Code: "authentication.dpop_replayed", Status: http.StatusUnauthorized, Challenge: DPoPProof, Title: "The DPoP proof was used before."},
	{Code: "authentication.certificate_missing", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "The access token is bound to a client certificate, and none was presented."},
	{Code: "authentication.certificate_mismatch", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "The access token is bound to another client certificate."},
	{Code: "authentication.keys_unavailable", Status: http.StatusServiceUnavailable, Transient: true, Title: "The issuer's keys are not available."},
	{Code: "authentication.store_unavailable", Status: http.StatusServiceUnavailable, Transient: true, Title: "The store that detects replayed proofs is not available."},

	{Code: "revocation.revoked", Status: http.StatusUnauthorized, Challenge: InvalidToken, Title: "The access token, its subject, client or session is revoked."},
	{Code: "revocation.unavailable", Status: http.StatusServiceUnavailable, Transient: true, Title: "What is revoked now is not known."},

	{Code: "operation.route_unknown", Status: http.StatusNotFound, RPC: rpcInvalidRequest, Title: "Nothing is served at this path."},
	{Code: "operation.method_not_allowed", Status: http.StatusMethodNotAllowed, RPC: rpcInvalidRequest, Title: "The HTTP method is not possible here."},
	{Code: "operation.path_suspicious", Status: http.StatusBadRequest, RPC: rpcInvalidRequest, Title: "The path can be read in more than one way."},
	{Code: "operation.query", Status: http.StatusBadRequest, RPC: rpcInvalidRequest, Title: "The query can be read in more than one way, or none is expected."},
	{Code: "operation.override_header", Status: http.StatusBadRequest, RPC: rpcInvalidRequest, Title: "A header asks for another method, path or protocol than the request's own."},
	{Code: "operation.origin", Status: http.StatusForbidden, RPC: http.StatusForbidden, Title: "The origin of the request is not accepted."},
	{Code: "operation.content_type", Status: http.StatusUnsupportedMediaType, RPC: rpcInvalidRequest, Title: "The body is not declared as JSON."},
	{Code: "operation.content_encoding", Status: http.StatusUnsupportedMediaType, RPC: rpcInvalidRequest, Title: "The body is compressed."},
	{Code: "operation.body_too_large", Status: http.StatusRequestEntityTooLarge, RPC: rpcInvalidRequest, Title: "The body is too large."},
	{Code: "operation.body_incomplete", Status: http.StatusBadRequest, RPC: rpcInvalidRequest, Title: "Not all of the body was seen."},
	{Code: "operation.body_truncated", Status: http.StatusBadRequest, RPC: rpcInvalidRequest, Title: "The proxy held back a part of the body."},
	{Code: "operation.unexpected_body", Status: http.StatusBadRequest, RPC: rpcInvalidRequest, Title: "The method has no body."},
	{Code: "operation.invalid_json", Status: http.StatusBadRequest, RPC: rpcParseError, Title: "The body is not one JSON text."},
	{Code: "operation.too_complex", Status: http.StatusBadRequest, RPC: rpcInvalidRequest, Title: "The JSON is nested too deeply or holds a number out of bounds."},
	{Code: "operation.duplicate_member", Status: http.StatusBadRequest, RPC: rpcInvalidRequest, Title: "A member of an object is there twice."},
	{Code: "operation.member_case", Status: http.StatusBadRequest, RPC: rpcInvalidRequest, Title: "A member is spelled in another letter case than the protocol's."},
	{Code: "operation.batch", Status: http.StatusBadRequest, RPC: rpcInvalidRequest, Title: "JSON-RPC batches are not accepted."},
	{Code: "operation.not_jsonrpc", Status: http.StatusBadRequest, RPC: rpcInvalidRequest, Title: "The body is not one JSON-RPC 2.0 message."},
	{Code: "operation.header_mismatch", Status: http.StatusBadRequest, RPC: rpcHeaderMismatch, Title: "A header says something else than the body."},
	{Code: "operation.unsupported_version", Status: http.StatusBadRequest, RPC: rpcUnsupportedVersion, Title: "The protocol version is not supported."},
	{Code: "operation.session_header", Status: http.StatusBadRequest, RPC: rpcInvalidRequest, Title: "The session id is malformed."},
	{Code: "operation.bad_meta", Status: http.StatusBadRequest, RPC: rpcInvalidParams, Title: "The request's _meta is not what the protocol version requires."},
	{Code: "operation.idempotency_key", Status: http.StatusBadRequest, RPC: rpcInvalidParams, Title: "The idempotency key is malformed or ambiguous."},
	{Code: "operation.unknown_method", Status: http.StatusNotFound, MCPStatus: http.StatusOK, Stateless: http.StatusNotFound, RPC: rpcMethodNotFound, Title: "The method is not available."},
	{Code: "operation.bad_params", Status: http.StatusBadRequest, RPC: rpcInvalidParams, Title: "The params are not what the method expects."},
	{Code: "operation.missing_tool", Status: http.StatusBadRequest, RPC: rpcInvalidParams, Title: "The call names no tool."},
	{Code: "operation.bad_arguments", Status: http.StatusBadRequest, RPC: rpcInvalidParams, Title: "The arguments are not an object, or one comes from two places."},
	{Code: "operation.resource_not_listed", Status: http.StatusNotFound, MCPStatus: http.StatusOK, RPC: rpcInvalidParams, Title: "The resource is not available."},
	{Code: "operation.prompt_not_listed", Status: http.StatusNotFound, MCPStatus: http.StatusOK, RPC: rpcInvalidParams, Title: "The prompt is not available."},
	{Code: "operation.session_unknown", Status: http.StatusNotFound, RPC: rpcInvalidRequest, Title: "The session is not one of the caller's. Initialize a new one."},
	{Code: "operation.session_unavailable", Status: http.StatusServiceUnavailable, RPC: http.StatusServiceUnavailable, Transient: true, Title: "The store of sessions is not available."},
	{Code: "operation.unknown_tool", Status: http.StatusNotFound, MCPStatus: http.StatusOK, RPC: rpcInvalidParams, Title: "The tool is not available."},

	{Code: "scopes.insufficient", Status: http.StatusForbidden, RPC: http.StatusForbidden, Challenge: InsufficientScope, Title: "The access token lacks a required scope."},

	{Code: "schema.arguments", Status: http.StatusUnprocessableEntity, MCPStatus: http.StatusOK, RPC: rpcInvalidParams, MCP: ToolError, Title: "The arguments don't match the tool's schema."},

	{Code: "conditions.failed", Status: http.StatusForbidden, MCPStatus: http.StatusOK, RPC: http.StatusForbidden, MCP: ToolError, Title: "A condition of the tool is not met."},
	{Code: "conditions.error", Status: http.StatusForbidden, MCPStatus: http.StatusOK, RPC: http.StatusForbidden, MCP: ToolError, Title: "A condition of the tool could not be evaluated for these arguments."},

	{Code: "rate_limit.exceeded", Status: http.StatusTooManyRequests, MCPStatus: http.StatusOK, RPC: http.StatusTooManyRequests, Transient: true, Title: "The caller's rate limit for this is used up."},

	{Code: "step_up.required", Status: http.StatusUnauthorized, Challenge: StepUp, Title: "The tool needs a stronger or more recent login."},

	{Code: "elevation.required", Status: http.StatusForbidden, MCPStatus: http.StatusOK, RPC: http.StatusForbidden, MCP: ToolError, Title: "The tool is privileged and the caller holds no elevation."},
	{Code: "elevation.disabled", Status: http.StatusForbidden, MCPStatus: http.StatusOK, RPC: http.StatusForbidden, MCP: ToolError, Title: "The tool is privileged and privileged access is switched off."},
	{Code: "elevation.revoked", Status: http.StatusForbidden, MCPStatus: http.StatusOK, RPC: http.StatusForbidden, MCP: ToolError, Title: "The tool is privileged and the caller's elevation was revoked."},
	{Code: "elevation.unavailable", Status: http.StatusServiceUnavailable, RPC: http.StatusServiceUnavailable, Transient: true, Title: "Who holds an elevation now is not known."},

	{Code: "approval.required", Status: http.StatusForbidden, MCPStatus: http.StatusOK, RPC: http.StatusForbidden, MCP: ToolError, Title: "The tool needs a second person's approval of exactly this call."},
	{Code: "approval.beyond", Status: http.StatusForbidden, MCPStatus: http.StatusOK, RPC: http.StatusForbidden, MCP: ToolError, Title: "The call carries more than its arguments, which no approval covers."},
	{Code: "approval.spent", Status: http.StatusForbidden, MCPStatus: http.StatusOK, RPC: http.StatusForbidden, MCP: ToolError, Title: "The approval of this call was used, has ended or was revoked."},
	{Code: "approval.disabled", Status: http.StatusForbidden, MCPStatus: http.StatusOK, RPC: http.StatusForbidden, MCP: ToolError, Title: "The tool needs an approval for each call, and approvals are switched off."},
	{Code: "approval.unavailable", Status: http.StatusServiceUnavailable, RPC: http.StatusServiceUnavailable, Transient: true, Title: "Which calls are approved now is not known."},

	{Code: "idempotency.key_missing", Status: http.StatusBadRequest, MCPStatus: http.StatusOK, RPC: rpcInvalidParams, Title: "The call needs an idempotency key."},
	{Code: "idempotency.key_malformed", Status: http.StatusBadRequest, MCPStatus: http.StatusOK, RPC: rpcInvalidParams, Title: "The idempotency key is malformed, or there are two that differ."},
	{Code: "idempotency.in_flight", Status: http.StatusConflict, MCPStatus: http.StatusOK, RPC: http.StatusConflict, Transient: true, Title: "A request with this idempotency key is being executed."},
	{Code: "idempotency.mismatch", Status: http.StatusUnprocessableEntity, MCPStatus: http.StatusOK, RPC: http.StatusUnprocessableEntity, Title: "The idempotency key was used for another call."},
	{Code: "idempotency.outcome_unknown", Status: http.StatusConflict, MCPStatus: http.StatusOK, RPC: http.StatusConflict, Title: "A request with this idempotency key may have been executed. Find out before you use another key."},
	{Code: "idempotency.not_retained", Status: http.StatusConflict, MCPStatus: http.StatusOK, RPC: http.StatusConflict, Title: "The request with this idempotency key was executed; its response was not kept."},
	{Code: "idempotency.unavailable", Status: http.StatusServiceUnavailable, RPC: http.StatusServiceUnavailable, Transient: true, Title: "The store of idempotency keys is not available, so nothing is executed."},

	{Code: "concurrency.exceeded", Status: http.StatusTooManyRequests, MCPStatus: http.StatusOK, RPC: http.StatusTooManyRequests, Transient: true, Title: "The tool is being called as often at once as it may."},
	{Code: "concurrency.unavailable", Status: http.StatusServiceUnavailable, RPC: http.StatusServiceUnavailable, Transient: true, Title: "The store of concurrency slots is not available, so nothing is executed."},

	{Code: "audit.unavailable", Status: http.StatusServiceUnavailable, RPC: http.StatusServiceUnavailable, Transient: true, Title: "The decision could not be recorded, so nothing is allowed."},
	{Code: "internal.error", Status: http.StatusInternalServerError, RPC: rpcInternal, Title: "The decision failed for a reason of our own."},
	{Code: "internal.starting", Status: http.StatusServiceUnavailable, RPC: http.StatusServiceUnavailable, Transient: true, Title: "The configuration is not loaded yet."},
	{Code: "internal.metadata", Status: http.StatusInternalServerError, RPC: rpcInternal, Title: "The decision about the request could not be read."},
	{Code: "internal.request", Status: http.StatusInternalServerError, RPC: rpcInternal, Title: "The proxy's message could not be read."},
}
