package settings

import (
	"regexp"
	"slices"
)

var (
	wordPattern     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	locationPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,15}$`)
	typePattern     = regexp.MustCompile(`^(ON_DEMAND|DUAL_CONTROL)$`)
	anyPattern      = regexp.MustCompile("")
	cloudPattern    = regexp.MustCompile(`^(AWS|AZURE|GCP)$`)
)

const (
	wordForm     = "letters, digits, - and _, at most 64"
	locationForm = "the name of a field, or names with dots between them"
	userForm     = "a user's name without spaces around it"
)

func (r *report) checkCyberArk(cfg *Config) {
	c := &cfg.PIM.CyberArk
	if r.required("pim.pam_endpoint", cfg.PIM.PAMEndpoint, "the URL of CyberArk, such as https://pvwa.example.com") {
		r.hostURL("pim.pam_endpoint", cfg.PIM.PAMEndpoint, "https://pvwa.example.com", cfg.Development())
	}
	if r.oneOf("pim.cyberark.product", c.Product, "pvwa", "uar", "sca", "template") {
		r.checkCyberArkForm(c)
	}
	r.checkCyberArkLogon(c)
	r.checkCyberArkClient(cfg)
}

// checkCyberArkForm checks the keys that only some products have.
func (r *report) checkCyberArkForm(c *CyberArkProvider) {
	role, roleForm := locationPattern, locationForm
	if c.Product == "uar" { // it names a member of what is sent
		role, roleForm = wordPattern, wordForm
	}
	pvwa, uar, sca, template := c.Product == "pvwa", c.Product == "uar", c.Product == "sca", c.Product == "template"
	for _, f := range []struct {
		key, value    string
		known, needed bool // by the product
		pattern       *regexp.Regexp
		form, what    string
	}{
		{"own_user", c.OwnUser, pvwa || uar, false, titlePattern, userForm, ""},
		{"target_category", c.TargetCategory, uar, false, wordPattern, wordForm, ""},
		{"request_type", c.RequestType, uar, false, typePattern, "ON_DEMAND or DUAL_CONTROL", ""},
		{"location_type", c.LocationType, uar, false, wordPattern, wordForm, ""},
		{"role_field", c.RoleField, uar || sca, sca, role, roleForm, "where a session has its role"},
		{"end_field", c.EndField, sca, sca, locationPattern, locationForm, "where a session has its end"},
		{"evidence_field", c.EvidenceField, sca, false, locationPattern, locationForm, ""},
		{"cloud", c.Cloud, sca, false, cloudPattern, "AWS, AZURE or GCP", ""},
		{"template_file", c.TemplateFile, template, template, anyPattern, "", "which file describes its API"},
	} {
		path := "pim.cyberark." + f.key
		switch {
		case f.value == "" && f.needed:
			r.refuse(path, "is missing: the product %s needs it, say %s", c.Product, f.what)
		case f.value == "":
		case !f.known:
			r.refuse(path, "does nothing with the product %s: remove it", c.Product)
		case !f.pattern.MatchString(f.value):
			r.refuse(path, "must be %s, not %q", f.form, clip(f.value))
		}
	}
}

// logonWay is one way to log on, with all the keys that it needs.
type logonWay []struct{ key, value string }

// begun is the first of its keys that is set.
func (w logonWay) begun() string {
	for _, f := range w {
		if f.value != "" {
			return f.key
		}
	}
	return ""
}

// checkCyberArkLogon wants one way to log on, and all of it.
func (r *report) checkCyberArkLogon(c *CyberArkProvider) {
	first := ""
	for _, way := range []logonWay{
		{{"logon_user", c.LogonUser}, {"password_file", c.PasswordFile}},
		{{"token_url", c.TokenURL}, {"client_id", c.ClientID}, {"client_secret_file", c.ClientSecretFile}},
		{{"token_file", c.TokenFile}},
	} {
		begun := way.begun()
		switch {
		case begun == "":
			continue
		case first != "":
			r.refuse("pim.cyberark."+begun, "conflicts with %s: there is one way to log on, remove the other", first)
			continue
		}
		first = begun
		for _, f := range way {
			if f.value == "" {
				r.refuse("pim.cyberark."+f.key, "is missing: %s needs it", begun)
			}
		}
	}
	if first == "" {
		r.refuse("pim.cyberark", "has nothing to log on with: set logon_user and password_file for pvwa; token_url, client_id and client_secret_file; or token_file")
	}
}

// checkCyberArkClient checks the names of what is logged on with.
func (r *report) checkCyberArkClient(cfg *Config) {
	c := &cfg.PIM.CyberArk
	if c.LogonUser != "" {
		switch {
		case slices.Contains([]string{"uar", "sca"}, c.Product):
			r.refuse("pim.cyberark.logon_user", "is for the product pvwa: set token_url, client_id and client_secret_file for %s", c.Product)
		case !titlePattern.MatchString(c.LogonUser):
			r.refuse("pim.cyberark.logon_user", "must be %s, not %q", userForm, clip(c.LogonUser))
		}
	}
	switch {
	case c.LogonMethod == "":
	case c.LogonUser == "":
		r.refuse("pim.cyberark.logon_method", "does nothing without logon_user: set it, or remove this")
	default:
		r.oneOf("pim.cyberark.logon_method", c.LogonMethod, "CyberArk", "LDAP", "RADIUS")
	}
	if c.TokenURL != "" {
		r.askedURL("pim.cyberark.token_url", c.TokenURL, cfg.Development())
	}
	if c.ClientID != "" {
		r.id("pim.cyberark.client_id", c.ClientID, "the id of the client that asks")
	}
}
