package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// tenant is Access Requests: it shows requests to those who made or approve them.
type tenant struct {
	*testing.T
	mu       sync.Mutex
	requests []map[string]any
	longest  int // of a page
	filed    map[string]any
}

func (u *tenant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	query := r.URL.Query()
	switch {
	case r.URL.Path == "/oauth2/platformtoken":
		_ = r.ParseForm()
		if r.Form.Get("grant_type") != "client_credentials" || r.Form.Get("client_id") != "svc@acme" || r.Form.Get("client_secret") != "s3cret" {
			answerJSON(w, 401, `{"error":"access_denied","error_description":"client authentication failed"}`)
			return
		}
		answerJSON(w, 200, `{"access_token":"jwt","token_type":"Bearer","expires_in":900}`)
	case r.Header.Get("Authorization") != "Bearer jwt":
		answerJSON(w, 401, `{"message":"Unauthorized"}`)
	case r.Method == "POST" && r.URL.Path == "/api/workflows/requests":
		u.create(w, r)
	case strings.HasPrefix(r.URL.Path, "/api/workflows/requests/"):
		id := strings.TrimPrefix(r.URL.Path, "/api/workflows/requests/")
		i := slices.IndexFunc(u.requests, func(m map[string]any) bool { return m["requestId"] == id })
		if i < 0 {
			answerJSON(w, 404, `{"code":"NOT_FOUND","message":"no such request"}`)
			return
		}
		text, _ := json.Marshal(u.requests[i])
		answerJSON(w, 200, string(text))
	case r.URL.Path != "/api/workflows/requests" || query.Get("requestRole") == "" || query.Get("limit") != "50":
		answerJSON(w, 400, `{"code":"BAD_REQUEST"}`)
	default:
		u.list(w, query.Get("filter"), query.Get("requestRole"), query.Get("offset"))
	}
}

func (u *tenant) list(w http.ResponseWriter, filter, role, offset string) {
	var user string
	if n, err := fmt.Sscanf(strings.ReplaceAll(filter, "'", " "), "((requestResult eq APPROVED) and (createdBy eq %s ))", &user); n != 1 || err != nil {
		answerJSON(w, 400, `{"code":"INVALID_FILTER","message":"`+strings.ReplaceAll(filter, `"`, `'`)+`"}`)
		return
	}
	found := []map[string]any{}
	for _, request := range u.requests {
		own := request["createdBy"] == "svc@acme"
		if request["createdBy"] == user && request["requestResult"] == "APPROVED" && own == (role == "CREATOR") {
			found = append(found, request)
		}
	}
	total := len(found)
	skip, _ := strconv.Atoi(offset)
	found = found[min(skip, total):]
	found = found[:min(len(found), u.longest)]
	text, _ := json.Marshal(map[string]any{"items": found, "count": len(found), "totalCount": total})
	answerJSON(w, 200, string(text))
}

func (u *tenant) create(w http.ResponseWriter, r *http.Request) {
	u.filed = nil
	if err := json.NewDecoder(r.Body).Decode(&u.filed); err != nil || u.filed["targetCategory"] != "CLOUD_CONSOLE" {
		answerJSON(w, 400, `{"code":"BAD_REQUEST"}`)
		return
	}
	request := map[string]any{"requestId": "q1", "requestState": "PENDING", "requestResult": "UNKNOWN", "createdBy": "svc@acme", "requestDetails": u.filed["requestDetails"]}
	u.requests = append(u.requests, request)
	text, _ := json.Marshal(request)
	answerJSON(w, 201, string(text))
}

const uarRole = "/roleDefinitions/3ae3|subscriptions/1538|30dd"

func uarRequest(id, user, from, to string) map[string]any {
	return map[string]any{
		"requestId": id, "requestState": "FINISHED", "requestResult": "APPROVED", "createdBy": user,
		"requestDetails": map[string]any{
			"roleId": "/roleDefinitions/3ae3", "workspaceId": "subscriptions/1538", "orgId": "30dd",
			"requestDate": "2026-11-28", "timeFrom": from, "timeTo": to, "timezone": "Europe/Berlin",
		},
	}
}

func newUAR(t *testing.T, address, own string, form CyberArkUAR) *Template {
	t.Helper()
	return newCyberArk(t, &CyberArkConfig{
		Product: "uar", Endpoint: address, OwnUser: own, UAR: form,
		Credential: CredentialConfig{OAuth: &OAuthConfig{TokenURL: address + "/oauth2/platformtoken", ClientID: "svc@acme", SecretFile: secretIn(t, "s3cret")}},
	})
}

func TestUARCheck(t *testing.T) {
	t.Parallel()
	ann := Subject{User: "ann@acme", Role: uarRole}
	u := &tenant{T: t, longest: 2}
	p := newUAR(t, serve(t, u.ServeHTTP), "", CyberArkUAR{})
	wantStatus(t, p, ann, Status{})
	for _, frame := range [][2]string{{"11:00", "13:00"}, {"13:01", "14:00"}, {"14:00", "12:00"}} { // noon UTC is 13:00
		u.requests = append(u.requests, uarRequest("q0", "ann@acme", frame[0], frame[1]))
	}
	u.requests = append(u.requests, uarRequest("q0", "bob@acme", "12:00", "15:00"))
	wantStatus(t, p, ann, Status{})
	u.requests = append(u.requests, uarRequest("q4", "ann@acme", "12:30", "13:30")) // on the second page
	wantStatus(t, p, ann, Status{Active: true, Until: noon.Add(30 * time.Minute), Evidence: "q4"})
	wantStatus(t, p, Subject{User: "ann@acme", Role: "/roleDefinitions/3ae3|subscriptions/other|30dd"}, Status{})
	for _, role := range []string{"/roleDefinitions/3ae3", "a|b|c|d", "a||c", ""} {
		if _, err := p.Check(t.Context(), Subject{User: "ann@acme", Role: role}); !errors.Is(err, ErrSubject) {
			t.Errorf("Check of the role %q = %v", role, err)
		}
	}
	// Nothing gets out of the quotes of the filter.
	if _, err := p.Check(t.Context(), Subject{User: "x') or (createdBy eq 'ann@acme", Role: uarRole}); !errors.Is(err, ErrSubject) {
		t.Errorf("Check with a quote = %v", err)
	}
	if _, err := p.File(t.Context(), Filing{Subject: ann, Duration: time.Hour}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("File = %v", err)
	}
	u.requests[0]["requestDetails"].(map[string]any)["timezone"] = "Local"
	u.requests = u.requests[:1]
	if _, err := p.Check(t.Context(), ann); !errors.Is(err, ErrAnswer) {
		t.Errorf("Check with a time zone of this machine = %v", err)
	}
}

func TestUARRequest(t *testing.T) {
	t.Parallel()
	own := Subject{User: "svc@acme", Role: uarRole}
	for _, kind := range []string{"ON_DEMAND", "DUAL_CONTROL"} {
		u := &tenant{T: t, longest: 50}
		p := newUAR(t, serve(t, u.ServeHTTP), "svc@acme", CyberArkUAR{RequestType: kind, LocationType: "AWS"})
		filed, err := p.File(t.Context(), Filing{Subject: own, Reason: `","roleId":"owner`, Duration: 13 * time.Hour})
		if err != nil || filed.State != FiledPending || filed.Ref != "q1" {
			t.Fatalf("File = %+v, %v", filed, err)
		}
		details := u.filed["requestDetails"].(map[string]any)
		end := map[string]string{"ON_DEMAND": "2026-11-28 23:59 <nil>", "DUAL_CONTROL": "2026-11-28 01:00 2026-11-29"}[kind]
		if got := fmt.Sprint(details["requestDate"], " ", details["timeTo"], " ", details["requestEndDate"]); got != end || details["roleId"] != "/roleDefinitions/3ae3" || details["timezone"] != "UTC" {
			t.Errorf("%s: details %v", kind, details)
		}
		wantPoll(t, p, "q1", own, FiledPending)
		set := func(state, result string) {
			u.requests[0]["requestState"], u.requests[0]["requestResult"] = state, result
		}
		set("FINISHED", "APPROVED")
		until := wantPoll(t, p, "q1", own, FiledActive).Until
		wantStatus(t, p, own, Status{Active: true, Until: until, Evidence: "q1"})
		details = u.requests[0]["requestDetails"].(map[string]any)
		details["timeFrom"] = "12:01"
		wantPoll(t, p, "q1", own, FiledPending)
		wantStatus(t, p, own, Status{})
		details["timeFrom"], details["timeTo"], details["requestEndDate"] = "11:00", "12:00", "2026-11-28"
		wantPoll(t, p, "q1", own, FiledExpired)
		for result, want := range map[string]FiledState{"REJECTED": FiledDenied, "CANCELED": FiledCancelled, "FAILED": FiledFailed} {
			set("FINISHED", result)
			wantPoll(t, p, "q1", own, want)
			wantStatus(t, p, own, Status{})
		}
		set("EXPIRED", "UNKNOWN")
		wantPoll(t, p, "q1", own, FiledExpired)
		set("FINISHED", "UNKNOWN")
		if filed, err := p.Poll(t.Context(), "q1", own); !errors.Is(err, ErrAnswer) {
			t.Errorf("Poll of an unknown state = %+v, %v", filed, err)
		}
		wantPoll(t, p, "q2", own, FiledFailed)
	}
}

func TestUARFailures(t *testing.T) {
	t.Parallel()
	testFailures(t, Subject{User: "ann@acme", Role: uarRole}, func(t *testing.T, endpoint string) Provider {
		return newCyberArk(t, &CyberArkConfig{Product: "uar", Endpoint: endpoint, Credential: CredentialConfig{BearerFile: secretIn(t, "t")}})
	})
}
