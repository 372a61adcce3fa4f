package provider

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

type object = map[string]any

const (
	azureAlice  = "071cc716-8147-4397-a5ba-b2105951cc0b"
	azureMallet = "6be4b305-b75e-4efc-bfcc-31bd3b53a5f8"
	azureAdmin  = "fdd7a751-b60b-444a-984c-02652fe8fa1c" // a role definition
	azureOther  = "8424c6f0-a189-499e-bbd0-26c1753c96d4"
	azureGroup  = "2b5ed229-4072-478d-9504-a047ebd4b07d"
	azureUnit   = "5d107bba-d8e2-4e13-b6ae-884be90e5d1a"

	roleReads   = "RoleAssignmentSchedule.Read.Directory"
	roleWrites  = "RoleAssignmentSchedule.ReadWrite.Directory"
	groupReads  = "PrivilegedAssignmentSchedule.Read.AzureADGroup"
	groupWrites = "PrivilegedAssignmentSchedule.ReadWrite.AzureADGroup"
)

// graph is the part of Microsoft Graph that we use. It insists on what Graph insists
// on, and fails the test for questions that no client of it should ask.
type graph struct {
	t           testing.TB
	url, caFile string

	mu             sync.Mutex
	permissions    []string           // of the application
	instances      map[bool][]object  // by whether they are of groups
	leaked         []object           // are in each list of instances, whatever the filter
	requests       map[string]*object // by id
	leakedRequests []object           // are in each list of requests
	status         string             // of new requests
	instantly      bool               // a new request's assignment is there at once
	pageSize       int
	nextOrigin     string // of links to next pages; empty: ours
	token          string // the one that is good now
	tokens         int
	override       func(w http.ResponseWriter, r *http.Request) (done bool)
	calls          []string
}

func newGraph(t testing.TB, permissions ...string) *graph {
	t.Helper()
	g := &graph{t: t, permissions: permissions, instances: map[bool][]object{}, requests: map[string]*object{}, status: "Provisioned", pageSize: 100}
	g.url, g.caFile = serveTLS(t, g.serve)
	return g
}

func (g *graph) connect(t testing.TB, change func(*AzurePIMConfig), now func() time.Time) *AzurePIM {
	t.Helper()
	cfg := &AzurePIMConfig{
		Tenant: "contoso.onmicrosoft.com", ClientID: "our-client", SecretFile: secretIn(t, "hunter2"),
		Endpoint: g.url + "/v1.0", Authority: g.url, CAFile: g.caFile,
	}
	if change != nil {
		change(cfg)
	}
	p, err := NewAzurePIM(cfg, now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func graphError(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, object{"error": object{"code": code, "message": message, "innerError": object{"date": "2026-11-28T12:00:00", "request-id": azureOther}}})
}

func (g *graph) serve(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls = append(g.calls, r.Method+" "+r.URL.Path)
	if r.URL.Path == "/contoso.onmicrosoft.com/oauth2/v2.0/token" {
		g.serveToken(w, r)
		return
	}
	if g.override != nil && g.override(w, r) {
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+g.token || g.token == "" {
		graphError(w, http.StatusUnauthorized, "InvalidAuthenticationToken", "Access token has expired or is not yet valid.")
		return
	}
	const roles, groups = "/v1.0" + azureRolesPath, "/v1.0" + azureGroupsPath
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, roles) && g.may(w, r, roleReads, roleWrites):
		g.serveSchedule(w, r, strings.TrimPrefix(path, roles), false)
	case strings.HasPrefix(path, groups) && g.may(w, r, groupReads, groupWrites):
		g.serveSchedule(w, r, strings.TrimPrefix(path, groups), true)
	case !strings.HasPrefix(path, roles) && !strings.HasPrefix(path, groups):
		graphError(w, http.StatusBadRequest, "BadRequest", "Resource not found for the segment.")
	}
}

func (g *graph) serveToken(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("scope") != g.url+"/.default" || r.FormValue("client_secret") != "hunter2" || r.FormValue("client_id") != "our-client" {
		writeJSON(w, http.StatusUnauthorized, object{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided.", "error_codes": []int{7000215}})
		return
	}
	g.tokens++
	g.token = fmt.Sprintf("graph-token-%d", g.tokens)
	writeJSON(w, http.StatusOK, object{"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": g.token})
}

// may answers 403 in the odd form of PIM, JSON within the message.
func (g *graph) may(w http.ResponseWriter, r *http.Request, read, write string) bool {
	if slices.Contains(g.permissions, write) || r.Method == http.MethodGet && slices.Contains(g.permissions, read) {
		return true
	}
	graphError(w, http.StatusForbidden, "UnknownError", `{"errorCode":"PermissionScopeNotGranted","message":"Authorization failed due to missing permission scope `+write+`.","instanceAnnotations":[]}`)
	return false
}

func (g *graph) serveSchedule(w http.ResponseWriter, r *http.Request, path string, group bool) {
	id, one := strings.CutPrefix(path, "Requests/")
	switch {
	case path == "Instances" && r.Method == http.MethodGet:
		g.serveList(w, r, append(slices.Clone(g.instances[group]), g.leaked...), len(g.leaked), group)
	case path == "Requests" && r.Method == http.MethodGet:
		var all []object
		for _, id := range slices.Sorted(maps.Keys(g.requests)) {
			all = append(all, *g.requests[id])
		}
		g.serveList(w, r, append(all, g.leakedRequests...), len(g.leakedRequests), group)
	case path == "Requests" && r.Method == http.MethodPost:
		g.serveFiling(w, r, group)
	case one && r.Method == http.MethodGet:
		if g.requests[id] == nil {
			graphError(w, http.StatusNotFound, "ResourceNotFound", "The resource is not found.")
			return
		}
		writeJSON(w, http.StatusOK, *g.requests[id])
	default:
		g.t.Errorf("%s %s: there is no such method", r.Method, r.URL.Path)
		graphError(w, http.StatusMethodNotAllowed, "Request_BadRequest", "Method not allowed.")
	}
}

// clausePattern is one comparison, whose literal may have doubled quotes in it.
var clausePattern = regexp.MustCompile(`^(\w+) eq '((?:[^']|'')*)'(?: and |$)`)

func parseOData(filter string) (clauses map[string]string, ok bool) {
	clauses = map[string]string{}
	for filter != "" {
		m := clausePattern.FindStringSubmatch(filter)
		if m == nil || clauses[m[1]] != "" {
			return nil, false
		}
		clauses[m[1]] = strings.ReplaceAll(m[2], "''", "'")
		filter = filter[len(m[0]):]
	}
	return clauses, true
}

// serveList filters and pages. The last ones, leaked, are in it whatever the filter.
func (g *graph) serveList(w http.ResponseWriter, r *http.Request, all []object, leaked int, group bool) {
	query := r.URL.Query()
	clauses, ok := parseOData(query.Get("$filter"))
	switch {
	case !ok:
		graphError(w, http.StatusBadRequest, "BadRequest", "Invalid filter clause")
		return
	case clauses["principalId"] == "" && clauses["groupId"] == "" && group:
		graphError(w, http.StatusBadRequest, "MissingFilter", "The filter is mandatory: principalId or groupId.")
		return
	case clauses["principalId"] == "":
		g.t.Errorf("the assignments of everybody were asked for: %s", r.URL)
	}
	var matching []object
	for i, o := range all {
		matches := true
		for name, value := range clauses {
			if !slices.Contains([]string{"principalId", "roleDefinitionId", "groupId", "targetScheduleId"}, name) {
				graphError(w, http.StatusBadRequest, "BadRequest", "Could not find a property named '"+name+"'.")
				return
			}
			got, _ := o[name].(string)
			matches = matches && strings.EqualFold(got, value)
		}
		if matches || i >= len(all)-leaked {
			matching = append(matching, o)
		}
	}
	g.servePage(w, r, matching)
}

func (g *graph) servePage(w http.ResponseWriter, r *http.Request, all []object) {
	query := r.URL.Query()
	skip, _ := strconv.Atoi(query.Get("$skiptoken"))
	page := object{"@odata.context": g.url + "/v1.0/$metadata#x", "value": all[min(skip, len(all)):min(skip+g.pageSize, len(all))]}
	if len(all) == 0 {
		page["value"] = []object{}
	}
	if skip+g.pageSize < len(all) {
		origin := g.url
		if g.nextOrigin != "" {
			origin = g.nextOrigin
		}
		page["@odata.nextLink"] = origin + r.URL.Path + "?" + url.Values{"$filter": {query.Get("$filter")}, "$skiptoken": {strconv.Itoa(skip + g.pageSize)}}.Encode()
	}
	writeJSON(w, http.StatusOK, page)
}

var durationPattern = regexp.MustCompile(`^PT(\d+)M$`)

func (g *graph) serveFiling(w http.ResponseWriter, r *http.Request, group bool) {
	var body object
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Header.Get("Content-Type") != "application/json" {
		graphError(w, http.StatusBadRequest, "BadRequest", "Unable to read JSON request payload.")
		return
	}
	text := func(name string) string { s, _ := body[name].(string); return s }
	schedule, _ := body["scheduleInfo"].(object)
	expiration, _ := schedule["expiration"].(object)
	duration, _ := expiration["duration"].(string)
	m := durationPattern.FindStringSubmatch(duration)
	switch {
	case text("action") != "adminAssign":
		graphError(w, http.StatusBadRequest, "RoleAssignmentRequestPolicyValidationFailed", `The following policy rules failed: ["MfaRule","EligibilityRule"]`)
		return
	case text("principalId") == "" || group != (text("groupId") != "" && text("accessId") != "") || group == (text("roleDefinitionId") != "" && text("directoryScopeId") != ""):
		graphError(w, http.StatusBadRequest, "BadRequest", "A required property is missing.")
		return
	case text("justification") == "":
		graphError(w, http.StatusBadRequest, "RoleAssignmentRequestPolicyValidationFailed", `The following policy rules failed: ["JustificationRule"]`)
		return
	case m == nil || expiration["type"] != "afterDuration":
		graphError(w, http.StatusBadRequest, "RoleAssignmentRequestPolicyValidationFailed", `The following policy rules failed: ["ExpirationRule"]`)
		return
	}
	for _, other := range g.requests {
		if (*other)["principalId"] == body["principalId"] && (*other)["roleDefinitionId"] == body["roleDefinitionId"] {
			graphError(w, http.StatusConflict, "RoleAssignmentExists", "The Role assignment already exists.")
			return
		}
	}
	writeJSON(w, http.StatusCreated, g.file(body, group, m[1]))
}

// file answers as Graph does: with more digits of seconds, other cases, and nulls.
func (g *graph) file(body object, group bool, minutes string) object {
	id := fmt.Sprintf("95c690fb-3eb3-4942-a03f-%012d", len(g.requests)+1)
	schedule := body["scheduleInfo"].(object)
	schedule["recurrence"] = nil
	schedule["expiration"].(object)["endDateTime"] = nil
	request := maps.Clone(body)
	maps.Copy(request, object{
		"id": id, "status": g.status, "targetScheduleId": id, "createdDateTime": "2026-11-28T12:00:00.9014347Z",
		"completedDateTime": nil, "approvalId": nil, "customData": nil, "appScopeId": nil, "isValidationOnly": false,
	})
	g.requests[id] = &request
	start, err := time.Parse(time.RFC3339, schedule["startDateTime"].(string))
	n, _ := strconv.Atoi(minutes)
	if err != nil {
		g.t.Error(err)
	}
	if g.instantly {
		g.instances[group] = append(g.instances[group], g.assigned(request, start, start.Add(time.Duration(n)*time.Minute), group))
	}
	return request
}

// assigned is the assignment that a request becomes.
func (g *graph) assigned(request object, start, end time.Time, group bool) object {
	o := object{
		"id": "instance-" + request["id"].(string), "principalId": request["principalId"], "memberType": "Direct",
		"startDateTime": start.Format(time.RFC3339Nano), "endDateTime": end.Format(time.RFC3339Nano),
	}
	if group {
		maps.Copy(o, object{"groupId": request["groupId"], "accessId": request["accessId"], "assignmentType": "assigned", "assignmentScheduleId": request["id"]})
		return o
	}
	maps.Copy(o, object{
		"roleDefinitionId": request["roleDefinitionId"], "directoryScopeId": request["directoryScopeId"], "appScopeId": nil,
		"assignmentType": "Assigned", "roleAssignmentScheduleId": request["id"],
	})
	return o
}

// activated is Alice's activation of the role, from an hour ago for two hours, with
// changes.
func activated(changes object) object {
	o := object{
		"id": "lAPpYvVpN0KRkAEhdxReEAWz5Gtet_xOv8wxvTtTpfg-1", "principalId": azureAlice, "roleDefinitionId": azureAdmin, "directoryScopeId": "/",
		"appScopeId": nil, "startDateTime": "2026-11-28T11:00:00.0000001Z", "endDateTime": "2026-11-28T13:00:00Z", "assignmentType": "Activated",
		"memberType": "Direct", "roleAssignmentOriginId": "x-1", "roleAssignmentScheduleId": "911bab8a-6912-4de2-9dc0-2648ede7dd6d",
	}
	maps.Copy(o, changes)
	return o
}

// activatedIn is the same of a group.
func activatedIn(changes object) object {
	o := object{
		"id": azureGroup + "_member_" + azureOther, "principalId": azureAlice, "groupId": azureGroup, "accessId": "member",
		"startDateTime": "2026-11-28T11:00:00.273Z", "endDateTime": "2026-11-28T13:00:00Z", "assignmentType": "activated",
		"memberType": "direct", "assignmentScheduleId": azureGroup + "_member_" + azureUnit,
	}
	maps.Copy(o, changes)
	return o
}
