package main_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/devissuer"
)

// elevations is testdata/e2e/elevation.yaml, running: a mesh whose upstream counts
// what reaches it.
type elevations struct {
	*exchanges
}

// elevationOptions are what a test has different.
type elevationOptions struct {
	pim       []string // lines of the section; default: approvals by the role approver
	database  string   // lines of the section; default: SQLite
	audit     string
	files     func(dir string)
	replicaOf *elevations // shares its issuers and its upstream
	later     bool
}

const approvedHere = "require_approval: true\napprovers: [{issuer: dev, roles: [approver]}]"

func startElevations(t *testing.T, o elevationOptions) *elevations {
	t.Helper()
	e := &elevations{exchanges: &exchanges{}}
	options := meshOptions{config: "elevation.yaml", tools: "elevation_tools.yaml", files: o.files, later: o.later, audit: o.audit}
	if o.replicaOf != nil {
		e.stage, options.issuersOf = o.replicaOf.stage, o.replicaOf.mesh
	} else {
		e.stage = &stage{scenes: make(map[string]*scene)}
		e.stage.address = serve(t, e.stage)
	}
	lines := cmp.Or(strings.Join(o.pim, "\n"), approvedHere)
	options.values = map[string]string{"Upstream": e.stage.address, "PIM": indented(lines)}
	previous := options.files
	options.files = func(dir string) {
		options.values["Database"] = indented(cmp.Or(o.database, "file: "+dir+"/events.db"))
		if previous != nil {
			previous(dir)
		}
	}
	e.mesh = startMesh(t, options)
	return e
}

// indented are lines of a section of the configuration.
func indented(lines string) string { return "  " + strings.ReplaceAll(lines, "\n", "\n  ") }

// caller mints a token that is good for desk and api; a person is the subject.
func (e *elevations) caller(t *testing.T, subject string, changes ...func(*devissuer.TokenOptions)) string {
	t.Helper()
	return mint(t, e.issuer, personOptions(subject, changes...))
}

func personOptions(subject string, changes ...func(*devissuer.TokenOptions)) devissuer.TokenOptions {
	o := devissuer.TokenOptions{
		Subject: subject, Audience: []string{"elevation"},
		Claims: map[string]any{"employee": "E-" + subject},
	}
	for _, change := range changes {
		change(&o)
	}
	return o
}

func roles(roles ...string) func(*devissuer.TokenOptions) {
	return func(o *devissuer.TokenOptions) { o.Roles = roles }
}

// elevation is a request as the API shows it.
type elevation struct {
	ID       string `json:"request_id"`
	Kind     string `json:"kind"`
	Status   string `json:"status"`
	Tool     string `json:"tool"`
	Required bool   `json:"approval_required"`
	URL      string `json:"approval_url"`
	Duration int    `json:"duration_seconds"`
	Expires  string `json:"expires_at"`
}

// ask is a request to the API.
func ask(token, method, path, body string) request {
	r := rest(token, method, "/api/auth/"+path, body)
	r.keyless = true
	return r
}

// elevate asks for what the members say.
func elevate(token, members string) request {
	return ask(token, http.MethodPost, "elevate", "{"+members+"}")
}

// requested makes a request that must get the status, and returns it.
func (e *elevations) requested(t *testing.T, r request, status int) elevation {
	t.Helper()
	a := e.send(t, r)
	var made elevation
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.status != status {
		t.Fatalf("%s %s: %d %s, want %d (%v)", r.method, r.path, a.status, a.body, status, err)
	}
	return made
}

func approve(token, id string) request {
	return ask(token, http.MethodPost, "elevations/"+id+"/approve", `{"comment":"agreed"}`)
}

// refused checks that the API refuses with a kind of problem.
func (e *elevations) refused(t *testing.T, r request, status int, kind string) {
	t.Helper()
	a := e.send(t, r)
	var problem struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
	}
	if err := json.Unmarshal([]byte(a.body), &problem); err != nil || a.status != status ||
		!strings.HasSuffix(problem.Type, kind) && problem.Reason != kind {
		t.Errorf("%s %s: %d %s, want %d %s", r.method, r.path, a.status, a.body, status, kind)
	}
}

// soon is within which time a change is in force at every replica.
const soon = time.Second

// comes waits until a call ends so: "allowed", or the reason of a refusal.
func (e *elevations) comes(t *testing.T, call func() request, want string) {
	t.Helper()
	last := ""
	deadline := time.Now().Add(soon + time.Second) // the machine is busy
	for time.Now().Before(deadline) {
		if last = e.ends(t, call()); last == want {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("it ends with %q, want %q", last, want)
}

// ends is how a call ends.
func (e *elevations) ends(t *testing.T, r request) string {
	t.Helper()
	a := e.send(t, r)
	return cmp.Or(refusalOf(a), fmt.Sprint(a.status))
}

// events are those of the elevations, in order, as "action status".
func (e *elevations) events(t *testing.T, id string) (seen []string) {
	t.Helper()
	e.records(t, "elevation", func(line []byte) {
		var event struct {
			Action, Status string
			RequestID      string `json:"request_id"`
		}
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatal(err)
		}
		if event.RequestID == id {
			seen = append(seen, event.Action+" "+event.Status)
		}
	})
	return seen
}

// together makes the calls at once and counts how they ended.
func (e *elevations) together(t *testing.T, calls []request) map[string]int {
	t.Helper()
	counts, errs := make(map[string]int), make([]error, len(calls))
	answers := make([]answer, len(calls))
	var group sync.WaitGroup
	start := make(chan struct{})
	for i, call := range calls {
		group.Go(func() {
			<-start
			answers[i], errs[i] = e.try(t.Context(), call)
		})
	}
	close(start)
	group.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
		counts[cmp.Or(refusalOf(answers[i]), fmt.Sprint(answers[i].status))]++
	}
	return counts
}
