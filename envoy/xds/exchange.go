package xds

import (
	"time"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	rulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extensionmatchingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	actionv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/matcher/action/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	inputsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/metadata/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const extProcFilter = "envoy.filters.http.ext_proc"

// exchangeTimeout bounds each message of an exchange: two calls of a store and
// what is between them.
const exchangeTimeout = 10 * time.Second

// skippableExtProc is the ext_proc filter that is skipped, without a stream, where
// Check's metadata says that the exchange needs nothing. It is also skipped for
// answers that Envoy gives before Check, such as to what is no HTTP: anybody can
// cause them, and some would be lost while they wait for a stream. A request that
// goes on without metadata is not skipped: Sallyport refuses it.
func skippableExtProc() (*extensionmatchingv3.ExtensionWithMatcher, error) {
	filter, err := typed(extProcFilter, extProc())
	if err != nil {
		return nil, err
	}
	isPass, err := exchangeIs("pass")
	if err != nil {
		return nil, err
	}
	isRun, err := exchangeIs("run")
	if err != nil {
		return nil, err
	}
	isAnswer, err := hasStatus()
	if err != nil {
		return nil, err
	}
	skip, err := typedXDS("skip", &actionv3.SkipFilter{})
	if err != nil {
		return nil, err
	}
	when := func(predicate *xdsmatcherv3.Matcher_MatcherList_Predicate) *xdsmatcherv3.Matcher_MatcherList_FieldMatcher {
		return &xdsmatcherv3.Matcher_MatcherList_FieldMatcher{
			Predicate: predicate,
			OnMatch:   &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{Action: skip}},
		}
	}
	return &extensionmatchingv3.ExtensionWithMatcher{
		ExtensionConfig: filter,
		XdsMatcher: &xdsmatcherv3.Matcher{MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: &xdsmatcherv3.Matcher_MatcherList{
			Matchers: []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher{when(isPass), when(both(isAnswer, not(isRun)))},
		}}},
	}, nil
}

// exchangeIs compares what Check's metadata says of the exchange.
func exchangeIs(value string) (*xdsmatcherv3.Matcher_MatcherList_Predicate, error) {
	input, err := typedXDS("exchange", &inputsv3.DynamicMetadataInput{
		Filter: extAuthzFilter,
		Path:   []*inputsv3.DynamicMetadataInput_PathSegment{{Segment: &inputsv3.DynamicMetadataInput_PathSegment_Key{Key: "exchange"}}},
	})
	if err != nil {
		return nil, err
	}
	matcher, err := typedXDS(value, &metadatav3.Metadata{Value: &matcherv3.ValueMatcher{
		MatchPattern: &matcherv3.ValueMatcher_StringMatch{StringMatch: exactly(value)},
	}})
	if err != nil {
		return nil, err
	}
	return single(&xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
		Input:   input,
		Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_CustomMatch{CustomMatch: matcher},
	}), nil
}

// hasStatus is true as soon as there is an answer.
func hasStatus() (*xdsmatcherv3.Matcher_MatcherList_Predicate, error) {
	input, err := typedXDS("status", &matcherv3.HttpResponseHeaderMatchInput{HeaderName: ":status"})
	if err != nil {
		return nil, err
	}
	return single(&xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
		Input: input,
		Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{ValueMatch: &xdsmatcherv3.StringMatcher{
			MatchPattern: &xdsmatcherv3.StringMatcher_SafeRegex{SafeRegex: &xdsmatcherv3.RegexMatcher{
				EngineType: &xdsmatcherv3.RegexMatcher_GoogleRe2{GoogleRe2: &xdsmatcherv3.RegexMatcher_GoogleRE2{}},
				Regex:      ".+",
			}},
		}},
	}), nil
}

func single(predicate *xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{
		MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{SinglePredicate: predicate},
	}
}

func not(predicate *xdsmatcherv3.Matcher_MatcherList_Predicate) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{
		MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_NotMatcher{NotMatcher: predicate},
	}
}

func both(predicates ...*xdsmatcherv3.Matcher_MatcherList_Predicate) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{
		MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_AndMatcher{
			AndMatcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_PredicateList{Predicate: predicates},
		},
	}
}

// extProc shows Sallyport the headers of both directions, as far as it needs
// them, and the response's body as it comes. The request's body it needn't see:
// what Check read of it is in the metadata.
func extProc() *extprocv3.ExternalProcessor {
	return &extprocv3.ExternalProcessor{
		GrpcService: &corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
			EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: clusterGRPC},
		}},
		FailureModeAllow:  false,
		StatusOnError:     &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
		MessageTimeout:    durationpb.New(exchangeTimeout),
		MaxMessageTimeout: durationpb.New(exchangeTimeout),
		ProcessingMode: &extprocv3.ProcessingMode{
			RequestHeaderMode:  extprocv3.ProcessingMode_SEND,
			ResponseHeaderMode: extprocv3.ProcessingMode_SEND,
			RequestBodyMode:    extprocv3.ProcessingMode_NONE,
			ResponseBodyMode:   extprocv3.ProcessingMode_STREAMED,
			RequestTrailerMode: extprocv3.ProcessingMode_SKIP,
			// They are the end of a response that has them.
			ResponseTrailerMode: extprocv3.ProcessingMode_SEND,
		},
		ResponseAttributes: []string{"response.code_details", "response.flags"},
		ForwardRules: &extprocv3.HeaderForwardingRules{AllowedHeaders: &matcherv3.ListStringMatcher{Patterns: []*matcherv3.StringMatcher{
			exactly(":status"), exactly("mcp-session-id"), exactly("transfer-encoding"),
			// What a replay may repeat; see idempotency.RepeatableHeaders.
			{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: "content-"}},
			exactly("location"), exactly("etag"), exactly("last-modified"), exactly("link"),
			exactly("deprecation"), exactly("sunset"), exactly("preference-applied"),
		}}},
		MetadataOptions: &extprocv3.MetadataOptions{
			ForwardingNamespaces: &extprocv3.MetadataOptions_MetadataNamespaces{Untyped: []string{extAuthzFilter}},
		},
		// No request is changed, and of a response only its body. A breach is a 500.
		MutationRules: &rulesv3.HeaderMutationRules{
			AllowAllRouting: wrapperspb.Bool(false),
			DisallowSystem:  wrapperspb.Bool(true),
			DisallowIsError: wrapperspb.Bool(true),
		},
	}
}

func exactly(text string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: text}}
}

// typedXDS is typed, in the type of the matching API.
func typedXDS(name string, config proto.Message) (*xdscorev3.TypedExtensionConfig, error) {
	packed, err := pack(config)
	return &xdscorev3.TypedExtensionConfig{Name: name, TypedConfig: packed}, err
}

func typed(name string, config proto.Message) (*corev3.TypedExtensionConfig, error) {
	packed, err := pack(config)
	return &corev3.TypedExtensionConfig{Name: name, TypedConfig: packed}, err
}
