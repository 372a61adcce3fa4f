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
		unknown, err := unknownRoutes()
		if err != nil {
			return nil, err
		}
		routes.VirtualHosts = append(routes.VirtualHosts, &routev3.VirtualHost{
			Name: "*", Domains: []string{"*"}, Routes: unknown,
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
		refusal, err := tokenlessRoute(server)
		if err != nil {
			return nil, err
		}
		route, err := serverRoute(server, cfg)
		if err != nil {
			return nil, err
		}
		routes = append(routes, refusal, route)
	}
	unknown, err := unknownRoutes()
	if err != nil {
		return nil, err
	}
	return &routev3.VirtualHost{Name: host, Domains: domains(host), Routes: append(routes, unknown...)}, nil
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

// apiRoutes lead to Sallyport's HTTP listener without Check, and so without an
// exchange: they work without a token, or verify it themselves, so the
// Authorization header stays.
func apiRoutes(cfg Config) ([]*routev3.Route, error) {
	unchecked, err := pack(&extauthzv3.ExtAuthzPerRoute{
		Override: &extauthzv3.ExtAuthzPerRoute_Disabled{Disabled: true},
	})
	if err != nil {
		return nil, err
	}
	noExchange, err := disabled()
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
			TypedPerFilterConfig: map[string]*anypb.Any{extAuthzFilter: unchecked, extProcFilter: noExchange},
		}
	}
	return []*routev3.Route{
		route("well-known", pathPrefix(wellKnownPath)),
		route("api", &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: apiPrefix}}),
	}, nil
}

// tokenlessRoute takes what comes to a server without a token. Check refuses that
// by its headers alone, and so at once: nobody without any token makes Envoy hold
// a body. It leads nowhere: even if Check allowed it, no upstream would get a body
// that Check hasn't seen.
func tokenlessRoute(server Server) (*routev3.Route, error) {
	named, err := endsHere(server.Name)
	if err != nil {
		return nil, err
	}
	match := server.match()
	match.Headers = []*routev3.HeaderMatcher{{
		Name:                 "authorization",
		HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true},
		InvertMatch:          true,
	}}
	return &routev3.Route{
		Name:                 "server " + server.Name + ", no token",
		Match:                match,
		Action:               directResponse(401, "no token\n"),
		TypedPerFilterConfig: named,
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
		// An MCP answer may be a stream that lasts: silence, the timeout that Check
		// sets and the listener's longest duration end it, nothing else.
		Timeout: durationpb.New(0),
		// In place of the listener's, which a tool's timeout may exceed.
		IdleTimeout: durationpb.New(cfg.StreamIdleTimeout),
	}
	if server.PathIsPrefix {
		action.Timeout = durationpb.New(cfg.RequestTimeout)
	}
	if server.UpstreamHost != "" {
		action.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: server.UpstreamHost}
	}
	return &routev3.Route{
		Name:                   "server " + server.Name,
		Match:                  server.match(),
		Action:                 &routev3.Route_Route{Route: action},
		RequestHeadersToRemove: clientCredentials,
		TypedPerFilterConfig:   named,
	}, nil
}

// leadsTo tells Check which server a route leads to: a decision for another one,
// by a configuration that this Envoy doesn't have, is refused there.
func leadsTo(server string) (map[string]*anypb.Any, error) {
	check, err := checkSettings(&extauthzv3.CheckSettings{
		ContextExtensions: map[string]string{extauthz.ServerExtension: server},
	})
	return map[string]*anypb.Any{extAuthzFilter: check}, err
}

// endsHere is for a route that leads to no upstream: Check needn't wait for a body
// that goes nowhere, and there is no exchange.
func endsHere(server string) (map[string]*anypb.Any, error) {
	check, err := checkSettings(&extauthzv3.CheckSettings{
		ContextExtensions:           map[string]string{extauthz.ServerExtension: server},
		DisableRequestBodyBuffering: true,
	})
	if err != nil {
		return nil, err
	}
	noExchange, err := disabled()
	return map[string]*anypb.Any{extAuthzFilter: check, extProcFilter: noExchange}, err
}

func checkSettings(settings *extauthzv3.CheckSettings) (*anypb.Any, error) {
	return pack(&extauthzv3.ExtAuthzPerRoute{
		Override: &extauthzv3.ExtAuthzPerRoute_CheckSettings{CheckSettings: settings},
	})
}

// disabled takes any filter off a route.
func disabled() (*anypb.Any, error) {
	return pack(&routev3.FilterConfig{Disabled: true})
}

// unknownRoutes exist so that Check sees what leads nowhere: without any route
// Envoy would answer 404 before its filters. No body changes that. CONNECT, which
// has no path, needs a route of its own: it would pass the filters, and Check
// isn't asked without a route. With one, Envoy refuses it at once, by 403.
func unknownRoutes() ([]*routev3.Route, error) {
	nowhere, err := endsHere(extauthz.NoServer)
	if err != nil {
		return nil, err
	}
	route := func(name string, match *routev3.RouteMatch) *routev3.Route {
		return &routev3.Route{
			Name: name, Match: match, Action: directResponse(404, "no such route\n"), TypedPerFilterConfig: nowhere,
		}
	}
	return []*routev3.Route{
		route("unknown", pathPrefix("/")),
		route("connect", &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_ConnectMatcher_{
			ConnectMatcher: &routev3.RouteMatch_ConnectMatcher{},
		}}),
	}, nil
}

func directResponse(status uint32, body string) *routev3.Route_DirectResponse {
	return &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{
		Status: status,
		Body:   &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: body}},
	}}
}

func (s Server) match() *routev3.RouteMatch {
	if s.PathIsPrefix {
		return pathPrefix(s.route())
	}
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Path{Path: s.Path}}
}

// pathPrefix matches a path and what lies below it, in whole segments.
func pathPrefix(path string) *routev3.RouteMatch {
	if path == "/" {
		return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: path}}
	}
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: path}}
}
