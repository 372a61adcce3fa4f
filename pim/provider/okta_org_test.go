package provider

import (
	"maps"
	"testing"
	"time"

	"github.com/sallyport/sallyport/pim/provider/providertest"
)

const (
	oktaAlice  = "00ub0oNGTSWTBKOLGLNR"
	oktaMallet = "00ux0oNGTSWTBKOLGLNX"
	oktaApp    = providertest.OktaApp
	oktaOther  = "0oafxqCAJWWGELFTYOTH"
	oktaEntry  = providertest.OktaEntry
	oktaBundle = providertest.OktaBundle
)

// oktaOrg is an organization.
type oktaOrg struct{ *providertest.Okta }

func newOktaOrg(t testing.TB, scopes ...string) oktaOrg { return oktaOrgAt(t, atNoon, scopes...) }

func oktaOrgAt(t testing.TB, now func() time.Time, scopes ...string) oktaOrg {
	t.Helper()
	return oktaOrg{providertest.NewOkta(t, now, scopes...)}
}

func (o oktaOrg) connect(t testing.TB, change func(*OktaConfig), now func() time.Time) *Okta {
	t.Helper()
	cfg := &OktaConfig{Endpoint: o.URL, ClientID: providertest.ClientID, KeyFile: o.KeyFile, KeyID: providertest.OktaKeyID, CAFile: o.CAFile,
		JustificationField: providertest.OktaField, PortalURL: "https://example.okta.com/requests"}
	if change != nil {
		change(cfg)
	}
	p, err := NewOkta(cfg, now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// granted is Alice's request that was granted an hour ago for two hours, with changes.
func granted(changes object) object {
	r := providertest.OktaRequest("req42kjDgk1EubTwo0g4", oktaAlice, oktaApp, noon.Add(-time.Hour), noon.Add(time.Hour))
	maps.Copy(r, changes)
	return r
}

// grant is Alice's grant at the application until in an hour, with changes.
func grant(changes object) object {
	g := providertest.OktaGrant("0ggb0oNGTSWTBKOLGLNR", oktaAlice, oktaApp, noon.Add(time.Hour))
	maps.Copy(g, changes)
	return g
}
