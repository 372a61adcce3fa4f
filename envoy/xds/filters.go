package xds

import (
	rulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	bodylimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/body_size_limit/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	bodyLimitFilter = "envoy.filters.http.body_size_limit"
	extAuthzFilter  = "envoy.filters.http.ext_authz"
	routerFilter    = "envoy.filters.http.router"
)

// httpFilters are the filters in the order in which a request meets them.
func httpFilters(cfg Config) ([]*hcmv3.HttpFilter, error) {
	trailers, err := noTrailers()
	if err != nil {
		return nil, err
	}
	limit, err := httpFilter(bodyLimitFilter, &bodylimitv3.BodySizeLimit{
		MaxRequestBytes: wrapperspb.UInt64(uint64(cfg.MaxRequestBytes)),
	})
	if err != nil {
		return nil, err
	}
	check, err := httpFilter(extAuthzFilter, extAuthz(cfg))
	if err != nil {
		return nil, err
	}
	skippable, err := skippableExtProc()
	if err != nil {
		return nil, err
	}
	exchange, err := httpFilter(extProcFilter, skippable)
	if err != nil {
		return nil, err
	}
	router, err := httpFilter(routerFilter, &routerv3.Router{
		// x-envoy-upstream-service-time and its like are nobody's business.
		// Check's timeout header is obeyed all the same.
		SuppressEnvoyHeaders: true,
	})
	if err != nil {
		return nil, err
	}
	return []*hcmv3.HttpFilter{trailers, limit, check, exchange, router}, nil
}

func httpFilter(name string, config proto.Message) (*hcmv3.HttpFilter, error) {
	packed, err := pack(config)
	if err != nil {
		return nil, err
	}
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: packed}}, nil
}

// extAuthz asks Check about every request that a route matches, with its whole
// body, and refuses when there is no answer.
func extAuthz(cfg Config) *extauthzv3.ExtAuthz {
	return &extauthzv3.ExtAuthz{
		TransportApiVersion: corev3.ApiVersion_V3,
		Services: &extauthzv3.ExtAuthz_GrpcService{GrpcService: &corev3.GrpcService{
			TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
				EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: clusterGRPC},
			},
			// Explicit: the default of 200 ms is too short for a call to a
			// provider of elevations.
			Timeout: durationpb.New(cfg.CheckTimeout),
		}},
		FailureModeAllow: false,
		StatusOnError:    &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
		WithRequestBody: &extauthzv3.BufferSettings{
			// Alone it isn't enough: a body whose last frame goes beyond the limit
			// would pass, and Check would see only a part of it. The filter before
			// this one has counted every byte.
			MaxRequestBytes:     cfg.MaxRequestBytes,
			AllowPartialMessage: false,
			PackAsBytes:         true,
		},
		ClearRouteCache:            false, // a header from Check must not reroute what was decided
		IncludePeerCertificate:     true,
		EncodeRawHeaders:           true, // duplicates and odd bytes arrive as they came
		ValidateMutations:          true,
		DecoderHeaderMutationRules: checkMutationRules(),
	}
}

// checkMutationRules say which request headers Check may change: no method,
// authority or path, and of x-envoy-* nothing that makes the router try twice or
// elsewhere. x-envoy-upstream-rq-timeout-ms, the timeout per tool, is why
// allow_envoy is on. A breach is a 500, loudly.
func checkMutationRules() *rulesv3.HeaderMutationRules {
	return &rulesv3.HeaderMutationRules{
		AllowAllRouting: wrapperspb.Bool(false),
		AllowEnvoy:      wrapperspb.Bool(true),
		DisallowSystem:  wrapperspb.Bool(true),
		DisallowExpression: &matcherv3.RegexMatcher{
			Regex: `x-envoy-(retry-|retriable-|max-retries|hedge-|upstream-rq-per-try|upstream-alt-|original-|decorator-).*`,
		},
		DisallowIsError: wrapperspb.Bool(true),
	}
}
