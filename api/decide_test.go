package api

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/pim"
)

func TestApprove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.ask("alice", refund)
	r := w.want("bob", "POST elevations/"+id+"/approve", `{"comment":"agreed"}`, 200, "")
	if r.string("status") != "approved" || r.body["approval_required"] != false || r.string("decided_by") != "E-2" || r.string("comment") != "agreed" ||
		r.string("starts_at") == "" || r.string("expires_at") != "2026-03-01T09:40:00Z" || r.string("decided_at") == "" {
		t.Errorf("%s", r.text)
	}
	w.want("bob", "POST elevations/"+id+"/deny", `{}`, 409, "elevation.state")
	if got := w.do("alice", "GET elevations/"+id, ""); got.string("status") != "approved" {
		t.Errorf("%s", got.text)
	}
}

func TestDeny(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.ask("alice", refund)
	r := w.want("bob", "POST elevations/"+id+"/deny", `{"comment":"no"}`, 200, "")
	if r.string("status") != "denied" || r.body["expires_at"] != nil {
		t.Errorf("%s", r.text)
	}
	r = w.want("bob", "POST elevations/"+id+"/approve", `{}`, 409, "elevation.state")
	if r.string("state") != "denied" {
		t.Errorf("%s", r.text)
	}
}

func TestWhoDecides(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, wipe := w.ask("alice", refund), w.ask("alice", `{"tool":"wipe","reason":"x"}`)
	for _, tt := range []struct {
		name, who, id string
		status        int
		kind          string
	}{
		{"the requester", "alice", id, 403, "elevation.self"},
		{"the requester with another account", "alice-admin", id, 403, "elevation.self"},
		{"somebody without the role", "carol", id, 404, "elevation.unknown"},
		{"somebody who isn't known", "dan", id, 404, "elevation.unknown"},
		{"a token for another server", "eve", id, 404, "elevation.unknown"},
		{"the requester's token for another server", "alice-rest", id, 404, "elevation.unknown"},
		{"an approver of other tools", "bob", wipe, 404, "elevation.unknown"},
		{"no such request", "bob", "0195-9999", 404, "elevation.unknown"},
		{"no id", "bob", "%2e%2e", 404, "elevation.unknown"},
		{"nobody", "", id, 401, "authentication.missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, action := range []string{"approve", "deny"} {
				w.want(tt.who, "POST elevations/"+tt.id+"/"+action, "{}", tt.status, tt.kind)
			}
			if tt.who != "alice" && tt.who != "alice-admin" {
				w.want(tt.who, "GET elevations/"+tt.id, "", tt.status, tt.kind)
				w.want(tt.who, "DELETE elevations/"+tt.id+"?why=x", "", tt.status, tt.kind)
			}
		})
	}
	for i := range w.requests.all {
		if w.requests.all[i].State != pim.Pending {
			t.Errorf("it is %s", w.requests.all[i].State)
		}
	}
}

// A requester whose person isn't known can't be told from an approver.
func TestPersonsMustBeKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.ask("dan", refund)
	w.want("bob", "POST elevations/"+id+"/approve", "{}", 403, "elevation.person_unknown")
	w.want("bob", "POST elevations/"+id+"/deny", "{}", 200, "")
}

func TestAProviderDecides(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.ask("alice", refund)
	w.requests.all[0].Provider, w.requests.all[0].ProviderURL = "okta", "https://okta.example/r/1"
	r := w.want("bob", "POST elevations/"+id+"/approve", "{}", 409, "elevation.elsewhere")
	if r.string("approval_url") != "https://okta.example/r/1" {
		t.Errorf("%s", r.text)
	}
	if r := w.do("alice", "GET elevations/"+id, ""); r.string("approval_url") != "https://okta.example/r/1" || r.string("provider") != "okta" {
		t.Errorf("%s", r.text)
	}
}

// Nothing but a POST decides, and nothing but a DELETE ends.
func TestMethods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.ask("alice", refund)
	for path, allow := range map[string]string{
		"elevate": "POST", "elevations": "GET", "elevations/revoke": "POST", "elevations/" + id: "DELETE, GET",
		"elevations/" + id + "/approve": "POST", "elevations/" + id + "/deny": "POST", "openapi.yaml": "GET, HEAD",
	} {
		for _, method := range []string{"GET", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "QUERY"} {
			if slices.Contains(strings.Split(allow, ", "), method) {
				continue
			}
			r := w.do("bob", method+" "+path, "")
			if r.StatusCode != 405 || r.kind() != "http.method" || r.Header.Get("Allow") != allow {
				t.Errorf("%s %s: %d, Allow %s", method, path, r.StatusCode, r.Header.Get("Allow"))
			}
		}
	}
	for _, path := range []string{"", "x", "elevations/", "elevations//approve", "elevations/" + id + "/", "elevations/" + id + "/approve/", "elevations/" + id + "/revoke", "openapi.yml"} {
		if r := w.do("bob", "GET "+path, ""); r.StatusCode != 404 || r.kind() != "http.not_found" {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.text)
		}
	}
	if got := w.do("bob", "GET elevations/"+id+"?action=approve", ""); got.string("status") != "pending" {
		t.Errorf("a link made it %s", got.string("status"))
	}
}

func TestRequesterEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.ask("alice", refund)
	if r := w.want("alice", "DELETE elevations/"+id, "", 200, ""); r.string("status") != "cancelled" || r.string("ended_by") != "E-1" || r.body["expires_at"] != nil {
		t.Errorf("%s", r.text)
	}
	w.want("alice", "DELETE elevations/"+id+"?why=again", "", 422, "elevation.ask")

	given := w.ask("alice", refund)
	w.want("bob", "POST elevations/"+given+"/approve", "{}", 200, "")
	if r := w.want("alice", "DELETE elevations/"+given, "", 200, ""); r.string("status") != "cancelled" || r.string("why") != "" {
		t.Errorf("given back: %s", r.text)
	}
}

// Who cancels what is approved in the same moment doesn't end up with a grant.
func TestCancelledWhileApproved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.ask("alice", refund)
	w.requests.before = func() {
		if _, err := w.requests.Approve(t.Context(), id, pim.Party{PrincipalID: "id-bob", Person: "E-2"}, ""); err != nil {
			t.Error(err)
		}
	}
	if r := w.want("alice", "DELETE elevations/"+id, "", 200, ""); r.string("status") != "cancelled" {
		t.Errorf("%s", r.text)
	}
}

func TestApproverRevokes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.ask("alice", refund)
	w.want("bob", "DELETE elevations/"+id+"?why=x", "", 409, "elevation.state") // pending ones are denied
	w.want("bob", "POST elevations/"+id+"/approve", "{}", 200, "")
	w.want("bob", "DELETE elevations/"+id, "", 422, "elevation.ask")
	w.want("bob", "DELETE elevations/"+id+"?why=+", "", 422, "elevation.ask")
	w.want("bob", "DELETE elevations/"+id+"?reason=x", "", 400, "elevation.query")
	w.want("bob", "DELETE elevations/"+id+"?why=x&why=y", "", 400, "elevation.query")
	w.want("bob", "DELETE elevations/"+id+"?why=%zz", "", 400, "elevation.query")
	w.want("bob", "DELETE elevations/"+id, `{"why":"x"}`, 400, "elevation.body")
	if r := w.want("bob", "DELETE elevations/"+id+"?why=a+mistake", "", 200, ""); r.string("status") != "revoked" || r.string("why") != "a mistake" || r.string("ended_by") != "E-2" {
		t.Errorf("%s", r.text)
	}
}

func TestRevokeHolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const body = `{"principal_id":"id-carol","server":"dealer","tool":"refund","duration_seconds":3600,"why":"left"}`
	for _, who := range []string{"alice", "carol", "dan", "eve"} {
		w.want(who, "POST elevations/revoke", body, 403, "elevation.not_approver")
	}
	for name, bad := range map[string]string{
		"principal_id":     `{"server":"dealer","tool":"refund","duration_seconds":3600,"why":"left"}`,
		"server":           `{"principal_id":"x","tool":"refund","duration_seconds":3600,"why":"left"}`,
		"tool":             `{"principal_id":"x","server":"dealer","duration_seconds":3600,"why":"left"}`,
		"duration_seconds": `{"principal_id":"x","server":"dealer","tool":"refund","why":"left"}`,
		"why":              `{"principal_id":"x","server":"dealer","tool":"refund","duration_seconds":3600,"why":" "}`,
	} {
		if r := w.want("bob", "POST elevations/revoke", bad, 400, "elevation.body"); r.string("member") != name {
			t.Errorf("%s", r.text)
		}
	}
	w.want("bob", "POST elevations/revoke", `{"principal_id":"x","server":"dealer","tool":"refund","duration_seconds":0,"why":"left"}`, 422, "elevation.ask")
	w.want("bob", "POST elevations/revoke", `{"principal_id":"x","server":"dealer","tool":"wipe","duration_seconds":1,"why":"left"}`, 403, "elevation.not_approver")
	if len(w.requests.all) != 0 {
		t.Fatalf("something was revoked: %+v", w.requests.all)
	}
	r := w.want("bob", "POST elevations/revoke", body, 201, "")
	made := w.requests.all[0]
	if r.string("status") != "revoked" || made.Requester.PrincipalID != "id-carol" || made.Duration != time.Hour || made.Ender.Person != "E-2" || made.Why != "left" {
		t.Errorf("%s", r.text)
	}
	w.requests.failing = pim.ErrUnavailable
	w.want("bob", "POST elevations/revoke", body, 503, "elevation.unavailable")
}
