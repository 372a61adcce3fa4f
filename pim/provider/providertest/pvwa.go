package providertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What PVWA knows its client by: a user of LDAP.
const (
	PVWAUser   = "gateway"
	PVWASecret = "pass word"
)

// PVWA is dual control of CyberArk's Vault. It insists on what the real one insists on.
type PVWA struct {
	Server
	Password string
	Session  string // the token that counts
	Logons   int
	Envelope string   // name of the list; empty: that of the path
	Requests []Object // of all users
	Approver string   // who sees IncomingRequests
}

// NewPVWA starts one.
func NewPVWA(t testing.TB) *PVWA {
	t.Helper()
	v := &PVWA{Server: Server{t: t, now: time.Now}, Password: PVWASecret, Approver: PVWAUser}
	v.URL = Serve(t, v.handler(v.serve))
	return v
}

// Elevate adds a confirmed request of a user for an account, and returns its id.
func (v *PVWA) Elevate(user, account string, until time.Time) (id string) {
	v.Change(func() {
		id = v.newID()
		v.Requests = append(v.Requests, PVWARequest(id, user, account, 0, v.now().Add(-time.Minute), until))
	})
	return id
}

// Decide confirms or rejects a user's pending requests for an account.
func (v *PVWA) Decide(user, account string, approved bool) {
	v.Change(func() {
		for _, request := range v.Requests {
			if request["RequestorUserName"] != user || Member(request, "AccountDetails", "AccountID") != account || request["ConfirmationsLeft"] == 0 {
				continue
			}
			if approved {
				request["ConfirmationsLeft"] = 0
			} else {
				request["InvalidRequestReason"] = "Rejected by bob"
			}
		}
	})
}

func (v *PVWA) newID() string { return fmt.Sprintf("Lin.Root_%d", len(v.Requests)+7) }

// PVWAError answers with an error in PVWA's form.
func PVWAError(w http.ResponseWriter, status int, code, message string) {
	writeText(w, status, fmt.Sprintf(`{"ErrorCode":%q,"ErrorMessage":%q}`, code, message))
}

func (v *PVWA) serve(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/PasswordVault/API/")
	switch {
	case !ok:
		http.NotFound(w, r)
	case r.Method == http.MethodPost && path == "auth/LDAP/Logon":
		v.logon(w, r)
	case v.Session == "" || r.Header.Get("Authorization") != v.Session:
		PVWAError(w, http.StatusUnauthorized, "PASWS006E", "The session token is missing, invalid or expired.")
	case r.Method == http.MethodGet && (path == "MyRequests" || path == "IncomingRequests"):
		v.list(w, r, path)
	case r.Method == http.MethodPost && path == "MyRequests":
		v.create(w, r)
	case r.Method == http.MethodGet && strings.HasPrefix(path, "MyRequests/"):
		v.one(w, strings.TrimPrefix(path, "MyRequests/"))
	default:
		PVWAError(w, http.StatusNotFound, "PASWS013E", "No such URL")
	}
}

func (v *PVWA) logon(w http.ResponseWriter, r *http.Request) {
	var body struct{ Username, Password string }
	_ = json.NewDecoder(r.Body).Decode(&body)
	v.Logons++
	if body.Username != PVWAUser || body.Password != v.Password {
		PVWAError(w, http.StatusForbidden, "ITATS004E", "Authentication failure for user "+body.Username+" with "+body.Password)
		return
	}
	v.Session = "session" + strconv.Itoa(v.Logons)
	writeText(w, http.StatusOK, strconv.Quote(v.Session))
}

func (v *PVWA) list(w http.ResponseWriter, r *http.Request, path string) {
	for _, name := range []string{"onlywaiting", "expired"} {
		if _, err := strconv.ParseBool(r.URL.Query().Get(name)); err != nil {
			PVWAError(w, http.StatusBadRequest, "PASWS167E", "Missing mandatory parameter: "+name)
			return
		}
	}
	visible := []Object{}
	for _, request := range v.Requests {
		own := strings.EqualFold(request["RequestorUserName"].(string), PVWAUser)
		if path == "MyRequests" && own || path == "IncomingRequests" && !own && v.Approver == PVWAUser {
			visible = append(visible, request)
		}
	}
	name := path
	if v.Envelope != "" {
		name = v.Envelope
	}
	WriteJSON(w, http.StatusOK, Object{name: visible, "Total": len(visible)})
}

func (v *PVWA) create(w http.ResponseWriter, r *http.Request) {
	var body struct {
		AccountID              string `json:"accountId"`
		Reason                 string `json:"reason"`
		MultipleAccessRequired bool
		FromDate, ToDate       int64
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil || body.AccountID == "" || body.Reason == "" || body.FromDate >= body.ToDate {
		PVWAError(w, http.StatusBadRequest, "PASWS011E", "The request isn't valid")
		return
	}
	request := PVWARequest(v.newID(), PVWAUser, body.AccountID, 2, time.Unix(body.FromDate, 0), time.Unix(body.ToDate, 0))
	v.Requests = append(v.Requests, request)
	WriteJSON(w, http.StatusCreated, request)
}

// one wants a slash behind a path with a dot.
func (v *PVWA) one(w http.ResponseWriter, id string) {
	if strings.Contains(id, ".") && !strings.HasSuffix(id, "/") {
		http.NotFound(w, nil)
		return
	}
	for _, request := range v.Requests {
		if request["RequestID"] == strings.TrimSuffix(id, "/") {
			WriteJSON(w, http.StatusOK, request)
			return
		}
	}
	PVWAError(w, http.StatusNotFound, "PASWS165E", "The request was not found")
}

// PVWARequest is a user's request for an account that some have yet to confirm.
func PVWARequest(id, user, account string, left int, from, to time.Time) Object {
	return Object{
		"RequestID": id, "SafeName": "Lin.Root", "RequestorUserName": user, "RequestorReason": "because",
		"CreationDate": from.Unix(), "ExpirationDate": to.Unix(), "AccessType": "MultipleAccess", "ConfirmationsLeft": left,
		"AccessFrom": from.Unix(), "AccessTo": to.Unix(), "Status": 1, "StatusTitle": "?", "InvalidRequestReason": "",
		"CurrentConfirmationLevel": 1, "AccountDetails": Object{"AccountID": account, "Properties": Object{"Safe": "Lin.Root"}},
	}
}
