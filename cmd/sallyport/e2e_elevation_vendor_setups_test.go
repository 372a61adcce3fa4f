package main_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/sallyport/sallyport/pim/provider/providertest"
)

// vendors are all providers, in all the ways in which they differ.
func vendors() map[string]func(t *testing.T) *vendor {
	return map[string]func(t *testing.T) *vendor{
		"generic":                       genericVendor,
		"azure_pim, directory role":     azureRoles,
		"azure_pim, role assigned here": azureAssigned,
		"azure_pim, group":              azureGroups,
		"okta, requests":                oktaByRequests,
		"okta, grants":                  oktaByGrants,
		"cyberark pvwa":                 pvwaOfAll,
		"cyberark pvwa, own user":       pvwaOfOne,
		"cyberark uar":                  uarOfAll,
		"cyberark uar, own user":        uarOfOne,
		"cyberark sca":                  scaVendor,
		"cyberark template":             templateVendor,
	}
}

func genericVendor(t *testing.T) *vendor {
	p := providertest.NewGeneric(t, time.Now)
	p.Token = pamToken
	return &vendor{
		claim: "oid", user: numbered("o-%d"), role: same("payments"),
		pim:     []string{"provider: generic", "pam_endpoint: " + p.URL, "generic: {token_file: pam-token}"},
		secrets: map[string]string{"pam-token": pamToken},
		elevate: p.Elevate, fail: p.Fail, page: "https://pam.example/requests/r/",
		decide: func(user, _ string, approved bool) { p.Decide(user, approved) },
	}
}

const (
	entraRole  = "directory/fdd7a751-b60b-444a-984c-02652fe8fa1c"
	entraGroup = "group/2b5ed229-4072-478d-9504-a047ebd4b07d/member"
	entraPage  = "https://entra.microsoft.com/#view/Microsoft_Azure_PIMCommon/ActivationMenuBlade/~/"
)

// azure is without a page for its kind of role.
func azure(g *providertest.Graph, role, more string) *vendor {
	return &vendor{
		claim: "oid", user: numbered("071cc716-8147-4397-a5ba-b2105951cc%02d"), role: same(role),
		pim: []string{
			"provider: azure_pim", "pam_endpoint: " + g.URL + "/v1.0",
			fmt.Sprintf("azure_pim: {tenant: %s, client_id: %s, client_secret_file: entra-secret, authority: %q, ca_file: %q%s}", providertest.GraphTenant, providertest.ClientID, g.URL, g.CAFile, more),
		},
		secrets: map[string]string{"entra-secret": providertest.Secret},
		elevate: g.Elevate, fail: g.Fail,
	}
}

func azureRoles(t *testing.T) *vendor {
	v := azure(providertest.NewGraph(t, time.Now, providertest.RoleReads), entraRole, "")
	v.page = entraPage + "aadmigratedroles"
	return v
}

func azureAssigned(t *testing.T) *vendor {
	g := providertest.NewGraph(t, time.Now, providertest.RoleWrites)
	v := azure(g, entraRole, `, admin_assign: true, portal_url: "https://pim.example/"`)
	v.page = "https://pim.example/"
	return decidedBy(v, g)
}

func azureGroups(t *testing.T) *vendor {
	g := providertest.NewGraph(t, time.Now, providertest.GroupWrites)
	v := azure(g, entraGroup, ", admin_assign: true")
	v.page = entraPage + "aadgroup"
	return decidedBy(v, g)
}

// decidedBy lets requests wait for their approval at Graph.
func decidedBy(v *vendor, g *providertest.Graph) *vendor {
	g.Status = "PendingApproval"
	v.decide = func(user, _ string, approved bool) { g.Decide(user, approved) }
	return v
}

func okta(t *testing.T, o *providertest.Okta, role, more string) *vendor {
	t.Helper()
	key, err := os.ReadFile(o.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	return &vendor{
		claim: "uid", user: numbered("00ub0oNGTSWTBKOLGL%02d"), role: same(role), page: "https://example.okta.com/requests",
		pim: []string{
			"provider: okta", "pam_endpoint: " + o.URL,
			fmt.Sprintf("okta: {client_id: %s, key_file: okta.pem, key_id: %s, ca_file: %q, justification_field: %s, portal_url: %q%s}",
				providertest.ClientID, providertest.OktaKeyID, o.CAFile, providertest.OktaField, "https://example.okta.com/requests", more),
		},
		secrets: map[string]string{"okta.pem": string(key)},
		fail:    o.Fail,
	}
}

func oktaByRequests(t *testing.T) *vendor {
	o := providertest.NewOkta(t, time.Now, providertest.OktaReads, providertest.OktaFiles)
	v := okta(t, o, providertest.OktaApp+"/"+providertest.OktaEntry, "")
	v.elevate = o.Elevate
	v.decide = func(user, _ string, approved bool) { o.Decide(user, approved) }
	return v
}

// oktaByGrants: what was approved there counts when its grant is there.
func oktaByGrants(t *testing.T) *vendor {
	o := providertest.NewOkta(t, time.Now, providertest.OktaReads, providertest.OktaFiles, providertest.OktaGrants)
	v := okta(t, o, providertest.OktaApp+"/"+providertest.OktaBundle+"/"+providertest.OktaEntry, ", grants: true")
	v.elevate = o.Entitle
	v.decide = func(user, role string, approved bool) {
		if o.Decide(user, approved); approved {
			o.Entitle(user, role, time.Now().Add(10*time.Minute))
		}
	}
	return v
}

func pvwa(p *providertest.PVWA, more string) *vendor {
	return &vendor{
		claim: "login",
		pim: []string{
			"provider: cyberark", "pam_endpoint: " + p.URL,
			fmt.Sprintf("cyberark: {product: pvwa, logon_user: %s, logon_method: LDAP, password_file: vault-password%s}", providertest.PVWAUser, more),
		},
		secrets: map[string]string{"vault-password": providertest.PVWASecret},
		elevate: p.Elevate, fail: p.Fail,
	}
}

func pvwaOfAll(t *testing.T) *vendor {
	v := pvwa(providertest.NewPVWA(t), "")
	v.user, v.role = numbered("user%d"), same("12_3")
	return v
}

func pvwaOfOne(t *testing.T) *vendor {
	p := providertest.NewPVWA(t)
	v := pvwa(p, ", own_user: "+providertest.PVWAUser)
	v.user, v.role = same(providertest.PVWAUser), numbered("12_%d")
	v.decide = p.Decide
	return v
}

func uar(u *providertest.UAR, more string) *vendor {
	return &vendor{
		claim: "login",
		pim: []string{
			"provider: cyberark", "pam_endpoint: " + u.URL,
			fmt.Sprintf("cyberark: {product: uar, token_url: %q, client_id: %s, client_secret_file: uar-secret, request_type: DUAL_CONTROL%s}", u.TokenURL(), providertest.UARUser, more),
		},
		secrets: map[string]string{"uar-secret": providertest.UARSecret},
		elevate: u.Elevate, fail: u.Fail,
	}
}

func uarOfAll(t *testing.T) *vendor {
	v := uar(providertest.NewUAR(t), "")
	v.user, v.role = numbered("user%d@acme"), same("/roleDefinitions/3ae3|subscriptions/1538|30dd")
	return v
}

func uarOfOne(t *testing.T) *vendor {
	u := providertest.NewUAR(t)
	v := uar(u, ", own_user: "+providertest.UARUser)
	v.user, v.role = same(providertest.UARUser), numbered("/roleDefinitions/%d|subscriptions/1538|30dd")
	v.decide = u.Decide
	return v
}

func scaVendor(t *testing.T) *vendor {
	c := providertest.NewSCA(t)
	return &vendor{
		claim: "oid", user: numbered("user%d"), role: same("/roleDefinitions/3ae3"),
		pim: []string{
			"provider: cyberark", "pam_endpoint: " + c.URL,
			"cyberark: {product: sca, token_file: sca-token, role_field: target.roleId, end_field: expiresAt, evidence_field: sessionId, cloud: AZURE}",
		},
		secrets: map[string]string{"sca-token": providertest.SCAToken},
		elevate: c.Elevate, fail: c.Fail,
	}
}

func templateVendor(t *testing.T) *vendor {
	p := providertest.NewRights(t)
	return &vendor{
		claim: "oid", user: numbered("us er/%d"), role: same("pay&ments|refund"), page: "https://rights.example/requests/a.",
		pim: []string{
			"provider: cyberark", "pam_endpoint: " + p.URL,
			"cyberark: {product: template, token_file: rights-token, template_file: rights.yaml}",
		},
		secrets: map[string]string{"rights-token": providertest.RightsToken, "rights.yaml": providertest.RightsTemplate},
		elevate: p.Elevate, fail: p.Fail,
		decide: func(user, _ string, approved bool) { p.Decide(user, approved) },
	}
}
