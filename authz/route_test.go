package authz

import "testing"

func TestFindServer(t *testing.T) {
	t.Parallel()
	servers := []*Server{
		{Name: "mcp", Hosts: []string{"a.example", "[::1]"}, Path: "/mcp"},
		{Name: "mcp-on-a-port", Hosts: []string{"A.example:8443"}, Path: "/mcp"},
		{Name: "api", Hosts: []string{"a.example"}, Path: "/api", Prefix: true},
		{Name: "deep", Hosts: []string{"a.example"}, Path: "/api/deep", Prefix: true},
		{Name: "any", Hosts: []string{"*"}, Path: "/", Prefix: true},
	}
	r, err := newRouter(servers)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ authority, path, want string }{
		{"a.example", "/mcp", "mcp"},
		{"A.EXAMPLE", "/mcp?x=1", "mcp"},
		{"a.example:9999", "/mcp", "mcp"},
		{"a.example:8443", "/mcp", "mcp-on-a-port"},
		{"[::1]", "/mcp", "mcp"},
		{"[::1]:80", "/mcp", "mcp"},
		{"a.example:", "/mcp", "any"},
		{"a.example", "/mcp/", ""},
		{"a.example", "/mcpx", ""},
		{"a.example", "/api", "api"},
		{"a.example", "/api/x", "api"},
		{"a.example", "/apix", ""},
		{"a.example", "/api/deep/x", "deep"},
		{"a.example", "/API/x", ""},
		{"b.example", "/anything", "any"},
		{"a.example.evil", "/mcp", "any"},
		{"", "/mcp", "any"},
	}
	for _, tt := range tests {
		got := ""
		if s := r.find(tt.authority, tt.path); s != nil {
			got = s.Name
		}
		if got != tt.want {
			t.Errorf("%s%s leads to %q, want %q", tt.authority, tt.path, got, tt.want)
		}
	}
}

func TestMetadataURL(t *testing.T) {
	t.Parallel()
	for resource, want := range map[string]string{
		"https://a.example/mcp":     "https://a.example/.well-known/oauth-protected-resource/mcp",
		"https://a.example":         "https://a.example/.well-known/oauth-protected-resource",
		"https://a.example/":        "https://a.example/.well-known/oauth-protected-resource",
		"https://a.example:8443/x/": "https://a.example:8443/.well-known/oauth-protected-resource/x",
	} {
		if got := (&Server{Resource: resource}).MetadataURL(); got != want {
			t.Errorf("%s: %s, want %s", resource, got, want)
		}
	}
}
