package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
		v.fail(w, 403, "ITATS004E", "Authentication failure for user "+body.Username+" with "+body.Password)
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
