package xds

import (
	rulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/sallyport/sallyport/envoy/extauthz"
)

// Clients' headers that nobody behind the listener may see. They are removed
// before routing and before any filter; what Check and Envoy set later passes.
var (
	strippedPrefixes = []string{
		// The router obeys x-envoy-retry-on, -max-retries, -hedge-on-…,
		// -upstream-rq-timeout-ms and more: an executed write would run twice.
		"x-envoy-",
		// Ours alone, set by Check.
		extauthz.InternalPrefix,
	}
	strippedNames = []string{
		"x-user-context",
		// REST frameworks take these for the method and the path: Check would
		// decide about another request than the upstream executes.
		"x-http-method",
		"x-http-method-override",
		"x-method-override",
		"x-original-url",
		"x-rewrite-url",
		"x-original-uri",
		"x-original-path",
	}
	// strippedAtEdge are set by trusted proxies in front, if there are any.
	strippedAtEdge = []string{
		"forwarded",
		"x-forwarded-for", // Envoy appends the client's address afterwards
		"x-forwarded-host",
		"x-forwarded-port",
		"x-forwarded-prefix",
		"x-real-ip",
		"true-client-ip",
	}
	// clientCredentials are for Check only. Check's own answer removes them; the
	// route does so again, since a request without a Check must not carry them
	// either.
	clientCredentials = []string{"authorization", "proxy-authorization", "dpop"}
)

// stripClientHeaders removes what a client must not say.
func stripClientHeaders(cfg Config) (*corev3.TypedExtensionConfig, error) {
	var mutations []*rulesv3.HeaderMutation
	for _, prefix := range strippedPrefixes {
		mutations = append(mutations, &rulesv3.HeaderMutation{
			Action: &rulesv3.HeaderMutation_RemoveOnMatch_{
				RemoveOnMatch: &rulesv3.HeaderMutation_RemoveOnMatch{
					KeyMatcher: &matcherv3.StringMatcher{
						MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: prefix},
						IgnoreCase:   true,
					},
				},
			},
		})
	}
	names := strippedNames
	if cfg.XFFTrustedHops == 0 {
		names = append(names[:len(names):len(names)], strippedAtEdge...)
	}
	for _, name := range names {
		mutations = append(mutations, &rulesv3.HeaderMutation{
			Action: &rulesv3.HeaderMutation_Remove{Remove: name},
		})
	}
	packed, err := pack(&earlyv3.HeaderMutation{Mutations: mutations})
	if err != nil {
		return nil, err
	}
	return &corev3.TypedExtensionConfig{
		Name:        "envoy.http.early_header_mutation.header_mutation",
		TypedConfig: packed,
	}, nil
}
