package devissuer

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxForm is how many bytes of a token request are read at most.
const maxForm = 64 << 10

func (i *Issuer) routes() http.Handler {
	base := strings.TrimSuffix(i.path, "/")
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+base+"/.well-known/openid-configuration", i.serveDiscovery)
	// RFC 8414 §3.1 puts the issuer's path behind the well-known name.
	mux.HandleFunc("GET /.well-known/oauth-authorization-server"+base, i.serveDiscovery)
	mux.HandleFunc("GET "+base+"/keys", i.serveKeys)
	mux.HandleFunc("POST "+base+"/token", i.serveToken)
	return mux
}

func (i *Issuer) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	i.discovery.Add(1)
	if i.refuse(w) {
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                i.url,
		"jwks_uri":                              i.KeySetURL(),
		"token_endpoint":                        i.TokenURL(),
		"grant_types_supported":                 []string{"client_credentials"},
		"response_types_supported":              []string{},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
		"scopes_supported":                      i.scopes(),
	})
}

func (i *Issuer) scopes() []string {
	all := []string{}
	for _, c := range i.cfg.Clients {
		all = append(all, c.Scopes...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (i *Issuer) serveKeys(w http.ResponseWriter, _ *http.Request) {
	i.keySets.Add(1)
	if i.refuse(w) {
		return
	}
	if raw := i.override.Load(); raw != nil {
		writeRaw(w, http.StatusOK, *raw)
		return
	}
	set, err := i.keys.public()
	if err != nil {
		http.Error(w, "no key set", http.StatusInternalServerError)
		return
	}
	writeRaw(w, http.StatusOK, set)
}

// refuse answers for an issuer that is down.
func (i *Issuer) refuse(w http.ResponseWriter) bool {
	if !i.down.Load() {
		return false
	}
	http.Error(w, "the issuer is down", http.StatusServiceUnavailable)
	return true
}

// serveToken is the token endpoint for client credentials (RFC 6749 §4.4).
func (i *Issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	i.tokens.Add(1)
	if i.refuse(w) {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		tokenError(w, http.StatusBadRequest, "invalid_request", "the body is no form")
		return
	}
	client, ok := i.authenticate(r)
	if !ok {
		w.Header().Set("WWW-Authenticate", `Basic realm="devissuer"`)
		tokenError(w, http.StatusUnauthorized, "invalid_client", "unknown client or wrong secret")
		return
	}
	if r.PostForm.Get("grant_type") != "client_credentials" {
		tokenError(w, http.StatusBadRequest, "unsupported_grant_type", "only client_credentials")
		return
	}
	scopes := client.Scopes
	if asked := strings.Fields(r.PostForm.Get("scope")); len(asked) > 0 {
		if slices.ContainsFunc(asked, func(s string) bool { return !slices.Contains(client.Scopes, s) }) {
			tokenError(w, http.StatusBadRequest, "invalid_scope", "a scope that this client may not have")
			return
		}
		scopes = asked
	}
	audience, ok := client.audience(r.PostForm["resource"])
	if !ok {
		tokenError(w, http.StatusBadRequest, "invalid_target", "no resource, or one that this client may not name")
		return
	}
	token, err := i.Mint(TokenOptions{
		Subject: client.ID, Client: client.ID, Audience: audience, Scopes: scopes, Claims: client.Claims,
	})
	if err != nil {
		tokenError(w, http.StatusInternalServerError, "server_error", "the token could not be signed")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": token,
		"token_type":   "Bearer",
		"expires_in":   int64(i.cfg.Lifetime / time.Second),
		"scope":        strings.Join(scopes, " "),
	})
}

// authenticate accepts client_secret_basic, whose parts are form-encoded
// (RFC 6749 §2.3.1), or client_secret_post; never both.
func (i *Issuer) authenticate(r *http.Request) (Client, bool) {
	id, secret := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	if user, password, ok := r.BasicAuth(); ok {
		var errID, errSecret error
		if secret != "" {
			return Client{}, false
		}
		id, errID = url.QueryUnescape(user)
		secret, errSecret = url.QueryUnescape(password)
		if errID != nil || errSecret != nil {
			return Client{}, false
		}
	}
	client, ok := i.clients[id]
	got, want := sha256.Sum256([]byte(secret)), sha256.Sum256([]byte(client.Secret))
	return client, ok && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// audience picks the audience from the resource parameters (RFC 8707 §2):
// absolute URIs without a fragment.
func (c Client) audience(asked []string) ([]string, bool) {
	if len(asked) == 0 {
		return c.Resources, len(c.Resources) > 0
	}
	for _, resource := range asked {
		u, err := url.Parse(resource)
		if err != nil || !u.IsAbs() || strings.Contains(resource, "#") {
			return nil, false
		}
		if len(c.Resources) > 0 && !slices.Contains(c.Resources, resource) {
			return nil, false
		}
	}
	return asked, true
}

func tokenError(w http.ResponseWriter, status int, code, description string) {
	writeJSON(w, status, map[string]any{"error": code, "error_description": description})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	raw, err := json.Marshal(value)
	if err != nil {
		http.Error(w, "answer can't be encoded", http.StatusInternalServerError)
		return
	}
	writeRaw(w, status, raw)
}

func writeRaw(w http.ResponseWriter, status int, raw []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// A failed write means that the client is gone: nobody is left to tell.
	_, _ = w.Write(raw)
}
