package providertest

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"
)

var scimPattern = regexp.MustCompile(`^([\w.]+) eq "((?:[^"\\]|\\.)*)"(?: AND |$)`)

// ParseSCIM reads a filter of comparisons for equality.
func ParseSCIM(filter string) (clauses map[string]string, ok bool) {
	clauses = map[string]string{}
	for filter != "" {
		m := scimPattern.FindStringSubmatch(filter)
		if m == nil || clauses[m[1]] != "" {
			return nil, false
		}
		clauses[m[1]] = m[2]
		filter = filter[len(m[0]):]
	}
	return clauses, true
}

func (o *Okta) serveRequests(w http.ResponseWriter, r *http.Request) {
	clauses, ok := ParseSCIM(r.URL.Query().Get("filter"))
	if !ok || r.URL.Query().Get("orderBy") != "created desc" {
		OktaError(w, http.StatusBadRequest, "E0000031", "Invalid search criteria.")
		return
	}
	if clauses["requestedFor"] == "" {
		o.t.Errorf("the requests of everybody were asked for: %s", r.URL)
	}
	paths := map[string][]string{"requestedFor": {"requestedFor", "externalId"}, "status": {"status"}, "accessScopeId": {"requested", "accessScopeId"}}
	var matching []Object
	for _, request := range slices.Backward(o.Requests) {
		if matches(request, clauses, paths) {
			item := maps.Clone(request)
			for _, name := range o.Sparse {
				delete(item, name)
			}
			matching = append(matching, item)
		}
	}
	o.servePage(w, r, append(matching, o.Leaked...))
}

func matches(item Object, clauses map[string]string, paths map[string][]string) bool {
	for name, value := range clauses {
		if paths[name] == nil || Member(item, paths[name]...) != value {
			return false
		}
	}
	return true
}

func (o *Okta) serveGrants(w http.ResponseWriter, r *http.Request) {
	clauses, ok := ParseSCIM(r.URL.Query().Get("filter"))
	if !ok || clauses["target.externalId"] == "" || clauses["target.type"] == "" {
		OktaError(w, http.StatusBadRequest, "E0000029", "Invalid filter")
		return
	}
	paths := map[string][]string{"target.externalId": {"target", "externalId"}, "target.type": {"target", "type"},
		"targetPrincipal.externalId": {"targetPrincipal", "externalId"}, "targetPrincipal.type": {"targetPrincipal", "type"}}
	var matching []Object
	for _, grant := range o.Grants {
		if matches(grant, clauses, paths) {
			matching = append(matching, grant)
		}
	}
	o.servePage(w, r, append(matching, o.Leaked...))
}

// servePage links to the next page at the host of the admin console, as Okta does.
func (o *Okta) servePage(w http.ResponseWriter, r *http.Request, all []Object) {
	query, first := r.URL.Query(), 0
	if after := query.Get("after"); after != "" {
		first = 1 + slices.IndexFunc(all, func(item Object) bool { return item["id"] == after })
	}
	last := min(first+o.PageSize, len(all))
	page := Object{"data": append([]Object{}, all[first:last]...), "_links": Object{"self": Object{"href": "https://example-admin.okta.com" + r.URL.Path, "hints": Object{}}}}
	if last < len(all) {
		href := "https://example-admin.okta.com" + r.URL.Path + "?" + url.Values{"after": {Member(all[last-1], "id")}, "filter": {query.Get("filter")}}.Encode()
		page["_links"].(Object)["next"] = Object{"href": href}
	}
	w.Header().Set("X-Rate-Limit-Limit", "30")
	WriteJSON(w, http.StatusOK, page)
}

var oktaDurationPattern = regexp.MustCompile(`^P(T\d+[HM]|\d+D)$`)

func (o *Okta) serveFiling(w http.ResponseWriter, r *http.Request) {
	var body Object
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		OktaError(w, http.StatusBadRequest, "E0000003", "The request body was not well-formed.")
		return
	}
	if body["requestedBy"] != nil {
		OktaError(w, http.StatusForbidden, "E0000006", "requestOnBehalfOf is not enabled")
		return
	}
	fields, _ := body["requesterFieldValues"].([]any)
	duration, ok := readFields(fields)
	switch {
	case !ok:
		OktaError(w, http.StatusBadRequest, "E0000001", "Api validation failed: /requesterFieldValues/0/id must be uuid v4")
		return
	case Member(body, "requested", "type") != "CATALOG_ENTRY" || Member(body, "requestedFor", "type") != "OKTA_USER":
		OktaError(w, http.StatusBadRequest, "E0000001", "Api validation failed: requested")
		return
	case Member(body, "requested", "entryId") != OktaEntry || len(fields) == 0:
		OktaError(w, http.StatusConflict, "E0000001", "Api validation failed: /requesterFieldValues must have all required requesterFields")
		return
	}
	request := OktaRequest(o.newID(), Member(body, "requestedFor", "externalId"), OktaApp, o.now(), o.now())
	maps.Copy(request, Object{
		"status": "SUBMITTED", "accessDuration": duration, "requesterFieldValues": fields, "requestedFor": body["requestedFor"],
		"requestedBy": Object{"type": "UNKNOWN", "externalId": "pca2pmvygWZxpWvkN346"},
	})
	for _, name := range []string{"grantStatus", "granted", "resolved", "revocationScheduled"} {
		delete(request, name)
	}
	o.Requests = append(o.Requests, request)
	WriteJSON(w, http.StatusAccepted, request)
}

func readFields(fields []any) (duration string, ok bool) {
	for _, field := range fields {
		field, _ := field.(Object)
		value, _ := field["value"].(string)
		switch {
		case field["id"] == "OKTA_ACCESS_DURATION" && field["type"] == "DURATION" && len(value) <= 5 && oktaDurationPattern.MatchString(value):
			duration = value
		case field["id"] != OktaField || value == "":
			return "", false
		}
	}
	return duration, true
}

// OktaRequest is a user's request for access to an application that was granted.
func OktaRequest(id, user, app string, granted, until time.Time) Object {
	utc := func(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }
	return Object{
		"id": id, "created": utc(granted.Add(-time.Hour)), "createdBy": user, "lastUpdated": utc(granted), "lastUpdatedBy": user,
		"status": "APPROVED", "resolved": utc(granted.Add(-time.Minute)), "grantStatus": "GRANTED", "granted": utc(granted),
		"accessDuration": "PT2H", "revocationScheduled": until.UTC().Format("2006-01-02T15:04:05.000+00:00"),
		"requestedBy":  Object{"type": "OKTA_USER", "externalId": user},
		"requestedFor": Object{"type": "OKTA_USER", "externalId": user},
		"requested":    Object{"entryId": OktaEntry, "resourceId": app, "resourceType": "APPLICATION", "accessScopeId": app, "accessScopeType": "APPLICATION"},
		"_links":       Object{"self": Object{"href": "https://example.okta.com/governance/api/v2/requests/x"}},
	}
}

// OktaGrant is a user's grant of the bundle at an application, in the time of India.
func OktaGrant(id, user, app string, until time.Time) Object {
	end := until.In(time.FixedZone("", 19800)).Format(time.RFC3339)
	return Object{
		"id": id, "grantType": "ENTITLEMENT-BUNDLE", "entitlementBundleId": OktaBundle, "action": "ALLOW", "actor": "ACCESS_REQUEST",
		"target": Object{"externalId": app, "type": "APPLICATION"}, "targetPrincipal": Object{"externalId": user, "type": "OKTA_USER"},
		"status": "ACTIVE", "scheduleSettings": Object{"expirationDate": end, "timeZone": "Asia/Kolkata"},
	}
}
