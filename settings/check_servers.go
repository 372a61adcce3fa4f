package settings

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	hostPattern = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?)*$`)
	// pathPattern leaves out what Envoy decodes or normalises, because such a
	// route would never match, and *, because it stands for itself only.
	pathPattern = regexp.MustCompile(`^/[A-Za-z0-9._~!$&'()+,;=:@/-]*$`)

	methodPattern  = regexp.MustCompile(`^[A-Za-z0-9_.$-]+(/[A-Za-z0-9_.$-]+)*(/\*)?$`)
	patternPattern = regexp.MustCompile(`^[^*]+\*?$|^\*$`)
	hostEndPattern = regexp.MustCompile(`^[^/]+://[^/*]+\*$`)
	originPattern  = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://[^/?#@*A-Z]+$`)
)

func (r *report) checkServers(cfg *Config) {
	if len(cfg.Servers) == 0 {
		r.refuse("servers", "is missing: list the servers that are protected")
	}
	var issuers []string
	for i := range cfg.Issuers {
		if name := cfg.Issuers[i].Name; name != "" {
			issuers = append(issuers, name)
		}
	}
	names, resources, routes := make(map[string]string), make(map[string]string), make(map[string]string)
	for i := range cfg.Servers {
		s, path := &cfg.Servers[i], fmt.Sprintf("servers[%d]", i)
		r.name(path+".name", s.Name, names)
		r.checkRouting(path, s, routes)
		r.checkResource(path+".resource", s, cfg.Development(), resources)
		r.unique(path+".audiences", s.Audiences)
		r.unique(path+".issuers", s.Issuers)
		for j, name := range s.Issuers {
			if len(issuers) > 0 && name != "" {
				r.oneOf(fmt.Sprintf("%s.issuers[%d]", path, j), name, issuers...)
			}
		}
		r.scopes(path+".required_scopes", s.RequiredScopes)
		r.scopes(path+".scopes_supported", s.ScopesSupported)
		r.checkUpstream(path+".upstream", &s.Upstream)
		switch {
		case s.MCP == nil && s.REST == nil:
			r.refuse(path, "needs mcp or rest: write `mcp: {}` for an MCP server with the defaults")
		case s.MCP != nil && s.REST != nil:
			r.refuse(path+".rest", "conflicts with mcp: a server is one of them; make two servers with different paths")
		case s.MCP != nil:
			r.checkMCP(path+".mcp", s.MCP)
		default:
			r.checkREST(path+".rest", s.REST)
		}
	}
	r.checkIsolation(cfg)
	for i := range cfg.Issuers {
		name := cfg.Issuers[i].Name
		used := slices.ContainsFunc(cfg.Servers, func(s Server) bool { return len(s.Issuers) == 0 || slices.Contains(s.Issuers, name) })
		if name != "" && !used {
			r.warn(fmt.Sprintf("issuers[%d]", i), "no server accepts the tokens of %q: name it in a server's issuers, or remove it", clip(name))
		}
	}
}

// checkIsolation warns where a token for one server opens another: by an audience
// that they share, or because an issuer's tokens have none.
func (r *report) checkIsolation(cfg *Config) {
	shared := make(map[string]string)
	for i := range cfg.Servers {
		s, path := &cfg.Servers[i], fmt.Sprintf("servers[%d]", i)
		for _, audience := range s.Audiences {
			if first, ok := shared[audience]; ok && first != path {
				r.warn(path, "shares the audience %s with %s, so that a token for one opens the other: give them audiences of their own, or required_scopes that differ", clip(audience), first)
			}
			shared[audience] = path
		}
	}
	for i := range cfg.Issuers {
		issuer := &cfg.Issuers[i]
		if issuer.Preset == "cognito" && issuer.RequireScopePrefix == "" && len(cfg.Servers) > 1 {
			r.warn(fmt.Sprintf("issuers[%d]", i), "has no require_scope_prefix, and its tokens name no audience: a token for one server opens every server that accepts it; set required_scopes on each")
		}
	}
}

// checkRouting checks which requests lead to the server, and that they lead to
// no other one.
func (r *report) checkRouting(path string, s *Server, routes map[string]string) {
	if len(s.Hosts) == 0 {
		r.refuse(path+".hosts", "is missing: list the authorities that clients use, or \"*\" for any other")
	}
	r.unique(path+".hosts", s.Hosts)
	for i, host := range s.Hosts {
		if host != "" && !isAuthority(host) {
			r.refuse(fmt.Sprintf("%s.hosts[%d]", path, i), "must be host, host:port or \"*\", without scheme and path, not %q", clip(host))
		}
	}
	switch {
	case s.Path == "":
		r.refuse(path+".path", "is missing: write the path of the MCP endpoint, or the prefix of the API (/ for all)")
		return
	case !isPlainPath(s.Path):
		r.refuse(path+".path", "must be an absolute path without empty or dot segments, %%, * and query, not %q", clip(s.Path))
		return
	case isReserved(s.Path):
		r.refuse(path+".path", "%s belongs to Sallyport's own API: choose another path", clip(s.Path))
		return
	}
	for i, host := range s.Hosts {
		key := strings.ToLower(host) + " " + s.Path
		if s.REST != nil { // as a prefix, /api and /api/ are the same
			key = strings.TrimSuffix(key, "/")
		}
		if first, taken := routes[key]; taken && first != path {
			r.refuse(fmt.Sprintf("%s.hosts[%d]", path, i), "%s with the path %s already leads to %s", clip(host), clip(s.Path), first)
		}
		routes[key] = path
	}
}

// isReserved reports whether Envoy sends the path to Sallyport's own API, without
// a check.
func isReserved(path string) bool {
	path = strings.TrimSuffix(path, "/") + "/"
	return strings.HasPrefix(path, "/.well-known/oauth-protected-resource/") || strings.HasPrefix(path, "/api/auth/")
}

func isPlainPath(path string) bool {
	if !pathPattern.MatchString(path) || strings.Contains(path, "//") {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

func isAuthority(text string) bool {
	if text == "*" || hostPattern.MatchString(text) || isBracketed(text) {
		return true
	}
	host, port, err := net.SplitHostPort(text)
	return err == nil && isPort(port) && (hostPattern.MatchString(host) || isBracketed("["+host+"]"))
}

// isBracketed reports whether text is an IPv6 address as an authority has it.
func isBracketed(text string) bool {
	inner, ok := strings.CutPrefix(text, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	address, err := netip.ParseAddr(inner)
	return ok && closed && err == nil && address.Is6() && address.Zone() == ""
}

func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0
}

// checkResource checks the resource identifier (RFC 9728 §1.2). The metadata is
// found at its host and path, and a client compares it with the URL that it uses.
func (r *report) checkResource(path string, s *Server, development bool, taken map[string]string) {
	if s.Resource == "" {
		r.refuse(path, "is missing: write the URL that clients use for this server")
		return
	}
	u := r.url(path, s.Resource, "the https URL that clients use for this server", development)
	if u == nil {
		return
	}
	key := strings.ToLower(u.Host) + strings.TrimSuffix(u.Path, "/")
	if first, ok := taken[key]; ok {
		r.refuse(path, "is already the resource of %s: a token for one server must not open the other", first)
	}
	taken[key] = parent(path)
	if u.RawQuery != "" || u.ForceQuery {
		r.refuse(path, "has a query, and metadata is found by host and path: remove it")
	}
	if !leadsTo(s.Hosts, u) {
		r.warn(path, "its host %s is none of the server's hosts, so that clients can't find its metadata", clip(u.Host))
	}
}

func leadsTo(hosts []string, u *url.URL) bool {
	return slices.ContainsFunc(hosts, func(host string) bool {
		return host == "*" || strings.EqualFold(host, u.Host) || strings.EqualFold(host, u.Hostname())
	})
}

func (r *report) checkUpstream(path string, u *Upstream) {
	if u.Address == "" {
		r.refuse(path+".address", "is missing: write host:port, as Envoy reaches the server")
		return
	}
	host, port, err := net.SplitHostPort(u.Address)
	_, notIP := netip.ParseAddr(host)
	if err != nil || !isPort(port) || !hostPattern.MatchString(host) && notIP != nil {
		r.refuse(path+".address", "must be host:port without scheme and path, not %q", clip(u.Address))
		return
	}
	if u.TLS && u.CAFile == "" {
		r.refuse(path+".ca_file", "is missing: name the authorities that Envoy accepts; for a public certificate the system's, such as /etc/ssl/certs/ca-certificates.crt")
	}
	if !u.TLS {
		if u.CAFile != "" {
			r.refuse(path+".ca_file", "needs `tls: true`, or remove it")
		}
		if u.SNI != "" {
			r.refuse(path+".sni", "needs `tls: true`, or remove it")
		}
		return
	}
	if u.SNI == "" { // else the host's name was filled in
		r.refuse(path+".sni", "is missing: the address is an IP address, so write the name in the server's certificate")
	} else if !hostPattern.MatchString(u.SNI) {
		r.refuse(path+".sni", "must be a host name, not %q", clip(u.SNI))
	}
}

func (r *report) checkMCP(path string, m *MCP) {
	r.each(path+".methods", m.Methods, methodPattern, "a method such as tools/call, or a beginning and /*")
	if len(m.Methods) == 0 {
		r.refuse(path+".methods", "is empty, so that every request would be refused: list methods, or remove the key for the defaults")
	}
	for i, method := range m.Methods {
		if method == "GET" || method == "DELETE" || method == "response" {
			r.refuse(fmt.Sprintf("%s.methods[%d]", path, i), "%s is no method of JSON-RPC: remove it; the revisions that know it always have it", method)
		}
	}
	r.each(path+".resources", m.Resources, patternPattern, "a URI, or a beginning and * at the end")
	for i, uri := range m.Resources {
		if hostEndPattern.MatchString(uri) {
			r.refuse(fmt.Sprintf("%s.resources[%d]", path, i), "ends inside the host, so that * would stand for other hosts, too: write a / before it")
		}
	}
	r.each(path+".prompts", m.Prompts, patternPattern, "a name, or a beginning and * at the end")
	r.each(path+".origins", m.Origins, originPattern, "scheme://host or scheme://host:port in lower case")
	r.unique(path+".versions", m.Versions)
	for i, version := range m.Versions {
		r.oneOf(fmt.Sprintf("%s.versions[%d]", path, i), version, protocolVersions()...)
	}
}
