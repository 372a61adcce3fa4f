// Package api serves Sallyport's own HTTP API: for now, the documents that tell
// OAuth clients about the protected servers.
package api

import (
	"net/http"

	"github.com/sallyport/sallyport/internal/problem"
)

// New returns the handler of the whole API. resources are the protected servers
// at the time of a request; it is called by many goroutines.
func New(resources func() []Resource) http.Handler {
	mux := http.NewServeMux()
	metadata := metadataHandler(resources)
	mux.Handle(MetadataPath, metadata)
	mux.Handle(MetadataPath+"/", metadata)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		problem.Problem{Kind: "http.not_found", Title: "Nothing is served at this path.", Status: http.StatusNotFound}.Write(w)
	})
	return mux
}
