package xds

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// ListenerName names the only listener, for Envoy's admin interface and stats.
const ListenerName = "ingress"

const (
	// connectionBuffer is the flow-control limit of a connection. Request bodies
	// may be longer: ext_authz raises the limit of the streams that it buffers.
	connectionBuffer = 64 << 10
	// headerKiB leaves room for a token of 16 KiB beside everything else.
	headerKiB = 64
	// headersTimeout ends connections that dribble their headers.
	headersTimeout = 10 * time.Second
	// idleConnection ends connections without any stream.
	idleConnection = 5 * time.Minute
	// maxStreams is the number of requests that an HTTP/2 connection may have at
	// a time. An MCP client has one event stream and a few calls; one that serves
	// many users opens further connections, as common clients do by themselves.
	// RFC 9113 §6.5.2 advises 100, but each stream may hold a body.
	maxStreams = 32
)

func listener(cfg Config) (*listenerv3.Listener, error) {
	manager, err := connectionManager(cfg)
	if err != nil {
		return nil, err
	}
	packed, err := pack(manager)
	if err != nil {
		return nil, err
	}
	chain := &listenerv3.FilterChain{Filters: []*listenerv3.Filter{{
		Name:       "envoy.filters.network.http_connection_manager",
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed},
	}}}
	if cfg.TLS.enabled() {
		if chain.TransportSocket, err = downstreamTLS(cfg.TLS); err != nil {
			return nil, err
		}
	}
	return &listenerv3.Listener{
		Name:                          ListenerName,
		SocketOptions:                 []*corev3.SocketOption{userTimeout()},
		Address:                       socketAddress(cfg.Listen),
		FilterChains:                  []*listenerv3.FilterChain{chain},
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(connectionBuffer),
	}, nil
}

// readTimeout ends connections whose peer takes nothing of what was sent to it. An
// answer that nobody reads is in memory as long as its connection, and HTTP/1.1
// has no stream that the overload manager could reset.
const readTimeout = 20 * time.Second

// userTimeout is TCP_USER_TIMEOUT (RFC 5482; tcp(7)), which connections have from
// their listener. It counts for peers with a closed window too.
func userTimeout() *corev3.SocketOption {
	const ipprotoTCP, tcpUserTimeout = 6, 18 // of Linux
	return &corev3.SocketOption{
		Description: "end connections whose peer reads nothing", Level: ipprotoTCP, Name: tcpUserTimeout,
		Value: &corev3.SocketOption_IntValue{IntValue: readTimeout.Milliseconds()},
		State: corev3.SocketOption_STATE_LISTENING,
	}
}

func connectionManager(cfg Config) (*hcmv3.HttpConnectionManager, error) {
	filters, err := httpFilters(cfg)
	if err != nil {
		return nil, err
	}
	routes, err := routeConfiguration(cfg)
	if err != nil {
		return nil, err
	}
	stripping, err := stripClientHeaders(cfg)
	if err != nil {
		return nil, err
	}
	logs, err := accessLog()
	if err != nil {
		return nil, err
	}
	manager := &hcmv3.HttpConnectionManager{
		StatPrefix:     ListenerName,
		CodecType:      hcmv3.HttpConnectionManager_AUTO,
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: routes},
		HttpFilters:    filters,
		AccessLog:      logs,

		EarlyHeaderMutationExtensions: []*corev3.TypedExtensionConfig{stripping},
		// No UpgradeConfigs: WebSocket and CONNECT are refused.
	}
	onePath(manager)
	knownClient(manager, cfg)
	boundedClient(manager, cfg)
	return manager, nil
}

// onePath makes sure that Envoy, Sallyport and the upstream read the same path
// and headers: what could be read in two ways is normalised or refused.
func onePath(manager *hcmv3.HttpConnectionManager) {
	manager.NormalizePath = wrapperspb.Bool(true)
	manager.MergeSlashes = true
	manager.PathWithEscapedSlashesAction = hcmv3.HttpConnectionManager_REJECT_REQUEST
	manager.StripTrailingHostDot = true
	manager.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{
		// Many upstreams take x_user for x-user.
		HeadersWithUnderscoresAction: corev3.HttpProtocolOptions_REJECT_REQUEST,
		MaxHeadersCount:              wrapperspb.UInt32(100),
		IdleTimeout:                  durationpb.New(idleConnection),
	}
}

// knownClient settles where a request comes from. No address counts as internal
// (an internal client could steer the router by x-envoy-* headers), and a
// client's certificate reaches Check from the TLS session, never from a header.
func knownClient(manager *hcmv3.HttpConnectionManager, cfg Config) {
	manager.UseRemoteAddress = wrapperspb.Bool(true)
	manager.XffNumTrustedHops = cfg.XFFTrustedHops
	manager.InternalAddressConfig = nobody()
	manager.ForwardClientCertDetails = hcmv3.HttpConnectionManager_SANITIZE
	manager.GenerateRequestId = wrapperspb.Bool(true)
	manager.AlwaysSetRequestIdInResponse = true
	manager.ServerName = "sallyport"
	manager.ServerHeaderTransformation = hcmv3.HttpConnectionManager_OVERWRITE
}

// nobody is an address that no connection comes from. An empty list won't do:
// Envoy takes that for all private addresses.
func nobody() *hcmv3.HttpConnectionManager_InternalAddressConfig {
	return &hcmv3.HttpConnectionManager_InternalAddressConfig{CidrRanges: []*corev3.CidrRange{{
		AddressPrefix: "255.255.255.255", PrefixLen: wrapperspb.UInt32(32),
	}}}
}

// boundedClient limits what one client can hold, in bytes, streams and time.
func boundedClient(manager *hcmv3.HttpConnectionManager, cfg Config) {
	manager.MaxRequestHeadersKb = wrapperspb.UInt32(headerKiB)
	manager.RequestHeadersTimeout = durationpb.New(headersTimeout)
	// It ends when the request has passed all filters, so it covers the upload
	// and Check, whose own timeout must come first: that one answers 503. There is
	// no more for the claim of a key: only a request that used up both would need
	// it, and what a stranger holds is held for as long.
	manager.RequestTimeout = durationpb.New(cfg.ReceiveTimeout + cfg.CheckTimeout)
	// For the routes without one of their own. Their timeout must come first.
	manager.StreamIdleTimeout = durationpb.New(cfg.RequestTimeout + cfg.CheckTimeout)
	manager.CommonHttpProtocolOptions.MaxStreamDuration = durationpb.New(cfg.MaxStreamDuration)
	manager.Http2ProtocolOptions = &corev3.Http2ProtocolOptions{
		MaxConcurrentStreams:        wrapperspb.UInt32(maxStreams),
		InitialStreamWindowSize:     wrapperspb.UInt32(64 << 10),
		InitialConnectionWindowSize: wrapperspb.UInt32(1 << 20),
	}
}
