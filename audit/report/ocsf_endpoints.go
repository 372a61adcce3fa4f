package report

import (
	"cmp"
	"net"
	"net/netip"
	"strconv"

	"github.com/sallyport/sallyport/audit"
)

// caller is the actor of a decision. The schema wants one also where nobody is
// known.
func caller(e *audit.Event) *ocsfActor {
	p := e.Metadata.Principal
	switch {
	case p == nil:
		return &ocsfActor{User: &ocsfUser{Name: "unknown", TypeID: 0, Type: "Unknown"}}
	case p.Pseudonym != "":
		return &ocsfActor{User: &ocsfUser{UID: p.Pseudonym, TypeID: 0, Type: "Unknown"}}
	}
	user := &ocsfUser{UID: p.ID, Name: cmp.Or(p.Subject, p.Client), TypeID: 1, Type: "User", CredentialUID: p.TokenID}
	if p.Subject == "" {
		user.TypeID, user.Type = 4, "Service"
	}
	if p.Tenant != "" {
		user.Org = &ocsfNamed{UID: p.Tenant}
	}
	actor := &ocsfActor{User: user, AppUID: p.Client}
	if p.Issuer != "" {
		actor.IDP = &ocsfNamed{Name: p.Issuer}
	}
	return actor
}

// source is where a request came from. Where only its network is known, or
// nothing, the schema still wants a name.
func source(e *audit.Event) *ocsfEndpoint {
	address := e.Metadata.ClientAddress
	if ip, err := netip.ParseAddr(address); err == nil {
		return &ocsfEndpoint{IP: ip.String()}
	}
	if _, err := netip.ParsePrefix(address); err == nil {
		return &ocsfEndpoint{Name: address, SubnetUID: address}
	}
	return &ocsfEndpoint{Name: "unknown"}
}

// destination is nil where the request named no host.
func destination(e *audit.Event) *ocsfEndpoint {
	m := &e.Metadata
	if m.Authority == "" {
		return nil
	}
	d := &ocsfEndpoint{Hostname: hostname(m.Authority), SvcName: m.Server}
	if _, port, err := net.SplitHostPort(m.Authority); err == nil {
		d.Port, _ = strconv.Atoi(port) // 0: none that a number says
	}
	return d
}

// hostname is an authority without its port.
func hostname(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		return host
	}
	return authority
}
