package provider

import (
	"strings"
	"testing"
)

func newCyberArk(t *testing.T, cfg *CyberArkConfig) *Template {
	t.Helper()
	p, err := NewCyberArk(cfg, atNoon)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestNewCyberArkRefuses(t *testing.T) {
	t.Parallel()
	token := CredentialConfig{BearerFile: secretIn(t, "t")}
	for want, cfg := range map[string]CyberArkConfig{
		"product":          {Product: "epm"},
		"endpoint":         {Product: "pvwa", Credential: token},
		"credential":       {Product: "pvwa", Endpoint: "https://x.example.com"},
		"logon: method":    {Product: "pvwa", Endpoint: "https://x.example.com", Credential: CredentialConfig{Logon: &LogonConfig{Method: "SAML"}}},
		"logon: user":      {Product: "pvwa", Endpoint: "https://x.example.com", Credential: CredentialConfig{Logon: &LogonConfig{}}},
		"password_file":    {Product: "pvwa", Endpoint: "https://x.example.com", Credential: CredentialConfig{Logon: &LogonConfig{User: "u"}}},
		"oauth":            {Product: "uar", Endpoint: "https://x.example.com", Credential: CredentialConfig{OAuth: &OAuthConfig{}}},
		"uar.request_type": {Product: "uar", Endpoint: "https://x.example.com", Credential: token, UAR: CyberArkUAR{RequestType: "x"}},
		"isn't a JSON":     {Product: "uar", Endpoint: "https://x.example.com", OwnUser: "u", Credential: token, UAR: CyberArkUAR{LocationType: "\x00"}},
		"sca.role_field":   {Product: "sca", Endpoint: "https://x.example.com", Credential: token},
		"sca.end_field":    {Product: "sca", Endpoint: "https://x.example.com", Credential: token, SCA: CyberArkSCA{RoleField: "r"}},
		"sca.cloud":        {Product: "sca", Endpoint: "https://x.example.com", Credential: token, SCA: CyberArkSCA{Cloud: "x"}},
		"own_user":         {Product: "sca", Endpoint: "https://x.example.com", OwnUser: "x", Credential: token, SCA: CyberArkSCA{RoleField: "r", EndField: "e"}},
	} {
		if _, err := NewCyberArk(&cfg, atNoon); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewCyberArk(%+v) = %v, want %s in it", cfg, err, want)
		}
	}
}
