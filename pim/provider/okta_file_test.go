package provider

import (
	"cmp"
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/pim/provider/providertest"
)

func inGrants(c *OktaConfig) { c.Grants = true }

func TestOktaCountsGrants(t *testing.T) {
	t.Parallel()
	active := isActive(noon.Add(time.Hour), "0ggb0oNGTSWTBKOLGLNR")
	bundle := oktaApp + "/" + oktaBundle
	endless := object{"scheduleSettings": nil}
	for name, c := range map[string]struct {
		grants   []object
		role     string
		standing bool
		want     Status
	}{
		"allowed":                       {grants: []object{grant(nil)}, want: active},
		"the bundle":                    {grants: []object{grant(nil)}, role: bundle, want: active},
		"the bundle, with its entry":    {grants: []object{grant(nil)}, role: bundle + "/" + oktaEntry, want: active},
		"another bundle":                {grants: []object{grant(object{"entitlementBundleId": "enbfxqCAJWWGELFTYXXX"})}, role: bundle},
		"a policy's, for a bundle":      {grants: []object{grant(object{"entitlementBundleId": nil})}, role: bundle},
		"ended":                         {grants: []object{grant(object{"scheduleSettings": object{"expirationDate": noon}})}},
		"not active":                    {grants: []object{grant(object{"status": "SCHEDULED"})}},
		"no end":                        {grants: []object{grant(endless)}},
		"no end, standing counts":       {grants: []object{grant(endless)}, standing: true, want: Status{Active: true, Evidence: "0ggb0oNGTSWTBKOLGLNR"}},
		"denied":                        {grants: []object{grant(object{"action": "DENY"})}, standing: true},
		"allowed and denied":            {grants: []object{grant(nil), grant(object{"action": "DENY", "scheduleSettings": nil})}},
		"denied and allowed":            {grants: []object{grant(object{"action": "DENY"}), grant(nil)}},
		"allowed, all denied":           {grants: []object{grant(nil), grant(object{"action": "DENY", "entitlementBundleId": nil})}, role: bundle},
		"allowed, another denied":       {grants: []object{grant(nil), grant(object{"action": "DENY", "entitlementBundleId": "enbfxqCAJWWGELFTYXXX"})}, role: bundle, want: active},
		"was denied":                    {grants: []object{grant(nil), grant(object{"action": "DENY", "scheduleSettings": object{"expirationDate": noon}})}, want: active},
		"the longest":                   {grants: []object{grant(object{"scheduleSettings": object{"expirationDate": noon.Add(time.Minute)}, "id": "0ggshort"}), grant(nil), grant(object{"scheduleSettings": object{"expirationDate": noon.Add(time.Second)}})}, want: active},
		"the longest, for ever":         {grants: []object{grant(endless), grant(object{"id": "0ggb0oNGTSWTBKOLGLNX"})}, standing: true, want: Status{Active: true, Evidence: "0ggb0oNGTSWTBKOLGLNR"}},
		"of another user":               {grants: []object{grant(object{"targetPrincipal": forUser(oktaMallet)})}},
		"of another kind of principal":  {grants: []object{grant(object{"targetPrincipal": object{"type": "GROUP", "externalId": oktaAlice}})}},
		"at another application":        {grants: []object{grant(object{"target": object{"type": "APPLICATION", "externalId": oktaOther}})}},
		"another's denial is none here": {grants: []object{grant(nil), grant(object{"action": "DENY", "targetPrincipal": forUser(oktaMallet)})}, want: active},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOktaOrg(t, oktaGrants)
			o.PageSize = 1
			// Whatever the filter: what isn't Alice's doesn't count.
			for i, g := range c.grants {
				if i > 0 {
					g["id"] = g["id"].(string) + string(rune('a'+i))
				}
			}
			o.Leaked = c.grants
			p := o.connect(t, func(cfg *OktaConfig) { cfg.Grants, cfg.Standing = true, c.standing }, atNoon)
			got, err := p.Check(t.Context(), Subject{User: oktaAlice, Role: cmp.Or(c.role, oktaApp)})
			if err != nil || got.Active != c.want.Active || !got.Until.Equal(c.want.Until) || !strings.HasPrefix(got.Evidence, c.want.Evidence) {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
	o := newOktaOrg(t, oktaGrants)
	o.Grants = []object{grant(object{"action": "MAYBE"})}
	if _, err := o.connect(t, inGrants, atNoon).Check(t.Context(), aliceApp); !errors.Is(err, ErrAnswer) {
		t.Errorf("unknown action: got %v", err)
	}
}

// TestOktaRequestIsGranted sees one through, from its filing to its end.
func TestOktaRequestIsGranted(t *testing.T) {
	t.Parallel()
	at := &clock{}
	o := oktaOrgAt(t, at.now, oktaReads, oktaFiles)
	p := o.connect(t, nil, at.now)
	filed := wantFiled(t, p, anHour(aliceApp), FiledPending)
	if filed.URL != "https://example.okta.com/requests" {
		t.Errorf("got %+v", filed)
	}
	request := o.Find(filed.Ref)
	fields := asText(request["requesterFieldValues"])
	want := `[{"id":"OKTA_ACCESS_DURATION","type":"DURATION","value":"PT60M"},{"id":"` + providertest.OktaField + `","type":"TEXT","value":"ticket 4711"}]`
	if fields != want {
		t.Errorf("filed %s, want %s", fields, want)
	}
	end := noon.Add(time.Hour)
	for _, step := range []struct {
		change object
		want   FiledState
	}{
		{object{"status": "PENDING"}, FiledPending},
		{object{"status": "APPROVED"}, FiledPending},
		{object{"grantStatus": "PENDING"}, FiledPending},
		{object{"grantStatus": "GRANTED", "granted": noon, "revocationScheduled": end}, FiledActive},
	} {
		wantStatus(t, p, aliceApp, Status{})
		maps.Copy(request, step.change)
		if filed := wantPoll(t, p, filed.Ref, aliceApp, step.want); step.want == FiledActive && !filed.Until.Equal(end) {
			t.Errorf("until %v", filed.Until)
		}
	}
	wantStatus(t, p, aliceApp, isActive(end, filed.Ref))
	at.advance(time.Hour)
	wantStatus(t, p, aliceApp, Status{})
	wantPoll(t, p, filed.Ref, aliceApp, FiledExpired)
	request["revocationStatus"] = "REVOKED"
	wantPoll(t, p, filed.Ref, aliceApp, FiledExpired)
}

func TestOktaStatesOfARequest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change object
		want   FiledState
	}{
		"submitted":       {object{"status": "SUBMITTED", "grantStatus": nil}, FiledPending},
		"denied":          {object{"status": "DENIED"}, FiledDenied},
		"rejected":        {object{"status": "REJECTED"}, FiledDenied},
		"cancelled":       {object{"status": "CANCELED"}, FiledCancelled},
		"expired":         {object{"status": "EXPIRED"}, FiledExpired},
		"by hand":         {object{"grantStatus": "MANUAL_REQUIRED"}, FiledPending},
		"grant failed":    {object{"grantStatus": "FAILED"}, FiledFailed},
		"granted":         {nil, FiledActive},
		"not yet":         {object{"granted": noon.Add(time.Minute)}, FiledPending},
		"revoked":         {object{"revocationStatus": "REVOKED"}, FiledCancelled},
		"revoked, a date": {object{"revoked": noon}, FiledCancelled},
		"ended":           {object{"revocationScheduled": noon}, FiledExpired},
		"without an end":  {object{"revocationScheduled": nil}, FiledFailed},
		"new status":      {object{"status": "PAUSED"}, ""},
		"no status":       {object{"status": nil}, ""},
		"new grant":       {object{"grantStatus": "PARTLY"}, ""},
		"another user":    {object{"requestedFor": forUser(oktaMallet)}, ""},
		"another scope":   {object{"requested": object{"accessScopeId": oktaOther}}, ""},
		"another id":      {object{"id": "req42kjDgk1EubTwo0gX"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOktaOrg(t, oktaReads)
			o.Requests = []object{granted(c.change)}
			p := o.connect(t, nil, atNoon)
			const ref = "req42kjDgk1EubTwo0g4"
			if name == "another id" {
				o.Override = func(w http.ResponseWriter, _ *http.Request) bool {
					providertest.WriteJSON(w, 200, o.Requests[0])
					return true
				}
			}
			if c.want != "" {
				wantPoll(t, p, ref, aliceApp, c.want)
				return
			}
			if filed, err := p.Poll(t.Context(), ref, aliceApp); !errors.Is(err, ErrAnswer) || filed != (Filed{}) {
				t.Errorf("got %+v, %v; want ErrAnswer", filed, err)
			}
		})
	}
}

// TestOktaRequestAndItsGrant waits for the grant that a request becomes.
func TestOktaRequestAndItsGrant(t *testing.T) {
	t.Parallel()
	o := newOktaOrg(t, oktaReads, oktaFiles, oktaGrants)
	p := o.connect(t, inGrants, atNoon)
	who := Subject{User: oktaAlice, Role: oktaApp + "/" + oktaBundle + "/" + oktaEntry}
	ref := wantFiled(t, p, anHour(who), FiledPending).Ref
	maps.Copy(o.Find(ref), object{"status": "APPROVED", "grantStatus": "GRANTED", "requested": object{"accessScopeId": oktaBundle}})
	wantPoll(t, p, ref, who, FiledPending)
	o.Grants = []object{grant(nil)}
	if filed := wantPoll(t, p, ref, who, FiledActive); !filed.Until.Equal(noon.Add(time.Hour)) {
		t.Errorf("until %v", filed.Until)
	}
}

func TestOktaRefusesAFiling(t *testing.T) {
	t.Parallel()
	o := newOktaOrg(t, oktaReads, oktaFiles)
	p := o.connect(t, nil, atNoon)
	filed, err := p.File(t.Context(), anHour(Subject{User: oktaAlice, Role: oktaApp}))
	if !errors.Is(err, ErrUnsupported) || filed.URL == "" {
		t.Errorf("without an entry: got %+v, %v", filed, err)
	}
	for _, d := range []time.Duration{0, -time.Hour, time.Minute - 1, 1000 * 24 * time.Hour} {
		if _, err := p.File(t.Context(), Filing{Subject: aliceApp, Duration: d}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%v: got %v", d, err)
		}
	}
	if len(o.Calls) != 0 {
		t.Errorf("Okta was asked: %v", o.Calls)
	}
	fixed := o.connect(t, func(c *OktaConfig) { c.FixedDuration, c.JustificationField = true, "" }, atNoon)
	var failure *Error
	if _, err := fixed.File(t.Context(), anHour(aliceApp)); !errors.As(err, &failure) || failure.Status != http.StatusConflict {
		t.Errorf("without a required field: got %v", err)
	}
	reader := newOktaOrg(t, oktaReads)
	if _, err := reader.connect(t, nil, atNoon).File(t.Context(), anHour(aliceApp)); !errors.As(err, &failure) || failure.Code != "invalid_scope" {
		t.Errorf("without permission: got %v", err)
	}
	if _, err := p.Poll(t.Context(), "req42kjDgk1EubTwo0gX", aliceApp); !isStatus(err, http.StatusNotFound) {
		t.Errorf("unknown request: got %v", err)
	}
}

func TestOktaDurations(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		time.Minute: "PT1M", 90 * time.Minute: "PT90M", 99*time.Minute + 59*time.Second: "PT99M", 100 * time.Minute: "PT1H", 2 * time.Hour: "PT2H",
		99 * time.Hour: "PT99H", 100 * time.Hour: "P4D", 999 * day: "P999D", 999*day + time.Hour: "P999D", 1000 * day: "", 59 * time.Second: "", 0: "", -day: "",
	} {
		if got := oktaDuration(d); got != want || len(got) > 5 {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func TestOktaConfigIsChecked(t *testing.T) {
	t.Parallel()
	o := newOktaOrg(t)
	for want, change := range map[string]func(*OktaConfig){
		"endpoint":   func(c *OktaConfig) { c.Endpoint = "http://example.okta.com" },
		"client_id":  func(c *OktaConfig) { c.ClientID = "" },
		"key_file":   func(c *OktaConfig) { c.KeyFile = "" },
		"key_file:":  func(c *OktaConfig) { c.KeyFile = "/nowhere" },
		"key_id":     func(c *OktaConfig) { c.KeyID = "" },
		"ca_file":    func(c *OktaConfig) { c.CAFile = "/nowhere" },
		"portal_url": func(c *OktaConfig) { c.PortalURL = "example.okta.com" },
	} {
		cfg := &OktaConfig{Endpoint: "https://example.okta.com/", ClientID: "x", KeyFile: o.KeyFile, KeyID: "x"}
		if p, err := NewOkta(cfg, atNoon); err != nil || p.Name() != "okta" || p.endpoint != "https://example.okta.com" {
			t.Fatalf("got %+v, %v", p, err)
		}
		change(cfg)
		if _, err := NewOkta(cfg, atNoon); err == nil || !strings.Contains(err.Error(), strings.TrimRight(want, ":")) {
			t.Errorf("got %v, want an error about %s", err, want)
		}
	}
}
