package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/pim/provider/providertest"
)

var aliceApp = Subject{User: oktaAlice, Role: oktaApp + "/" + oktaEntry}

func forUser(id string) object { return object{"type": "OKTA_USER", "externalId": id} }

func TestOktaCountsRequests(t *testing.T) {
	t.Parallel()
	active := isActive(noon.Add(time.Hour), "req42kjDgk1EubTwo0g4")
	for name, c := range map[string]struct {
		change   object
		standing bool
		want     Status
	}{
		"granted":                       {want: active},
		"only approved":                 {change: object{"grantStatus": nil}},
		"grant pending":                 {change: object{"grantStatus": "PENDING"}},
		"grant failed":                  {change: object{"grantStatus": "FAILED"}},
		"to be granted by hand":         {change: object{"grantStatus": "MANUAL_REQUIRED"}},
		"denied, though granted":        {change: object{"status": "DENIED"}},
		"revoked":                       {change: object{"revocationStatus": "REVOKED"}},
		"revoked, by its date":          {change: object{"revoked": "2026-11-28T11:30:00Z"}},
		"revocation is planned":         {change: object{"revocationStatus": "PENDING"}, want: active},
		"revocation failed, in time":    {change: object{"revocationStatus": "FAILED"}, want: active},
		"revocation failed, too late":   {change: object{"revocationStatus": "FAILED", "revocationScheduled": noon}},
		"ends now":                      {change: object{"revocationScheduled": noon}},
		"ends in a second":              {change: object{"revocationScheduled": noon.Add(time.Second)}, want: isActive(noon.Add(time.Second), "req42kjDgk1EubTwo0g4")},
		"has no end":                    {change: object{"revocationScheduled": nil}},
		"has no end, standing counts":   {change: object{"revocationScheduled": nil}, standing: true, want: Status{Active: true, Evidence: "req42kjDgk1EubTwo0g4"}},
		"ended, standing counts":        {change: object{"revocationScheduled": noon}, standing: true},
		"is granted in the future":      {change: object{"granted": noon.Add(time.Minute)}},
		"small letters":                 {change: object{"grantStatus": "granted"}},
		"for another user":              {change: object{"requestedFor": forUser(oktaMallet)}},
		"for another kind of principal": {change: object{"requestedFor": object{"type": "GROUP", "externalId": oktaAlice}}},
		"by the user, for another":      {change: object{"requestedBy": forUser(oktaAlice), "requestedFor": forUser(oktaMallet)}},
		"for another scope":             {change: object{"requested": object{"accessScopeId": oktaOther, "resourceId": oktaApp}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOktaOrg(t, oktaReads)
			o.Requests = []object{granted(c.change)}
			wantStatus(t, o.connect(t, func(cfg *OktaConfig) { cfg.Standing = c.standing }, atNoon), aliceApp, c.want)
		})
	}
}

// TestOktaBelievesNoItemOfOthers puts items into the list that the filter excludes,
// and has them say that they are Alice's.
func TestOktaBelievesNoItemOfOthers(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]object{
		"another user":  {"requestedFor": forUser(oktaMallet)},
		"another scope": {"requested": object{"accessScopeId": oktaOther}},
		"no user":       {"requestedFor": nil},
		"no scope":      {"requested": nil},
	} {
		for _, sparse := range []object{{}, granted(nil)} {
			o := newOktaOrg(t, oktaReads)
			o.Requests = []object{granted(change)}
			item := granted(change)
			for k, v := range sparse {
				item[k] = v
			}
			o.Leaked = []object{item}
			p := o.connect(t, func(cfg *OktaConfig) { cfg.Standing = true }, atNoon)
			if got, err := p.Check(t.Context(), aliceApp); err != nil || got.Active {
				t.Errorf("%s: got %+v, %v", name, got, err)
			}
		}
	}
}

// TestOktaListsAreSparse has items that lack nearly everything.
func TestOktaListsAreSparse(t *testing.T) {
	t.Parallel()
	for pageSize := 1; pageSize <= 3; pageSize++ {
		o := newOktaOrg(t, oktaReads)
		o.PageSize = pageSize
		o.Sparse = append(o.Sparse, "status", "grantStatus", "requestedFor", "requested", "granted")
		o.Requests = []object{
			granted(object{"id": "req0oldest0granted0x", "revocationScheduled": noon.Add(2 * time.Hour)}),
			granted(nil),
			granted(object{"id": "req0revoked000000000", "revocationStatus": "REVOKED"}),
			granted(object{"id": "req0ended00000000000", "revocationScheduled": noon}),
			granted(object{"id": "req0pending000000000", "grantStatus": "PENDING"}),
		}
		wantStatus(t, o.connect(t, nil, atNoon), aliceApp, isActive(noon.Add(time.Hour), "req42kjDgk1EubTwo0g4"))
		if calls := strings.Join(o.Calls, " "); strings.Contains(calls, "req0oldest") || strings.Contains(calls, "req0revoked") {
			t.Errorf("more was asked than needed: %s", calls)
		}
	}
}

func TestOktaLooksAtSoManyAndNoMore(t *testing.T) {
	t.Parallel()
	o := newOktaOrg(t, oktaReads)
	for i := range oktaLooks {
		o.Requests = append(o.Requests, granted(object{"id": fmt.Sprintf("req%017d", i), "revocationScheduled": noon}))
	}
	wantStatus(t, o.connect(t, nil, atNoon), aliceApp, Status{})
	o.Requests = append([]object{granted(nil)}, o.Requests...)
	if got, err := o.connect(t, nil, atNoon).Check(t.Context(), aliceApp); !errors.Is(err, ErrAnswer) || got.Active {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestOktaRefusesOddAnswers(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"no list":         `{"_links":{}}`,
		"list, null":      `{"data":null}`,
		"no id":           `{"data":[{}]}`,
		"an id, a path":   `{"data":[{"id":"req/../../users"}]}`,
		"bad date":        `{"data":[{"revoked":"soon"}]}`,
		"no cursor":       `{"data":[],"_links":{"next":{"href":"https://example.okta.com/x"}}}`,
		"link, bad":       `{"data":[],"_links":{"next":{"href":"https://%zz"}}}`,
		"goes on forever": `{"data":[],"_links":{"next":{"href":"https://example.okta.com/x?after=reqx"}}}`,
	} {
		o := newOktaOrg(t, oktaReads)
		o.Override = func(w http.ResponseWriter, _ *http.Request) bool { answerJSON(w, 200, body); return true }
		if got, err := o.connect(t, nil, atNoon).Check(t.Context(), aliceApp); !errors.Is(err, ErrAnswer) || got.Active {
			t.Errorf("%s: got %+v, %v; want ErrAnswer", name, got, err)
		}
		if n := len(o.Calls); n > maxPages+1 {
			t.Errorf("%s: asked %d times", name, n)
		}
	}
	o := newOktaOrg(t, oktaReads)
	o.Leaked = []object{granted(object{"id": "req0another000000000"})}
	o.Override = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "req0another000000000") {
			providertest.WriteJSON(w, 200, granted(nil))
			return true
		}
		return false
	}
	if got, err := o.connect(t, nil, atNoon).Check(t.Context(), aliceApp); !errors.Is(err, ErrAnswer) || got.Active {
		t.Errorf("another request than asked for: got %+v, %v", got, err)
	}
}

func TestOktaWithoutPermission(t *testing.T) {
	t.Parallel()
	o := newOktaOrg(t, oktaGrants)
	_, err := o.connect(t, nil, atNoon).Check(t.Context(), aliceApp)
	var failure *Error
	if !errors.As(err, &failure) || failure.Code != "invalid_scope" {
		t.Errorf("got %v", err)
	}
	o = newOktaOrg(t, oktaReads)
	o.Override = func(w http.ResponseWriter, _ *http.Request) bool {
		providertest.OktaError(w, http.StatusForbidden, "E0000006", "You do not have permission to perform the requested action.")
		return true
	}
	if _, err := o.connect(t, nil, atNoon).Check(t.Context(), aliceApp); !errors.As(err, &failure) || failure.Code != "E0000006" {
		t.Errorf("got %v", err)
	}
}

func TestOktaIsThrottled(t *testing.T) {
	t.Parallel()
	o := newOktaOrg(t, oktaReads)
	o.Override = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Date", noon.Format(http.TimeFormat))
		w.Header().Set("X-Rate-Limit-Reset", fmt.Sprint(noon.Unix()+42))
		providertest.OktaError(w, http.StatusTooManyRequests, "E0000047", "API call exceeded rate limit due to too many requests.")
		return true
	}
	_, err := o.connect(t, nil, atNoon).Check(t.Context(), aliceApp)
	var failure *Error
	if !errors.As(err, &failure) || failure.RetryIn != 42*time.Second || failure.Code != "E0000047" {
		t.Errorf("got %v", err)
	}
}

func TestOktaGetsAnotherTokenOnce(t *testing.T) {
	t.Parallel()
	o := newOktaOrg(t, oktaReads)
	o.Requests = []object{granted(nil)}
	p := o.connect(t, nil, atNoon)
	active := isActive(noon.Add(time.Hour), "req42kjDgk1EubTwo0g4")
	wantStatus(t, p, aliceApp, active)
	clear(o.Bearer)
	wantStatus(t, p, aliceApp, active)
	if o.Tokens != 2 {
		t.Errorf("%d tokens, want 2", o.Tokens)
	}
}

func oktaAt(t testing.TB, endpoint string, grants bool) *Okta {
	t.Helper()
	c, err := newClient("", atNoon)
	if err != nil {
		t.Fatal(err)
	}
	return &Okta{client: c, reads: noCredential{}, files: noCredential{}, grants: noCredential{}, endpoint: endpoint, grantsMode: grants, now: atNoon}
}

func TestOktaFails(t *testing.T) {
	t.Parallel()
	for _, grants := range []bool{false, true} {
		testFailures(t, aliceApp, func(t *testing.T, endpoint string) Provider { return oktaAt(t, endpoint, grants) })
	}
}

func badOktaSubjects() []Subject {
	return []Subject{
		{}, {User: oktaAlice}, {Role: oktaApp}, {User: "alice@example.com", Role: oktaApp}, {User: oktaApp, Role: oktaApp},
		{User: oktaAlice + `" OR requestedFor pr OR "`, Role: oktaApp}, {User: oktaAlice + `\`, Role: oktaApp}, {User: oktaAlice + "\n", Role: oktaApp},
		{User: "00u", Role: oktaApp}, {User: oktaAlice, Role: oktaApp + `"`}, {User: oktaAlice, Role: oktaApp + "/"}, {User: oktaAlice, Role: "/" + oktaEntry},
		{User: oktaAlice, Role: oktaApp + "/" + oktaOther}, {User: oktaAlice, Role: oktaApp + "/" + oktaEntry + "/" + oktaEntry},
		{User: oktaAlice, Role: oktaApp + `/cen"`}, {User: oktaAlice, Role: "../" + oktaApp},
	}
}

func TestOktaRefusesWhatIsNoID(t *testing.T) {
	t.Parallel()
	o := newOktaOrg(t, oktaReads, oktaFiles, oktaGrants)
	for _, grants := range []bool{false, true} {
		p := o.connect(t, func(c *OktaConfig) { c.Grants = grants }, atNoon)
		for _, who := range badOktaSubjects() {
			_, checked := p.Check(t.Context(), who)
			_, filed := p.File(t.Context(), Filing{Subject: who, Duration: time.Hour})
			_, polled := p.Poll(t.Context(), "req42kjDgk1EubTwo0g4", who)
			if !errors.Is(checked, ErrSubject) || !errors.Is(filed, ErrSubject) || !errors.Is(polled, ErrSubject) {
				t.Errorf("%q: got %v, %v, %v", who, checked, filed, polled)
			}
		}
		for _, ref := range []string{"", "req", "..", "req/..", "req?x", `req"`, "xeq42kjDgk1EubTwo0g4", "req" + strings.Repeat("x", 100)} {
			if _, err := p.Poll(t.Context(), ref, aliceApp); !errors.Is(err, ErrSubject) {
				t.Errorf("request %q: got %v", ref, err)
			}
		}
	}
	if _, err := o.connect(t, nil, atNoon).Check(t.Context(), Subject{User: oktaAlice, Role: oktaApp + "/" + oktaBundle}); !errors.Is(err, ErrSubject) {
		t.Errorf("a bundle beside a scope: got %v", err)
	}
	if len(o.Calls) != 0 {
		t.Errorf("Okta was asked: %v", o.Calls)
	}
}

func FuzzOktaSubject(f *testing.F) {
	f.Add(oktaAlice, aliceApp.Role)
	for _, who := range badOktaSubjects() {
		f.Add(who.User, who.Role)
	}
	f.Fuzz(func(t *testing.T, user, role string) {
		var filters []string
		answer := roundTrip(func(r *http.Request) (int, string) {
			filters = append(filters, r.URL.Query().Get("filter"))
			return 200, `{"data":[]}`
		})
		p := oktaAt(t, "https://127.0.0.1", strings.Contains(role, "enb"))
		p.client.http.Transport = answer
		if _, err := p.Check(t.Context(), Subject{User: user, Role: role}); err != nil {
			return
		}
		scope, _, _ := strings.Cut(role, "/")
		want := fmt.Sprint(map[string]string{"requestedFor": user, "status": "APPROVED", "accessScopeId": scope})
		if p.grantsMode {
			want = fmt.Sprint(map[string]string{"target.externalId": scope, "target.type": "APPLICATION", "targetPrincipal.externalId": user, "targetPrincipal.type": "OKTA_USER"})
		}
		if clauses, ok := providertest.ParseSCIM(filters[0]); !ok || fmt.Sprint(clauses) != want {
			t.Errorf("the filter says %s, want %s", filters[0], want)
		}
	})
}

// FuzzSCIMText is about the literal alone, whatever the text.
func FuzzSCIMText(f *testing.F) {
	f.Add(`" or a pr or "\`)
	f.Fuzz(func(t *testing.T, text string) {
		clauses, ok := providertest.ParseSCIM("a eq " + scimText(text) + ` AND b eq "x"`)
		if !ok || len(clauses) != 2 {
			t.Errorf("%q became %v", text, clauses)
		}
	})
}

// FuzzOktaAnswer wants that nobody is elevated by an answer without their id.
func FuzzOktaAnswer(f *testing.F) {
	f.Add([]byte(`{"data":[`+asText(granted(nil))+`]}`), []byte(asText(granted(nil))), false)
	f.Add([]byte(`{"data":[`+asText(grant(nil))+`],"_links":{"next":{"href":"https://127.0.0.1/?after=x"}}}`), []byte(`{}`), true)
	f.Fuzz(func(t *testing.T, list, one []byte, grants bool) {
		p := oktaAt(t, "https://127.0.0.1", grants)
		p.client.http.Transport = roundTrip(func(r *http.Request) (int, string) {
			if strings.HasPrefix(r.URL.Path, oktaRequestsPath+"/") {
				return 200, string(one)
			}
			return 200, string(list)
		})
		status, err := p.Check(t.Context(), aliceApp)
		said := one
		if grants {
			said = list
		}
		var text any
		_ = json.Unmarshal(said, &text)
		if status.Active && (err != nil || !strings.Contains(asText(text), oktaAlice)) {
			t.Errorf("active by %s and %s (%v)", list, one, err)
		}
	})
}
