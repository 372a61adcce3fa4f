package xds

import (
	rulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

const trailersFilter = "envoy.filters.http.header_mutation"

// noTrailers removes every trailer of a request: Check sees none, but servers
// merge them into the headers. Envoy drops those of HTTP/1.1 by itself; for
// HTTP/2 it has no such option.
func noTrailers() (*hcmv3.HttpFilter, error) {
	return httpFilter(trailersFilter, &mutationv3.HeaderMutation{Mutations: &mutationv3.Mutations{
		RequestTrailersMutations: []*rulesv3.HeaderMutation{removeMatching(&matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: ".*"}},
		})},
	}})
}
