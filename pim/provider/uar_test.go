package provider

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sallyport/sallyport/pim/provider/providertest"
)

const uarRole = "/roleDefinitions/3ae3|subscriptions/1538|30dd"

func uarRequest(id, user, from, to string) object {
	return object{
		"requestId": id, "requestState": "FINISHED", "requestResult": "APPROVED", "createdBy": user,
		"requestDetails": object{
			"roleId": "/roleDefinitions/3ae3", "workspaceId": "subscriptions/1538", "orgId": "30dd",
			"requestDate": "2026-11-28", "timeFrom": from, "timeTo": to, "timezone": "Europe/Berlin",
		},
	}
}

func newUAR(t *testing.T, u *providertest.UAR, own string, form CyberArkUAR) *Template {
	t.Helper()
	return newCyberArk(t, &CyberArkConfig{
		Product: "uar", Endpoint: u.URL, OwnUser: own, UAR: form,
		Credential: CredentialConfig{OAuth: &OAuthConfig{TokenURL: u.TokenURL(), ClientID: providertest.UARUser, SecretFile: secretIn(t, providertest.UARSecret)}},
	})
}

func TestUARCheck(t *testing.T) {
	t.Parallel()
	ann := Subject{User: "ann@acme", Role: uarRole}
	u := providertest.NewUAR(t)
	u.Longest = 2
	p := newUAR(t, u, "", CyberArkUAR{})
	wantStatus(t, p, ann, Status{})
	for _, frame := range [][2]string{{"11:00", "13:00"}, {"13:01", "14:00"}, {"14:00", "12:00"}} { // noon UTC is 13:00
		u.Requests = append(u.Requests, uarRequest("q0", "ann@acme", frame[0], frame[1]))
	}
	u.Requests = append(u.Requests, uarRequest("q0", "bob@acme", "12:00", "15:00"))
	wantStatus(t, p, ann, Status{})
	u.Requests = append(u.Requests, uarRequest("q4", "ann@acme", "12:30", "13:30")) // on the second page
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
	u.Requests[0]["requestDetails"].(object)["timezone"] = "Local"
	u.Requests = u.Requests[:1]
	if _, err := p.Check(t.Context(), ann); !errors.Is(err, ErrAnswer) {
		t.Errorf("Check with a time zone of this machine = %v", err)
	}
}

func TestUARRequest(t *testing.T) {
	t.Parallel()
	own := Subject{User: "svc@acme", Role: uarRole}
	for _, kind := range []string{"ON_DEMAND", "DUAL_CONTROL"} {
		u := providertest.NewUAR(t)
		p := newUAR(t, u, "svc@acme", CyberArkUAR{RequestType: kind, LocationType: "AWS"})
		filed, err := p.File(t.Context(), Filing{Subject: own, Reason: `","roleId":"owner`, Duration: 13 * time.Hour})
		if err != nil || filed.State != FiledPending || filed.Ref != "q1" {
			t.Fatalf("File = %+v, %v", filed, err)
		}
		details := u.Filed["requestDetails"].(object)
		end := map[string]string{"ON_DEMAND": "2026-11-28 23:59 <nil>", "DUAL_CONTROL": "2026-11-28 01:00 2026-11-29"}[kind]
		if got := fmt.Sprint(details["requestDate"], " ", details["timeTo"], " ", details["requestEndDate"]); got != end || details["roleId"] != "/roleDefinitions/3ae3" || details["timezone"] != "UTC" {
			t.Errorf("%s: details %v", kind, details)
		}
		wantPoll(t, p, "q1", own, FiledPending)
		set := func(state, result string) {
			u.Requests[0]["requestState"], u.Requests[0]["requestResult"] = state, result
		}
		set("FINISHED", "APPROVED")
		until := wantPoll(t, p, "q1", own, FiledActive).Until
		wantStatus(t, p, own, Status{Active: true, Until: until, Evidence: "q1"})
		details = u.Requests[0]["requestDetails"].(object)
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
