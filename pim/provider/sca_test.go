package provider

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

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
