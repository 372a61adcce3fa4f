package provider

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/pim/provider/providertest"
)

func assigns(c *AzurePIMConfig) { c.AdminAssign = true }

func anHour(who Subject) Filing {
	return Filing{Subject: who, Reason: "ticket 4711", Duration: time.Hour, Tool: "wipe_vehicle"}
}

func wantFiled(t *testing.T, p Provider, what Filing, want FiledState) Filed {
	t.Helper()
	filed, err := p.File(t.Context(), what)
	if err != nil || filed.State != want || filed.Ref == "" {
		t.Fatalf("File = %+v, %v; want %s", filed, err, want)
	}
	return filed
}

func TestAzureUsersActivateTheirRolesThemselves(t *testing.T) {
	t.Parallel()
	g := newGraph(t, providertest.RoleWrites, providertest.GroupWrites)
	for want, c := range map[string]struct {
		who    Subject
		config func(*AzurePIMConfig)
	}{
		"https://entra.microsoft.com/#view/Microsoft_Azure_PIMCommon/ActivationMenuBlade/~/aadmigratedroles": {aliceAdmin, nil},
		"https://entra.microsoft.com/#view/Microsoft_Azure_PIMCommon/ActivationMenuBlade/~/aadgroup":         {aliceMember, nil},
		"https://pim.example.com/": {aliceAdmin, func(c *AzurePIMConfig) { c.PortalURL = "https://pim.example.com/" }},
	} {
		filed, err := g.connect(t, c.config, atNoon).File(t.Context(), anHour(c.who))
		if !errors.Is(err, ErrUnsupported) || filed.URL != want || !strings.Contains(err.Error(), want) {
			t.Errorf("got %+v, %v; want %s", filed, err, want)
		}
	}
	if len(g.Calls) != 0 {
		t.Errorf("Graph was asked: %v", g.Calls)
	}
}

// TestAzureRequestBecomesAnAssignment sees one through, with the delay between a
// request that is provisioned and the assignment that shows it.
func TestAzureRequestBecomesAnAssignment(t *testing.T) {
	t.Parallel()
	for name, who := range map[string]Subject{"role": aliceAdmin, "group": aliceMember, "unit": {User: azureAlice, Role: aliceAdmin.Role + "/administrativeUnits/" + azureUnit}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, group := &clock{}, name == "group"
			g := newGraph(t, providertest.RoleWrites, providertest.GroupWrites)
			g.Status = "PendingApproval"
			p := g.connect(t, assigns, at.now)
			ref := wantFiled(t, p, anHour(who), FiledPending).Ref
			wantPoll(t, p, ref, who, FiledPending)
			wantStatus(t, p, who, Status{})

			request := *g.Requests[ref]
			ticket := request["ticketInfo"].(object)
			if request["justification"] != "ticket 4711" || ticket["ticketSystem"] != "sallyport" || ticket["ticketNumber"] != "wipe_vehicle" {
				t.Errorf("filed %v", request)
			}
			request["status"] = "Provisioned"
			wantPoll(t, p, ref, who, FiledPending)

			end := noon.Add(time.Hour)
			g.Instances[group] = []object{providertest.GraphAssignment(request, noon, end)}
			if filed := wantPoll(t, p, ref, who, FiledActive); !filed.Until.Equal(end) {
				t.Errorf("until %v, want %v", filed.Until, end)
			}
			wantStatus(t, p, who, isActive(end, "instance-"+ref))
			at.advance(time.Hour)
			wantPoll(t, p, ref, who, FiledExpired)
			wantStatus(t, p, who, Status{})
		})
	}
}

func TestAzureRequestIsInForceAtOnce(t *testing.T) {
	t.Parallel()
	g := newGraph(t, providertest.RoleWrites)
	g.Instantly = true
	filed := wantFiled(t, g.connect(t, assigns, atNoon), anHour(aliceAdmin), FiledActive)
	if !filed.Until.Equal(noon.Add(time.Hour)) {
		t.Errorf("until %v", filed.Until)
	}
}

func TestAzureStatesOfARequest(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]FiledState{
		"PendingApproval": FiledPending, "PendingAdminDecision": FiledPending, "PendingProvisioning": FiledPending, "PendingScheduleCreation": FiledPending,
		"Granted": FiledPending, "Provisioned": FiledPending, "ScheduleCreated": FiledPending, "provisioned": FiledPending,
		"Denied": FiledDenied, "Canceled": FiledCancelled, "Revoked": FiledCancelled, "Failed": FiledFailed, "failed": FiledFailed,
	} {
		t.Run(status, func(t *testing.T) {
			t.Parallel()
			g := newGraph(t, providertest.RoleWrites)
			p := g.connect(t, assigns, atNoon)
			ref := wantFiled(t, p, anHour(aliceAdmin), FiledPending).Ref
			(*g.Requests[ref])["status"] = status
			wantPoll(t, p, ref, aliceAdmin, want)
			// Nor does an assignment of another make one of a request that was not granted.
			g.Instances[false] = []object{activated(nil)}
			if !strings.HasPrefix(strings.ToLower(status), "p") && want != FiledPending {
				wantPoll(t, p, ref, aliceAdmin, want)
			}
		})
	}
}

func TestAzurePollRefusesOtherAnswers(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]object{
		"unknown status": {"status": "unknownFutureValue"}, "no status": {"status": nil}, "another id": {"id": "x"}, "no id": {"id": nil},
		"another user": {"principalId": azureMallet}, "another role": {"roleDefinitionId": azureOther}, "another scope": {"directoryScopeId": "/x"},
	} {
		g := newGraph(t, providertest.RoleWrites)
		p := g.connect(t, assigns, atNoon)
		ref := wantFiled(t, p, anHour(aliceAdmin), FiledPending).Ref
		for k, v := range change {
			(*g.Requests[ref])[k] = v
		}
		if filed, err := p.Poll(t.Context(), ref, aliceAdmin); !errors.Is(err, ErrAnswer) {
			t.Errorf("%s: got %+v, %v", name, filed, err)
		}
	}
	g := newGraph(t, providertest.RoleWrites)
	if _, err := g.connect(t, assigns, atNoon).Poll(t.Context(), azureOther, aliceAdmin); !isStatus(err, http.StatusNotFound) {
		t.Errorf("unknown request: got %v", err)
	}
}

// TestAzureRequestThatNeverShows ends when its assignment should have been there.
func TestAzureRequestThatNeverShows(t *testing.T) {
	t.Parallel()
	at := &clock{}
	g := newGraph(t, providertest.RoleWrites)
	p := g.connect(t, assigns, at.now)
	ref := wantFiled(t, p, anHour(aliceAdmin), FiledPending).Ref
	at.advance(azureProvisions)
	wantPoll(t, p, ref, aliceAdmin, FiledPending)
	(*g.Requests[ref])["scheduleInfo"].(object)["startDateTime"] = noon.Add(2 * time.Hour)
	at.advance(time.Hour)
	wantPoll(t, p, ref, aliceAdmin, FiledPending) // begins in the future
	at.advance(2 * time.Hour)
	wantPoll(t, p, ref, aliceAdmin, FiledExpired)
	(*g.Requests[ref])["scheduleInfo"].(object)["startDateTime"] = at.now().Add(-time.Minute)
	wantPoll(t, p, ref, aliceAdmin, FiledPending)
	(*g.Requests[ref])["scheduleInfo"].(object)["expiration"] = object{"endDateTime": at.now()}
	wantPoll(t, p, ref, aliceAdmin, FiledExpired)
}

// TestAzureCountsOnlyItsOwnAssignments has assignments for a time that others made.
func TestAzureCountsOnlyItsOwnAssignments(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]object{
		"":                    nil,
		"without our mark":    {"ticketInfo": object{"ticketSystem": "MS Project"}},
		"without a ticket":    {"ticketInfo": nil},
		"an update":           {"action": "adminUpdate"},
		"of another":          {"principalId": azureMallet},
		"of another role":     {"roleDefinitionId": azureOther},
		"of another schedule": {"targetScheduleId": azureOther},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGraph(t, providertest.RoleWrites)
			g.Instantly = true
			p := g.connect(t, assigns, atNoon)
			ref := wantFiled(t, p, anHour(aliceAdmin), FiledActive).Ref
			for k, v := range change {
				(*g.Requests[ref])[k] = v
			}
			g.LeakedRequests = []object{*g.Requests[ref]} // whatever the filter
			want := Status{}
			if change == nil {
				want = isActive(noon.Add(time.Hour), "instance-"+ref)
			}
			wantStatus(t, p, aliceAdmin, want)
			// Whoever doesn't file counts none of them.
			wantStatus(t, g.connect(t, nil, atNoon), aliceAdmin, Status{})
			for _, schedule := range []any{nil, "x' or principalId ne '", strings.Repeat("x", 300)} {
				g.Instances[false][0]["roleAssignmentScheduleId"] = schedule
				wantStatus(t, p, aliceAdmin, Status{})
			}
		})
	}
}

func TestAzureRefusesAFiling(t *testing.T) {
	t.Parallel()
	g := newGraph(t, providertest.RoleWrites)
	p := g.connect(t, assigns, atNoon)
	wantFiled(t, p, anHour(aliceAdmin), FiledPending)
	_, err := p.File(t.Context(), anHour(aliceAdmin))
	var failure *Error
	if !errors.As(err, &failure) || failure.Status != http.StatusConflict || failure.Code != "RoleAssignmentExists" {
		t.Errorf("twice: got %v", err)
	}
	for _, d := range []time.Duration{0, -time.Hour, time.Minute - 1, azureLongest + 1} {
		if _, err := p.File(t.Context(), Filing{Subject: aliceMember, Duration: d}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%v: got %v", d, err)
		}
	}
	reader := newGraph(t, providertest.RoleReads)
	if _, err := reader.connect(t, assigns, atNoon).File(t.Context(), anHour(aliceAdmin)); !isStatus(err, http.StatusForbidden) {
		t.Errorf("without permission: got %v", err)
	}
}

func TestAzureFilesOnceWhateverHappens(t *testing.T) {
	t.Parallel()
	g := newGraph(t, providertest.RoleWrites)
	posts := 0
	g.Override = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			posts++
			providertest.GraphError(w, http.StatusBadGateway, "BadGateway", "x")
		}
		return r.Method == http.MethodPost
	}
	if _, err := g.connect(t, assigns, atNoon).File(t.Context(), anHour(aliceAdmin)); !isStatus(err, http.StatusBadGateway) || posts != 1 {
		t.Errorf("got %v after %d posts", err, posts)
	}
}

func TestReasonsAreCut(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]string{
		"":                       "tool",
		"why":                    "why",
		"a\xff":                  "a\uFFFD",
		strings.Repeat("ä", 500): strings.Repeat("ä", 500),
		strings.Repeat("ä", 501): strings.Repeat("ä", 499) + "…",
	} {
		if got := cutReason(reason, "tool"); got != want {
			t.Errorf("%.10q: got %q", reason, got)
		}
	}
}

func TestAzureConfigIsChecked(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*AzurePIMConfig){
		"tenant":           func(c *AzurePIMConfig) { c.Tenant = "" },
		"tenant:":          func(c *AzurePIMConfig) { c.Tenant = "../x" },
		"tenant: ":         func(c *AzurePIMConfig) { c.Tenant = ".." },
		"client_id":        func(c *AzurePIMConfig) { c.ClientID = "" },
		"secret_file":      func(c *AzurePIMConfig) { c.SecretFile = "" },
		"endpoint":         func(c *AzurePIMConfig) { c.Endpoint = "http://graph.microsoft.com" },
		"authority":        func(c *AzurePIMConfig) { c.Authority = "login.microsoftonline.com" },
		"ca_file":          func(c *AzurePIMConfig) { c.CAFile = "/nowhere" },
		"portal_url":       func(c *AzurePIMConfig) { c.PortalURL = "javascript:alert(1)" },
		"certificate_file": func(c *AzurePIMConfig) { c.SecretFile, c.KeyFile = "", "/nowhere" },
	} {
		cfg := &AzurePIMConfig{Tenant: "contoso.onmicrosoft.com", ClientID: "x", SecretFile: secretIn(t, "hunter2")}
		if _, err := NewAzurePIM(cfg, atNoon); err != nil {
			t.Fatal(err)
		}
		change(cfg)
		if _, err := NewAzurePIM(cfg, atNoon); err == nil || !strings.Contains(err.Error(), strings.TrimRight(want, ": ")) {
			t.Errorf("got %v, want an error about %s", err, want)
		}
	}
	p, err := NewAzurePIM(&AzurePIMConfig{Tenant: "t", ClientID: "x", SecretFile: secretIn(t, "x")}, atNoon)
	if err != nil || p.Name() != "azure_pim" || p.endpoint != "https://graph.microsoft.com/v1.0" {
		t.Errorf("got %+v, %v", p, err)
	}
	token := p.credential.(*oauth).cfg
	if token.TokenURL != "https://login.microsoftonline.com/t/oauth2/v2.0/token" || token.Scope != "https://graph.microsoft.com/.default" {
		t.Errorf("got %+v", token)
	}
}
