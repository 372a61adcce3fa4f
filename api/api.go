// Package api serves Sallyport's own HTTP API: the documents that tell OAuth clients
// about the protected servers, and requests for privileged access.
package api

import (
	"net/http"
	"strings"

	"github.com/sallyport/sallyport/internal/problem"
)

// Prefix is where all but the well-known documents is served.
const Prefix = "/api/auth/"

// New returns the handler of the whole API. resources are the protected servers
// at the time of a request; it is called by many goroutines. elevations serves what is
// below Prefix; nil: nothing is.
func New(resources func() []Resource, elevations *Elevations) http.Handler {
	metadata := metadataHandler(resources)
	// No ServeMux: it answers paths that it would clean by a redirect.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == MetadataPath || strings.HasPrefix(r.URL.Path, MetadataPath+"/"):
			metadata.ServeHTTP(w, r)
		case elevations != nil && strings.HasPrefix(r.URL.Path, Prefix):
			elevations.ServeHTTP(w, r)
		default:
			notFound().Write(w)
		}
	})
}

func notFound() problem.Problem {
	return problem.Problem{Kind: "http.not_found", Title: "Nothing is served at this path.", Status: http.StatusNotFound}
}
