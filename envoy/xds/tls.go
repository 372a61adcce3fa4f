package xds

import (
	"net"
	"net/netip"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func downstreamTLS(t ServerTLS) (*corev3.TransportSocket, error) {
	common := &tlsv3.CommonTlsContext{
		TlsParams:       tls13(),
		TlsCertificates: []*tlsv3.TlsCertificate{certificate(t.CertFile, t.KeyFile)},
		AlpnProtocols:   []string{"h2", "http/1.1"},
	}
	if t.ClientCAFile != "" {
		common.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{
			ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: file(t.ClientCAFile)},
		}
	}
	return transportSocket(&tlsv3.DownstreamTlsContext{
		CommonTlsContext:         common,
		RequireClientCertificate: wrapperspb.Bool(t.ClientCAFile != ""),
	})
}

// upstreamTLS verifies the peer's chain and name. Envoy checks no name by itself.
func upstreamTLS(e Endpoint) (*corev3.TransportSocket, error) {
	name := e.ServerName
	if name == "" {
		name, _, _ = net.SplitHostPort(e.Address)
	}
	san := subjectAltName(name)
	common := &tlsv3.CommonTlsContext{
		TlsParams: tls13(),
		ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{
			ValidationContext: &tlsv3.CertificateValidationContext{
				TrustedCa:                 file(e.CAFile),
				MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{san},
			},
		},
	}
	if e.CertFile != "" {
		common.TlsCertificates = []*tlsv3.TlsCertificate{certificate(e.CertFile, e.KeyFile)}
	}
	if e.HTTP2 {
		common.AlpnProtocols = []string{"h2"}
	}
	context := &tlsv3.UpstreamTlsContext{CommonTlsContext: common}
	if san.SanType == tlsv3.SubjectAltNameMatcher_DNS {
		context.Sni = name
	}
	return transportSocket(context)
}

// subjectAltName matches the name exactly, in the certificate's field for its
// kind (RFC 6125; SPIFFE's X509-SVID for URIs).
func subjectAltName(name string) *tlsv3.SubjectAltNameMatcher {
	kind := tlsv3.SubjectAltNameMatcher_DNS
	if _, err := netip.ParseAddr(name); err == nil {
		kind = tlsv3.SubjectAltNameMatcher_IP_ADDRESS
	} else if strings.HasPrefix(name, "spiffe://") {
		kind = tlsv3.SubjectAltNameMatcher_URI
	}
	return &tlsv3.SubjectAltNameMatcher{
		SanType: kind,
		Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: name}},
	}
}

func tls13() *tlsv3.TlsParameters {
	return &tlsv3.TlsParameters{
		TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
		TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
	}
}

func certificate(certFile, keyFile string) *tlsv3.TlsCertificate {
	return &tlsv3.TlsCertificate{CertificateChain: file(certFile), PrivateKey: file(keyFile)}
}

func file(path string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path}}
}

func transportSocket(context proto.Message) (*corev3.TransportSocket, error) {
	packed, err := pack(context)
	if err != nil {
		return nil, err
	}
	return &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: packed},
	}, nil
}
