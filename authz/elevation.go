package authz

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/authz/catalogue"
	"github.com/sallyport/sallyport/authz/identity"
)

// ElevationRule says how privileged tools, and tools whose calls need an approval,
// can be called.
type ElevationRule struct {
	Enabled bool          // false: they are refused, whatever the token claims
	URL     string        // told to callers without an elevation; a path is one of the server's origin
	Longest time.Duration // an elevation lasts this long, or less if its claim or its tool says so

	RequireReason   bool
	RequireApproval bool          // an elevation needs a second person's yes
	PendingFor      time.Duration // how long a request waits for a decision
	ApprovalFor     time.Duration // how long an approved call waits for its execution
	Approvers       []Approvers

	// External is true where a provider outside says who is elevated. Users names, by
	// issuer, the claim with the user's id there; users of other issuers are unknown
	// to it.
	External      bool
	Users         map[string]string
	BreakGlass    bool // a local grant counts while the provider fails
	BreakGlassFor time.Duration
}

// Approvers are the persons of one issuer with one of these roles. Only persons who
// are known as such (identity.Principal.Person) approve.
type Approvers struct {
	Issuer string // configured name
	Roles  []string
}

// MayApprove reports whether somebody approves requests for a tool: a person, and not
// an agent with that person's token.
func (r *ElevationRule) MayApprove(p *identity.Principal, tool *catalogue.Tool) bool {
	if p.Person == "" || p.Actor != "" {
		return false
	}
	for i := range r.Approvers {
		a := &r.Approvers[i]
		if a.Issuer != p.Issuer {
			continue
		}
		roles := a.Roles
		if len(tool.Elevation.ApproverRoles) != 0 {
			roles = tool.Elevation.ApproverRoles
		}
		if slices.ContainsFunc(p.Roles, func(role string) bool { return slices.Contains(roles, role) }) {
			return true
		}
	}
	return false
}

// LongestOf is how long an elevation for a tool lasts at most.
func (r *ElevationRule) LongestOf(tool *catalogue.Tool) time.Duration {
	if own := tool.Elevation.Longest; own != 0 {
		return min(r.Longest, own)
	}
	return r.Longest
}

// Holder is a caller who may hold an elevation for a tool.
type Holder struct {
	Principal    string // identity.PrincipalID
	Server, Tool string
	User, Role   string // as the external provider knows them; empty without one, and User where it doesn't know the caller
	BreakGlass   bool   // a local grant counts while the provider fails
}

// Elevation is what elevates a caller. Its zero value is nothing.
type Elevation struct {
	Source string // SourceClaim or another
	ID     string // of the token, the grant, or what the provider calls it; may be empty
	Until  time.Time
}

// What can elevate.
const (
	SourceClaim      = "claim"       // elevation_status of an issuer that is trusted for it
	SourceProvider   = "provider"    // the external provider
	SourceGrant      = "grant"       // one of our own
	SourceBreakGlass = "break_glass" // one of our own, while the provider fails
)

// Elevations knows who holds an elevation and which calls are approved. An error
// says that this isn't known now: nobody is let in then.
type Elevations interface {
	// Revoked returns when the caller's elevation was revoked, if it was and nothing
	// newer elevates. It takes no time.
	Revoked(h *Holder, now time.Time) (at time.Time, ok bool, err error)
	// Elevated asks the external provider, or looks for a local grant. It may take as
	// long as the provider may.
	Elevated(ctx context.Context, h *Holder, now time.Time) (Elevation, error)
	// Approval returns the id of the approval of exactly this call; empty without one.
	// One that was spent is returned, too, so that a retry is answered. It takes no time.
	Approval(h *Holder, fingerprint [32]byte, now time.Time) (id string, err error)
	// Pending returns the id of a request that waits for its decision: of a call, or
	// with a zero fingerprint of an elevation. It takes no time.
	Pending(h *Holder, fingerprint [32]byte) (id string)
}

// checkElevation wants a time-bound elevation for privileged tools. A revocation
// beats everything, then the token's claim counts, then the provider's word or, where
// there is none, a grant of our own.
func checkElevation(ctx context.Context, ev *evaluation) bool {
	d, rule := ev.decision, &ev.snapshot.Elevation
	if d.Tool == nil || !d.Tool.RequiresElevation {
		return true
	}
	if !rule.Enabled {
		d.deny("elevation", "disabled", "Privileged access is switched off (pim.enabled).")
		return false
	}
	h := ev.holder()
	revoked, isRevoked, err := ev.revoked(&h)
	if err != nil {
		d.deny("elevation", "unavailable", "Try again later.")
		d.Fault = err.Error()
		return false
	}
	// A claim is newer than a revocation only if no clock that is a little ahead could
	// make it seem so.
	if d.Elevated = claimed(ev); d.Elevated.Source != "" && (!isRevoked || d.Principal.Elevation.At.After(revoked.Add(ev.snapshot.ClockSkew))) {
		return true
	}
	d.Elevated = Elevation{}
	if !isRevoked && ev.engine.elevations != nil {
		if d.Elevated, err = ev.engine.elevations.Elevated(ctx, &h, d.Time); err != nil {
			d.deny("elevation", "unavailable", rule.whileAway(d.Server))
			d.Fault = err.Error()
			return false
		}
		if d.Elevated.Source != "" {
			return true
		}
	}
	d.Hint = ev.hint(&h, [32]byte{})
	d.Hint.Duration = rule.LongestOf(d.Tool)
	if isRevoked {
		d.deny("elevation", "revoked", "Ask for a new one at "+d.Hint.URL+".")
		return false
	}
	d.deny("elevation", "required", d.Hint.advice("Ask for an elevation", d.Tool.Name))
	return false
}

// whileAway says what is left while the provider fails.
func (r *ElevationRule) whileAway(s *Server) string {
	if r.External && r.BreakGlass {
		return "Try again later; or ask for a break-glass grant at " + s.onOrigin(r.URL) + "."
	}
	return "Try again later."
}

// holder is the caller of a tool.
func (ev *evaluation) holder() Holder {
	d, rule := ev.decision, &ev.snapshot.Elevation
	h := Holder{Principal: d.Principal.ID, Server: d.Server.Name, Tool: d.Tool.Name}
	if rule.External {
		h.User, h.Role, h.BreakGlass = rule.userOf(d.Principal), RoleOf(d.Tool), rule.BreakGlass
	}
	return h
}

func (r *ElevationRule) userOf(p *identity.Principal) string {
	if claim := r.Users[p.Issuer]; claim != "" {
		return p.Claim(claim)
	}
	return ""
}

// RoleOf is what an external provider calls the right to a tool.
func RoleOf(tool *catalogue.Tool) string {
	if role := tool.Elevation.ProviderRole; role != "" {
		return role
	}
	return tool.Name
}

func (ev *evaluation) revoked(h *Holder) (at time.Time, ok bool, err error) {
	if ev.engine.elevations == nil {
		return time.Time{}, false, nil
	}
	return ev.engine.elevations.Revoked(h, ev.decision.Time)
}

// claimed is the elevation that the token claims, if it has begun and not ended.
func claimed(ev *evaluation) Elevation {
	d, claim := ev.decision, ev.decision.Principal.Elevation
	if claim == nil {
		return Elevation{}
	}
	lasts := ev.snapshot.Elevation.LongestOf(d.Tool)
	if claim.Duration > 0 {
		lasts = min(lasts, claim.Duration)
	}
	until := claim.At.Add(lasts)
	if claim.At.After(d.Time.Add(ev.snapshot.ClockSkew)) || !d.Time.Before(until) {
		return Elevation{}
	}
	return Elevation{Source: SourceClaim, ID: d.Principal.TokenID, Until: until}
}

func (ev *evaluation) hint(h *Holder, fingerprint [32]byte) *ElevationHint {
	hint := &ElevationHint{URL: ev.decision.Server.onOrigin(ev.snapshot.Elevation.URL)}
	if ev.engine.elevations != nil {
		hint.Pending = ev.engine.elevations.Pending(h, fingerprint)
	}
	return hint
}

func (h *ElevationHint) advice(ask, tool string) string {
	if h.Pending != "" {
		return fmt.Sprintf("Request %s waits for its approval: call again then.", h.Pending)
	}
	return fmt.Sprintf("%s, by `sallyport elevate request %s` or POST %s. Then call again.", ask, tool, h.URL)
}

// checkApproval wants a second person's yes to exactly this call. It is found here,
// and spent by the exchange once the call's key is claimed.
func checkApproval(_ context.Context, ev *evaluation) bool {
	d, rule := ev.decision, &ev.snapshot.Elevation
	if d.Tool == nil || !d.Tool.RequiresApproval {
		return true
	}
	if !rule.Enabled || !ev.snapshot.Idempotency.Enabled || ev.engine.elevations == nil {
		d.deny("approval", "disabled", "An approval needs pim.enabled, and transaction_safety.idempotency_enabled to be spent with a key.")
		return false
	}
	if beyond := d.Operation.Beyond; beyond != "" {
		d.deny("approval", "beyond", "Leave out "+strconv.Quote(beyond)+": an approval is of the arguments alone.")
		return false
	}
	h := ev.holder()
	var err error
	if d.Approval, err = ev.engine.elevations.Approval(&h, d.Operation.Fingerprint, d.Time); err != nil {
		d.deny("approval", "unavailable", "Try again later.")
		d.Fault = err.Error()
		return false
	}
	d.Hint = ev.hint(&h, d.Operation.Fingerprint) // also where one is found, which may be spent
	if d.Approval != "" {
		return true
	}
	d.Hint.Approval, d.Hint.Duration = true, rule.ApprovalFor
	d.deny("approval", "required", d.Hint.advice("Ask for an approval of exactly this call", d.Tool.Name))
	return false
}
