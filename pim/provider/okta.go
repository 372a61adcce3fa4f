package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// OktaConfig is Okta Identity Governance: access requests, or the grants that come of
// them.
type OktaConfig struct {
	Endpoint string // URL of the organization, such as https://example.okta.com
	ClientID string // of the service application that we are there
	// KeyFile is the application's private key in PEM: RSA or P-256. Secret.
	KeyFile string
	KeyID   string // kid of the key at Okta
	CAFile  string // PEM, the only roots that are trusted; empty: the system's

	// Grants looks at grants of entitlements instead of at access requests. Roles are
	// then the application's id, with /ENTITLEMENT BUNDLE if only that counts.
	Grants bool
	// Standing also counts access that has no end. Default: not.
	Standing bool
	// FixedDuration leaves the duration out of the requests that we file, for conditions
	// that don't let the requester choose one.
	FixedDuration bool
	// JustificationField is the id of the input field that takes the reason. Empty: the
	// reason isn't sent.
	JustificationField string
	// PortalURL is where people see their requests. Empty: not said.
	PortalURL string
}

// Scopes of our tokens. To file is asked for only if something is to be filed.
const (
	oktaReads  = "okta.accessRequests.request.read"
	oktaFiles  = "okta.accessRequests.request.manage"
	oktaGrants = "okta.governance.entitlements.read"
)

// Okta is Okta Identity Governance. Its tokens are bearer tokens: an application that
// demands DPoP can't be used.
type Okta struct {
	client               *client
	reads, files, grants credential // one for each scope, so that none has more than it needs
	endpoint, portal     string
	grantsMode, standing bool
	fixedDuration        bool
	justificationField   string
	now                  func() time.Time
}

// NewOkta reports everything that is wrong with the configuration.
func NewOkta(cfg *OktaConfig, now func() time.Time) (*Okta, error) {
	o := &Okta{
		portal: cfg.PortalURL, grantsMode: cfg.Grants, standing: cfg.Standing,
		fixedDuration: cfg.FixedDuration, justificationField: cfg.JustificationField, now: now,
	}
	var errs []error
	var err error
	o.endpoint, err = baseURL(cfg.Endpoint)
	errs = append(errs, inField("endpoint", err))
	o.client, err = newClient(cfg.CAFile, now)
	errs = append(errs, inField("ca_file", err))
	if cfg.PortalURL != "" {
		errs = append(errs, inField("portal_url", checkPage(cfg.PortalURL)))
	}
	for name, value := range map[string]string{"key_file": cfg.KeyFile, "key_id": cfg.KeyID} {
		if value == "" {
			errs = append(errs, fmt.Errorf("%s: is missing", name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("provider okta: %w", err)
	}
	for to, scope := range map[*credential]string{&o.reads: oktaReads, &o.files: oktaFiles, &o.grants: oktaGrants} {
		*to, err = newOAuth(&OAuthConfig{
			TokenURL: o.endpoint + "/oauth2/v1/token", ClientID: cfg.ClientID, Scope: scope, KeyFile: cfg.KeyFile, KeyID: cfg.KeyID,
		}, o.client, now)
		if err != nil {
			return nil, fmt.Errorf("provider okta: %w", err)
		}
	}
	return o, nil
}

// Name is the name of the provider in the configuration.
func (o *Okta) Name() string { return "okta" }

// Okta's ids are letters and digits; the first three say what of. Nothing else is put
// into a filter or a path, so nothing that is put there can end its literal.
var (
	oktaUserPattern    = regexp.MustCompile(`^00u[0-9a-zA-Z]{1,61}$`)
	oktaIDPattern      = regexp.MustCompile(`^[0-9a-zA-Z]{4,64}$`)
	oktaRequestPattern = regexp.MustCompile(`^req[0-9a-zA-Z]{1,61}$`)
)

// oktaRole is what a user can have: an application, a group or an entitlement bundle,
// and where it is in the catalogue of what can be requested.
type oktaRole struct {
	user   string
	scope  string // what the request is for; with grants, the application
	bundle string // with grants: only this counts; may be empty
	entry  string // in the catalogue; empty: it can't be requested
}

// subject reads SCOPE[/ENTRY], and with grants APPLICATION[/BUNDLE][/ENTRY].
func (o *Okta) subject(who Subject) (oktaRole, error) {
	if !oktaUserPattern.MatchString(who.User) {
		return oktaRole{}, fmt.Errorf("%w: the user isn't an id of an Okta user", ErrSubject)
	}
	r, err := o.role(who.Role)
	r.user = who.User
	return r, err
}

// CheckRole implements RoleChecker.
func (o *Okta) CheckRole(role string) error {
	_, err := o.role(role)
	return err
}

func (o *Okta) role(text string) (r oktaRole, err error) {
	for i, id := range strings.Split(text, "/") {
		var to *string
		switch {
		case i == 0:
			to = &r.scope
		case strings.HasPrefix(id, "cen"):
			to = &r.entry
		case o.grantsMode && strings.HasPrefix(id, "enb"):
			to = &r.bundle
		}
		if to == nil || *to != "" || !oktaIDPattern.MatchString(id) {
			return oktaRole{}, fmt.Errorf("%w: role %s isn't made of ids of Okta", ErrSubject, clip(text))
		}
		*to = id
	}
	return r, nil
}

// scimText is a literal of a SCIM filter (RFC 7644 section 3.4.2.2), of an id.
func scimText(id string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(id) + `"`
}

// Check asks for the user's access requests or grants.
func (o *Okta) Check(ctx context.Context, who Subject) (Status, error) {
	role, err := o.subject(who)
	if err != nil {
		return Status{}, err
	}
	if o.grantsMode {
		return o.checkGrants(ctx, &role)
	}
	return o.checkRequests(ctx, &role)
}

// oktaLink is a link to the next page. Okta names the host of its admin console in
// it, whatever host was asked: only the cursor is taken from it.
type oktaLink struct {
	Next struct {
		Href string `json:"href"`
	} `json:"next"`
}

func (l *oktaLink) after() (cursor string, more bool, err error) {
	if l.Next.Href == "" {
		return "", false, nil
	}
	link, err := url.Parse(l.Next.Href)
	if err == nil {
		cursor = link.Query().Get("after")
	}
	if cursor == "" {
		return "", true, fmt.Errorf("%w: the link to the next page has no cursor", ErrAnswer)
	}
	return cursor, true, nil
}

// oktaList reads a list page by page until each says that it is enough.
func oktaList[T any](ctx context.Context, o *Okta, as credential, first string, each func(*T) (enough bool, err error)) error {
	page := first
	for range maxPages {
		var answer struct {
			Data  *[]T     `json:"data"`
			Links oktaLink `json:"_links"`
		}
		if err := o.send(ctx, as, http.MethodGet, page, nil, &answer); err != nil {
			return err
		}
		if answer.Data == nil {
			return fmt.Errorf("%w: it has no list", ErrAnswer)
		}
		for i := range *answer.Data {
			if enough, err := each(&(*answer.Data)[i]); err != nil || enough {
				return err
			}
		}
		cursor, more, err := answer.Links.after()
		if err != nil || !more {
			return err
		}
		page = withParameter(first, "after", cursor)
	}
	return fmt.Errorf("%w: the list has more than %d pages", ErrAnswer, maxPages)
}

func (o *Okta) send(ctx context.Context, as credential, method, address string, body, answer any) error {
	return sendAgain(ctx, as, func(header http.Header) error {
		return o.client.call(ctx, method, address, header, body, answer)
	})
}
