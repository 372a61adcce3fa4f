package provider

import (
	"context"
	"fmt"
	"time"
)

const oktaGrantsPath = "/governance/api/v1/grants"

// oktaGrant is a user's entitlement to something in an application.
type oktaGrant struct {
	ID                  string        `json:"id"`
	Status              string        `json:"status"`
	Action              string        `json:"action"`
	EntitlementBundleID string        `json:"entitlementBundleId"`
	Target              oktaPrincipal `json:"target"`
	TargetPrincipal     oktaPrincipal `json:"targetPrincipal"`
	Schedule            struct {
		ExpirationDate *time.Time `json:"expirationDate"`
	} `json:"scheduleSettings"`
}

// at reports whether it is this user's, at this application. The filter asked for that
// already: an answer isn't believed because it was asked for.
func (g *oktaGrant) at(role *oktaRole) bool {
	return g.Target == oktaPrincipal{Type: "APPLICATION", ID: role.scope} &&
		g.TargetPrincipal == oktaPrincipal{Type: "OKTA_USER", ID: role.user}
}

func (g *oktaGrant) allows(role *oktaRole) bool {
	return g.Action == "ALLOW" && (role.bundle == "" || g.EntitlementBundleID == role.bundle)
}

// denies is true for more than allows: what isn't about a certain bundle is about all.
func (g *oktaGrant) denies(role *oktaRole) bool {
	return g.Action == "DENY" && (role.bundle == "" || g.EntitlementBundleID == "" || g.EntitlementBundleID == role.bundle)
}

// runs reports whether it is in force, if it has an end or standing ones count.
func (g *oktaGrant) runs(now time.Time, standing bool) bool {
	if g.Status != "ACTIVE" {
		return false
	}
	if g.Schedule.ExpirationDate == nil {
		return standing
	}
	return now.Before(*g.Schedule.ExpirationDate)
}

// checkGrants reads all grants of the user at the application, and takes the one that
// lasts longest. One that denies wins.
func (o *Okta) checkGrants(ctx context.Context, role *oktaRole) (Status, error) {
	filter := "target.externalId eq " + scimText(role.scope) + ` AND target.type eq "APPLICATION" AND targetPrincipal.externalId eq ` +
		scimText(role.user) + ` AND targetPrincipal.type eq "OKTA_USER"`
	first := o.endpoint + oktaGrantsPath + "?filter=" + escapeQuery(filter) + "&limit=100"
	now, denied := o.now(), false
	var best *oktaGrant
	err := oktaList(ctx, o, o.grants, first, func(g *oktaGrant) (enough bool, err error) {
		switch {
		case !g.at(role):
		case g.Action != "ALLOW" && g.Action != "DENY":
			return false, fmt.Errorf("%w: a grant has the unknown action %s", ErrAnswer, clip(g.Action))
		case g.denies(role) && g.runs(now, true):
			denied = true
		case g.allows(role) && g.runs(now, o.standing) && g.outlasts(best):
			best = g
		}
		return denied, nil
	})
	switch {
	case err != nil:
		return Status{}, fmt.Errorf("list grants: %w", err)
	case denied || best == nil:
		return Status{}, nil
	}
	status := Status{Active: true, Evidence: best.ID}
	if end := best.Schedule.ExpirationDate; end != nil {
		status.Until = *end
	}
	return status, nil
}

// outlasts compares ends; none is the latest.
func (g *oktaGrant) outlasts(other *oktaGrant) bool {
	if other == nil || g.Schedule.ExpirationDate == nil {
		return true
	}
	end := other.Schedule.ExpirationDate
	return end != nil && g.Schedule.ExpirationDate.After(*end)
}
