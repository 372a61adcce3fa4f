package xds

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
)

var (
	serverName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	hostName   = regexp.MustCompile(`^([a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?)*$`)
	// plainPath leaves out what Envoy normalises, decodes or refuses: a route
	// with such a path would never match.
	plainPath = regexp.MustCompile(`^/[A-Za-z0-9._~!$&'()*+,;=:@/-]*$`)
)

func (c Config) validateServers() error {
	if len(c.Servers) == 0 {
		return errors.New("servers: none")
	}
	var errs []error
	names := make(map[string]bool)
	routes := make(map[string]string) // host and path → server
	for i, server := range c.Servers {
		label := fmt.Sprintf("servers[%d] %q", i, server.Name)
		if names[server.Name] {
			errs = append(errs, fmt.Errorf("%s: name is taken", label))
		}
		names[server.Name] = true
		errs = append(errs, validateServer(label, server))
		for _, host := range server.Hosts {
			key := strings.ToLower(host) + " " + server.route()
			if other, taken := routes[key]; taken {
				errs = append(errs, fmt.Errorf("%s: path %s at %s already leads to %q", label, server.Path, host, other))
			}
			routes[key] = server.Name
		}
	}
	return errors.Join(errs...)
}

func validateServer(label string, s Server) error {
	var errs []error
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{label}, args...)...))
	}
	if !serverName.MatchString(s.Name) {
		fail("name: must match %s", serverName)
	}
	if len(s.Hosts) == 0 {
		fail("hosts: none")
	}
	for _, host := range s.Hosts {
		if !isAuthority(host) {
			fail("hosts: %q is neither host, host:port nor *", host)
		}
	}
	switch {
	case !plainPath.MatchString(s.Path) || strings.Contains(s.Path, "//") || hasDotSegment(s.Path):
		fail("path: %q is not an absolute, normalised path", s.Path)
	case reserved(s.Path):
		fail("path: %s belongs to Sallyport's own API", s.Path)
	}
	if s.UpstreamHost != "" && (s.UpstreamHost == "*" || !isAuthority(s.UpstreamHost)) {
		fail("upstream_host: %q is neither host nor host:port", s.UpstreamHost)
	}
	errs = append(errs, validateEndpoint(label+": upstream", s.Upstream))
	return errors.Join(errs...)
}

// route is the path without what makes no difference to Envoy.
func (s Server) route() string {
	if trimmed := strings.TrimRight(s.Path, "/"); s.PathIsPrefix && trimmed != "" {
		return trimmed
	}
	return s.Path
}

// reserved reports whether a path is one of those that reach Sallyport's API
// without Check, which a server's own route must never be. The prefix "/" and
// "/api" aren't: the API's routes come first.
func reserved(path string) bool {
	path = strings.TrimSuffix(path, "/") + "/"
	return strings.HasPrefix(path, wellKnownPath+"/") || strings.HasPrefix(path, apiPrefix)
}

func hasDotSegment(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

func isAuthority(text string) bool {
	if text == "*" || hostName.MatchString(text) || isBracketed(text) {
		return true
	}
	host, port, err := net.SplitHostPort(text)
	return err == nil && isPort(port) && (hostName.MatchString(host) || net.ParseIP(host) != nil)
}

// isBracketed reports whether text is an IPv6 literal as an authority has it.
func isBracketed(text string) bool {
	return strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") && net.ParseIP(text[1:len(text)-1]) != nil
}

func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0
}
