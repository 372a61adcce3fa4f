package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/sallyport/sallyport/internal/problem"
)

// Resource describes one protected server to OAuth clients (RFC 9728 §2).
type Resource struct {
	ID                   string   // resource identifier, an absolute URI
	Name                 string   // for people
	AuthorizationServers []string // issuer identifiers
	Scopes               []string
}

// MetadataPath is the well-known path of RFC 9728 §3. The path of the resource
// follows it.
const MetadataPath = "/.well-known/oauth-protected-resource"

// metadata is the document of RFC 9728 §2.
type metadata struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers,omitempty"`
	Scopes               []string `json:"scopes_supported,omitempty"`
	BearerMethods        []string `json:"bearer_methods_supported"`
	Name                 string   `json:"resource_name,omitempty"`
	DPoPAlgorithms       []string `json:"dpop_signing_alg_values_supported"`
}

// metadataHandler serves the metadata of the resources that current returns,
// without authentication. It answers by host and path, so that a client asking
// one server never gets the document of another (RFC 9728 §3.3).
func metadataHandler(current func() []Resource) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			problem.Problem{Kind: "http.method", Title: "Only GET is possible here.", Status: http.StatusMethodNotAllowed}.Write(w)
			return
		}
		resource, ok := find(current(), r.Host, strings.TrimPrefix(r.URL.Path, MetadataPath))
		if !ok {
			problem.Problem{
				Kind: "http.not_found", Title: "No protected resource has this identifier.", Status: http.StatusNotFound,
				Detail: fmt.Sprintf("The path after %s must be that of a configured resource.", MetadataPath),
			}.Write(w)
			return
		}
		body, err := json.Marshal(metadata{
			Resource:             resource.ID,
			AuthorizationServers: resource.AuthorizationServers,
			Scopes:               resource.Scopes,
			BearerMethods:        []string{"header"},
			Name:                 resource.Name,
			DPoPAlgorithms:       []string{"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "EdDSA"},
		})
		if err != nil {
			problem.Problem{Kind: "internal.error", Title: "The document could not be written.", Status: http.StatusInternalServerError}.Write(w)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "public, max-age=300")
		w.Header().Set("Access-Control-Allow-Origin", "*") // browser clients discover, too; there is nothing private in it
		_, _ = w.Write(body)
	})
}

func find(resources []Resource, host, path string) (Resource, bool) {
	path = strings.TrimSuffix(path, "/")
	for _, resource := range resources {
		id, err := url.Parse(resource.ID)
		if err != nil { // configurations are checked at load
			continue
		}
		if strings.EqualFold(id.Host, host) && strings.TrimSuffix(id.Path, "/") == path {
			return resource, true
		}
	}
	return Resource{}, false
}
