package provider

import (
	"fmt"
	"regexp"
	"strings"
)

// Ids of Entra ID are GUIDs. Nothing else is put into a filter or a path, so nothing
// that is put there can end its literal.
var (
	guidPattern  = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	scopePattern = regexp.MustCompile(`^(/|(/[0-9a-zA-Z-]{1,64}){1,4})$`)
	// graphIDPattern is for ids of requests and schedules, which can be made of others.
	graphIDPattern = regexp.MustCompile(`^[0-9a-zA-Z_-]{1,200}$`)
)

// azureRole is a role at Entra ID: a directory role in a scope, or a way to belong to
// a group.
type azureRole struct {
	user   string
	role   string // directory role: its definition's id
	scope  string // directory role: "/" is the whole directory
	group  string // otherwise
	access string // "member" or "owner" of the group
}

// azureSubject reads directory/ROLE, directory/ROLE/SCOPE…, group/GROUP/member and
// group/GROUP/owner.
func azureSubject(who Subject) (azureRole, error) {
	if !guidPattern.MatchString(who.User) {
		return azureRole{}, fmt.Errorf("%w: the user isn't an object id of Entra ID", ErrSubject)
	}
	r, err := azureRoleOf(who.Role)
	r.user = who.User
	return r, err
}

// CheckRole implements RoleChecker.
func (a *AzurePIM) CheckRole(role string) error {
	_, err := azureRoleOf(role)
	return err
}

func azureRoleOf(text string) (azureRole, error) {
	kind, rest, _ := strings.Cut(text, "/")
	id, rest, _ := strings.Cut(rest, "/")
	bad := func(why string) (azureRole, error) {
		return azureRole{}, fmt.Errorf("%w: role %s: %s", ErrSubject, clip(text), why)
	}
	if !guidPattern.MatchString(id) {
		return bad("it isn't directory/ or group/ with a GUID after it")
	}
	switch {
	case kind == "directory" && scopePattern.MatchString("/"+rest):
		return azureRole{role: id, scope: "/" + rest}, nil
	case kind == "directory":
		return bad("what comes after the id isn't a scope")
	case kind == "group" && (rest == "member" || rest == "owner"):
		return azureRole{group: id, access: rest}, nil
	case kind == "group":
		return bad("/member or /owner must come after the id")
	}
	return bad("it begins with neither directory/ nor group/")
}

const (
	azureRolesPath  = "/roleManagement/directory/roleAssignmentSchedule"
	azureGroupsPath = "/identityGovernance/privilegedAccess/group/assignmentSchedule"
)

// path is the one of "Instances" or "Requests".
func (r *azureRole) path(of string) string {
	if r.group != "" {
		return azureGroupsPath + of
	}
	return azureRolesPath + of
}

// filter is the OData filter for what this user has of this role. Types and kinds of
// access aren't in it: the schema and the answers write them differently.
func (r *azureRole) filter() string {
	if r.group != "" {
		return "principalId eq " + odataText(r.user) + " and groupId eq " + odataText(r.group)
	}
	return "principalId eq " + odataText(r.user) + " and roleDefinitionId eq " + odataText(r.role)
}

// odataText is a literal of OData 4.01 (URL conventions, section 5.1.1.6.1).
func odataText(text string) string {
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}

// azureTarget is what instances and requests say about whose they are.
type azureTarget struct {
	PrincipalID      string `json:"principalId"`
	RoleDefinitionID string `json:"roleDefinitionId"`
	DirectoryScopeID string `json:"directoryScopeId"`
	AppScopeID       string `json:"appScopeId"`
	GroupID          string `json:"groupId"`
	AccessID         string `json:"accessId"`
}

// within reports whether it is the user's, and this role or more of it. The filter
// asked for that already: an answer isn't believed because it was asked for.
func (t *azureTarget) within(r *azureRole) bool {
	if !strings.EqualFold(t.PrincipalID, r.user) {
		return false
	}
	if r.group != "" {
		return strings.EqualFold(t.GroupID, r.group) && strings.EqualFold(t.AccessID, r.access)
	}
	covers := t.DirectoryScopeID == "/" || strings.EqualFold(t.DirectoryScopeID, r.scope)
	return strings.EqualFold(t.RoleDefinitionID, r.role) && covers && t.AppScopeID == ""
}
