package authz

import (
	"time"

	"github.com/sallyport/sallyport/authz/catalogue"
	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/authz/operation"
	"github.com/sallyport/sallyport/idempotency"
)

// Request is one request as the proxy asks about it.
type Request struct {
	operation.Request

	ID                string // the proxy's request id, for correlation; may be empty
	Route             string // server that the proxy routed to, where its configuration says so; may be empty
	ClientAddress     string // IP address of the client as the proxy determined it
	ClientCertificate string // URL-encoded PEM of the client's verified certificate; may be empty
	BodyTruncated     bool   // the proxy held back a part of the body
}

// Decision is the answer to one Request: its effect, the reason, and what must
// still happen after an allow.
type Decision struct {
	ID     string // UUIDv7
	Time   time.Time
	Took   time.Duration
	Allow  bool
	Reason *Reason
	Detail string // for the caller; never holds secrets

	// Evaluated names the policies that ran, in order; the last one refused if
	// the effect is a denial. It is shared: read only.
	Evaluated []string
	// Shadow holds the codes of refusals that a shadow mode turned into an allow.
	Shadow []string

	Server    *Server              // nil before the route is known
	Principal *identity.Principal  // nil before authentication
	Operation *operation.Operation // nil before the request was understood
	Refused   *operation.Refusal   // why it was not understood; nil otherwise
	Tool      *catalogue.Tool      // nil where no tool is called
	RPCID     string               // JSON text of the JSON-RPC id, as far as it could be read
	Scopes    []string             // all scopes the operation needs, for the challenge
	RetryIn   time.Duration        // when a refused request may be tried again; 0: not said
	Elevated  Elevation            // what elevates the caller; zero where nothing has to
	Approval  string               // id of the approval that the exchange has to spend; empty: none
	Hint      *ElevationHint       // where to ask for what the elevation or approval policy wants; nil otherwise
	Claim     *Claim               // the key that the exchange has to claim; nil: none
	Lease     time.Duration        // how long what the exchange takes holds without a renewal
	Fault     string               // what went wrong on our side, for the log; never for the caller
}

// ElevationHint is what a caller without elevation or approval is told.
type ElevationHint struct {
	Approval bool          // an approval of this call is wanted, not an elevation
	URL      string        // where it is asked for
	Duration time.Duration // how long an elevation would last; how long an approval waits for its call
	Pending  string        // id of the request that waits for its decision; empty: none
}

// Claim is the obligation to execute a call at most once for its key.
type Claim struct {
	Key       idempotency.Key
	Source    string        // where the key came from: "header", "meta" or "derived"
	ClientKey string        // the client's own key; empty if derived
	TTL       time.Duration // how long the key is remembered
}

// Effect is "allow" or "deny".
func (d *Decision) Effect() string {
	if d.Allow {
		return "allow"
	}
	return "deny"
}

// deny sets the refusal of one policy.
func (d *Decision) deny(policy, cause, detail string) {
	d.Allow = false
	d.Reason = reasonFor(policy, cause)
	d.Detail = detail
}
