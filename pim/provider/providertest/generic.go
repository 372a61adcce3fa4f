package providertest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Generic is a service that speaks the protocol of the provider generic.
type Generic struct {
	Server
	Token    string                     // that it wants; empty: none
	Until    map[string]time.Time       // of who is elevated, by user and resource with a blank between them
	Requests map[string]*GenericRequest // by id
}

// GenericRequest is a request that was filed. One whose status is approved elevates,
// also after its end: it says when that is.
type GenericRequest struct {
	UserID   string `json:"user_id"`
	Resource string `json:"resource"`
	Reason   string `json:"reason"`
	Seconds  int    `json:"duration_seconds"`

	ID     string    `json:"-"`
	Status string    `json:"-"`
	Until  time.Time `json:"-"` // zero: it doesn't say
}

// GenericEvidence is the evidence for everybody who was elevated without a request.
const GenericEvidence = "pam-7"

// NewGeneric starts one.
func NewGeneric(t testing.TB, now func() time.Time) *Generic {
	t.Helper()
	p := &Generic{Server: Server{t: t, now: now}, Until: map[string]time.Time{}, Requests: map[string]*GenericRequest{}}
	p.URL = Serve(t, p.handler(p.serve))
	return p
}

// Elevate elevates a user, and returns the evidence.
func (p *Generic) Elevate(user, resource string, until time.Time) (evidence string) {
	p.Change(func() { p.Until[user+" "+resource] = until })
	return GenericEvidence
}

// Decide ends a user's pending requests.
func (p *Generic) Decide(user string, approved bool) {
	p.Change(func() {
		for _, request := range p.Requests {
			if request.UserID != user || request.Status != "pending" {
				continue
			}
			if request.Status = "denied"; approved {
				request.Status, request.Until = "approved", p.now().Add(time.Duration(request.Seconds)*time.Second)
			}
		}
	})
}

// moment is a time as the protocol has it.
func moment(at time.Time) string {
	if at.IsZero() {
		return "null"
	}
	return `"` + at.UTC().Format(time.RFC3339Nano) + `"`
}

func (p *Generic) serve(w http.ResponseWriter, r *http.Request) {
	id, one := strings.CutPrefix(r.URL.EscapedPath(), "/request-elevation/")
	switch place := r.Method + " " + r.URL.EscapedPath(); {
	case p.Token != "" && r.Header.Get("Authorization") != "Bearer "+p.Token:
		writeText(w, http.StatusUnauthorized, `{"error":"unauthorized"}`)
	case place == "POST /check-elevation":
		p.check(w, r)
	case place == "POST /request-elevation":
		p.file(w, r)
	case one && r.Method == http.MethodGet && !strings.Contains(id, "/"):
		p.one(w, id)
	default:
		writeText(w, http.StatusNotFound, `{"error":"not_found"}`)
	}
}

// readBody reads a body that has no members but those.
func readBody(w http.ResponseWriter, r *http.Request, body any) bool {
	decoder := json.NewDecoder(io.LimitReader(r.Body, 4096))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(body); err != nil || r.Header.Get("Content-Type") != "application/json" {
		writeText(w, http.StatusBadRequest, `{"error":"bad request"}`)
		return false
	}
	return true
}

func (p *Generic) check(w http.ResponseWriter, r *http.Request) {
	var body struct {
		UserID   string `json:"user_id"`
		Resource string `json:"resource"`
		Action   string `json:"action"`
	}
	if !readBody(w, r, &body) {
		return
	}
	if body.UserID == "" || body.Resource == "" || body.Action != "execute" {
		writeText(w, http.StatusBadRequest, `{"error":"bad request"}`)
		return
	}
	if until := p.Until[body.UserID+" "+body.Resource]; p.now().Before(until) {
		writeText(w, http.StatusOK, fmt.Sprintf(`{"elevated":true,"until":%s,"evidence_id":%q}`, moment(until), GenericEvidence))
		return
	}
	for _, request := range p.Requests {
		if request.UserID == body.UserID && request.Resource == body.Resource && request.Status == "approved" {
			writeText(w, http.StatusOK, fmt.Sprintf(`{"elevated":true,"evidence_id":%q,"until":%s}`, request.ID, moment(request.Until)))
			return
		}
	}
	writeText(w, http.StatusOK, `{"elevated":false}`)
}

func (p *Generic) file(w http.ResponseWriter, r *http.Request) {
	var request GenericRequest
	if !readBody(w, r, &request) {
		return
	}
	if request.UserID == "" || request.Resource == "" || request.Reason == "" || request.Seconds < 1 {
		writeText(w, http.StatusBadRequest, `{"error":"bad request"}`)
		return
	}
	request.ID, request.Status = fmt.Sprintf("r/%d", len(p.Requests)+1), "pending"
	p.Requests[request.ID] = &request
	request.answer(w, http.StatusCreated)
}

func (p *Generic) one(w http.ResponseWriter, escaped string) {
	id, err := url.PathUnescape(escaped)
	if request := p.Requests[id]; request != nil && err == nil {
		request.answer(w, http.StatusOK)
		return
	}
	writeText(w, http.StatusNotFound, `{"error":"no such request"}`)
}

func (f *GenericRequest) answer(w http.ResponseWriter, status int) {
	writeText(w, status, fmt.Sprintf(`{"request_id":%q,"status":%q,"approval_url":"https://pam.example/requests/%s","until":%s}`, f.ID, f.Status, f.ID, moment(f.Until)))
}
