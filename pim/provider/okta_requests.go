package provider

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

const (
	oktaRequestsPath = "/governance/api/v2/requests"
	// oktaLooks is how many requests of one user for one role are looked at in a check.
	oktaLooks = 20
)

// oktaPrincipal is a user, or what else can have a grant.
type oktaPrincipal struct {
	Type string `json:"type"`
	ID   string `json:"externalId"`
}

// oktaRequest is an access request. In a list it may lack anything.
type oktaRequest struct {
	ID                  string        `json:"id"`
	Status              string        `json:"status"`
	GrantStatus         string        `json:"grantStatus"`
	RevocationStatus    string        `json:"revocationStatus"`
	Granted             *time.Time    `json:"granted"`
	Revoked             *time.Time    `json:"revoked"`
	RevocationScheduled *time.Time    `json:"revocationScheduled"`
	RequestedFor        oktaPrincipal `json:"requestedFor"`
	Requested           struct {
		EntryID       string `json:"entryId"`
		AccessScopeID string `json:"accessScopeId"`
	} `json:"requested"`
}

// of reports whether it is for this user and role. The filter asked for that already:
// an answer isn't believed because it was asked for.
func (r *oktaRequest) of(role *oktaRole) bool {
	return r.RequestedFor == oktaPrincipal{Type: "OKTA_USER", ID: role.user} && r.Requested.AccessScopeID == role.scope
}

// mayRun is what a sparse item of a list doesn't rule out.
func (r *oktaRequest) mayRun(role *oktaRole) bool {
	allows := func(said, wanted string) bool { return said == "" || said == wanted }
	return allows(r.Status, "APPROVED") && allows(r.GrantStatus, "GRANTED") && r.RevocationStatus != "REVOKED" &&
		allows(r.RequestedFor.ID, role.user) && allows(r.Requested.AccessScopeID, role.scope)
}

// runs reports whether its access is there now.
func (r *oktaRequest) runs(now time.Time, standing bool) bool {
	switch {
	case r.Status != "APPROVED" || r.GrantStatus != "GRANTED" || r.RevocationStatus == "REVOKED" || r.Revoked != nil:
		return false
	case r.Granted != nil && now.Before(*r.Granted):
		return false
	case r.RevocationScheduled == nil:
		return standing
	}
	return now.Before(*r.RevocationScheduled)
}

func (r *oktaRequest) until() time.Time {
	if r.RevocationScheduled == nil {
		return time.Time{}
	}
	return *r.RevocationScheduled
}

// checkRequests looks at approved requests, the newest first, until one runs.
func (o *Okta) checkRequests(ctx context.Context, role *oktaRole) (status Status, err error) {
	filter := "requestedFor eq " + scimText(role.user) + ` AND status eq "APPROVED" AND accessScopeId eq ` + scimText(role.scope)
	first := o.endpoint + oktaRequestsPath + "?filter=" + escapeQuery(filter) + "&orderBy=" + escapeQuery("created desc") + "&limit=100"
	looks := 0
	err = oktaList(ctx, o, o.reads, first, func(item *oktaRequest) (enough bool, err error) {
		if !item.mayRun(role) {
			return false, nil
		}
		if looks++; looks > oktaLooks {
			return false, fmt.Errorf("%w: the user has more than %d requests for it that may be in force", ErrAnswer, oktaLooks)
		}
		// The item doesn't say when its access ends.
		r, err := o.request(ctx, item.ID)
		if err != nil || !r.of(role) || !r.runs(o.now(), o.standing) {
			return false, err
		}
		status = Status{Active: true, Until: r.until(), Evidence: r.ID}
		return true, nil
	})
	if err != nil {
		return Status{}, fmt.Errorf("look at access requests: %w", err)
	}
	return status, nil
}

func (o *Okta) request(ctx context.Context, id string) (*oktaRequest, error) {
	if !oktaRequestPattern.MatchString(id) {
		return nil, fmt.Errorf("%w: a request has no id", ErrAnswer)
	}
	var r oktaRequest
	if err := o.send(ctx, o.reads, http.MethodGet, o.endpoint+oktaRequestsPath+"/"+id, nil, &r); err != nil {
		return nil, err
	}
	if r.ID != id {
		return nil, fmt.Errorf("%w: it is about another request", ErrAnswer)
	}
	return &r, nil
}

type oktaField struct {
	ID    string `json:"id"`
	Type  string `json:"type,omitempty"`
	Value string `json:"value"`
}

type oktaFiling struct {
	Requested struct {
		Type    string `json:"type"`
		EntryID string `json:"entryId"`
	} `json:"requested"`
	RequestedFor oktaPrincipal `json:"requestedFor"`
	Fields       []oktaField   `json:"requesterFieldValues"`
}

// File asks for access in the user's name; who asks is our application.
func (o *Okta) File(ctx context.Context, what Filing) (Filed, error) {
	role, err := o.subject(what.Subject)
	if err != nil {
		return Filed{}, err
	}
	if role.entry == "" {
		return Filed{URL: o.portal}, fmt.Errorf("%w: the role has no entry of the catalogue (cen…)", ErrUnsupported)
	}
	body := oktaFiling{RequestedFor: oktaPrincipal{Type: "OKTA_USER", ID: role.user}, Fields: []oktaField{}}
	body.Requested.Type, body.Requested.EntryID = "CATALOG_ENTRY", role.entry
	if !o.fixedDuration {
		duration := oktaDuration(what.Duration)
		if duration == "" {
			return Filed{}, fmt.Errorf("%w: a duration of %v", ErrUnsupported, what.Duration)
		}
		body.Fields = append(body.Fields, oktaField{ID: "OKTA_ACCESS_DURATION", Type: "DURATION", Value: duration})
	}
	if o.justificationField != "" {
		body.Fields = append(body.Fields, oktaField{ID: o.justificationField, Type: "TEXT", Value: cutReason(what.Reason, what.Tool)})
	}
	var r oktaRequest
	if err := o.send(ctx, o.files, http.MethodPost, o.endpoint+oktaRequestsPath, &body, &r); err != nil {
		return Filed{}, fmt.Errorf("file a request: %w", err)
	}
	return o.filedOf(ctx, &role, &r)
}

// oktaDuration is the longest that Okta can write and that isn't longer than d: at
// most five characters, in one unit. Empty: there is none.
func oktaDuration(d time.Duration) string {
	switch minutes, hours, days := d/time.Minute, d/time.Hour, d/(24*time.Hour); {
	case minutes < 1 || days > 999:
		return ""
	case minutes <= 99:
		return fmt.Sprintf("PT%dM", minutes)
	case hours <= 99:
		return fmt.Sprintf("PT%dH", hours)
	default:
		return fmt.Sprintf("P%dD", days)
	}
}

// Poll asks how a request fares.
func (o *Okta) Poll(ctx context.Context, ref string, who Subject) (Filed, error) {
	role, err := o.subject(who)
	if err != nil {
		return Filed{}, err
	}
	if !oktaRequestPattern.MatchString(ref) {
		return Filed{}, fmt.Errorf("%w: request %s can't be one of Okta", ErrSubject, clip(ref))
	}
	r, err := o.request(ctx, ref)
	if err != nil {
		return Filed{}, fmt.Errorf("ask about a request: %w", err)
	}
	return o.filedOf(ctx, &role, r)
}

func (o *Okta) filedOf(ctx context.Context, role *oktaRole, r *oktaRequest) (Filed, error) {
	filed := Filed{Ref: r.ID, URL: o.portal}
	switch {
	case !oktaRequestPattern.MatchString(r.ID):
		return Filed{}, fmt.Errorf("%w: the request has no id", ErrAnswer)
	case r.RequestedFor != oktaPrincipal{Type: "OKTA_USER", ID: role.user}:
		return Filed{}, fmt.Errorf("%w: the request is for somebody else", ErrAnswer)
	case !o.grantsMode && r.Requested.AccessScopeID != role.scope:
		return Filed{}, fmt.Errorf("%w: the request is for something else: the role's entry of the catalogue isn't for its scope", ErrAnswer)
	}
	state, granted := r.state(o.now())
	if state == "" {
		return Filed{}, fmt.Errorf("%w: a request has the unknown status %s, %s", ErrAnswer, clip(r.Status), clip(r.GrantStatus))
	}
	if filed.State = state; !granted {
		return filed, nil
	}
	return o.inForce(ctx, role, r, filed)
}

// inForce is a granted request that counts only if its access does.
func (o *Okta) inForce(ctx context.Context, role *oktaRole, r *oktaRequest, filed Filed) (Filed, error) {
	if !o.grantsMode {
		if filed.State = FiledFailed; r.runs(o.now(), o.standing) {
			filed.State, filed.Until = FiledActive, r.until()
		} else if r.Granted != nil && o.now().Before(*r.Granted) {
			filed.State = FiledPending
		}
		return filed, nil
	}
	status, err := o.checkGrants(ctx, role)
	if err != nil {
		return Filed{}, fmt.Errorf("see whether the request is in force: %w", err)
	}
	if filed.State = FiledPending; status.Active {
		filed.State, filed.Until = FiledActive, status.Until
	}
	return filed, nil
}

// state translates the three states of a request. Granted: its access is there as far
// as it says.
func (r *oktaRequest) state(now time.Time) (state FiledState, granted bool) {
	switch r.Status {
	case "SUBMITTED", "PENDING":
		return FiledPending, false
	case "DENIED", "REJECTED":
		return FiledDenied, false
	case "CANCELED":
		return FiledCancelled, false
	case "EXPIRED":
		return FiledExpired, false
	case "APPROVED":
		return r.grantState(now)
	}
	return "", false
}

func (r *oktaRequest) grantState(now time.Time) (state FiledState, granted bool) {
	ended := r.RevocationScheduled != nil && !now.Before(*r.RevocationScheduled)
	switch {
	case ended:
		return FiledExpired, false
	case r.RevocationStatus == "REVOKED" || r.Revoked != nil:
		return FiledCancelled, false
	}
	switch r.GrantStatus {
	case "", "PENDING", "MANUAL_REQUIRED":
		return FiledPending, false
	case "FAILED":
		return FiledFailed, false
	case "GRANTED":
		return FiledActive, true
	}
	return "", false
}
