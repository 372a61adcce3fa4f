package main_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/authz/catalogue"
	"github.com/sallyport/sallyport/internal/devissuer"
)

// standing is one way of not being elevated.
type standing struct {
	name  string
	token func(*devissuer.TokenOptions)                     // what the token has of it
	make  func(t *testing.T, w *every, caller who, of tool) // what was asked for and decided
}

// tool is a tool of the catalogue, and who is a caller with a token.
type (
	tool = *catalogue.Tool
	who  struct{ name, token string }
)

// every is the mesh of the generated test.
type every struct {
	*elevations
	approver string
	short    string             // the last grant that ends soon
	routes   map[string]request // of the REST tools, without a token
}

// TestNoPrivilegedCallWithoutElevation calls every tool of the catalogue that wants an
// elevation, as every kind of caller, in every standing that is none.
func TestNoPrivilegedCallWithoutElevation(t *testing.T) {
	t.Parallel()
	w := &every{elevations: startElevations(t, elevationOptions{}), routes: map[string]request{
		"delete_order": rest("", "DELETE", "/orders/7", ""),
		"read_keys":    rest("", "GET", "/keys", ""),
	}}
	w.approver = w.caller(t, "approver", roles("approver", "owner"), anywhere)
	loaded, err := catalogue.Load(catalogue.Config{Files: []string{filepath.Join(w.dir, "tools.yaml")}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	desk := w.scene(nil)
	calls, privileged := make(map[string]request), 0
	for _, tool := range loaded.Tools() {
		if !tool.RequiresElevation {
			continue
		}
		privileged++
		for kind, change := range callers() {
			for _, s := range standings() {
				caller := who{name: fmt.Sprintf("%s-%s-%s", kind, strings.ReplaceAll(s.name, " ", "-"), tool.Name)}
				issuer := w.issuer
				if kind == "partner" {
					issuer = w.partner
				}
				caller.token = mint(t, issuer, personOptions(caller.name, anywhere, change, s.token))
				if s.make != nil && kind != "partner" {
					s.make(t, w, caller, tool)
				}
				name := fmt.Sprintf("%s of %s as %s, %s", tool.Name, tool.Server, kind, s.name)
				calls[name] = desk.of(w.call(tool, caller.token))
			}
		}
	}
	if privileged < 8 || len(calls) != privileged*len(callers())*len(standings()) {
		t.Errorf("%d tools, %d calls", privileged, len(calls))
	}
	eventually(t, 10*time.Second, "the short grants end", func() bool {
		shown := w.requested(t, ask(w.approver, http.MethodGet, "elevations/"+w.short, ""), http.StatusOK)
		return shown.Status == "expired"
	})
	for name, call := range calls {
		if a := w.send(t, call); !strings.HasPrefix(refusalOf(a), "elevation.") {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	desk.executed(t, 0)
	// What would pass does pass: the refusals are not for another reason.
	for _, tool := range loaded.Tools() {
		if !tool.RequiresElevation || tool.RequiresApproval {
			continue
		}
		caller := who{name: "elevated"}
		caller.token = w.caller(t, caller.name, anywhere)
		w.approve(t, w.ask(t, caller, tool, 60))
		w.comes(t, func() request { return w.scene(nil).of(w.call(tool, caller.token)) }, map[string]string{"rest": "201", "mcp": "200"}[w.dialect(tool)])
	}
}

func (w *every) dialect(tool tool) string {
	if _, ok := w.routes[tool.Name]; ok {
		return "rest"
	}
	return "mcp"
}

// call is a call of the tool that lacks nothing but an elevation.
func (w *every) call(tool tool, token string) request {
	if r, ok := w.routes[tool.Name]; ok {
		r.token = token
		return r
	}
	r := callTool(token, tool.Name, "{}")
	if tool.Server == "vault" {
		r.path = "/vault"
	}
	return r
}

// anywhere makes a token good for all servers, tools and logins.
func anywhere(o *devissuer.TokenOptions) {
	o.Audience, o.Scopes = []string{"elevation", "vault"}, []string{"wipe"}
	o.Claims["acr"], o.Claims["auth_time"] = "phr", time.Now().Unix()
}

// callers are the kinds of callers that there are.
func callers() map[string]func(*devissuer.TokenOptions) {
	return map[string]func(*devissuer.TokenOptions){
		"person":    func(*devissuer.TokenOptions) {},
		"machine":   func(o *devissuer.TokenOptions) { o.Client, o.Claims["sub"] = o.Subject, nil },
		"delegated": func(o *devissuer.TokenOptions) { o.Claims["act"] = map[string]any{"sub": "agent-" + o.Subject} },
		"approver":  func(o *devissuer.TokenOptions) { o.Roles = []string{"approver", "owner"} },
		"partner":   func(*devissuer.TokenOptions) {},
	}
}

// standings are the ways of not being elevated.
func standings() []standing {
	plain := func(*devissuer.TokenOptions) {}
	claim := func(at time.Duration, lasts time.Duration) func(*devissuer.TokenOptions) {
		return func(o *devissuer.TokenOptions) { o.ElevatedAt, o.ElevatedFor = time.Now().Add(at), lasts }
	}
	return []standing{
		{"nothing", plain, nil},
		{"a claim of the future", claim(time.Hour, 0), nil},
		{"a claim that has ended", claim(-time.Hour, time.Minute), nil},
		{"a claim without a time", func(o *devissuer.TokenOptions) { o.Claims["elevation_status"] = map[string]any{"elevated": true} }, nil},
		{"a role that sounds like it", func(o *devissuer.TokenOptions) { o.Roles = append(o.Roles, "elevated", "admin") }, nil},
		{"pending", plain, func(t *testing.T, w *every, who who, tool tool) { w.ask(t, who, tool, 60) }},
		{"denied", plain, func(t *testing.T, w *every, who who, tool tool) {
			w.requested(t, ask(w.approver, http.MethodPost, "elevations/"+w.ask(t, who, tool, 60)+"/deny", "{}"), http.StatusOK)
		}},
		{"cancelled", plain, func(t *testing.T, w *every, who who, tool tool) {
			w.requested(t, ask(who.token, http.MethodDelete, "elevations/"+w.ask(t, who, tool, 60), ""), http.StatusOK)
		}},
		{"revoked", plain, func(t *testing.T, w *every, who who, tool tool) {
			id := w.ask(t, who, tool, 60)
			w.approve(t, id)
			w.requested(t, ask(w.approver, http.MethodDelete, "elevations/"+id+"?why=x", ""), http.StatusOK)
		}},
		{"granted to somebody else", plain, func(t *testing.T, w *every, who who, tool tool) {
			who.token = w.caller(t, "other-"+who.name, anywhere)
			w.approve(t, w.ask(t, who, tool, 60))
		}},
		{"granted for another tool", plain, func(t *testing.T, w *every, caller who, tool tool) {
			other := &catalogue.Tool{Name: "refund", Server: "desk"}
			if tool.Name == "refund" {
				other.Name = "wipe"
			}
			w.approve(t, w.ask(t, caller, other, 60))
		}},
		{"granted, and at its end", plain, func(t *testing.T, w *every, who who, tool tool) {
			w.short = w.ask(t, who, tool, 1)
			w.approve(t, w.short)
		}},
	}
}

func (w *every) ask(t *testing.T, who who, tool tool, seconds int) (id string) {
	t.Helper()
	members := fmt.Sprintf(`"tool":%q,"server":%q,"reason":"x","duration_seconds":%d`, tool.Name, tool.Server, seconds)
	return w.requested(t, elevate(who.token, members), http.StatusAccepted).ID
}

func (w *every) approve(t *testing.T, id string) {
	t.Helper()
	w.requested(t, approve(w.approver, id), http.StatusOK)
}
