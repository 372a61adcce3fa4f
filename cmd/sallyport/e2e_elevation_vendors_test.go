package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/devissuer"
)

// vendor is a provider, set up for a mesh.
type vendor struct {
	claim   string // with the id that the provider knows a user by
	pim     []string
	secrets map[string]string // files, by their names
	// user and role are those of an errand. They differ in one of them at least.
	user, role func(errand) string

	elevate func(user, role string, until time.Time) (evidence string)
	decide  func(user, role string, approved bool) // nil: it takes no requests from here
	page    string                                 // where people are sent; empty: nowhere
	fail    func(how http.HandlerFunc)
}

// errand is one thing that the test shows, with a tool of its own.
type errand int

const (
	isNobody errand = iota
	isElevated
	isShort
	isApproved
	isDenied
	isTooLate // the provider fails before it is asked
	errands
)

func (n errand) tool() string { return fmt.Sprintf("errand_%d", n) }

func same(text string) func(errand) string { return func(errand) string { return text } }

func numbered(format string) func(errand) string {
	return func(n errand) string { return fmt.Sprintf(format, n) }
}

// errandsAt is a mesh with a tool for each errand.
type errandsAt struct {
	*elevations
	vendor
}

// catalogue has a tool for each errand, and those that the configuration routes to.
func (v *vendor) catalogue() string {
	text := "version: 1\ntools:\n"
	for _, name := range []string{"order", "transfer", "delete_order", "read_keys"} {
		text += fmt.Sprintf("  - {name: %s, server: api, risk_level: write}\n", name)
	}
	for n := range errands {
		text += fmt.Sprintf("  - {name: %s, server: desk, risk_level: privileged, elevation: {provider_role: %q}}\n", n.tool(), v.role(n))
	}
	return text
}

func startErrands(t *testing.T, v *vendor) *errandsAt {
	t.Helper()
	w := &errandsAt{vendor: *v}
	w.elevations = startElevations(t, elevationOptions{
		later: true, pim: append([]string{fmt.Sprintf("users: [{issuer: dev, claim: %s}]", v.claim)}, v.pim...),
		files: func(dir string) {
			for name, text := range v.secrets {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		},
	})
	w.write(t, "tools.yaml", v.catalogue())
	w.startSallyport(t)
	w.startEnvoy(t)
	return w
}

// token is that of the user of an errand.
func (w *errandsAt) token(t *testing.T, n errand) string {
	t.Helper()
	return w.caller(t, "someone", w.known(n))
}

func (w *errandsAt) known(n errand) func(*devissuer.TokenOptions) {
	return func(o *devissuer.TokenOptions) {
		o.Subject = fmt.Sprintf("%s-%d", o.Subject, n)
		o.Claims = map[string]any{"employee": "E-" + o.Subject, w.claim: w.user(n)}
	}
}

// call is the errand's, of a scene of its own.
func (w *errandsAt) call(token string, n errand) (*scene, request) {
	s := w.scene(nil)
	return s, s.of(callTool(token, n.tool(), "{}"))
}

// ends is how a call of the errand ends, which is executed if that is 200.
func (w *errandsAt) ends(t *testing.T, token string, n errand) string {
	t.Helper()
	s, call := w.call(token, n)
	end := w.elevations.ends(t, call)
	if executed := len(s.requests()); executed > 1 || (executed == 1) != (end == "200") {
		t.Fatalf("errand %d ends with %s, executed %d times", n, end, executed)
	}
	return end
}

// passes wants a call to be executed once and to be on record with its evidence.
func (w *errandsAt) passes(t *testing.T, token string, n errand, evidence string) {
	t.Helper()
	s, call := w.call(token, n)
	a := w.send(t, call)
	if a.status != http.StatusOK || refusalOf(a) != "" {
		t.Fatalf("errand %d: %d %s", n, a.status, a.body)
	}
	s.executed(t, 1)
	var by struct {
		ID        string `json:"event_id"`
		Effect    string `json:"status"`
		Elevation struct{ Source, ID, Until string }
	}
	found := false
	w.records(t, "decision", func(line []byte) {
		if found {
			return
		}
		if err := json.Unmarshal(line, &by); err != nil {
			t.Fatal(err)
		}
		found = by.ID == a.header.Get("X-Sallyport-Decision-Id")
	})
	if e := by.Elevation; !found || by.Effect != "allow" || e.Source != "provider" || e.Until == "" || evidence != "" && e.ID != evidence || e.ID == "" {
		t.Errorf("errand %d is on record with %+v, want the evidence %q", n, by, evidence)
	}
}

func (w *errandsAt) wants(t *testing.T, token string, n errand, want string) {
	t.Helper()
	if got := w.ends(t, token, n); got != want {
		t.Errorf("errand %d ends with %s, want %s", n, got, want)
	}
}

// TestVendors has each provider say yes, no, until then, ask elsewhere, what became of
// a request, and nothing.
func TestVendors(t *testing.T) {
	t.Parallel()
	for name, start := range vendors() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := startErrands(t, start(t))
			asked := w.ask(t)
			w.says(t)
			w.endsInTime(t)
			w.decides(t, asked)
			w.failsClosed(t)
		})
	}
}

// says is the plain yes and no.
func (w *errandsAt) says(t *testing.T) {
	t.Helper()
	evidence := w.elevate(w.user(isElevated), w.role(isElevated), time.Now().Add(time.Hour))
	w.passes(t, w.token(t, isElevated), isElevated, evidence)
	w.wants(t, w.token(t, isNobody), isNobody, "elevation.required")
	w.wants(t, mint(t, w.partner, personOptions("stranger", w.known(isElevated))), isElevated, "elevation.required")
	w.wants(t, w.caller(t, "unknown"), isElevated, "elevation.required")
}

// endsInTime is an end that comes while the answer is remembered.
func (w *errandsAt) endsInTime(t *testing.T) {
	t.Helper()
	token := w.token(t, isShort)
	evidence := w.elevate(w.user(isShort), w.role(isShort), time.Now().Add(5*time.Second))
	w.passes(t, token, isShort, evidence)
	questions := w.metric(t, `sallyport_provider_questions_total{result="asked"}`)
	w.wants(t, token, isShort, "200")
	if now := w.metric(t, `sallyport_provider_questions_total{result="asked"}`); now != questions || now == "" {
		t.Errorf("asked %s times, then %s: nothing is remembered", questions, now)
	}
	eventually(t, 20*time.Second, "the elevation ends", func() bool { return w.ends(t, token, isShort) == "elevation.required" })
}

// ask files two requests, where that is possible, one of which is approved.
func (w *errandsAt) ask(t *testing.T) (asked map[errand]elevation) {
	t.Helper()
	asked = make(map[errand]elevation)
	for _, n := range []errand{isApproved, isDenied} {
		members := fmt.Sprintf(`"tool":%q,"reason":"ticket 4711","duration_seconds":600`, n.tool())
		if w.decide == nil {
			w.elsewhere(t, elevate(w.token(t, n), members))
			continue
		}
		r := w.requested(t, elevate(w.token(t, n), members), http.StatusAccepted)
		if !strings.HasPrefix(r.URL, or(w.page, w.url+"/api/auth/elevations/"+r.ID)) || r.Status != "pending" || !r.Required {
			t.Errorf("asked: %+v", r)
		}
		w.wants(t, w.token(t, n), n, "elevation.required")
		w.decide(w.user(n), w.role(n), n == isApproved)
		asked[n] = r
	}
	return asked
}

// elsewhere wants people to be sent to the provider.
func (w *errandsAt) elsewhere(t *testing.T, r request) {
	t.Helper()
	a := w.send(t, r)
	var problem struct {
		Type string `json:"type"`
		URL  string `json:"approval_url"`
	}
	if err := json.Unmarshal([]byte(a.body), &problem); err != nil || a.status != http.StatusConflict ||
		!strings.HasSuffix(problem.Type, "elevation.elsewhere") || problem.URL != w.page {
		t.Errorf("asked: %d %s, want the page %q", a.status, a.body, w.page)
	}
}

// decides waits for what became of the requests.
func (w *errandsAt) decides(t *testing.T, asked map[errand]elevation) {
	t.Helper()
	for n, want := range map[errand]struct{ status, end string }{isApproved: {"approved", "200"}, isDenied: {"denied", "elevation.required"}} {
		token := w.token(t, n)
		if w.decide == nil {
			w.wants(t, token, n, "elevation.required")
			continue
		}
		eventually(t, 30*time.Second, "the request is "+want.status, func() bool {
			return w.requested(t, ask(token, http.MethodGet, "elevations/"+asked[n].ID, ""), http.StatusOK).Status == want.status
		})
		eventually(t, 10*time.Second, "it is no longer remembered", func() bool { return w.ends(t, token, n) == want.end })
		if n == isApproved {
			w.passes(t, token, n, "")
		}
		if events := w.events(t, asked[n].ID); !slices.Contains(events, map[errand]string{isApproved: "approve done", isDenied: "deny done"}[n]) {
			t.Errorf("on record: %v", events)
		}
	}
}

// failsClosed lets the provider fail, and say yes.
func (w *errandsAt) failsClosed(t *testing.T) {
	t.Helper()
	w.elevate(w.user(isTooLate), w.role(isTooLate), time.Now().Add(time.Hour))
	w.fail(func(rw http.ResponseWriter, _ *http.Request) {
		http.Error(rw, `{"elevated":true}`, http.StatusInternalServerError)
	})
	token := w.token(t, isTooLate)
	w.wants(t, token, isTooLate, "elevation.unavailable")
	w.wants(t, token, isTooLate, "elevation.unavailable")
	w.fail(nil)
	eventually(t, 30*time.Second, "the provider is asked again", func() bool { return w.ends(t, token, isTooLate) == "200" })
}
