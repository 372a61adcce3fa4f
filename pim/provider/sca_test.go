package provider

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/sallyport/sallyport/pim/provider/providertest"
)

func newSCA(t *testing.T, address string) *Template {
	t.Helper()
	return newCyberArk(t, &CyberArkConfig{
		Product: "sca", Endpoint: address, Credential: CredentialConfig{BearerFile: secretIn(t, providertest.SCAToken)},
		SCA: CyberArkSCA{RoleField: "target.roleId", EndField: "expiresAt", EvidenceField: "sessionId", Cloud: "AZURE"},
	})
}

func TestSCACheck(t *testing.T) {
	t.Parallel()
	session := func(role, end string) string {
		return fmt.Sprintf(`{"sessionId":"s-%s","target":{"roleId":%q},"expiresAt":%s}`, role, role, end)
	}
	hour := strconv.FormatInt(noon.Add(time.Hour).Unix(), 10)
	c := providertest.NewSCA(t)
	c.Sessions = map[string][]string{
		"ann":     {session("reader", hour), session("writer", `"2026-11-28T12:00:00Z"`), session("owner", hour)},
		"bob":     {`{"sessionId":"s","target":{"role":"reader"},"expiresAt":"x"}`},
		"gateway": {session("reader", hour)},
		"a/b":     {session("reader", hour)},
	}
	p := newSCA(t, c.URL)
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
