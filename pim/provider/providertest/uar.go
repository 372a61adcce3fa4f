package providertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What Access Requests knows its client by.
const (
	UARUser   = "svc@acme"
	UARSecret = "s3cret"
)

// UAR is CyberArk's Access Requests: it shows requests to those who made or approve
// them. Its tokens come from the same host.
type UAR struct {
	Server
	Requests []Object
	Longest  int    // of a page
	Filed    Object // the last request as it was sent
}

// NewUAR starts one.
func NewUAR(t testing.TB) *UAR {
	t.Helper()
	u := &UAR{Server: Server{t: t, now: time.Now}, Longest: 50}
	u.URL = Serve(t, u.handler(u.serve))
	return u
}

// TokenURL is where its tokens come from.
func (u *UAR) TokenURL() string { return u.URL + "/oauth2/platformtoken" }

// Elevate adds an approved request of a user for a role, ROLE|WORKSPACE|ORGANIZATION,
// in the form DUAL_CONTROL, and returns its id.
func (u *UAR) Elevate(user, role string, until time.Time) (id string) {
	u.Change(func() {
		id = u.newID()
		details, parts := frame(u.now().Add(-25*time.Hour), until), strings.Split(role, "|") // it began on another day
		details["roleId"], details["workspaceId"], details["orgId"] = parts[0], parts[1], parts[2]
		u.Requests = append(u.Requests, Object{"requestId": id, "requestState": "FINISHED", "requestResult": "APPROVED", "createdBy": user, "requestDetails": details})
	})
	return id
}

func frame(from, to time.Time) Object {
	from, to = from.UTC(), to.UTC()
	return Object{
		"requestDate": from.Format(time.DateOnly), "timeFrom": from.Format(time.TimeOnly),
		"requestEndDate": to.Format(time.DateOnly), "timeTo": to.Format(time.TimeOnly), "timezone": "UTC",
	}
}

// Decide ends a user's pending requests for a role.
func (u *UAR) Decide(user, role string, approved bool) {
	u.Change(func() {
		for _, request := range u.Requests {
			details := request["requestDetails"].(Object)
			its := fmt.Sprint(details["roleId"], "|", details["workspaceId"], "|", details["orgId"])
			if request["createdBy"] != user || its != role || request["requestState"] != "PENDING" {
				continue
			}
			request["requestState"] = "FINISHED"
			if request["requestResult"] = "REJECTED"; approved {
				request["requestResult"] = "APPROVED"
			}
		}
	})
}

func (u *UAR) newID() string { return fmt.Sprintf("q%d", len(u.Requests)+1) }

func (u *UAR) serve(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	switch {
	case r.URL.Path == "/oauth2/platformtoken":
		serveUARToken(w, r)
	case r.Header.Get("Authorization") != "Bearer jwt":
		writeText(w, http.StatusUnauthorized, `{"message":"Unauthorized"}`)
	case r.Method == http.MethodPost && r.URL.Path == "/api/workflows/requests":
		u.create(w, r)
	case strings.HasPrefix(r.URL.Path, "/api/workflows/requests/"):
		u.one(w, strings.TrimPrefix(r.URL.Path, "/api/workflows/requests/"))
	case r.URL.Path != "/api/workflows/requests" || query.Get("requestRole") == "" || query.Get("limit") != "50":
		writeText(w, http.StatusBadRequest, `{"code":"BAD_REQUEST"}`)
	default:
		u.list(w, query.Get("filter"), query.Get("requestRole"), query.Get("offset"))
	}
}

func serveUARToken(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("grant_type") != "client_credentials" || r.FormValue("client_id") != UARUser || r.FormValue("client_secret") != UARSecret {
		writeText(w, http.StatusUnauthorized, `{"error":"access_denied","error_description":"client authentication failed"}`)
		return
	}
	writeText(w, http.StatusOK, `{"access_token":"jwt","token_type":"Bearer","expires_in":900}`)
}

func (u *UAR) one(w http.ResponseWriter, id string) {
	i := slices.IndexFunc(u.Requests, func(o Object) bool { return o["requestId"] == id })
	if i < 0 {
		writeText(w, http.StatusNotFound, `{"code":"NOT_FOUND","message":"no such request"}`)
		return
	}
	WriteJSON(w, http.StatusOK, u.Requests[i])
}

func (u *UAR) list(w http.ResponseWriter, filter, role, offset string) {
	var user string
	if n, err := fmt.Sscanf(strings.ReplaceAll(filter, "'", " "), "((requestResult eq APPROVED) and (createdBy eq %s ))", &user); n != 1 || err != nil {
		writeText(w, http.StatusBadRequest, `{"code":"INVALID_FILTER","message":"`+strings.ReplaceAll(filter, `"`, `'`)+`"}`)
		return
	}
	found := []Object{}
	for _, request := range u.Requests {
		own := request["createdBy"] == UARUser
		if request["createdBy"] == user && request["requestResult"] == "APPROVED" && own == (role == "CREATOR") {
			found = append(found, request)
		}
	}
	total := len(found)
	skip, _ := strconv.Atoi(offset)
	found = found[min(skip, total):]
	found = found[:min(len(found), u.Longest)]
	WriteJSON(w, http.StatusOK, Object{"items": found, "count": len(found), "totalCount": total})
}

func (u *UAR) create(w http.ResponseWriter, r *http.Request) {
	u.Filed = nil
	if err := json.NewDecoder(r.Body).Decode(&u.Filed); err != nil || u.Filed["targetCategory"] != "CLOUD_CONSOLE" {
		writeText(w, http.StatusBadRequest, `{"code":"BAD_REQUEST"}`)
		return
	}
	request := Object{"requestId": u.newID(), "requestState": "PENDING", "requestResult": "UNKNOWN", "createdBy": UARUser, "requestDetails": u.Filed["requestDetails"]}
	u.Requests = append(u.Requests, request)
	WriteJSON(w, http.StatusCreated, request)
}
