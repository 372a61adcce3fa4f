package authz

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/authz/operation"
)

// Server is one upstream that is protected, and what may be asked of it.
type Server struct {
	Name            string
	Hosts           []string // authorities: "host", "host:port" or "*"
	Path            string   // of the MCP endpoint, exact; of a REST API, a prefix ("/" for all)
	Prefix          bool     // Path is a prefix
	Resource        string   // RFC 9728 resource identifier
	Audiences       []string // accepted in aud; any of them
	Issuers         []string // names of accepted issuers; empty: all
	RequiredScopes  []string // needed for every request, the global ones included
	ScopesSupported []string // published in the metadata
	Operations      *operation.Server

	target identity.Target
}

// MetadataURL is where the server's protected-resource metadata is served: the
// well-known path inserted between the resource's host and path (RFC 9728 §3).
func (s *Server) MetadataURL() string {
	origin, path := s.origin()
	return strings.TrimSuffix(origin+"/.well-known/oauth-protected-resource"+path, "/")
}

// onOrigin completes a URL that is only a path with the server's own origin.
func (s *Server) onOrigin(url string) string {
	if !strings.HasPrefix(url, "/") {
		return url
	}
	origin, _ := s.origin()
	return origin + url
}

// origin cuts the resource identifier into scheme://host and the path.
func (s *Server) origin() (origin, path string) {
	scheme, rest, _ := strings.Cut(s.Resource, "://")
	if slash := strings.IndexByte(rest, '/'); slash >= 0 {
		rest, path = rest[:slash], rest[slash:]
	}
	return scheme + "://" + rest, path
}

// router finds the server of an authority and path. Immutable.
type router struct {
	byHost map[string][]*Server // lower-case authority; longest path first
}

func newRouter(servers []*Server) (*router, error) {
	var errs []error
	r := &router{byHost: make(map[string][]*Server)}
	names := make(map[string]bool)
	for _, s := range servers {
		if names[s.Name] {
			errs = append(errs, fmt.Errorf("server %q: is defined twice", s.Name))
		}
		names[s.Name] = true
		s.target = identity.Target{Audiences: s.Audiences, Issuers: s.Issuers}
		for _, host := range s.Hosts {
			host = strings.ToLower(host)
			for _, other := range r.byHost[host] {
				if other.Path == s.Path {
					errs = append(errs, fmt.Errorf("server %q: %s%s is already served by %q", s.Name, host, s.Path, other.Name))
				}
			}
			r.byHost[host] = append(r.byHost[host], s)
		}
	}
	for _, list := range r.byHost {
		slices.SortStableFunc(list, func(a, b *Server) int { return cmp.Compare(len(b.Path), len(a.Path)) })
	}
	return r, errors.Join(errs...)
}

// find returns nil if no server is configured for the authority and path. The
// most specific authority that is configured decides, as Envoy's virtual hosts
// do: the exact one, the one without its port, then "*".
func (r *router) find(authority, path string) *Server {
	if query := strings.IndexByte(path, '?'); query >= 0 {
		path = path[:query]
	}
	for _, s := range r.at(authority) {
		if s.serves(path) {
			return s
		}
	}
	return nil
}

// at returns the servers of an authority.
func (r *router) at(authority string) []*Server {
	authority = strings.ToLower(authority)
	list, ok := r.byHost[authority]
	if !ok {
		list, ok = r.byHost[withoutPort(authority)]
	}
	if !ok {
		list = r.byHost["*"]
	}
	return list
}

// accepts reports whether a verified token is for this server.
func (s *Server) accepts(p *identity.Principal) bool {
	if len(s.Issuers) != 0 && !slices.Contains(s.Issuers, p.Issuer) {
		return false
	}
	return len(p.Audiences) == 0 || slices.ContainsFunc(p.Audiences, func(a string) bool { return slices.Contains(s.Audiences, a) })
}

// withoutPort keeps the brackets of an IPv6 address. A colon without a port
// stays: Envoy finds no virtual host for it either.
func withoutPort(authority string) string {
	colon := strings.LastIndexByte(authority, ':')
	if colon > strings.LastIndexByte(authority, ']') && colon < len(authority)-1 {
		return authority[:colon]
	}
	return authority
}

// serves compares whole path segments, so that /api doesn't serve /apis.
func (s *Server) serves(path string) bool {
	if !s.Prefix {
		return path == s.Path
	}
	prefix := strings.TrimSuffix(s.Path, "/")
	return strings.HasPrefix(path, prefix) && (len(path) == len(prefix) || path[len(prefix)] == '/')
}
