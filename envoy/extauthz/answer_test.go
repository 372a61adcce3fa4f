package extauthz_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/catalogue"
	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/authz/operation"
	"github.com/sallyport/sallyport/authz/refusal"
)

func protoName(name string) protoreflect.Name { return protoreflect.Name(name) }

func restServer() *authz.Server {
	operations, err := operation.New(operation.Config{Name: "rest", REST: &operation.RESTConfig{
		Prefix: "/api", Routes: []operation.Route{{Method: "GET", Template: "/x", Tool: "x"}},
	}})
	if err != nil {
		panic(err)
	}
	return &authz.Server{Name: "rest", Resource: "https://dealer.example/api", Operations: operations}
}

// refused is a tools/call with the id 7 that was refused for the reason.
func refused(row *authz.Reason, server *authz.Server) *authz.Decision {
	return &authz.Decision{
		ID: "0190-id", Reason: row, Detail: "Detail.", Evaluated: []string{"route"}, Server: server, RPCID: "7",
		Tool:      &catalogue.Tool{Name: "refund", StepUp: catalogue.StepUp{ACRValues: []string{"gold", "phr"}, MaxAge: 5 * time.Minute}},
		Operation: &operation.Operation{Kind: operation.MCP, Method: "tools/call", RPCID: "7", ProtocolVersion: "2025-11-25"},
		Scopes:    []string{"mcp", "refunds.write"},
		Hint:      &authz.ElevationHint{URL: "https://dealer.example/elevate", Duration: time.Hour},
	}
}

func TestChallenges(t *testing.T) {
	t.Parallel()
	const metadata = `resource_metadata="https://dealer.example/.well-known/oauth-protected-resource/mcp"`
	tests := map[string]string{
		"authentication.missing":       `Bearer scope="mcp", ` + metadata,
		"authentication.ambiguous":     `Bearer error="invalid_request", error_description="Credentials were presented more than once, or in more than one way. Detail.", ` + metadata,
		"authentication.expired":       `Bearer error="invalid_token", error_description="The access token has expired. Detail.", scope="mcp", ` + metadata,
		"authentication.dpop_invalid":  `DPoP error="invalid_dpop_proof", error_description="The DPoP proof is not valid for this request. Detail.", algs="ES256 ES384 ES512 PS256 PS384 PS512 RS256 RS384 RS512 EdDSA", ` + metadata,
		"authentication.dpop_required": `DPoP error="invalid_token", error_description="The access token needs a DPoP proof. Detail.", algs="ES256 ES384 ES512 PS256 PS384 PS512 RS256 RS384 RS512 EdDSA", ` + metadata,
		"scopes.insufficient":          `Bearer error="insufficient_scope", error_description="The access token lacks a required scope. Detail.", scope="mcp refunds.write", ` + metadata,
		"step_up.required":             `Bearer error="insufficient_user_authentication", error_description="The tool needs a stronger or more recent login. Detail.", acr_values="gold phr", max_age="300", ` + metadata,
		"elevation.required":           "",
	}
	for code, want := range tests {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			got, err := authv3.NewAuthorizationClient(dial(t, &decider{decision: refused(reason(code), mcpServer())})).Check(t.Context(), check())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, headers(got.GetDeniedResponse().GetHeaders())["www-authenticate"]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDetailIsPartOfASentence(t *testing.T) {
	t.Parallel()
	d := refused(reason("authentication.expired"), restServer())
	d.Detail = "it expired long ago"
	got, err := authv3.NewAuthorizationClient(dial(t, &decider{decision: d})).Check(t.Context(), check())
	if err != nil {
		t.Fatal(err)
	}
	const want = `error_description="The access token has expired: it expired long ago."`
	if challenge := headers(got.GetDeniedResponse().GetHeaders())["www-authenticate"]; !strings.Contains(challenge, want) {
		t.Errorf("challenge %s", challenge)
	}
}

// TestPanicIsADenial: nobody above Check recovers, and a panic would end all
// requests.
func TestPanicIsADenial(t *testing.T) {
	t.Parallel()
	got, err := authv3.NewAuthorizationClient(dial(t, &decider{})).Check(t.Context(), check())
	if err != nil {
		t.Fatal(err)
	}
	if got.GetDeniedResponse().GetStatus().GetCode() != 500 {
		t.Errorf("got %v", got)
	}
}

func TestMCPForms(t *testing.T) {
	t.Parallel()
	legacy, modern := "2025-11-25", "2026-07-28"
	tests := []struct {
		name    string
		reason  string
		version string
		change  func(*authz.Decision)
		status  int
		want    string // as JSON, facts left out
	}{
		{"tool error", "elevation.required", legacy, nil, 200,
			`{"jsonrpc":"2.0","id":7,"result":{"isError":true,"content":[{"type":"text","text":"The tool is privileged and the caller holds no elevation. Detail."}]}}`},
		{"tool error, stateless", "elevation.required", modern, nil, 200,
			`{"jsonrpc":"2.0","id":7,"result":{"resultType":"complete","isError":true,"content":[{"type":"text","text":"The tool is privileged and the caller holds no elevation. Detail."}]}}`},
		{"error", "operation.unknown_tool", legacy, nil, 200,
			`{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"The tool is not available. Detail."}}`},
		{"unknown method", "operation.unknown_method", legacy, nil, 200,
			`{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"The method is not available. Detail."}}`},
		{"unknown method, stateless", "operation.unknown_method", modern, nil, 404,
			`{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"The method is not available. Detail."}}`},
		{"without an id", "operation.unknown_method", legacy, func(d *authz.Decision) { d.RPCID = "" }, 404,
			`{"jsonrpc":"2.0","error":{"code":-32601,"message":"The method is not available. Detail."}}`},
		{"a tool error without an id", "conditions.failed", legacy, func(d *authz.Decision) { d.RPCID = "" }, 403,
			`{"jsonrpc":"2.0","error":{"code":403,"message":"A condition of the tool is not met. Detail."}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := refused(reason(tt.reason), mcpServer())
			d.Operation.ProtocolVersion = tt.version
			if tt.change != nil {
				tt.change(d)
			}
			got, err := authv3.NewAuthorizationClient(dial(t, &decider{decision: d})).Check(t.Context(), check())
			if err != nil {
				t.Fatal(err)
			}
			if status := int(got.GetDeniedResponse().GetStatus().GetCode()); status != tt.status {
				t.Errorf("status %d, want %d", status, tt.status)
			}
			var body, want map[string]any
			if err := json.Unmarshal([]byte(got.GetDeniedResponse().GetBody()), &body); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
				t.Fatal(err)
			}
			facts := dropFacts(body)
			if diff := cmp.Diff(want, body); diff != "" {
				t.Error(diff)
			}
			elevates := strings.HasPrefix(tt.reason, "elevation.")
			if facts["reason"] != tt.reason || (facts["elevation_url"] == "https://dealer.example/elevate") != elevates || (facts["elevation_required"] == true) != elevates {
				t.Errorf("facts %v", facts)
			}
		})
	}
}

// An approval is for the exchange to spend, so there must be one.
func TestApprovalGoesToTheExchange(t *testing.T) {
	t.Parallel()
	d := refused(reason("allowed"), mcpServer())
	d.Allow, d.Approval, d.Principal = true, "r-1", &identity.Principal{ID: "p-1"}
	d.Hint.Approval = true
	got, err := authv3.NewAuthorizationClient(dial(t, &decider{decision: d})).Check(t.Context(), check())
	if err != nil {
		t.Fatal(err)
	}
	fields := got.GetDynamicMetadata().AsMap()
	if fields["exchange"] != "run" || fields["approval_id"] != "r-1" || fields["elevation_url"] != "https://dealer.example/elevate" || fields["principal_id"] != "p-1" {
		t.Errorf("metadata %v", fields)
	}
	d.Allow, d.Reason = false, reason("approval.required")
	if got, err = authv3.NewAuthorizationClient(dial(t, &decider{decision: d})).Check(t.Context(), check()); err != nil {
		t.Fatal(err)
	}
	if body := got.GetDeniedResponse().GetBody(); !strings.Contains(body, `"approval_required":true`) || strings.Contains(body, "elevation_required") {
		t.Errorf("told %s", body)
	}
}

// dropFacts takes the facts out of a JSON-RPC answer.
func dropFacts(body map[string]any) map[string]any {
	if e, ok := body["error"].(map[string]any); ok {
		facts, _ := e["data"].(map[string]any)
		delete(e, "data")
		return facts
	}
	result, _ := body["result"].(map[string]any)
	meta, _ := result["_meta"].(map[string]any)
	facts, _ := meta[refusal.FactsKey].(map[string]any)
	delete(result, "_meta")
	return facts
}

func TestUnsupportedVersionNamesTheSupportedOnes(t *testing.T) {
	t.Parallel()
	d := refused(reason("operation.unsupported_version"), mcpServer())
	d.Operation = nil
	d.Refused = &operation.Refusal{Cause: operation.CauseUnsupportedVersion, Supported: []string{"2025-11-25"}, Requested: "1900-01-01"}
	got, err := authv3.NewAuthorizationClient(dial(t, &decider{decision: d})).Check(t.Context(), check())
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		Error struct {
			Code int
			Data struct {
				Supported []string
				Requested string
			}
		}
	}
	if err := json.Unmarshal([]byte(got.GetDeniedResponse().GetBody()), &body); err != nil {
		t.Fatal(err)
	}
	if body.Error.Code != -32022 || body.Error.Data.Requested != "1900-01-01" || len(body.Error.Data.Supported) != 1 {
		t.Errorf("%s", got.GetDeniedResponse().GetBody())
	}
}
