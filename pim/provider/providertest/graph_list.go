package providertest

import (
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// clausePattern is one comparison, whose literal may have doubled quotes in it.
var clausePattern = regexp.MustCompile(`^(\w+) eq '((?:[^']|'')*)'(?: and |$)`)

// ParseOData reads a filter of comparisons for equality.
func ParseOData(filter string) (clauses map[string]string, ok bool) {
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
func (g *Graph) serveList(w http.ResponseWriter, r *http.Request, all []Object, leaked int, group bool) {
	clauses, ok := ParseOData(r.URL.Query().Get("$filter"))
	switch {
	case !ok:
		GraphError(w, http.StatusBadRequest, "BadRequest", "Invalid filter clause")
		return
	case clauses["principalId"] == "" && clauses["groupId"] == "" && group:
		GraphError(w, http.StatusBadRequest, "MissingFilter", "The filter is mandatory: principalId or groupId.")
		return
	case clauses["principalId"] == "":
		g.t.Errorf("the assignments of everybody were asked for: %s", r.URL)
	}
	for name := range clauses {
		if !slices.Contains([]string{"principalId", "roleDefinitionId", "groupId", "targetScheduleId"}, name) {
			GraphError(w, http.StatusBadRequest, "BadRequest", "Could not find a property named '"+name+"'.")
			return
		}
	}
	var matching []Object
	for i, o := range all {
		if i >= len(all)-leaked || hasAll(o, clauses) {
			matching = append(matching, o)
		}
	}
	g.servePage(w, r, matching)
}

func hasAll(o Object, clauses map[string]string) bool {
	for name, value := range clauses {
		if got, _ := o[name].(string); !strings.EqualFold(got, value) {
			return false
		}
	}
	return true
}

func (g *Graph) servePage(w http.ResponseWriter, r *http.Request, all []Object) {
	query := r.URL.Query()
	skip, _ := strconv.Atoi(query.Get("$skiptoken"))
	page := Object{"@odata.context": g.URL + "/v1.0/$metadata#x", "value": all[min(skip, len(all)):min(skip+g.PageSize, len(all))]}
	if len(all) == 0 {
		page["value"] = []Object{}
	}
	if skip+g.PageSize < len(all) {
		origin := g.URL
		if g.NextOrigin != "" {
			origin = g.NextOrigin
		}
		page["@odata.nextLink"] = origin + r.URL.Path + "?" + url.Values{"$filter": {query.Get("$filter")}, "$skiptoken": {strconv.Itoa(skip + g.PageSize)}}.Encode()
	}
	WriteJSON(w, http.StatusOK, page)
}

// GraphAssignment is the assignment that a request becomes.
func GraphAssignment(request Object, start, end time.Time) Object {
	o := Object{
		"id": "instance-" + request["id"].(string), "principalId": request["principalId"], "memberType": "Direct",
		"startDateTime": start.Format(time.RFC3339Nano), "endDateTime": end.Format(time.RFC3339Nano),
	}
	if request["groupId"] != nil {
		maps.Copy(o, Object{"groupId": request["groupId"], "accessId": request["accessId"], "assignmentType": "assigned", "assignmentScheduleId": request["id"]})
		return o
	}
	maps.Copy(o, Object{
		"roleDefinitionId": request["roleDefinitionId"], "directoryScopeId": request["directoryScopeId"], "appScopeId": nil,
		"assignmentType": "Assigned", "roleAssignmentScheduleId": request["id"],
	})
	return o
}

// GraphActivation is the assignment of a role that a user has activated; a role is as
// in the catalogue, directory/ROLE or group/GROUP/member.
func GraphActivation(user, role string, start, end time.Time) Object {
	kind, id, _ := strings.Cut(role, "/")
	o := Object{
		"principalId":   user,
		"startDateTime": start.UTC().Format(time.RFC3339Nano), "endDateTime": end.UTC().Format(time.RFC3339Nano),
	}
	if kind == "group" {
		group, access, _ := strings.Cut(id, "/")
		maps.Copy(o, Object{
			"id": group + "_" + access + "_8424c6f0-a189-499e-bbd0-26c1753c96d4", "groupId": group, "accessId": access, "assignmentType": "activated",
			"memberType": "direct", "assignmentScheduleId": group + "_" + access + "_5d107bba-d8e2-4e13-b6ae-884be90e5d1a",
		})
		return o
	}
	maps.Copy(o, Object{
		"id": "lAPpYvVpN0KRkAEhdxReEAWz5Gtet_xOv8wxvTtTpfg-1", "roleDefinitionId": id, "directoryScopeId": "/", "appScopeId": nil,
		"assignmentType": "Activated", "memberType": "Direct", "roleAssignmentOriginId": "x-1",
		"roleAssignmentScheduleId": "911bab8a-6912-4de2-9dc0-2648ede7dd6d",
	})
	return o
}
