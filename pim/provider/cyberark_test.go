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

// vault is a PVWA that insists on what the real one insists on.
type vault struct {
	*testing.T
	mu       sync.Mutex
	password string
	session  string // the token that counts
	logons   int
	envelope string           // name of the list; empty: that of the path
	requests []map[string]any // of all users
	approver string           // who sees IncomingRequests
	busy     bool             // every question is throttled
}

func newVault(t *testing.T) *vault { return &vault{T: t, password: "pass word", approver: "gateway"} }

func (v *vault) fail(w http.ResponseWriter, status int, code, message string) {
	answerJSON(w, status, fmt.Sprintf(`{"ErrorCode":%q,"ErrorMessage":%q}`, code, message))
}

func (v *vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	path, ok := strings.CutPrefix(r.URL.Path, "/PasswordVault/API/")
	switch {
	case v.busy:
		w.Header().Set("Retry-After", "7")
		v.fail(w, 429, "PASWS999E", "Too many requests")
	case !ok:
		http.NotFound(w, r)
	case r.Method == "POST" && path == "auth/LDAP/Logon":
		v.logon(w, r)
	case v.session == "" || r.Header.Get("Authorization") != v.session:
		v.fail(w, 401, "PASWS006E", "The session token is missing, invalid or expired.")
	case r.Method == "GET" && (path == "MyRequests" || path == "IncomingRequests"):
		v.list(w, r, path)
	case r.Method == "POST" && path == "MyRequests":
		v.create(w, r)
	case r.Method == "GET" && strings.HasPrefix(path, "MyRequests/"):
		v.one(w, strings.TrimPrefix(path, "MyRequests/"))
	default:
		v.fail(w, 404, "PASWS013E", "No such URL")
	}
}

func (v *vault) logon(w http.ResponseWriter, r *http.Request) {
	var body struct{ Username, Password string }
	_ = json.NewDecoder(r.Body).Decode(&body)
	v.logons++
	if body.Username != "gateway" || body.Password != v.password {
		v.fail(w, 403, "ITATS004E", "Authentication failure for user "+body.Username)
		return
	}
	v.session = "session" + strconv.Itoa(v.logons)
	answerJSON(w, 200, strconv.Quote(v.session))
}

func (v *vault) list(w http.ResponseWriter, r *http.Request, path string) {
	for _, name := range []string{"onlywaiting", "expired"} {
		if _, err := strconv.ParseBool(r.URL.Query().Get(name)); err != nil {
			v.fail(w, 400, "PASWS167E", "Missing mandatory parameter: "+name)
			return
		}
	}
	visible := []map[string]any{}
	for _, request := range v.requests {
		own := strings.EqualFold(request["RequestorUserName"].(string), "gateway")
		if path == "MyRequests" && own || path == "IncomingRequests" && !own && v.approver == "gateway" {
			visible = append(visible, request)
		}
	}
	name := path
	if v.envelope != "" {
		name = v.envelope
	}
	text, _ := json.Marshal(map[string]any{name: visible, "Total": len(visible)})
	answerJSON(w, 200, string(text))
}

func (v *vault) create(w http.ResponseWriter, r *http.Request) {
	var body struct {
		AccountID              string `json:"accountId"`
		Reason                 string `json:"reason"`
		MultipleAccessRequired bool
		FromDate, ToDate       int64
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil || body.AccountID == "" || body.Reason == "" || body.FromDate >= body.ToDate {
		v.fail(w, 400, "PASWS011E", "The request isn't valid")
		return
	}
	request := vaultRequest("Lin.Root_7", "gateway", body.AccountID, 2, body.FromDate, body.ToDate)
	v.requests = append(v.requests, request)
	text, _ := json.Marshal(request)
	answerJSON(w, 201, string(text))
}

// one wants a slash behind a path with a dot.
func (v *vault) one(w http.ResponseWriter, id string) {
	if strings.Contains(id, ".") && !strings.HasSuffix(id, "/") {
		http.NotFound(w, nil)
		return
	}
	for _, request := range v.requests {
		if request["RequestID"] == strings.TrimSuffix(id, "/") {
			text, _ := json.Marshal(request)
			answerJSON(w, 200, string(text))
			return
		}
	}
	v.fail(w, 404, "PASWS165E", "The request was not found")
}

func vaultRequest(id, user, account string, left int, from, to int64) map[string]any {
	return map[string]any{
		"RequestID": id, "SafeName": "Lin.Root", "RequestorUserName": user, "RequestorReason": "because",
		"CreationDate": from, "ExpirationDate": to, "AccessType": "MultipleAccess", "ConfirmationsLeft": left,
		"AccessFrom": from, "AccessTo": to, "Status": 1, "StatusTitle": "?", "InvalidRequestReason": "",
		"CurrentConfirmationLevel": 1, "AccountDetails": map[string]any{"AccountID": account, "Properties": map[string]any{"Safe": "Lin.Root"}},
	}
}

// with returns a request with other values; nil removes one.
func with(request map[string]any, changes map[string]any) map[string]any {
	for name, value := range changes {
		if value == nil {
			delete(request, name)
		} else {
			request[name] = value
		}
	}
	return request
}

func newPVWA(t *testing.T, endpoint, own string) *Template {
	t.Helper()
	return newCyberArk(t, &CyberArkConfig{
		Product: "pvwa", Endpoint: endpoint, OwnUser: own,
		Credential: CredentialConfig{Logon: &LogonConfig{Method: "LDAP", User: "gateway", PasswordFile: secretIn(t, "pass word")}},
	})
}

func newCyberArk(t *testing.T, cfg *CyberArkConfig) *Template {
	t.Helper()
	p, err := NewCyberArk(cfg, atNoon)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var root = Subject{User: "ann", Role: "12_3"}

func TestPVWACheck(t *testing.T) {
	t.Parallel()
	begin, end := noon.Add(-time.Minute).Unix(), noon.Add(time.Hour).Unix()
	runs := func() map[string]any { return vaultRequest("Lin.Root_1", "Ann", "12_3", 0, begin, end) }
	active := Status{Active: true, Until: noon.Add(time.Hour), Evidence: "Lin.Root_1"}
	for name, c := range map[string]struct {
		requests []map[string]any
		want     Status
		odd      bool
	}{
		"none":             {nil, Status{}, false},
		"confirmed":        {[]map[string]any{runs()}, active, false},
		"no reason, null":  {[]map[string]any{with(runs(), map[string]any{"InvalidRequestReason": json.RawMessage("null")})}, active, false},
		"not confirmed":    {[]map[string]any{with(runs(), map[string]any{"ConfirmationsLeft": 1})}, Status{}, false},
		"of another":       {[]map[string]any{with(runs(), map[string]any{"RequestorUserName": "anna"})}, Status{}, false},
		"another account":  {[]map[string]any{with(runs(), map[string]any{"AccountDetails": map[string]any{"AccountID": "12_30"}})}, Status{}, false},
		"rejected":         {[]map[string]any{with(runs(), map[string]any{"InvalidRequestReason": "Rejected by bob"})}, Status{}, false},
		"not begun":        {[]map[string]any{with(runs(), map[string]any{"AccessFrom": noon.Add(time.Second).Unix()})}, Status{}, false},
		"ended":            {[]map[string]any{with(runs(), map[string]any{"AccessTo": noon.Unix()})}, Status{}, false},
		"no time frame":    {[]map[string]any{with(runs(), map[string]any{"AccessTo": json.RawMessage("null")})}, Status{}, false},
		"second of two":    {[]map[string]any{with(runs(), map[string]any{"ConfirmationsLeft": 1}), runs()}, active, false},
		"odd, then good":   {[]map[string]any{with(runs(), map[string]any{"ConfirmationsLeft": nil}), runs()}, active, false},
		"odd of another":   {[]map[string]any{with(runs(), map[string]any{"RequestorUserName": "bob", "ConfirmationsLeft": nil})}, Status{}, false},
		"nothing is left":  {[]map[string]any{with(runs(), map[string]any{"ConfirmationsLeft": nil})}, Status{}, true},
		"milliseconds":     {[]map[string]any{with(runs(), map[string]any{"AccessTo": end * 1000})}, Status{}, true},
		"text as a time":   {[]map[string]any{with(runs(), map[string]any{"AccessFrom": "yesterday"})}, Status{}, true},
		"no name":          {[]map[string]any{with(runs(), map[string]any{"RequestorUserName": "x", "AccountDetails": nil})}, Status{}, false},
		"no account":       {[]map[string]any{with(runs(), map[string]any{"AccountDetails": nil})}, Status{}, true},
		"a list of states": {[]map[string]any{with(runs(), map[string]any{"ConfirmationsLeft": []int{0}})}, Status{}, true},
	} {
		for _, envelope := range []string{"", "Requests"} {
			t.Run(name+envelope, func(t *testing.T) {
				t.Parallel()
				v := newVault(t)
				v.envelope, v.requests = envelope, c.requests
				p := newPVWA(t, serve(t, v.ServeHTTP), "")
				if !c.odd {
					wantStatus(t, p, root, c.want)
					return
				}
				if got, err := p.Check(t.Context(), root); !errors.Is(err, ErrAnswer) || failing(err) || got.Active {
					t.Errorf("Check = %+v, %v; want ErrAnswer about the subject", got, err)
				}
			})
		}
	}
}

func TestPVWAUnknownEnvelope(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.envelope = "value"
	p := newPVWA(t, serve(t, v.ServeHTTP), "")
	if _, err := p.Check(t.Context(), root); !errors.Is(err, ErrAnswer) || !failing(err) {
		t.Errorf("Check = %v", err)
	}
}

func TestPVWALogsOnAgain(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	p := newPVWA(t, serve(t, v.ServeHTTP), "")
	for range 3 {
		wantStatus(t, p, root, Status{})
	}
	v.session = "ended"
	wantStatus(t, p, root, Status{})
	if v.logons != 2 {
		t.Errorf("%d logons, want 2", v.logons)
	}
	// A token that is refused right away is one refusal, not a loop.
	refuse := newPVWA(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/Logon") {
			v.logons++
			answerJSON(w, 200, `"token"`)
			return
		}
		v.fail(w, 401, "PASWS006E", "no")
	}), "")
	v.logons = 0
	if _, err := refuse.Check(t.Context(), root); !isStatus(err, 401) || v.logons != 2 {
		t.Errorf("Check = %v after %d logons", err, v.logons)
	}
}

// The Vault suspends a user after some wrong passwords.
func TestPVWAWrongPassword(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.password = "another"
	file := secretIn(t, "pass word")
	now := noon
	p, err := NewCyberArk(&CyberArkConfig{
		Product: "pvwa", Endpoint: serve(t, v.ServeHTTP),
		Credential: CredentialConfig{Logon: &LogonConfig{Method: "LDAP", User: "gateway", PasswordFile: file}},
	}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		_, err := p.Check(t.Context(), root)
		if err == nil || !failing(err) || strings.Contains(err.Error(), "pass word") {
			t.Errorf("Check = %v", err)
		}
	}
	if v.logons != 1 {
		t.Errorf("%d logons with a wrong password, want 1", v.logons)
	}
	now = now.Add(logonPause)
	if _, err := p.Check(t.Context(), root); err == nil || v.logons != 2 {
		t.Errorf("Check = %v after %d logons", err, v.logons)
	}
	v.password = "pass word" // or a new one in the file
	now = now.Add(logonPause)
	wantStatus(t, p, root, Status{})
}

func TestPVWALogonAtOnce(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	p := newPVWA(t, serve(t, v.ServeHTTP), "")
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() { wantStatus(t, p, root, Status{}) })
	}
	wait.Wait()
	if v.logons != 1 {
		t.Errorf("%d logons, want 1", v.logons)
	}
}

func TestPVWAThrottled(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.busy = true
	p := newPVWA(t, serve(t, v.ServeHTTP), "")
	var answer *Error
	if _, err := p.Check(t.Context(), root); !errors.As(err, &answer) || answer.RetryIn != 7*time.Second || answer.Code != "PASWS999E" {
		t.Errorf("Check = %v", err)
	}
}

func TestPVWAFailures(t *testing.T) {
	t.Parallel()
	testFailures(t, root, func(t *testing.T, endpoint string) Provider {
		return newCyberArk(t, &CyberArkConfig{Product: "pvwa", Endpoint: endpoint, Credential: CredentialConfig{BearerFile: secretIn(t, "t")}})
	})
}

// Requests there are for the one who calls: with a user of our own, only for that.
func TestPVWARequest(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	address := serve(t, v.ServeHTTP)
	if _, err := newPVWA(t, address, "").File(t.Context(), Filing{Subject: root, Reason: "x", Duration: time.Hour}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("File without a user of our own = %v", err)
	}
	p, own := newPVWA(t, address, "gateway"), Subject{User: "Gateway", Role: "12_3"}
	if _, err := p.File(t.Context(), Filing{Subject: root, Reason: "x", Duration: time.Hour}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("File for another = %v", err)
	}
	if _, err := p.Check(t.Context(), root); !errors.Is(err, ErrSubject) {
		t.Errorf("Check of another = %v", err)
	}
	filed, err := p.File(t.Context(), Filing{Subject: own, Reason: `be"cause` + "\n{user}", Duration: time.Hour})
	if err != nil || filed.State != FiledPending || filed.Ref != "Lin.Root_7" {
		t.Fatalf("File = %+v, %v", filed, err)
	}
	wantStatus(t, p, own, Status{})
	wantPoll(t, p, filed.Ref, own, FiledPending)
	request := v.requests[0]
	with(request, map[string]any{"ConfirmationsLeft": 0})
	if filed := wantPoll(t, p, filed.Ref, own, FiledActive); !filed.Until.Equal(noon.Add(time.Hour)) {
		t.Errorf("until %v", filed.Until)
	}
	wantStatus(t, p, own, Status{Active: true, Until: noon.Add(time.Hour), Evidence: filed.Ref})
	with(request, map[string]any{"AccessTo": noon.Unix()})
	wantPoll(t, p, filed.Ref, own, FiledExpired)
	wantStatus(t, p, own, Status{})
	with(request, map[string]any{"InvalidRequestReason": "Rejected by bob"})
	wantPoll(t, p, filed.Ref, own, FiledDenied)
	wantPoll(t, p, "Lin.Root_8", own, FiledFailed)
	if _, err := p.File(t.Context(), Filing{Subject: own, Duration: time.Hour}); !isStatus(err, 400) {
		t.Errorf("File without a reason = %v", err)
	}
}

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

// cloud is Secure Cloud Access.
type cloud struct {
	sessions map[string][]string // JSON of the sessions that run, by user
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	limit, err := strconv.Atoi(query.Get("limit"))
	user := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/api/access/users/"), "/sessions")
	switch {
	case r.Header.Get("Authorization") != "Bearer t0ken":
		answerJSON(w, 401, `{"message":"Unauthorized"}`)
		return
	case err != nil || limit > 50 || query.Get("csp") != "AZURE" || strings.Contains(user, "/"):
		answerJSON(w, 400, `{"code":"SCA_400","message":"limit must be 50 at most"}`)
		return
	}
	if user == "my" {
		user = "gateway"
	}
	at, _ := strconv.Atoi(strings.TrimPrefix(query.Get("nextToken"), "a&b="))
	sessions, next := c.sessions[user], "null"
	if at < len(sessions) {
		sessions = sessions[at:]
	}
	if len(sessions) > 1 {
		sessions, next = sessions[:1], fmt.Sprintf(`"a&b=%d"`, at+1)
	}
	answerJSON(w, 200, fmt.Sprintf(`{"response":[%s],"total":1,"nextToken":%s}`, strings.Join(sessions, ","), next))
}

func newSCA(t *testing.T, address string) *Template {
	t.Helper()
	return newCyberArk(t, &CyberArkConfig{
		Product: "sca", Endpoint: address, Credential: CredentialConfig{BearerFile: secretIn(t, "t0ken")},
		SCA: CyberArkSCA{RoleField: "target.roleId", EndField: "expiresAt", EvidenceField: "sessionId", Cloud: "AZURE"},
	})
}

func TestSCACheck(t *testing.T) {
	t.Parallel()
	session := func(role, end string) string {
		return fmt.Sprintf(`{"sessionId":"s-%s","target":{"roleId":%q},"expiresAt":%s}`, role, role, end)
	}
	hour := strconv.FormatInt(noon.Add(time.Hour).Unix(), 10)
	c := &cloud{sessions: map[string][]string{
		"ann":     {session("reader", hour), session("writer", `"2026-11-28T12:00:00Z"`), session("owner", hour)},
		"bob":     {`{"sessionId":"s","target":{"role":"reader"},"expiresAt":"x"}`},
		"gateway": {session("reader", hour)},
		"a/b":     {session("reader", hour)},
	}}
	p := newSCA(t, serve(t, c.ServeHTTP))
	for role, want := range map[string]Status{
		"reader": {Active: true, Until: noon.Add(time.Hour), Evidence: "s-reader"},
		"owner":  {Active: true, Until: noon.Add(time.Hour), Evidence: "s-owner"}, // on the third page
		"writer": {},                                                              // ended
		"none":   {},
		"Reader": {},
	} {
		wantStatus(t, p, Subject{User: "ann", Role: role}, want)
	}
	wantStatus(t, p, Subject{User: "carl", Role: "reader"}, Status{})
	if _, err := p.Check(t.Context(), Subject{User: "bob", Role: "reader"}); !errors.Is(err, ErrAnswer) {
		t.Errorf("Check of a session of another shape = %v", err)
	}
	for _, user := range []string{"my", "My", "..", "ann/../gateway", "", "ann\n"} {
		if got, err := p.Check(t.Context(), Subject{User: user, Role: "reader"}); !errors.Is(err, ErrSubject) {
			t.Errorf("Check of %q = %+v, %v", user, got, err)
		}
	}
	for _, user := range []string{"ann/sessions?limit=1#", "ann?csp=AWS", "%61nn"} {
		if got, err := p.Check(t.Context(), Subject{User: user, Role: "reader"}); got.Active {
			t.Errorf("Check of %q = %+v, %v", user, got, err)
		}
	}
	if _, err := p.File(t.Context(), Filing{}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("File = %v", err)
	}
	if _, err := p.Poll(t.Context(), "x", root); !errors.Is(err, ErrUnsupported) {
		t.Errorf("Poll = %v", err)
	}
}

func TestSCAFailures(t *testing.T) {
	t.Parallel()
	testFailures(t, root, func(t *testing.T, endpoint string) Provider { return newSCA(t, endpoint) })
}

func TestNewCyberArkRefuses(t *testing.T) {
	t.Parallel()
	token := CredentialConfig{BearerFile: secretIn(t, "t")}
	for want, cfg := range map[string]CyberArkConfig{
		"product":          {Product: "epm"},
		"endpoint":         {Product: "pvwa", Credential: token},
		"credential":       {Product: "pvwa", Endpoint: "https://x.example.com"},
		"logon: method":    {Product: "pvwa", Endpoint: "https://x.example.com", Credential: CredentialConfig{Logon: &LogonConfig{Method: "SAML"}}},
		"logon: user":      {Product: "pvwa", Endpoint: "https://x.example.com", Credential: CredentialConfig{Logon: &LogonConfig{}}},
		"password_file":    {Product: "pvwa", Endpoint: "https://x.example.com", Credential: CredentialConfig{Logon: &LogonConfig{User: "u"}}},
		"oauth":            {Product: "uar", Endpoint: "https://x.example.com", Credential: CredentialConfig{OAuth: &OAuthConfig{}}},
		"uar.request_type": {Product: "uar", Endpoint: "https://x.example.com", Credential: token, UAR: CyberArkUAR{RequestType: "x"}},
		"isn't a JSON":     {Product: "uar", Endpoint: "https://x.example.com", OwnUser: "u", Credential: token, UAR: CyberArkUAR{LocationType: "\x00"}},
		"sca.role_field":   {Product: "sca", Endpoint: "https://x.example.com", Credential: token},
		"sca.end_field":    {Product: "sca", Endpoint: "https://x.example.com", Credential: token, SCA: CyberArkSCA{RoleField: "r"}},
		"sca.cloud":        {Product: "sca", Endpoint: "https://x.example.com", Credential: token, SCA: CyberArkSCA{Cloud: "x"}},
		"own_user":         {Product: "sca", Endpoint: "https://x.example.com", OwnUser: "x", Credential: token, SCA: CyberArkSCA{RoleField: "r", EndField: "e"}},
	} {
		if _, err := NewCyberArk(&cfg, atNoon); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewCyberArk(%+v) = %v, want %s in it", cfg, err, want)
		}
	}
}
