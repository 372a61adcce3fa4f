package authz

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/authz/catalogue"
	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/authz/operation"
)

// The requests that Sallyport answers itself, about elevations, are decided here:
// who asks, and about what. Of their decisions only the denials are recorded; what is
// done is recorded by whoever does it.

// Inquiry asks for the right to call a tool: for a time, or for one exact call.
type Inquiry struct {
	Request // of the asking: its credentials, authority, method and path

	Server    string // empty: the one of this authority that has the tool
	Tool      string
	Arguments string             // the exact call to an MCP server, one JSON object; empty: none
	Call      *operation.Request // the exact call to a REST API; nil: none
}

// Asked is an inquiry that makes sense.
type Asked struct {
	Principal   *identity.Principal
	Server      *Server
	Tool        *catalogue.Tool
	Exact       bool     // an approval of one call is asked for, not an elevation
	Fingerprint [32]byte // of the call
	Rule        *ElevationRule
	User, Role  string // as the external provider knows them; see Holder
}

// Inquire finds out who asks for what. A decision is the refusal; it is recorded.
func (e *Engine) Inquire(ctx context.Context, q *Inquiry) (*Asked, *Decision) {
	var asked *Asked
	refused := e.attend(ctx, &q.Request, func(ev *evaluation, servers []*Server) bool {
		d := ev.decision
		if !ev.lookUp(servers, q.Server, q.Tool) || !checkScopes(ctx, ev) && !ev.shadowed("scopes") {
			return false
		}
		exact := q.Arguments != "" || q.Call != nil
		if exact && !ev.readCall(q) {
			return false
		}
		h := ev.holder()
		asked = &Asked{
			Principal: d.Principal, Server: d.Server, Tool: d.Tool, Exact: exact,
			Rule: &ev.snapshot.Elevation, User: h.User, Role: h.Role,
		}
		if exact {
			asked.Fingerprint = d.Operation.Fingerprint
		}
		return true
	})
	return asked, refused
}

// Identified is a caller of Sallyport's own API.
type Identified struct {
	Principal *identity.Principal
	Rule      *ElevationRule

	servers   []*Server
	catalogue *catalogue.Catalogue
}

// Identify finds out who asks, with a token for any server of the authority. A
// decision is the refusal; it is recorded.
func (e *Engine) Identify(ctx context.Context, req *Request) (*Identified, *Decision) {
	var who *Identified
	refused := e.attend(ctx, req, func(ev *evaluation, servers []*Server) bool {
		who = &Identified{
			Principal: ev.decision.Principal, Rule: &ev.snapshot.Elevation,
			servers: servers, catalogue: ev.snapshot.Catalogue,
		}
		return true
	})
	return who, refused
}

// Accepts reports whether the caller's token is for a server.
func (i *Identified) Accepts(server string) bool {
	return slices.ContainsFunc(i.servers, func(s *Server) bool { return s.Name == server })
}

// MayApprove reports whether the caller approves requests for a tool: with a token
// for its server and a role for it.
func (i *Identified) MayApprove(server, tool string) bool {
	t, ok := i.catalogue.Tool(server, tool)
	return ok && i.Accepts(server) && i.Rule.MayApprove(i.Principal, t)
}

// MayApproveSome is false for callers who approve for no tool at all.
func (i *Identified) MayApproveSome() bool {
	return slices.ContainsFunc(i.catalogue.Tools(), func(t *catalogue.Tool) bool { return i.Rule.MayApprove(i.Principal, t) })
}

// attend authenticates a request to Sallyport itself and lets more decide. servers
// are those of the authority that the token is for.
func (e *Engine) attend(ctx context.Context, req *Request, more func(ev *evaluation, servers []*Server) bool) *Decision {
	start := e.now()
	d := &Decision{ID: audit.NewID(start), Time: start}
	func() {
		defer d.recovered()
		snap := e.current.Load()
		if snap == nil {
			d.deny("internal", "starting", "Try again in a moment.")
			return
		}
		ev := &evaluation{engine: e, snapshot: snap, request: req, decision: d}
		path, _, _ := strings.Cut(req.Path, "?")
		d.Operation = &operation.Operation{Kind: operation.REST, Method: req.Method, Target: path}
		servers, ok := ev.caller(ctx)
		d.Allow = ok && more(ev, servers)
	}()
	if d.Allow {
		return nil
	}
	d.Took = e.now().Sub(start)
	if err := e.record(req, d); err != nil {
		d.deny("audit", "unavailable", "Try again later.")
		d.Fault = err.Error()
	}
	return d
}

// caller verifies who asks, and finds the servers that the token is for.
func (ev *evaluation) caller(ctx context.Context) (servers []*Server, ok bool) {
	d := ev.decision
	all := ev.snapshot.router.at(ev.request.Authority)
	if len(all) == 0 {
		d.deny("route", "unknown", "Check the URL: nothing is served at this authority.")
		return nil, false
	}
	d.Server = all[0] // whose metadata a challenge names
	var target identity.Target
	for _, s := range all {
		target.Audiences = append(target.Audiences, s.Audiences...)
	}
	if !ev.authenticate(ctx, &target) || !checkRevocation(ctx, ev) || !ev.limited() {
		return nil, false
	}
	for _, s := range all {
		if s.accepts(d.Principal) {
			servers = append(servers, s)
		}
	}
	if len(servers) == 0 {
		d.deny("authentication", identity.UnknownIssuer, "No server here accepts tokens of this issuer.")
		return nil, false
	}
	d.Server = servers[0]
	return servers, true
}

// limited takes from the caller's allowance for this API. Asking has a small one, and
// looking, deciding and revoking one each that asking can't use up.
func (ev *evaluation) limited() bool {
	key, rate := LimitKey{Principal: ev.decision.Principal.ID}, ev.snapshot.Tiers.Standard
	switch target := ev.decision.Operation.Target; {
	case ev.request.Method == "GET":
		key.Tool = "elevations"
	case strings.HasSuffix(target, "/elevate"):
		key.Tool, rate = "elevate", ev.snapshot.Tiers.Strict
	default:
		key.Tool = "decide"
	}
	return ev.allowed(key, rate)
}

// lookUp finds the tool that is asked about.
func (ev *evaluation) lookUp(servers []*Server, server, tool string) bool {
	d := ev.decision
	var found []*Server
	for _, s := range servers {
		if _, ok := ev.snapshot.Catalogue.Tool(s.Name, tool); ok && (server == "" || server == s.Name) {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		d.deny("operation", "unknown_tool", "Unknown tool: "+tool)
		return false
	case 1:
	default:
		d.deny("operation", operation.CauseBadArguments, "Several servers have this tool: say which with server.")
		return false
	}
	d.Server = found[0]
	d.Tool, _ = ev.snapshot.Catalogue.Tool(d.Server.Name, tool)
	d.Operation.Tool = tool
	return true
}

// readCall reads the exact call, as the call itself will be read.
func (ev *evaluation) readCall(q *Inquiry) bool {
	d := ev.decision
	var op *operation.Operation
	var err error
	switch isMCP := d.Server.Operations.Kind() == operation.MCP; {
	case isMCP == (q.Call != nil):
		d.deny("operation", operation.CauseBadArguments, "A call to an MCP server is asked for by its arguments, one to a REST API by its request.")
		return false
	case isMCP:
		op, err = d.Server.Operations.ToolCall(d.Tool.Name, q.Arguments)
	default:
		op, err = d.Server.Operations.Parse(q.Call)
	}
	var refusal *operation.Refusal
	switch {
	case errors.As(err, &refusal):
		d.deny("operation", refusal.Cause, refusal.Detail)
		return false
	case err != nil:
		d.deny("internal", "error", "")
		d.Fault = err.Error()
		return false
	case op.Tool != d.Tool.Name:
		d.deny("operation", "unknown_tool", "The call is one of another tool.")
		return false
	}
	if err := d.Tool.ValidateArguments(op.Arguments); err != nil {
		d.deny("schema", "arguments", err.Error())
		return false
	}
	d.Operation.Fingerprint = op.Fingerprint
	return true
}
