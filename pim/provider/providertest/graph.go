package providertest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Permissions of an application at Microsoft Graph.
const (
	RoleReads   = "RoleAssignmentSchedule.Read.Directory"
	RoleWrites  = "RoleAssignmentSchedule.ReadWrite.Directory"
	GroupReads  = "PrivilegedAssignmentSchedule.Read.AzureADGroup"
	GroupWrites = "PrivilegedAssignmentSchedule.ReadWrite.AzureADGroup"
)

// GraphTenant is whose directory it is.
const GraphTenant = "contoso.onmicrosoft.com"

// Graph is the part of Microsoft Graph that we use, with the authority that issues its
// tokens. It insists on what Graph insists on, and fails the test for questions that no
// client of it should ask.
type Graph struct {
	Server
	Permissions    []string           // of the application
	Instances      map[bool][]Object  // by whether they are of groups
	Leaked         []Object           // are in each list of instances, whatever the filter
	Requests       map[string]*Object // by id
	LeakedRequests []Object           // are in each list of requests
	Status         string             // of new requests
	Instantly      bool               // a new request's assignment is there at once
	PageSize       int
	NextOrigin     string // of links to next pages; empty: ours
	Token          string // the one that is good now
	Tokens         int
	Override       func(w http.ResponseWriter, r *http.Request) (done bool) // but for tokens
	Calls          []string
}

// NewGraph starts one. Its base URL is URL with /v1.0 behind it, its authority URL.
func NewGraph(t testing.TB, now func() time.Time, permissions ...string) *Graph {
	t.Helper()
	g := &Graph{
		Server: Server{t: t, now: now}, Permissions: permissions,
		Instances: map[bool][]Object{}, Requests: map[string]*Object{}, Status: "Provisioned", PageSize: 100,
	}
	g.URL, g.CAFile = ServeTLS(t, g.handler(g.serve))
	return g
}

// Elevate activates a role for a user until then, and returns the assignment's id.
func (g *Graph) Elevate(user, role string, until time.Time) (id string) {
	g.Change(func() {
		activation := GraphActivation(user, role, g.now().Add(-time.Minute), until)
		group := activation["groupId"] != nil
		id = fmt.Sprintf("%s-%d", activation["id"], len(g.Instances[group]))
		activation["id"] = id
		g.Instances[group] = append(g.Instances[group], activation)
	})
	return id
}

// Decide ends the pending requests for a user. The approved ones become assignments.
func (g *Graph) Decide(user string, approved bool) {
	g.Change(func() {
		for _, request := range g.Requests {
			if (*request)["principalId"] != user || (*request)["status"] != "PendingApproval" {
				continue
			}
			if (*request)["status"] = "Denied"; approved {
				(*request)["status"] = "Provisioned"
				g.assign(*request)
			}
		}
	})
}

// GraphError answers with an error in Graph's form.
func GraphError(w http.ResponseWriter, status int, code, message string) {
	WriteJSON(w, status, Object{"error": Object{"code": code, "message": message, "innerError": Object{
		"date": "2026-11-28T12:00:00", "request-id": "8424c6f0-a189-499e-bbd0-26c1753c96d4",
	}}})
}

func (g *Graph) serve(w http.ResponseWriter, r *http.Request) {
	g.Calls = append(g.Calls, r.Method+" "+r.URL.Path)
	if r.URL.Path == "/"+GraphTenant+"/oauth2/v2.0/token" {
		g.serveToken(w, r)
		return
	}
	if g.Override != nil && g.Override(w, r) {
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+g.Token || g.Token == "" {
		GraphError(w, http.StatusUnauthorized, "InvalidAuthenticationToken", "Access token has expired or is not yet valid.")
		return
	}
	const (
		roles  = "/v1.0/roleManagement/directory/roleAssignmentSchedule"
		groups = "/v1.0/identityGovernance/privilegedAccess/group/assignmentSchedule"
	)
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, roles) && g.may(w, r, RoleReads, RoleWrites):
		g.serveSchedule(w, r, strings.TrimPrefix(path, roles), false)
	case strings.HasPrefix(path, groups) && g.may(w, r, GroupReads, GroupWrites):
		g.serveSchedule(w, r, strings.TrimPrefix(path, groups), true)
	case !strings.HasPrefix(path, roles) && !strings.HasPrefix(path, groups):
		GraphError(w, http.StatusBadRequest, "BadRequest", "Resource not found for the segment.")
	}
}

func (g *Graph) serveToken(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("scope") != g.URL+"/.default" || r.FormValue("client_secret") != Secret || r.FormValue("client_id") != ClientID {
		WriteJSON(w, http.StatusUnauthorized, Object{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided.", "error_codes": []int{7000215}})
		return
	}
	g.Tokens++
	g.Token = fmt.Sprintf("graph-token-%d", g.Tokens)
	WriteJSON(w, http.StatusOK, Object{"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": g.Token})
}

// may answers 403 in the odd form of PIM, JSON within the message.
func (g *Graph) may(w http.ResponseWriter, r *http.Request, read, write string) bool {
	if slices.Contains(g.Permissions, write) || r.Method == http.MethodGet && slices.Contains(g.Permissions, read) {
		return true
	}
	GraphError(w, http.StatusForbidden, "UnknownError", `{"errorCode":"PermissionScopeNotGranted","message":"Authorization failed due to missing permission scope `+write+`.","instanceAnnotations":[]}`)
	return false
}

func (g *Graph) serveSchedule(w http.ResponseWriter, r *http.Request, path string, group bool) {
	id, one := strings.CutPrefix(path, "Requests/")
	switch {
	case path == "Instances" && r.Method == http.MethodGet:
		g.serveList(w, r, append(slices.Clone(g.Instances[group]), g.Leaked...), len(g.Leaked), group)
	case path == "Requests" && r.Method == http.MethodGet:
		var all []Object
		for _, id := range slices.Sorted(maps.Keys(g.Requests)) {
			all = append(all, *g.Requests[id])
		}
		g.serveList(w, r, append(all, g.LeakedRequests...), len(g.LeakedRequests), group)
	case path == "Requests" && r.Method == http.MethodPost:
		g.serveFiling(w, r, group)
	case one && r.Method == http.MethodGet:
		if g.Requests[id] == nil {
			GraphError(w, http.StatusNotFound, "ResourceNotFound", "The resource is not found.")
			return
		}
		WriteJSON(w, http.StatusOK, *g.Requests[id])
	default:
		g.t.Errorf("%s %s: there is no such method", r.Method, r.URL.Path)
		GraphError(w, http.StatusMethodNotAllowed, "Request_BadRequest", "Method not allowed.")
	}
}

var minutesPattern = regexp.MustCompile(`^PT(\d{1,9})M$`)

// minutesOf is a duration as Graph takes it from us.
func minutesOf(duration string) (d time.Duration, ok bool) {
	m := minutesPattern.FindStringSubmatch(duration)
	if m == nil {
		return 0, false
	}
	n, err := strconv.Atoi(m[1])
	return time.Duration(n) * time.Minute, err == nil
}

func (g *Graph) serveFiling(w http.ResponseWriter, r *http.Request, group bool) {
	var body Object
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Header.Get("Content-Type") != "application/json" {
		GraphError(w, http.StatusBadRequest, "BadRequest", "Unable to read JSON request payload.")
		return
	}
	_, written := minutesOf(Member(body, "scheduleInfo", "expiration", "duration"))
	switch has := func(name string) bool { return Member(body, name) != "" }; {
	case Member(body, "action") != "adminAssign":
		GraphError(w, http.StatusBadRequest, "RoleAssignmentRequestPolicyValidationFailed", `The following policy rules failed: ["MfaRule","EligibilityRule"]`)
		return
	case !has("principalId") || group != (has("groupId") && has("accessId")) || group == (has("roleDefinitionId") && has("directoryScopeId")):
		GraphError(w, http.StatusBadRequest, "BadRequest", "A required property is missing.")
		return
	case !has("justification"):
		GraphError(w, http.StatusBadRequest, "RoleAssignmentRequestPolicyValidationFailed", `The following policy rules failed: ["JustificationRule"]`)
		return
	case !written || Member(body, "scheduleInfo", "expiration", "type") != "afterDuration":
		GraphError(w, http.StatusBadRequest, "RoleAssignmentRequestPolicyValidationFailed", `The following policy rules failed: ["ExpirationRule"]`)
		return
	}
	for _, other := range g.Requests {
		if (*other)["principalId"] == body["principalId"] && (*other)["roleDefinitionId"] == body["roleDefinitionId"] {
			GraphError(w, http.StatusConflict, "RoleAssignmentExists", "The Role assignment already exists.")
			return
		}
	}
	WriteJSON(w, http.StatusCreated, g.file(body))
}

// file answers as Graph does: with more digits of seconds, other cases, and nulls.
func (g *Graph) file(body Object) Object {
	id := fmt.Sprintf("95c690fb-3eb3-4942-a03f-%012d", len(g.Requests)+1)
	schedule := body["scheduleInfo"].(Object)
	schedule["recurrence"] = nil
	schedule["expiration"].(Object)["endDateTime"] = nil
	request := maps.Clone(body)
	maps.Copy(request, Object{
		"id": id, "status": g.Status, "targetScheduleId": id, "createdDateTime": g.now().UTC().Format("2006-01-02T15:04:05") + ".9014347Z",
		"completedDateTime": nil, "approvalId": nil, "customData": nil, "appScopeId": nil, "isValidationOnly": false,
	})
	g.Requests[id] = &request
	if g.Instantly {
		g.assign(request)
	}
	return request
}

// assign makes the assignment that a request asked for.
func (g *Graph) assign(request Object) {
	start, err := time.Parse(time.RFC3339, Member(request, "scheduleInfo", "startDateTime"))
	if err != nil {
		g.t.Error(err)
	}
	lasts, _ := minutesOf(Member(request, "scheduleInfo", "expiration", "duration"))
	group := request["groupId"] != nil
	g.Instances[group] = append(g.Instances[group], GraphAssignment(request, start, start.Add(lasts)))
}
