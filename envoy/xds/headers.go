package xds

import (
	"slices"

	rulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/sallyport/sallyport/envoy/extauthz"
)

// Clients' headers that nobody behind the listener may see. They are removed
// before routing and before any filter; what Check and Envoy set later passes.
//
// Listed is what some upstream takes for the word of its gateway: who the caller
// is, where it comes from, or that another request is meant than the one that
// Check sees. What a caller chooses for itself (languages, tenants among its own,
// tracing) is not. A name with '_' for '-' never comes this far: Envoy refuses it.
var (
	strippedPrefixes = []string{
		// The router obeys x-envoy-retry-on, -max-retries, -hedge-on-…,
		// -upstream-rq-timeout-ms and more: an executed write would run twice.
		"x-envoy-",
		// Ours alone, set by Check.
		extauthz.InternalPrefix,

		// Who the caller is, as a gateway would say it. The upstream gets that in
		// x-sallyport-*, and a proxy in front of this one has no say in it.
		"remote-",                    // Authelia, CGI-like servers: Remote-User, -Groups, -Email
		"x-remote-",                  // Kubernetes' front proxy: X-Remote-User, -Group, -Extra-…; also -Addr, -IP
		"x-auth-request-",            // oauth2-proxy behind nginx
		"x-authenticated-",           // Kong and many others: X-Authenticated-User, -Userid, -Scope
		"x-authentik-",               // authentik
		"x-pomerium-",                // Pomerium
		"x-vouch-",                   // Vouch Proxy
		"x-webauth-",                 // Grafana and others: X-WebAuth-User, -Groups
		"x-consumer-",                // Kong: X-Consumer-ID, -Username
		"x-credential-",              // Kong: X-Credential-Identifier
		"x-amzn-oidc-",               // AWS load balancer: identity, data, access token
		"x-amzn-mtls-",               // AWS load balancer: the client's certificate
		"x-apigateway-",              // API gateways' user info, such as X-Apigateway-Api-Userinfo
		"x-ms-client-principal",      // Azure App Service; with -id, -name, -idp
		"x-ms-token-",                // Azure App Service: tokens of the login
		"x-goog-authenticated-user-", // Google IAP
		"x-goog-iap-",                // Google IAP: its signed assertion
		"x-endpoint-api-",            // Google Endpoints: X-Endpoint-API-UserInfo
		"cf-access-",                 // Cloudflare Access
		"tailscale-",                 // Tailscale Serve
		"impersonate-",               // Kubernetes: obeyed for a privileged caller, which a gateway is
		"x-ssl-",                     // HAProxy, nginx: X-SSL-Client-Verify, -DN, -Cert
		"ssl-client-",                // ingress-nginx
		"x-client-cert",              // many: the client's certificate, its subject, its state
		"client-cert",                // RFC 9440; with -chain
	}
	strippedNames = []string{
		"x-user-context", // ours, for the upstream's own gateway
		"x-user", "x-user-id", "x-userid", "x-user-name", "x-username", "x-user-email", "x-user-role", "x-user-roles",
		"x-user-group", "x-user-groups", "x-user-scope", "x-user-scopes", "x-user-info", "x-user-claims",
		"x-userinfo", "x-jwt-payload", "x-jwt-claims", "x-auth-user", "x-auth-username", "x-auth-email", "x-auth-groups", "x-auth-roles",

		// Frameworks and servers take these for the method and the path: Check
		// would decide about another request than the upstream executes.
		"x-http-method",
		"x-http-method-override",
		"x-method-override",
		"x-original-method",
		"x-http-path-override",
		"x-http-destinationurl",
		"x-original-url",
		"x-rewrite-url",
		"x-original-uri",
		"x-original-path",

		// Trailers never pass, so none is announced; TE asks for trailers of the
		// answer (RFC 9110 §6.6.2, §10.1.4).
		"trailer",
		"te",
	}
	// forwardedPrefixes are those of X-Forwarded-* that say who or what, and not
	// from where. Without trusted proxies in front, edgePrefixes has them all.
	forwardedPrefixes = []string{
		"x-forwarded-user",            // oauth2-proxy, Traefik and others; also -username
		"x-forwarded-email",           // oauth2-proxy
		"x-forwarded-group",           // oauth2-proxy: -groups
		"x-forwarded-preferred-",      // oauth2-proxy: -preferred-username
		"x-forwarded-access-token",    // oauth2-proxy
		"x-forwarded-id-token",        // OpenShift and others
		"x-forwarded-client-",         // Envoy, Traefik: -client-cert, -client-id
		"x-forwarded-tls-client-cert", // Traefik; also -info
		"x-forwarded-method",          // Traefik's forward-auth, with the next two
		"x-forwarded-uri",
		"x-forwarded-path",
	}
	// edgePrefixes and edgeNames say where a request comes from and how it came
	// to this place. Trusted proxies in front set them, if there are any.
	edgePrefixes = []string{
		"x-forwarded-", // Envoy sets -for and -proto itself, afterwards
	}
	edgeNames = []string{
		"forwarded", // RFC 7239
		"x-original-forwarded-for",
		"x-real-ip",
		"x-client-ip",
		"client-ip",
		"x-cluster-client-ip",
		"x-originating-ip",
		"x-proxyuser-ip",
		"true-client-ip",
		"cf-connecting-ip",
		"cf-connecting-ipv6",
		"fastly-client-ip",
		"x-azure-clientip",
		"x-azure-socketip",
		"x-appengine-user-ip",
		"x-original-host",
		"x-host",
		"x-scheme",
		"x-url-scheme",
		"x-original-proto",
		"front-end-https",
	}
	// clientCredentials are for Check only. Check's own answer removes them; the
	// route does so again, since a request without a Check must not carry them
	// either.
	clientCredentials = []string{"authorization", "proxy-authorization", "dpop"}
)

// stripClientHeaders removes what a client must not say.
func stripClientHeaders(cfg Config) (*corev3.TypedExtensionConfig, error) {
	prefixes, names := slices.Concat(strippedPrefixes, forwardedPrefixes), strippedNames
	if cfg.XFFTrustedHops == 0 {
		prefixes = slices.Concat(strippedPrefixes, edgePrefixes)
		names = slices.Concat(strippedNames, edgeNames)
	}
	var mutations []*rulesv3.HeaderMutation
	for _, prefix := range prefixes {
		mutations = append(mutations, removeMatching(&matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: prefix},
			IgnoreCase:   true,
		}))
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

func removeMatching(name *matcherv3.StringMatcher) *rulesv3.HeaderMutation {
	return &rulesv3.HeaderMutation{Action: &rulesv3.HeaderMutation_RemoveOnMatch_{
		RemoveOnMatch: &rulesv3.HeaderMutation_RemoveOnMatch{KeyMatcher: name},
	}}
}
