package settings

// plannedKey reports whether a key belongs to a part that this version doesn't
// have, and what does its job until then. A key that did nothing would be taken
// for protection.
func plannedKey(key string) (hint string, ok bool) {
	hint, ok = map[string]string{
		"apim":     "",
		"mtls":     "; listen.tls and envoy.tls encrypt the listeners",
		"settings": "",
		"waf":      "",
	}[key]
	return hint, ok
}

// plannedVariables are the names that deployments may already set for the same
// parts.
func plannedVariables() []string {
	return []string{
		"APIM_MCP_SUBSCRIPTION_KEY", "APIM_MCP_SUBSCRIPTION_NAME", "APIM_PROPAGATE_USER_CONTEXT", "APIM_USER_CONTEXT_HEADER",
		"MTLS_CA_CERT_PATH", "MTLS_CLIENT_CERT_PATH", "MTLS_CLIENT_KEY_PATH", "MTLS_ENABLED",
		"WAF_ALLOWED_IPS", "WAF_ENABLED", "WAF_IP_ALLOWLIST_ENABLED", "WAF_RATE_LIMIT",
	}
}
