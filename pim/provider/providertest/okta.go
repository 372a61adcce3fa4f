package providertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Scopes of an application at Okta.
const (
	OktaReads  = "okta.accessRequests.request.read"
	OktaFiles  = "okta.accessRequests.request.manage"
	OktaGrants = "okta.governance.entitlements.read"
)

// What the organization has: an application, the entry of its catalogue that requests
// for it are filed with, a bundle of entitlements in it, and the field of a request that
// takes the reason.
const (
	OktaApp    = "0oafxqCAJWWGELFTYASJ"
	OktaEntry  = "cen3qpimoKc7wCPyx8g6"
	OktaBundle = "enbfxqCAJWWGELFTYCCC"
	OktaField  = "05c87fe9-11f6-4d40-a033-b155b39dcdbe"
	OktaKeyID  = "kid-1"
)

// Okta is the part of an Okta organization that we use. It insists on what Okta insists
// on.
type Okta struct {
	Server
	KeyFile  string   // our client's
	Scopes   []string // granted to the application
	Requests []Object // full ones, the newest last
	Leaked   []Object // are in each list, whatever the filter
	Grants   []Object
	Sparse   []string // members that items of lists lack
	PageSize int
	Bearer   map[string]string // token to scope
	Tokens   int
	Override func(w http.ResponseWriter, r *http.Request) (done bool) // but for tokens
	Calls    []string

	key *ecdsa.PrivateKey
}

// NewOkta starts one.
func NewOkta(t testing.TB, now func() time.Time, scopes ...string) *Okta {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	o := &Okta{
		Server: Server{t: t, now: now}, KeyFile: writePEM(t, "PRIVATE KEY", der), Scopes: scopes, key: key, Bearer: map[string]string{}, PageSize: 100,
		Sparse: []string{"revocationScheduled", "accessDuration", "requesterFieldValues"},
	}
	o.URL, o.CAFile = ServeTLS(t, o.handler(o.serve))
	return o
}

// Elevate adds a request of a user that was granted, and returns its id.
func (o *Okta) Elevate(user, role string, until time.Time) (id string) {
	scope, _, _ := strings.Cut(role, "/")
	o.Change(func() {
		id = o.newID()
		o.Requests = append(o.Requests, OktaRequest(id, user, scope, o.now().Add(-time.Minute), until))
	})
	return id
}

// Entitle adds a grant of the bundle to a user, and returns its id.
func (o *Okta) Entitle(user, role string, until time.Time) (id string) {
	app, _, _ := strings.Cut(role, "/")
	o.Change(func() {
		id = fmt.Sprintf("0ggb0oNGTSWTBKOL%04d", len(o.Grants))
		o.Grants = append(o.Grants, OktaGrant(id, user, app, until))
	})
	return id
}

// Decide ends the pending requests for a user. The approved ones are granted at once.
func (o *Okta) Decide(user string, approved bool) {
	o.Change(func() {
		for _, request := range o.Requests {
			if Member(request, "requestedFor", "externalId") != user || request["status"] != "SUBMITTED" {
				continue
			}
			if request["status"] = "DENIED"; approved {
				lasts, err := time.ParseDuration(strings.ToLower(strings.TrimPrefix(Member(request, "accessDuration"), "PT")))
				if err != nil {
					o.t.Error(err)
				}
				now := o.now().UTC()
				maps.Copy(request, Object{"status": "APPROVED", "grantStatus": "GRANTED", "granted": now, "revocationScheduled": now.Add(lasts)})
			}
		}
	})
}

func (o *Okta) newID() string { return fmt.Sprintf("req42kjDgk1EubTwo%03d", len(o.Requests)) }

// Find is a request by its id; nil: there is none.
func (o *Okta) Find(id string) Object {
	for _, r := range o.Requests {
		if r["id"] == id {
			return r
		}
	}
	return nil
}

// OktaError answers with an error in Okta's form.
func OktaError(w http.ResponseWriter, status int, code, summary string) {
	WriteJSON(w, status, Object{"errorCode": code, "errorSummary": summary, "errorLink": code, "errorId": "oaeWCGz73hpRCG75VHP6-RRXw", "errorCauses": []any{}})
}

const (
	oktaRequests = "/governance/api/v2/requests"
	oktaGrants   = "/governance/api/v1/grants"
)

func (o *Okta) serve(w http.ResponseWriter, r *http.Request) {
	o.Calls = append(o.Calls, r.Method+" "+r.URL.Path)
	if r.URL.Path == "/oauth2/v1/token" {
		o.serveToken(w, r)
		return
	}
	if o.Override != nil && o.Override(w, r) {
		return
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	scope := o.Bearer[token]
	wants := map[string]string{"GET " + oktaRequests: OktaReads, "POST " + oktaRequests: OktaFiles, "GET " + oktaGrants: OktaGrants}
	id, one := strings.CutPrefix(r.URL.Path, oktaRequests+"/")
	wanted := wants[r.Method+" "+r.URL.Path]
	if one && r.Method == http.MethodGet {
		wanted = OktaReads
	}
	switch {
	case scope == "":
		OktaError(w, http.StatusUnauthorized, "E0000011", "Invalid token provided")
	case wanted == "":
		o.t.Errorf("%s %s: there is no such method", r.Method, r.URL.Path)
		OktaError(w, http.StatusMethodNotAllowed, "E0000022", "The endpoint does not support the provided HTTP method")
	case scope != wanted:
		OktaError(w, http.StatusForbidden, "E0000006", "You do not have permission to perform the requested action.")
	case one:
		o.serveRequest(w, id)
	case r.Method == http.MethodPost:
		o.serveFiling(w, r)
	case r.URL.Path == oktaGrants:
		o.serveGrants(w, r)
	default:
		o.serveRequests(w, r)
	}
}

func (o *Okta) serveToken(w http.ResponseWriter, r *http.Request) {
	token, err := jwt.ParseWithClaims(r.FormValue("client_assertion"), jwt.MapClaims{}, func(*jwt.Token) (any, error) { return o.key.Public(), nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithTimeFunc(o.now), jwt.WithAudience(o.URL+"/oauth2/v1/token"), jwt.WithIssuer(ClientID))
	scope := r.FormValue("scope")
	switch {
	case err != nil || token.Header["kid"] != OktaKeyID:
		WriteJSON(w, http.StatusUnauthorized, Object{"error": "invalid_client", "error_description": "The client_assertion signature is invalid."})
	case !slices.Contains(o.Scopes, scope):
		WriteJSON(w, http.StatusBadRequest, Object{"error": "invalid_scope", "error_description": "One or more scopes are not configured for the authorization server resource."})
	default:
		o.Tokens++
		name := fmt.Sprintf("okta-token-%d", o.Tokens)
		o.Bearer[name] = scope
		WriteJSON(w, http.StatusOK, Object{"token_type": "Bearer", "expires_in": 3600, "access_token": name, "scope": scope})
	}
}

func (o *Okta) serveRequest(w http.ResponseWriter, id string) {
	if r := o.Find(id); r != nil {
		WriteJSON(w, http.StatusOK, r)
		return
	}
	OktaError(w, http.StatusNotFound, "E0000007", "Resource not found exception.")
}
