package extauthz

import (
	"strings"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/operation"
	"github.com/sallyport/sallyport/authz/refusal"
)

// refusalOf is what there is to say about a denial.
func refusalOf(d *authz.Decision) *refusal.Refusal {
	return &refusal.Refusal{
		Reason: d.Reason, Detail: d.Detail, DecisionID: d.ID, RetryIn: d.RetryIn, More: facts(d),
		MCP:   d.Server != nil && d.Server.Operations.Kind() == operation.MCP,
		RPCID: d.RPCID, Stateless: stateless(d), Tool: d.Tool != nil,
	}
}

func stateless(d *authz.Decision) bool {
	return d.Operation != nil && d.Operation.Stateless() || d.Refused != nil && d.Refused.Stateless()
}

// facts are what a program needs to know about a denial, whatever the dialect.
func facts(d *authz.Decision) map[string]any {
	more := map[string]any{"policies_evaluated": d.Evaluated}
	if len(d.Scopes) != 0 {
		more["required_scopes"] = d.Scopes
	}
	if d.Refused != nil && d.Refused.Cause == operation.CauseUnsupportedVersion {
		more["supported"], more["requested"] = d.Refused.Supported, d.Refused.Requested
	}
	if h := d.Hint; h != nil && (strings.HasPrefix(d.Reason.Code, "elevation.") || strings.HasPrefix(d.Reason.Code, "approval.")) {
		seconds, kind := int(h.Duration.Seconds()), "elevation"
		if h.Approval {
			kind = "approval"
		}
		more[kind+"_required"], more[kind+"_duration_seconds"] = true, seconds
		more["elevation_url"] = h.URL
		if h.Pending != "" {
			more["request_id"], more["status"] = h.Pending, "pending"
		}
	}
	return more
}
