// Package providertest has servers that answer as the systems do that package provider asks.
package providertest

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What all servers know their client by.
const (
	ClientID = "our-client"
	Secret   = "hunter2"
)

// Object is one of JSON.
type Object = map[string]any

// Server is what all of them have in common. The exported fields of a server are read
// while it answers: beside questions, they are changed in Change.
type Server struct {
	URL    string
	CAFile string // of those that serve TLS

	t       testing.TB
	now     func() time.Time
	failing atomic.Pointer[http.HandlerFunc]
	mu      sync.Mutex // one question is answered at a time
}

// Fail lets how answer everything from now on, many questions at once; nil ends that.
func (s *Server) Fail(how http.HandlerFunc) {
	if how == nil {
		s.failing.Store(nil)
		return
	}
	s.failing.Store(&how)
}

// Change runs f while nothing is answered.
func (s *Server) Change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *Server) handler(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if how := s.failing.Load(); how != nil {
			(*how)(w, r)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		answer(w, r)
	}
}

// Serve runs a server until the end of the test, and returns its URL.
func Serve(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	endWithTest(t, server)
	return server.URL
}

// ServeTLS serves over TLS, and returns the URL and the file of the CA to trust.
func ServeTLS(t testing.TB, handler http.HandlerFunc) (address, caFile string) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	endWithTest(t, server)
	return server.URL, writePEM(t, "CERTIFICATE", server.Certificate().Raw)
}

func endWithTest(t testing.TB, server *httptest.Server) {
	t.Cleanup(func() {
		server.CloseClientConnections() // for handlers that hang
		server.Close()
	})
}

func writePEM(t testing.TB, kind string, der []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// WriteJSON answers with a value.
func WriteJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// writeText answers with JSON text.
func writeText(w http.ResponseWriter, status int, text string) {
	WriteJSON(w, status, json.RawMessage(text))
}

// Member is a value at a path of names, as text.
func Member(o Object, path ...string) string {
	for _, name := range path[:len(path)-1] {
		o, _ = o[name].(Object)
	}
	text, _ := o[path[len(path)-1]].(string)
	return text
}
