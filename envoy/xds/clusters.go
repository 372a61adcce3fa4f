package xds

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	dnscommonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"
	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	upstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	clusterGRPC = "sallyport_grpc"
	clusterAPI  = "sallyport_api"

	unixScheme     = "unix:"
	connectTimeout = 2 * time.Second
	// idleHTTP1 is below the shortest keep-alive of common servers (5 s: Node,
	// uvicorn), so that Envoy rather than they closes an idle connection. A
	// request that meets a closing one fails and is never retried.
	idleHTTP1 = 4 * time.Second
	// idleHTTP2 may be longer: GOAWAY tells which requests were not taken.
	idleHTTP2 = time.Hour
)

func upstreamCluster(server Server) string { return "upstream_" + server.Name }

func clusters(cfg Config) ([]*clusterv3.Cluster, error) {
	grpc := cfg.GRPC
	grpc.HTTP2 = true
	check, err := cluster(clusterGRPC, grpc)
	if err != nil {
		return nil, err
	}
	api, err := cluster(clusterAPI, cfg.HTTP)
	if err != nil {
		return nil, err
	}
	all := []*clusterv3.Cluster{check, api}
	for _, server := range cfg.Servers {
		upstream, err := cluster(upstreamCluster(server), server.Upstream)
		if err != nil {
			return nil, err
		}
		all = append(all, upstream)
	}
	return all, nil
}

func cluster(name string, endpoint Endpoint) (*clusterv3.Cluster, error) {
	options, err := pack(protocolOptions(endpoint.HTTP2))
	if err != nil {
		return nil, err
	}
	cluster := &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       durationpb.New(connectTimeout),
		LoadAssignment:       assignment(name, endpoint.Address),
		CircuitBreakers:      circuitBreakers(),
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options,
		},
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(connectionBuffer),
		// A peer that vanished is noticed by TCP: HTTP/2 pings would have to be
		// allowed by every gRPC server first.
		UpstreamConnectionOptions: &clusterv3.UpstreamConnectionOptions{TcpKeepalive: &corev3.TcpKeepalive{
			KeepaliveTime:     wrapperspb.UInt32(30),
			KeepaliveInterval: wrapperspb.UInt32(10),
			KeepaliveProbes:   wrapperspb.UInt32(3),
		}},
	}
	if needsDNS(endpoint.Address) {
		resolved, err := pack(&dnsv3.DnsCluster{RespectDnsTtl: true, DnsLookupFamily: dnscommonv3.DnsLookupFamily_V4_PREFERRED})
		if err != nil {
			return nil, err
		}
		cluster.ClusterDiscoveryType = &clusterv3.Cluster_ClusterType{
			ClusterType: &clusterv3.Cluster_CustomClusterType{Name: "envoy.clusters.dns", TypedConfig: resolved},
		}
	}
	if endpoint.TLS {
		if cluster.TransportSocket, err = upstreamTLS(endpoint); err != nil {
			return nil, err
		}
	}
	return cluster, nil
}

func protocolOptions(http2 bool) *upstreamv3.HttpProtocolOptions {
	idle := idleHTTP1
	explicit := &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
			HttpProtocolOptions: &corev3.Http1ProtocolOptions{},
		},
	}
	if http2 {
		idle = idleHTTP2
		explicit.ProtocolConfig = &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
			Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
		}
	}
	return &upstreamv3.HttpProtocolOptions{
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(idle)},
		UpstreamProtocolOptions:   &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: explicit},
	}
}

// circuitBreakers bound the load on a peer, far above normal use. No retry is
// ever admitted, whatever a header or a later change to a route asks for.
func circuitBreakers() *clusterv3.CircuitBreakers {
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     wrapperspb.UInt32(4096),
		MaxPendingRequests: wrapperspb.UInt32(4096),
		MaxRequests:        wrapperspb.UInt32(16384),
		MaxRetries:         wrapperspb.UInt32(0),
	}}}
}

func assignment(name, address string) *endpointv3.ClusterLoadAssignment {
	return &endpointv3.ClusterLoadAssignment{
		ClusterName: name,
		Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
				Endpoint: &endpointv3.Endpoint{Address: socketAddress(address)},
			},
		}}}},
	}
}

// socketAddress converts a validated host:port or unix:/path.
func socketAddress(address string) *corev3.Address {
	if path, isUnix := strings.CutPrefix(address, unixScheme); isUnix {
		return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: path}}}
	}
	host, portText, _ := net.SplitHostPort(address)
	port, _ := strconv.ParseUint(portText, 10, 16)
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       host,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)},
	}}}
}

func needsDNS(address string) bool {
	if strings.HasPrefix(address, unixScheme) {
		return false
	}
	host, _, _ := net.SplitHostPort(address)
	_, err := netip.ParseAddr(host)
	return err != nil
}
