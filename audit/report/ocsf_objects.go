package report

import "encoding/json"

const productName = "Sallyport"

// ocsf holds the attributes of the classes that are written, under the names of
// the schema. What a class doesn't have is nil.
type ocsf struct {
	Metadata     ocsfMetadata `json:"metadata"`
	CategoryUID  int          `json:"category_uid"`
	CategoryName string       `json:"category_name"`
	ClassUID     int          `json:"class_uid"`
	ClassName    string       `json:"class_name"`
	ActivityID   int          `json:"activity_id"`
	ActivityName string       `json:"activity_name"`
	TypeUID      int          `json:"type_uid"`
	TypeName     string       `json:"type_name"`
	Time         int64        `json:"time"` // milliseconds since 1970
	SeverityID   int          `json:"severity_id"`
	Severity     string       `json:"severity"`
	Message      string       `json:"message,omitempty"`
	StatusID     *int         `json:"status_id,omitempty"`
	Status       string       `json:"status,omitempty"`
	StatusCode   string       `json:"status_code,omitempty"`
	StatusDetail string       `json:"status_detail,omitempty"`

	// Of the profile security_control.
	ActionID       *int                `json:"action_id,omitempty"`
	Action         string              `json:"action,omitempty"`
	DispositionID  *int                `json:"disposition_id,omitempty"`
	Disposition    string              `json:"disposition,omitempty"`
	IsAlert        *bool               `json:"is_alert,omitempty"`
	Policy         *ocsfPolicy         `json:"policy,omitempty"`
	Authorizations []ocsfAuthorization `json:"authorizations,omitempty"`

	Actor       *ocsfActor    `json:"actor,omitempty"`        // 6003 and 3004
	Source      *ocsfEndpoint `json:"src_endpoint,omitempty"` // this and the next five: 6003
	Destination *ocsfEndpoint `json:"dst_endpoint,omitempty"`
	API         *ocsfAPI      `json:"api,omitempty"`
	Request     *ocsfRequest  `json:"http_request,omitempty"`
	Resources   []ocsfNamed   `json:"resources,omitempty"`
	Entity      *ocsfEntity   `json:"entity,omitempty"`  // 3004
	Comment     string        `json:"comment,omitempty"` // 3004
	App         *ocsfProduct  `json:"app,omitempty"`     // 6002

	Unmapped ocsfUnmapped `json:"unmapped"`
}

type ocsfMetadata struct {
	Version        string      `json:"version"`
	UID            string      `json:"uid"`
	CorrelationUID string      `json:"correlation_uid,omitempty"`
	EventCode      string      `json:"event_code"`
	OriginalTime   string      `json:"original_time"`
	LogName        string      `json:"log_name,omitempty"`
	LogProvider    string      `json:"log_provider"`
	TenantUID      string      `json:"tenant_uid,omitempty"`
	Profiles       []string    `json:"profiles,omitempty"`
	Product        ocsfProduct `json:"product"`
}

type ocsfProduct struct {
	Name       string `json:"name"`
	VendorName string `json:"vendor_name"`
	Version    string `json:"version,omitempty"`
}

type ocsfPolicy struct {
	Name      string `json:"name"`
	UID       string `json:"uid,omitempty"`
	IsApplied *bool  `json:"is_applied,omitempty"`
}

type ocsfAuthorization struct {
	Decision string     `json:"decision"`
	Policy   ocsfPolicy `json:"policy"`
}

type ocsfActor struct {
	User    *ocsfUser  `json:"user,omitempty"`
	AppUID  string     `json:"app_uid,omitempty"`
	AppName string     `json:"app_name,omitempty"`
	IDP     *ocsfNamed `json:"idp,omitempty"`
}

type ocsfUser struct {
	UID           string     `json:"uid,omitempty"`
	Name          string     `json:"name,omitempty"`
	TypeID        int        `json:"type_id"`
	Type          string     `json:"type"`
	CredentialUID string     `json:"credential_uid,omitempty"`
	Org           *ocsfNamed `json:"org,omitempty"`
}

// ocsfNamed is an object of which only names are known: a service, an
// organization, an identity provider, a resource.
type ocsfNamed struct {
	UID    string   `json:"uid,omitempty"`
	Name   string   `json:"name,omitempty"`
	Type   string   `json:"type,omitempty"`
	Labels []string `json:"labels,omitempty"`
}

type ocsfEndpoint struct {
	IP        string `json:"ip,omitempty"`
	Name      string `json:"name,omitempty"`
	Hostname  string `json:"hostname,omitempty"`
	Port      int    `json:"port,omitempty"`
	SubnetUID string `json:"subnet_uid,omitempty"`
	SvcName   string `json:"svc_name,omitempty"`
}

type ocsfAPI struct {
	Operation string     `json:"operation"`
	Service   *ocsfNamed `json:"service,omitempty"`
}

type ocsfRequest struct {
	UID    string   `json:"uid,omitempty"`
	Method string   `json:"http_method"`
	URL    *ocsfURL `json:"url,omitempty"`
}

type ocsfURL struct {
	Hostname string `json:"hostname,omitempty"`
	Path     string `json:"path"`
}

type ocsfEntity struct {
	UID     string          `json:"uid,omitempty"`
	Name    string          `json:"name"`
	Type    string          `json:"type,omitempty"`
	Version string          `json:"version,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// ocsfUnmapped is what the schema has no attribute for: the place of the event in
// its log, by which it can be proven, and digests.
type ocsfUnmapped struct {
	Audit ocsfAudit `json:"audit"`
}

type ocsfAudit struct {
	Origin      string   `json:"origin,omitempty"`
	Seq         *uint64  `json:"seq,omitempty"`
	LeafHash    string   `json:"leaf_hash,omitempty"`
	Action      string   `json:"action,omitempty"`
	Fingerprint string   `json:"fingerprint,omitempty"`
	KeyHash     string   `json:"key_hash,omitempty"`
	KeySource   string   `json:"key_source,omitempty"`
	Shadow      []string `json:"shadow,omitempty"`
	Actor       string   `json:"actor,omitempty"`
	LatencyUS   int64    `json:"latency_us,omitempty"`
}
