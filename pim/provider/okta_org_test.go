package provider

import (
	"crypto"
	"crypto/elliptic"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	oktaAlice  = "00ub0oNGTSWTBKOLGLNR"
	oktaMallet = "00ux0oNGTSWTBKOLGLNX"
	oktaApp    = "0oafxqCAJWWGELFTYASJ"
	oktaOther  = "0oafxqCAJWWGELFTYOTH"
	oktaEntry  = "cen3qpimoKc7wCPyx8g6"
	oktaBundle = "enbfxqCAJWWGELFTYCCC"
	oktaField1 = "05c87fe9-11f6-4d40-a033-b155b39dcdbe"
)

// oktaOrg is the part of an Okta organization that we use. It insists on what Okta
// insists on.
type oktaOrg struct {
	t           testing.TB
	url, caFile string
	now         func() time.Time
	key         crypto.Signer
	keyFile     string

	mu       sync.Mutex
	scopes   []string // granted to the application
	requests []object // full ones, the newest last
	leaked   []object // are in each list, whatever the filter
	grants   []object
	sparse   []string // members that items of lists lack
	pageSize int
	bearer   map[string]string // token to scope
	tokens   int
	override func(w http.ResponseWriter, r *http.Request) (done bool)
	calls    []string
}

func newOktaOrg(t testing.TB, scopes ...string) *oktaOrg {
	t.Helper()
	o := &oktaOrg{t: t, scopes: scopes, now: atNoon, key: ecKey(t, elliptic.P256()), bearer: map[string]string{}, pageSize: 100,
		sparse: []string{"revocationScheduled", "accessDuration", "requesterFieldValues"}}
	o.keyFile, _, _ = keyPair(t, o.key)
	o.url, o.caFile = serveTLS(t, o.serve)
	return o
}

func (o *oktaOrg) connect(t testing.TB, change func(*OktaConfig), now func() time.Time) *Okta {
	t.Helper()
	cfg := &OktaConfig{Endpoint: o.url, ClientID: "our-client", KeyFile: o.keyFile, KeyID: "kid-1", CAFile: o.caFile,
		JustificationField: oktaField1, PortalURL: "https://example.okta.com/requests"}
	if change != nil {
		change(cfg)
	}
	p, err := NewOkta(cfg, now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func oktaError(w http.ResponseWriter, status int, code, summary string) {
	writeJSON(w, status, object{"errorCode": code, "errorSummary": summary, "errorLink": code, "errorId": "oaeWCGz73hpRCG75VHP6-RRXw", "errorCauses": []any{}})
}

func (o *oktaOrg) serve(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, r.Method+" "+r.URL.Path)
	if r.URL.Path == "/oauth2/v1/token" {
		o.serveToken(w, r)
		return
	}
	if o.override != nil && o.override(w, r) {
		return
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	scope := o.bearer[token]
	wants := map[string]string{"GET " + oktaRequestsPath: oktaReads, "POST " + oktaRequestsPath: oktaFiles, "GET " + oktaGrantsPath: oktaGrants}
	id, one := strings.CutPrefix(r.URL.Path, oktaRequestsPath+"/")
	wanted := wants[r.Method+" "+r.URL.Path]
	if one && r.Method == http.MethodGet {
		wanted = oktaReads
	}
	switch {
	case scope == "":
		oktaError(w, http.StatusUnauthorized, "E0000011", "Invalid token provided")
	case wanted == "":
		o.t.Errorf("%s %s: there is no such method", r.Method, r.URL.Path)
		oktaError(w, http.StatusMethodNotAllowed, "E0000022", "The endpoint does not support the provided HTTP method")
	case scope != wanted:
		oktaError(w, http.StatusForbidden, "E0000006", "You do not have permission to perform the requested action.")
	case one:
		o.serveRequest(w, id)
	case r.Method == http.MethodPost:
		o.serveFiling(w, r)
	case r.URL.Path == oktaGrantsPath:
		o.serveGrants(w, r)
	default:
		o.serveRequests(w, r)
	}
}

func (o *oktaOrg) serveToken(w http.ResponseWriter, r *http.Request) {
	claims := jwt.MapClaims{}
	token, err := jwt.ParseWithClaims(r.FormValue("client_assertion"), claims, func(*jwt.Token) (any, error) { return o.key.Public(), nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithTimeFunc(o.now), jwt.WithAudience(o.url+"/oauth2/v1/token"), jwt.WithIssuer("our-client"))
	scope := r.FormValue("scope")
	switch {
	case err != nil || token.Header["kid"] != "kid-1":
		writeJSON(w, http.StatusUnauthorized, object{"error": "invalid_client", "error_description": "The client_assertion signature is invalid."})
	case !slices.Contains(o.scopes, scope):
		writeJSON(w, http.StatusBadRequest, object{"error": "invalid_scope", "error_description": "One or more scopes are not configured for the authorization server resource."})
	default:
		o.tokens++
		name := fmt.Sprintf("okta-token-%d", o.tokens)
		o.bearer[name] = scope
		writeJSON(w, http.StatusOK, object{"token_type": "Bearer", "expires_in": 3600, "access_token": name, "scope": scope})
	}
}

func (o *oktaOrg) find(id string) object {
	for _, r := range o.requests {
		if r["id"] == id {
			return r
		}
	}
	return nil
}

func (o *oktaOrg) serveRequest(w http.ResponseWriter, id string) {
	if r := o.find(id); r != nil {
		writeJSON(w, http.StatusOK, r)
		return
	}
	oktaError(w, http.StatusNotFound, "E0000007", "Resource not found exception.")
}

var scimPattern = regexp.MustCompile(`^([\w.]+) eq "((?:[^"\\]|\\.)*)"(?: AND |$)`)

func parseSCIM(filter string) (clauses map[string]string, ok bool) {
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

// member is a value at a path of names, as text.
func member(o object, path ...string) string {
	for _, name := range path[:len(path)-1] {
		o, _ = o[name].(object)
	}
	text, _ := o[path[len(path)-1]].(string)
	return text
}

func (o *oktaOrg) serveRequests(w http.ResponseWriter, r *http.Request) {
	clauses, ok := parseSCIM(r.URL.Query().Get("filter"))
	if !ok || r.URL.Query().Get("orderBy") != "created desc" {
		oktaError(w, http.StatusBadRequest, "E0000031", "Invalid search criteria.")
		return
	}
	if clauses["requestedFor"] == "" {
		o.t.Errorf("the requests of everybody were asked for: %s", r.URL)
	}
	paths := map[string][]string{"requestedFor": {"requestedFor", "externalId"}, "status": {"status"}, "accessScopeId": {"requested", "accessScopeId"}}
	var matching []object
	for _, request := range slices.Backward(o.requests) {
		if matches(request, clauses, paths) {
			item := maps.Clone(request)
			for _, name := range o.sparse {
				delete(item, name)
			}
			matching = append(matching, item)
		}
	}
	o.servePage(w, r, append(matching, o.leaked...))
}

func matches(item object, clauses map[string]string, paths map[string][]string) bool {
	for name, value := range clauses {
		if paths[name] == nil || member(item, paths[name]...) != value {
			return false
		}
	}
	return true
}

func (o *oktaOrg) serveGrants(w http.ResponseWriter, r *http.Request) {
	clauses, ok := parseSCIM(r.URL.Query().Get("filter"))
	if !ok || clauses["target.externalId"] == "" || clauses["target.type"] == "" {
		oktaError(w, http.StatusBadRequest, "E0000029", "Invalid filter")
		return
	}
	paths := map[string][]string{"target.externalId": {"target", "externalId"}, "target.type": {"target", "type"},
		"targetPrincipal.externalId": {"targetPrincipal", "externalId"}, "targetPrincipal.type": {"targetPrincipal", "type"}}
	var matching []object
	for _, grant := range o.grants {
		if matches(grant, clauses, paths) {
			matching = append(matching, grant)
		}
	}
	o.servePage(w, r, append(matching, o.leaked...))
}

// servePage links to the next page at the host of the admin console, as Okta does.
func (o *oktaOrg) servePage(w http.ResponseWriter, r *http.Request, all []object) {
	query, first := r.URL.Query(), 0
	if after := query.Get("after"); after != "" {
		first = 1 + slices.IndexFunc(all, func(item object) bool { return item["id"] == after })
	}
	last := min(first+o.pageSize, len(all))
	page := object{"data": append([]object{}, all[first:last]...), "_links": object{"self": object{"href": "https://example-admin.okta.com" + r.URL.Path, "hints": object{}}}}
	if last < len(all) {
		href := "https://example-admin.okta.com" + r.URL.Path + "?" + url.Values{"after": {member(all[last-1], "id")}, "filter": {query.Get("filter")}}.Encode()
		page["_links"].(object)["next"] = object{"href": href}
	}
	w.Header().Set("X-Rate-Limit-Limit", "30")
	writeJSON(w, http.StatusOK, page)
}

var oktaDurationPattern = regexp.MustCompile(`^P(T\d+[HM]|\d+D)$`)

func (o *oktaOrg) serveFiling(w http.ResponseWriter, r *http.Request) {
	var body object
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		oktaError(w, http.StatusBadRequest, "E0000003", "The request body was not well-formed.")
		return
	}
	if body["requestedBy"] != nil {
		oktaError(w, http.StatusForbidden, "E0000006", "requestOnBehalfOf is not enabled")
		return
	}
	duration := ""
	fields, _ := body["requesterFieldValues"].([]any)
	for _, field := range fields {
		field := field.(object)
		value, _ := field["value"].(string)
		switch {
		case field["id"] == "OKTA_ACCESS_DURATION" && field["type"] == "DURATION" && len(value) <= 5 && oktaDurationPattern.MatchString(value):
			duration = value
		case field["id"] != oktaField1 || value == "":
			oktaError(w, http.StatusBadRequest, "E0000001", "Api validation failed: /requesterFieldValues/0/id must be uuid v4")
			return
		}
	}
	if member(body, "requested", "type") != "CATALOG_ENTRY" || member(body, "requestedFor", "type") != "OKTA_USER" {
		oktaError(w, http.StatusBadRequest, "E0000001", "Api validation failed: requested")
		return
	}
	if member(body, "requested", "entryId") != oktaEntry || len(fields) == 0 {
		oktaError(w, http.StatusConflict, "E0000001", "Api validation failed: /requesterFieldValues must have all required requesterFields")
		return
	}
	request := granted(object{"id": fmt.Sprintf("req42kjDgk1EubTwo%03d", len(o.requests)), "status": "SUBMITTED", "accessDuration": duration,
		"requesterFieldValues": fields, "requestedFor": body["requestedFor"], "requestedBy": object{"type": "UNKNOWN", "externalId": "pca2pmvygWZxpWvkN346"}})
	for _, name := range []string{"grantStatus", "granted", "resolved", "revocationScheduled"} {
		delete(request, name)
	}
	o.requests = append(o.requests, request)
	writeJSON(w, http.StatusAccepted, request)
}

// granted is Alice's request that was granted an hour ago for two hours, with changes.
func granted(changes object) object {
	r := object{
		"id": "req42kjDgk1EubTwo0g4", "created": "2026-11-28T10:00:00Z", "createdBy": oktaAlice, "lastUpdated": "2026-11-28T11:00:00Z", "lastUpdatedBy": oktaAlice,
		"status": "APPROVED", "resolved": "2026-11-28T10:59:00Z", "grantStatus": "GRANTED", "granted": "2026-11-28T11:00:00Z",
		"accessDuration": "PT2H", "revocationScheduled": "2026-11-28T13:00:00.000+00:00",
		"requestedBy":  object{"type": "OKTA_USER", "externalId": oktaAlice},
		"requestedFor": object{"type": "OKTA_USER", "externalId": oktaAlice},
		"requested":    object{"entryId": oktaEntry, "resourceId": oktaApp, "resourceType": "APPLICATION", "accessScopeId": oktaApp, "accessScopeType": "APPLICATION"},
		"_links":       object{"self": object{"href": "https://example.okta.com/governance/api/v2/requests/x"}},
	}
	maps.Copy(r, changes)
	return r
}

// grant is Alice's grant at the application until in an hour, with changes.
func grant(changes object) object {
	g := object{
		"id": "0ggb0oNGTSWTBKOLGLNR", "grantType": "ENTITLEMENT-BUNDLE", "entitlementBundleId": oktaBundle, "action": "ALLOW", "actor": "ACCESS_REQUEST",
		"target": object{"externalId": oktaApp, "type": "APPLICATION"}, "targetPrincipal": object{"externalId": oktaAlice, "type": "OKTA_USER"},
		"status": "ACTIVE", "scheduleSettings": object{"expirationDate": "2026-11-28T18:30:00+05:30", "timeZone": "Asia/Kolkata"},
	}
	maps.Copy(g, changes)
	return g
}
