package api

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/authz/operation"
	"github.com/sallyport/sallyport/authz/refusal"
	"github.com/sallyport/sallyport/pim"
)

// Access finds out who asks. A decision that isn't nil is a refusal, and recorded.
type Access interface {
	// Inquire is for who asks for an elevation or an approval.
	Inquire(ctx context.Context, q *authz.Inquiry) (*authz.Asked, *authz.Decision)
	// Identify is for everything else.
	Identify(ctx context.Context, req *authz.Request) (*Caller, *authz.Decision)
}

// Caller is who asks, and about what.
type Caller struct {
	Principal *identity.Principal
	Rule      *authz.ElevationRule
	// Accepts reports whether the caller's token is for a server.
	Accepts func(server string) bool
	// MayApprove reports whether the caller decides on requests for a tool.
	MayApprove func(server, tool string) bool
	// MayApproveSome is false for callers who decide on no tool's.
	MayApproveSome func() bool
}

// EngineAccess is the access that an engine gives.
type EngineAccess struct{ Engine *authz.Engine }

// Inquire implements Access.
func (a EngineAccess) Inquire(ctx context.Context, q *authz.Inquiry) (*authz.Asked, *authz.Decision) {
	return a.Engine.Inquire(ctx, q)
}

// Identify implements Access.
func (a EngineAccess) Identify(ctx context.Context, req *authz.Request) (*Caller, *authz.Decision) {
	who, refused := a.Engine.Identify(ctx, req)
	if refused != nil {
		return nil, refused
	}
	return &Caller{Principal: who.Principal, Rule: who.Rule, Accepts: who.Accepts, MayApprove: who.MayApprove, MayApproveSome: who.MayApproveSome}, nil
}

// owns reports whether a request is the caller's, with a token for its server.
func (c *Caller) owns(r *pim.Request) bool {
	return r.Requester.PrincipalID == c.Principal.ID && c.Accepts(r.Server)
}

// sees reports whether the caller may know that a request is there.
func (c *Caller) sees(r *pim.Request) bool { return c.owns(r) || c.MayApprove(r.Server, r.Tool) }

// partyOf is a principal as a party of a request.
func partyOf(p *identity.Principal) pim.Party {
	return pim.Party{
		PrincipalID: p.ID, Issuer: p.IssuerID, IssuerName: p.Issuer,
		Tenant: p.Tenant, Subject: p.Subject, Client: p.Client, Actor: p.Actor, Person: p.Person,
	}
}

// Headers by which the proxy tells what it knows of the client; a client can't set
// them, as the proxy replaces them.
const (
	headerExternalAddress = "X-Envoy-External-Address"
	headerRequestID       = "X-Request-Id"
	headerScheme          = "X-Forwarded-Proto"
)

// requestOf is a request as policies see it.
func requestOf(r *http.Request) authz.Request {
	req := authz.Request{Request: operation.Request{
		Method: r.Method, Scheme: schemeOf(r), Authority: r.Host, Path: r.URL.RequestURI(), Headers: headersOf(r.Header),
	}}
	req.ID = single(r.Header, headerRequestID)
	if req.ClientAddress = single(r.Header, headerExternalAddress); req.ClientAddress == "" {
		req.ClientAddress, _, _ = net.SplitHostPort(r.RemoteAddr)
	}
	return req
}

func headersOf(header http.Header) operation.Headers {
	headers := make(operation.Headers, 0, len(header))
	for name, lines := range header {
		for _, line := range lines {
			headers = append(headers, operation.Header{Name: strings.ToLower(name), Value: line})
		}
	}
	return headers
}

// single is a header that is there once; empty otherwise.
func single(header http.Header, name string) string {
	if lines := header.Values(name); len(lines) == 1 {
		return lines[0]
	}
	return ""
}

// schemeOf is the scheme of the client's side: the connection is the proxy's.
func schemeOf(r *http.Request) string {
	if strings.EqualFold(single(r.Header, headerScheme), "https") {
		return "https"
	}
	return "http"
}

// originOf is where the client reaches this API.
func originOf(r *http.Request) string { return schemeOf(r) + "://" + r.Host }

// refuse answers with a refusal, as a call to a protected REST API would be refused.
func (e *Elevations) refuse(w http.ResponseWriter, r *http.Request, d *authz.Decision) {
	if d.Fault != "" {
		e.log.ErrorContext(r.Context(), "decision failed", "decision_id", d.ID, "request_id", single(r.Header, headerRequestID), "fault", d.Fault)
	}
	said := refusal.Refusal{Reason: d.Reason, Detail: d.Detail, DecisionID: d.ID, RetryIn: d.RetryIn}
	if len(d.Scopes) != 0 {
		said.More = map[string]any{"required_scopes": d.Scopes}
	}
	answer := said.Answer()
	for _, h := range said.Headers(answer) {
		w.Header().Set(h.Name, h.Value)
	}
	if challenge := refusal.Challenge(d, said.Text()); challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(answer.Body)))
	w.WriteHeader(answer.Status)
	_, _ = w.Write([]byte(answer.Body)) // a client that is gone needs no answer
}
