package providertest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// RightsToken is the bearer token that Rights takes.
const RightsToken = "a-token"

// RightsTemplate is the file that describes Rights.
const RightsTemplate = `
role_parts: [team, right]
check:
  url: "/v1/people/{user}/rights?team={team}&active=true"
  items: [rights]
  when:
    - {path: right, op: eq, value: "{right}", fold_case: true}
    - {path: begins, op: le_now}
    - {path: ends, op: gt_now}
  until: ends
  evidence: id
file:
  method: POST
  url: /v1/requests
  body: '{"user":"{user}","team":"{team}","right":"{right}","reason":"{reason}","seconds":{duration_seconds}}'
  ref: id
  page: page
  state: [state]
  states: {OPEN: pending, YES: active, NO: denied}
poll:
  url: "/v1/requests/{ref}"
  ref: id
  until: ends
  state: [state]
  states: {OPEN: pending, YES: active, NO: denied}
`

// Rights is a product that nobody has heard of. A role there is TEAM|RIGHT.
type Rights struct {
	Server
	Rights   []*Right
	Requests []*Right
}

// Right is one that a user has, or a request for one.
type Right struct {
	User   string    `json:"user"`
	Team   string    `json:"team"`
	Right  string    `json:"right"`
	Reason string    `json:"reason"`
	Secs   int       `json:"seconds"`
	ID     string    `json:"id"`
	State  string    `json:"state"`
	Page   string    `json:"page"`
	Begins time.Time `json:"begins,omitzero"`
	Ends   time.Time `json:"ends,omitzero"`
}

// NewRights starts one.
func NewRights(t testing.TB) *Rights {
	t.Helper()
	p := &Rights{Server: Server{t: t, now: time.Now}}
	p.URL = Serve(t, p.handler(p.serve))
	return p
}

// Elevate gives a right to a user, and returns its id. It shows it with capitals.
func (p *Rights) Elevate(user, role string, until time.Time) (id string) {
	team, right, _ := strings.Cut(role, "|")
	p.Change(func() {
		id = fmt.Sprintf("r-%d", len(p.Rights)+1)
		p.Rights = append(p.Rights, &Right{ID: id, User: user, Team: team, Right: strings.ToUpper(right), Begins: p.now().Add(-time.Hour), Ends: until})
	})
	return id
}

// Decide ends a user's open requests.
func (p *Rights) Decide(user string, approved bool) {
	p.Change(func() {
		for _, request := range p.Requests {
			if request.User != user || request.State != "OPEN" {
				continue
			}
			if request.State = "NO"; approved {
				request.State, request.Begins = "YES", p.now()
				request.Ends = request.Begins.Add(time.Duration(request.Secs) * time.Second)
				p.Rights = append(p.Rights, request)
			}
		}
	})
}

func (p *Rights) serve(w http.ResponseWriter, r *http.Request) {
	user := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/v1/people/"), "/rights")
	ref, one := strings.CutPrefix(r.URL.Path, "/v1/requests/")
	switch {
	case r.Header.Get("Authorization") != "Bearer "+RightsToken:
		writeText(w, http.StatusUnauthorized, `{"error":"who are you?"}`)
	case r.Method == http.MethodPost && r.URL.Path == "/v1/requests":
		p.file(w, r)
	case one && r.Method == http.MethodGet:
		p.one(w, ref)
	case r.Method == http.MethodGet && r.URL.Path == "/v1/people/"+user+"/rights" && r.URL.Query().Get("active") == "true":
		p.list(w, user, r.URL.Query().Get("team"))
	default:
		writeText(w, http.StatusNotFound, `{"error":"no such place"}`)
	}
}

func (p *Rights) list(w http.ResponseWriter, user, team string) {
	found := []*Right{}
	for _, right := range p.Rights {
		if right.User == user && right.Team == team {
			found = append(found, right)
		}
	}
	WriteJSON(w, http.StatusOK, Object{"rights": found})
}

func (p *Rights) file(w http.ResponseWriter, r *http.Request) {
	var request Right
	if !readBody(w, r, &request) {
		return
	}
	if request.User == "" || request.Team == "" || request.Right == "" || request.Reason == "" || request.Secs < 1 {
		writeText(w, http.StatusBadRequest, `{"error":"something is missing"}`)
		return
	}
	request.ID, request.State = fmt.Sprintf("a.%d", len(p.Requests)+1), "OPEN"
	request.Page = "https://rights.example/requests/" + request.ID
	p.Requests = append(p.Requests, &request)
	WriteJSON(w, http.StatusCreated, &request)
}

func (p *Rights) one(w http.ResponseWriter, id string) {
	for _, request := range p.Requests {
		if request.ID == id {
			WriteJSON(w, http.StatusOK, request)
			return
		}
	}
	writeText(w, http.StatusNotFound, `{"error":"no such request"}`)
}
