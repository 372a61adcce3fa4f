package provider

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// azureProvisions is how long a request that was granted may take to become an
	// assignment, or to be seen as one.
	azureProvisions = 10 * time.Minute
	azureLongest    = 365 * 24 * time.Hour
	longestReason   = 500 // runes; providers refuse or cut longer ones
)

// azureRequest is a request for an assignment, as it is sent and as it is answered.
type azureRequest struct {
	azureTarget
	ID               string        `json:"id"`
	Status           string        `json:"status"`
	Action           string        `json:"action"`
	TargetScheduleID string        `json:"targetScheduleId"`
	Completed        *time.Time    `json:"completedDateTime"`
	Created          *time.Time    `json:"createdDateTime"`
	Schedule         azureSchedule `json:"scheduleInfo"`
	TicketInfo       azureTicket   `json:"ticketInfo"`
}

type azureSchedule struct {
	Start      *time.Time      `json:"startDateTime"`
	Expiration azureExpiration `json:"expiration"`
}

type azureExpiration struct {
	Type     string     `json:"type"`
	End      *time.Time `json:"endDateTime,omitempty"`
	Duration string     `json:"duration,omitempty"`
}

type azureTicket struct {
	TicketNumber string `json:"ticketNumber"`
	TicketSystem string `json:"ticketSystem"`
}

// azureFiling is the body of a request. Members that the other kind of role has are
// left out.
type azureFiling struct {
	Action           string        `json:"action"`
	PrincipalID      string        `json:"principalId"`
	RoleDefinitionID string        `json:"roleDefinitionId,omitempty"`
	DirectoryScopeID string        `json:"directoryScopeId,omitempty"`
	GroupID          string        `json:"groupId,omitempty"`
	AccessID         string        `json:"accessId,omitempty"`
	Justification    string        `json:"justification"`
	Schedule         azureSchedule `json:"scheduleInfo"`
	TicketInfo       azureTicket   `json:"ticketInfo"`
}

// File assigns the role for a time if the configuration lets us. Otherwise only the
// user can: an activation is made in the user's own session, which we don't have. The
// answer then has the URL of the portal beside ErrUnsupported.
func (a *AzurePIM) File(ctx context.Context, what Filing) (Filed, error) {
	role, err := azureSubject(what.Subject)
	if err != nil {
		return Filed{}, err
	}
	if !a.adminAssigns {
		page := a.portalOf(&role)
		return Filed{URL: page}, fmt.Errorf("%w: users activate their roles themselves, at %s", ErrUnsupported, page)
	}
	minutes := what.Duration / time.Minute
	if minutes < 1 || what.Duration > azureLongest {
		return Filed{}, fmt.Errorf("%w: a duration of %v", ErrUnsupported, what.Duration)
	}
	start := a.now().UTC().Truncate(time.Second)
	body := azureFiling{
		Action: "adminAssign", PrincipalID: role.user, RoleDefinitionID: role.role, DirectoryScopeID: role.scope,
		GroupID: role.group, AccessID: role.access, Justification: cutReason(what.Reason, what.Tool),
		Schedule:   azureSchedule{Start: &start, Expiration: azureExpiration{Type: "afterDuration", Duration: fmt.Sprintf("PT%dM", minutes)}},
		TicketInfo: azureTicket{TicketNumber: what.Tool, TicketSystem: a.ticketSystem},
	}
	var answer azureRequest
	if err := a.send(ctx, http.MethodPost, a.endpoint+role.path("Requests"), &body, &answer); err != nil {
		return Filed{}, fmt.Errorf("file a request: %w", err)
	}
	return a.filedOf(ctx, &role, what.Subject, &answer)
}

// cutReason is the reason as a provider takes it; without one, the tool's name.
func cutReason(reason, tool string) string {
	reason = strings.ToValidUTF8(cmp.Or(reason, tool), "\uFFFD")
	if utf8.RuneCountInString(reason) > longestReason {
		return string([]rune(reason)[:longestReason-1]) + "…"
	}
	return reason
}

func (a *AzurePIM) portalOf(role *azureRole) string {
	const blade = "https://entra.microsoft.com/#view/Microsoft_Azure_PIMCommon/ActivationMenuBlade/~/"
	switch {
	case a.portal != "":
		return a.portal
	case role.group != "":
		return blade + "aadgroup"
	}
	return blade + "aadmigratedroles"
}

// Poll asks how a request fares. One that Entra ID has granted is active when the
// assignment is there.
func (a *AzurePIM) Poll(ctx context.Context, ref string, who Subject) (Filed, error) {
	role, err := azureSubject(who)
	if err != nil {
		return Filed{}, err
	}
	if !graphIDPattern.MatchString(ref) {
		return Filed{}, fmt.Errorf("%w: request %s can't be one of Entra ID", ErrSubject, clip(ref))
	}
	var answer azureRequest
	if err := a.send(ctx, http.MethodGet, a.endpoint+role.path("Requests")+"/"+ref, nil, &answer); err != nil {
		return Filed{}, fmt.Errorf("ask about a request: %w", err)
	}
	if answer.ID != ref {
		return Filed{}, fmt.Errorf("%w: it is about another request", ErrAnswer)
	}
	return a.filedOf(ctx, &role, who, &answer)
}

func (a *AzurePIM) filedOf(ctx context.Context, role *azureRole, who Subject, r *azureRequest) (Filed, error) {
	filed := Filed{Ref: r.ID, URL: a.portalOf(role)}
	switch {
	case !graphIDPattern.MatchString(r.ID):
		return Filed{}, fmt.Errorf("%w: the request has no id", ErrAnswer)
	case !r.within(role):
		return Filed{}, fmt.Errorf("%w: the request is for somebody or something else", ErrAnswer)
	}
	state, granted := azureState(r.Status)
	if filed.State = state; !granted {
		if state == "" {
			return Filed{}, fmt.Errorf("%w: a request has the unknown status %s", ErrAnswer, clip(r.Status))
		}
		return filed, nil
	}
	status, err := a.Check(ctx, who)
	if err != nil {
		return Filed{}, fmt.Errorf("see whether the request is in force: %w", err)
	}
	if status.Active {
		filed.State, filed.Until = FiledActive, status.Until
		return filed, nil
	}
	filed.State = r.without(a.now())
	return filed, nil
}

// azureState translates a status. Of a granted request the assignment says more.
func azureState(status string) (state FiledState, granted bool) {
	status = strings.ToLower(status)
	switch status {
	case "provisioned", "granted", "schedulecreated":
		return FiledPending, true
	case "denied":
		return FiledDenied, false
	case "canceled", "revoked":
		return FiledCancelled, false
	case "failed":
		return FiledFailed, false
	}
	if strings.HasPrefix(status, "pending") {
		return FiledPending, false
	}
	return "", false
}

// without is the state of a granted request whose assignment isn't there: not yet, or
// not any more.
func (r *azureRequest) without(now time.Time) FiledState {
	var begins time.Time
	for _, t := range []*time.Time{r.Created, r.Completed, r.Schedule.Start} {
		if t != nil && t.After(begins) {
			begins = *t
		}
	}
	end := r.Schedule.Expiration.End
	if end != nil && !now.Before(*end) || now.After(begins.Add(azureProvisions)) {
		return FiledExpired
	}
	return FiledPending
}
