package idempotency_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/idempotency"
)

// answered is a whole answer of an upstream.
func answered(status int) idempotency.Ending {
	return idempotency.Ending{Status: status, Details: "via_upstream", Flags: "-", Body: idempotency.Whole}
}

func TestOutcomeByStatus(t *testing.T) {
	t.Parallel()
	want := map[idempotency.Outcome][]int{
		idempotency.Executed: {
			200, 201, 202, 203, 204, 205, 207, 226, 300, 301, 302, 303, 304, 307, 308,
			400, 402, 404, 405, 406, 409, 410, 411, 412, 413, 414, 415, 416, 418, 422, 423, 424, 428, 451, 499,
		},
		idempotency.ExecutedOnly:   {206},
		idempotency.NotExecuted:    {401, 403, 407, 421, 425, 429},
		idempotency.OutcomeUnknown: {0, 100, 101, 103, 408, 500, 501, 502, 503, 504, 507, 511, 520, 599, 600, 999},
	}
	for outcome, statuses := range want {
		for _, status := range statuses {
			ending := answered(status)
			if got := ending.Outcome(); got != outcome {
				t.Errorf("status %d: outcome %d, want %d", status, got, outcome)
			}
		}
	}
}

func TestOutcomeByEnvoysWords(t *testing.T) {
	t.Parallel()
	const (
		before = "upstream_reset_before_response_started{%s}"
		after  = "upstream_reset_after_response_started{%s}"
	)
	// Flags and details as Envoy 1.40 gave them for broken upstreams.
	tests := []struct {
		status         int
		flags, details string
		want           idempotency.Outcome
	}{
		{503, "UF", fmt.Sprintf(before, "remote_connection_failure|delayed_connect_error:_Connection_refused"), idempotency.NotExecuted},
		{503, "UF", fmt.Sprintf(before, "remote_connection_failure|TLS_error:|268435703:SSL_routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end"), idempotency.NotExecuted},
		{503, "UF", fmt.Sprintf(before, "local_connection_failure"), idempotency.NotExecuted},
		{503, "UF", fmt.Sprintf(before, "connection_timeout"), idempotency.NotExecuted},
		{503, "UO", fmt.Sprintf(before, "overflow"), idempotency.NotExecuted},
		{503, "UR", fmt.Sprintf(before, "remote_refused_stream_reset"), idempotency.NotExecuted},
		{503, "UH", "no_healthy_upstream", idempotency.NotExecuted},
		{503, "NC", "cluster_not_found", idempotency.NotExecuted},
		{404, "NR", "route_not_found", idempotency.NotExecuted},

		{503, "UC", fmt.Sprintf(before, "connection_termination"), idempotency.OutcomeUnknown},
		{502, "UPE", fmt.Sprintf(before, "protocol_error"), idempotency.OutcomeUnknown},
		{503, "UR", fmt.Sprintf(before, "remote_reset"), idempotency.OutcomeUnknown},
		{503, "LR", fmt.Sprintf(before, "local_reset"), idempotency.OutcomeUnknown},
		{503, "OM", fmt.Sprintf(before, "overload_manager_reset"), idempotency.OutcomeUnknown},
		{200, "UPE", fmt.Sprintf(after, "protocol_error"), idempotency.OutcomeUnknown},
		{200, "UF", fmt.Sprintf(after, "remote_connection_failure"), idempotency.OutcomeUnknown},
		{504, "UT", "response_timeout", idempotency.OutcomeUnknown},
		{0, "DC", "downstream_remote_disconnect", idempotency.OutcomeUnknown},
		{413, "-", "request_payload_too_large", idempotency.OutcomeUnknown},
		{200, "-", "direct_response", idempotency.OutcomeUnknown},
		{403, "-", "rbac_access_denied_matched_policy[none]", idempotency.OutcomeUnknown},
		{200, "-", "", idempotency.OutcomeUnknown}, // the attribute is missing

		// The last of several attempts says nothing about the first.
		{503, "URX,UF", fmt.Sprintf(before, "remote_connection_failure"), idempotency.OutcomeUnknown},
		{503, "UF,URX", "no_healthy_upstream", idempotency.OutcomeUnknown},
		{503, "UF", fmt.Sprintf(before, "xremote_connection_failure"), idempotency.OutcomeUnknown},
		{503, "UF", fmt.Sprintf(before, "connection_termination|remote_connection_failure"), idempotency.OutcomeUnknown},
		{503, "UF", "upstream_reset_before_response_started", idempotency.OutcomeUnknown},
	}
	for _, test := range tests {
		ending := idempotency.Ending{Status: test.status, Flags: test.flags, Details: test.details, Body: idempotency.Cut}
		if got := ending.Outcome(); got != test.want {
			t.Errorf("%d %s %s: outcome %d, want %d", test.status, test.flags, test.details, got, test.want)
		}
	}
}

func TestOutcomeByBody(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status int
		body   idempotency.Body
		want   idempotency.Outcome
	}{
		{200, idempotency.Cut, idempotency.OutcomeUnknown},
		{200, idempotency.TooLarge, idempotency.ExecutedOnly},
		{409, idempotency.TooLarge, idempotency.ExecutedOnly},
		{409, idempotency.Cut, idempotency.OutcomeUnknown},
		{429, idempotency.Cut, idempotency.NotExecuted},
		{500, idempotency.TooLarge, idempotency.OutcomeUnknown},
	} {
		ending := answered(test.status)
		ending.Body = test.body
		if got := ending.Outcome(); got != test.want {
			t.Errorf("%d, body %d: outcome %d, want %d", test.status, test.body, got, test.want)
		}
	}
}

func TestOutcomeOfMCP(t *testing.T) {
	t.Parallel()
	rpcError := func(code int) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"error":{"code":%d,"message":"no"}}`, code)
	}
	tests := []struct {
		status  int
		message string // empty: none came
		body    idempotency.Body
		want    idempotency.Outcome
	}{
		{200, `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`, idempotency.Whole, idempotency.Executed},
		{200, `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`, idempotency.Cut, idempotency.Executed},
		{200, `{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}`, idempotency.Whole, idempotency.Executed},
		{200, `{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete"}}`, idempotency.Whole, idempotency.Executed},
		{200, `{"jsonrpc":"2.0","id":1,"result":{"resultType":"task","taskId":"7"}}`, idempotency.Whole, idempotency.Executed},
		{200, `{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required"}}`, idempotency.Whole, idempotency.NotExecuted},
		{200, `{"jsonrpc":"2.0","id":1,"result":{"result\u0054ype":"input\u005frequired"}}`, idempotency.Whole, idempotency.NotExecuted},
		{200, `{"jsonrpc":"2.0","id":1,"result":{"structuredContent":{"resultType":"input_required"}}}`, idempotency.Whole, idempotency.Executed},
		{200, rpcError(-32700), idempotency.Whole, idempotency.Executed},
		{200, rpcError(-32600), idempotency.Whole, idempotency.Executed},
		{404, rpcError(-32601), idempotency.Whole, idempotency.Executed},
		{200, rpcError(-32602), idempotency.Whole, idempotency.Executed},
		{200, rpcError(-32603), idempotency.Whole, idempotency.OutcomeUnknown},
		{200, rpcError(-32000), idempotency.Whole, idempotency.OutcomeUnknown},
		{200, rpcError(-32768), idempotency.Whole, idempotency.OutcomeUnknown},
		{200, rpcError(-31999), idempotency.Whole, idempotency.Executed},
		{200, rpcError(-32769), idempotency.Whole, idempotency.Executed},
		{200, rpcError(1001), idempotency.Whole, idempotency.Executed},
		{200, rpcError(-32042), idempotency.Whole, idempotency.NotExecuted},
		{400, rpcError(-32020), idempotency.Whole, idempotency.NotExecuted},
		{400, rpcError(-32021), idempotency.Whole, idempotency.NotExecuted},
		{400, rpcError(-32022), idempotency.Whole, idempotency.NotExecuted},
		{403, rpcError(-32602), idempotency.Whole, idempotency.NotExecuted},
		{429, "", idempotency.Cut, idempotency.NotExecuted},
		{500, rpcError(-32602), idempotency.Whole, idempotency.OutcomeUnknown},
		{503, "", idempotency.Whole, idempotency.OutcomeUnknown},
		{200, "", idempotency.Whole, idempotency.OutcomeUnknown},
		{200, "", idempotency.Cut, idempotency.OutcomeUnknown},
		{200, "", idempotency.TooLarge, idempotency.ExecutedOnly},
		{202, "", idempotency.Whole, idempotency.OutcomeUnknown},
		{400, "", idempotency.Whole, idempotency.NotExecuted},
		{404, "", idempotency.Whole, idempotency.NotExecuted},
		{409, "", idempotency.Whole, idempotency.OutcomeUnknown},
		{422, "", idempotency.TooLarge, idempotency.OutcomeUnknown},
	}
	for _, test := range tests {
		ending := answered(test.status)
		ending.MCP, ending.Body = true, test.body
		if test.message != "" {
			ending.Message = parse(t, test.message)
		}
		if got := ending.Outcome(); got != test.want {
			t.Errorf("%d %s, body %d: outcome %d, want %d", test.status, test.message, test.body, got, test.want)
		}
	}
}

func TestRepeatableHeaders(t *testing.T) {
	t.Parallel()
	var given, want []idempotency.Header
	for _, name := range []string{
		":status", "set-cookie", "set-cookie2", "authorization", "proxy-authenticate", "www-authenticate", "date", "server", "age", "via",
		"x-envoy-upstream-service-time", "connection", "transfer-encoding", "content-length", "alt-svc", "traceparent", "mcp-session-id",
		"x-api-key", "x-auth-token", "cache-control", "vary", "x-request-id",
	} {
		given = append(given, idempotency.Header{Name: name, Value: "no"})
	}
	for _, name := range []string{"content-type", "content-language", "location", "etag", "last-modified", "link", "link", "deprecation"} {
		want = append(want, idempotency.Header{Name: name, Value: "yes"})
	}
	if diff := cmp.Diff(want, idempotency.RepeatableHeaders(append(given, want...))); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if got := idempotency.RepeatableHeaders(given); got != nil {
		t.Errorf("kept %v", got)
	}
}
