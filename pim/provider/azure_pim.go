package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// AzurePIMConfig is Privileged Identity Management of Entra ID, as Microsoft Graph
// shows it: directory roles, and groups.
type AzurePIMConfig struct {
	Tenant   string // id or domain
	ClientID string // of the application that we are there

	// SecretFile holds the application's secret. Secret. Conflicts with KeyFile.
	SecretFile string
	// KeyFile (PEM, secret) and CertificateFile are the application's certificate.
	KeyFile, CertificateFile string

	Endpoint  string // default https://graph.microsoft.com/v1.0
	Authority string // default https://login.microsoftonline.com
	CAFile    string // PEM, the only roots that are trusted; empty: the system's
	// PortalURL is where people activate their roles. Default: the pages for directory
	// roles and for groups in the Entra admin center.
	PortalURL string

	// Standing also counts assignments that were not activated, with or without an end.
	// Default: only activations and what we filed ourselves.
	Standing bool
	// AdminAssign files requests as an administrator: the user gets the role for a time
	// without eligibility, multi-factor authentication or approval at Entra ID. Default:
	// no requests are filed, users activate their roles in the portal.
	AdminAssign bool
	// TicketSystem marks the requests that we file, with AdminAssign, and those that
	// bear it are taken for ours. Default sallyport.
	TicketSystem string
}

// AzurePIM is Privileged Identity Management of Entra ID.
type AzurePIM struct {
	client                 *client
	credential             credential
	endpoint, portal       string
	standing, adminAssigns bool
	ticketSystem           string
	now                    func() time.Time
}

// NewAzurePIM reports everything that is wrong with the configuration.
func NewAzurePIM(cfg *AzurePIMConfig, now func() time.Time) (*AzurePIM, error) {
	a := &AzurePIM{
		portal: cfg.PortalURL, standing: cfg.Standing, adminAssigns: cfg.AdminAssign,
		ticketSystem: cmp.Or(cfg.TicketSystem, "sallyport"), now: now,
	}
	var errs []error
	var err error
	a.endpoint, err = baseURL(cmp.Or(cfg.Endpoint, "https://graph.microsoft.com/v1.0"))
	errs = append(errs, inField("endpoint", err))
	a.client, err = newClient(cfg.CAFile, now)
	errs = append(errs, inField("ca_file", err))
	authority, err := baseURL(cmp.Or(cfg.Authority, "https://login.microsoftonline.com"))
	errs = append(errs, inField("authority", err), cfg.checkTenant())
	if cfg.PortalURL != "" {
		errs = append(errs, inField("portal_url", checkPage(cfg.PortalURL)))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("provider azure_pim: %w", err)
	}
	a.credential, err = newOAuth(&OAuthConfig{
		TokenURL: authority + "/" + cfg.Tenant + "/oauth2/v2.0/token", ClientID: cfg.ClientID, Scope: originOf(a.endpoint) + "/.default",
		SecretFile: cfg.SecretFile, KeyFile: cfg.KeyFile, CertificateFile: cfg.CertificateFile,
	}, a.client, now)
	if err != nil {
		return nil, fmt.Errorf("provider azure_pim: %w", err)
	}
	return a, nil
}

func (c *AzurePIMConfig) checkTenant() error {
	switch {
	case c.Tenant == "" || url.PathEscape(c.Tenant) != c.Tenant || strings.HasPrefix(c.Tenant, "."):
		return fmt.Errorf("tenant: %s is no id and no domain", clip(c.Tenant))
	case c.KeyFile != "" && c.CertificateFile == "":
		return errors.New("certificate_file: is missing, Entra ID knows a key by its certificate")
	}
	return nil
}

// checkPage is for a page that people open.
func checkPage(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" {
		return errors.New("isn't a URL that begins with https://")
	}
	return nil
}

// originOf is the beginning of an address that was checked.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// Name is the name of the provider in the configuration.
func (a *AzurePIM) Name() string { return "azure_pim" }

// azureInstance is an assignment that is in force, or was, or will be. Graph uses
// roleAssignmentScheduleId for roles and assignmentScheduleId for groups.
type azureInstance struct {
	azureTarget
	ID              string     `json:"id"`
	AssignmentType  string     `json:"assignmentType"`
	Start           *time.Time `json:"startDateTime"`
	End             *time.Time `json:"endDateTime"`
	RoleScheduleID  string     `json:"roleAssignmentScheduleId"`
	GroupScheduleID string     `json:"assignmentScheduleId"`
}

// runs reports whether it is in force. Only what stands may be without dates.
func (i *azureInstance) runs(now time.Time) bool {
	return (i.Start == nil || !now.Before(*i.Start)) && (i.End == nil || now.Before(*i.End))
}

// outlasts compares ends; none is the latest.
func (i *azureInstance) outlasts(other *azureInstance) bool {
	switch {
	case other == nil || i.End == nil:
		return true
	case other.End == nil:
		return false
	}
	return i.End.After(*other.End)
}

// Check asks for the user's assignments of the role, and takes the one that lasts
// longest of those that count.
func (a *AzurePIM) Check(ctx context.Context, who Subject) (Status, error) {
	role, err := azureSubject(who)
	if err != nil {
		return Status{}, err
	}
	instances, err := graphList[azureInstance](ctx, a, role.path("Instances"), role.filter())
	if err != nil {
		return Status{}, fmt.Errorf("list assignments: %w", err)
	}
	now := a.now()
	var best *azureInstance
	for i := range instances {
		instance := &instances[i]
		if !instance.within(&role) || !instance.runs(now) || !instance.outlasts(best) {
			continue
		}
		counts, err := a.counts(ctx, &role, instance)
		if err != nil {
			return Status{}, err
		}
		if counts {
			best = instance
		}
	}
	return best.status(), nil
}

func (i *azureInstance) status() Status {
	if i == nil {
		return Status{}
	}
	status := Status{Active: true, Evidence: i.ID}
	if i.End != nil {
		status.Until = *i.End
	}
	return status
}

// counts reports whether an assignment that runs is an elevation: one that the user
// activated for a time, one that we filed, or, if configured, any.
func (a *AzurePIM) counts(ctx context.Context, role *azureRole, i *azureInstance) (bool, error) {
	switch {
	case strings.EqualFold(i.AssignmentType, "Activated"):
		return a.standing || i.Start != nil && i.End != nil, nil
	case !strings.EqualFold(i.AssignmentType, "Assigned"):
		return false, fmt.Errorf("%w: an assignment is of the unknown type %s", ErrAnswer, clip(i.AssignmentType))
	case a.standing:
		return true, nil
	case a.adminAssigns && i.Start != nil && i.End != nil:
		return a.filed(ctx, role, i)
	}
	return false, nil
}

// filed reports whether an assignment comes from a request that we filed.
func (a *AzurePIM) filed(ctx context.Context, role *azureRole, i *azureInstance) (bool, error) {
	schedule := cmp.Or(i.RoleScheduleID, i.GroupScheduleID)
	if !graphIDPattern.MatchString(schedule) {
		return false, nil // made elsewhere: those of requests are such ids
	}
	filter := "principalId eq " + odataText(role.user) + " and targetScheduleId eq " + odataText(schedule)
	requests, err := graphList[azureRequest](ctx, a, role.path("Requests"), filter)
	if err != nil {
		return false, fmt.Errorf("list the requests of an assignment: %w", err)
	}
	for i := range requests {
		r := &requests[i]
		if r.TargetScheduleID == schedule && r.within(role) && a.marked(r) {
			return true, nil
		}
	}
	return false, nil
}

func (a *AzurePIM) marked(r *azureRequest) bool {
	return strings.EqualFold(r.Action, "adminAssign") && strings.EqualFold(r.TicketInfo.TicketSystem, a.ticketSystem)
}

// graphList reads a list to its end.
func graphList[T any](ctx context.Context, a *AzurePIM, path, filter string) ([]T, error) {
	first := a.endpoint + path + "?$filter=" + escapeQuery(filter)
	var all []T
	for page, n := first, 0; page != ""; n++ {
		if n == maxPages {
			return nil, fmt.Errorf("%w: the list has more than %d pages", ErrAnswer, maxPages)
		}
		var answer struct {
			Value *[]T   `json:"value"`
			Next  string `json:"@odata.nextLink"`
		}
		if err := a.send(ctx, http.MethodGet, page, nil, &answer); err != nil {
			return nil, err
		}
		if answer.Value == nil {
			return nil, fmt.Errorf("%w: it has no list", ErrAnswer)
		}
		all = append(all, *answer.Value...)
		if answer.Next == "" {
			break
		}
		var err error
		if page, err = sameOrigin(a.endpoint, page, answer.Next); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (a *AzurePIM) send(ctx context.Context, method, address string, body, answer any) error {
	return sendAgain(ctx, a.credential, func(header http.Header) error {
		return a.client.call(ctx, method, address, header, body, answer)
	})
}
