package provider

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/pim/provider/providertest"
)

// template returns a configuration that is right; change makes it another.
func template(t testing.TB, endpoint string, change func(*TemplateConfig)) *TemplateConfig {
	t.Helper()
	states := map[string]FiledState{"open": FiledPending, "yes": FiledActive, "no": FiledDenied}
	cfg := &TemplateConfig{
		Name: "acme", Endpoint: endpoint, Credential: CredentialConfig{BearerFile: secretIn(t, "t0ken")},
		Values: map[string]string{"org": "o/1"},
		Check: CheckTemplate{
			TemplateCall: TemplateCall{Method: "POST", URL: "/orgs/{org}/users/{user}?q=role eq '{role}'&as={user}", Body: `{"who":["{user}"],"at":{now_unix}}`},
			Items:        []string{"data.items"}, Until: "end", Evidence: "id",
			When: []Predicate{{Path: "role", Op: OpEqual, Value: "{role}"}},
		},
		File: &FiledTemplate{
			TemplateCall: TemplateCall{Method: "POST", URL: "/requests", Body: `{"user":"{user}","why":"for {tool}: {reason}","seconds":{duration_seconds},"from":"{from_time}"}`},
			Ref:          "id", Page: "page", State: []string{"state"}, States: states,
		},
		Poll: &FiledTemplate{TemplateCall: TemplateCall{URL: "/requests/{ref}"}, State: []string{"state"}, States: states, Until: "end"},
	}
	if change != nil {
		change(cfg)
	}
	return cfg
}

func newTemplate(t testing.TB, endpoint string, change func(*TemplateConfig)) *Template {
	t.Helper()
	p, err := NewTemplate(template(t, endpoint, change), atNoon)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestNewTemplateRefuses(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*TemplateConfig){
		"name: is missing":                      func(c *TemplateConfig) { c.Name = "" },
		"endpoint: ":                            func(c *TemplateConfig) { c.Endpoint = "http://example.com" },
		"ca_file: ":                             func(c *TemplateConfig) { c.CAFile = "/nowhere" },
		"credential: bearer_file: ":             func(c *TemplateConfig) { c.Credential.BearerFile = "/nowhere" },
		"credential: must be one of":            func(c *TemplateConfig) { c.Credential.Logon = &LogonConfig{} },
		"time_zone: ":                           func(c *TemplateConfig) { c.TimeZone = "Mars" },
		"time_zone: isn't":                      func(c *TemplateConfig) { c.TimeZone = "Local" },
		"values.user: {user} has another":       func(c *TemplateConfig) { c.Values["user"] = "x" },
		"values.ref: {ref} has another":         func(c *TemplateConfig) { c.Values["ref"] = "x" },
		"values.A b: ":                          func(c *TemplateConfig) { c.Values["A b"] = "x" },
		"role_parts[1]: {a} has another":        func(c *TemplateConfig) { c.RoleParts = []string{"a", "a"} },
		"poll: goes with file":                  func(c *TemplateConfig) { c.Poll = nil },
		"check: method: ":                       func(c *TemplateConfig) { c.Check.Method = "DELETE" },
		"check: url: isn't a path":              func(c *TemplateConfig) { c.Check.URL = "x" },
		"check: url: {who} isn't known":         func(c *TemplateConfig) { c.Check.URL = "/{who}" },
		"check: url: {reason} isn't known":      func(c *TemplateConfig) { c.Check.URL = "/{reason}" },
		"no %-escapes":                          func(c *TemplateConfig) { c.Check.URL = "/%2e%2e/{user}" },
		"empty or dots":                         func(c *TemplateConfig) { c.Check.URL = "/../{user}" },
		"has a segment that is empty":           func(c *TemplateConfig) { c.Check.URL = "/a//{user}" },
		"is only dots beside":                   func(c *TemplateConfig) { c.Check.URL = "/a/.{user}" },
		`parameter "x" isn't name=value`:        func(c *TemplateConfig) { c.Check.URL = "/a?x" },
		`parameter "{user}=x" isn't`:            func(c *TemplateConfig) { c.Check.URL = "/a?{user}=x" },
		"parameter q: {role} must be the":       func(c *TemplateConfig) { c.Check.URL = "/a?q=role eq {role}" },
		"parameter q: {role} must be the whole": func(c *TemplateConfig) { c.Check.URL = "/a?q='{role}{user}'" },
		"check: body: GET has none":             func(c *TemplateConfig) { c.Check.Method = "GET" },
		"check: body: in \"{user}\": {user}":    func(c *TemplateConfig) { c.Check.Body = "{\"{user}" },
		"the name \"\\\"{user}\\\"\" has":       func(c *TemplateConfig) { c.Check.Body = `{"{user}":1}` },
		"check: body: in \":{user}}\":":         func(c *TemplateConfig) { c.Check.Body = `{"x":{user}}` },
		"check: body: in \":{from}}\": {from}":  func(c *TemplateConfig) { c.Check.Body = `{"x":{from}}` },
		"check: body: isn't a JSON object":      func(c *TemplateConfig) { c.Check.Body = `["{user}"]` },
		"check: paging: has more than one":      func(c *TemplateConfig) { c.Check.Paging = Paging{Token: "a", Link: "b"} },
		"check: paging: parameter: goes":        func(c *TemplateConfig) { c.Check.Paging = Paging{Token: "a"} },
		"check: paging: total: goes":            func(c *TemplateConfig) { c.Check.Paging = Paging{Offset: true, Parameter: "o"} },
		"check: paging: link: ":                 func(c *TemplateConfig) { c.Check.Paging = Paging{Link: "a b"} },
		"check: items[0]: ":                     func(c *TemplateConfig) { c.Check.Items = []string{""} },
		"check: when: is missing":               func(c *TemplateConfig) { c.Check.When = nil },
		"check: when[0].path: is missing":       func(c *TemplateConfig) { c.Check.When[0].Path = "" },
		"check: when[0].path: \"a..b\"":         func(c *TemplateConfig) { c.Check.When[0].Path = "a..b" },
		"check: when[0].op: ":                   func(c *TemplateConfig) { c.Check.When[0].Op = "like" },
		"check: when[0].missing: ":              func(c *TemplateConfig) { c.Check.When[0].Missing = "no" },
		"check: when[0].value: {x} isn't":       func(c *TemplateConfig) { c.Check.When[0].Value = "{x}" },
		"check: when[0].value: does":            func(c *TemplateConfig) { c.Check.When[0].Op = OpExists },
		"check: when[0].path: \"a,b\"":          func(c *TemplateConfig) { c.Check.When[0] = Predicate{Path: "a,b", Op: OpPast} },
		"check: until: ":                        func(c *TemplateConfig) { c.Check.Until = "a,,c" },
		"check: evidence: ":                     func(c *TemplateConfig) { c.Check.Evidence = "{user}" },
		"file.ref: is missing":                  func(c *TemplateConfig) { c.File.Ref = "" },
		"file: url: {ref} isn't known":          func(c *TemplateConfig) { c.File.URL = "/{ref}" },
		"file: page: ":                          func(c *TemplateConfig) { c.File.Page = "a b" },
		"poll: url: {reason} isn't known":       func(c *TemplateConfig) { c.Poll.URL = "/{reason}" },
		"poll: states: goes with state":         func(c *TemplateConfig) { c.Poll.State = nil },
		"poll: state: is missing":               func(c *TemplateConfig) { c.Poll.State, c.Poll.States = nil, nil },
		"poll: state[0]: ":                      func(c *TemplateConfig) { c.Poll.State = []string{""} },
		"poll: states.x: \"y\" is no state":     func(c *TemplateConfig) { c.Poll.States = map[string]FiledState{"x": "y"} },
		"poll: rules[0].state: \"\" is":         func(c *TemplateConfig) { c.Poll.Rules = []StateRule{{}} },
		"poll: rules[0].when[0].path: is":       func(c *TemplateConfig) { c.Poll.Rules = []StateRule{{FiledActive, []Predicate{{}}}} },
		"poll: until: ":                         func(c *TemplateConfig) { c.Poll.Until = "a b" },
		"template of provider \"acme\": check":  func(c *TemplateConfig) { c.Check.URL = "" },
	} {
		_, err := NewTemplate(template(t, "https://x.example.com", change), atNoon)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewTemplate = %v\nwant %s in it", err, want)
		}
	}
	_, err := NewTemplate(&TemplateConfig{}, atNoon)
	for _, field := range []string{"name", "endpoint", "credential", "check"} {
		if err == nil || !strings.Contains(err.Error(), field+": ") {
			t.Errorf("NewTemplate of nothing = %v\nwant %s in it, too", err, field)
		}
	}
}

// hostile are values that would be something else where they aren't escaped.
var hostile = []string{
	"ann", "a b", "a+b", "a%2Fb", "a/b", `a\b`, "a?x=1", "a&as=root", "a#b", "a;b=c", "a:b@c", "ünï", "a,b", "{role}", "{user}", "${x}", "%",
	`a"b`, `a","who":["root`, `a\"b`, "a\nb", "<a>", "\u2028", "a'b", "a' or role ne '", "..;", ".a", "...",
}

func TestTemplateEscapes(t *testing.T) {
	t.Parallel()
	type asked struct {
		path, query, body string
	}
	var last asked
	p := newTemplate(t, providertest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		last = asked{r.URL.EscapedPath(), r.URL.RawQuery, string(body)}
		answerJSON(w, 200, `{"data":{"items":[]}}`)
	}), nil)
	for _, value := range hostile {
		last = asked{}
		_, err := p.Check(t.Context(), Subject{User: value, Role: "admin"})
		if strings.ContainsAny(value, "\n") {
			if !errors.Is(err, ErrSubject) || last != (asked{}) {
				t.Errorf("Check(%q) = %v, %v", value, err, last)
			}
			continue
		}
		if err != nil {
			t.Errorf("Check(%q) = %v", value, err)
			continue
		}
		segments := strings.Split(last.path, "/")
		user, _ := url.PathUnescape(segments[len(segments)-1])
		query, _ := url.ParseQuery(last.query)
		var body map[string]any
		_ = json.Unmarshal([]byte(last.body), &body)
		if len(segments) != 5 || segments[2] != "o%2F1" || user != value {
			t.Errorf("Check(%q): path %s", value, last.path)
		}
		if diff := cmp.Diff(url.Values{"q": {"role eq 'admin'"}, "as": {value}}, query); diff != "" || strings.Contains(last.query, "+") {
			t.Errorf("Check(%q): query %s %s", value, last.query, diff)
		}
		if diff := cmp.Diff(map[string]any{"who": []any{value}, "at": float64(noon.Unix())}, body); diff != "" {
			t.Errorf("Check(%q): body %s %s", value, last.body, diff)
		}
	}
}

// What stands between quotes of a provider's own language doesn't get out of them.
func TestTemplateQuotes(t *testing.T) {
	t.Parallel()
	p := newTemplate(t, "https://x.example.com", nil)
	for _, role := range []string{"a'b", `a"b`, `a\`, "", "a\tb", "\xff"} {
		if _, err := p.Check(t.Context(), Subject{User: "ann", Role: role}); !errors.Is(err, ErrSubject) {
			t.Errorf("Check of the role %q = %v", role, err)
		}
	}
	for _, user := range []string{"", ".", "..", "../x", `x\..\y`, "x/./y", "a\x00b", "\xff\xfe", "a\u0085b"} {
		if _, err := p.Check(t.Context(), Subject{User: user, Role: "r"}); !errors.Is(err, ErrSubject) {
			t.Errorf("Check of the user %q = %v", user, err)
		}
	}
}

// pager serves a list of pages and counts who asks.
func pager(t *testing.T, asked *[]string, pages ...string) string {
	t.Helper()
	var mu sync.Mutex
	return providertest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		*asked = append(*asked, r.URL.RequestURI())
		answerJSON(w, 200, strings.ReplaceAll(pages[min(len(*asked), len(pages))-1], "HOST", r.Host))
	})
}

func paged(p Paging) func(*TemplateConfig) {
	return func(c *TemplateConfig) {
		c.Check.TemplateCall, c.Check.Paging = TemplateCall{URL: "/list?u={user}"}, p
	}
}

func TestTemplatePaging(t *testing.T) {
	t.Parallel()
	const none, hit = `{"data":{"items":[{"role":"x"}]},`, `{"data":{"items":[{"role":"admin","id":7}]},`
	token, link, offset := Paging{Token: "next", Parameter: "t"}, Paging{Link: "next"}, Paging{Offset: true, Total: "total", Parameter: "o"}
	for name, c := range map[string]struct {
		paging Paging
		pages  []string
		asked  []string
		active bool
		err    error
	}{
		"token":           {token, []string{none + `"next":"a&b"}`, hit + `"next":""}`}, []string{"/list?u=ann", "/list?u=ann&t=a%26b"}, true, nil},
		"no more":         {token, []string{none + `"next":null}`}, []string{"/list?u=ann"}, false, nil},
		"stops at a hit":  {token, []string{hit + `"next":"a"}`}, []string{"/list?u=ann"}, true, nil},
		"token a list":    {token, []string{none + `"next":[]}`}, []string{"/list?u=ann"}, false, ErrAnswer},
		"link":            {link, []string{none + `"next":"http://HOST/list?p=2"}`, hit + `"x":0}`}, []string{"/list?u=ann", "/list?p=2"}, true, nil},
		"relative link":   {link, []string{none + `"next":"?p=2"}`, none + `"x":0}`}, []string{"/list?u=ann", "/list?p=2"}, false, nil},
		"link elsewhere":  {link, []string{none + `"next":"https://evil.example.com/list"}`}, []string{"/list?u=ann"}, false, ErrAnswer},
		"link to a host":  {link, []string{none + `"next":"//evil.example.com/list"}`}, []string{"/list?u=ann"}, false, ErrAnswer},
		"link as another": {link, []string{none + `"next":"http://x:y@HOST/list"}`}, []string{"/list?u=ann"}, false, ErrAnswer},
		"link to a port":  {link, []string{none + `"next":"http://127.0.0.1:1/list"}`}, []string{"/list?u=ann"}, false, ErrAnswer},
		"offset":          {offset, []string{none + `"total":2}`, hit + `"total":2}`}, []string{"/list?u=ann", "/list?u=ann&o=1"}, true, nil},
		"offset, no more": {offset, []string{none + `"total":1}`}, []string{"/list?u=ann"}, false, nil},
		"offset, no end":  {offset, []string{none + `"total":2}`, `{"data":{"items":[]},"total":2}`}, []string{"/list?u=ann", "/list?u=ann&o=1"}, false, ErrAnswer},
		"offset, unsaid":  {offset, []string{none + `"count":1}`}, []string{"/list?u=ann"}, false, ErrAnswer},
		"odd, then a hit": {token, []string{`{"data":{"items":[{}]},"next":"a"}`, hit + `"next":""}`}, []string{"/list?u=ann", "/list?u=ann&t=a"}, true, nil},
		"odd, then none":  {token, []string{`{"data":{"items":[{}]},"next":"a"}`, none + `"next":""}`}, []string{"/list?u=ann", "/list?u=ann&t=a"}, false, ErrAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked []string
			p := newTemplate(t, pager(t, &asked, c.pages...), paged(c.paging))
			got, err := p.Check(t.Context(), ann)
			if got.Active != c.active || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Errorf("Check = %+v, %v; want %v, %v", got, err, c.active, c.err)
			}
			if diff := cmp.Diff(c.asked, asked); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTemplatePagesWithoutEnd(t *testing.T) {
	t.Parallel()
	var asked []string
	p := newTemplate(t, pager(t, &asked, `{"data":{"items":[]},"next":"a"}`), paged(Paging{Token: "next", Parameter: "t"}))
	if _, err := p.Check(t.Context(), ann); !errors.Is(err, ErrAnswer) || len(asked) != maxPages {
		t.Errorf("Check = %v after %d pages", err, len(asked))
	}
}

func TestTemplateRequest(t *testing.T) {
	t.Parallel()
	answer, status := `{"id":"r/1","state":"open","page":"https://x.example.com/r"}`, 200
	var asked string
	p := newTemplate(t, providertest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = r.Method + " " + r.URL.RequestURI() + " " + string(body)
		answerJSON(w, status, answer)
	}), nil)
	filed, err := p.File(t.Context(), Filing{Subject: ann, Reason: `","seconds":9,"x":"`, Tool: "drop", Duration: 90*time.Second + 1})
	if want := (Filed{Ref: "r/1", URL: "https://x.example.com/r", State: FiledPending}); err != nil || filed != want {
		t.Errorf("File = %+v, %v", filed, err)
	}
	if want := `POST /requests {"user":"ann","why":"for drop: \",\"seconds\":9,\"x\":\"","seconds":90,"from":"2026-11-28T12:00:00Z"}`; asked != want {
		t.Errorf("asked %s\nwant  %s", asked, want)
	}
	wantPoll(t, p, "r/1", ann, FiledPending)
	if asked != "GET /requests/r%2F1 " {
		t.Errorf("asked %s", asked)
	}
	answer = `{"state":"yes","end":"2026-11-28T12:30:00Z"}`
	wantPoll(t, p, "r/1", ann, FiledActive)
	answer = `{"state":"yes","end":1795867200}`
	wantPoll(t, p, "r/1", ann, FiledExpired)
	answer = `{"state":"no"}`
	wantPoll(t, p, "r/1", ann, FiledDenied)
	for _, answer = range []string{`{}`, `{"state":"Yes"}`, `{"state":["yes"]}`, `{"state":"yes","end":"x"}`, `[]`, `null`} {
		if filed, err := p.Poll(t.Context(), "r/1", ann); !errors.Is(err, ErrAnswer) {
			t.Errorf("Poll answered with %s = %+v, %v", answer, filed, err)
		}
	}
	for _, answer = range []string{`{"state":"open"}`, `{"state":"open","id":{}}`, `{"state":"open","id":""}`} {
		if filed, err := p.File(t.Context(), Filing{Subject: ann, Duration: time.Minute}); !errors.Is(err, ErrAnswer) {
			t.Errorf("File answered with %s = %+v, %v", answer, filed, err)
		}
	}
	for status = range map[int]bool{404: true, 410: true} {
		wantPoll(t, p, "r/1", ann, FiledFailed)
	}
	status = 500
	if _, err := p.Poll(t.Context(), "r/1", ann); !isStatus(err, 500) {
		t.Errorf("Poll = %v", err)
	}
	if _, err := p.File(t.Context(), Filing{Subject: ann}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("File for no time = %v", err)
	}
}

func TestTemplatePollOfAnother(t *testing.T) {
	t.Parallel()
	p := newTemplate(t, providertest.Serve(t, jsonAnswer(200, `{"id":"r2","state":"yes"}`)), func(c *TemplateConfig) { c.Poll.Ref = "id" })
	if filed, err := p.Poll(t.Context(), "r1", ann); !errors.Is(err, ErrAnswer) {
		t.Errorf("Poll = %+v, %v", filed, err)
	}
}

func TestTemplateUntil(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]Status{
		`{"data":{"items":[{"role":"admin","id":7}]}}`:                                             {Active: true, Evidence: "7"},
		`{"data":{"items":[{"role":"admin","end":"2026-11-28T12:00:01Z"}]}}`:                       {Active: true, Until: noon.Add(time.Second)},
		`{"data":{"items":[{"role":"admin","end":"2026-11-28T12:00:00Z"}]}}`:                       {},
		`{"data":{"items":[{"role":"admin","end":1795867199},{"role":"admin","end":1795867205}]}}`: {Active: true, Until: noon.Add(5 * time.Second)},
		`{"data":{"items":[]}}`: {},
	} {
		wantStatus(t, newTemplate(t, providertest.Serve(t, jsonAnswer(200, answer)), nil), ann, want)
	}
	p := newTemplate(t, providertest.Serve(t, jsonAnswer(200, `{"role":"admin"}`)), func(c *TemplateConfig) { c.Check.Items = nil })
	wantStatus(t, p, ann, Status{Active: true}) // the answer is the item
	wantStatus(t, p, Subject{User: "ann", Role: "other"}, Status{})
}
