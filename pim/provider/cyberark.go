package provider

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// CyberArkConfig is one of the CyberArk products that know who is elevated. What an
// answer has is that of a vendor whose field names differ between versions: a field
// that isn't there makes an error, never an elevation.
type CyberArkConfig struct {
	// Product is pvwa (dual control of the Vault), uar (Access Requests) or sca (Secure
	// Cloud Access).
	Product  string
	Endpoint string // such as https://pvwa.example.com, without a path
	CAFile   string // PEM, the only roots that are trusted; empty: the system's
	// Credential is a logon for pvwa, OAuth client credentials for the others, or a
	// bearer token.
	Credential CredentialConfig
	// OwnUser, of pvwa and uar, is the name there of the user of Credential. These take
	// a request for the one who calls and show it to nobody but its approvers. With
	// OwnUser, only that user is asked about and files requests. Without, users file
	// their own there, and the user of Credential must be an approver of them.
	OwnUser string

	UAR CyberArkUAR
	SCA CyberArkSCA
}

// CyberArkUAR is the tenant's form of requests. A role is the id of a role, a workspace
// and an organization with | between them.
type CyberArkUAR struct {
	TargetCategory string // default CLOUD_CONSOLE
	RequestType    string // ON_DEMAND (default) or DUAL_CONTROL
	LocationType   string // default Azure
	RoleField      string // of requestDetails, default roleId
}

// CyberArkSCA says where a session has what; see one of the tenant's own.
type CyberArkSCA struct {
	RoleField     string // required
	EndField      string // required: RFC 3339 or Unix seconds
	EvidenceField string // empty: none
	Cloud         string // AWS, AZURE or GCP; empty: all
}

// NewCyberArk makes the provider for one of the products. A role is an account's id
// (pvwa), see CyberArkUAR, or what RoleField has (sca).
func NewCyberArk(cfg *CyberArkConfig, now func() time.Time) (*Template, error) {
	template, err := cyberArkTemplate(cfg)
	if err != nil {
		return nil, fmt.Errorf("provider cyberark: %w", err)
	}
	template.Name, template.Endpoint = "cyberark", cfg.Endpoint
	template.CAFile, template.Credential = cfg.CAFile, cfg.Credential
	return NewTemplate(template, now)
}

func cyberArkTemplate(cfg *CyberArkConfig) (*TemplateConfig, error) {
	switch cfg.Product {
	case "pvwa":
		return pvwaTemplate(cfg), nil
	case "uar":
		return uarTemplate(cfg)
	case "sca":
		return scaTemplate(cfg)
	}
	return nil, fmt.Errorf("product: %s is none of pvwa, uar, sca", clip(cfg.Product))
}

// pvwaTemplate asks the Vault. Its numbers of a status aren't documented, so requests
// are judged by what is left to confirm and by their time. One without a time frame
// doesn't elevate.
func pvwaTemplate(cfg *CyberArkConfig) *TemplateConfig {
	runs := []Predicate{
		{Path: "InvalidRequestReason", Op: OpEmpty},
		{Path: "ConfirmationsLeft", Op: OpEqual, Value: "0"},
		{Path: "AccessFrom", Op: OpPast, Missing: MissingFails},
		{Path: "AccessTo", Op: OpFuture, Missing: MissingFails},
	}
	mine := []Predicate{
		{Path: "RequestorUserName", Op: OpEqual, Value: "{user}", FoldCase: true},
		{Path: "AccountDetails.AccountID", Op: OpEqual, Value: "{role}"},
	}
	list := "IncomingRequests"
	if cfg.OwnUser != "" {
		list = "MyRequests"
	}
	t := &TemplateConfig{
		OnlyUser: cfg.OwnUser,
		Check: CheckTemplate{
			TemplateCall: TemplateCall{URL: "/PasswordVault/API/" + list + "?onlywaiting=false&expired=false"},
			Items:        []string{list, "Requests"}, When: append(mine, runs...), Until: "AccessTo", Evidence: "RequestID",
		},
	}
	if cfg.OwnUser == "" {
		return t
	}
	states := FiledTemplate{Ref: "RequestID", Until: "AccessTo", Rules: []StateRule{
		{FiledActive, runs},
		{FiledDenied, []Predicate{{Path: "InvalidRequestReason", Op: OpFilled}}},
		{FiledExpired, []Predicate{{Path: "AccessTo", Op: OpPast, Missing: MissingFails}}},
		{FiledPending, []Predicate{{Path: "ConfirmationsLeft", Op: OpExists}}},
	}}
	file, poll := states, states
	file.TemplateCall = TemplateCall{
		Method: "POST", URL: "/PasswordVault/API/MyRequests",
		Body: `{"accountId":"{role}","reason":"{reason}","MultipleAccessRequired":true,"FromDate":{from},"ToDate":{to}}`,
	}
	poll.TemplateCall = TemplateCall{URL: "/PasswordVault/API/MyRequests/{ref}", SlashAfterDot: true}
	t.File, t.Poll = &file, &poll
	return t
}

// uarTemplate asks Access Requests.
func uarTemplate(cfg *CyberArkConfig) (*TemplateConfig, error) {
	kind, role, end := cmp.Or(cfg.UAR.RequestType, "ON_DEMAND"), "requestDetails."+cmp.Or(cfg.UAR.RoleField, "roleId"), "requestDate"
	switch kind {
	case "ON_DEMAND":
	case "DUAL_CONTROL":
		end = "requestEndDate"
	default:
		return nil, fmt.Errorf("uar.request_type: %s is none of ON_DEMAND, DUAL_CONTROL", clip(kind))
	}
	from := "requestDetails.requestDate,requestDetails.timeFrom,requestDetails.timezone"
	to := "requestDetails." + end + ",requestDetails.timeTo,requestDetails.timezone"
	finished := []Predicate{
		{Path: "requestState", Op: OpEqual, Value: "FINISHED", FoldCase: true},
		{Path: "requestResult", Op: OpEqual, Value: "APPROVED", FoldCase: true},
	}
	runs := append(append([]Predicate{}, finished...), Predicate{Path: from, Op: OpPast}, Predicate{Path: to, Op: OpFuture})
	mine := []Predicate{
		{Path: "createdBy", Op: OpEqual, Value: "{user}", FoldCase: true},
		{Path: role, Op: OpEqual, Value: "{role_id}", FoldCase: true},
		{Path: "requestDetails.workspaceId", Op: OpEqual, Value: "{workspace_id}", FoldCase: true},
		{Path: "requestDetails.orgId", Op: OpEqual, Value: "{org_id}", FoldCase: true},
	}
	as := "APPROVER"
	if cfg.OwnUser != "" {
		as = "CREATOR"
	}
	t := &TemplateConfig{
		RoleParts: []string{"role_id", "workspace_id", "org_id"}, OnlyUser: cfg.OwnUser, SameDay: kind == "ON_DEMAND",
		Check: CheckTemplate{
			TemplateCall: TemplateCall{URL: "/api/workflows/requests?filter=((requestResult eq APPROVED) and (createdBy eq '{user}'))&requestRole=" + as + "&limit=50"},
			Paging:       Paging{Offset: true, Total: "totalCount", Parameter: "offset"},
			Items:        []string{"items"}, When: append(mine, runs...), Until: to, Evidence: "requestId",
		},
	}
	if cfg.OwnUser != "" {
		t.File, t.Poll = uarRequests(&cfg.UAR, kind, to, runs, finished)
	}
	return t, nil
}

func uarRequests(form *CyberArkUAR, kind, to string, runs, finished []Predicate) (file, poll *FiledTemplate) {
	state := func(is string) []Predicate {
		return []Predicate{{Path: "requestState", Op: OpEqual, Value: is, FoldCase: true}}
	}
	states := FiledTemplate{
		Ref: "requestId",
		Rules: []StateRule{
			{FiledExpired, state("EXPIRED")},
			{FiledPending, state("STARTING")}, {FiledPending, state("RUNNING")}, {FiledPending, state("PENDING")},
			{FiledActive, runs},
			{FiledExpired, append(append([]Predicate{}, finished...), Predicate{Path: to, Op: OpPast})},
			{FiledPending, finished}, // approved, and not begun
		},
		State: []string{"requestState", "requestResult"},
		States: map[string]FiledState{
			"FINISHED/REJECTED": FiledDenied, "FINISHED/CANCELED": FiledCancelled, "FINISHED/FAILED": FiledFailed,
		},
	}
	filing, polling := states, states
	polling.Until = to
	endDate := ""
	if kind == "DUAL_CONTROL" {
		endDate = `"requestEndDate":"{to_date}",`
	}
	filing.TemplateCall = TemplateCall{Method: "POST", URL: "/api/workflows/requests", Body: fmt.Sprintf(
		`{"targetCategory":%q,"requestType":%q,"requestDetails":{"locationType":%q,%q:"{role_id}","workspaceId":"{workspace_id}","orgId":"{org_id}",`+
			`"reason":"{reason}","priority":"Medium","timezone":"{timezone}","requestDate":"{from_date}","timeFrom":"{from_clock}",%s"timeTo":"{to_clock}"}}`,
		cmp.Or(form.TargetCategory, "CLOUD_CONSOLE"), kind, cmp.Or(form.LocationType, "Azure"), cmp.Or(form.RoleField, "roleId"), endDate)}
	polling.TemplateCall = TemplateCall{URL: "/api/workflows/requests/{ref}"}
	return &filing, &polling
}

// scaTemplate looks at the sessions that run. Elevation there is for the caller only
// and comes with credentials, so none is filed.
func scaTemplate(cfg *CyberArkConfig) (*TemplateConfig, error) {
	address := "/api/access/users/{user}/sessions?limit=50"
	switch cfg.SCA.Cloud {
	case "":
	case "AWS", "AZURE", "GCP":
		address += "&csp=" + cfg.SCA.Cloud
	default:
		return nil, fmt.Errorf("sca.cloud: %s is none of AWS, AZURE, GCP", clip(cfg.SCA.Cloud))
	}
	switch {
	case cfg.SCA.RoleField == "":
		return nil, errors.New("sca.role_field: is missing")
	case cfg.SCA.EndField == "":
		return nil, errors.New("sca.end_field: is missing")
	case cfg.OwnUser != "":
		return nil, errors.New("own_user: does nothing with the product sca")
	}
	return &TemplateConfig{
		NotUsers: []string{"my"}, // which means the caller
		Check: CheckTemplate{
			TemplateCall: TemplateCall{URL: address},
			Paging:       Paging{Token: "nextToken", Parameter: "nextToken"},
			Items:        []string{"response"},
			When: []Predicate{
				{Path: cfg.SCA.RoleField, Op: OpEqual, Value: "{role}"},
				{Path: cfg.SCA.EndField, Op: OpFuture},
			},
			Until: cfg.SCA.EndField, Evidence: cfg.SCA.EvidenceField,
		},
	}, nil
}
