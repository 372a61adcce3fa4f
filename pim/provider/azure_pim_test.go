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

var (
	aliceAdmin  = Subject{User: azureAlice, Role: "directory/" + azureAdmin}
	aliceMember = Subject{User: azureAlice, Role: "group/" + azureGroup + "/member"}
)

func isActive(until time.Time, evidence string) Status {
	return Status{Active: true, Until: until, Evidence: evidence}
}

func TestAzureCountsAssignments(t *testing.T) {
	t.Parallel()
	const id = "lAPpYvVpN0KRkAEhdxReEAWz5Gtet_xOv8wxvTtTpfg-1"
	active := isActive(noon.Add(time.Hour), id)
	endless := Status{Active: true, Evidence: id}
	standing := func(c *AzurePIMConfig) { c.Standing = true }
	for name, c := range map[string]struct {
		instance object
		config   func(*AzurePIMConfig)
		role     string // after directory/ROLE
		want     Status
	}{
		"activated":                   {instance: activated(nil), want: active},
		"lower case":                  {instance: activated(object{"assignmentType": "activated"}), want: active},
		"ids in upper case":           {instance: activated(object{"principalId": strings.ToUpper(azureAlice), "roleDefinitionId": strings.ToUpper(azureAdmin)}), want: active},
		"begins now":                  {instance: activated(object{"startDateTime": noon}), want: active},
		"begins in a second":          {instance: activated(object{"startDateTime": noon.Add(time.Second)})},
		"ends now":                    {instance: activated(object{"endDateTime": noon})},
		"ends in a second":            {instance: activated(object{"endDateTime": noon.Add(time.Second)}), want: isActive(noon.Add(time.Second), id)},
		"ended, standing counts":      {instance: activated(object{"endDateTime": noon}), config: standing},
		"activated without an end":    {instance: activated(object{"endDateTime": nil})},
		"activated without a start":   {instance: activated(object{"startDateTime": nil})},
		"without an end, counts":      {instance: activated(object{"endDateTime": nil}), config: standing, want: endless},
		"assigned for ever":           {instance: activated(object{"assignmentType": "Assigned", "startDateTime": nil, "endDateTime": nil})},
		"assigned for ever, counts":   {instance: activated(object{"assignmentType": "Assigned", "startDateTime": nil, "endDateTime": nil}), config: standing, want: endless},
		"assigned for a time":         {instance: activated(object{"assignmentType": "assigned"})},
		"assigned for a time, counts": {instance: activated(object{"assignmentType": "assigned"}), config: standing, want: active},
		"in a unit":                   {instance: activated(object{"directoryScopeId": "/administrativeUnits/" + azureUnit})},
		"in the unit that is asked":   {instance: activated(object{"directoryScopeId": "/administrativeUnits/" + azureUnit}), role: "/administrativeUnits/" + azureUnit, want: active},
		"everywhere, a unit is asked": {instance: activated(nil), role: "/administrativeUnits/" + azureUnit, want: active},
		"in an application":           {instance: activated(object{"directoryScopeId": nil, "appScopeId": "/"})},
		"in both":                     {instance: activated(object{"appScopeId": "/x"})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGraph(t, providertest.RoleReads)
			g.Instances[false] = []object{c.instance}
			wantStatus(t, g.connect(t, c.config, atNoon), Subject{User: azureAlice, Role: aliceAdmin.Role + c.role}, c.want)
		})
	}
}

func TestAzureCountsGroups(t *testing.T) {
	t.Parallel()
	active := isActive(noon.Add(time.Hour), azureGroup+"_member_"+azureOther)
	for name, c := range map[string]struct {
		instance object
		want     Status
	}{
		"activated":       {activatedIn(nil), active},
		"capitals":        {activatedIn(object{"assignmentType": "Activated", "accessId": "Member"}), active},
		"assigned":        {activatedIn(object{"assignmentType": "Assigned"}), Status{}},
		"owner":           {activatedIn(object{"accessId": "owner"}), Status{}},
		"ended":           {activatedIn(object{"endDateTime": noon}), Status{}},
		"not yet":         {activatedIn(object{"startDateTime": noon.Add(time.Hour), "endDateTime": noon.Add(2 * time.Hour)}), Status{}},
		"another's group": {activatedIn(object{"groupId": azureOther}), Status{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGraph(t, providertest.GroupReads)
			g.Instances[true] = []object{c.instance}
			wantStatus(t, g.connect(t, nil, atNoon), aliceMember, c.want)
		})
	}
}

// TestAzureBelievesNoItemOfOthers puts items into the list that the filter excludes.
func TestAzureBelievesNoItemOfOthers(t *testing.T) {
	t.Parallel()
	for name, item := range map[string]object{
		"another user":     activated(object{"principalId": azureMallet}),
		"another role":     activated(object{"roleDefinitionId": azureOther}),
		"no user":          activated(object{"principalId": nil}),
		"no role":          activated(object{"roleDefinitionId": nil}),
		"no scope":         activated(object{"directoryScopeId": nil}),
		"nothing":          {},
		"a group's":        activatedIn(nil),
		"another's group":  activatedIn(object{"principalId": azureMallet}),
		"a user, prefixed": activated(object{"principalId": azureAlice + "0"}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGraph(t, providertest.RoleReads, providertest.GroupReads)
			g.Leaked = []object{item}
			p := g.connect(t, func(c *AzurePIMConfig) { c.Standing = true }, atNoon)
			wantStatus(t, p, aliceAdmin, Status{})
			if name != "a group's" {
				wantStatus(t, p, aliceMember, Status{})
			}
		})
	}
}

func TestAzureTakesTheOneThatLastsLongest(t *testing.T) {
	t.Parallel()
	for pageSize := 1; pageSize <= 4; pageSize++ {
		g := newGraph(t, providertest.RoleReads)
		g.PageSize = pageSize
		g.Instances[false] = []object{
			activated(object{"id": "ended", "endDateTime": noon.Add(-time.Hour)}),
			activated(object{"id": "short"}),
			activated(object{"id": "long", "endDateTime": noon.Add(3 * time.Hour)}),
			activated(object{"id": "middle", "endDateTime": noon.Add(2 * time.Hour)}),
		}
		wantStatus(t, g.connect(t, nil, atNoon), aliceAdmin, isActive(noon.Add(3*time.Hour), "long"))
		g.Instances[false] = append(g.Instances[false], activated(object{"id": "endless", "endDateTime": nil}), activated(nil))
		standing := func(c *AzurePIMConfig) { c.Standing = true }
		wantStatus(t, g.connect(t, standing, atNoon), aliceAdmin, Status{Active: true, Evidence: "endless"})
	}
}

func TestAzurePagesStayAtTheirOrigin(t *testing.T) {
	t.Parallel()
	stolen := make(chan string, 10)
	elsewhere, _ := providertest.ServeTLS(t, func(_ http.ResponseWriter, r *http.Request) { stolen <- r.Header.Get("Authorization") })
	for _, origin := range []string{elsewhere, "http://127.0.0.1:1", "//evil.example", "https://graph.microsoft.com.evil.example", "https://user@graph.microsoft.com"} {
		g := newGraph(t, providertest.RoleReads)
		g.PageSize, g.NextOrigin = 1, origin
		g.Instances[false] = []object{activated(nil), activated(nil)}
		if got, err := g.connect(t, nil, atNoon).Check(t.Context(), aliceAdmin); !errors.Is(err, ErrAnswer) || got.Active {
			t.Errorf("%s: got %+v, %v", origin, got, err)
		}
	}
	if len(stolen) != 0 {
		t.Errorf("another host got %q", <-stolen)
	}
}

func TestAzureListsDontGoOnForEver(t *testing.T) {
	t.Parallel()
	g := newGraph(t, providertest.RoleReads)
	g.Override = func(w http.ResponseWriter, r *http.Request) bool {
		providertest.WriteJSON(w, http.StatusOK, object{"value": []object{activated(nil)}, "@odata.nextLink": g.URL + r.URL.RequestURI()})
		return true
	}
	if got, err := g.connect(t, nil, atNoon).Check(t.Context(), aliceAdmin); !errors.Is(err, ErrAnswer) || got.Active {
		t.Errorf("got %+v, %v", got, err)
	}
	if n := len(g.Calls); n > maxPages+1 {
		t.Errorf("asked %d times", n)
	}
}

func TestAzureWithoutPermission(t *testing.T) {
	t.Parallel()
	for _, permissions := range [][]string{nil, {providertest.GroupReads, providertest.GroupWrites}} {
		_, err := newGraph(t, permissions...).connect(t, nil, atNoon).Check(t.Context(), aliceAdmin)
		var failure *Error
		if !errors.As(err, &failure) || failure.Status != 403 || !strings.Contains(failure.Message, "PermissionScopeNotGranted") {
			t.Errorf("%v: got %v", permissions, err)
		}
	}
}

func TestAzureGetsAnotherTokenOnce(t *testing.T) {
	t.Parallel()
	g := newGraph(t, providertest.RoleReads)
	g.Instances[false] = []object{activated(nil)}
	p := g.connect(t, nil, atNoon)
	active := isActive(noon.Add(time.Hour), "lAPpYvVpN0KRkAEhdxReEAWz5Gtet_xOv8wxvTtTpfg-1")
	wantStatus(t, p, aliceAdmin, active)
	wantStatus(t, p, aliceAdmin, active)
	g.Token = "withdrawn"
	wantStatus(t, p, aliceAdmin, active)
	if g.Tokens != 2 {
		t.Errorf("%d tokens, want 2", g.Tokens)
	}
	g.Override = func(w http.ResponseWriter, _ *http.Request) bool {
		providertest.GraphError(w, http.StatusUnauthorized, "InvalidAuthenticationToken", "no: "+g.Token)
		return true
	}
	if _, err := p.Check(t.Context(), aliceAdmin); !isStatus(err, 401) || strings.Contains(err.Error(), "graph-token") {
		t.Errorf("got %v, want the 401 without the token", err)
	}
	if g.Tokens != 3 {
		t.Errorf("%d tokens, want 3", g.Tokens)
	}
}

func TestAzureFails(t *testing.T) {
	t.Parallel()
	testFailures(t, aliceAdmin, func(t *testing.T, endpoint string) Provider {
		a := newAuthority(t)
		pim := &AzurePIM{endpoint: endpoint, now: atNoon}
		var err error
		if pim.client, err = newClient("", atNoon); err != nil {
			t.Fatal(err)
		}
		pim.credential = a.client(t, OAuthConfig{SecretFile: secretIn(t, "hunter2")}, atNoon)
		return pim
	})
}

func TestAzureRefusesOddAnswers(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"no list":      `{"@odata.context":"x"}`,
		"list, null":   `{"value":null}`,
		"list, text":   `{"value":"Activated"}`,
		"bad date":     `{"value":[{"endDateTime":"soon"}]}`,
		"new type":     `{"value":[` + asText(activated(object{"assignmentType": "unknownFutureValue"})) + `]}`,
		"no type":      `{"value":[` + asText(activated(object{"assignmentType": nil})) + `]}`,
		"link, number": `{"value":[],"@odata.nextLink":1}`,
		"link, bad":    `{"value":[],"@odata.nextLink":"https://%zz"}`,
	} {
		g := newGraph(t, providertest.RoleReads)
		g.Override = func(w http.ResponseWriter, _ *http.Request) bool { answerJSON(w, 200, body); return true }
		if got, err := g.connect(t, nil, atNoon).Check(t.Context(), aliceAdmin); !errors.Is(err, ErrAnswer) || got.Active {
			t.Errorf("%s: got %+v, %v; want ErrAnswer", name, got, err)
		}
	}
}

func asText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestAzureIsThrottled(t *testing.T) {
	t.Parallel()
	g := newGraph(t, providertest.RoleReads)
	g.Override = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "13")
		providertest.GraphError(w, http.StatusTooManyRequests, "TooManyRequests", "Too many requests.")
		return true
	}
	_, err := g.connect(t, nil, atNoon).Check(t.Context(), aliceAdmin)
	var failure *Error
	if !errors.As(err, &failure) || failure.RetryIn != 13*time.Second || failure.Code != "TooManyRequests" {
		t.Errorf("got %v", err)
	}
}

func badAzureSubjects() []Subject {
	return []Subject{
		{}, {User: azureAlice}, {Role: aliceAdmin.Role}, {User: "alice@example.com", Role: aliceAdmin.Role},
		{User: azureAlice + "' or principalId ne '", Role: aliceAdmin.Role}, {User: "' or '1' eq '1", Role: aliceAdmin.Role},
		{User: azureAlice + "\n", Role: aliceAdmin.Role}, {User: " " + azureAlice, Role: aliceAdmin.Role}, {User: "{" + azureAlice + "}", Role: aliceAdmin.Role},
		{User: azureAlice, Role: azureAdmin}, {User: azureAlice, Role: "directory/Global Administrator"}, {User: azureAlice, Role: "directory/"},
		{User: azureAlice, Role: "directory/" + azureAdmin + "'"}, {User: azureAlice, Role: "directory/" + azureAdmin + "/x'y"},
		{User: azureAlice, Role: "directory/" + azureAdmin + "//"}, {User: azureAlice, Role: "directory/" + azureAdmin + "/../x"},
		{User: azureAlice, Role: "group/" + azureGroup}, {User: azureAlice, Role: "group/" + azureGroup + "/Member"},
		{User: azureAlice, Role: "group/" + azureGroup + "/member/x"}, {User: azureAlice, Role: "resource/" + azureGroup},
	}
}

func TestAzureRefusesWhatIsNoID(t *testing.T) {
	t.Parallel()
	g := newGraph(t, providertest.RoleReads, providertest.RoleWrites)
	p := g.connect(t, func(c *AzurePIMConfig) { c.AdminAssign = true }, atNoon)
	for _, who := range badAzureSubjects() {
		_, checked := p.Check(t.Context(), who)
		_, filed := p.File(t.Context(), Filing{Subject: who, Duration: time.Hour})
		_, polled := p.Poll(t.Context(), "x", who)
		if !errors.Is(checked, ErrSubject) || !errors.Is(filed, ErrSubject) || !errors.Is(polled, ErrSubject) {
			t.Errorf("%q: got %v, %v, %v", who, checked, filed, polled)
		}
	}
	for _, ref := range []string{"", ".", "..", "../x", "x/y", "x?y", "x'y", "x y", strings.Repeat("x", 300)} {
		if _, err := p.Poll(t.Context(), ref, aliceAdmin); !errors.Is(err, ErrSubject) {
			t.Errorf("request %q: got %v", ref, err)
		}
	}
	if len(g.Calls) != 0 {
		t.Errorf("Graph was asked: %v", g.Calls)
	}
}

func FuzzAzureSubject(f *testing.F) {
	f.Add(azureAlice, aliceAdmin.Role)
	f.Add(azureAlice, aliceMember.Role)
	for _, who := range badAzureSubjects() {
		f.Add(who.User, who.Role)
	}
	f.Fuzz(func(t *testing.T, user, role string) {
		r, err := azureSubject(Subject{User: user, Role: role})
		if err != nil {
			return
		}
		want := fmt.Sprint(map[string]string{"principalId": user, "roleDefinitionId": r.role})
		if r.group != "" {
			want = fmt.Sprint(map[string]string{"principalId": user, "groupId": r.group})
		}
		if clauses, ok := providertest.ParseOData(r.filter()); !ok || fmt.Sprint(clauses) != want {
			t.Errorf("the filter says %v (%s), want %s", clauses, r.filter(), want)
		}
	})
}

// FuzzODataText is about the literal alone, whatever the text.
func FuzzODataText(f *testing.F) {
	f.Add("' or 1 eq 1")
	f.Fuzz(func(t *testing.T, text string) {
		clauses, ok := providertest.ParseOData("a eq " + odataText(text) + " and b eq 'x'")
		if !ok || len(clauses) != 2 || clauses["a"] != text {
			t.Errorf("%q became %v", text, clauses)
		}
	})
}

// FuzzAzureAnswer wants that nobody is elevated by an answer without their id.
func FuzzAzureAnswer(f *testing.F) {
	f.Add([]byte(`{"value":[` + asText(activated(nil)) + `]}`))
	f.Add([]byte(`{"value":[` + asText(activated(object{"principalId": azureMallet})) + `],"@odata.nextLink":"https://127.0.0.1/x"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		answer := roundTrip(func(*http.Request) (int, string) { return 200, string(body) })
		p := &AzurePIM{client: &client{http: &http.Client{Transport: answer}, now: atNoon}, credential: noCredential{}, endpoint: "https://127.0.0.1", now: atNoon}
		status, err := p.Check(t.Context(), aliceAdmin)
		var text any
		_ = json.Unmarshal(body, &text)
		if status.Active && (err != nil || !strings.Contains(strings.ToLower(asText(text)), azureAlice)) {
			t.Errorf("active by %s (%v)", body, err)
		}
	})
}
