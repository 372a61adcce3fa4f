package xds

import (
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sallyport/sallyport/envoy/extauthz"
)

const (
	// wellKnownPath and what lies below it are the protected-resource metadata
	// of RFC 9728: read before a caller has a token.
	wellKnownPath = "/.well-known/oauth-protected-resource"
	// apiPrefix is Sallyport's own API, which verifies tokens itself.
	apiPrefix = "/api/auth/"
)

// routeConfiguration has one virtual host per authority of the servers and one
// for every other authority. In each, the first matching route wins: the API, the
// servers from the most specific path on, and last a 404 that Check decides and
// records like anything else. A server of "*" serves the authorities that no
// server names.
func routeConfiguration(cfg Config) (*routev3.RouteConfiguration, error) {
	byHost := make(map[string][]Server)
	for _, server := range cfg.Servers {
		for _, host := range server.Hosts {
			host = strings.ToLower(host) // Envoy compares authorities in lower case
			byHost[host] = append(byHost[host], server)
		}
	}
	var hosts []string
	for host := range byHost {
		hosts = append(hosts, host)
	}
	slices.Sort(hosts)

	routes := &routev3.RouteConfiguration{Name: ListenerName}
	for _, host := range hosts {
		virtualHost, err := virtualHost(host, byHost[host], cfg)
		if err != nil {
			return nil, err
		}
		routes.VirtualHosts = append(routes.VirtualHosts, virtualHost)
	}
	if _, covered := byHost["*"]; !covered {
		unknown, err := unknownRoute()
		if err != nil {
			return nil, err
		}
		routes.VirtualHosts = append(routes.VirtualHosts, &routev3.VirtualHost{
			Name: "*", Domains: []string{"*"}, Routes: []*routev3.Route{unknown},
		})
	}
	return routes, nil
}

// domains are the patterns for an authority: without a port it means any port.
func domains(host string) []string {
	if host == "*" || hasPort(host) {
		return []string{host}
	}
	return []string{host, host + ":*"}
}

func hasPort(authority string) bool {
	colon := strings.LastIndexByte(authority, ':')
	return colon >= 0 && !strings.HasSuffix(authority, "]")
}

func virtualHost(host string, servers []Server, cfg Config) (*routev3.VirtualHost, error) {
	routes, err := apiRoutes(cfg)
	if err != nil {
		return nil, err
	}
	for _, server := range bySpecificity(servers) {
		route, err := serverRoute(server, cfg)
		if err != nil {
			return nil, err
		}
		routes = append(routes, route)
	}
	unknown, err := unknownRoute()
	if err != nil {
		return nil, err
	}
	return &routev3.VirtualHost{Name: host, Domains: domains(host), Routes: append(routes, unknown)}, nil
}

// bySpecificity orders exact paths before prefixes and longer before shorter.
func bySpecificity(servers []Server) []Server {
	return slices.SortedStableFunc(slices.Values(servers), func(a, b Server) int {
		if a.PathIsPrefix != b.PathIsPrefix {
			if a.PathIsPrefix {
				return 1
			}
			return -1
		}
		return len(b.Path) - len(a.Path)
	})
}

// apiRoutes lead to Sallyport's HTTP listener without Check: they work without a
// token, or verify it themselves, so the Authorization header stays.
func apiRoutes(cfg Config) ([]*routev3.Route, error) {
	unchecked, err := pack(&extauthzv3.ExtAuthzPerRoute{
		Override: &extauthzv3.ExtAuthzPerRoute_Disabled{Disabled: true},
	})
	if err != nil {
		return nil, err
	}
	route := func(name string, match *routev3.RouteMatch) *routev3.Route {
		return &routev3.Route{
			Name:  name,
			Match: match,
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{
				ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: clusterAPI},
				Timeout:          durationpb.New(cfg.RequestTimeout),
			}},
			TypedPerFilterConfig: map[string]*anypb.Any{extAuthzFilter: unchecked},
		}
	}
	return []*routev3.Route{
		route("well-known", pathPrefix(wellKnownPath)),
		route("api", &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: apiPrefix}}),
	}, nil
}

// serverRoute leads to a server's upstream. It has no retry and no hedge policy:
// filters don't run again for a second attempt, so a write would be executed
// twice under one decision.
func serverRoute(server Server, cfg Config) (*routev3.Route, error) {
	named, err := leadsTo(server.Name)
	if err != nil {
		return nil, err
	}
	action := &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: upstreamCluster(server)},
		// An MCP answer may be a stream that lasts: silence and a tool's timeout
		// end it, nothing else.
		Timeout: durationpb.New(0),
		// In place of the listener's, which a tool's timeout may exceed.
		IdleTimeout: durationpb.New(cfg.StreamIdleTimeout),
	}
	match := &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Path{Path: server.Path}}
	if server.PathIsPrefix {
		match = pathPrefix(server.route())
		action.Timeout = durationpb.New(cfg.RequestTimeout)
	}
	if server.UpstreamHost != "" {
		action.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: server.UpstreamHost}
	}
	return &routev3.Route{
		Name:                   "server " + server.Name,
		Match:                  match,
		Action:                 &routev3.Route_Route{Route: action},
		RequestHeadersToRemove: clientCredentials,
		TypedPerFilterConfig:   named,
	}, nil
}

// leadsTo tells Check which server a route leads to: a decision for another one,
// by a configuration that this Envoy doesn't have, is refused there.
func leadsTo(server string) (map[string]*anypb.Any, error) {
	named, err := pack(&extauthzv3.ExtAuthzPerRoute{
		Override: &extauthzv3.ExtAuthzPerRoute_CheckSettings{CheckSettings: &extauthzv3.CheckSettings{
			ContextExtensions: map[string]string{extauthz.ServerExtension: server},
		}},
	})
	return map[string]*anypb.Any{extAuthzFilter: named}, err
}

// unknownRoute exists so that Check sees what leads nowhere: without any route
// Envoy would answer 404 before its filters.
func unknownRoute() (*routev3.Route, error) {
	nowhere, err := leadsTo(extauthz.NoServer)
	if err != nil {
		return nil, err
	}
	return &routev3.Route{
		Name:  "unknown",
		Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{
			Status: 404,
			Body: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{
				InlineString: "no such route\n",
			}},
		}},
		TypedPerFilterConfig: nowhere,
	}, nil
}

// pathPrefix matches a path and what lies below it, in whole segments.
func pathPrefix(path string) *routev3.RouteMatch {
	if path == "/" {
		return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: path}}
	}
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: path}}
}
