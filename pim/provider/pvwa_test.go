package provider

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/pim/provider/providertest"
)

// with returns a request with other values; nil removes one.
func with(request object, changes object) object {
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
		Credential: CredentialConfig{Logon: &LogonConfig{Method: "LDAP", User: providertest.PVWAUser, PasswordFile: secretIn(t, providertest.PVWASecret)}},
	})
}

var root = Subject{User: "ann", Role: "12_3"}

func TestPVWACheck(t *testing.T) {
	t.Parallel()
	begin, end := noon.Add(-time.Minute), noon.Add(time.Hour)
	runs := func() object { return providertest.PVWARequest("Lin.Root_1", "Ann", "12_3", 0, begin, end) }
	active := Status{Active: true, Until: noon.Add(time.Hour), Evidence: "Lin.Root_1"}
	for name, c := range map[string]struct {
		requests []object
		want     Status
		odd      bool
	}{
		"none":             {nil, Status{}, false},
		"confirmed":        {[]object{runs()}, active, false},
		"no reason, null":  {[]object{with(runs(), object{"InvalidRequestReason": json.RawMessage("null")})}, active, false},
		"not confirmed":    {[]object{with(runs(), object{"ConfirmationsLeft": 1})}, Status{}, false},
		"of another":       {[]object{with(runs(), object{"RequestorUserName": "anna"})}, Status{}, false},
		"another account":  {[]object{with(runs(), object{"AccountDetails": object{"AccountID": "12_30"}})}, Status{}, false},
		"rejected":         {[]object{with(runs(), object{"InvalidRequestReason": "Rejected by bob"})}, Status{}, false},
		"not begun":        {[]object{with(runs(), object{"AccessFrom": noon.Add(time.Second).Unix()})}, Status{}, false},
		"ended":            {[]object{with(runs(), object{"AccessTo": noon.Unix()})}, Status{}, false},
		"no time frame":    {[]object{with(runs(), object{"AccessTo": json.RawMessage("null")})}, Status{}, false},
		"second of two":    {[]object{with(runs(), object{"ConfirmationsLeft": 1}), runs()}, active, false},
		"odd, then good":   {[]object{with(runs(), object{"ConfirmationsLeft": nil}), runs()}, active, false},
		"odd of another":   {[]object{with(runs(), object{"RequestorUserName": "bob", "ConfirmationsLeft": nil})}, Status{}, false},
		"nothing is left":  {[]object{with(runs(), object{"ConfirmationsLeft": nil})}, Status{}, true},
		"milliseconds":     {[]object{with(runs(), object{"AccessTo": end.UnixMilli()})}, Status{}, true},
		"text as a time":   {[]object{with(runs(), object{"AccessFrom": "yesterday"})}, Status{}, true},
		"no name":          {[]object{with(runs(), object{"RequestorUserName": "x", "AccountDetails": nil})}, Status{}, false},
		"no account":       {[]object{with(runs(), object{"AccountDetails": nil})}, Status{}, true},
		"a list of states": {[]object{with(runs(), object{"ConfirmationsLeft": []int{0}})}, Status{}, true},
	} {
		for _, envelope := range []string{"", "Requests"} {
			t.Run(name+envelope, func(t *testing.T) {
				t.Parallel()
				v := providertest.NewPVWA(t)
				v.Envelope, v.Requests = envelope, c.requests
				p := newPVWA(t, v.URL, "")
				if !c.odd {
					wantStatus(t, p, root, c.want)
					return
				}
				if got, err := p.Check(t.Context(), root); !errors.Is(err, ErrAnswer) || Failing(err) || got.Active {
					t.Errorf("Check = %+v, %v; want ErrAnswer about the subject", got, err)
				}
			})
		}
	}
}

func TestPVWAUnknownEnvelope(t *testing.T) {
	t.Parallel()
	v := providertest.NewPVWA(t)
	v.Envelope = "value"
	p := newPVWA(t, v.URL, "")
	if _, err := p.Check(t.Context(), root); !errors.Is(err, ErrAnswer) || !Failing(err) {
		t.Errorf("Check = %v", err)
	}
}

func TestPVWALogsOnAgain(t *testing.T) {
	t.Parallel()
	v := providertest.NewPVWA(t)
	p := newPVWA(t, v.URL, "")
	for range 3 {
		wantStatus(t, p, root, Status{})
	}
	v.Session = "ended"
	wantStatus(t, p, root, Status{})
	if v.Logons != 2 {
		t.Errorf("%d logons, want 2", v.Logons)
	}
	// A token that is refused right away is one refusal, not a loop.
	refuse := newPVWA(t, providertest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/Logon") {
			v.Logons++
			answerJSON(w, 200, `"token"`)
			return
		}
		providertest.PVWAError(w, 401, "PASWS006E", "no")
	}), "")
	v.Logons = 0
	if _, err := refuse.Check(t.Context(), root); !isStatus(err, 401) || v.Logons != 2 {
		t.Errorf("Check = %v after %d logons", err, v.Logons)
	}
}

// The Vault suspends a user after some wrong passwords.
func TestPVWAWrongPassword(t *testing.T) {
	t.Parallel()
	v := providertest.NewPVWA(t)
	v.Password = "another"
	file := secretIn(t, providertest.PVWASecret)
	now := noon
	p, err := NewCyberArk(&CyberArkConfig{
		Product: "pvwa", Endpoint: v.URL,
		Credential: CredentialConfig{Logon: &LogonConfig{Method: "LDAP", User: providertest.PVWAUser, PasswordFile: file}},
	}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		_, err := p.Check(t.Context(), root)
		if err == nil || !Failing(err) || strings.Contains(err.Error(), "pass word") {
			t.Errorf("Check = %v", err)
		}
	}
	if v.Logons != 1 {
		t.Errorf("%d logons with a wrong password, want 1", v.Logons)
	}
	now = now.Add(logonPause)
	if _, err := p.Check(t.Context(), root); err == nil || v.Logons != 2 {
		t.Errorf("Check = %v after %d logons", err, v.Logons)
	}
	v.Password = "pass word" // or a new one in the file
	now = now.Add(logonPause)
	wantStatus(t, p, root, Status{})
}

func TestPVWALogonAtOnce(t *testing.T) {
	t.Parallel()
	v := providertest.NewPVWA(t)
	p := newPVWA(t, v.URL, "")
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() { wantStatus(t, p, root, Status{}) })
	}
	wait.Wait()
	if v.Logons != 1 {
		t.Errorf("%d logons, want 1", v.Logons)
	}
}

func TestPVWAThrottled(t *testing.T) {
	t.Parallel()
	v := providertest.NewPVWA(t)
	v.Fail(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		providertest.PVWAError(w, http.StatusTooManyRequests, "PASWS999E", "Too many requests")
	})
	p := newPVWA(t, v.URL, "")
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
	v := providertest.NewPVWA(t)
	address := v.URL
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
	request := v.Requests[0]
	with(request, object{"ConfirmationsLeft": 0})
	if filed := wantPoll(t, p, filed.Ref, own, FiledActive); !filed.Until.Equal(noon.Add(time.Hour)) {
		t.Errorf("until %v", filed.Until)
	}
	wantStatus(t, p, own, Status{Active: true, Until: noon.Add(time.Hour), Evidence: filed.Ref})
	with(request, object{"AccessTo": noon.Unix()})
	wantPoll(t, p, filed.Ref, own, FiledExpired)
	wantStatus(t, p, own, Status{})
	with(request, object{"InvalidRequestReason": "Rejected by bob"})
	wantPoll(t, p, filed.Ref, own, FiledDenied)
	wantPoll(t, p, "Lin.Root_8", own, FiledFailed)
	if _, err := p.File(t.Context(), Filing{Subject: own, Duration: time.Hour}); !isStatus(err, 400) {
		t.Errorf("File without a reason = %v", err)
	}
}
