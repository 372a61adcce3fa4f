package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"
)

// MaxEvent is how many bytes an event may have that Parse reads: the longest line
// that a journal takes, 64 KiB, and room for its place in the log.
const MaxEvent = 66 << 10

// Event is an event as it is read. The public schema, protos/sallyport/audit/v1,
// describes all members; those that have no field here, such as what a log says
// of itself and what later versions add, are in Raw.
type Event struct {
	EventID       string    `json:"event_id"` // UUIDv7
	Timestamp     time.Time `json:"timestamp"`
	EventType     string    `json:"event_type"`     // "decision", "outcome", "denials", "elevation", "operator", "service" or "log"
	CorrelationID string    `json:"correlation_id"` // the proxy's request id
	UserID        string    `json:"user_id"`        // subject or client; a pseudonym where Metadata.Personal is set
	ToolName      string    `json:"tool_name"`
	Action        string    `json:"action"` // MCP or HTTP method; what was done
	Status        string    `json:"status"` // of a decision "allow" or "deny"; of an outcome what became of the request
	Metadata      Metadata  `json:"metadata"`
	Log           string    `json:"log"` // origin of the Merkle log; empty: the event is not sealed yet
	Seq           uint64    `json:"seq"` // place in the log; says nothing where Log is empty

	// Raw is the event byte for byte, without a newline: where Log is set, the
	// leaf of the log.
	Raw []byte `json:"-"`
}

// Metadata is what only some events tell. What doesn't apply is empty.
type Metadata struct {
	// Of a decision; Reason also of denials.
	Reason            string                     `json:"reason"` // a code of docs/reasons.md
	Detail            string                     `json:"detail"` // what the caller was told besides
	Principal         *Principal                 `json:"principal"`
	Personal          string                     `json:"personal"` // who it was, encrypted, in base64
	Server            string                     `json:"server"`
	Target            string                     `json:"target"`      // URI of a resource, name of a prompt, template of a route
	Risk              string                     `json:"risk"`        // of the tool: "read", "write" or "privileged"
	Fingerprint       string                     `json:"fingerprint"` // SHA-256 of the canonical call, hexadecimal
	KeyHash           string                     `json:"key_hash"`    // of the idempotency key, hexadecimal
	KeySource         string                     `json:"key_source"`  // "header", "meta" or "derived"
	PoliciesEvaluated []string                   `json:"policies_evaluated"`
	Shadow            []string                   `json:"shadow"`         // codes of refusals that were only recorded
	ClientAddress     string                     `json:"client_address"` // or its network
	Authority         string                     `json:"authority"`
	LatencyUS         int64                      `json:"latency_us"` // of the decision, microseconds
	Arguments         map[string]json.RawMessage `json:"arguments"`  // those that the catalogue names
	Elevation         *Elevation                 `json:"elevation"`  // what elevated the caller
	ApprovalID        string                     `json:"approval_id"`

	// Of a request for an elevation or approval; besides Principal (who acts), Server,
	// Fingerprint, Why (the reason that was given) and Failed.
	RequestID       string    `json:"request_id"`
	Kind            string    `json:"kind"` // "elevation" or "call"
	DurationSeconds int64     `json:"duration_seconds"`
	Until           time.Time `json:"until"`
	Comment         string    `json:"comment"` // of the approver
	BreakGlass      bool      `json:"break_glass"`
	Provider        string    `json:"provider"`
	ProviderRef     string    `json:"provider_ref"`
	State           string    `json:"state"`     // of the request, after it
	HolderID        string    `json:"holder_id"` // whose elevation is revoked, where there was no request

	// Of an outcome; Source also of denials, as an address.
	DecisionID     string `json:"decision_id"`
	Source         string `json:"source"` // "ext_proc" or "access_log"
	HTTPStatus     int    `json:"http_status"`
	Details        string `json:"details"` // Envoy's response code details
	Flags          string `json:"flags"`   // Envoy's response flags
	BytesIn        int64  `json:"bytes_in"`
	BytesOut       int64  `json:"bytes_out"`
	DurationUS     int64  `json:"duration_us"`
	ResponseDigest string `json:"response_digest"` // SHA-256, hexadecimal

	// Of denials that were counted.
	Count int64     `json:"count"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`

	// Of an operator's act; Failed also of the service's.
	Why     string          `json:"why"`
	Subject json.RawMessage `json:"subject"` // what was changed, as it was
	Failed  string          `json:"failed"`

	// Of the service.
	Version   string `json:"version"`
	Catalogue string `json:"catalogue"` // digest
	Files     string `json:"files"`     // digest of the configuration and of the files it names
	Cause     string `json:"cause"`     // of a reload
}

// Principal is who asked.
type Principal struct {
	ID        string `json:"id"`
	Issuer    string `json:"issuer"`
	Subject   string `json:"subject"`
	Client    string `json:"client"`
	Tenant    string `json:"tenant"`
	Actor     string `json:"actor"` // who acts for the subject
	TokenID   string `json:"token_id"`
	Pseudonym string `json:"pseudonym"` // alone: the rest is encrypted
}

// Elevation is what elevated a caller.
type Elevation struct {
	Source string    `json:"source"` // "claim", "provider", "grant" or "break_glass"
	ID     string    `json:"id"`
	Until  time.Time `json:"until"`
}

// Parse reads one event: a line of the journal or a leaf, with or without its
// newline. It keeps line in Raw and trusts nothing: more than MaxEvent bytes, a
// member that is there twice or could be taken for another, and anything after
// the event are refused. It verifies neither the log nor the seal.
func Parse(line []byte) (*Event, error) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	switch {
	case len(line) > MaxEvent:
		return nil, fmt.Errorf("event: it has more than %d bytes", MaxEvent)
	case !utf8.Valid(line):
		return nil, errors.New("event: it is not UTF-8")
	}
	e := &Event{Raw: line}
	if err := json.Unmarshal(line, e); err != nil { // refuses trailing data, too
		return nil, fmt.Errorf("event: %w", err)
	}
	top, err := checkMembers(line)
	if err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	switch {
	case e.EventID == "" || e.EventType == "" || e.Timestamp.IsZero():
		return nil, errors.New("event: it lacks event_id, timestamp or event_type")
	case top["log"] != top["seq"] || top["log"] && e.Log == "":
		return nil, errors.New("event: log and seq belong together")
	}
	e.Timestamp = e.Timestamp.UTC()
	return e, nil
}

// LeafHash is the hash of the event in its Merkle log (RFC 6962 §2.1).
func (e *Event) LeafHash() [sha256.Size]byte {
	return sha256.Sum256(append([]byte{0}, e.Raw...))
}

// The objects whose members have fixed names.
const (
	inEvent     = "event"
	inMetadata  = "metadata"
	inPrincipal = "principal"
	inElevation = "elevation"
	elsewhere   = ""
)

// within is where a member's value is.
func within(object, name string) string {
	switch {
	case object == inEvent && name == "metadata":
		return inMetadata
	case object == inMetadata && name == "principal":
		return inPrincipal
	case object == inMetadata && name == "elevation":
		return inElevation
	}
	return elsewhere
}

// checkMembers refuses a member that is there twice, anywhere. Where names are
// fixed it also refuses what encoding/json would take for another name, as it
// ignores the case of letters. It returns the names of the event's own members.
// text is valid JSON.
func checkMembers(text []byte) (map[string]bool, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	top := make(map[string]bool)
	_, err := d.Token() // an object's brace: Unmarshal into a struct takes nothing else but null
	if err == nil {
		err = checkObject(d, inEvent, top)
	}
	if errors.Is(err, io.EOF) {
		return nil, errors.New("it is not an object")
	}
	return top, err
}

func checkObject(d *json.Decoder, object string, seen map[string]bool) error {
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string) // all names are
		switch {
		case seen[name]:
			return fmt.Errorf("member %.60q is there twice", name)
		case object != elsewhere && !plain(name):
			return fmt.Errorf("member %.60q is none of an event", name)
		}
		seen[name] = true
		if err := checkValue(d, within(object, name)); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

func checkValue(d *json.Decoder, object string) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		return checkObject(d, object, make(map[string]bool))
	case json.Delim('['):
		for d.More() {
			if err := checkValue(d, elsewhere); err != nil {
				return err
			}
		}
		_, err = d.Token()
	}
	return err
}

// plain reports whether a name is one that only itself is equal to when the case
// of letters is ignored.
func plain(name string) bool {
	for i := range len(name) {
		if c := name[i]; c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
