package providertest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// SCAToken is the bearer token that Secure Cloud Access takes.
const SCAToken = "t0ken"

// SCA is CyberArk's Secure Cloud Access, of the cloud AZURE. A session has its role in
// target.roleId, its end in expiresAt and its id in sessionId.
type SCA struct {
	Server
	Sessions map[string][]string // JSON of the sessions that run, by user
}

// NewSCA starts one.
func NewSCA(t testing.TB) *SCA {
	t.Helper()
	c := &SCA{Server: Server{t: t, now: time.Now}, Sessions: map[string][]string{}}
	c.URL = Serve(t, c.handler(c.serve))
	return c
}

// Elevate begins a session of a user, and returns its id. It is on another page than one
// that has ended.
func (c *SCA) Elevate(user, role string, until time.Time) (id string) {
	c.Change(func() {
		id = fmt.Sprintf("s-%s-%d", user, len(c.Sessions[user]))
		session := func(id string, until time.Time) string {
			return fmt.Sprintf(`{"sessionId":%q,"target":{"roleId":%q},"expiresAt":%d}`, id, role, until.Unix())
		}
		c.Sessions[user] = append(c.Sessions[user], session("ended-"+id, c.now()), session(id, until))
	})
	return id
}

func (c *SCA) serve(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	limit, err := strconv.Atoi(query.Get("limit"))
	user := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/api/access/users/"), "/sessions")
	switch {
	case r.Header.Get("Authorization") != "Bearer "+SCAToken:
		writeText(w, http.StatusUnauthorized, `{"message":"Unauthorized"}`)
		return
	case err != nil || limit > 50 || query.Get("csp") != "AZURE" || strings.Contains(user, "/"):
		writeText(w, http.StatusBadRequest, `{"code":"SCA_400","message":"limit must be 50 at most"}`)
		return
	}
	if user == "my" {
		user = "gateway"
	}
	at, _ := strconv.Atoi(strings.TrimPrefix(query.Get("nextToken"), "a&b="))
	sessions, next := c.Sessions[user], "null"
	if at < len(sessions) {
		sessions = sessions[at:]
	}
	if len(sessions) > 1 { // a page has one
		sessions, next = sessions[:1], fmt.Sprintf(`"a&b=%d"`, at+1)
	}
	writeText(w, http.StatusOK, fmt.Sprintf(`{"response":[%s],"total":1,"nextToken":%s}`, strings.Join(sessions, ","), next))
}
